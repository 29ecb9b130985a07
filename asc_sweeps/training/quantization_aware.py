"""INT8 quantization-aware training (Sec. 6): the start goes on training with its numbers rounded, then becomes integers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from asc_sweeps.config.setting_groups import QuantizeConfig
from asc_sweeps.data.segments import fetch
from asc_sweeps.models.int8 import convert_to_int8, fake_quantize
from asc_sweeps.training.evaluate import BATCH
from asc_sweeps.training.loop import Drop, Phase, Session, run_phases, seed_torch


def round_network(session: Session, config: QuantizeConfig) -> None:
    """Make the session's network, which holds the start's weights, one that trains rounded; ranges from training segments."""
    seed_torch(session.seed, "calibration")
    rows = session.rows["train"][torch.randperm(len(session.rows["train"]))[: config.calibration_segments].numpy()]
    session.network = fake_quantize(session.network, _inputs(session, rows))


def train_rounded(session: Session, config: QuantizeConfig, kept_drop: Drop) -> None:
    """Train the rounded network, with fine-tuning's drop where there was one (Sec. 6); it is not converted yet."""
    phase = Phase(
        name="quantize",
        epochs=config.epochs,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        learning_rate=lambda step: config.learning_rate,
        mixup_alpha=config.mixup_alpha,
        **kept_drop,
    )
    run_phases(session, [phase])


def to_integers(session: Session) -> None:
    """Make the rounded network one of integers: that is what is scored and kept."""
    session.network = convert_to_int8(session.network)


def _inputs(session: Session, rows: np.ndarray) -> Iterator[Tensor]:
    for at in range(0, len(rows), BATCH):
        yield session.features(fetch(session.data, rows[at : at + BATCH], session.accelerator))
