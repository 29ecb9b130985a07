"""How much each drawn setting matters to a search's objective, by Optuna's PED-ANOVA. A door to Optuna, opened when asked for."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

EVALUATOR = "PED-ANOVA (Watanabe, Bansal, Hutter 2023), the best tenth against all"
FEWEST = 8
"""Trials below which nothing is said of importance."""
RESAMPLES, LARGEST = 50, 200
COLUMNS = ("name", "importance", "low", "high")


def importances(
    parameters: Sequence[Mapping[str, Any]],
    points: Sequence[Mapping[str, Any]],
    values: Sequence[float],
    maximize: bool = False,
) -> pd.DataFrame:
    """One row a parameter, the most important first: name, importance (their sum is 1), and a 95 % interval.

    `parameters` as a study's record has them, `points` the drawn settings of each trial, `values` what each reached. The interval
    is of a bootstrap over trials; of many trials it draws LARGEST at a time and narrows the interval by the square root of the
    ratio. Parameters that not every trial drew, or that had one value, are left out; no rows for fewer than FEWEST trials.
    """
    shared = [p for p in parameters if all(p["name"] in point for point in points)]
    varied = [p for p in shared if len({point[p["name"]] for point in points}) > 1]
    if len(points) < FEWEST or not varied:
        return pd.DataFrame(columns=list(COLUMNS))
    kinds = {p["name"]: _distribution(p, [point[p["name"]] for point in points]) for p in varied}
    points = [{name: point[name] for name in kinds} for point in points]
    middle = np.array(_importances(kinds, points, values, maximize))
    generator, size = np.random.default_rng(0), min(len(points), LARGEST)
    drawn = []
    for _ in range(RESAMPLES):
        chosen = generator.integers(len(points), size=size)
        drawn.append(_importances(kinds, [points[i] for i in chosen], [values[i] for i in chosen], maximize))
    lows, highs = np.quantile(np.array(drawn) - middle, [0.025, 0.975], axis=0) * np.sqrt(size / len(points))
    ends = np.clip([middle + lows, middle + highs], 0, 1)
    rows = zip(kinds, middle, *ends, strict=True)
    return pd.DataFrame(sorted(rows, key=lambda row: -row[1]), columns=list(COLUMNS))


def _importances(
    kinds: Mapping[str, Any], points: Sequence[Mapping[str, Any]], values: Sequence[float], maximize: bool
) -> list[float]:
    """Of each parameter of `kinds`, which says how it was drawn, in their order; `points` hold these alone."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
    from optuna.trial import FrozenTrial, TrialState

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    # Finished trials as Optuna knows them.
    whole = {"state": TrialState.COMPLETE, "datetime_start": None, "datetime_complete": None, "distributions": kinds}
    empty = {"user_attrs": {}, "system_attrs": {}, "intermediate_values": {}}
    trials = [
        FrozenTrial(number=number, trial_id=number, value=float(value), params=point, **whole, **empty)
        for number, (point, value) in enumerate(zip(points, values, strict=True))
    ]
    study = optuna.create_study(direction="maximize" if maximize else "minimize")
    study.get_trials = lambda **_: trials  # `add_trials` copies each of them, which takes longer than all the rest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where all trials are equally good, nothing is important
        found = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(), params=list(kinds))
    return [float(np.nan_to_num(found[name])) for name in kinds]


def _distribution(parameter: Mapping[str, Any], seen: Sequence[Any]) -> Any:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if "choices" in parameter:
        return CategoricalDistribution(list(dict.fromkeys([*parameter["choices"], *seen])))
    kind = IntDistribution if all(isinstance(value, int) for value in seen) else FloatDistribution
    # A search whose range was changed between two runs has trials outside of the one it has now.
    return kind(min(parameter["low"], *seen), max(parameter["high"], *seen), log=bool(parameter["log"]))
