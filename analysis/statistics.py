"""Inference from measured scores: intervals, tests over seeds and places, power.

Plain functions of arrays; knows neither the paper nor the report. Log losses are natural, accuracies 0..1. Seeds and places are
the two sources of variance in a repetition: a test that ignores one of them finds differences that do not exist.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special  # scipy.stats would take most of a second to import

FEWEST_SEEDS = 3
"""Below it no interval is given: with two seeds its half-width would be nine standard deviations."""
LEVEL = 0.05
POWER = 0.8
NAN = float("nan")


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided interval; the ends are NaN for too few values."""

    mean: float
    low: float
    high: float
    count: int

    @property
    def half(self) -> float:
        """Its half-width."""
        return (self.high - self.low) / 2


def mean_interval(values: Sequence[float], level: float = 0.95) -> Interval:
    """Student's t interval of the mean of independent values, e.g. of seeds; without ends below FEWEST_SEEDS, or for equal values.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> round(interval.low, 3), interval.mean, round(interval.high, 3)
    (-0.484, 2.0, 4.484)
    """
    found = np.asarray(values, float)
    if not len(found):
        return Interval(NAN, NAN, NAN, 0)
    mean = float(found.mean())
    if len(found) < FEWEST_SEEDS or np.ptp(found) == 0:
        return Interval(mean, NAN, NAN, len(found))
    half = float(special.stdtrit(len(found) - 1, (1 + level) / 2) * found.std(ddof=1) / np.sqrt(len(found)))
    return Interval(mean, mean - half, mean + half, len(found))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for multiple tests (Holm); NaNs remain and do not count.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, float)
    order = np.argsort(p)[: np.count_nonzero(~np.isnan(p))]  # NaNs come last
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.maximum.accumulate(np.minimum(1, p[order] * np.arange(len(order), 0, -1)))
    return [float(value) for value in adjusted]


# -- seeds


@dataclass(frozen=True)
class SeedSpread:
    """Seed-to-seed spread of scores, pooled over the rows of a table to gain degrees of freedom."""

    variance: float
    """Of one seed's score about its row's mean; NaN if no row has two seeds."""
    freedom: float
    """Degrees of freedom of `variance`: fewer than the sum over rows if a seed affects several rows alike."""
    residual: float
    """Variance after the common effect of each seed is removed: half of the variance of a paired difference."""
    residual_freedom: float
    own: tuple[float, ...]
    """Variance of each row, NaN below two seeds."""
    counts: tuple[int, ...]
    """Number of seeds of each row."""

    @property
    def correlation(self) -> float:
        """Of two rows over seeds, 0..1; 1 if unknown."""
        known = self.residual_freedom > 0 and self.variance > 0
        return min(1.0, max(0.0, 1 - self.residual / self.variance)) if known else 1.0

    def for_row(self, row: int) -> tuple[float, float]:
        """Variance and degrees of freedom to judge a row with: pooled, or its own if that variance is larger."""
        return max((self.variance, self.freedom), (self.own[row], float(self.counts[row] - 1)))


def seed_spread(scores: np.ndarray) -> SeedSpread:
    """Pool the spread of `scores`, shape [rows, seeds], NaN where a row lacks a seed.

    Rows whose seeds have nothing in common have columns of their own. The degrees of freedom are Satterthwaite's of a sum of
    correlated variances: with R rows of S seeds and correlation r, R (S - 1) / (1 + (R - 1) r^2), where r is replaced by
    (r + (1 - r) / S), which matters for two or three seeds.

    >>> spread = seed_spread(np.array([[1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]))
    >>> spread.variance, round(spread.freedom, 6), round(spread.residual, 6)  # two rows that move together
    (1.0, 2.0, 0.0)
    """
    values = np.asarray(scores, float)
    known = ~np.isnan(values)
    counts = known.sum(axis=1)
    means = np.divide(np.nansum(values, axis=1), counts, out=np.full(len(values), np.nan), where=counts > 0)
    squares = np.nansum((values - means[:, None]) ** 2, axis=1)
    own = [
        _or_zero(s / (n - 1), values) if n > 1 else NAN for s, n in zip(squares.tolist(), counts.tolist(), strict=True)
    ]
    freedom = float((counts[counts > 1] - 1).sum())
    rows = tuple(own), tuple(counts.tolist())
    if not freedom:
        return SeedSpread(NAN, 0.0, NAN, 0.0, *rows)
    variance = _or_zero(float(squares.sum()) / freedom, values)
    residual, residual_freedom = _residual(values, known)
    found = SeedSpread(variance, freedom, _or_zero(residual, values), residual_freedom, *rows)
    centred = [np.diag(row.astype(float)) - np.outer(row, row) / row.sum() for row in known[counts > 1]]
    overlap = np.array([[float((a * b).sum()) for b in centred] for a in centred])
    # With few seeds the correlation is uncertain, and small by chance when the variance is: shrink it towards one.
    correlation = found.correlation + (1 - found.correlation) / counts[counts > 1].min()
    shared = correlation**2 * (overlap.sum() - np.trace(overlap)) + np.trace(overlap)
    return replace(found, freedom=float(freedom**2 / shared))


