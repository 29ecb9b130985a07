"""INT8 quantization-aware training (Sec. 6): training with rounded numbers, then conversion to integers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.config.setting_groups import QuantizeConfig
from asc_sweeps.data.segments import fetch
from asc_sweeps.models.int8 import convert_to_int8, fake_quantize
from asc_sweeps.training.evaluate import EVALUATION_BATCH, predict, score
from asc_sweeps.training.finetune import final_drop
from asc_sweeps.training.loop import Phase, Session, run_phases, seed_torch
from asc_sweeps.workspace.records import Score


def quantize(session: Session, config: QuantizeConfig) -> None:
    """Quantize the session's trained network, calibrated on training segments, and train it for `config.epochs`."""
    seed_torch(session.trial.seed, "calibration")
    rows = session.rows["train"][torch.randperm(len(session.rows["train"]))[: config.calibration_segments].numpy()]
    session.network = fake_quantize(session.single_network, _inputs(session, rows))
    if config.epochs:
        session.extra_scores += post_training_scores(session)
    run_phases(session, Phase("quantize", config, mixup_alpha=config.mixup_alpha, drop=final_drop(session)))
    session.network = convert_to_int8(session.single_network)


def post_training_scores(session: Session) -> list[Score]:
    """The test score of the network converted without quantization-aware training."""
    rows, data = session.rows["test"], session.data
    network = convert_to_int8(session.single_network)
    predictions = predict(network, session.features, data, rows, session.accelerator)
    micro = score(predictions, data.scenes[rows], data.devices[rows], "test")[:1]
    return [replace(row, by="conversion", name="without training") for row in micro]


def _inputs(session: Session, rows: np.ndarray) -> Iterator[Tensor]:
    for first in range(0, len(rows), EVALUATION_BATCH):
        yield session.features(fetch(session.data, rows[first : first + EVALUATION_BATCH], session.accelerator))
