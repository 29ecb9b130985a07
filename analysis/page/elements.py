"""What a report's section is made of: text, tables, plots. Knows nothing of HTML or of what the numbers mean.

All text is plain; whatever writes a page escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from analysis.page import charts
from analysis.page.formats import MISSING


class Cell(NamedTuple):
    """A cell of a table; one of tens of thousands, of which a dataclass would take three times as long to make.

    `kind` is `number`, `paper` (a printed number), `text`, `remark`, `verdict-fits`, `verdict-differs` or `verdict-open`.
    """

    text: str
    kind: str = "number"
    small: str = ""
    """A second, smaller line."""
    codes: tuple[str, ...] = ()
    """Commands or identifiers, any of which will do, set in a fixed width after the text."""
    head: bool = False
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True)
class Text:
    """A paragraph, with commands behind it, any of which will do."""

    text: str
    codes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Table:
    """A table: rows of its head, and groups of rows that stand together in its body."""

    id: str
    caption: str
    head: list[list[Cell]]
    groups: list[list[list[Cell]]]
    notes: tuple[Text, ...] = ()
    """Lines under the table."""

    @cached_property
    def texts(self) -> list[list[list[str]]]:
        """The groups' rows as texts, without remarks; a cell that spans several stands in each. Made once for all forms."""
        groups = (
            [row for row in expand_spans(group) if not any(c.kind == "remark" for c in row)] for group in self.groups
        )
        return [[[cell_text(cell) for cell in row] for row in group] for group in groups]


@dataclass(frozen=True)
class Plot:
    """A figure; `label` says its finding to those who do not see it."""

    id: str
    label: str
    figure: charts.Figure
    caption: str = ""


@dataclass(frozen=True)
class File:
    """A text that can be taken out of the report as a file of its own."""

    id: str
    name: str
    """Of the file."""
    label: str
    text: str


Block = Table | Plot | Text | File


@dataclass(frozen=True)
class Section:
    """A part of the report: one sentence in plain words, then its blocks."""

    id: str
    title: str
    sentence: str
    blocks: tuple[Block, ...] = ()


def expand_spans(rows: list[list[Cell]]) -> list[list[Cell]]:
    """Rows of equally many cells: one that spans rows or columns stands in each of them."""
    if all(cell.rows == cell.columns == 1 for row in rows for cell in row):
        return rows
    found: list[dict[int, Cell]] = [{} for _ in rows]
    for i, row in enumerate(rows):
        at = 0
        for cell in row:
            while at in found[i]:  # reached by a cell above
                at += 1
            for below in found[i : i + cell.rows]:
                below.update(dict.fromkeys(range(at, at + cell.columns), cell))
            at += cell.columns
    return [[cells[column] for column in sorted(cells)] for cells in found]


def cell_text(cell: Cell) -> str:
    """All that a cell says, in one line."""
    text = " ".join([*([cell.text] if cell.text else []), *cell.codes])
    return f"{text} ({cell.small})" if cell.small else text


def paper_cell(text: str) -> Cell:
    """A number that the paper prints."""
    return Cell(text, "paper")


def text_cell(text: str, small: str = "") -> Cell:
    """A cell of words."""
    return Cell(text, "text", small)


def code_cell(text: str) -> Cell:
    """A cell that holds a command or an identifier."""
    return Cell("", "text", codes=(text,))


def text_head(text: str, small: str = "") -> Cell:
    """The name of a row, or of a group of rows."""
    return Cell(text, "text", small, head=True)


def row_group(name: Cell, lines: list[list[Cell]], remark: Cell | None = None) -> list[list[Cell]]:
    """Lines of one name, with a remark below them where there is one."""
    columns = sum(cell.columns for cell in lines[0])
    lines = [*lines, [remark._replace(columns=columns)]] if remark else lines
    return [[name._replace(rows=len(lines)), *lines[0]], *lines[1:]]


def number_heads(*names: str | Cell) -> list[Cell]:
    """Heads of columns of numbers; a column of words has `row_head`."""
    return [name if isinstance(name, Cell) else Cell(name, head=True) for name in names]


def two_row_head(*cells: tuple[str | Cell, int], below: list[Cell]) -> list[list[Cell]]:
    """A head in two rows: (name, columns it spans), those of one column reaching down; `below` names the others."""
    top = [number_heads(name)[0]._replace(columns=span, rows=2 if span == 1 else 1) for name, span in cells]
    return [top, below]


MISSING_CELL = Cell(MISSING)
