"""Cells and notes that the tables of scores share: a printed number, the measured mean, their difference, a verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis import missing
from analysis.blocks import MISSING_CELL, Cell, Text, heads, paper, row_head
from analysis.families import Family
from analysis.measures import Measure
from analysis.statistics import seed_spread
from analysis.verdicts import Judged, resolved, seed_table, verdict_cell
from analysis.words import MISSING, fixed, signed, spread


def measured(row: Mapping[str, Any] | pd.Series, column: str, scale: float, digits: int) -> Cell:
    """A mean over seeds as `families.summarise` gives it, with its interval or, where seeds are few, each value."""
    values = [scale * value for value in row[f"{column}_by_seed"]]
    return Cell(fixed(scale * row[column], digits), small=spread(scale * row[f"{column}_half"], digits, values))


def score_heads(compare: bool) -> list[Cell]:
    """Over `score_cells`."""
    return heads("paper", "measured", "difference", row_head("verdict"))[: 4 if compare else 2]


def score_cells(row: pd.Series, measure: Measure, compare: bool) -> list[Cell]:
    """Printed, measured and, where they are compared, their difference and the verdict."""
    name, scale, digits = measure.column, measure.scale, measure.digits
    cells = [paper(fixed(scale * row[f"paper_{name}"], digits)), measured(row, name, scale, digits)]
    if not compare:
        return cells
    difference = scale * (row[name] - row[f"paper_{name}"])
    if pd.isna(difference):
        return [*cells, MISSING_CELL, MISSING_CELL]
    return [*cells, Cell(signed(difference, digits)), verdict_cell(row[f"{name}_verdict"])]


def verdict_columns(judged: Judged, row: object, measures: Sequence[str]) -> dict[str, Any]:
    """`<measure>_verdict` and `<measure>_p` of a row; empty and NaN where nothing is judged."""
    texts = {f"{name}_verdict": judged.texts.get((row, name), "") for name in measures}
    return texts | {f"{name}_p": judged.p_values.get((row, name), float("nan")) for name in measures}


def seeds_cell(seeds: Sequence[int], others: Sequence[Sequence[int]]) -> Cell:
    """How many seeds a row has, and which, where they are not those of all rows."""
    differs = any(tuple(one) != tuple(seeds) for one in others if len(one))
    return Cell(str(len(seeds)), small=", ".join(map(str, seeds)) if differs else "") if len(seeds) else Cell(MISSING)


def score_notes(
    family: Family | None,
    fill: tuple[str, ...],
    measures: Sequence[str],
    group: str | None = None,
) -> tuple[Text, ...]:
    """The lines under a table of scores: which trials it shows, what its numbers are and can tell, or what fills it.

    `group`: the column of the family's trials within whose values alone rows are compared.
    """
    if family is None:
        return (missing.empty(fill),)
    rows = {row: its for row, its in family.trials.groupby("row")}
    how = (
        "Measured: mean over seeds, ± half of its 95 % t interval over seeds; below three seeds the values themselves."
    )
    if len({tuple(sorted(its["seed"])) for its in rows.values()}) > 1:
        how += (
            " Rows have different seeds, which the column Seeds names; two rows are compared on those that they share."
        )
    if family.generated:
        how += " Generated data: no differences from the paper are drawn."
    groups = {row: its[group].iloc[0] if group else None for row, its in rows.items()}
    spreads = {measure: seed_spread(seed_table(rows, measure, groups)) for measure in measures}
    return (Text(family.describe()), Text(how), *resolved(spreads, "two rows of one system" if group else "two rows"))
