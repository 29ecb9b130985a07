"""Where the numbers come from: data, versions, hosts and git states of the finished trials."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page.elements import (
    Cell,
    Section,
    Table,
    Text,
    code_cell,
    number_heads,
    paper_cell,
    row_group,
    text_cell,
    text_head,
)
from analysis.page.formats import MISSING, listed
from analysis.published import LISTED_TRAIN_SEGMENTS, TEST_SEGMENTS, TRAIN_SEGMENTS

NAMES = {
    "git_commit": "git commit",
    "git_dirty": "uncommitted changes",
    "asc_sweeps": "asc_sweeps",
    "python": "Python",
    "torch": "torch",
    "torchaudio": "torchaudio",
    "ray": "Ray",
    "numpy": "NumPy",
    "soundfile": "soundfile",
    "platform": "platform",
    "host": "host",
    "accelerator": "accelerator",
    "threads": "threads of a trial",
}


def section(evidence: Evidence) -> Section:
    """Provenance in the report."""
    sentence = "The data the trials learned from, and what computed them."
    if evidence.frame.empty:
        return Section("provenance", "Provenance", sentence, (Text("No trial is finished yet."),))
    return Section("provenance", "Provenance", sentence, (_data(evidence.frame), _environment(evidence)))


def _data(frame: pd.DataFrame) -> Table:
    columns = ["data_name", "data_fingerprint", "generated", "train_segments", "validation_segments", "test_segments"]
    printed = [
        text_cell(MISSING),
        text_cell("real"),
        text_cell("A"),
        paper_cell(f"{TRAIN_SEGMENTS:,}"),
        paper_cell(MISSING),
    ]
    groups = [[[text_head("Paper (Sec. 4.1)"), *printed, paper_cell(f"{TEST_SEGMENTS:,}"), Cell(MISSING)]]]
    for (name, fingerprint, generated, *segments), trials in frame.groupby(columns, dropna=False):
        dropped = listed(sorted(device.upper() for device in trials["dropped_device"].dropna().unique()))
        cells = [
            text_head(str(name)),
            code_cell(str(fingerprint)),
            text_cell("generated" if generated else "real"),
            text_cell(dropped),
        ]
        groups.append([[*cells, *(Cell(f"{int(n):,}") for n in segments), Cell(str(len(trials)))]])
    texts = [text_head(name) for name in ("Data set", "Fingerprint", "Kind", "Dropped device")]
    head = [*texts, *number_heads("Training", "Validation", "Test", "Trials")]
    note = (
        f"Segments of each split. The data set's own lists hold {LISTED_TRAIN_SEGMENTS:,} training segments, not the "
    )
    note += f"{TRAIN_SEGMENTS:,} that the paper prints."
    return Table("provenance-data", "Data", [head], groups, (Text(note),))


def _environment(evidence: Evidence) -> Table:
    groups = []
    for key, name in NAMES.items():
        values = pd.Series([_word(r.environment.get(key)) for r in evidence.results]).value_counts()
        lines = [[text_cell(value), Cell(str(count))] for value, count in sorted(values.items())]
        groups.append(row_group(text_head(name), lines))
    head = number_heads(text_head("What"), text_head("Value"), "Trials")
    return Table("provenance-environment", "Versions, hosts and code", [head], groups)


def _word(value: object) -> str:
    if value is None:
        return "not recorded"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
