"""Calibration of a classifier: expected calibration error of each seed, with an interval over places.

Plain functions of arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.statistics import NAN, Interval

CONFIDENCE_BINS = 15
RESAMPLES = 2_000
"""Bootstrap resamples of places, for the interval of an error."""


@dataclass(frozen=True)
class Calibration:
    """Differences between confidence and accuracy, in bins of equal width, by place."""

    gaps: np.ndarray
    """Sums of (correct - confidence), shape [bins, places]."""
    confidences: np.ndarray
    """Sums of confidence, same shape."""
    counts: np.ndarray
    """Numbers of segments, same shape."""
    places: np.ndarray
    """Names of the places."""

    @property
    def segments(self) -> np.ndarray:
        """Segments in each bin."""
        return self.counts.sum(axis=1)

    @property
    def error(self) -> float:
        """Expected calibration error: mean of |accuracy - confidence| of each segment's bin, 0..1."""
        return float(np.abs(self.gaps.sum(axis=1)).sum() / self.counts.sum()) if self.counts.sum() else NAN

    @property
    def confidence(self) -> np.ndarray:
        """Mean in each bin, NaN in empty ones."""
        return self._mean(self.confidences)

    @property
    def accuracy(self) -> np.ndarray:
        """Accuracy in each bin, NaN in empty ones."""
        return self._mean(self.confidences + self.gaps)

    @property
    def bias(self) -> float:
        """Confidence minus accuracy over all segments; positive values are overconfident."""
        return float(-self.gaps.sum() / self.counts.sum()) if self.counts.sum() else NAN

    def _mean(self, sums: np.ndarray) -> np.ndarray:
        return np.divide(sums.sum(axis=1), self.segments, out=np.full(len(sums), np.nan), where=self.segments > 0)


def calibration(log_probability: np.ndarray, labels: np.ndarray, places: np.ndarray | None = None) -> Calibration:
    """Calibration of the most probable class.

    `log_probability`: shape [segments, classes]; `places`: each segment's place, by default a different one for each segment.
    """
    confidence = np.exp(log_probability.max(axis=1).astype(float))
    correct = (log_probability.argmax(axis=1) == labels).astype(float)
    bins = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    names, place = np.unique(np.arange(len(labels)) if places is None else places, return_inverse=True)
    cells, size = bins * len(names) + place, CONFIDENCE_BINS * len(names)

    def sums(weights: np.ndarray) -> np.ndarray:
        return np.bincount(cells, weights, size).reshape(CONFIDENCE_BINS, -1)

    return Calibration(sums(correct - confidence), sums(confidence), sums(np.ones(len(labels))), names)


def calibration_interval(seeds: Sequence[Calibration], seed: int = 0) -> tuple[Interval, float]:
    """Mean calibration error over a system's seeds with its interval over places, and the error expected by chance.

    Errors are computed for each seed, so that opposite ones do not cancel. As a sum of absolute values, an error is positive by
    chance alone. The basic bootstrap interval (about 95 %) corrects for that, and begins at zero if the error is within the range
    of perfect calibration; the second number is the mean error of resamples in which every bin is perfectly calibrated. Without
    ends (NaN) if the seeds were tested at different places, or at a single one.
    """
    error = float(np.mean([calibration.error for calibration in seeds]))
    places = seeds[0].places
    if len(places) < 2 or any(not np.array_equal(calibration.places, places) for calibration in seeds):
        return Interval(error, NAN, NAN, len(seeds)), NAN
    gaps = np.stack([calibration.gaps for calibration in seeds])  # [seeds, bins, places]
    counts = np.stack([calibration.counts for calibration in seeds])
    shares = np.divide(counts, counts.sum(axis=2, keepdims=True), out=np.zeros_like(counts), where=counts > 0)
    perfect = gaps - shares * gaps.sum(axis=2, keepdims=True)
    count = len(places)
    times = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES).T.astype(float)
    sizes = counts.sum(axis=1) @ times  # [seeds, resamples]
    resampled, chance = (((np.abs(part @ times)).sum(axis=1) / sizes).mean(axis=0) for part in (gaps, perfect))
    low, high = 2 * error - np.quantile(resampled, [0.975, 0.025])
    low = 0.0 if error <= np.quantile(chance, 0.975) else max(0.0, low)
    return Interval(error, low, max(high, error), len(seeds)), float(chance.mean())
