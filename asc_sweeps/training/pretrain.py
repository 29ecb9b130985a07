"""Pretraining, which neglects the devices (Sec. 4.2)."""

from __future__ import annotations

from asc_sweeps.config.setting_groups import PretrainConfig
from asc_sweeps.training.loop import Phase, Session, run_phases
from asc_sweeps.training.schedules import warmup_cosine


def pretrain(session: Session, config: PretrainConfig) -> None:
    """Train the session's network from where it stands."""
    steps = session.steps(config.batch_size)

    def learning_rate(step: int) -> float:
        lowest, peak = config.warmup_learning_rate, config.learning_rate
        return warmup_cosine(step, config.epochs * steps, config.warmup_epochs * steps, lowest, peak)

    phase = Phase(
        name="pretrain",
        epochs=config.epochs,
        batch_size=config.batch_size,
        weight_decay=config.weight_decay,
        learning_rate=learning_rate,
        mixup_alpha=config.mixup_alpha,
    )
    run_phases(session, [phase])
