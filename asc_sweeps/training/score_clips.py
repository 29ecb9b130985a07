"""Scoring a trained network on longer clips (Table 3); nothing is trained."""

from __future__ import annotations

from asc_sweeps.config.setting_groups import EvaluateConfig
from asc_sweeps.data.clips import clip_rows
from asc_sweeps.training.loop import Session


def score_clips(session: Session, config: EvaluateConfig) -> None:
    """Replace the segments to be scored by clips of consecutive segments."""
    session.begin_interval()
    for split in ("validation", "test"):
        session.rows[split] = clip_rows(session.data, session.rows[split], config)
