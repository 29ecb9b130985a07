"""Which trial of a sweep may start next, and which searches learn how it ended; knows nothing of Ray."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import chain
from typing import TYPE_CHECKING

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import DISK_FULL, AscSweepsError, WorkspaceError
from asc_sweeps.sweep import trial_events as events
from asc_sweeps.sweep.halving import EarlyStopping
from asc_sweeps.sweep.plan import Plan, PlannedTrial, plan_trial, with_dependencies
from asc_sweeps.training.finished import FinishedTrials

if TYPE_CHECKING:  # imports Optuna, which a grid does not need
    from asc_sweeps.sweep.searches.search_study import SampledTrial, SearchStudy

DELIVERY_SECONDS = 60.0
"""How long a search's database, or a result it needs, may be unavailable before the sweep ends."""
OnEvent = Callable[[events.SweepEvent], None]
OnPlanned = Callable[[PlannedTrial], None]


class TrialQueue:
    """Hands out trials once their dependencies are finished: those of a plan, then those that searches sample.

    `capacity()` says how many trials can run at once; `on_event` receives the events that arise here, `on_planned` each trial that
    a search adds. Retrying a trial whose worker died is not decided here: its end is reported when retries are used up.
    """

    def __init__(
        self, plan: Plan, finished: FinishedTrials, searches: Sequence[SearchStudy], early: EarlyStopping,
        capacity: Callable[[], int], on_event: OnEvent, on_planned: OnPlanned,
    ) -> None:  # fmt: skip
        starts = plan.starts

        def rank(t: PlannedTrial) -> tuple[int, bool, float]:
            """Trials that others wait for, then the longest: the last to end should be a short one."""
            return t.config.depth, t.config.signature not in starts, -t.cost

        self._waiting = {t.config.signature: t for t in sorted(plan.todo, key=rank)}
        self._running: set[str] = set()
        done = (t.config.signature for t in plan.trials if t.finished)
        self._ended: dict[str, events.TrialEnd] = {
            signature: events.TrialFinished(signature, trained=False) for signature in done
        }
        self._finished, self._searches, self._early = finished, list(searches), early
        self.reports = SearchReports(finished)
        self._capacity, self._on_event, self._on_planned = capacity, on_event, on_planned
        self._disk_full = False
        """Nothing more is started, since it would fill the disk further; it waits for the next run of the command."""

    @property
    def is_running(self) -> bool:
        """Whether a trial runs; if none does and `next_trial` has none, the sweep is over."""
        return bool(self._running)

    def next_trial(self) -> TrialConfig | None:
        """The trial to start now, or None. Raises WorkspaceError if a search cannot be told an end for DELIVERY_SECONDS."""
        try:
            self.reports.deliver(0 if self._disk_full else DELIVERY_SECONDS)
        except WorkspaceError:
            if not self._disk_full:  # the database may be on that disk; the next run retries the search's open trials
                raise
        while not self._disk_full:
            if trial := self._pop_ready():
                self._running.add(trial.config.signature)
                return trial.config
            # Sampled only for a free slot: a sampler learns from the trials that have ended.
            if len(self._running) + len(self._waiting) >= self._capacity() or not self._sample():
                break
        return None

    def end(self, event: events.TrialEnd) -> None:
        """Record a trial's end. Never raises: Ray Tune would ignore it and start the trial again."""
        self._running.discard(event.signature)
        self._ended[event.signature] = event
        self._disk_full |= isinstance(event, events.TrialFailed) and event.cause == DISK_FULL
        self.reports.end(event)

    def _pop_ready(self) -> PlannedTrial | None:
        """The first trial whose dependencies are finished; those whose dependency failed fail on the way."""
        for signature, trial in list(self._waiting.items()):
            ends = [self._ended.get(dependency) for dependency in self._dependencies(trial.config)]
            failed = next((end for end in ends if isinstance(end, events.TrialFailed)), None)
            if failed:
                del self._waiting[signature]
                event = events.TrialFailed(signature, "start", f"its start {failed.signature} failed")
                self._on_event(event)
                self.end(event)
            elif all(isinstance(end, events.TrialFinished) for end in ends):
                return self._waiting.pop(signature)
        return None

    def _dependencies(self, config: TrialConfig) -> list[str]:
        # A teacher that is named by its signature may be a trial that has yet to end.
        pending_teachers = [t for t in config.teachers() if isinstance(t, str) and self._is_pending(t)]
        return [*(needed.signature for needed in config.dependencies), *pending_teachers]

    def _is_pending(self, signature: str) -> bool:
        return signature in self._running or signature in self._waiting

    def _sample(self) -> bool:
        """Take one more trial from the searches, in turn; False if they have no more."""
        while self._searches:
            search = self._searches.pop(0)
            if sampled := search.ask():
                self._searches.append(search)
                self._add(search, sampled)
                return True
        return False

    def _add(self, search: SearchStudy, sampled: SampledTrial) -> None:
        signature = sampled.config.signature
        self.reports.subscribe(search, sampled)
        if self._finished.find(sampled.config):
            self._on_event(events.PointReused(signature))
            self.reports.end(events.TrialFinished(signature, trained=False))
            return
        if self._is_pending(signature) or signature in self._ended:
            self._on_event(events.PointRepeated(signature))
        if isinstance(end := self._ended.get(signature), events.TrialFailed | events.TrialStopped):
            self.reports.end(end)
            return
        *starts, _ = with_dependencies(sampled.config)
        for start in starts:
            self._early.exempt(start.signature)
            if isinstance(self._ended.get(start.signature), events.TrialStopped):
                del self._ended[start.signature]  # it runs to the end now
        sampled_trial = plan_trial(sampled.config, self._finished, (search.study,))
        for trial in [*(plan_trial(start, self._finished) for start in starts), sampled_trial]:
            name = trial.config.signature
            if trial.finished:
                self._ended[name] = events.TrialFinished(name, trained=False)
            elif not self._is_pending(name) and name not in self._ended:
                self._waiting[name] = trial
                self._early.watch(trial)
                self._on_planned(trial)


