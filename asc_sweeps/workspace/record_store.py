"""Reads, writes and lists the records of a workspace. A result's settings are validated once, when it is loaded.

Knows nothing of torch or Ray; `analysis` reads results through this module alone.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from asc_sweeps.config.settings import stored_config
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.atomic_files import filename_in_errors
from asc_sweeps.workspace.paths import FAILURE, RESULT, Workspace
from asc_sweeps.workspace.records import FORMAT, StudyRecord, TrialFailure, TrialResult, as_stored

Kind = TypeVar("Kind", TrialResult, TrialFailure, StudyRecord)


def save_result(workspace: Workspace, result: TrialResult) -> None:
    """Store a result, and remove the trial's failure."""
    workspace.storage.write_json(workspace.trial(result.signature) / RESULT, as_stored(result))
    clear_failure(workspace, result.signature)


def load_result(workspace: Workspace, signature: str) -> TrialResult | None:
    """The result of a trial, or None if it is not finished."""
    path = workspace.trial(signature) / RESULT
    return _load(path, TrialResult) if path.exists() else None


def save_failure(workspace: Workspace, failure: TrialFailure) -> None:
    """Store why a trial failed."""
    workspace.storage.write_json(workspace.trial(failure.signature) / FAILURE, as_stored(failure))


def load_failure(workspace: Workspace, signature: str) -> TrialFailure | None:
    """Why a trial failed when it last ran, or None if it did not, or has succeeded since."""
    path = workspace.trial(signature) / FAILURE
    return _load(path, TrialFailure) if path.exists() and not path.with_name(RESULT).exists() else None


def clear_failure(workspace: Workspace, signature: str) -> None:
    """Remove a trial's failure."""
    workspace.storage.remove(workspace.trial(signature) / FAILURE)


def save_study(workspace: Workspace, record: StudyRecord) -> None:
    """Store a study's record."""
    workspace.storage.write_json(workspace.studies / f"{record.name}.json", as_stored(record))


def load_study(workspace: Workspace, name: str) -> StudyRecord | None:
    """The record of a study (`table2_ablation-mini`), or None if it was never run."""
    path = workspace.studies / f"{name}.json"
    return _load(path, StudyRecord) if path.exists() else None


def load_studies(workspace: Workspace) -> list[StudyRecord]:
    """The records of all studies of a workspace."""
    return [_load(path, StudyRecord) for path in sorted(workspace.studies.glob("*.json"))]


@dataclass(frozen=True)
class WorkspaceContents:
    """All records of a workspace."""

    results: list[TrialResult]
    failures: list[TrialFailure]
    """Of trials without a result; and one with cause `damaged` for each file that cannot be read."""
    studies: list[StudyRecord]


def load_contents(workspace: Workspace) -> WorkspaceContents:
    """All readable records, by signature and by study; unreadable files are listed as failures."""
    contents = WorkspaceContents([], [], [])
    for folder in _trial_folders(workspace):
        try:
            if _exists(path := f"{folder}/{RESULT}"):
                contents.results.append(_load(path, TrialResult))
            elif _exists(path := f"{folder}/{FAILURE}"):
                contents.failures.append(_load(path, TrialFailure))
        except (WorkspaceError, OSError) as error:
            contents.failures.append(damaged_record(os.path.basename(folder), error))
    for study in sorted(workspace.studies.glob("*.json")):
        try:
            contents.studies.append(_load(study, StudyRecord))
        except (WorkspaceError, OSError) as error:
            contents.failures.append(TrialFailure(study.stem, study.stem, "study", "damaged", str(error), ""))
    return contents


def damaged_record(signature: str, error: Exception) -> TrialFailure:
    """The failure listed for a trial whose files cannot be read."""
    return TrialFailure(signature, "", "", "damaged", str(error), "")


def _trial_folders(workspace: Workspace) -> Iterator[str]:
    """As strings: with thousands of trials, Path objects would take a third of the time."""
    with suppress(FileNotFoundError, NotADirectoryError):  # no trial has run yet
        for name in sorted(os.listdir(workspace.trials)):
            yield f"{workspace.trials}/{name}"


def _exists(path: str) -> bool:
    """Unlike `os.path.exists`, raises OSError where existence cannot be determined."""
    with suppress(FileNotFoundError, NotADirectoryError):
        os.stat(path)
        return True
    return False


def _load(path: Path | str, kind: type[Kind]) -> Kind:
    """Read and validate one file. Raises WorkspaceError if it is corrupt, foreign or of another format."""
    try:
        with filename_in_errors(path), open(path, "rb") as file:
            raw = file.read()
        content = from_json(raw)  # twice as fast as `json`
        if content.get("format") == FORMAT:
            record: Kind = _validators()[kind].validate_python(content)
            if isinstance(record, TrialResult):
                _check_result(record, path)
            return record
    except (ValueError, AttributeError, RecursionError) as error:
        reason = str(error)
        if isinstance(error, ValidationError):
            detail = error.errors()[0]
            reason = f"{'.'.join(str(part) for part in detail['loc'])}: {detail['msg']}"
        raise WorkspaceError(f"{path}: corrupt or foreign file ({reason}); move it away") from None
    raise WorkspaceError(
        f"{path}: written in format {content.get('format')}, but this version reads format {FORMAT}; "
        "use the version that wrote it, or move its folder away and run the study again"
    )


def _check_result(result: TrialResult, path: Path | str) -> None:
    """Raise WorkspaceError for unknown settings, ValueError for another trial's result or times without a time zone."""
    vars(result)["config"] = stored_config(result.settings, path)
    if result.signature != os.path.basename(os.path.dirname(path)):
        raise ValueError(f"it belongs to trial {result.signature}")
    for interval in result.work_intervals:
        for time in (interval["began_at"], interval["ended_at"]):
            if datetime.fromisoformat(time).tzinfo is None:
                raise ValueError(f"time without a time zone: {time}")


@functools.cache
def _validators() -> dict[type, TypeAdapter[Any]]:
    return {kind: TypeAdapter(kind) for kind in (TrialResult, TrialFailure, StudyRecord)}
