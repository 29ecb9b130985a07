"""What a person sees while work goes on: one line that rewrites itself in a terminal, plain lines now and then in a log.

Names, settings and messages come from files that others have written, so nothing that is printed can steer the terminal.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:  # a progress line must not bring torch with it
    from asc_sweeps.sweep.plan import Plan, PlannedTrial


# Control signs but tab and the ends of lines, and those that turn the direction of writing.
STEERING = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


class InertStream:
    r"""A text stream that shows what would steer a terminal as an escape: `\x1b[31m` is read, not obeyed."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text with its steering signs escaped."""
        return self.stream.write(STEERING.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def make_output_inert() -> None:
    """From now on whatever is printed by this process, its errors too, only shows."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, InertStream):
            setattr(sys, name, InertStream(stream))


def clear_screen() -> None:
    """Begin at the top of an empty terminal."""
    stream = sys.stdout.stream if isinstance(sys.stdout, InertStream) else sys.stdout
    stream.write("\x1b[2J\x1b[H")


class ProgressLine:
    """A line with what is done, what there is, and when it will end. Writes to standard error."""

    SECONDS_BETWEEN_LOG_LINES = 10.0

    def __init__(self) -> None:
        self._began: dict[str, tuple[float, float]] = {}
        """When each thing was first told of, and what share of it was done by then."""
        self._written = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._width = 0

    def update(self, what: str, share: float, text: str) -> None:
        """Tell that `share` (0..1) of `what` is done; the ETA is reckoned from the first call with the same `what`."""
        now = time.monotonic()
        began, first = self._began.setdefault(what, (now, share))
        sure = share < 1 and share > first and now - began > 1
        eta = f", ETA {clock((now - began) * (1 - share) / (share - first))}" if sure else ""
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

    def __init__(self, plan: Plan, line: ProgressLine, to_draw: int = 0) -> None:
        self._line = line
        self._to_draw = to_draw
        """Trials that searches have still to draw."""
        self.asked: dict[str, PlannedTrial] = {}
        """Trials to run by signature: the plan's, and those that searches asked for."""
        self._share: dict[str, float] = {}
        self.trained: set[str] = set()
        self.taken_over: set[str] = set()
        """Trials that another sweep in the same workspace trained meanwhile."""
        self.reused = 0
        """Points that searches drew and that were finished already."""
        self.failed: dict[str, tuple[str, str]] = {}
        """Cause and message by signature."""
        self.stopped: dict[str, tuple[int, int]] = {}
        """Epochs that were run, and that would have been, by signature of the trials that stopped early."""
        for trial in plan.todo:
            self._add(trial)

    def on_planned(self, trial: PlannedTrial) -> None:
        """Take a trial that a search asks for, or that one builds on."""
        self._to_draw -= bool(trial.studies)
        self._add(trial)

    @property
    def unfinished(self) -> set[str]:
        """Trials that have not ended."""
        return set(self.asked) - self.trained - self.taken_over - set(self.failed) - set(self.stopped)

    def _add(self, trial: PlannedTrial) -> None:
        self.asked[trial.config.signature] = trial
        self._share[trial.config.signature] = 0.0

    def on_row(self, signature: str, row: dict[str, Any]) -> None:
        """Take one report of a trial: an epoch's or its end's."""
        state = row.get("state")
        if state == "done":
            (self.trained if row.get("trained", True) else self.taken_over).add(signature)
            self.failed.pop(signature, None)
            self.stopped.pop(signature, None)
        elif state == "failed":
            self.failed[signature] = row["cause"], row["message"]
            c = self.asked[signature].config
            self._line.say(
                f"failed: {c.system}, {c.phase}, seed {c.seed} ({signature})\n  {row['cause']}: {row['message']}"
            )
        elif state == "stopped":
            self.stopped[signature] = row["epochs_done"], row["epochs_total"]
        elif state in ("reused", "repeated"):
            self.reused += state == "reused"
            self._to_draw -= 1
            return
        self._share[signature] = 1.0 if state else row["epochs_done"] / row["epochs_total"]
        cost = sum(t.cost for t in self.asked.values())
        to_draw = max(self._to_draw, 0)
        total = cost * (1 + to_draw / len(self.asked))  # those to come are like those that are there
        share = sum(self.asked[s].cost * done for s, done in self._share.items()) / total
        ended, all_of_them = len(self.asked) - len(self.unfinished), len(self.asked) + to_draw
        # A trial that has run its last epoch still scores itself: the line ends with the last report, not before.
        share = min(share, 1.0) if ended == all_of_them else min(share, 0.999)
        self._line.update("training", share, f"{ended} of {all_of_them} trials, {share:.0%}")


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
