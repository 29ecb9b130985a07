"""Covers that let Ray Tune use the trial queue and early stopping, and pass on what workers report."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from asc_sweeps.errors import WorkspaceError
from asc_sweeps.sweep.halving import EarlyStopping
from asc_sweeps.sweep.on_ray.event_transport import decode
from asc_sweeps.sweep.scheduling import OnEvent, TrialQueue
from asc_sweeps.sweep.trial_events import EpochFinished, TrialEnd, TrialFailed, TrialStopped
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_failure
from asc_sweeps.workspace.records import TrialFailure

WORKER_RETRIES = 3
"""How often a trial whose process died is restarted in a new process, from its last epoch."""


class _NotStored:
    """Tune pickles what it is given; an interrupted sweep is planned anew instead, and leases belong to this process."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class QueueSearcher(_NotStored, Searcher):
    """The trial queue as what Tune takes for a search algorithm."""

    def __init__(self, queue: TrialQueue, on_event: OnEvent) -> None:
        super().__init__()
        self._queue, self._on_event = queue, on_event
        self._signatures: dict[str, str] = {}
        """Of the running trials, by Tune's id."""

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:  # type: ignore[override]  # Ray's type omits FINISHED, a str
        """The next trial; None while there is none yet."""
        config = self._queue.next_trial()
        if config is None:
            return None if self._queue.is_running else Searcher.FINISHED
        self._signatures[trial_id] = config.signature
        return {"signature": config.signature, "trial": config.model_dump_json()}

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass an epoch on to the queue."""
        if isinstance(event := decode(result), EpochFinished):
            self._queue.reports.epoch_finished(event)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass an end on: the reported one, or early stopping if the last report was an epoch. `EventCallback` does so on error."""
        signature = self._signatures.pop(trial_id, None)
        if signature is None or error:
            return
        match decode(result) if result else None:
            case None:
                end: TrialEnd = TrialStopped(signature, 0, 0)
            case EpochFinished() as epoch:
                end = TrialStopped(signature, epoch.epochs_done, epoch.epochs_total)
            case reported:
                return self._queue.end(reported)
        self._on_event(end)
        self._queue.end(end)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: an interrupted sweep is planned anew."""

    restore = save


class EarlyStopScheduler(FIFOScheduler):
    """Early stopping as a scheduler of Tune's."""

    def __init__(self, early: EarlyStopping) -> None:
        super().__init__()
        self._early = early

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """STOP or CONTINUE."""
        event = decode(result)
        stops = isinstance(event, EpochFinished) and self._early.stops(event)
        return TrialScheduler.STOP if stops else TrialScheduler.CONTINUE


class EventCallback(_NotStored, tune.Callback):
    """Passes on what workers report, and that one has died."""

    def __init__(self, workspace: Workspace, queue: TrialQueue, on_event: OnEvent) -> None:
        self._workspace, self._queue, self._on_event = workspace, queue, on_event

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass on one report; at a trial's end, its files are fetched first."""
        event = decode(result)
        if not isinstance(event, EpochFinished):
            with suppress(WorkspaceError):  # the end of the sweep fetches them
                self._workspace.pull_outcome(event.signature)
        self._on_event(event)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Pass on the failure that the trial recorded, or how its process died."""
        signature, failure = trial.config["signature"], None
        with suppress(WorkspaceError):
            self._workspace.pull_outcome(signature)
            failure = load_failure(self._workspace, signature)
        text = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
        event = worker_failure(signature, failure, text)
        self._on_event(event)
        self._queue.end(event)


def worker_failure(signature: str, recorded: TrialFailure | None, error_file: str) -> TrialFailed:
    """Why a trial failed whose retries are used up, by its record or else by Tune's error file."""
    if recorded:
        return TrialFailed(signature, recorded.cause, recorded.message)
    last = error_file.rpartition("Failure # ")[2].partition("\n")[
        2
    ]  # each text has a line `Failure # 1 (...)` above it
    killed = f"its process was killed {WORKER_RETRIES + 1} times"
    if "ray::" in last.partition("\n")[0]:  # a Python traceback: an error that the trial could not record
        return TrialFailed(signature, "crash", last.strip().splitlines()[-1])
    if "running low on memory" in last:
        message = f"{killed} because its node ran low on memory; run fewer trials at once with --workers"
        return TrialFailed(signature, "out of memory", message)
    return TrialFailed(signature, "killed", f"{killed}, by a user, or by the system for lack of memory")
