"""Where a workspace is and what its trials run on: paths, storage, accelerator, threads.

Never part of a signature: none of it changes a result by more than rounding errors.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from asc_sweeps.workspace.mirrored_storage import MirroredStorage
from asc_sweeps.workspace.object_store import ObjectStore
from asc_sweeps.workspace.storage import LocalStorage, Storage

# In a trial's folder:
RESULT = "result.json"
FAILURE = "failure.json"
CHECKPOINT = "checkpoint.json"
"""Names the last checkpoint's file, and the progress of the trial."""
LEASE = "lease.json"
"""Names the process that trains it."""


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Workspace:
    """A folder with everything that studies need and produce.

    data/       generated data sets, and real ones if put there
    prepared/   training caches, one folder per data set content
    trials/     one folder per trial, named by its signature: result, predictions, weights, checkpoint
    studies/    one record per study: what it planned and how it ended
    ray/        Ray's own files, removed after each sweep

    With an object store, each machine keeps a copy of the files it needs; data/ is never sent, prepared/ is.
    """

    root: Path
    accelerator: str = "auto"
    """`auto` (CUDA where there is one), `cpu` or `cuda`."""
    threads: int = 1
    """CPU threads of one trial."""
    step_seconds: float = 1800.0
    """A trial without progress for so long is killed."""
    code: Mapping[str, Any] | None = None
    """Git state of the code, for cluster nodes without a checkout."""
    url: str = ""
    """The object store of which `root` is the local copy; empty for a folder."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().resolve())

    @classmethod
    def at(cls, location: str | Path, **options: Any) -> Workspace:
        """The workspace in a folder, or at the address of an object store (`s3://bucket/workspace`)."""
        if "://" not in str(location):
            return cls(Path(location), **options)
        return cls(_local_copy(str(location)), url=str(location).rstrip("/"), **options)

    def on_this_machine(self) -> Workspace:
        """The same workspace, received from another machine, with this machine's local copy."""
        return replace(self, root=_local_copy(self.url)) if self.url else self

    @property
    def location(self) -> str:
        """The folder or the address."""
        return self.url or str(self.root)

    @cached_property
    def storage(self) -> Storage:
        """Reads and writes its files."""
        return MirroredStorage(self.root, ObjectStore(self.url)) if self.url else LocalStorage(self.root)

    def pull(self) -> None:
        """Update the local copies of all records and of the trials' progress."""
        self.storage.pull(self.studies, ["*.json"])
        self.storage.pull(self.trials, [LEASE], immutable=[RESULT, FAILURE, CHECKPOINT])

    def pull_outcome(self, signature: str) -> None:
        """Update the local copies of one trial's result and failure."""
        folder = self.trial(signature)
        self.storage.fetch(folder / RESULT, folder / FAILURE)

    @property
    def data(self) -> Path:
        """Generated data sets, and real ones if put there."""
        return self.root / "data"

    @property
    def prepared(self) -> Path:
        """Training caches of data sets."""
        return self.root / "prepared"

    @cached_property
    def trials(self) -> Path:
        """One folder per trial."""
        return self.root / "trials"

    @property
    def studies(self) -> Path:
        """Records of studies."""
        return self.root / "studies"

    @property
    def ray(self) -> str:
        """Ray's own files, shared by its nodes: a folder or an address."""
        if not self.url:
            return str(self.root / "ray")
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/ray"))

    def trial(self, signature: str) -> Path:
        """The folder of one trial."""
        return self.trials / signature


def _local_copy(url: str) -> Path:
    """The folder of this machine's copy of an object store, inside ASC_SWEEPS_CACHE."""
    caches = os.environ.get("ASC_SWEEPS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "asc_sweeps")
    return Path(caches, hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16])
