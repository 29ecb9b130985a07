"""Whether measured scores are the printed ones: equivalence within a margin, else a difference, else too few seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from analysis.blocks import Cell
from analysis.statistics import difference_p, equivalence_p, holm

MARGINS = {"accuracy": 0.01, "log_loss": 0.03}
"""Within so much of the printed number a score counts as reproduced."""
LEVEL = 0.05
EXPLAINED = (
    "Verdicts: = reproduced, within 1 point of accuracy or 0.03 of log loss (two one-sided t tests); ▲ higher or ▼ lower "
    "than printed (t test); ? undecided. Each over seeds at 5 %, Holm's correction over all cells of the table."
)


@dataclass(frozen=True)
class Judged:
    """What a table's cells are found to be, by row and measure."""

    texts: Mapping[tuple[object, str], str]
    p_values: Mapping[tuple[object, str], float]
    """Of the difference from the printed number, after Holm."""


def judge(values: Mapping[tuple[object, str], Sequence[float]], printed: Mapping[tuple[object, str], float]) -> Judged:
    """Verdicts on a table's cells, each given by its row and measure: values by seed, and the printed number.

    Cells without a printed number or without a value get none.
    """
    cells = [cell for cell in values if not math.isnan(printed[cell]) and len(values[cell])]
    differs = dict(zip(cells, holm([difference_p(values[c], printed[c]) for c in cells]), strict=True))
    same = dict(zip(cells, holm([equivalence_p(values[c], printed[c], _margin(c[1])) for c in cells]), strict=True))
    texts = {}
    for cell in cells:
        count, mean = len(values[cell]), sum(values[cell]) / len(values[cell])
        if count < 2:
            texts[cell] = "? one seed"
        elif same[cell] < LEVEL:
            texts[cell] = "= reproduced"
        elif differs[cell] < LEVEL:
            texts[cell] = "▲ higher" if mean > printed[cell] else "▼ lower"
        else:
            texts[cell] = f"? {count} seeds are too few" if count < 5 else "? undecided"
    return Judged(texts, differs)


def judge_rows(
    trials: Mapping[object, pd.DataFrame], printed: Mapping[object, Mapping[str, float]], measures: Sequence[str]
) -> Judged:
    """Verdicts on a table: by row its trials and its printed numbers."""
    cells = [(row, measure) for row in trials for measure in measures]
    values = {(row, m): trials[row][m].dropna().tolist() for row, m in cells}
    return judge(values, {(row, m): float(printed[row][m]) for row, m in cells})


def verdict_cell(text: str) -> Cell:
    """A verdict as a cell."""
    kind = {"=": "verdict-fits", "▲": "verdict-differs", "▼": "verdict-differs"}.get(text[:1], "text")
    return Cell(text, kind)


def _margin(measure: str) -> float:
    return MARGINS["log_loss" if measure == "log_loss" else "accuracy"]
