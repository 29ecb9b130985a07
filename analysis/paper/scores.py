"""How tables of scores look: columns with their cells, verdicts, and the notes above and below."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import pandas as pd

from analysis.evidence.measures import MEASURES, Measure
from analysis.page.elements import (
    MISSING_CELL,
    Cell,
    Table,
    Text,
    number_heads,
    paper_cell,
    row_group,
    text_head,
    two_row_head,
)
from analysis.page.formats import MISSING, fixed, listed, percent, plural, signed, spread
from analysis.paper import missing
from analysis.paper.paper_table import MeasuredTable
from analysis.paper.verdicts import JUDGED_TABLES, ScoreVerdicts, least_margin, margin_of
from analysis.statistics import FEWEST_SEEDS, LEVEL, SeedSpread, smallest_effect

Row = TypeVar("Row")
VERDICT_KINDS = {"=": "verdict-fits", "≠": "verdict-differs", "▲": "verdict-differs", "▼": "verdict-differs"}
VERDICT_KINDS["?"] = "verdict-open"
"""Kind of a cell by the sign of its verdict."""


class Columns(NamedTuple, Generic[Row]):
    """Columns of a table under one title: the cells of a row, and the names below the title, none for a single column."""

    title: str | Cell
    cells: Callable[[Row], list[Cell]]
    names: Sequence[str | Cell] = ()


class Rows(NamedTuple, Generic[Row]):
    """Rows of a table under one name, with a remark below."""

    name: Cell
    rows: Sequence[Row]
    remark: Cell | None = None


def make_table(
    id: str,
    caption: str,
    first: str,
    columns: Sequence[Columns[Row]],
    groups: Iterable[Rows[Row]],
    notes: tuple[Text, ...] = (),
) -> Table:
    """A table with these columns; `first` is the title of the column of names."""
    top = [(text_head(first), 1), *((column.title, max(1, len(column.names))) for column in columns)]
    names = number_heads(*(name for column in columns for name in column.names))
    head = two_row_head(*top, below=names) if names else [number_heads(*(title for title, _ in top))]
    body = [
        row_group(
            group.name, [[c for column in columns for c in column.cells(row)] for row in group.rows], group.remark
        )
        for group in groups
    ]
    return Table(id, caption, head, body, notes)


def measured_cell(row: Mapping[str, Any] | pd.Series, column: str, scale: float, digits: int) -> Cell:
    """A mean over seeds as `families.summarise` gives it, with its interval or, with few seeds, each value."""
    values = [scale * value for value in row[f"{column}_by_seed"]]
    return Cell(fixed(scale * row[column], digits), small=spread(scale * row[f"{column}_half"], digits, values))


def log_loss_cell(row: pd.Series, column: str) -> Cell:
    """A measured log loss."""
    return measured_cell(row, column, 1, 3)


def score_columns(
    measure: Measure, compare: bool, more: Callable[[pd.Series], list[Cell]] | None = None, *names: str
) -> Columns[pd.Series]:
    """Printed, measured and, if compared, their difference and the verdict; then `more` cells under `names`."""
    compared: list[str | Cell] = ["difference", text_head("verdict")] if compare else []

    def cells(row: pd.Series) -> list[Cell]:
        return score_cells(row, measure, compare) + (more(row) if more else [])

    return Columns(measure.title, cells, ["paper", "measured", *compared, *names])


def score_cells(row: pd.Series, measure: Measure, compare: bool) -> list[Cell]:
    """The cells of `score_columns`."""
    name, scale, digits = measure.column, measure.scale, measure.digits
    cells = [paper_cell(fixed(scale * row[f"paper_{name}"], digits)), measured_cell(row, name, scale, digits)]
    if not compare:
        return cells
    difference = scale * (row[name] - row[f"paper_{name}"])
    if pd.isna(difference):
        return [*cells, MISSING_CELL, MISSING_CELL]
    return [*cells, Cell(signed(difference, digits)), verdict_cell(row[f"{name}_verdict"])]


MACRO_COLUMN = Columns[pd.Series]("Macro log loss", lambda row: [log_loss_cell(row, "log_loss_macro")])


def seeds_column(numbers: pd.DataFrame) -> Columns[pd.Series]:
    """Number of seeds of each row."""
    return Columns("Seeds", lambda row: [seeds_cell(row["seed_numbers"], numbers["seed_numbers"])])


def seeds_cell(seeds: Sequence[int], others: Iterable[Sequence[int]]) -> Cell:
    """Number of seeds of a row, and the seeds themselves if other rows have different ones."""
    differs = any(tuple(other) != tuple(seeds) for other in others if len(other))
    return Cell(str(len(seeds)), small=", ".join(map(str, seeds)) if differs else "") if len(seeds) else Cell(MISSING)


def verdict_cell(text: str) -> Cell:
    """A verdict as a cell."""
    return Cell(text, VERDICT_KINDS.get(text[:1], "text"))


def scores_in_words(numbers: pd.DataFrame, name: Callable[[Any], str] = str) -> str:
    """Measured log loss and accuracy of each row that has trials, for those who cannot see a figure."""
    rows = numbers[numbers["seeds"] > 0].iterrows()
    return "; ".join(f"{name(key)} {fixed(r['log_loss'], 3)}, {percent(r['accuracy'])} %" for key, r in rows)


def notes_below(table: MeasuredTable[Any], fill: tuple[str, ...]) -> tuple[Text, ...]:
    """Notes below a table of scores: the trials shown, what the numbers are, and what they can resolve; or the command to run."""
    if table.family is None:
        return (missing.empty(fill),)
    how = (
        "Measured: mean over seeds, ± half of its 95 % t interval over seeds; below three seeds, the individual values."
    )
    if len({tuple(sorted(rows["seed"])) for rows in table.rows.values() if len(rows)}) > 1:
        how += " Rows have different seeds, listed in the column Seeds; two rows are compared on the seeds they share."
    if table.family.generated:
        how += " Generated data: no comparison with the paper."
    spreads = {measure.column: table.seed_spread(measure) for measure in table.paper.measures}
    pair = "two rows of one system" if table.paper.groups else "two rows"
    return (Text(table.family.describe()), Text(how), *resolution_note(spreads, pair))


def notes_above(table: MeasuredTable[Any]) -> tuple[Text, ...]:
    """Notes above a table of scores: what the verdicts mean, on which cells, and what one printed run can show at all."""
    verdicts, measures = table.verdicts, table.paper.measures
    tests = sum(not math.isnan(p) for p in verdicts.p_values.values())
    if not verdicts.texts:
        return ()
    level = LEVEL / JUDGED_TABLES
    what = (
        f"Primary outcomes: {listed([measure.name for measure in measures])}; other cells have no verdict. = reproduced: within 0.03 "
        "of log loss or 1 point of accuracy; ▲ higher or ▼ lower than printed. A printed number is one run, so the standard error is "
        "that of a new observation (t tests; seed-to-seed variation is pooled over the rows and assumed normal)."
    )
    if tests:
        what += (
            f" Tests of difference and of equivalence are each Holm-corrected over the {plural(tests, 'test')} of the table, at "
            f"{100 * level:g} % (Tables 2 to 4 and Section 6 share 5 %)."
        )
    limits = _limits(verdicts, measures, level) if tests else []
    if not limits:
        return (Text(what),)
    noise = (
        "However many seeds are measured here, the paper's single run can be shown to be reproduced only within a margin of "
        f"{listed(limits)}, given the spread of these seeds. Effects can be shown; they open the report."
    )
    return Text(what), Text(noise)


def _limits(verdicts: ScoreVerdicts[Any], measures: Sequence[Measure], level: float) -> list[str]:
    """For each measure the smallest margin within which one printed run can be shown to be reproduced."""
    limits = []
    for measure, found in zip(measures, verdicts.spreads.values(), strict=True):
        if found.variance > 0:
            least, margin = least_margin(found.variance, level), margin_of(measure.column)
            beyond = ", so it cannot be shown" if margin < least else ""
            limits.append(f"{measure.amount(least)} {measure.unit} (margin {measure.amount(margin)}{beyond})")
    return limits


def resolution_note(spreads: Mapping[str, SeedSpread], pair: str = "two rows") -> tuple[Text, ...]:
    """The smallest difference between a `pair` of rows that their seeds would detect, by the spread of each measure's column."""
    counts = [n for found in spreads.values() for n in found.counts if n >= FEWEST_SEEDS]
    if not counts:
        return (Text(f"Resolution: none for systems, which takes {FEWEST_SEEDS} seeds per row."),)
    parts = []
    for column, found in spreads.items():
        if found.residual > 0:
            effect = smallest_effect(math.sqrt(2 * found.residual / min(counts)), found.residual_freedom)
            parts.append(f"{MEASURES[column].amount(effect)} {MEASURES[column].unit}")
    if not parts:
        return ()
    text = (
        f"Resolution with {min(counts)} seeds per row, for these test places alone (80 % power at 5 %, a single test): a difference "
        f"between {pair} of {listed(parts)}."
    )
    return (Text(text),)
