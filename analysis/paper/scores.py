"""Cells and notes that the tables of scores share: a printed number, the measured mean, their difference, a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from analysis.evidence.measures import MEASURES, PRIMARY, Measure
from analysis.page.elements import MISSING_CELL, Cell, Text, number_heads, paper_cell, text_head
from analysis.page.formats import MISSING, fixed, listed, plural, signed, spread
from analysis.paper import missing
from analysis.paper.families import Family
from analysis.paper.verdicts import TABLES, Judged, least_margin, margin_of, scores_by_seed
from analysis.statistics import FEWEST_SEEDS, LEVEL, SeedSpread, seed_spread, smallest_effect


def measured_cell(row: Mapping[str, Any] | pd.Series, column: str, scale: float, digits: int) -> Cell:
    """A mean over seeds as `families.summarise` gives it, with its interval or, where seeds are few, each value."""
    values = [scale * value for value in row[f"{column}_by_seed"]]
    return Cell(fixed(scale * row[column], digits), small=spread(scale * row[f"{column}_half"], digits, values))


def score_heads(compare: bool) -> list[Cell]:
    """Over `score_cells`."""
    return number_heads("paper", "measured", "difference", text_head("verdict"))[: 4 if compare else 2]


def score_cells(row: pd.Series, measure: Measure, compare: bool) -> list[Cell]:
    """Printed, measured and, where they are compared, their difference and the verdict."""
    name, scale, digits = measure.column, measure.scale, measure.digits
    cells = [paper_cell(fixed(scale * row[f"paper_{name}"], digits)), measured_cell(row, name, scale, digits)]
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
    spreads = {measure: seed_spread(scores_by_seed(rows, measure, groups)) for measure in measures}
    return (
        Text(family.describe()),
        Text(how),
        *resolution_note(spreads, "two rows of one system" if group else "two rows"),
    )


def verdict_cell(text: str) -> Cell:
    """A verdict as a cell."""
    kinds = {
        "=": "verdict-fits",
        "≠": "verdict-differs",
        "▲": "verdict-differs",
        "▼": "verdict-differs",
        "?": "verdict-open",
    }
    return Cell(text, kinds.get(text[:1], "text"))


def explained(judged: Judged, measures: Sequence[Measure] = PRIMARY) -> tuple[Text, ...]:
    """What stands above a table of scores: what its verdicts mean, on which cells, and what one printed run can show at all."""
    tests = sum(not math.isnan(p) for p in judged.p_values.values())
    if not judged.texts:
        return ()
    level = LEVEL / TABLES
    what = (
        f"Primary outcomes: {listed([measure.name for measure in measures])}; other cells have no verdict. = reproduced: within 0.03 "
        "of log loss or 1 point of accuracy; ▲ higher or ▼ lower than printed. A printed number is one run, so the standard error is "
        "that of a new observation (t tests; seed-to-seed variation is pooled over the rows and assumed normal)."
    )
    if tests:
        what += (
            f" Tests of a difference, and of reproduction, are each Holm-corrected over the {plural(tests, 'test')} of the table, at "
            f"{100 * level:g} % (Tables 2 to 4 and Section 6 share 5 %)."
        )
    limits = []
    for measure, (name, its) in zip(measures, judged.spreads.items(), strict=True):
        if its.variance > 0 and tests:
            least, margin = least_margin(its.variance, level), margin_of(name)
            beyond = ", so it cannot be shown" if margin < least else ""
            limits.append(f"{measure.amount(least)} {measure.unit} (margin {measure.amount(margin)}{beyond})")
    if not limits:
        return (Text(what),)
    noise = (
        "However many seeds are measured here, the paper's single run can be shown to be reproduced only within a margin of "
        f"{listed(limits)}, by the spread of these seeds. Effects can be shown; they open the report."
    )
    return Text(what), Text(noise)


def resolution_note(spreads: Mapping[str, SeedSpread], rows: str = "two rows") -> tuple[Text, ...]:
    """The line under a table that says which difference of two of its rows their seeds would find."""
    counts = [n for its in spreads.values() for n in its.counts if n >= FEWEST_SEEDS]
    if not counts:
        return (Text(f"What this table can resolve: nothing about systems, which takes {FEWEST_SEEDS} seeds a row."),)
    parts = []
    for name, its in spreads.items():
        if its.residual > 0:
            found = smallest_effect(math.sqrt(2 * its.residual / min(counts)), its.residual_freedom)
            parts.append(f"{MEASURES[name].amount(found)} {MEASURES[name].unit}")
    if not parts:
        return ()
    text = (
        f"What this table can resolve with {min(counts)} seeds a row, for these places alone (80 % power at 5 %, a single test): a "
        f"difference between {rows} of {listed(parts)}."
    )
    return (Text(text),)
