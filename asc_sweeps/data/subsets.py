"""Subsets of 5 to 100 % of the training segments: the lists of the 2024 challenge, stored in the workspace by their content."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np

from asc_sweeps.config.setting_groups import DataConfig
from asc_sweeps.data.cache import Prepared
from asc_sweeps.data.catalog import fetch_prepared
from asc_sweeps.data.findings import printable
from asc_sweeps.data.tab_separated import read_rows
from asc_sweeps.data.tau import SUBSET_FOLDERS
from asc_sweeps.errors import DataError
from asc_sweeps.workspace.paths import Workspace


def store_subset(folder: Path, percent: int, data: Prepared, workspace: Workspace) -> str:
    """Store a data set's list of this percentage in the workspace and return the name of its content.

    Raises DataError if there is no such list, or if it names anything but training segments.
    """
    paths = [folder / place / f"split{percent}.csv" for place in SUBSET_FOLDERS]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        remedy = f"put the list of the 2024 challenge into its {SUBSET_FOLDERS[0]}/"
        if data.generated:
            remedy = "an earlier version generated it without; delete the folder and generate it again"
        raise DataError(f"data.subset {percent}: {printable(folder)} has no split{percent}.csv; {remedy}")
    names = sorted({row["filename"] for row in read_rows(path)})
    if not names:
        raise DataError(f"{printable(path)}: lists no segments")
    unknown = sorted(set(names) - {data.filenames[row] for row in np.flatnonzero(data.splits == "train")})
    if unknown:
        more = f" (and {len(unknown) - 1:,} more)" if len(unknown) > 1 else ""
        raise DataError(f"{printable(path)}: not a training segment: {printable(unknown[0])}{more}")
    text = "\n".join(names).encode()
    content = hashlib.sha256(text).hexdigest()[:32]
    if _load(content, workspace) is None:
        workspace.storage.write(_path(content, workspace), text)
    return content


def fetch_data(workspace: Workspace, config: DataConfig) -> Prepared:
    """A trial's prepared data set: training segments outside of its subset are `unused`.

    Raises DataError if the workspace lacks the data set or the subset.
    """
    data = fetch_prepared(workspace, config.fingerprint)
    if not config.subset_content:
        return data
    text = _load(config.subset_content, workspace)
    if text is None:
        raise DataError(
            f"{workspace.location}: the list of data.subset {config.subset} ({config.subset_content}) is missing; run the "
            "sweep again on the machine that has the data set"
        )
    subset = set(text.decode().split("\n"))
    outside = (data.splits == "train") & np.array([name not in subset for name in data.filenames])
    return replace(data, splits=np.where(outside, "unused", data.splits))


def has_subset(content: str, workspace: Workspace) -> bool:
    """Whether the workspace contains the list with this content."""
    return _load(content, workspace) is not None


def _load(content: str, workspace: Workspace) -> bytes | None:
    """A stored list; None if it is missing or damaged."""
    path = _path(content, workspace)
    workspace.storage.fetch(path)
    text = path.read_bytes() if path.exists() else b""
    return text if hashlib.sha256(text).hexdigest()[:32] == content else None


def _path(content: str, workspace: Workspace) -> Path:
    return workspace.prepared / f"subset-{content}.txt"
