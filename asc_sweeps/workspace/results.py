"""What trials leave behind, as JSON files that outlive the code: scores, results, failures, records of studies.

Knows nothing of torch or Ray; `analysis` reads results through this module alone.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import os
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import (
    Any,
    NotRequired,  # pydantic asks for it below Python 3.12
    TypeVar,
)

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from pydantic_core import from_json
from typing_extensions import TypedDict

from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.atomic_files import naming
from asc_sweeps.workspace.paths import FAILURE, RESULT, Workspace

Kind = TypeVar("Kind")
FORMAT = 1
"""Raised when a field changes its meaning; files of another format are refused, with what to do."""


OPEN = ConfigDict(extra="allow", allow_inf_nan=False)
"""Of rows: those of other versions may hold more."""


class Stored:
    """What is read from a file, checked as it is: no unknown field, no value of another kind, nothing that is not finite."""

    __pydantic_config__ = ConfigDict(extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class Score(Stored):
    """Log loss (natural logarithm) and accuracy (0..1) of one group of segments, from sums over its segments."""

    split: str
    """`validation` or `test`."""
    by: str
    """`overall`, `device` or `scene`; `conversion` is of the converted INT8 network before it was trained rounded."""
    name: str
    """`micro` (mean over segments) or `macro` (mean over scenes) where `by` is overall; else the device or scene."""
    segments: int
    log_loss: float
    accuracy: float


@dataclass(frozen=True)
class Complexity(Stored):
    """Size of a network by the challenge's rule: exact integers."""

    params: int
    macs: int
    """Multiply-accumulates for one segment."""
    model_bytes: int
    """Bytes of the parameters as they are stored (float32)."""


@with_config(OPEN)
class TrialData(TypedDict):
    """The data that a trial was trained on and scored with."""

    name: str
    fingerprint: str
    generated: bool
    dropped_device: str | None
    segments: dict[str, int]
    """Of `train`, `validation` and `test`; clips, where the trial scores clips."""


@with_config(OPEN)
class Epoch(TypedDict):
    """One epoch of training; what was not measured is None."""

    phase: NotRequired[str]
    epoch: NotRequired[int]
    learning_rate: NotRequired[float]
    drop_rate: NotRequired[float]
    train_loss: NotRequired[float | None]
    segments: NotRequired[int]
    """Those that were trained on."""
    validation_log_loss: NotRequired[float | None]
    validation_accuracy: NotRequired[float | None]
    seconds: NotRequired[float]


@with_config(OPEN)
class Sitting(TypedDict):
    """A stretch of work on a trial by one process, ISO 8601 in UTC."""

    worker: str
    """`host:pid`."""
    began_at: str
    ended_at: str


@dataclass(frozen=True)
class TrialResult(Stored):
    """Everything that is known of a finished trial; one JSON file, `trials/<signature>/result.json`."""

    signature: str
    system: str
    phase: str
    settings: dict[str, Any]
    """The fully resolved settings, nested."""
    start: str | None
    """Signature of the trial whose network this one started from."""
    data: TrialData
    complexity: Complexity
    scores: list[Score]
    history: list[Epoch]
    seconds: float
    """Training and scoring time of this trial alone, its start not counted; all its sittings added."""
    environment: dict[str, str | float | None]
    """Versions, host and git state where it was finished."""
    finished_at: str
    """ISO 8601, UTC."""
    sittings: list[Sitting] = field(default_factory=list)
    format: int = FORMAT

    @functools.cached_property
    def config(self) -> TrialConfig:
        """The trial that it is of. Raises WorkspaceError for settings that this version does not know."""
        return stored_config(self.settings, self.signature)

    def micro(self, split: str) -> Score | None:
        """The mean over the segments of a split; None where the trial had none."""
        return next((s for s in self.scores if (s.split, s.by, s.name) == (split, "overall", "micro")), None)


@dataclass(frozen=True)
class TrialFailure(Stored):
    """Why a trial ended without a result; `trials/<signature>/failure.json`, gone once it succeeds."""

    signature: str
    system: str
    phase: str
    cause: str
    """`nan`, `out of memory`, `hung`, `data`, `damaged`, `workspace`, `disk`, `disk full`, `start` (what it builds on failed),
    `killed` or `crash`."""
    message: str
    failed_at: str
    traceback: str = ""
    """Where an unforeseen error came from."""
    format: int = FORMAT


