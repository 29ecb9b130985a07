"""Asynchronous successive halving (ASHA, Li et al. 2020): which trials go on past a rung. Knows nothing of Ray.

Our own, since a study that is run again must know what its finished trials reached at each rung; Ray's forgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from asc_sweeps.config.search_space import Scheduler


class Halving:
    """The rungs of one study: epochs grace, grace x reduction, grace x reduction squared, ..."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._rungs: dict[int, dict[str, float]] = {}

    def remember(self, trial: str, log_losses: Sequence[float | None]) -> None:
        """Take in what a trial reached, epoch by epoch, in an earlier run."""
        for epoch, value in enumerate(log_losses, start=1):
            if value is not None and self._is_rung(epoch):
                self._rungs.setdefault(epoch, {})[trial] = value

    def goes_on(self, trial: str, epoch: int, log_loss: float) -> bool:
        """Whether a trial that has reached this epoch is among the best 1 / `reduction` that have reached it so far.

        So the first to come goes on; nobody waits for others.
        """
        if not self._is_rung(epoch):
            return True
        rung = self._rungs.setdefault(epoch, {})
        rung[trial] = log_loss
        places = max(1, len(rung) // self._scheduler.reduction)
        return log_loss <= sorted(rung.values())[places - 1]

    def _is_rung(self, epoch: int) -> bool:
        times = epoch / self._scheduler.grace_epochs
        return times >= 1 and self._scheduler.reduction ** round(math.log(times, self._scheduler.reduction)) == times
