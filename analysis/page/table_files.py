"""A report's tables as CSV, Markdown and LaTeX, as they are shown. Knows nothing of what the numbers mean."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import pairwise

from analysis.page.elements import Cell, Table, cell_text, expand_spans

FORMULA = ("=", "@", "\t", "\r", "+", "-")


class _Latex(dict[int, str]):
    """How each character is written, by its code; pdflatex knows Latin letters, what else a name may hold would stop it."""

    def __missing__(self, code: int) -> str:
        return self.setdefault(code, chr(code) if code < 0x180 and chr(code).isprintable() else "?")


LATEX = _Latex(
    str.maketrans(
        {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", '"': "''"}
        | {character: f"\\{character}" for character in "&%$#_{}"}
        | {character: f"${character}$" for character in "<>|"}
        | {"−": "$-$", "±": r"$\pm$", "×": r"$\times$", "≠": r"$\neq$", "▲": r"$\uparrow$", "▼": r"$\downarrow$"}
        | {"—": "---", "–": "--", "“": "``", "”": "''", "\u00a0": "~"}
    )
)


def lines(table: Table) -> tuple[list[str], list[list[str]]]:
    """The names of a table's columns, those above them in front, and its rows; a cell that spans several stands in each."""
    columns = zip(*expand_spans(table.head), strict=True)
    names = [": ".join(dict.fromkeys(cell_text(cell) for cell in column if cell_text(cell))) for column in columns]
    return names, [row for rows in table.texts for row in rows]


def to_csv(table: Table) -> str:
    """Comma-separated values with one row of names."""
    names, rows = lines(table)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_inert(cell) for cell in row] for row in [names, *rows])
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """A table of GitHub's Markdown; its notes are left out."""
    names, rows = lines(table)
    marks = ["---" if cell.kind == "text" else "---:" for cell in expand_spans(table.head)[-1]]
    written = [[_markdown(cell) for cell in row] for row in [names, *rows]]
    return "".join(f"| {' | '.join(row)} |\n" for row in [written[0], marks, *written[1:]])


def to_latex(table: Table) -> str:
    """A `table` environment for the package booktabs."""
    aligned = "".join("l" if cell.kind == "text" else "r" for cell in expand_spans(table.head)[-1])
    body = [*_latex_head(table.head), r"\midrule"]
    for i, rows in enumerate(table.texts):
        if i and len(rows) > 1:
            body.append(r"\addlinespace")
        for above, row in pairwise([[""], *rows]):
            first = "" if row[0] == above[0] else row[0]
            body.append(" & ".join(_latex(cell) for cell in [first, *row[1:]]) + r" \\")
    content = "\n".join(body)
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n"
        f"\\caption{{{_latex(table.caption)}}}\n\\begin{{tabular}}{{{aligned}}}\n\\toprule\n{content}\n\\bottomrule\n"
        "\\end{tabular}\n\\end{table}\n"
    )


def _latex_head(head: list[list[Cell]]) -> list[str]:
    """The rows of a head; what reaches down from above is blank, and a name over several columns is underlined."""
    found: list[str] = []
    above: Sequence[Cell | None] = [None] * len(expand_spans(head)[0])
    for row in expand_spans(head):
        cells, rules, at = [], [], 0
        while at < len(row):
            cell = row[at]
            text = "" if cell is above[at] else _latex(cell_text(cell))
            if cell.columns > 1:
                text = rf"\multicolumn{{{cell.columns}}}{{c}}{{{text}}}"
                rules.append(rf"\cmidrule(lr){{{at + 1}-{at + cell.columns}}}")
            cells.append(text)
            at += cell.columns
        found.append(" & ".join(cells) + r" \\" + "".join(rules))
        above = row
    return found


def _latex(text: str) -> str:
    return text.translate(LATEX)


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _inert(cell: str) -> str:
    """A cell that a spreadsheet would take for a formula begins with a quote; numbers with a sign do not."""
    return f"'{cell}" if cell.startswith(FORMULA) and not re.match(r"[+-]\d", cell) else cell
