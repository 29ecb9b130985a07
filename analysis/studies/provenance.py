"""Where the numbers come from: data, versions, hosts and git states of the finished trials."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page.elements import Cell, Section, Table, Text, code, heads, paper, row_group, row_head, words
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
    printed = [words(MISSING), words("real"), words("A"), paper(f"{TRAIN_SEGMENTS:,}"), paper(MISSING)]
    groups = [[[row_head("Paper (Sec. 4.1)"), *printed, paper(f"{TEST_SEGMENTS:,}"), Cell(MISSING)]]]
    for (name, fingerprint, generated, *segments), trials in frame.groupby(columns, dropna=False):
        dropped = listed(sorted(device.upper() for device in trials["dropped_device"].dropna().unique()))
        cells = [
            row_head(str(name)),
            code(str(fingerprint)),
            words("generated" if generated else "real"),
            words(dropped),
        ]
        groups.append([[*cells, *(Cell(f"{int(n):,}") for n in segments), Cell(str(len(trials)))]])
    texts = [row_head(name) for name in ("Data set", "Fingerprint", "Kind", "Dropped device")]
    head = [*texts, *heads("Training", "Validation", "Test", "Trials")]
    note = (
        f"Segments of each split. The data set's own lists hold {LISTED_TRAIN_SEGMENTS:,} training segments, not the "
    )
    note += f"{TRAIN_SEGMENTS:,} that the paper prints."
    return Table("provenance-data", "Data", [head], groups, (Text(note),))


def _environment(evidence: Evidence) -> Table:
    groups = []
    for key, name in NAMES.items():
        values = pd.Series([_word(r.environment.get(key)) for r in evidence.results]).value_counts()
        lines = [[words(value), Cell(str(count))] for value, count in sorted(values.items())]
        groups.append(row_group(row_head(name), lines))
    head = heads(row_head("What"), row_head("Value"), "Trials")
    return Table("provenance-environment", "Versions, hosts and code", [head], groups)


def _word(value: object) -> str:
    if value is None:
        return "not recorded"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
