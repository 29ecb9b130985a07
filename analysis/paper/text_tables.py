"""One of the paper's tables as text for a terminal or another program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.evidence.loading import Evidence, load_evidence
from analysis.page.elements import Section, Table, Text
from analysis.page.table_files import to_latex, to_markdown
from analysis.paper import effects, effects_section, figure3, section6, table2, table3, table4
from asc_sweeps.workspace.paths import Workspace

TABLES: dict[str, tuple[Callable[[Evidence], Section], Callable[[Evidence], pd.DataFrame]]] = {
    "effects": (effects_section.section, effects.effects),
    "2": (table2.section, lambda evidence: table2.table2(evidence.frame, evidence.counts).reset_index()),
    "3": (table3.section, lambda evidence: table3.table3(evidence.frame).reset_index()),
    "4": (table4.section, lambda evidence: table4.table4(evidence.frame).reset_index()),
    "section6": (section6.section, lambda evidence: section6.section6(evidence.frame).reset_index()),
    "figure3": (figure3.section, lambda evidence: figure3.figure3_points(evidence.frame)),
}
"""By name the section of the report, and all its numbers."""


def print_table(workspaces: Workspace | Sequence[Workspace], which: str, form: str) -> str:
    """One of TABLES as text; `form` is markdown or latex as in the report, csv or json with all numbers."""
    evidence = load_evidence(*([workspaces] if isinstance(workspaces, Workspace) else workspaces))
    section, numbers = TABLES[which]
    if form == "csv":
        return numbers(evidence).to_csv(index=False)
    if form == "json":
        return numbers(evidence).to_json(orient="records", indent=1) + "\n"
    blocks = section(evidence).blocks
    if form == "latex":
        return "\n".join(to_latex(block) for block in blocks if isinstance(block, Table))
    return "\n\n".join(_markdown(block) for block in blocks if isinstance(block, Table | Text)).rstrip() + "\n"


def _markdown(block: Table | Text) -> str:
    if isinstance(block, Text):
        return f"{block.text} {' '.join(block.codes)}".strip()
    return "\n\n".join([block.caption, to_markdown(block).rstrip(), *map(_markdown, block.notes)])