@with_config(OPEN)
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
    """Epochs of what it builds on, by signature."""
    settings: NotRequired[dict[str, Any]]
    """Those that differ from the defaults."""


@with_config(OPEN)
class CountRow(TypedDict):
    """A counted network; how it is built, and its size."""

    system: str
    block: str
    width: int
    mfa: bool
    fpm: bool
    stem_attention: NotRequired[bool]
    params: int
    macs: int


Plain = str | bool | int | float | None


@with_config(OPEN)
class DrawnPoint(TypedDict):
    """A point that a search drew."""

    number: int
    state: str
    """`done`, `failed`, `stopped`, `refused` or `running`."""
    signature: str | None
    values: list[float | None] | None
    """One an objective."""
    params: dict[str, Plain]
    reason: str | None
    """Why it was refused or failed."""


@with_config(OPEN)
class ParameterRecord(TypedDict):
    """What a search varies: between two numbers, or among choices."""

    name: str
    when: str | None
    low: NotRequired[float]
    high: NotRequired[float]
    log: NotRequired[bool]
    choices: NotRequired[list[Plain]]


@with_config(OPEN)
class SearchRecord(TypedDict):
    """What a search was asked for, and what it drew, in the order of drawing."""

    sampler: str
    seed: int | None
    objectives: list[str]
    limits: dict[str, int]
    trials: int
    parameters: list[ParameterRecord]
    points: list[DrawnPoint]


@dataclass(frozen=True)
class StudyRecord(Stored):
    """What a study planned and how its last run ended; `studies/<study>[-mini].json`."""

    study: str
    mini: bool
    command: str
    """The line that runs it again, e.g. `asc-sweeps sweep table2_ablation --mini`."""
    trials: list[TrialRow]
    """The planned ones."""
    counts: list[CountRow]
    """Counted networks of the study at its full size and at this one."""
    state: str
    """`complete`, `failures` or `interrupted`."""
    ended_at: str
    search: SearchRecord | None = None
    scheduler: dict[str, int] | None = None
    """Its early stopping: grace_epochs, reduction."""
    format: int = FORMAT

    @property
    def name(self) -> str:
        """The study with its size, as its file is named."""
        return f"{self.study}-mini" if self.mini else self.study


def save_result(workspace: Workspace, result: TrialResult) -> None:
    """Write a result and clear the trial's failure, if it had one."""
    workspace.files.write_json(workspace.trial(result.signature) / RESULT, dataclasses.asdict(result))
    clear_failure(workspace, result.signature)


def load_result(workspace: Workspace, signature: str) -> TrialResult | None:
    """The result of a finished trial, or None when it is not finished."""
    path = workspace.trials.joinpath(signature, RESULT)
    return _load(path, TrialResult) if path.exists() else None


def load_results(workspace: Workspace) -> list[TrialResult]:
    """Every finished trial of a workspace, by signature."""
    return [_load(path, TrialResult) for path in sorted(workspace.trials.glob(f"*/{RESULT}"))]


def save_failure(workspace: Workspace, failure: TrialFailure) -> None:
    """Write down why a trial ended."""
    workspace.files.write_json(workspace.trial(failure.signature) / FAILURE, dataclasses.asdict(failure))


def load_failure(workspace: Workspace, signature: str) -> TrialFailure | None:
    """Why a trial ended when it was last tried, or None when it was not or has not ended so."""
    path = workspace.trial(signature) / FAILURE
    return _load(path, TrialFailure) if path.exists() and not path.with_name(RESULT).exists() else None


def clear_failure(workspace: Workspace, signature: str) -> None:
    """Forget why a trial ended: it is tried again."""
    workspace.files.remove(workspace.trial(signature) / FAILURE)


def load_failures(workspace: Workspace) -> list[TrialFailure]:
    """Every trial that failed and has not succeeded since."""
    paths = sorted(workspace.trials.glob(f"*/{FAILURE}"))
    return [_load(path, TrialFailure) for path in paths if not path.with_name(RESULT).exists()]


