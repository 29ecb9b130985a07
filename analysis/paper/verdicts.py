"""Verdicts on measured scores and effects beside the paper's, each printed number of which is one run."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

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

R = TypeVar("R", bound=Hashable)
"""Key of a row."""
JUDGED_TABLES = 4
"""Tables 2, 3 and 4 and Section 6 share the level of their verdicts in equal parts."""
CANNOT = "? cannot be shown"
"""With any number of seeds, at the level of the last of Holm's steps."""


@dataclass(frozen=True)
class ScoreVerdicts(Generic[R]):
    """Verdicts on a table's primary cells, by row and measure."""

    texts: Mapping[tuple[R, str], str]
    p_values: Mapping[tuple[R, str], float]
    """Of the printed number being a run of another system, Holm-corrected."""
    spreads: Mapping[str, SeedSpread]
    """By measure, pooled over the table's rows."""


@dataclass(frozen=True)
class _Cell:
    """A mean over seeds beside a printed number, with the variance of one run and its degrees of freedom."""

    mean: float
    count: int
    printed: float
    variance: float
    freedom: float
    margin: float

    def p_values(self) -> tuple[float, float]:
        """Of the printed run being of another system, and of both systems being equal within the margin; NaN for one seed."""
        if self.count < 2:
            return math.nan, math.nan
        known, spread = (self.mean, self.count, self.printed), (self.variance, self.freedom)
        return new_observation_p(*known, *spread), new_observation_equivalence_p(*known, self.margin, *spread)

    def verdict(self, other: float, same: float, level: float) -> str:
        """By the corrected p values of `p_values`."""
        if self.count < 2:
            return "? one seed"
        if math.isnan(other):
            return "? seeds do not differ"
        if same < level:
            return "= reproduced"
        if other < level:
            return "▲ higher" if self.mean > self.printed else "▼ lower"
        within_noise = abs(self.mean - self.printed) < noise_of_one_run(self.variance, level)
        if within_noise and self.margin < least_margin(self.variance, level):
            return CANNOT  # with infinitely many seeds the printed run would still be too noisy
        return f"? {self.count} seeds are too few" if self.count < 5 else "? undecided"


def judge(
    scores: Mapping[str, np.ndarray],
    printed: Mapping[str, Sequence[float]],
    rows: Sequence[R],
    level: float,
) -> ScoreVerdicts[R]:
    """Verdicts on a table's cells: is the printed number one more run of the measured system?

    `scores`: by measure an array of shape [rows, seeds], NaN where a row lacks a seed; rows whose seeds have nothing in common
    have columns of their own. `printed`: by measure the row's number, NaN for none. The spread of seeds is pooled over rows,
    Holm's correction is over all cells, at `level`. `rows` names the rows.
    """
    spreads = {measure: seed_spread(values) for measure, values in scores.items()}
    cells: dict[tuple[R, str], _Cell] = {}
    for measure, values in scores.items():
        for row, seeds in enumerate(np.asarray(values, float)):
            known, number = seeds[~np.isnan(seeds)], float(printed[measure][row])
            if len(known) and not math.isnan(number):
                spread = spreads[measure].for_row(row)
                cell = _Cell(float(known.mean()), len(known), number, *spread, margin_of(measure))
                cells[rows[row], measure] = cell
    p_values = [cell.p_values() for cell in cells.values()]
    others, sames = holm([other for other, _ in p_values]), holm([same for _, same in p_values])
    corrected = dict(zip(cells, zip(others, sames, strict=True), strict=True))
    texts = {key: cell.verdict(*corrected[key], level) for key, cell in cells.items()}
    return ScoreVerdicts(texts, {key: other for key, (other, _) in corrected.items()}, spreads)


def judge_rows(
    trials: Mapping[R, pd.DataFrame],
    printed: Mapping[R, Mapping[str, float]],
    measures: Sequence[str],
    groups: Mapping[R, Hashable],
) -> ScoreVerdicts[R]:
    """Verdicts on one of the paper's tables: its trials and printed numbers by row; see `scores_by_seed` for `groups`."""
    scores, numbers = {}, {}
    for measure in measures:
        # A row in which a trial lacks the measure has no mean to judge.
        complete = {row: part if part[measure].notna().all() else part.iloc[:0] for row, part in trials.items()}
        scores[measure] = scores_by_seed(complete, measure, groups)
        numbers[measure] = [printed[row][measure] if row in printed else math.nan for row in trials]
    return judge(scores, numbers, list(trials), LEVEL / JUDGED_TABLES)


def scores_by_seed(
    trials: Mapping[R, pd.DataFrame], measure: str, groups: Mapping[R, Hashable] | None = None
) -> np.ndarray:
    """Scores by row and seed, shape [rows, seeds], NaN where a row lacks a seed; seeds of other `groups` are other columns."""
    keys = {row: [((groups or {}).get(row), seed) for seed in part["seed"]] for row, part in trials.items()}
    columns = {key: i for i, key in enumerate(dict.fromkeys(key for row in keys.values() for key in row))}
    table = np.full((len(trials), len(columns)), np.nan)
    for i, (row, part) in enumerate(trials.items()):
        table[i, [columns[key] for key in keys[row]]] = part[measure]
    return table


def effect_verdict(
    measure: Measure, effect: Difference, printed: float, p_holm: float, other_holm: float, same_holm: float
) -> str:
    """Verdict on an effect beside the paper's, or without a printed one whether it is for better or worse.

    `p_holm`: of no difference, needed for any direction. `same_holm`: of the size being within half of the paper's effect.
    `other_holm`: of the paper's effect being no run of this one, needed for `opposite`.
    """
    if effect.seeds < FEWEST_SEEDS:
        return ("? no seed in common", "? one seed", "? two seeds")[effect.seeds]
    if math.isnan(p_holm):
        return "? seeds do not differ"
    if not p_holm < LEVEL:
        return "? cannot tell"
    if math.isnan(printed) or printed == 0:
        return "▲ better" if (effect.mean < 0) == measure.lower_is_better else "▼ worse"
    if (effect.mean > 0) == (printed > 0):
        return "= same direction and size" if same_holm < LEVEL else "= same direction"
    return "≠ opposite" if other_holm < LEVEL else "? cannot tell: paper's effect within one run's noise"


def least_margin(variance: float, level: float) -> float:
    """Smallest margin within which infinitely many seeds that agree with one run could show equivalence at `level`."""
    return noise_of_one_run(variance, 2 * level)


def margin_of(measure: str) -> float:
    """Difference from the printed number within which a score counts as reproduced."""
    return 0.03 if measure == "log_loss" else 0.01
