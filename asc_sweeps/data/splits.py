"""The segments for training, validation and test."""

from __future__ import annotations

import numpy as np

from asc_sweeps.config.setting_groups import DataConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.labels import DEVICES, SCENES


def split_rows(data: Prepared, config: DataConfig) -> dict[str, np.ndarray]:
    """Row numbers of each split: the official train and test, and validation, which is taken from train.

    Validation takes `validation_share` of each scene's training locations, drawn by `split_seed`, but at least one if the scene has
    two. It shares no location with the remaining training segments. With a share of 0 it is empty.
    """
    train, test = np.flatnonzero(data.splits == "train"), np.flatnonzero(data.splits == "test")
    held_out: set[str] = set()
    if config.validation_share > 0:
        decided: set[str] = set()
        for scene in range(len(SCENES)):
            # Locations shared with an earlier scene are not drawn again: training could lose all of them.
            locations = sorted(set(data.locations[train[data.scenes[train] == scene]].tolist()) - decided)
            decided |= set(locations)
            if len(locations) > 1:
                count = max(1, round(config.validation_share * len(locations)))
                generator = np.random.default_rng([config.split_seed, scene])
                held_out |= set(generator.permutation(locations)[:count].tolist())
    in_validation = np.isin(data.locations[train], sorted(held_out))
    return {"train": train[~in_validation], "validation": train[in_validation], "test": test}


def largest_device(data: Prepared, rows: np.ndarray) -> str:
    """The device with the most segments among `rows`, whose data are dropped in fine-tuning (Sec. 3)."""
    return DEVICES[int(np.bincount(data.devices[rows], minlength=len(DEVICES)).argmax())]
