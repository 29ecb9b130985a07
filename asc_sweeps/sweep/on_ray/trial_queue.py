"""What Ray Tune is told while it runs: which trial comes next, which one stops early, who hears of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import DISK_FULL, AscSweepsError, WorkspaceError
from asc_sweeps.sweep.halving import Halving
from asc_sweeps.sweep.plan import Plan, PlannedTrial, planned, with_dependencies
from asc_sweeps.sweep.searches.search_study import SearchStudy
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_failure, load_result

DEATHS = 3
"""How often a trial whose process dies is begun again, in a new process, from its last epoch."""
PATIENCE = 60.0
"""Seconds for which a search's database, or a result that it needs, may be away."""
OnRow = Callable[[str, dict[str, Any]], None]
OnPlanned = Callable[[PlannedTrial], None]


class Queue(Searcher):
    """Hands out trials, each once its start is finished: a plan's, then those that searches ask for.

    What Tune takes for a search algorithm. The ends of trials that a search asked for are told to it.
    """

    def __init__(
        self,
        plan: Plan,
        searches: Sequence[SearchStudy],
        workspace: Workspace,
        at_once: Callable[[], int],
        on_row: OnRow,
        on_planned: OnPlanned,
        on_start: Callable[[str], None],
    ) -> None:
        super().__init__()
        starts = plan.starts

        def rank(t: PlannedTrial) -> tuple[int, bool, float]:
            """Starts that others wait for, then the longest: the last trial to end should be a short one."""
            return t.config.depth, t.config.signature not in starts, -t.cost

        self._waiting = sorted(plan.todo, key=rank)
        self._finished = {t.config.signature for t in plan.trials if t.finished}
        self._failed: dict[str, tuple[str, str]] = {}
        self._stopped: dict[str, int] = {}
        self._running: dict[str, str] = {}
        self._searches = list(searches)
        self._asked: dict[str, list[tuple[SearchStudy, int]]] = {}
        self._paused = False
        """A disk is full: what has not begun, and would fill it, waits until the command is given again."""
        self._ends: list[Callable[[], None]] = []
        """Ends that searches have not been told of."""
        self._workspace, self._at_once = workspace, at_once
        self._on_row, self._on_planned, self._on_start = on_row, on_planned, on_start

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        """The next trial's settings; None while all that is left waits for a start; FINISHED at the end."""
        try:
            self._tell_ends(wait=not self._paused)
        except WorkspaceError:
            if (
                not self._paused
            ):  # else the search's own disk may be the full one: its next start tries again what was left
                raise
        while not self._paused:
            for trial in list(self._waiting):
                needs = [needed.signature for needed in trial.config.dependencies]
                # A teacher that is named by its signature may be one of those that are still to end.
                needs += [t for t in trial.config.teachers() if isinstance(t, str) and self._is_pending(t)]
                failed = next((signature for signature in needs if signature in self._failed), None)
                if failed:
                    self._waiting.remove(trial)
                    message = f"its start {failed} failed"
                    self._on_row(trial.config.signature, {"state": "failed", "cause": "start", "message": message})
                    self.fail(trial.config.signature, "start", message)
                elif all(signature in self._finished for signature in needs):
                    self._waiting.remove(trial)
                    self._running[trial_id] = trial.config.signature
                    return {"trial": trial.config.model_dump_json()}
            # Drawn only when a place is free: a sampler learns from what has ended.
            if len(self._running) + len(self._waiting) >= self._at_once() or not self._draw():
                break
        return None if self._running else Searcher.FINISHED

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Tell an epoch to the searches that asked for the trial."""
        for search, number in self._asked.get(self._running.get(trial_id, ""), []):
            if "epochs_done" in result:
                with suppress(WorkspaceError):  # a point of a curve; whether the database works its end will show
                    search.tell_epoch(number, result["epochs_done"], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take an end: by the trial's own word, or stopped early when it has said none. `fail` tells of a dead process.

        Never raises: Tune would say nothing and begin the trial again. What cannot be told now is told later.
        """
        signature = self._running.pop(trial_id, None)
        if signature is None or error:
            return
        last = result or {}
        state = last.get("state")
        if state == "done":
            self._finished.add(signature)
            self._tell(signature, partial(self._tell_done, signature=signature))
        elif state == "failed":
            self.fail(signature, last["cause"], last["message"])
        else:
            epochs = {"epochs_done": last.get("epochs_done", 0), "epochs_total": last.get("epochs_total", 0)}
            self._on_row(signature, {"state": "stopped", **epochs})
            self._stopped[signature] = epochs["epochs_done"]
            self._tell(signature, partial(SearchStudy.tell_stopped, epochs=epochs["epochs_done"]))

    def fail(self, signature: str, cause: str, message: str) -> None:
        """A trial has failed; what builds on it will. One that found no room is to be tried again, as all that still waits."""
        self._failed[signature] = cause, message
        if cause == DISK_FULL:
            self._paused = True
            self._tell(signature, SearchStudy.tell_interrupted)
        else:
            self._tell(signature, partial(SearchStudy.tell_failed, cause=cause, message=message))

    def interrupt(self) -> None:
        """The sweep ends here: what searches asked for and did not get is to be tried again."""
        with suppress(AscSweepsError):  # what then stands as running is tried again when the search goes on
            self._tell_ends(wait=False)
            for search, number in (pair for pairs in self._asked.values() for pair in pairs):
                search.tell_interrupted(number)
        self._asked.clear()

    def _tell(self, signature: str, tell: Callable[[SearchStudy, int], None]) -> None:
        """Tell a trial's end to the searches that asked for it."""
        self._ends += [partial(tell, search, number) for search, number in self._asked.pop(signature, [])]
        with suppress(AscSweepsError):  # `suggest` tells again, or says why not
            self._tell_ends(wait=False)

    def _tell_ends(self, wait: bool) -> None:
        """Tell what is not told yet; raises WorkspaceError where that cannot be done, after some patience if it may wait."""
        until = time.monotonic() + (PATIENCE if wait else 0)
        while self._ends:
            try:
                self._ends[0]()
            except WorkspaceError:
                if time.monotonic() >= until:
                    raise
                time.sleep(1)
            else:
                self._ends.pop(0)

    def __getstate__(self) -> dict[str, Any]:
        """Nothing, as `save`: Tune writes down what it was given, and a lease is this process's alone."""
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing: an interrupted sweep is planned anew from the workspace."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""

    def _draw(self) -> bool:
        """Ask the searches for one more trial; False when they have no more."""
        while self._searches:
            search = self._searches.pop(0)
            asked = search.ask()
            if asked is None:
                continue
            self._searches.append(search)  # in turn
            trial = planned(asked.config, self._workspace, (search.study,))
            signature = asked.config.signature
            self._asked.setdefault(signature, []).append((search, asked.number))
            if trial.finished:
                self._on_row(signature, {"state": "reused"})
                self._tell(signature, partial(self._tell_done, signature=signature))
            elif signature in self._failed:
                self._on_row(signature, {"state": "repeated"})
                self.fail(signature, *self._failed[signature])
            elif signature in self._stopped:
                self._on_row(signature, {"state": "repeated"})
                self._tell(signature, partial(SearchStudy.tell_stopped, epochs=self._stopped[signature]))
            else:
                if self._is_known(signature):
                    self._on_row(signature, {"state": "repeated"})
                *starts, _ = with_dependencies(asked.config)
                for start in starts:
                    self._on_start(start.signature)
                    self._stopped.pop(start.signature, None)  # it is run in full now
                for one in (*(planned(start, self._workspace) for start in starts), trial):
                    if one.finished:
                        self._finished.add(one.config.signature)
                    elif not self._is_known(one.config.signature):
                        self._waiting.append(one)
                        self._on_planned(one)
            return True
        return False

    def _is_pending(self, signature: str) -> bool:
        return signature in self._running.values() or any(t.config.signature == signature for t in self._waiting)

    def _is_known(self, signature: str) -> bool:
        return self._is_pending(signature) or signature in self._finished or signature in self._failed

    def _tell_done(self, search: SearchStudy, number: int, signature: str) -> None:
        self._workspace.pull_outcome(signature)
        result = load_result(self._workspace, signature)
        if result is None:
            raise WorkspaceError(f"{self._workspace.trial(signature)}: its result has gone while the sweep was running")
        search.tell_finished(number, result)


