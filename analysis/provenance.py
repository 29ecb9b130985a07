"""Where the numbers come from: data, versions, hosts and git states of the finished trials."""

from __future__ import annotations

import pandas as pd

from analysis.blocks import Cell, Section, Table, Text, heads, paper, row_group, row_head, words
from analysis.evidence import Evidence
from analysis.paper import LISTED_TRAIN_SEGMENTS, TEST_SEGMENTS, TRAIN_SEGMENTS
from analysis.words import MISSING

NAMES = {
    "git_commit": "git commit",
    "git_dirty": "uncommitted changes",
    "asc_sweeps": "asc_sweeps",
    "python": "Python",
    "torch": "torch",
    "torchaudio": "torchaudio",
    "ray": "Ray",
    "numpy": "NumPy",
    "platform": "platform",
    "host": "host",
}


def section(evidence: Evidence) -> Section:
    """Provenance in the report."""
    sentence = "The data the trials learned from, and what computed them."
    if evidence.frame.empty:
        return Section("provenance", "Provenance", sentence, (Text("No trial is finished yet."),))
    return Section("provenance", "Provenance", sentence, (_data(evidence.frame), _environment(evidence)))


def _data(frame: pd.DataFrame) -> Table:
    columns = ["data_name", "data_fingerprint", "generated", "dropped_device"]
    splits = ["train_segments", "validation_segments", "test_segments"]
    groups = [[[row_head("Paper (Sec. 4.1)"), words(MISSING), words("real"), words("A")]]]
    groups[0][0] += [paper(f"{TRAIN_SEGMENTS:,}"), paper(MISSING), paper(f"{TEST_SEGMENTS:,}"), Cell(MISSING)]
    for key, trials in frame.groupby(columns + splits, dropna=False):
        name, fingerprint, generated, dropped = (MISSING if pd.isna(value) else value for value in key[:4])
        kind = "generated" if generated else "real"
        cells = [row_head(str(name)), words("", code=str(fingerprint)), words(kind), words(str(dropped).upper())]
        groups.append([[*cells, *(Cell(f"{int(n):,}") for n in key[4:]), Cell(str(len(trials)))]])
    texts = [row_head(name) for name in ("Data set", "Fingerprint", "Kind", "Dropped device")]
    head = [*texts, *heads("Training", "Validation", "Test", "Trials")]
    note = (
        f"Segments of each split. The data set's own lists hold {LISTED_TRAIN_SEGMENTS:,} training segments, not the "
    )
    note += f"{TRAIN_SEGMENTS:,} that the paper prints."
    return Table("provenance-data", "Data", [head], groups, (note,))


def _environment(evidence: Evidence) -> Table:
    groups = []
    keys = [*NAMES, *sorted({k for r in evidence.results for k in r.environment} - set(NAMES))]
    for key in keys:
        values = pd.Series([_word(r.environment.get(key)) for r in evidence.results]).value_counts()
        lines = [[words(value), Cell(str(count))] for value, count in sorted(values.items())]
        groups.append(row_group(row_head(NAMES.get(key, key)), lines))
    head = heads(row_head("What"), row_head("Value"), "Trials")
    return Table("provenance-environment", "Versions, hosts and code", [head], groups)


def _word(value: object) -> str:
    if value is None:
        return "not recorded"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
