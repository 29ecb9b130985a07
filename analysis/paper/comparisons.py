"""Two systems on the same test places: their difference, with seeds and places as the two sources of its variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.evidence.measures import LOG_LOSS, MEASURES, Measure
from analysis.evidence.predictions import Predictions
from analysis.statistics import difference

COMPARISON_COLUMNS = ("measure", "difference", "low", "high", "p", "seeds", "places", "of")


def compare(first: Sequence[Predictions], second: Sequence[Predictions]) -> pd.DataFrame:
    """First minus second for each measure, paired by seed: both lists hold the same seeds in the same order.

    Columns: measure, difference, low, high (95 %), p (two-sided, uncorrected), seeds, places, and `of`: `systems`, or `networks`
    for one seed each, whose interval is over places alone. Two seeds have no interval and no p. Raises ValueError for lists of
    different lengths, or predictions of different test places.
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"both systems need the same seeds, at least one; got {len(first)} and {len(second)} predictions"
        )
    rows = []
    for measure in MEASURES.values():
        by_seed = [mean_of(a, measure) - mean_of(b, measure) for a, b in zip(first, second, strict=True)]
        influence = influences(list(zip(first, second, strict=True)), measure)
        if influence is None:
            raise ValueError("both systems must have been tested at the same places")
        found = difference(by_seed, influence)
        of = "networks" if found.seeds == 1 else "systems"
        ends = (found.mean - found.half, found.mean + found.half)
        rows.append((measure.column, found.mean, *ends, found.p, found.seeds, found.places, of))
    return pd.DataFrame(rows, columns=list(COMPARISON_COLUMNS)).dropna(subset="difference", ignore_index=True)


def place_error(predictions: Predictions, measure: Measure) -> float:
    """Standard error of one network's score over the test places; NaN if a device that it averages has no segment."""
    influence = _influence(predictions, measure)
    places = len(influence)
    return float(np.sqrt(places / (places - 1) * (influence**2).sum())) if places > 1 else float("nan")


def influences(pairs: Sequence[tuple[Predictions, Predictions]], measure: Measure) -> np.ndarray | None:
    """Influence of each place on each pair's difference, shape [pairs, places]; None if places differ."""
    if not pairs:
        return None
    names = pairs[0][0].place_names
    if any(not np.array_equal(p.place_names, names) for pair in pairs for p in pair):
        return None
    return np.array([_influence(a, measure) - _influence(b, measure) for a, b in pairs])


def mean_of(predictions: Predictions, measure: Measure) -> float:
    """The measure over all test segments; NaN if a device that it averages has none."""
    weights, _ = _weights(predictions, measure)
    return float(weights @ values_of(predictions, measure))


def values_of(predictions: Predictions, measure: Measure) -> np.ndarray:
    """The measure of each segment."""
    return predictions.log_loss if measure is LOG_LOSS else predictions.correct.astype(float)


def _influence(predictions: Predictions, measure: Measure) -> np.ndarray:
    """By place, the weighted sum of its segments' deviations from the mean of their device, or of all."""
    weights, group = _weights(predictions, measure)
    values = values_of(predictions, measure)
    sums, sizes = np.bincount(group, weights * values), np.bincount(group, weights)
    means = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    return np.bincount(predictions.place_numbers, weights * (values - means[group]))


def _weights(predictions: Predictions, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """For each segment its weight in the measure (the sum is 1), and its group: its device, or one for all."""
    count = len(predictions.scenes)
    if not measure.devices:
        return np.full(count, 1 / count), np.zeros(count, np.int64)
    names, group, sizes = predictions.device_groups
    if not set(measure.devices) <= set(names.tolist()):
        return np.full(count, np.nan), group
    counted = np.isin(names, measure.devices) / (len(measure.devices) * sizes)
    return counted[group], group