class SearchReports:
    """Tells searches how the trials that they sampled ended; what a database cannot take now it gets later."""

    def __init__(self, finished: FinishedTrials) -> None:
        self._finished = finished
        self._subscribers: dict[str, list[tuple[SearchStudy, SampledTrial]]] = {}
        self._undelivered: list[tuple[SearchStudy, SampledTrial, events.TrialEnd]] = []

    def subscribe(self, search: SearchStudy, sampled: SampledTrial) -> None:
        """Tell this search how the trial ends."""
        self._subscribers.setdefault(sampled.config.signature, []).append((search, sampled))

    def epoch_finished(self, event: events.EpochFinished) -> None:
        """Pass on an epoch. It is one point of a curve: if the database is unavailable, the trial's end will show it."""
        for search, sampled in self._subscribers.get(event.signature, []):
            with suppress(WorkspaceError):
                search.tell_epoch(sampled.number, event.epochs_done, event.metrics)

    def end(self, event: events.TrialEnd) -> None:
        """Pass on an end, now or with a later `deliver`."""
        self._undelivered += [(*subscriber, event) for subscriber in self._subscribers.pop(event.signature, [])]
        with suppress(AscSweepsError):
            self.deliver()

    def deliver(self, patience: float = 0.0) -> None:
        """Pass on all ends that are left; raises WorkspaceError if that fails for `patience` seconds."""
        deadline = time.monotonic() + patience
        while self._undelivered:
            try:
                self._tell(*self._undelivered[0])
            except WorkspaceError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(1)
            else:
                self._undelivered.pop(0)

    def interrupt(self) -> None:
        """End the sweep: trials that have not ended are to be retried. If a search cannot be told, opening it again does so."""
        with suppress(AscSweepsError):
            self.deliver()
            for search, sampled in chain.from_iterable(self._subscribers.values()):
                search.tell_interrupted(sampled.number)
        self._subscribers.clear()

    def _tell(self, search: SearchStudy, sampled: SampledTrial, event: events.TrialEnd) -> None:
        match event:
            case events.TrialFinished():
                workspace = self._finished.workspace
                workspace.pull_outcome(event.signature)
                result = self._finished.find(sampled.config)
                if result is None:
                    raise WorkspaceError(f"{workspace.trial(event.signature)}: its result was removed during the sweep")
                search.tell_finished(sampled.number, result)
            case events.TrialFailed() if event.cause == DISK_FULL:  # to be retried, as all that waits
                search.tell_interrupted(sampled.number)
            case events.TrialFailed():
                search.tell_failed(sampled.number, event.cause, event.message)
            case events.TrialStopped():
                search.tell_stopped(sampled.number, event.epochs_done)
