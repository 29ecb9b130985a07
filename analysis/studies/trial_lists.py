"""Lists of all finished trials, unfinished trials, failures and studies."""

from __future__ import annotations

from collections import Counter

from analysis.evidence.loading import Evidence
from analysis.page.elements import Block, File, Row, Section, Text, code_cell, simple_table, text_cell, text_head
from analysis.page.formats import MISSING, duration, fixed, percent, plural

STATE_TEXTS = {"running": "running", "begun": "started, not running now", "stopped": "stopped early"}


def trials(evidence: Evidence) -> Section:
    """All finished trials, by system, phase and seed."""
    sentence = "All finished trials with their test scores; time excludes the trial that a trial started from."
    if evidence.frame.empty:
        return Section("trials", "Trials", sentence, (Text("No trial is finished yet."),))
    rows: list[Row] = []
    keys = ["generated", "data_name", "system", "phase", "seed", "signature"]
    shown = [*keys, "log_loss", "accuracy", "params", "macs", "seconds"]
    for row in evidence.frame.sort_values(keys)[shown].to_dict("records"):
        data = f"{row['data_name']} (generated)" if row["generated"] else str(row["data_name"])
        texts = [code_cell(row["signature"]), text_cell(row["system"]), text_cell(row["phase"]), text_cell(data)]
        scores = [fixed(row["log_loss"], 3), percent(row["accuracy"])]
        sizes = [f"{row['params']:,}", f"{row['macs']:,}"]
        rows.append([*texts, str(row["seed"]), *scores, *sizes, duration(row["seconds"])])
    titles = ["Signature", "System", "Phase", "Data", "Seed", "Log loss", "Accuracy, %", "Parameters", "MACs", "Time"]
    table = simple_table("trials-list", plural(len(rows), "finished trial"), titles, rows)
    return Section("trials", "Trials", sentence, (table,))


def unfinished(evidence: Evidence) -> Section:
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
    none = f"{plural(planned, 'trial')} planned and not started." if planned else "No trial is unfinished."
    blocks: list[Block] = [*([table] if rows else []), *([Text(none)] if planned or not rows else [])]
    return Section("unfinished", "Unfinished trials", sentence, tuple(blocks))


def failures(evidence: Evidence) -> Section:
    """All trials that failed and have not succeeded since."""
    sentence = "Trials that ended without a result, and why. Running their study again retries them."
    if not evidence.failures:
        return Section("failures", "Failures", sentence, (Text("No trial has failed."),))
    rows: list[Row] = [
        [code_cell(f.signature), *map(text_cell, (f.system, f.phase, f.cause, f.message, f.failed_at))]
        for f in evidence.failures
    ]
    titles = ["Signature", "System", "Phase", "Cause", "Message", "Failed at (UTC)"]
    table = simple_table("failures-list", plural(len(rows), "failed trial"), titles, rows)
    return Section("failures", "Failures", sentence, (table,))


def studies(evidence: Evidence) -> Section:
    """All studies, the state of their last run and the command that repeats them."""
    sentence = "All studies and their commands. Running a study again computes only what is missing."
    if not evidence.studies:
        return Section("studies", "Studies", sentence, (Text("No study was run in this workspace."),))
    rows: list[Row] = []
    for study in evidence.studies:
        states = Counter(trial["state"] for trial in study.trials)
        counts = [str(states[state]) if study.trials else MISSING for state in ("done", "failed", "planned")]
        texts = text_head(study.name), text_cell(study.state)
        rows.append([*texts, *counts, text_cell(study.ended_at), code_cell(study.command)])
    titles = ["Study", "State", "Done", "Failed", "Planned", "Ended at (UTC)", "Command"]
    text = "This report contains each study as last run, with all settings of its trials. To repeat them from this file alone:"
    note = Text(text, ("asc-sweeps sweep --from report.html",))
    table = simple_table("studies-list", plural(len(rows), "study"), titles, rows, note)
    files = [
        File(f"space-{i}", f"{name}.yaml", f"{name}: its trials as a search space", text)
        for i, (name, text) in enumerate(evidence.spaces.items())
    ]
    return Section("studies", "Studies", sentence, (table, *files))
