"""How studies stand, read from the workspace's files alone: while a sweep runs, from another terminal, or after it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.lease import is_held
from asc_sweeps.workspace.paths import CHECKPOINT, LEASE, RESULT, Workspace
from asc_sweeps.workspace.results import (
    Left,
    StudyRecord,
    TrialFailure,
    TrialResult,
    load_failure,
    load_result,
    load_studies,
)


@dataclass(frozen=True)
class TrialStatus:
    """One trial of a study as it stands now."""

    signature: str
    system: str
    phase: str
    seed: int
    state: str
    """`done`, `running`, `failed`, `stopped` (early), `begun` (has a checkpoint, nobody trains it) or `planned`."""
    epochs_done: int | None
    epochs_total: int | None
    validation_log_loss: float | None
    """Of the finished trial, else of its last epoch; None without a validation split."""
    seconds_per_epoch: float | None
    message: str
    """Why it failed."""
    sittings: list[dict[str, str]] = field(default_factory=list)
    """The stretches of work on it, as in a result."""


@dataclass(frozen=True)
class StudyStatus:
    """One study as it stands now."""

    name: str
    command: str
    trials: list[TrialStatus]

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state, in the order in which they pass through them."""
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
        """At the pace of the trials that run now; None where nothing runs, or has run an epoch."""
        running = [t for t in self.trials if t.state == "running"]
        paces = [t.seconds_per_epoch for t in self.trials if t.seconds_per_epoch]
        totals = [t.epochs_total for t in self.trials if t.epochs_total]
        if not running or not paces or not totals:
            return None
        usual, pace = sum(totals) / len(totals), sum(paces) / len(paces)
        left = [t for t in self.trials if t.state in ("running", "begun", "planned")]
        epochs = sum(max(0, (t.epochs_total or usual) - (t.epochs_done or 0)) for t in left)
        return epochs * pace / len(running)

    def as_json(self) -> dict[str, Any]:
        """All of it as plain values."""
        best = self.best
        ends = {"counts": self.counts, "best": best.signature if best else None, "seconds_left": self.seconds_left}
        return {"study": self.name, "command": self.command, **ends, "trials": [asdict(t) for t in self.trials]}


def study_statuses(workspace: Workspace, names: tuple[str, ...] = ()) -> list[StudyStatus]:
    """Some studies of a workspace, or all. Raises WorkspaceError for a study that was never run in it."""
    records = {record.name: record for record in load_studies(workspace)}
    unknown = [name for name in names if name not in records]
    if unknown:
        known = ", ".join(records) or "none yet"
        raise WorkspaceError(f"{workspace.place}: knows no study '{unknown[0]}'; known: {known}")
    return [_study(workspace, records[name]) for name in names or records]


def trial_statuses(workspace: Workspace, left: Left) -> list[TrialStatus]:
    """The trials of all studies of a workspace that have no result, each once; `left` is what was read of it."""
    rows = {row["signature"]: row for record in left.studies for row in record.trials if "signature" in row}
    done = {result.signature for result in left.results}
    open_ones = (row for signature, row in rows.items() if signature not in done)
    return [_trial(workspace, row) for row in open_ones if not (workspace.trial(row["signature"]) / RESULT).exists()]


def _study(workspace: Workspace, record: StudyRecord) -> StudyStatus:
    return StudyStatus(record.name, record.command, [_trial(workspace, row) for row in record.trials])


def _trial(workspace: Workspace, row: dict[str, Any]) -> TrialStatus:
    signature = row["signature"]
    result, failure = _end(workspace, signature)
    if result:
        epochs = len(result.history)
        micro = result.micro("validation")
        facts = {"epochs_done": epochs, "epochs_total": epochs, "validation_log_loss": micro and micro.log_loss}
        facts["seconds_per_epoch"] = result.seconds / epochs if epochs else None
        facts["sittings"] = result.sittings
    else:
        facts = _checkpoint(workspace, signature)
    if result:
        state = "done"
    elif is_held(workspace.trial(signature) / LEASE):
        state = "running"
    elif failure or row["state"] in ("failed", "stopped"):
        state = "failed" if failure else row["state"]
    else:
        state = "begun" if facts["epochs_done"] else "planned"
    message = f"{failure.cause}: {failure.message}" if failure and state == "failed" else ""
    who = {name: row[name] for name in ("signature", "system", "phase", "seed")}
    return TrialStatus(**who, state=state, message=message, **facts)


def _end(workspace: Workspace, signature: str) -> tuple[TrialResult | None, TrialFailure | None]:
    """How a trial ended; a file that cannot be read is a failure to be told of."""
    try:
        return load_result(workspace, signature), load_failure(workspace, signature)
    except WorkspaceError as error:
        return None, TrialFailure(signature, "", "", "damaged", str(error), "")


def _checkpoint(workspace: Workspace, signature: str) -> dict[str, Any]:
    names = ("epochs_done", "epochs_total", "validation_log_loss", "seconds_per_epoch")
    try:
        pointer = json.loads((workspace.trial(signature) / CHECKPOINT).read_text())
        return {**{name: pointer.get(name) for name in names}, "sittings": pointer.get("sittings", [])}
    except (OSError, ValueError, AttributeError):  # none yet, or replaced while it was read
        return dict.fromkeys(names) | {"sittings": []}
