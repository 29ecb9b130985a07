"""What can be said of measured numbers: intervals, equivalence with a printed number, paired tests, calibration.

Plain functions of arrays; knows neither the paper nor the report. Log losses are natural, accuracies 0..1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special  # scipy.stats would take most of a second to import

RESAMPLES = 10_000
"""Of a bootstrap; its smallest p value is about one over that."""
BINS = 15
"""Of confidence, for calibration."""


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided interval; the ends are NaN where one value says nothing of its spread."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values, e.g. of seeds.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    found = np.asarray(values, float)
    if not len(found):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(found.mean())
    if len(found) < 2:
        return Interval(mean, float("nan"), float("nan"), 1)
    half = float(special.stdtrit(len(found) - 1, (1 + level) / 2) * found.std(ddof=1) / np.sqrt(len(found)))
    return Interval(mean, mean - half, mean + half, len(found))


def difference_p(values: Sequence[float], printed: float) -> float:
    """P value of a two-sided t test that the mean of `values` is `printed`; NaN for fewer than two values.

    Values without any spread give 1 where they are the printed number, else 0.
    """
    found = np.asarray(values, float)
    if len(found) < 2:
        return float("nan")
    if found.std(ddof=1) == 0:
        return 1.0 if np.isclose(found.mean(), printed) else 0.0
    return float(2 * special.stdtr(len(found) - 1, -abs(_t_statistic(found, printed))))


def equivalence_p(values: Sequence[float], printed: float, margin: float) -> float:
    """P value of two one-sided t tests that the mean lies within `margin` of `printed`; NaN for fewer than two values."""
    found = np.asarray(values, float)
    if len(found) < 2:
        return float("nan")
    if found.std(ddof=1) == 0:
        return 0.0 if abs(found.mean() - printed) < margin else 1.0
    above = special.stdtr(len(found) - 1, -_t_statistic(found, printed - margin))
    below = special.stdtr(len(found) - 1, _t_statistic(found, printed + margin))
    return float(max(above, below))


def _t_statistic(values: np.ndarray, mean: float) -> float:
    return float((values.mean() - mean) / (values.std(ddof=1) / np.sqrt(len(values))))


def rank_correlation(first: Sequence[float], second: Sequence[float]) -> float:
    """Spearman's, NaN for fewer than three values or where all are one.

    >>> rank_correlation([1.0, 2.0, 3.0], [10.0, 30.0, 20.0])
    0.5
    """
    if len(first) < 3 or len(set(first)) < 2 or len(set(second)) < 2:
        return float("nan")
    ranks = pd.DataFrame({"first": first, "second": second}).rank()  # equal values share the mean of their ranks
    return float(np.corrcoef(ranks["first"], ranks["second"])[0, 1])


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for how many there are (Holm); NaNs stay and do not count.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    found = np.asarray(p_values, float)
    adjusted = np.full(len(found), np.nan)
    order = [int(i) for i in np.argsort(found) if not np.isnan(found[i])]
    least = 0.0
    for rank, i in enumerate(order):
        least = max(least, min(1.0, (len(order) - rank) * found[i]))
        adjusted[i] = least
    return [float(p) for p in adjusted]


@dataclass(frozen=True)
class Comparison:
    """A difference between two systems on the same segments, with its interval and p value."""

    difference: float
    low: float
    high: float
    p: float
    groups: int
    """Recordings that were resampled."""


def paired_bootstrap(
    differences: np.ndarray,
    groups: np.ndarray,
    weights: np.ndarray | None = None,
    resamples: int = RESAMPLES,
    seed: int = 0,
    level: float = 0.95,
) -> list[Comparison]:
    """Means of columns of differences between two systems on the same segments, by a bootstrap over `groups`.

    `differences`: shape [segments, columns]; `weights`, of that shape or [segments, 1], leaves segments of a column out with 0.
    Whole groups are drawn, the same for all columns, since the pieces of one recording are not independent. The interval is of
    percentiles; the p value is twice the smaller share of resamples on either side of zero. Raises ValueError for no segments
    or groups of another number.
    """
    values = np.asarray(differences, float)
    if not len(values) == len(groups) > 0:
        raise ValueError(f"values and groups must be equally many, and some; got {len(values)} and {len(groups)}")
    weight = np.broadcast_to(np.ones((len(values), 1)) if weights is None else weights, values.shape)
    _, member = np.unique(groups, return_inverse=True)
    count = int(member.max()) + 1
    sums, sizes = np.zeros((count, values.shape[1])), np.zeros((count, values.shape[1]))
    np.add.at(sums, member, values * weight)
    np.add.at(sizes, member, weight)
    drawn = np.empty((resamples, values.shape[1]))
    generator = np.random.default_rng(seed)
    for start in range(0, resamples, 500):  # so many at a time fit into little memory
        rows = min(500, resamples - start)
        chosen = generator.integers(count, size=(rows, count)) + count * np.arange(rows)[:, None]
        times = np.bincount(chosen.ravel(), minlength=rows * count).reshape(rows, count).astype(float)
        with np.errstate(invalid="ignore"):  # a resample without any segment of a column says nothing of it
            drawn[start : start + rows] = (times @ sums) / (times @ sizes)
    lows, highs = np.nanquantile(drawn, [(1 - level) / 2, (1 + level) / 2], axis=0)
    found = []
    for column in range(values.shape[1]):
        there = drawn[~np.isnan(drawn[:, column]), column]
        beyond = min((there <= 0).mean(), (there >= 0).mean()) if len(there) else float("nan")
        mean = sums[:, column].sum() / sizes[:, column].sum()
        p = float(min(1.0, max(2 * beyond, 1 / resamples))) if len(there) else float("nan")
        groups_in = int((sizes[:, column] > 0).sum())
        found.append(Comparison(float(mean), float(lows[column]), float(highs[column]), p, groups_in))
    return found


@dataclass(frozen=True)
class Calibration:
    """How far a classifier's confidence is from how often it is right, by bins of equal width."""

    error: float
    """Expected calibration error: mean of |accuracy - confidence| over segments' bins, 0..1."""
    confidence: tuple[float, ...]
    """Mean confidence in each bin that holds segments."""
    accuracy: tuple[float, ...]
    segments: tuple[int, ...]


def calibration(log_probability: np.ndarray, labels: np.ndarray, bins: int = BINS) -> Calibration:
    """Calibration of the most probable class; `log_probability` has the shape [segments, classes]."""
    confidence = np.exp(log_probability.max(axis=1))
    right = (log_probability.argmax(axis=1) == labels).astype(float)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    counts = np.bincount(which, minlength=bins)
    there = counts > 0
    means = [np.bincount(which, weights=w, minlength=bins)[there] / counts[there] for w in (confidence, right)]
    error = float((counts[there] * np.abs(means[0] - means[1])).sum() / len(labels)) if len(labels) else float("nan")
    return Calibration(error, tuple(map(float, means[0])), tuple(map(float, means[1])), tuple(map(int, counts[there])))
