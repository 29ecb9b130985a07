"""What a workspace's test split and seeds can resolve, in a few lines, so that nobody sees a winner in noise."""

from __future__ import annotations

import numpy as np

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import ACCURACY, LOG_LOSS, UNSEEN_ACCURACY
from analysis.page.formats import listed, plural
from analysis.paper.comparisons import place_error
from analysis.paper.effects import measured_effects
from analysis.paper.table2 import TABLE2_SCORES
from analysis.statistics import FEWEST_SEEDS, smallest_effect


def precision(evidence: Evidence) -> list[str]:
    """Standard errors over places of Table 2's trials, and the differences that cannot be resolved; empty without predictions."""
    family = evidence.cached(TABLE2_SCORES.measure).family
    signatures: list[str] = [] if family is None else family.trials["signature"].tolist()
    stored = [p for signature in signatures if (p := evidence.predictions(signature))]
    if not stored:
        return []
    effects = [effect for effect in measured_effects(evidence) if effect.difference.error > 0]
    systems = any(effect.difference.seeds >= FEWEST_SEEDS for effect in effects)
    errors, unresolved = [], []
    for measure in (LOG_LOSS, ACCURACY, UNSEEN_ACCURACY):
        error = float(np.median([place_error(p, measure) for p in stored]))
        pairs = [e.difference for e in effects if e.measure == measure and (e.difference.seeds > 1) == systems]
        smallest = [smallest_effect(pair.error, pair.freedom) for pair in pairs]
        errors += [] if np.isnan(error) else [f"{measure.amount(error)} {measure.unit}"]
        unresolved += [f"{measure.amount(float(np.median(smallest)))} {measure.unit}"] if smallest else []
    if not errors:
        return []
    places = plural(len(stored[0].place_names), "place")
    lines = [f"test split: {places}; standard error over places of one network's score: {listed(errors)}"]
    if unresolved:
        pair = "two rows" if systems else "two networks, one seed each,"
        lines.append(
            f"not resolved (80 % power, a single test, typical pair): differences of {pair} below {listed(unresolved)}"
        )
    if not systems:
        lines.append(
            f"nothing is resolved about systems: that takes {FEWEST_SEEDS} seeds per row (see asc-sweeps power)"
        )
    return lines
