"""Progress on standard error: one line that rewrites itself in a terminal, a plain line every ten seconds in a log.

Names, settings and messages come from files that others have written, so control characters are escaped in all output.
"""

from __future__ import annotations

import re
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from asc_sweeps.sweep import trial_events as events

if TYPE_CHECKING:  # a progress line must not import torch
    from asc_sweeps.sweep.plan import Plan, PlannedTrial

CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""All but tab and line ends; with those that change the direction of writing."""


class EscapingStream:
    r"""A text stream that escapes control characters: `\x1b[31m` is shown, and the terminal does not act on it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write a text with its control characters escaped."""
        return self.stream.write(CONTROL_CHARACTERS.sub(lambda c: c[0].encode("unicode_escape").decode(), text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def escape_output() -> None:
    """Escape control characters in everything that this process prints from now on, errors included."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, EscapingStream):
            setattr(sys, name, EscapingStream(stream))


def clear_screen() -> None:
    """Clear the terminal and move to its top."""
    stream = sys.stdout.stream if isinstance(sys.stdout, EscapingStream) else sys.stdout
    stream.write("\x1b[2J\x1b[H")


class ProgressLine:
    """A line with work done, total and ETA."""

    SECONDS_BETWEEN_LOG_LINES = 10.0

    def __init__(self) -> None:
        self._starts: dict[str, tuple[float, float]] = {}
        """Time and done share at the first update of each task."""
        self._last_written = time.monotonic()
        self._terminal = sys.stderr.isatty()
        self._width = 0

    def update(self, task: str, share: float, text: str) -> None:
        """Show that `share` (0..1) of a task is done; the ETA counts from the first update with the same `task`."""
        now = time.monotonic()
        start, first_share = self._starts.setdefault(task, (now, share))
        has_eta = first_share < share < 1 and now - start > 1
        eta = f", ETA {clock((now - start) * (1 - share) / (share - first_share))}" if has_eta else ""
        line = f"{task}: {text}{eta}"
        if self._terminal:
            sys.stderr.write("\r" + line.ljust(self._width))
            self._width = len(line)
            if share >= 1:
                self.end()
        elif share >= 1 or now - self._last_written >= self.SECONDS_BETWEEN_LOG_LINES:
            sys.stderr.write(line + "\n")
            self._last_written = now
        sys.stderr.flush()

    def clips(self, action: str, done: int, total: int) -> None:
        """Progress over the clips of a data set, as the data modules report it; `action` is e.g. `preparing`."""
        self.update(f"{action} data", done / max(total, 1), f"{done:,} of {total:,} clips")

    def say(self, line: str) -> None:
        """Write a line that stays."""
        self.end()
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        """Finish the line that rewrites itself."""
        if self._terminal and self._width:
            sys.stderr.write("\n")
            self._width = 0


class SweepProgress:
    """Progress of a sweep, each trial weighted by its cost; remembers how each trial ended."""

    def __init__(self, plan: Plan, line: ProgressLine, to_sample: int = 0) -> None:
        self._line = line
        self.to_sample = to_sample
        """Number of trials still to be sampled by searches."""
        self.trials: dict[str, PlannedTrial] = {}
        """Trials to run by signature: those of the plan, and those sampled by searches."""
        self._share: dict[str, float] = {}
        self.trained: set[str] = set()
        self.trained_elsewhere: set[str] = set()
        """Trials that another sweep in the same workspace trained in the meantime."""
        self.reused = 0
        """Number of sampled trials that were already finished."""
        self.failed: dict[str, events.TrialFailed] = {}
        self.stopped: dict[str, tuple[int, int]] = {}
        """Epochs done and in total, by signature, of the trials that were stopped early."""
        for trial in plan.todo:
            self._add(trial)

    def on_planned(self, trial: PlannedTrial) -> None:
        """Add a trial that a search sampled, or that such a trial builds on."""
        self.to_sample -= bool(trial.studies)
        self._add(trial)

    @property
    def unfinished(self) -> set[str]:
        """Signatures of trials that have not ended."""
        return set(self.trials) - self.trained - self.trained_elsewhere - set(self.failed) - set(self.stopped)

    def _add(self, trial: PlannedTrial) -> None:
        self.trials[trial.config.signature] = trial
        self._share[trial.config.signature] = 0.0

    def on_event(self, event: events.SweepEvent) -> None:
        """Take one event of a trial."""
        signature, share = event.signature, 1.0
        match event:
            case events.EpochFinished():
                share = event.epochs_done / event.epochs_total
            case events.TrialFinished():
                (self.trained if event.trained else self.trained_elsewhere).add(signature)
                self.failed.pop(signature, None)
                self.stopped.pop(signature, None)
            case events.TrialFailed():
                self.failed[signature] = event
                c = self.trials[signature].config
                self._line.say(
                    f"failed: {c.system}, {c.phase}, seed {c.seed} ({signature})\n  {event.cause}: {event.message}"
                )
            case events.TrialStopped():
                self.stopped[signature] = event.epochs_done, event.epochs_total
            case events.PointReused() | events.PointRepeated():
                self.reused += isinstance(event, events.PointReused)
                self.to_sample -= 1
                return
        self._share[signature] = share
        cost = sum(t.cost for t in self.trials.values())
        to_sample = max(self.to_sample, 0)
        total_cost = cost * (1 + to_sample / len(self.trials))  # assumes that trials to come cost as much as known ones
        share = sum(self.trials[s].cost * done for s, done in self._share.items()) / total_cost
        ended, total = len(self.trials) - len(self.unfinished), len(self.trials) + to_sample
        # A trial is evaluated after its last epoch: the line must not end before the last report.
        share = min(share, 1.0) if ended == total else min(share, 0.999)
        self._line.update("training", share, f"{ended} of {total} trials, {share:.0%}")


def clock(seconds: float) -> str:
    """A duration in seconds, minutes or hours.

    >>> clock(42), clock(100), clock(7300)
    ('42 s', '1 min 40 s', '2 h 01 min')
    """
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60} min {seconds % 60:02d} s"
    return f"{seconds // 3600} h {seconds % 3600 // 60:02d} min"
