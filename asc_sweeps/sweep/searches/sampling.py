"""From Optuna's samples to trials of a study, or the reason why a sample is rejected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import optuna

from asc_sweeps.config.request import Study
from asc_sweeps.config.search_space import Parameter, Search, point_settings
from asc_sweeps.config.settings import values_with_defaults
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import ConfigError
from asc_sweeps.training.finished import complexity_of


def make_sampler(search: Search) -> optuna.samplers.BaseSampler:
    """Optuna's sampler of a search."""
    match search.sampler:
        case "random":
            return optuna.samplers.RandomSampler(search.seed)
        case "nsga2":
            return optuna.samplers.NSGAIISampler(seed=search.seed)
        case _:  # the liar keeps trials that run at the same time from getting the same point
            return optuna.samplers.TPESampler(seed=search.seed, constant_liar=True)


class PointSampler:
    """Samples the parameters of one study's search, and makes trials of the points."""

    def __init__(self, study: Study, search: Search) -> None:
        self._study, self._search, self._data = study, search, study.probes[0].data

    def sample(self, trial: optuna.Trial) -> tuple[TrialConfig | None, str]:
        """The trial that Optuna samples, and why it is rejected, if it is; ValueError if the stored choices are others."""
        values: dict[str, object] = {}
        for parameter in self._search.parameters:
            known = values_with_defaults(
                [*self._study.space.settings, *point_settings(values, ""), *self._study.overrides]
            )
            if parameter.when is None or parameter.when.holds(known):
                values[parameter.name] = _suggest(trial, parameter)
        try:
            config = self.config_at(values)
        except ConfigError as error:
            return None, error.problems[0]
        if self._study.space.condition:
            trial.set_constraint("where", 1.0 if config is None else -1.0)
        if config is None:
            return None, "left out by `where`"
        complexity, exceeded = complexity_of(config), []
        for name, limit in self._search.limits.items():
            value = getattr(complexity, name)
            trial.set_constraint(name, float(value - limit))
            exceeded += [f"{name} {value:,} over {limit:,}"] if value > limit else []
        return config, ", ".join(exceeded)

    def config_at(self, values: Mapping[str, object]) -> TrialConfig | None:
        """The trial at a point, on the study's data; None if the study's condition leaves it out."""
        study = self._study
        point = point_settings(values, f"search '{study.record_name}'")
        config = study.space.trial(point, study.seeds[0], study.overrides)
        if config is None:
            return None
        probe = next((p for p in study.probes if p.data.subset == config.data.subset), study.probes[0])
        responses = (p.augment.impulse_responses_content for p in study.probes)
        return config.with_resolved_data(
            self._data.dataset, self._data.fingerprint, probe.data.subset_content, next(filter(None, responses), "")
        )

    def identity(self) -> str:
        """A hash of the data, fixed settings and objectives, without which a search's trials mean something else."""
        study, sampled = self._study, {p.name for p in self._search.parameters}
        fixed = values_with_defaults([*study.space.settings, *study.overrides])
        fixed = {name: value for name, value in fixed.items() if name not in sampled and name != "data.dataset"}
        content = [fixed, self._data.fingerprint, study.seeds[0], self._search.objectives]
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def _suggest(trial: optuna.Trial, p: Parameter) -> object:
    if p.choices:
        return trial.suggest_categorical(p.name, p.choices)  # type: ignore[arg-type]  # `choices` are plain values
    if isinstance(p.low, int):
        return trial.suggest_int(p.name, p.low, int(p.high), step=int(p.step or 1), log=p.log)
    return trial.suggest_float(p.name, p.low, p.high, step=p.step, log=p.log)
