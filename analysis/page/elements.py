"""The parts of a report section: text, tables, plots and files. Independent of HTML and of what the numbers mean.

All text is plain; the page writer escapes it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from analysis.page import charts
from analysis.page.formats import MISSING


class Cell(NamedTuple):
    """A table cell; a named tuple because a report holds tens of thousands and a dataclass takes three times as long to create.

    `kind` is `number`, `paper` (a printed number), `text`, `remark`, `verdict-fits`, `verdict-differs` or `verdict-open`.
    """

    text: str
    kind: str = "number"
    small: str = ""
    """A second line in smaller type."""
    codes: tuple[str, ...] = ()
    """Alternative commands or identifiers, shown after the text in a fixed-width font."""
    head: bool = False
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True)
class Text:
    """A paragraph, optionally followed by alternative commands."""

    text: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table: header rows, and body rows in groups."""

    id: str
    caption: str
    head: list[list[Cell]]
    groups: list[list[list[Cell]]]
    notes: tuple[Text, ...] = ()
    """Shown below the table."""

    @cached_property
    def texts(self) -> list[list[list[str]]]:
        """The groups' rows as text, without remarks, spanning cells repeated. Computed once for all export formats."""
        groups = [expand_spans(group) for group in self.groups]
        return [[list(map(cell_text, row)) for row in g if not any(c.kind == "remark" for c in row)] for g in groups]


@dataclass(frozen=True)
class Plot:
    """A figure; `label` states its finding for screen readers."""

    id: str
    label: str
    figure: charts.Figure
    caption: str = ""


@dataclass(frozen=True)
class File:
    """A text file that can be downloaded from the report."""

    id: str
    name: str
    label: str
    text: str


Block = Table | Plot | Text | File
Row = Sequence[Cell | str]
"""Of a table under construction; plain strings are numbers."""


@dataclass(frozen=True)
class Section:
    """A section of the report: a one-sentence summary, then its blocks."""

    id: str
    title: str
    sentence: str
    blocks: tuple[Block, ...] = ()


def simple_table(key: str, caption: str, titles: Sequence[str], rows: Iterable[Row], *notes: str | Text) -> Table:
    """A table with one header row and one row per group; empty notes are left out."""
    return grouped_table(key, caption, titles, ([row] for row in rows), *notes)


def grouped_table(
    key: str, caption: str, titles: Sequence[str], groups: Iterable[Iterable[Row]], *notes: str | Text
) -> Table:
    """A `simple_table` whose groups have several rows. Column titles are aligned like the first row's cells."""
    cells = [[[Cell(c) if isinstance(c, str) else c for c in row] for row in group] for group in groups]
    kinds = [cell.kind for cell in cells[0][0]] if cells else ["number"] * len(titles)
    head = [
        text_head(title) if kind == "text" else Cell(title, head=True)
        for title, kind in zip(titles, kinds, strict=True)
    ]
    texts = tuple(note if isinstance(note, Text) else Text(note) for note in notes if note)
    return Table(key, caption, [head], cells, texts)


def expand_spans(rows: list[list[Cell]]) -> list[list[Cell]]:
    """Rows of equal length: a cell that spans rows or columns is repeated in each of them."""
    if all(cell.rows == cell.columns == 1 for row in rows for cell in row):
        return rows
    by_column: list[dict[int, Cell]] = [{} for _ in rows]
    for i, row in enumerate(rows):
        column = 0
        for cell in row:
            while column in by_column[i]:  # covered by a cell above
                column += 1
            for covered in by_column[i : i + cell.rows]:
                covered.update(dict.fromkeys(range(column, column + cell.columns), cell))
            column += cell.columns
    return [[cells[column] for column in sorted(cells)] for cells in by_column]


def cell_text(cell: Cell) -> str:
    """The whole content of a cell in one line."""
    text = " ".join([*([cell.text] if cell.text else []), *cell.codes])
    return f"{text} ({cell.small})" if cell.small else text


def paper_cell(text: str) -> Cell:
    """A number printed in the paper."""
    return Cell(text, "paper")


def text_cell(text: str, small: str = "") -> Cell:
    """A left-aligned cell of text."""
    return Cell(text, "text", small)


def code_cell(text: str) -> Cell:
    """A cell that holds a command or an identifier."""
    return Cell("", "text", codes=(text,))


def text_head(text: str, small: str = "") -> Cell:
    """The header of a row, of a group of rows, or of a column of text."""
    return Cell(text, "text", small, head=True)


def number_heads(*names: str | Cell) -> list[Cell]:
    """Headers of columns of numbers; cells are kept as they are."""
    return [name if isinstance(name, Cell) else Cell(name, head=True) for name in names]


def row_group(name: Cell, rows: list[list[Cell]], remark: Cell | None = None) -> list[list[Cell]]:
    """Rows that share the header `name`, with an optional remark below them."""
    columns = sum(cell.columns for cell in rows[0])
    rows = [*rows, [remark._replace(columns=columns)]] if remark else rows
    return [[name._replace(rows=len(rows)), *rows[0]], *rows[1:]]


def two_row_head(*cells: tuple[str | Cell, int], below: list[Cell]) -> list[list[Cell]]:
    """A header of two rows: (name, number of columns) on top, single columns extending down; `below` names the others."""
    top = [number_heads(name)[0]._replace(columns=span, rows=2 if span == 1 else 1) for name, span in cells]
    return [top, below]


MISSING_CELL = Cell(MISSING)
