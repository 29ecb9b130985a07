"""A study's search in Optuna's words: drawn points out, their ends in, every Optuna trial in a true state.

The only door to Optuna. Knows nothing of Ray: whoever runs the trials asks and tells.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import TrialState

from asc_sweeps.config.request import Study
from asc_sweeps.config.search_space import OBJECTIVES, SIZES, Parameter, Search, point_settings
from asc_sweeps.config.settings import Setting, values_with_defaults
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import AscSweepsError, ConfigError, WorkspaceError
from asc_sweeps.sweep.plan import PlannedTrial, planned
from asc_sweeps.training.finished import complexity_of
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import TrialResult

MOST_REDRAWS = 500
"""Draws in a row that limits and conditions refuse before a search ends itself."""

PATIENCE = 60.0
"""Seconds for which SQLite waits for another process that is writing to the database."""

optuna.logging.set_verbosity(optuna.logging.ERROR)


@dataclass(frozen=True)
class SampledTrial:
    """One point of a search, to be run as a trial."""

    number: int
    """Of the Optuna trial."""
    config: TrialConfig


class SearchStudy:
    """The Optuna study of one study of a request, continued where it is there already.

    `study` is bound to its data. One process at a time may have it open: what is found RUNNING was left by one that died, and
    is tried again. `may_write` is asked before anything is drawn or told, and raises where another process has the search now;
    `on_end` is called when a trial's end is in the database. Raises WorkspaceError for a database that cannot be used, here and
    in every method, or that holds another search of this name.
    """

    def __init__(
        self,
        study: Study,
        url: str,
        may_write: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        if study.space.search is None or not study.probes:
            raise ValueError(f"{study.space.study} is not a search")
        self.study = study.space.study
        self.name = study.record_name
        """Of the Optuna study."""
        self.search: Search = study.space.search
        self.early_end = ""
        """Why a search ended before it had tried all it was asked to."""
        self._of, self._data = study, study.probes[0].data
        self.fingerprint = self._data.fingerprint
        """Of the data that its trials are trained on."""
        self._asked: dict[int, optuna.Trial] = {}
        self._on_end = on_end
        directions = [OBJECTIVES[name] for name in self.search.objectives]
        self._url, self._may_write = url, may_write
        with _usable(url):
            self._optuna = optuna.create_study(
                storage=_storage(url),
                study_name=self.name,
                directions=directions,
                sampler=self._sampler(),
                load_if_exists=True,
            )
        self._refuse_other_search(directions)
        self._try_again_what_was_left()
        for point in self.search.first:
            self._optuna.enqueue_trial({s.name: s.value for s in point}, skip_if_exists=True)

    def ask(self) -> SampledTrial | None:
        """The next point, or None when all that were asked for are drawn. Points that a limit refuses are told at once."""
        self._may_write()
        with _usable(self._url):
            return self._ask()

    def _ask(self) -> SampledTrial | None:
        for _ in range(MOST_REDRAWS):
            if self.sampled >= self.search.trials:
                return None
            trial = self._optuna.ask()
            config, refused = self._config(trial)
            if config and not refused:
                trial.set_user_attr("signature", config.signature)
                trial.set_user_attr("system", config.system)
                self._asked[trial.number] = trial
                return SampledTrial(trial.number, config)
            trial.set_user_attr("rejected", refused)
            self._optuna.tell(trial, state=TrialState.PRUNED)
        self.early_end = (
            f"{MOST_REDRAWS} points in a row were refused by its limits or its condition; "
            f"{self.sampled} of {self.search.trials} trials were drawn"
        )
        return None

    def tell_finished(self, number: int, result: TrialResult) -> None:
        """A trial is finished: its objectives count."""
        values = [_objective(name, result) for name in self.search.objectives]
        self._end(number, {}, values=values)

    def tell_failed(self, number: int, cause: str, message: str) -> None:
        """A trial has failed, with its cause."""
        self._end(number, {"failed": f"{cause}: {message}"}, state=TrialState.FAIL)

    def tell_stopped(self, number: int, epochs: int) -> None:
        """A trial was stopped early; what it had reported by then counts for the sampler where it looks at one objective."""
        self._end(number, {"stopped_after_epochs": epochs}, state=TrialState.PRUNED)

    def tell_epoch(self, number: int, epoch: int, row: dict[str, Any]) -> None:
        """One epoch of a running trial, for Optuna's curves; it takes them of searches with one objective alone."""
        value = row.get(self.search.objectives[0])
        if len(self.search.objectives) == 1 and value is not None:
            with _usable(self._url), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an epoch that is told twice, after a worker was replaced
                self._asked[number].report(value, epoch)

    def tell_interrupted(self, number: int) -> None:
        """A trial was not ended: it fails in Optuna, and its point waits to be tried again."""
        self._may_write()
        with _usable(self._url):
            params = next(t.params for t in self._optuna.get_trials(deepcopy=False) if t.number == number)
            self._optuna.enqueue_trial(params, user_attrs={"again": number})
        self._end(number, {}, state=TrialState.FAIL)

    def _end(self, number: int, notes: Mapping[str, object], **how: Any) -> None:
        self._may_write()
        with _usable(self._url):
            for name, value in notes.items():
                self._asked[number].set_user_attr(name, value)
            self._optuna.tell(number, **how, skip_if_finished=True)
        self._on_end()

    @property
    def sampled(self) -> int:
        """Points that count: all but those that a limit refused, an interruption cut off, or that still wait."""
        return len(_counted(self._optuna))

    @property
    def remaining(self) -> int:
        """Points that are still to be drawn."""
        return max(0, self.search.trials - self.sampled)

    @property
    def rejected(self) -> int:
        """Points that a limit or the condition refused before any training."""
        return sum("rejected" in t.user_attrs for t in self._optuna.get_trials(deepcopy=False))

    def planned_trials(self, workspace: Workspace) -> list[PlannedTrial]:
        """The trials of all points that count, equal ones once."""
        found = {}
        for frozen in _counted(self._optuna):
            try:
                config = self._trial_at(point_settings(frozen.params, self.name))
            except ConfigError:  # of a space that has been narrowed since
                continue
            if config:
                stopped = frozen.state == TrialState.PRUNED
                found[config.signature] = planned(config, workspace, (self.study,), stopped)
        return list(found.values())

    def best(self) -> list[tuple[str, list[float], dict[str, Any]]]:
        """Signature, objectives and drawn settings of the best trial, or of the Pareto front for several objectives."""
        done = self._optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if not done:
            return []
        best = self._optuna.best_trials if len(self.search.objectives) > 1 else [self._optuna.best_trial]
        unique = {t.user_attrs.get("signature", ""): t for t in best}
        return [(name, list(t.values), t.params) for name, t in unique.items()]

    def as_record(self) -> dict[str, Any]:
        """What was asked for and what was drawn, as plain values for the study's record.

        `points`, in the order in which they were drawn: number, state (done, failed, stopped, refused, running), signature,
        values (one an objective), params (drawn settings), reason (why it was refused or failed).
        """
        search = self.search
        again = {t.user_attrs.get("again") for t in self._optuna.get_trials(deepcopy=False)}
        drawn = [
            t
            for t in self._optuna.get_trials(deepcopy=False)
            if t.state != TrialState.WAITING and t.number not in again
        ]
        return {
            "sampler": search.sampler,
            "seed": search.seed,
            "objectives": list(search.objectives),
            "limits": dict(search.limits),
            "trials": search.trials,
            "parameters": [
                {"name": p.name, "when": p.when.text if p.when else None}
                | ({"choices": list(p.choices)} if p.choices else {"low": p.low, "high": p.high, "log": p.log})
                for p in search.parameters
            ],
            "points": [_point(t) for t in drawn],
        }

    def _sampler(self) -> optuna.samplers.BaseSampler:
        seed = self.search.seed
        match self.search.sampler:
            case "random":
                return optuna.samplers.RandomSampler(seed)
            case "nsga2":
                return optuna.samplers.NSGAIISampler(seed=seed)
            case _:  # several trials run at once: it must not draw the same point for all of them
                return optuna.samplers.TPESampler(seed=seed, constant_liar=True)

    def _config(self, trial: optuna.Trial) -> tuple[TrialConfig | None, str]:
        """The trial that Optuna draws, and what refuses it, if anything."""
        values: dict[str, object] = {}
        try:
            for parameter in self.search.parameters:
                known = values_with_defaults(
                    [*self._of.space.settings, *point_settings(values, ""), *self._of.overrides]
                )
                if parameter.when is None or parameter.when.holds(known):
                    values[parameter.name] = _suggest(trial, parameter)
        except ValueError as error:
            self._optuna.tell(trial, state=TrialState.FAIL)
            raise WorkspaceError(
                f"search '{self.name}': {error}; its earlier trials were drawn from other choices: give the study another name"
            ) from None
        try:
            config = self._trial_at(point_settings(values, f"search '{self.name}'"))
        except ConfigError as error:
            return None, error.problems[0]
        if self._of.space.condition:
            trial.set_constraint("where", 1.0 if config is None else -1.0)
        if config is None:
            return None, "left out by `where`"
        complexity, refused = complexity_of(config), []
        for name, limit in self.search.limits.items():
            value = getattr(complexity, name)
            trial.set_constraint(name, float(value - limit))
            refused += [f"{name} {value:,} over {limit:,}"] if value > limit else []
        return config, ", ".join(refused)

    def _trial_at(self, point: tuple[Setting, ...]) -> TrialConfig | None:
        study = self._of
        config = study.space.trial(point, study.seeds[0], study.overrides)
        if config is None:
            return None
        probe = next((p for p in study.probes if p.data.subset == config.data.subset), study.probes[0])
        heard = next(
            (p.augment.impulse_responses_content for p in study.probes if p.augment.impulse_responses_content), ""
        )
        return config.with_resolved_data(self._data.dataset, self._data.fingerprint, probe.data.subset_content, heard)

    def _refuse_other_search(self, directions: list[str]) -> None:
        """Trials of other data, fixed settings or objectives must not answer this search."""
        study = self._of
        drawn = {p.name for p in self.search.parameters}
        fixed = values_with_defaults([*study.space.settings, *study.overrides])
        fixed = {name: value for name, value in fixed.items() if name not in drawn and name != "data.dataset"}
        what = [fixed, self._data.fingerprint, study.seeds[0], self.search.objectives]
        identity = hashlib.sha256(json.dumps(what, sort_keys=True, default=str).encode()).hexdigest()[:12]
        known = self._optuna.user_attrs.get("identity", identity)
        if known != identity or [d.name.lower() for d in self._optuna.directions] != directions:
            raise WorkspaceError(
                f"search '{self.name}': its Optuna study holds trials with other data, fixed settings or objectives, which "
                "would mislead the sampler; give the study another name, or another database with --storage"
            )
        self._optuna.set_user_attr("identity", identity)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._optuna.set_metric_names(list(self.search.objectives))  # as dashboards call the axes

    def _try_again_what_was_left(self) -> None:
        for t in self._optuna.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self.tell_interrupted(t.number)


