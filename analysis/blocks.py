"""What a report's section is made of: text, tables, plots. Knows nothing of HTML or of what the numbers mean.

All text is plain; whatever writes a page escapes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import plotly.graph_objects as go

from analysis.words import MISSING


@dataclass(frozen=True)
class Cell:
    """A cell of a table; `kind` is `number`, `paper` (a printed number), `text`, `verdict-fits` or `verdict-differs`."""

    text: str
    kind: str = "number"
    small: str = ""
    """A second, smaller line."""
    code: str = ""
    """A command or an identifier, set in a fixed width after the text."""
    head: bool = False
    rows: int = 1
    columns: int = 1


@dataclass(frozen=True)
class Table:
    """A table: rows of its head, and groups of rows that stand together in its body."""

    id: str
    caption: str
    head: list[list[Cell]]
    groups: list[list[list[Cell]]]
    notes: tuple[str, ...] = ()
    """Lines under the table."""


@dataclass(frozen=True)
class Plot:
    """A figure; `label` says its finding to those who do not see it."""

    id: str
    label: str
    figure: go.Figure
    caption: str = ""


@dataclass(frozen=True)
class Text:
    """A paragraph, with commands behind it."""

    text: str
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Section:
    """A part of the report: one sentence in plain words, then its blocks."""

    id: str
    title: str
    sentence: str
    blocks: tuple[Table | Plot | Text, ...] = ()


def paper(text: str) -> Cell:
    """A number that the paper prints."""
    return Cell(text, "paper")


def words(text: str, code: str = "", small: str = "") -> Cell:
    """A cell of words."""
    return Cell(text, "text", small, code)


def row_head(text: str, small: str = "", rows: int = 1) -> Cell:
    """The name of a row, or of a group of rows."""
    return Cell(text, "text", small, head=True, rows=rows)


def heads(*names: str) -> list[Cell]:
    """A row of column heads."""
    return [Cell(name, "text", head=True) for name in names]


MISSING_CELL = Cell(MISSING)