class EarlyStops(FIFOScheduler):
    """Stops trials of studies that have a scheduler, each study by its own rungs."""

    def __init__(self, halvings: Mapping[str, Halving], plan: Plan) -> None:
        super().__init__()
        self._halvings = halvings
        self._may_stop: dict[str, str] = {}
        starts = plan.starts
        for trial in plan.todo:
            if trial.config.signature not in starts:  # what others build on is always run in full
                self.watch(trial)

    def watch(self, trial: PlannedTrial) -> None:
        """From now on stop this trial, too, if its study has a scheduler."""
        # A study without a scheduler wants its trials in full.
        if trial.studies and all(study in self._halvings for study in trial.studies):
            self._may_stop[trial.config.signature] = trial.studies[0]

    def let_run(self, signature: str) -> None:
        """From now on do not stop this trial: another builds on it."""
        self._may_stop.pop(signature, None)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """CONTINUE or STOP, by the study's rungs; a trial that has run all its epochs is left to score itself."""
        signature, value = signature_of(trial), result.get("validation_log_loss")
        study = self._may_stop.get(signature)
        if study is None or value is None or result["epochs_done"] == result["epochs_total"]:
            return TrialScheduler.CONTINUE
        goes_on = self._halvings[study].goes_on(signature, result["epochs_done"], value)
        return TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP


