"""What trials and studies leave behind: scores, results, failures, study records. Stored as JSON that outlives the code."""

from __future__ import annotations

import dataclasses
import datetime
import functools
from dataclasses import dataclass, field
from typing import Annotated, Any, NotRequired

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict  # pydantic requires this one below Python 3.12

from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig

FORMAT = 1
"""Raised when a field changes its meaning; files of another format are refused with instructions."""

EXTENSIBLE = ConfigDict(extra="allow", allow_inf_nan=False)
"""For rows, in which files of other versions may have further keys."""


class Record:
    """Validated when loaded: no unknown fields, no wrong types, only finite numbers."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Score(Record):
    """Log loss (natural logarithm) and accuracy (0..1) of one group of segments, from sums over its segments."""

    split: str
    """`validation` or `test`."""
    by: str
    """`overall`, `device` or `scene`; `conversion`: the INT8 network as converted, before quantization-aware training."""
    name: str
    """`micro` (mean over segments) or `macro` (mean over scenes) if `by` is overall; else the device or scene."""
    segments: int
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Complexity(Record):
    """Size of a network by the challenge's rules: exact integers."""

    params: int
    macs: int
    """Multiply-accumulates for one segment."""
    model_bytes: int
    """Bytes of the parameters as they are stored."""


@with_config(EXTENSIBLE)
class TrialData(TypedDict):
    """The data that a trial was trained on and scored with."""

    name: str
    fingerprint: str
    generated: bool
    dropped_device: str | None
    segments: dict[str, int]
    """Of `train`, `validation` and `test`; clips, if the trial scores clips."""


@with_config(EXTENSIBLE)
class EpochRow(TypedDict):
    """One epoch of training; None where nothing was measured."""

    phase: NotRequired[str]
    epoch: NotRequired[int]
    learning_rate: NotRequired[float]
    drop_rate: NotRequired[float]
    train_loss: NotRequired[float | None]
    segments: NotRequired[int]
    """Trained on."""
    validation_log_loss: NotRequired[float | None]
    validation_accuracy: NotRequired[float | None]
    seconds: NotRequired[float]
    epochs_done: NotRequired[int]
    """Of all phases of the trial; reported while it runs, not stored. So is `epochs_total`."""
    epochs_total: NotRequired[int]


@with_config(EXTENSIBLE)
class WorkInterval(TypedDict):
    """A period in which one process worked on a trial; times are ISO 8601 in UTC."""

    worker: str
    """`host:pid`."""
    began_at: str
    ended_at: str


STORED_NAMES = {"work_intervals": "sittings"}
"""Fields that have another name in files and JSON output."""


@dataclass(frozen=True)
class TrialResult(Record):
    """Everything known about a finished trial; `trials/<signature>/result.json`."""

    signature: str
    system: str
    phase: str
    settings: dict[str, Any]
    """All settings, nested."""
    start: str | None
    """Signature of the trial whose network this one started from."""
    data: TrialData
    complexity: Complexity
    scores: list[Score]
    history: list[EpochRow]
    seconds: float
    """Training and scoring time of this trial alone, without its start; the sum over all work intervals."""
    environment: dict[str, str | float | None]
    """Versions, host and git state where it was finished."""
    finished_at: str
    """ISO 8601, UTC."""
    work_intervals: Annotated[list[WorkInterval], Field(alias=STORED_NAMES["work_intervals"])] = field(
        default_factory=list
    )
    format: int = FORMAT

    @functools.cached_property
    def config(self) -> TrialConfig:
        """The validated settings. Raises WorkspaceError for settings that this version does not know."""
        return stored_config(self.settings, self.signature)

    def micro(self, split: str) -> Score | None:
        """The mean over the segments of a split; None if the trial did not score it."""
        return next((s for s in self.scores if (s.split, s.by, s.name) == (split, "overall", "micro")), None)


@dataclass(frozen=True)
class TrialFailure(Record):
    """Why a trial ended without a result; `trials/<signature>/failure.json`, removed once the trial succeeds."""

    signature: str
    system: str
    phase: str
    cause: str
    """`nan`, `out of memory`, `hung`, `data`, `damaged`, `workspace`, `disk`, `disk full`, `start` (a dependency failed),
    `killed` or `crash`."""
    message: str
    failed_at: str
    traceback: str = ""
    """Of an unexpected error."""
    format: int = FORMAT


@with_config(EXTENSIBLE)
class TrialRow(TypedDict):
    """A trial in its study's record."""

    signature: str
    system: str
    phase: str
    seed: int
    state: str
    """`done`, `failed`, `stopped` or `planned`."""
    params: NotRequired[int]
    macs: NotRequired[int]
    epochs: NotRequired[int]
    needs: NotRequired[dict[str, int]]
    """Epochs of its dependencies, by signature."""
    settings: NotRequired[dict[str, Any]]
    """Those that differ from the defaults."""


@with_config(EXTENSIBLE)
class CountRow(TypedDict):
    """A network's architecture and size."""

    system: str
    block: str
    width: int
    mfa: bool
    fpm: bool
    stem_attention: NotRequired[bool]
    params: int
    macs: int


Plain = str | bool | int | float | None


@with_config(EXTENSIBLE)
class SearchPoint(TypedDict):
    """A point that a search sampled."""

    number: int
    state: str
    """`done`, `failed`, `stopped`, `refused` or `running`."""
    signature: str | None
    values: list[float | None] | None
    """One per objective."""
    params: dict[str, Plain]
    reason: str | None
    """Why it was rejected or failed."""


@with_config(EXTENSIBLE)
class ParameterRecord(TypedDict):
    """What a search varies: between two numbers, or among choices."""

    name: str
    when: str | None
    low: NotRequired[float]
    high: NotRequired[float]
    log: NotRequired[bool]
    choices: NotRequired[list[Plain]]


@with_config(EXTENSIBLE)
class SearchRecord(TypedDict):
    """A search's configuration, and the points that it sampled, in order."""

    sampler: str
    seed: int | None
    objectives: list[str]
    limits: dict[str, int]
    trials: int
    parameters: list[ParameterRecord]
    points: list[SearchPoint]


@dataclass(frozen=True)
class StudyRecord(Record):
    """What a study planned and how its last run ended; `studies/<study>[-mini].json`."""

    study: str
    mini: bool
    command: str
    """The command that runs it again, e.g. `asc-sweeps sweep table2_ablation --mini`."""
    trials: list[TrialRow]
    counts: list[CountRow]
    """Networks of the study at full size and at this size."""
    state: str
    """`complete`, `failures` or `interrupted`."""
    ended_at: str
    search: SearchRecord | None = None
    scheduler: dict[str, int] | None = None
    """Its early stopping: grace_epochs, reduction."""
    format: int = FORMAT

    @property
    def name(self) -> str:
        """The study with its size, as in the file name."""
        return f"{self.study}-mini" if self.mini else self.study


def as_stored(record: Any) -> dict[str, Any]:
    """A dataclass with the keys under which it is stored and printed as JSON."""
    return {STORED_NAMES.get(name, name): value for name, value in dataclasses.asdict(record).items()}


def utc_now(timespec: str = "seconds") -> str:
    """The current time in ISO 8601, UTC, to whole seconds or `milliseconds`."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec=timespec)
