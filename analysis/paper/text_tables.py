"""One of the paper's tables as text for a terminal or another program."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.evidence.loading import Evidence, load_evidence
from analysis.page.elements import Section, Table, Text
from analysis.page.table_files import to_latex, to_markdown
from analysis.paper import effects, effects_section, figure3, section6, table2, table3, table4
from asc_sweeps.workspace.paths import Workspace

SHOWN: dict[str, Callable[[Evidence], Section]] = {
    "effects": effects_section.section,
    "2": table2.section,
    "3": table3.section,
    "4": table4.section,
    "section6": section6.section,
    "figure3": figure3.section,
}
NUMBERS: dict[str, Callable[[Evidence], pd.DataFrame]] = {
    "effects": effects.effects,
    "2": lambda evidence: table2.table2(evidence.frame, evidence.counts).reset_index(),
    "3": lambda evidence: table3.table3(evidence.frame).reset_index(),
    "section6": lambda evidence: section6.section6(evidence.frame).reset_index(),
    "4": lambda evidence: table4.table4(evidence.frame).reset_index(),
    "figure3": lambda evidence: figure3.figure3_points(evidence.frame),
}


def print_table(workspaces: Workspace | Sequence[Workspace], which: str, form: str) -> str:
    """`effects`, Table `2`, `3` or `4`, `section6`, or the points of `figure3`.

    `form` is markdown or latex as the report shows it, csv or json in full.
    """
    several = [workspaces] if isinstance(workspaces, Workspace) else workspaces
    evidence = load_evidence(*several)
    if form == "csv":
        return NUMBERS[which](evidence).to_csv(index=False)
    if form == "json":
        return NUMBERS[which](evidence).to_json(orient="records", indent=1) + "\n"
    blocks = SHOWN[which](evidence).blocks
    if form == "latex":
        return "\n".join(to_latex(block) for block in blocks if isinstance(block, Table))
    return "\n\n".join(_markdown(block) for block in blocks if isinstance(block, Table | Text)).rstrip() + "\n"


def _markdown(block: Table | Text) -> str:
    if isinstance(block, Text):
        return f"{block.text} {' '.join(block.codes)}".strip()
    return "\n\n".join([block.caption, to_markdown(block).rstrip(), *map(_markdown, block.notes)])