class Forward(tune.Callback):
    """Tells the driver what trials report, and that a process has died."""

    def __init__(self, workspace: Workspace, queue: Queue, on_row: OnRow) -> None:
        self._workspace, self._queue, self._on_row = workspace, queue, on_row

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        """Hand on one report, an end with what the trial has left behind."""
        if "state" in result:
            with suppress(WorkspaceError):  # then the sweep's end brings it
                self._workspace.pull_outcome(signature_of(trial))
        self._on_row(signature_of(trial), result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Tell what the trial wrote down itself; a process that was killed wrote nothing, but Ray knows that it died."""
        signature, failure = signature_of(trial), None
        with suppress(WorkspaceError):  # then Ray's words say it
            self._workspace.pull_outcome(signature)
            failure = load_failure(self._workspace, signature)
        times, words = f"its process was killed {DEATHS + 1} times", _last_words(trial)
        if failure:
            cause, message = failure.cause, failure.message
        elif "ray::" in words.partition("\n")[0]:
            # Python's traceback: an error that the trial could not write down.
            cause, message = "crash", words.strip().splitlines()[-1]
        elif "running low on memory" in words:
            message = f"{times}, its node being low on memory; --workers runs fewer trials at once"
            cause = "out of memory"
        else:
            cause, message = "killed", f"{times}, from outside or by the system for its memory"
        self._on_row(signature, {"state": "failed", "cause": cause, "message": message})
        self._queue.fail(signature, cause, message)


def signature_of(trial: Any) -> str:
    """The signature of a trial of Tune's."""
    return TrialConfig.model_validate_json(trial.config["trial"]).signature


def _last_words(trial: Any) -> str:
    """What Ray wrote down when a trial's process ended; its file has a line `Failure # 1 (...)` above each text."""
    text = Path(trial.error_file).read_text(errors="replace") if trial.error_file else ""
    return text.rpartition("Failure # ")[2].partition("\n")[2]
