"""Two systems on the same test places: their difference with seeds and places as the two sources of its variance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from analysis.evidence.measures import LOG_LOSS, MEASURES, Measure
from analysis.evidence.predictions import Predictions
from analysis.statistics import difference

COLUMNS = ("measure", "difference", "low", "high", "p", "seeds", "places", "of")


def compare(first: Sequence[Predictions], second: Sequence[Predictions]) -> pd.DataFrame:
    """First minus second for each measure, each a list of its seeds in the same order, paired by seed.

    Columns: measure, difference, low, high (95 %), p (two-sided, uncorrected), seeds, places, and `of`: `systems`, or `networks`
    for one seed each, whose interval is over places alone and says nothing of the systems. Below three seeds and above one there
    is no interval and no p. Raises ValueError for lists of different lengths, or systems that were not tested at the same places.
    """
    if len(first) != len(second) or not first:
        raise ValueError(
            f"both systems need the same seeds, one at least; got {len(first)} and {len(second)} predictions"
        )
    rows = []
    for measure in MEASURES.values():
        sides = [[mean_of(p, measure) for p in side] for side in (first, second)]
        influence = influences(list(zip(first, second, strict=True)), measure)
        if influence is None:
            raise ValueError("the two systems must have been tested at the same places")
        found = difference(np.subtract(*sides).tolist(), influence)
        of = "networks" if found.seeds == 1 else "systems"
        ends = (found.mean - found.half, found.mean + found.half)
        rows.append((measure.column, found.mean, *ends, found.p, found.seeds, found.places, of))
    return pd.DataFrame(rows, columns=list(COLUMNS)).dropna(subset="difference", ignore_index=True)


def place_error(predictions: Predictions, measure: Measure) -> float:
    """Standard error of one network's score over the test places; NaN where a device that it averages has no segment."""
    influence = _influence(predictions, measure)
    places = len(influence)
    return float(np.sqrt(places / (places - 1) * (influence**2).sum())) if places > 1 else float("nan")


def influences(pairs: Sequence[tuple[Predictions, Predictions]], measure: Measure) -> np.ndarray | None:
    """What each place adds to each pair's difference beyond its share of the mean, [pairs, places]; None for other places."""
    if not pairs:
        return None
    names = pairs[0][0].place_names
    if any(not np.array_equal(p.place_names, names) for pair in pairs for p in pair):
        return None
    return np.array([_influence(a, measure) - _influence(b, measure) for a, b in pairs])


def mean_of(predictions: Predictions, measure: Measure) -> float:
    """The measure over all test segments; NaN where a device that it averages has none."""
    weights, _ = _weights(predictions, measure)
    return float(weights @ values_of(predictions, measure))


def values_of(predictions: Predictions, measure: Measure) -> np.ndarray:
    """Of each segment."""
    return predictions.log_loss if measure is LOG_LOSS else predictions.correct.astype(float)


def _influence(predictions: Predictions, measure: Measure) -> np.ndarray:
    """By place: the weighted sum of how far its segments are from the mean of their device, or of all."""
    weights, group = _weights(predictions, measure)
    values = values_of(predictions, measure)
    sums, sizes = np.bincount(group, weights * values), np.bincount(group, weights)
    means = np.divide(sums, sizes, out=np.zeros_like(sums), where=sizes > 0)
    return np.bincount(predictions.place_numbers, weights * (values - means[group]))


def _weights(predictions: Predictions, measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """Of each segment its weight in the measure, which sum to 1, and its group: its device, or one for all."""
    count = len(predictions.scenes)
    if not measure.devices:
        return np.full(count, 1 / count), np.zeros(count, np.int64)
    names, group, sizes = predictions.device_groups
    if not set(measure.devices) <= set(names.tolist()):
        return np.full(count, np.nan), group
    counted = np.isin(names, measure.devices) / (len(measure.devices) * sizes)
    return counted[group], group
