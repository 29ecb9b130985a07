"""The state of studies, read from the workspace's files: while a sweep runs, from another terminal, or afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.lease import is_held
from asc_sweeps.workspace.paths import CHECKPOINT, LEASE, RESULT, Workspace
from asc_sweeps.workspace.record_store import (
    WorkspaceContents,
    damaged_record,
    load_failure,
    load_result,
    load_studies,
)
from asc_sweeps.workspace.records import TrialFailure, TrialResult, TrialRow, WorkInterval, as_stored


@dataclass(frozen=True)
class TrialStatus:
    """The state of a trial of a study."""

    signature: str
    system: str
    phase: str
    seed: int
    state: str
    """`done`, `running`, `failed`, `stopped` (early), `begun` (has a checkpoint, but is not running) or `planned`."""
    epochs_done: int | None
    epochs_total: int | None
    validation_log_loss: float | None
    """Of the finished trial, else of its last epoch; None without a validation split."""
    seconds_per_epoch: float | None
    message: str
    """Why it failed."""
    work_intervals: list[WorkInterval] = field(default_factory=list)


@dataclass(frozen=True)
class StudyStatus:
    """The state of a study."""

    name: str
    command: str
    trials: list[TrialStatus]

    @property
    def counts(self) -> dict[str, int]:
        """Number of trials by state."""
        states = [t.state for t in self.trials]
        order = ("done", "running", "begun", "planned", "stopped", "failed")
        return {state: states.count(state) for state in order if state in states}

    @property
    def best(self) -> TrialStatus | None:
        """The finished trial with the lowest validation log loss."""
        done = [t for t in self.trials if t.state == "done" and t.validation_log_loss is not None]
        return min(done, key=lambda t: t.validation_log_loss or 0.0, default=None)

    @property
    def seconds_left(self) -> float | None:
        """Estimate from the mean time per epoch and the number of running trials; None if either is unknown."""
        running = [t for t in self.trials if t.state == "running"]
        paces = [t.seconds_per_epoch for t in self.trials if t.seconds_per_epoch]
        totals = [t.epochs_total for t in self.trials if t.epochs_total]
        if not running or not paces or not totals:
            return None
        mean_total, pace = sum(totals) / len(totals), sum(paces) / len(paces)
        unfinished = [t for t in self.trials if t.state in ("running", "begun", "planned")]
        epochs = sum(max(0, (t.epochs_total or mean_total) - (t.epochs_done or 0)) for t in unfinished)
        return epochs * pace / len(running)

    def as_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        best = self.best
        summary = {"counts": self.counts, "best": best.signature if best else None, "seconds_left": self.seconds_left}
        return {"study": self.name, "command": self.command, **summary, "trials": [as_stored(t) for t in self.trials]}


def study_statuses(workspace: Workspace, names: tuple[str, ...] = ()) -> list[StudyStatus]:
    """The named studies of a workspace, or all. Raises WorkspaceError for an unknown study."""
    records = {record.name: record for record in load_studies(workspace)}
    unknown = [name for name in names if name not in records]
    if unknown:
        known = ", ".join(records) or "none yet"
        raise WorkspaceError(f"{workspace.location}: unknown study '{unknown[0]}'; studies that were run: {known}")
    chosen = [records[name] for name in names or records]
    return [StudyStatus(r.name, r.command, [_trial_status(workspace, row) for row in r.trials]) for r in chosen]


def trial_statuses(workspace: Workspace, contents: WorkspaceContents) -> list[TrialStatus]:
    """The unfinished trials of all studies of a workspace whose records have been loaded, each once."""
    rows = {row["signature"]: row for record in contents.studies for row in record.trials if "signature" in row}
    done = {result.signature for result in contents.results}
    unfinished = (row for signature, row in rows.items() if signature not in done)
    return [
        _trial_status(workspace, row) for row in unfinished if not (workspace.trial(row["signature"]) / RESULT).exists()
    ]


def _trial_status(workspace: Workspace, row: TrialRow) -> TrialStatus:
    signature = row["signature"]
    result: TrialResult | None = None
    failure: TrialFailure | None
    try:
        result, failure = load_result(workspace, signature), load_failure(workspace, signature)
    except WorkspaceError as error:
        failure = damaged_record(signature, error)
    progress = _progress_of(result) if result else _checkpoint_progress(workspace, signature)
    if result:
        state = "done"
    elif is_held(workspace.trial(signature) / LEASE):
        state = "running"
    elif failure or row["state"] in ("failed", "stopped"):
        state = "failed" if failure else row["state"]
    else:
        state = "begun" if progress["epochs_done"] else "planned"
    message = f"{failure.cause}: {failure.message}" if failure and state == "failed" else ""
    return TrialStatus(signature, row["system"], row["phase"], row["seed"], state, message=message, **progress)


def _progress_of(result: TrialResult) -> dict[str, Any]:
    epochs, micro = len(result.history), result.micro("validation")
    return {
        "epochs_done": epochs,
        "epochs_total": epochs,
        "validation_log_loss": micro and micro.log_loss,
        "seconds_per_epoch": result.seconds / epochs if epochs else None,
        "work_intervals": result.work_intervals,
    }


def _checkpoint_progress(workspace: Workspace, signature: str) -> dict[str, Any]:
    names = ("epochs_done", "epochs_total", "validation_log_loss", "seconds_per_epoch")
    try:
        pointer = json.loads((workspace.trial(signature) / CHECKPOINT).read_text())
        return {**{name: pointer.get(name) for name in names}, "work_intervals": pointer.get("sittings", [])}
    except (OSError, ValueError, AttributeError):  # there is none yet, or it was replaced while being read
        return dict.fromkeys(names)
