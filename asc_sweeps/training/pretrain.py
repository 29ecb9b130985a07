"""Pretraining, which ignores the devices (Sec. 4.2)."""

from __future__ import annotations

from functools import partial

from asc_sweeps.config.setting_groups import PretrainConfig
from asc_sweeps.training.loop import Phase, Session, run_phases
from asc_sweeps.training.schedules import warmup_cosine


def pretrain(session: Session, config: PretrainConfig) -> None:
    """Train the session's network."""
    steps = session.steps(config.batch_size)
    learning_rate = partial(
        warmup_cosine,
        steps=config.epochs * steps,
        warmup_steps=config.warmup_epochs * steps,
        lowest=config.warmup_learning_rate,
        peak=config.learning_rate,
    )
    run_phases(session, Phase("pretrain", config, learning_rate=learning_rate, mixup_alpha=config.mixup_alpha))
