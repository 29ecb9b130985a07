"""Importance of each sampled setting for a search's objective, by Optuna's PED-ANOVA."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from asc_sweeps.workspace.records import ParameterRecord

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

IMPORTANCE_METHOD = "PED-ANOVA (Watanabe, Bansal, Hutter 2023), the best tenth against all"
MIN_TRIALS = 50
"""Finished trials needed: Optuna recommends at least five in the best tenth."""


def importances(
    parameters: Sequence[ParameterRecord],
    points: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    maximize: bool = False,
) -> pd.DataFrame:
    """One row per parameter: name and importance (their sum is 1), the most important first.

    `points` holds the sampled settings of each trial, `values` its objective. Parameters that were not sampled in every trial or
    had a single value are left out; below MIN_TRIALS trials there are no rows. There is no interval: a bootstrap over the trials
    of one search reflects neither other seeds nor other samples.
    """
    distributions = {}
    for parameter in parameters:
        name = parameter["name"]
        if all(name in point for point in points) and len({point[name] for point in points}) > 1:
            distributions[name] = _distribution(parameter, [point[name] for point in points])
    shares = _ped_anova(distributions, points, values, maximize) if distributions and len(points) >= MIN_TRIALS else {}
    frame = pd.DataFrame(shares.items(), columns=["name", "importance"])
    return frame.sort_values("importance", ascending=False, kind="stable", ignore_index=True)


def _ped_anova(
    distributions: dict[str, BaseDistribution],
    points: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    maximize: bool,
) -> dict[str, float]:
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    for point, value in zip(points, values, strict=True):
        settings = {name: point[name] for name in distributions}
        study.add_trial(optuna.trial.create_trial(params=settings, distributions=distributions, value=float(value)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # if all trials are equally good, nothing is important
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=list(distributions))
    return {name: 0.0 if share != share else share for name, share in shares.items()}


def _distribution(parameter: ParameterRecord, sampled: Sequence[Any]) -> BaseDistribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in parameter:
        return CategoricalDistribution(list(dict.fromkeys([*parameter["choices"], *sampled])))
    kind = IntDistribution if all(isinstance(value, int) for value in sampled) else FloatDistribution
    # If the range was changed between two runs, earlier trials may lie outside it.
    return kind(min(parameter["low"], *sampled), max(parameter["high"], *sampled), log=bool(parameter["log"]))
