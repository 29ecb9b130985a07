"""How much each drawn setting matters to a search's objective, by Optuna's PED-ANOVA."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

EVALUATOR = "PED-ANOVA (Watanabe, Bansal, Hutter 2023), the best tenth against all"
FEWEST = 50
"""Finished trials below which nothing is said of importance: Optuna asks for at least five in the best tenth."""


def importances(
    parameters: Sequence[Mapping[str, Any]],
    points: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    maximize: bool = False,
) -> pd.DataFrame:
    """One row a parameter, the most important first: name and importance (their sum is 1).

    `parameters` as a study's record has them, `points` the drawn settings of each trial, `values` what each reached. Parameters
    that not every trial drew, or that had one value, are left out; no rows for fewer than FEWEST trials. There is no interval:
    a bootstrap over the trials of one search knows neither other seeds nor what another search would have drawn.
    """
    shared = [p for p in parameters if all(p["name"] in point for point in points)]
    seen = {p["name"]: [point[p["name"]] for point in points] for p in shared}
    kinds = {p["name"]: _distribution(p, seen[p["name"]]) for p in shared if len(set(seen[p["name"]])) > 1}
    found = _ped_anova(kinds, points, values, maximize) if kinds and len(points) >= FEWEST else {}
    rows = sorted(found.items(), key=lambda row: -row[1])
    return pd.DataFrame(rows, columns=["name", "importance"])


def _ped_anova(
    kinds: Mapping[str, Any], points: Sequence[Mapping[str, Any]], values: Sequence[float], maximize: bool
) -> dict[str, float]:
    """Of each parameter of `kinds`, which says how it was drawn."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    study.add_trials(
        optuna.trial.create_trial(
            params={name: point[name] for name in kinds}, distributions=dict(kinds), value=float(value)
        )
        for point, value in zip(points, values, strict=True)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all trials are equally good, nothing is important
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=list(kinds))
    return {name: share if share == share else 0.0 for name, share in found.items()}


def _distribution(parameter: Mapping[str, Any], seen: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in parameter:
        return CategoricalDistribution(list(dict.fromkeys([*parameter["choices"], *seen])))
    kind = IntDistribution if all(isinstance(value, int) for value in seen) else FloatDistribution
    # A search whose range was changed between two runs has trials outside of the one it has now.
    return kind(min(parameter["low"], *seen), max(parameter["high"], *seen), log=bool(parameter["log"]))