def _residual(values: np.ndarray, known: np.ndarray) -> tuple[float, float]:
    """Residual variance of the additive model of rows and seeds, with its degrees of freedom."""
    rows, seeds = np.nonzero(known)
    parts = np.zeros((len(rows), sum(values.shape)))
    parts[np.arange(len(rows)), rows] = 1
    parts[np.arange(len(rows)), values.shape[0] + seeds] = 1
    found = values[known]
    fitted, _, rank, _ = np.linalg.lstsq(parts, found, rcond=None)
    freedom = len(found) - int(rank)
    return (float(((found - parts @ fitted) ** 2).sum()) / freedom, float(freedom)) if freedom else (NAN, 0.0)


def _or_zero(variance: float, values: np.ndarray) -> float:
    """A variance, or 0 if it is due to rounding alone: equal values have no spread."""
    return 0.0 if variance <= (1e-9 * float(np.nanmax(np.abs(values)))) ** 2 else variance


def new_observation_p(mean: float, count: int, printed: float, variance: float, freedom: float) -> float:
    """P value that `printed`, one run, is of the same system as a mean of `count` seeds with this variance per run.

    Its standard error is that of a new observation, sqrt(variance (1 + 1 / count)). NaN if seeds do not differ: equal values do
    not tell how far another run may lie.
    """
    if not variance > 0 or count < 1:
        return NAN
    return two_sided_p((mean - printed) / math.sqrt(variance * (1 + 1 / count)), freedom)


def new_observation_equivalence_p(
    mean: float, count: int, printed: float, margin: float, variance: float, freedom: float
) -> float:
    """P value of two one-sided tests that the system's mean lies within `margin` of that of the one run `printed`; NaN as above."""
    if not variance > 0 or count < 1:
        return NAN
    return one_sided_p((margin - abs(mean - printed)) / math.sqrt(variance * (1 + 1 / count)), freedom)


def two_sided_p(t: float, freedom: float) -> float:
    """Two-sided p value of a t statistic."""
    return float(2 * special.stdtr(freedom, -abs(t)))


def one_sided_p(t: float, freedom: float) -> float:
    """One-sided p value of a t statistic that is large if the claim holds."""
    return float(special.stdtr(freedom, -t))


def noise_of_one_run(variance: float, level: float = LEVEL) -> float:
    """How far one run may lie from its system's mean, two-sided at `level`, which no number of other runs reduces.

    >>> round(noise_of_one_run(0.018**2), 3)
    0.035
    """
    return -float(special.ndtri(level / 2)) * math.sqrt(variance)


# -- two systems


@dataclass(frozen=True)
class Difference:
    """A difference of two systems over seeds and places, or of two networks over places for one seed."""

    by_seed: tuple[float, ...]
    seed_variance: float
    """Of one seed's difference, NaN for a single seed."""
    seed_freedom: float
    place_variance: float
    """Of the mean over places, beyond the part of seeds; NaN if places are unknown."""
    places: int
    error: float
    """Standard error of the mean; NaN below FEWEST_SEEDS, or if seeds do not differ."""
    freedom: float
    """Satterthwaite's."""

    @property
    def mean(self) -> float:
        """Over seeds."""
        return float(np.mean(self.by_seed)) if self.by_seed else NAN

    @property
    def seeds(self) -> int:
        """Number of seeds that both have."""
        return len(self.by_seed)

    @property
    def half(self) -> float:
        """Half-width of the 95 % interval."""
        return float(special.stdtrit(self.freedom, 1 - LEVEL / 2) * self.error) if self.freedom > 0 else NAN

    @property
    def p(self) -> float:
        """P value of no difference: 1 if all are zero, NaN without a standard error."""
        if self.seeds >= FEWEST_SEEDS and not any(self.by_seed):
            return 1.0
        return two_sided_p(self.mean / self.error, self.freedom) if self.error > 0 else NAN

    def beside(self, printed: float) -> tuple[float, float]:
        """P values that a printed effect, one run on the same places, is another effect, and that both agree within half of it."""
        if self.seeds < FEWEST_SEEDS or not abs(printed) > 0:
            return NAN, NAN
        known = (self.mean, self.seeds, printed)
        differs = new_observation_p(*known, self.seed_variance, self.seed_freedom)
        return differs, new_observation_equivalence_p(*known, abs(printed) / 2, self.seed_variance, self.seed_freedom)


