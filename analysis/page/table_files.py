"""Tables of the report as CSV, Markdown and LaTeX, as shown. Independent of what the numbers mean."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from itertools import pairwise

from analysis.page.elements import Cell, Table, cell_text, expand_spans

FORMULA_STARTS = ("=", "@", "\t", "\r", "+", "-")


class _Latex(dict[int, str]):
    """Replacements by character code; anything but Latin letters would stop pdflatex and becomes a question mark."""

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


def columns_and_rows(table: Table) -> tuple[list[str], list[list[str]]]:
    """Column names, prefixed with the headers above them, and all rows; spanning cells are repeated."""
    columns = zip(*expand_spans(table.head), strict=True)
    names = [": ".join(dict.fromkeys(cell_text(cell) for cell in column if cell_text(cell))) for column in columns]
    return names, [row for rows in table.texts for row in rows]


def to_csv(table: Table) -> str:
    """Comma-separated values with one header row."""
    names, rows = columns_and_rows(table)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([_without_formula(cell) for cell in row] for row in [names, *rows])
    return text.getvalue()


def to_markdown(table: Table) -> str:
    """A table in GitHub's Markdown, without notes."""
    names, rows = columns_and_rows(table)
    alignment = ["---" if cell.kind == "text" else "---:" for cell in expand_spans(table.head)[-1]]
    escaped = [[_markdown(cell) for cell in row] for row in [names, *rows]]
    return "".join(f"| {' | '.join(row)} |\n" for row in [escaped[0], alignment, *escaped[1:]])


def to_latex(table: Table) -> str:
    """A LaTeX `table` environment that uses the booktabs package."""
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
    """The header rows: cells continued from above are blank, names over several columns are underlined."""
    lines: list[str] = []
    above: Sequence[Cell | None] = [None] * len(expand_spans(head)[0])
    for row in expand_spans(head):
        cells, rules, column = [], [], 0
        while column < len(row):
            cell = row[column]
            text = "" if cell is above[column] else _latex(cell_text(cell))
            if cell.columns > 1:
                text = rf"\multicolumn{{{cell.columns}}}{{c}}{{{text}}}"
                rules.append(rf"\cmidrule(lr){{{column + 1}-{column + cell.columns}}}")
            cells.append(text)
            column += cell.columns
        lines.append(" & ".join(cells) + r" \\" + "".join(rules))
        above = row
    return lines


def _latex(text: str) -> str:
    return text.translate(LATEX)


def _markdown(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def _without_formula(cell: str) -> str:
    """Prefix a quote to a cell that a spreadsheet would evaluate as a formula; signed numbers are left as they are."""
    return f"'{cell}" if cell.startswith(FORMULA_STARTS) and not re.match(r"[+-]\d", cell) else cell
