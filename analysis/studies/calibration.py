"""Whether a network knows how sure it may be: expected calibration error, seed by seed, with an interval over places.

Plain functions of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from analysis.statistics import NAN, Interval

BINS = 15
"""Of confidence."""
RESAMPLES = 2_000
"""Of places, for the interval of an error."""


@dataclass(frozen=True)
class Calibration:
    """How far a classifier's confidence is from how often it is right, by bins of equal width, place by place."""

    gaps: np.ndarray
    """Sum of (right - confidence), shape [bins, places]."""
    confidences: np.ndarray
    """Sum of confidence, of that shape."""
    counts: np.ndarray
    """Segments, of that shape."""
    places: np.ndarray
    """Their names."""

    @cached_property
    def segments(self) -> np.ndarray:
        """In each bin."""
        return self.counts.sum(axis=1)

    @property
    def error(self) -> float:
        """Expected calibration error: mean of |accuracy - confidence| over segments' bins, 0..1."""
        return float(np.abs(self.gaps.sum(axis=1)).sum() / self.counts.sum()) if self.counts.sum() else NAN

    @property
    def confidence(self) -> np.ndarray:
        """Mean in each bin, NaN in empty ones."""
        return self._mean(self.confidences)

    @property
    def accuracy(self) -> np.ndarray:
        """In each bin, NaN in empty ones."""
        return self._mean(self.confidences + self.gaps)

    @property
    def bias(self) -> float:
        """Confidence minus accuracy over all segments: above zero is overconfident."""
        return float(-self.gaps.sum() / self.counts.sum()) if self.counts.sum() else NAN

    def _mean(self, sums: np.ndarray) -> np.ndarray:
        return np.divide(sums.sum(axis=1), self.segments, out=np.full(len(sums), np.nan), where=self.segments > 0)


def calibration(
    log_probability: np.ndarray, labels: np.ndarray, places: np.ndarray | None = None, bins: int = BINS
) -> Calibration:
    """Calibration of the most probable class.

    `log_probability`: shape [segments, classes]; `places`: of each segment, each segment its own where there are none.
    """
    confidence = np.exp(log_probability.max(axis=1).astype(float))
    right = (log_probability.argmax(axis=1) == labels).astype(float)
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    names, member = np.unique(np.arange(len(labels)) if places is None else places, return_inverse=True)
    cell, size = which * len(names) + member, bins * len(names)
    sums = [
        np.bincount(cell, weights, size).reshape(bins, -1)
        for weights in (right - confidence, confidence, right * 0 + 1)
    ]
    return Calibration(*sums, names)


def calibration_interval(seeds: Sequence[Calibration], seed: int = 0) -> tuple[Interval, float]:
    """Mean calibration error of one system's seeds with its interval over places, and what perfect calibration would read.

    Each seed's error is taken for itself: errors in opposite directions must not cancel. An error is a sum of absolute values, so
    chance alone makes it larger than zero. The interval, of about 95 %, is the basic bootstrap's, which takes that off, and begins
    at zero where the error is no larger than perfect calibration reads; the second number is the mean error of resamples whose
    every bin is right on average. Without ends where seeds were tested at different places, or at one.
    """
    error = float(np.mean([one.error for one in seeds]))
    places = seeds[0].places
    if len(places) < 2 or any(not np.array_equal(one.places, places) for one in seeds):
        return Interval(error, NAN, NAN, len(seeds)), NAN
    gaps = np.stack([one.gaps for one in seeds])  # [seeds, bins, places]
    counts = np.stack([one.counts for one in seeds])
    shares = np.divide(counts, counts.sum(axis=2, keepdims=True), out=np.zeros_like(counts), where=counts > 0)
    perfect = gaps - shares * gaps.sum(axis=2, keepdims=True)
    count = len(places)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES).T.astype(float)
    sizes = counts.sum(axis=1) @ times  # [seeds, resamples]
    drawn, chance = (((np.abs(part @ times)).sum(axis=1) / sizes).mean(axis=0) for part in (gaps, perfect))
    low, high = 2 * error - np.quantile(drawn, [0.975, 0.025])
    low = 0.0 if error <= np.quantile(chance, 0.975) else max(0.0, low)
    return Interval(error, low, max(high, error), len(seeds)), float(chance.mean())
