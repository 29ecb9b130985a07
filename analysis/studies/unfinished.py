"""Trials without a result: running, interrupted, stopped early or planned."""

from __future__ import annotations

from analysis.evidence.loading import Evidence
from analysis.page.elements import Row, Section, Text, code_cell, simple_table, text_cell
from analysis.page.formats import MISSING, fixed, plural

STATE_TEXTS = {"running": "running", "begun": "started, not running now", "stopped": "stopped early"}


def section(evidence: Evidence) -> Section:
    """Unfinished trials, as of when the report was written."""
    sentence = "Trials without a result when this report was written; failed trials are under Failures."
    started = [trial for state in STATE_TEXTS for trial in evidence.unfinished if trial.state == state]
    planned = sum(trial.state == "planned" for trial in evidence.unfinished)
    rows: list[Row] = []
    for t in started:
        epochs = f"{t.epochs_done or 0} of {t.epochs_total}" if t.epochs_total else MISSING
        loss = MISSING if t.validation_log_loss is None else fixed(t.validation_log_loss, 3)
        texts = [code_cell(t.signature), text_cell(t.system), text_cell(t.phase)]
        rows.append([*texts, str(t.seed), text_cell(STATE_TEXTS[t.state]), epochs, loss])
    titles = ["Signature", "System", "Phase", "Seed", "State", "Epoch", "Validation log loss"]
    table = simple_table("unfinished-list", plural(len(rows), "unfinished trial"), titles, rows)
    is_are = "is" if planned == 1 else "are"
    text = Text(
        f"{plural(planned, 'trial')} {is_are} planned and not started." if planned else "No trial is unfinished."
    )
    blocks = [table] if rows else []
    return Section("unfinished", "Unfinished trials", sentence, (*blocks, *([text] if planned or not rows else [])))
