"""Which segments a trial learns from, watches and is scored on."""

from __future__ import annotations

import numpy as np

from asc_sweeps.config.setting_groups import DataConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.labels import DEVICES, SCENES


def split_rows(data: Prepared, config: DataConfig) -> dict[str, np.ndarray]:
    """Row numbers of each split: the official train and test, and validation taken from train.

    Validation takes `validation_share` of the training locations of each scene, at least one where the scene has two, drawn
    by `split_seed`; it shares no location with what is left in train. No share, no validation.
    """
    train, test = np.flatnonzero(data.splits == "train"), np.flatnonzero(data.splits == "test")
    held_out: set[str] = set()
    if config.validation_share > 0:
        seen: set[str] = set()
        for scene in range(len(SCENES)):
            # A location known from an earlier scene was decided there: drawn again, training could lose all of them.
            locations = sorted(set(data.locations[train[data.scenes[train] == scene]].tolist()) - seen)
            seen |= set(locations)
            if len(locations) > 1:
                wanted = max(1, round(config.validation_share * len(locations)))
                generator = np.random.default_rng([config.split_seed, scene])
                held_out |= set(generator.permutation(locations)[:wanted].tolist())
    in_validation = np.isin(data.locations[train], sorted(held_out))
    return {"train": train[~in_validation], "validation": train[in_validation], "test": test}


def largest_device(data: Prepared, rows: np.ndarray) -> str:
    """The device with the most segments among `rows`: the one whose data are dropped in fine-tuning (Sec. 3)."""
    return DEVICES[int(np.bincount(data.devices[rows], minlength=len(DEVICES)).argmax())]