def count_sampled(url: str, name: str) -> int:
    """How many points a search has drawn by what its database says; none where there is no such search or database."""
    if url.startswith("sqlite:///") and not Path(url.removeprefix("sqlite:///")).exists():
        return 0  # opening it would make it
    with _usable(url):
        try:
            return len(_counted(optuna.load_study(study_name=name, storage=_storage(url))))
        except KeyError:
            return 0


def _storage(url: str) -> optuna.storages.BaseStorage:
    """A database; one of SQLite's that another process has locked is waited for, and no call on it is lost."""
    if not url.startswith("sqlite"):
        return optuna.storages.get_storage(url)
    patient = {"connect_args": {"timeout": PATIENCE}}  # 5 s otherwise, then an error
    return optuna.storages.get_storage(optuna.storages.RDBStorage(url, engine_kwargs=patient))


@contextmanager
def _usable(url: str) -> Iterator[None]:
    """Tell what goes wrong with a database by its address; our own errors pass."""
    try:
        yield
    except AscSweepsError:
        raise
    except Exception as error:  # whatever Optuna, SQLAlchemy or the database's own library raises
        text = next(iter(str(error).splitlines()), type(error).__name__)
        raise WorkspaceError(f"{url}: cannot be used as the database of searches ({text})") from error


def _counted(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that count: not those that still wait, that a limit refused, or that were tried again."""
    trials = study.get_trials(deepcopy=False)
    again = {t.user_attrs.get("again") for t in trials}
    return [
        t for t in trials if t.state != TrialState.WAITING and "rejected" not in t.user_attrs and t.number not in again
    ]


def _point(trial: optuna.trial.FrozenTrial) -> dict[str, Any]:
    notes = trial.user_attrs
    usual = {TrialState.COMPLETE: "done", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}
    return {
        "number": trial.number,
        "state": "refused" if "rejected" in notes else usual.get(trial.state, "running"),
        "signature": notes.get("signature"),
        "values": list(trial.values) if trial.state == TrialState.COMPLETE and trial.values else None,
        "params": dict(trial.params),
        "reason": notes.get("rejected") or notes.get("failed") or "",
    }


def _suggest(trial: optuna.Trial, parameter: Parameter) -> object:
    p = parameter
    if p.choices:
        return trial.suggest_categorical(p.name, p.choices)
    if isinstance(p.low, int):
        return trial.suggest_int(p.name, p.low, int(p.high), step=int(p.step or 1), log=p.log)
    return trial.suggest_float(p.name, p.low, p.high, step=p.step, log=p.log)


def _objective(name: str, result: TrialResult) -> float:
    if name in SIZES:
        return float(getattr(result.complexity, name))
    return float(getattr(result.micro("validation"), name.removeprefix("validation_")))
