"""Trials without a result: what runs now, what was begun, what was stopped, what is still planned."""

from __future__ import annotations

from collections import Counter

from analysis.evidence.loading import Evidence
from analysis.page.elements import Cell, Section, Table, Text, code_cell, number_heads, text_cell, text_head
from analysis.page.formats import MISSING, fixed, plural

SHOWN = ("running", "begun", "stopped")
MEANING = {"running": "running", "begun": "begun, nobody trains it now", "stopped": "stopped early"}


def section(evidence: Evidence) -> Section:
    """Unfinished trials in the report, as they stood when it was written."""
    sentence = (
        "Trials of the studies that had no result when this report was written; failed ones stand under Failures."
    )
    open_ones = sorted(
        (t for t in evidence.unfinished if t.state in SHOWN), key=lambda t: (SHOWN.index(t.state), t.signature)
    )
    planned = Counter(t.state for t in evidence.unfinished)["planned"]
    told = Text(f"{plural(planned, 'trial')} of the studies {'is' if planned == 1 else 'are'} planned and not begun.")
    if not open_ones:
        blocks = (told,) if planned else (Text("No trial is under way."),)
        return Section("unfinished", "Under way", sentence, blocks)
    groups = []
    for t in open_ones:
        epochs = f"{t.epochs_done or 0} of {t.epochs_total}" if t.epochs_total else MISSING
        cells = [
            code_cell(t.signature),
            text_cell(t.system),
            text_cell(t.phase),
            Cell(str(t.seed)),
            text_cell(MEANING[t.state]),
            Cell(epochs),
        ]
        loss = MISSING if t.validation_log_loss is None else fixed(t.validation_log_loss, 3)
        groups.append([[*cells, Cell(loss)]])
    head = number_heads(
        *(text_head(n) for n in ("Signature", "System", "Phase")),
        "Seed",
        text_head("State"),
        "Epoch",
        "Validation log loss",
    )
    table = Table("unfinished-list", plural(len(groups), "unfinished trial"), [head], groups)
    return Section("unfinished", "Under way", sentence, (table, told) if planned else (table,))
