"""Notes on the paper: its statements about its tables, computed again from the tables."""

from __future__ import annotations

from analysis.evidence.loading import Evidence
from analysis.page.elements import Cell, Section, Table, Text, number_heads, paper_cell, text_head
from analysis.page.formats import percent
from analysis.published import TABLE4, claims
from asc_sweeps.data.labels import SEEN_DEVICES, UNSEEN_DEVICES


def section(_: Evidence) -> Section:
    """Notes on the paper in the report, independent of what was measured."""
    groups = []
    for claim in claims():
        verdict = Cell("= agrees", "verdict-fits") if claim.agrees else Cell("≠ differs", "verdict-differs")
        groups.append([[text_head(claim.about), paper_cell(claim.printed), Cell(claim.computed), verdict]])
    head = [number_heads(text_head("Statement"), "Printed", "Computed", text_head("Verdict"))]
    arithmetic = Table("notes-arithmetic", "The paper's arithmetic, computed from its own tables", head, groups)
    means = []
    for row in TABLE4:
        name = "X" if row.max_drop_rate is None else f"{row.max_drop_rate:.2f}"
        cells = (paper_cell(percent(row.mean(devices))) for devices in (SEEN_DEVICES, UNSEEN_DEVICES))
        means.append([[text_head(name), *cells]])
    head = [number_heads(text_head("Drop rate"), "Seen devices, %", "Unseen devices, %")]
    note = (
        "The paper does not report these means; they show that most of the gain from dropping is on the unseen devices."
    )
    groups_table = Table("notes-means", "Mean accuracy of the paper's Table 4", head, means, (Text(note),))
    sentence = (
        "The paper's statements about its own numbers, checked by arithmetic; nothing here was trained or counted."
    )
    return Section("notes", "Notes on the paper", sentence, (arithmetic, groups_table))
