"""What a person sees while work goes on: one line that rewrites itself in a terminal, plain lines now and then in a log."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # a progress line must not bring torch with it
    from asc_sweeps.plan import Plan


class ProgressLine:
    """A line with what is done, what there is, and when it will end. Writes to standard error."""

    SECONDS_BETWEEN_LOG_LINES = 10.0

    def __init__(self) -> None:
        self._began: dict[str, float] = {}
        self._written = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._width = 0

    def update(self, what: str, share: float, text: str) -> None:
        """Tell that `share` (0..1) of `what` is done; the ETA is reckoned from the first call with the same `what`."""
        now = time.monotonic()
        began = self._began.setdefault(what, now)
        eta = f", ETA {clock((now - began) * (1 - share) / share)}" if 0 < share < 1 and now - began > 1 else ""
        line = f"{what}: {text}{eta}"
        if self._terminal:
            sys.stderr.write("\r" + line.ljust(self._width))
            self._width = len(line)
            if share >= 1:
                self.end()
        elif share >= 1 or now - self._written >= self.SECONDS_BETWEEN_LOG_LINES:
            sys.stderr.write(line + "\n")
            self._written = now
        sys.stderr.flush()

    def clips(self, what: str, done: int, total: int) -> None:
        """Progress over clips, as the data modules report it."""
        self.update(f"{what} data", done / max(total, 1), f"{done:,} of {total:,} clips")

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.end()
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Leave the rewritten line standing."""
        if self._terminal and self._width:
            sys.stderr.write("\n")
            self._width = 0


class SweepProgress:
    """Progress of a plan's trials, weighted by what each costs; remembers how each ended."""

    def __init__(self, plan: Plan, line: ProgressLine) -> None:
        self._line = line
        self._cost = {t.config.signature: t.cost for t in plan.todo}
        self._name = {
            t.config.signature: f"{t.config.system}, {t.config.phase}, seed {t.config.seed}" for t in plan.todo
        }
        self._share = dict.fromkeys(self._cost, 0.0)
        self.trained: set[str] = set()
        self.failed: dict[str, tuple[str, str]] = {}
        """Cause and message by signature."""

    def on_row(self, signature: str, row: dict[str, Any]) -> None:
        """Take one report of a trial: an epoch's or its end's."""
        state = row.get("state")
        if state == "done":
            self.trained.add(signature)
            self.failed.pop(signature, None)
        elif state == "failed":
            self.failed[signature] = row["cause"], row["message"]
            self._line.say(f"failed: {self._name[signature]} ({signature})\n  {row['cause']}: {row['message']}")
        self._share[signature] = 1.0 if state else row["epochs_done"] / row["epochs_total"]
        total = sum(self._cost.values())
        share = sum(self._cost[s] * done for s, done in self._share.items()) / total
        ended = len(self.trained) + len(self.failed)
        # A trial that has run its last epoch still scores itself: the line ends with the last report, not before.
        share = min(share, 1.0) if ended == len(self._cost) else min(share, 0.999)
        self._line.update("training", share, f"{ended} of {len(self._cost)} trials, {share:.0%}")


def clock(seconds: float) -> str:
    """Seconds as a person says them.

    >>> clock(42), clock(100), clock(7300)
    ('42 s', '1 min 40 s', '2 h 01 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
