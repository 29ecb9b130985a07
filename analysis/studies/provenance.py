"""Origin of the numbers: data sets, versions, hosts and git states of the finished trials."""

from __future__ import annotations

from collections import Counter

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page.elements import (
    Cell,
    Row,
    Section,
    Table,
    Text,
    code_cell,
    grouped_table,
    paper_cell,
    row_group,
    simple_table,
    text_cell,
    text_head,
)
from analysis.page.formats import MISSING, listed
from analysis.published import LISTED_TRAIN_SEGMENTS, TEST_SEGMENTS, TRAIN_SEGMENTS

ENVIRONMENT = ["git_commit", "git_dirty", "asc_sweeps", "python", "torch", "torchaudio", "ray", "numpy", "soundfile"]
ENVIRONMENT += ["platform", "host", "accelerator", "threads"]
TITLES = {"git_commit": "git commit", "git_dirty": "uncommitted changes", "threads": "threads per trial"}


def section(evidence: Evidence) -> Section:
    """Provenance in the report."""
    sentence = "Data sets, software versions and hosts of the finished trials."
    if evidence.frame.empty:
        return Section("provenance", "Provenance", sentence, (Text("No trial is finished yet."),))
    return Section("provenance", "Provenance", sentence, (_data(evidence.frame), _environment(evidence)))


def _data(frame: pd.DataFrame) -> Table:
    printed = [paper_cell(text) for text in (f"{TRAIN_SEGMENTS:,}", MISSING, f"{TEST_SEGMENTS:,}")]
    kinds = [text_cell(text) for text in (MISSING, "real", "A")]
    rows: list[Row] = [[text_head("Paper (Sec. 4.1)"), *kinds, *printed, MISSING]]
    splits = ["train_segments", "validation_segments", "test_segments"]
    for _, trials in frame.groupby(["data_name", "data_fingerprint", "generated", *splits], dropna=False):
        first = trials.iloc[0]
        dropped = listed(sorted(device.upper() for device in trials["dropped_device"].dropna().unique()))
        texts = [text_head(str(first["data_name"])), code_cell(str(first["data_fingerprint"]))]
        texts += [text_cell("generated" if first["generated"] else "real"), text_cell(dropped)]
        rows.append([*texts, *(f"{int(first[split]):,}" for split in splits), str(len(trials))])
    titles = ["Data set", "Fingerprint", "Kind", "Dropped device", "Training", "Validation", "Test", "Trials"]
    note = (
        f"Segments per split. The data set's own lists contain {LISTED_TRAIN_SEGMENTS:,} training segments, not the "
        f"{TRAIN_SEGMENTS:,} printed in the paper."
    )
    return simple_table("provenance-data", "Data", titles, rows, note)


def _environment(evidence: Evidence) -> Table:
    groups = []
    for key in ENVIRONMENT:
        counts = Counter(_as_text(result.environment.get(key)) for result in evidence.results)
        rows = [[text_cell(value), Cell(str(count))] for value, count in sorted(counts.items())]
        groups.append(row_group(text_head(TITLES.get(key, key)), rows))
    caption = "Versions, hosts and code"
    return grouped_table("provenance-environment", caption, ["Property", "Value", "Trials"], groups)


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "not recorded" if value is None else str(value)
