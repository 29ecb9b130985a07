"""What happens to the trials of a sweep: the events that workers, the queue, searches, trackers and the display exchange."""

from __future__ import annotations

from dataclasses import dataclass

from asc_sweeps.workspace.records import EpochRow


@dataclass(frozen=True)
class EpochFinished:
    """A trial has trained one more epoch."""

    signature: str
    epochs_done: int
    """Over all phases of the trial."""
    epochs_total: int
    metrics: EpochRow


@dataclass(frozen=True)
class TrialFinished:
    """A trial has its result."""

    signature: str
    trained: bool = True
    """False if it was finished already, e.g. by another sweep in the meantime."""


@dataclass(frozen=True)
class TrialFailed:
    """A trial ended without a result; causes are those of `TrialFailure`."""

    signature: str
    cause: str
    message: str


@dataclass(frozen=True)
class TrialStopped:
    """The scheduler stopped a trial early."""

    signature: str
    epochs_done: int
    epochs_total: int


@dataclass(frozen=True)
class PointReused:
    """A search sampled a trial that is finished."""

    signature: str


@dataclass(frozen=True)
class PointRepeated:
    """A search sampled a trial that this sweep has run, or is going to run."""

    signature: str


TrialEnd = TrialFinished | TrialFailed | TrialStopped
SweepEvent = EpochFinished | TrialEnd | PointReused | PointRepeated
