"""What a workspace's test split and seeds can tell at all, in a few lines: for those who look at a small run and see a winner."""

from __future__ import annotations

import numpy as np

from analysis.comparisons import place_error
from analysis.effects import found_effects
from analysis.evidence import Evidence
from analysis.measures import ACCURACY, LOG_LOSS, MEASURES, UNSEEN_ACCURACY
from analysis.statistics import FEWEST_SEEDS, smallest_effect
from analysis.table2 import table2_family
from analysis.words import listed, plural


def precision(evidence: Evidence) -> list[str]:
    """Standard errors over places of Table 2's trials, and the differences that cannot be resolved; nothing without predictions."""
    family = evidence.of(table2_family)
    signatures = [] if family is None else family.trials["signature"].tolist()
    stored = [p for signature in signatures if (p := evidence.predictions(signature))]
    if not stored:
        return []
    places = len(np.unique(stored[0].places))
    errors = []
    for measure in (LOG_LOSS, ACCURACY, UNSEEN_ACCURACY):
        error = float(np.median([place_error(p, measure) for p in stored]))
        if not np.isnan(error):
            errors.append(f"{measure.amount(error)} {measure.unit}")
    lines = [
        f"test split: {plural(places, 'place')}; standard error over places of one network's score: {listed(errors)}"
    ]
    found = found_effects(evidence)
    told = {
        measure: [
            smallest_effect(f.difference.error, f.difference.freedom)
            for f in found
            if f.measure == measure and f.difference.error > 0
        ]
        for measure in MEASURES.values()
    }
    amounts = listed([f"{m.amount(float(np.median(values)))} {m.unit}" for m, values in told.items() if values])
    fewest = min((f.difference.seeds for f in found), default=0)
    if fewest >= FEWEST_SEEDS:
        return [*lines, f"not resolved (80 % power, a single test): differences between two rows below {amounts}"]
    if amounts:
        lines.append(f"not resolved between two networks of one seed: differences below {amounts}")
    return [
        *lines,
        f"nothing is resolved about systems, which takes {FEWEST_SEEDS} seeds of each row; see asc-sweeps power",
    ]
