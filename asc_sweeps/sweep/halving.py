"""Early stopping by asynchronous successive halving (ASHA, Li et al. 2020); knows nothing of Ray.

Our own, since a resumed study must know what its finished trials reached at each rung; Ray's implementation forgets it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from asc_sweeps.config.search_space import Scheduler
from asc_sweeps.sweep.plan import Plan, PlannedTrial
from asc_sweeps.sweep.trial_events import EpochFinished


class Halving:
    """The rungs of one study: epochs grace, grace x reduction, grace x reduction squared, ..."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._rungs: dict[int, dict[str, float]] = {}

    def remember(self, trial: str, log_losses: Sequence[float | None]) -> None:
        """Record the log losses that a trial reached in an earlier run, one per epoch."""
        for epoch, value in enumerate(log_losses, start=1):
            if value is not None and self._is_rung(epoch):
                self._rungs.setdefault(epoch, {})[trial] = value

    def continues(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Whether a trial at this epoch is among the best 1 / `reduction` of those that reached it so far; never waits for more."""
        if not self._is_rung(epoch):
            return True
        rung = self._rungs.setdefault(epoch, {})
        rung[trial] = log_loss
        survivors = max(1, len(rung) // self._scheduler.reduction)
        return log_loss <= sorted(rung.values())[survivors - 1]

    def _is_rung(self, epoch: int) -> bool:
        ratio = epoch / self._scheduler.grace_epochs
        return ratio >= 1 and self._scheduler.reduction ** round(math.log(ratio, self._scheduler.reduction)) == ratio


class EarlyStopping:
    """Which trials of a sweep stop early, each by the rungs of its study. Trials that others build on never do."""

    def __init__(self, halvings: Mapping[str, Halving], plan: Plan) -> None:
        self._halvings = halvings
        self._study_of: dict[str, str] = {}
        starts = plan.starts
        for trial in plan.todo:
            if trial.config.signature not in starts:
                self.watch(trial)

    def watch(self, trial: PlannedTrial) -> None:
        """Let a trial stop early if all studies that list it have a scheduler; the others need it in full."""
        if trial.studies and all(study in self._halvings for study in trial.studies):
            self._study_of[trial.config.signature] = trial.studies[0]

    def exempt(self, signature: str) -> None:
        """Never stop this trial from now on: another builds on it."""
        self._study_of.pop(signature, None)

    def stops(self, event: EpochFinished) -> bool:
        """Whether a trial stops after this epoch; one that has run all its epochs is left to compute its scores."""
        study, log_loss = self._study_of.get(event.signature), event.metrics.get("validation_log_loss")
        if study is None or log_loss is None or event.epochs_done == event.epochs_total:
            return False
        return not self._halvings[study].continues(event.signature, event.epochs_done, log_loss)
