"""A study's search in Optuna: samples out, ends of trials in, every Optuna trial in a true state.

Knows nothing of Ray: whoever runs the trials calls `ask` and the `tell_*` methods.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import TrialState

from asc_sweeps.config.request import Study
from asc_sweeps.config.search_space import OBJECTIVES, SIZES, Search
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import ConfigError, WorkspaceError
from asc_sweeps.sweep.plan import PlannedTrial, plan_trial
from asc_sweeps.sweep.searches.optuna_storage import counted_trials, naming_database, open_storage, sampled_trials
from asc_sweeps.sweep.searches.sampling import PointSampler, make_sampler
from asc_sweeps.sweep.searches.search_record import search_record
from asc_sweeps.training.finished import FinishedTrials, ResultSummary
from asc_sweeps.workspace.records import EpochRow, SearchRecord

MAX_REJECTIONS = 500
"""Samples rejected in a row by limits and conditions after which a search ends itself."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class SampledTrial:
    """One point of a search, to be run as a trial."""

    number: int
    """Of the Optuna trial."""
    config: TrialConfig


class SearchStudy:
    """The Optuna study of one study on resolved data, resumed if it exists; open in one process at a time.

    So trials found RUNNING belonged to one that died, and are retried. `may_write` is called before anything is written and raises
    if another process has taken the search over; `on_end` once a trial's end is in the database. Raises WorkspaceError for a
    database that cannot be used, also in every method, and if it holds another search of this name.
    """

    def __init__(
        self, study: Study, url: str,
        may_write: Callable[[], None] = lambda: None, on_end: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        if study.space.search is None or not study.probes:
            raise ValueError(f"{study.space.study} is not a search")
        self.search: Search = study.space.search
        self.study, self.name = study.space.study, study.record_name
        """Names of the study and of its Optuna study."""
        self.fingerprint = study.probes[0].data.fingerprint
        self.early_end = ""
        """Why the search ended before it had sampled all its trials."""
        self._running: dict[int, optuna.Trial] = {}
        self._url, self._may_write, self._on_end = url, may_write, on_end
        self._sampler = PointSampler(study, self.search)
        self._directions = [StudyDirection[OBJECTIVES[name].upper()] for name in self.search.objectives]
        with naming_database(url):
            self._optuna = optuna.create_study(
                storage=open_storage(url), study_name=self.name, load_if_exists=True,
                directions=self._directions, sampler=make_sampler(self.search),
            )  # fmt: skip
        self._refuse_other_search()
        for t in self._optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.tell_interrupted(t.number)
        for point in self.search.first:
            self._optuna.enqueue_trial({s.name: s.value for s in point}, skip_if_exists=True)

    def ask(self) -> SampledTrial | None:
        """The next point, or None if there are enough. Rejected points are recorded and sampled again."""
        self._may_write()
        with naming_database(self._url):
            for _ in range(MAX_REJECTIONS):
                if self.remaining == 0:
                    return None
                trial = self._optuna.ask()
                try:
                    config, rejection = self._sampler.sample(trial)
                except ValueError as error:
                    self._optuna.tell(trial, state=TrialState.FAIL)
                    raise WorkspaceError(
                        f"search '{self.name}': {error}; its earlier trials were sampled from other choices: rename the study"
                    ) from None
                if config and not rejection:
                    trial.set_user_attr("signature", config.signature)
                    trial.set_user_attr("system", config.system)
                    self._running[trial.number] = trial
                    return SampledTrial(trial.number, config)
                trial.set_user_attr("rejected", rejection)
                self._optuna.tell(trial, state=TrialState.PRUNED)
            self.early_end = f"{MAX_REJECTIONS} consecutive samples rejected by its limits or its condition; "
            self.early_end += f"{self.sampled} of {self.search.trials} trials sampled"
            return None

    def tell_finished(self, number: int, result: ResultSummary) -> None:
        """A trial is finished: its objectives count."""
        self._end(number, values=[_objective(name, result) for name in self.search.objectives])

    def tell_failed(self, number: int, cause: str, message: str) -> None:
        """A trial has failed."""
        self._end(number, ("failed", f"{cause}: {message}"), state=TrialState.FAIL)

    def tell_stopped(self, number: int, epochs: int) -> None:
        """A trial was stopped early; a sampler of one objective uses the epochs that it reported."""
        self._end(number, ("stopped_after_epochs", epochs), state=TrialState.PRUNED)

    def tell_epoch(self, number: int, epoch: int, metrics: EpochRow) -> None:
        """One epoch of a running trial; Optuna accepts them for a single objective only."""
        value = metrics.get(self.search.objectives[0])
        if len(self.search.objectives) == 1 and isinstance(value, float):
            with naming_database(self._url), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an epoch that is reported twice, by a retried worker
                self._running[number].report(value, epoch)

    def tell_interrupted(self, number: int) -> None:
        """A trial did not end: it fails in Optuna, and its point is enqueued to be retried."""
        self._may_write()
        with naming_database(self._url):
            params = next(t.params for t in self._optuna.get_trials(deepcopy=False) if t.number == number)
            self._optuna.enqueue_trial(params, user_attrs={"again": number})
        self._end(number, state=TrialState.FAIL)

    def _end(self, number: int, note: tuple[str, object] | None = None, **end: Any) -> None:
        self._may_write()
        with naming_database(self._url):
            if note:
                self._running[number].set_user_attr(*note)
            self._optuna.tell(number, **end, skip_if_finished=True)
        self._on_end()

    @property
    def sampled(self) -> int:
        """Points that count: neither rejected, nor cut off by an interruption, nor waiting."""
        return len(counted_trials(self._optuna))

    @property
    def remaining(self) -> int:
        """Points still to be sampled."""
        return max(0, self.search.trials - self.sampled)

    @property
    def rejected(self) -> int:
        """Points rejected by a limit or the condition before any training."""
        return len(sampled_trials(self._optuna)) - self.sampled

    def planned_trials(self, finished: FinishedTrials) -> list[PlannedTrial]:
        """The distinct trials of all points that count."""
        found = {}
        for frozen in counted_trials(self._optuna):
            try:
                config = self._sampler.config_at(frozen.params)
            except ConfigError:  # the space has been narrowed since
                continue
            if config:
                stopped = frozen.state == TrialState.PRUNED
                found[config.signature] = plan_trial(config, finished, (self.study,), stopped)
        return list(found.values())

    def best(self) -> list[tuple[str, list[float], dict[str, Any]]]:
        """Signature, objectives and sampled settings of the best trial, or of the Pareto front of several objectives."""
        if not self._optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            return []
        best = self._optuna.best_trials if len(self.search.objectives) > 1 else [self._optuna.best_trial]
        distinct = {t.user_attrs.get("signature", ""): t for t in best}
        return [(signature, list(t.values), t.params) for signature, t in distinct.items()]

    def as_record(self) -> SearchRecord:
        """The search and its points, for the study's record."""
        return search_record(self.search, sampled_trials(self._optuna))

    def _refuse_other_search(self) -> None:
        """Raise WorkspaceError if the stored trials would mislead the sampler."""
        identity = self._sampler.identity()
        stored = self._optuna.user_attrs.get("identity", identity)
        if stored != identity or self._optuna.directions != self._directions:
            raise WorkspaceError(
                f"search '{self.name}': its Optuna study holds trials with other data, fixed settings or objectives, which would "
                "mislead the sampler; rename the study, or use another database with --storage"
            )
        self._optuna.set_user_attr("identity", identity)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._optuna.set_metric_names(list(self.search.objectives))  # labels of dashboards


def _objective(name: str, result: ResultSummary) -> float:
    if name in SIZES:
        return float(getattr(result.complexity, name))
    return float(getattr(result.micro_scores["validation"], name.removeprefix("validation_")))