def difference(
    by_seed: Sequence[float], influence: np.ndarray | None = None, pooled: tuple[float, float] | None = None
) -> Difference:
    """The mean of paired differences, one a seed, with both sources of variance.

    `influence`: shape [seeds, places], what each place adds to its seed's difference beyond its share of the mean (`influence`
    sums to zero over places); seeds without stored predictions may be missing from it. `pooled`: the variance of one
    seed's difference and its degrees of freedom from several pairs alike, used where the pair's own seeds scatter no more than that.
    The variance of the mean is that of two crossed random effects: seeds' part plus places' part minus what both hold of their
    interaction.
    """
    values = np.asarray(by_seed, float)
    seeds = len(values)
    own = float(values.var(ddof=1)) if seeds > 1 else NAN
    variance, seed_freedom = (_or_zero(own, values), seeds - 1.0) if seeds > 1 else (NAN, 0.0)
    if pooled and pooled[0] >= variance:
        variance, seed_freedom = pooled
    place, both, places = _place_variances(influence)
    told = (tuple(values.tolist()), variance, seed_freedom, max(0.0, place - both) if places else NAN, places)
    if seeds == 1 and places > 1:  # of these two networks
        return Difference(*told, math.sqrt(place), places - 1.0)
    if seeds < FEWEST_SEEDS or not variance > 0:
        return Difference(*told, NAN, NAN)
    terms = [(variance / seeds, seed_freedom)]
    if places > 1 and place > both:
        count = len(np.asarray(influence))
        terms += [(place, places - 1.0), (-both, (places - 1.0) * max(count - 1, 1))]
    total = sum(part for part, _ in terms)
    freedom = total**2 / sum(part**2 / f for part, f in terms)
    # A total of which much was subtracted has few by that formula, but never fewer than the lesser of its sources.
    freedom = max(freedom, min(seed_freedom, places - 1.0)) if len(terms) > 1 else freedom
    return Difference(*told, math.sqrt(total), freedom)


def _place_variances(influence: np.ndarray | None) -> tuple[float, float, int]:
    """Of the mean over places: the variance between places of the seeds' mean, its part that seeds by places make, the places."""
    if influence is None or not len(influence) or np.shape(influence)[1] < 2:
        return 0.0, 0.0, 0
    seeds, places = np.shape(influence)
    scale, mean = places / (places - 1), np.mean(influence, axis=0)
    both = scale * float(((influence - mean) ** 2).sum()) / (seeds * (seeds - 1)) if seeds > 1 else 0.0
    return scale * float((mean**2).sum()), both, places


# -- power


def power_of(effect: float, error: float, freedom: float, level: float = LEVEL) -> float:
    """Probability that a two-sided t test finds `effect`, whose estimate has this standard error (noncentral t)."""
    critical, shift = float(special.stdtrit(freedom, 1 - level / 2)), abs(effect) / error
    if shift > critical + 30:
        return 1.0
    found = 1 - special.nctdtr(freedom, shift, critical)
    if shift < 5:  # of the other sign; beyond, it is nothing, and SciPy gives NaN
        found += special.nctdtr(freedom, shift, -critical)
    return float(found)


def seeds_needed(
    effect: float,
    variance: float,
    correlation: float = 0.0,
    place_error: float = 0.0,
    place_freedom: float = math.inf,
    level: float = LEVEL,
    power: float = POWER,
) -> int | None:
    """Seeds of each system that find `effect` with this power, paired by seed; None where no number does.

    At least FEWEST_SEEDS, below which the report gives no interval. `variance`: of one seed's score; `correlation`: of two systems
    over seeds, 0 where they do not share a start. `place_error`: standard error that places alone leave, whatever the seeds, with
    its degrees of freedom.

    >>> seeds_needed(0.007, 0.018**2, correlation=0.8)
    23
    """
    paired = 2 * variance * (1 - correlation)

    def enough(seeds: int) -> bool:
        total = paired / seeds + place_error**2
        freedom = total**2 / ((paired / seeds) ** 2 / (seeds - 1) + place_error**4 / place_freedom)
        return power_of(effect, math.sqrt(total), freedom, level) >= power

    return _fewest(enough, FEWEST_SEEDS, 10_000) if effect and paired > 0 else None


def places_needed(effect: float, deviation: float, level: float = LEVEL, power: float = POWER) -> int | None:
    """Places that find `effect` with any number of seeds, where a difference scatters by `deviation` from place to place.

    None where no number does, or nothing is known of that scatter.
    """

    def enough(places: int) -> bool:
        return power_of(effect, deviation / math.sqrt(places), places - 1, level) >= power

    return _fewest(enough, 2, 1_000_000) if effect and deviation > 0 else None


def _fewest(enough: Callable[[int], bool], low: int, high: int) -> int | None:
    """The smallest number from `low` to `high` that is enough, if larger numbers are enough too; None if none is."""
    if not enough(high):
        return None
    return low + bisect.bisect_left(range(low, high), True, key=enough)


def smallest_effect(error: float, freedom: float) -> float:
    """The effect that a two-sided t test at LEVEL with this standard error finds with POWER.

    >>> round(smallest_effect(1.0, 1e6), 2)  # 1.96 + 0.84
    2.8
    """
    return error * float(special.nctdtrinc(freedom, 1 - POWER, special.stdtrit(freedom, 1 - LEVEL / 2)))
