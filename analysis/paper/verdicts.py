"""What is said of measured scores beside the paper's, each of which is one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evidence.measures import Measure
from analysis.statistics import (
    FEWEST_SEEDS,
    LEVEL,
    Difference,
    SeedSpread,
    holm,
    new_observation_equivalence_p,
    new_observation_p,
    noise_of_one_run,
    seed_spread,
)

MARGINS = {"accuracy": 0.01, "log_loss": 0.03}
"""Within so much of the printed number a score counts as reproduced."""
TABLES = 4
"""Whose verdicts are corrected together: Tables 2, 3 and 4 and Section 6 share the level in equal parts."""
CANNOT = "? cannot be shown"
"""By any number of seeds, at the level of the last of Holm's steps."""


@dataclass(frozen=True)
class Judged:
    """What a table's primary cells are found to be, by row and measure."""

    texts: Mapping[tuple[object, str], str]
    p_values: Mapping[tuple[object, str], float]
    """Of the printed number being a run of another system, after Holm."""
    spreads: Mapping[str, SeedSpread]
    """By measure, pooled over the table's rows."""


def judge(
    scores: Mapping[str, np.ndarray],
    printed: Mapping[str, Sequence[float]],
    rows: Sequence[object] | None = None,
    level: float = LEVEL,
) -> Judged:
    """Verdicts on a table's cells: is the printed number one more run of the system that was measured?

    `scores`: by measure an array of shape [rows, seeds], NaN where a row lacks a seed; rows in which a seed means nothing in
    common have columns of their own. `printed`: by measure the row's number, NaN where there is none. Seeds' spread is pooled over
    rows, Holm's correction is over all cells, at `level`. `rows` names the rows, 0, 1, ... by default.
    """
    arrays = {measure: np.asarray(values, float) for measure, values in scores.items()}
    spreads = {measure: seed_spread(values) for measure, values in arrays.items()}
    cells, tested = [], []
    for measure, values in arrays.items():
        for row in range(len(values)):
            found = values[row][~np.isnan(values[row])]
            number = float(printed[measure][row])
            if len(found) and not math.isnan(number):
                cells.append((row, measure))
                tested.append((float(found.mean()), len(found), number))
    differs, same = [], []
    for (row, measure), known in zip(cells, tested, strict=True):
        spread, one_seed = spreads[measure].for_row(row), known[1] < 2
        differs.append(math.nan if one_seed else new_observation_p(*known, *spread))
        margin = margin_of(measure)
        same.append(math.nan if one_seed else new_observation_equivalence_p(*known, margin, *spread))
    names = range(max((len(values) for values in arrays.values()), default=0)) if rows is None else rows
    texts, p_values = {}, {}
    for (row, measure), known, other, equal in zip(cells, tested, holm(differs), holm(same), strict=True):
        key = (names[row], measure)
        variance, _ = spreads[measure].for_row(row)
        hidden = abs(known[0] - known[2]) < noise_of_one_run(variance, level)
        never = hidden and margin_of(measure) < least_margin(variance, level)
        texts[key], p_values[key] = _text(*known, other, equal, never, level), other
    return Judged(texts, p_values, spreads)


def _text(mean: float, count: int, printed: float, other: float, same: float, never: bool, level: float) -> str:
    if count < 2:
        return "? one seed"
    if math.isnan(other):
        return "? seeds do not differ"
    if same < level:
        return "= reproduced"
    if other < level:
        return "▲ higher" if mean > printed else "▼ lower"
    if never:  # with infinitely many seeds the printed run would still be too noisy to tell either way
        return CANNOT
    return f"? {count} seeds are too few" if count < 5 else "? undecided"


def judge_rows(
    trials: Mapping[object, pd.DataFrame],
    printed: Mapping[object, Mapping[str, float]],
    measures: Sequence[str],
    group: Mapping[object, object] | None = None,
) -> Judged:
    """Verdicts on one of the paper's tables: by row its trials and its printed numbers; seeds of other `group`s are others."""
    scores = {}
    for measure in measures:  # a row in which a seed lacks it has no mean to judge
        whole = {row: its if its[measure].notna().all() else its.iloc[:0] for row, its in trials.items()}
        scores[measure] = scores_by_seed(whole, measure, group)
    numbers = {measure: [float(printed[row][measure]) for row in trials] for measure in measures}
    return judge(scores, numbers, list(trials), LEVEL / TABLES)


def scores_by_seed(
    trials: Mapping[object, pd.DataFrame], measure: str, group: Mapping[object, object] | None = None
) -> np.ndarray:
    """Scores by row and seed, shape [rows, seeds], NaN where a row lacks a seed; seeds of other groups are other columns."""
    keys = {row: [((group or {}).get(row), seed) for seed in its["seed"]] for row, its in trials.items()}
    columns = {key: i for i, key in enumerate(dict.fromkeys(key for row in keys.values() for key in row))}
    table = np.full((len(trials), len(columns)), np.nan)
    for i, (row, its) in enumerate(trials.items()):
        table[i, [columns[key] for key in keys[row]]] = its[measure]
    return table


def effect_verdict(
    measure: Measure, found: Difference, printed: float, p_holm: float, other_holm: float, same_holm: float
) -> str:
    """What an effect is beside the paper's, or without a printed one whether it is for better or worse.

    A direction is that of a difference which is not zero (`p_holm`). The size is the paper's where it is within half of it
    (`same_holm`). `opposite` takes an effect that is neither zero nor one of which the paper's could be a run (`other_holm`).
    """
    if found.seeds < FEWEST_SEEDS:
        return ("? no seed in common", "? one seed", "? two seeds")[found.seeds]
    if math.isnan(p_holm):
        return "? seeds do not differ"
    if not p_holm < LEVEL:
        return "? cannot tell"
    if math.isnan(printed) or printed == 0:
        return "▲ better" if (found.mean < 0) == measure.lower_is_better else "▼ worse"
    if (found.mean > 0) == (printed > 0):
        return "= same direction and size" if same_holm < LEVEL else "= same direction"
    return "≠ opposite" if other_holm < LEVEL else "? cannot tell: paper's effect within one run's noise"


def least_margin(variance: float, level: float) -> float:
    """Within which infinitely many seeds that agree with one run would show equivalence, by two one-sided tests at `level`."""
    return noise_of_one_run(variance, 2 * level)


def margin_of(measure: str) -> float:
    """Within which a score counts as reproduced (MARGINS)."""
    return MARGINS["log_loss" if measure == "log_loss" else "accuracy"]
