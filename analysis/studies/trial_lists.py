"""Every trial, every failure, every study: the lists behind the tables."""

from __future__ import annotations

from collections import Counter

from analysis.evidence.loading import Evidence
from analysis.page.elements import Cell, File, Section, Table, Text, code_cell, number_heads, text_cell, text_head
from analysis.page.formats import MISSING, duration, fixed, percent, plural

SHOWN = (
    "signature",
    "system",
    "phase",
    "data_name",
    "generated",
    "seed",
    "log_loss",
    "accuracy",
    "params",
    "macs",
    "seconds",
)
AGAIN = "asc-sweeps sweep --from report.html"


def trials(evidence: Evidence) -> Section:
    """All finished trials, by system, phase and seed."""
    sentence = "Every finished trial; scores are of the test split, the time is the trial's own."
    if evidence.frame.empty:
        return Section("trials", "Trials", sentence, (Text("No trial is finished yet."),))
    order = evidence.frame.sort_values(["generated", "data_name", "system", "phase", "seed", "signature"])
    groups = []
    for row in order[list(SHOWN)].to_dict("records"):
        data = f"{row['data_name']} (generated)" if row["generated"] else str(row["data_name"])
        cells = [code_cell(row["signature"]), text_cell(row["system"]), text_cell(row["phase"])]
        cells += [
            text_cell(data),
            Cell(str(row["seed"])),
            Cell(fixed(row["log_loss"], 3)),
            Cell(percent(row["accuracy"])),
        ]
        cells += [Cell(f"{row['params']:,}"), Cell(f"{row['macs']:,}"), Cell(duration(row["seconds"]))]
        groups.append([cells])
    texts = [text_head(name) for name in ("Signature", "System", "Phase", "Data")]
    names = (*texts, "Seed", "Log loss", "Accuracy, %", "Parameters", "MACs", "Time")
    caption = plural(len(order), "finished trial")
    return Section("trials", "Trials", sentence, (Table("trials-list", caption, [number_heads(*names)], groups),))


def failures(evidence: Evidence) -> Section:
    """All trials that failed and have not succeeded since."""
    sentence = "Trials that ended without a result, and why. Running their study again tries them again."
    if not evidence.failures:
        return Section("failures", "Failures", sentence, (Text("No trial has failed."),))
    groups = []
    for f in evidence.failures:
        cells = [code_cell(f.signature), text_cell(f.system), text_cell(f.phase), text_cell(f.cause)]
        groups.append([[*cells, text_cell(f.message), text_cell(f.failed_at)]])
    names = [text_head(name) for name in ("Signature", "System", "Phase", "Cause", "Message", "Failed at (UTC)")]
    caption = plural(len(evidence.failures), "failed trial")
    return Section("failures", "Failures", sentence, (Table("failures-list", caption, [names], groups),))


def studies(evidence: Evidence) -> Section:
    """All studies, how their last run ended and the line that runs them again."""
    sentence = "What was asked for. A study that runs again computes only what is not there yet."
    if not evidence.studies:
        return Section("studies", "Studies", sentence, (Text("No study was run in this workspace."),))
    groups = []
    for study in evidence.studies:
        states = Counter(str(trial["state"]) for trial in study.trials)
        counts = [
            Cell(str(states.get(state, 0)) if study.trials else MISSING) for state in ("done", "failed", "planned")
        ]
        cells = [
            text_head(study.name),
            text_cell(study.state),
            *counts,
            text_cell(study.ended_at),
            code_cell(study.command),
        ]
        groups.append([cells])
    head = [text_head("Study"), text_head("State"), *number_heads("Done", "Failed", "Planned")]
    head += [text_head("Ended at (UTC)"), text_head("Command")]
    note = Text(
        "This report holds each study as it was last run, with all settings of its trials. To run them again from it alone:",
        (AGAIN,),
    )
    table = Table("studies-list", plural(len(evidence.studies), "study"), [head], groups, (note,))
    files = [
        File(f"space-{position}", f"{name}.yaml", f"{name}: its trials as a search space", text)
        for position, (name, text) in enumerate(evidence.spaces.items())
    ]
    return Section("studies", "Studies", sentence, (table, *files))