def save_study(workspace: Workspace, record: StudyRecord) -> None:
    """Write a study's record."""
    workspace.files.write_json(workspace.studies / f"{record.name}.json", dataclasses.asdict(record))


def load_study(workspace: Workspace, name: str) -> StudyRecord | None:
    """The record of one study (`table2_ablation-mini`), or None when it was never run."""
    path = workspace.studies / f"{name}.json"
    return _load(path, StudyRecord) if path.exists() else None


def load_studies(workspace: Workspace) -> list[StudyRecord]:
    """The records of all studies of a workspace."""
    return [_load(path, StudyRecord) for path in sorted(workspace.studies.glob("*.json"))]


def now(timespec: str = "seconds") -> str:
    """The time as results write it: ISO 8601, UTC, whole seconds or `milliseconds`."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec=timespec)


@dataclass(frozen=True)
class Left:
    """What a workspace's trials and studies have left behind."""

    results: list[TrialResult]
    failures: list[TrialFailure]
    """Those that have not succeeded since; and `damaged`, one for each file that cannot be read."""
    studies: list[StudyRecord]


def load_all(workspace: Workspace) -> Left:
    """Everything that can be read, by signature and by study; what cannot be read stands among the failures, never in silence."""
    left, trials = Left([], [], []), str(workspace.trials)
    with suppress(FileNotFoundError, NotADirectoryError):  # nothing was trained here yet
        for name in sorted(os.listdir(trials)):
            try:  # by words: of thousands of trials, paths would take a third of the time
                if _is_there(path := f"{trials}/{name}/{RESULT}"):
                    left.results.append(_load(path, TrialResult))
                elif _is_there(path := f"{trials}/{name}/{FAILURE}"):
                    left.failures.append(_load(path, TrialFailure))
            except (WorkspaceError, OSError) as error:
                left.failures.append(TrialFailure(name, "", "", "damaged", str(error), ""))
    for path in sorted(workspace.studies.glob("*.json")):
        try:
            left.studies.append(_load(path, StudyRecord))
        except (WorkspaceError, OSError) as error:
            left.failures.append(TrialFailure(path.stem, path.stem, "study", "damaged", str(error), ""))
    return left


def _is_there(path: str) -> bool:
    """Whether a file is there. Raises OSError where that cannot be known, of which `os.path.exists` would say nothing."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)
        return True
    return False


def _load(path: Path | str, kind: type[Kind]) -> Kind:
    """One file, if it is of this format and every value of the kind that it must be."""
    try:
        with naming(path), open(path, "rb") as file:
            raw = file.read()
        content = from_json(raw)  # half of the time that `json` takes
        if content.get("format") == FORMAT:
            found = _reader(kind).validate_python(content)
            if isinstance(found, TrialResult):
                _check(found, path)
            return found
    except (ValueError, AttributeError, RecursionError) as error:
        why = _first_rule(error) if isinstance(error, ValidationError) else str(error)
        raise WorkspaceError(f"{path}: not readable as JSON of this program ({why}); move it away") from None
    raise WorkspaceError(
        f"{path}: written in format {content.get('format')}, this version reads {FORMAT}; "
        "use the version that wrote it, or move its folder away and run the study again"
    )


def _check(result: TrialResult, path: Path | str) -> None:
    """Raise ValueError for a result that stands where another's should, for settings and times that are none."""
    vars(result)["config"] = stored_config(result.settings, path)
    if result.signature != os.path.basename(os.path.dirname(path)):
        raise ValueError(f"it is of the trial {result.signature}")
    for sitting in result.sittings:
        for at in (sitting["began_at"], sitting["ended_at"]):
            if datetime.datetime.fromisoformat(at).tzinfo is None:
                raise ValueError(f"a time without its zone: {at}")


@functools.cache
def _reader(kind: type[Kind]) -> TypeAdapter[Kind]:
    return TypeAdapter(kind)


def _first_rule(error: ValidationError) -> str:
    detail = error.errors()[0]
    return f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
