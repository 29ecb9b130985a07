"""Where things are and what computes them: paths, accelerator, threads.

Never part of a signature: they change no result beyond the last digits, by the order in which numbers are added.
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

from asc_sweeps.workspace.object_store import MirroredFiles, SharedFiles

# In a trial's folder:
RESULT = "result.json"
FAILURE = "failure.json"
CHECKPOINT = "checkpoint.json"
"""Which file is its last checkpoint, and how far the trial is."""
LEASE = "lease.json"
"""Who is training it."""


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass(frozen=True)
class Workspace:
    """One folder with everything that studies need and leave behind.

    data/       generated data sets, and real ones if put there
    prepared/   training caches, one folder a data set's content
    trials/     one folder a trial, named by its signature: result, predictions, weights, checkpoint
    studies/    one record a study: what it planned and how it ended
    ray/        Ray's own files, gone after each sweep

    In an object store, each machine keeps a copy of what it needs; generated data are not sent, what is prepared of them is.
    """

    root: Path
    accelerator: str = "auto"
    """`auto` (CUDA where there is one), `cpu` or `cuda`."""
    threads: int = 1
    """CPU threads of one trial."""
    step_seconds: float = 1800.0
    """A trial that makes no step for so long hangs, and is ended."""
    code: Mapping[str, Any] | None = None
    """Git state of the code where it was sent to a cluster's node, which has no checkout."""
    url: str = ""
    """The object store that `root` is this machine's copy of; empty where the workspace is a folder."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().resolve())

    @classmethod
    def at(cls, place: str | Path, **how: Any) -> Workspace:
        """The workspace at a folder, or at an object store's address (`s3://bucket/workspace`)."""
        if "://" not in str(place):
            return cls(Path(place), **how)
        return cls(_copy_of(str(place)), url=str(place).rstrip("/"), **how)

    def on_this_machine(self) -> Workspace:
        """The same workspace on another machine than where it was named: its copy has a place of its own."""
        return replace(self, root=_copy_of(self.url)) if self.url else self

    @property
    def place(self) -> str:
        """The folder or the address, as a person names it."""
        return self.url or str(self.root)

    @cached_property
    def files(self) -> SharedFiles:
        """How its files are read and written."""
        return MirroredFiles(self.root, self.url) if self.url else SharedFiles(self.root)

    def pull(self) -> None:
        """Have here what others have written: records of studies, results, failures, and how far trials are."""
        self.files.pull(self.studies, ["*.json"])
        self.files.pull(self.trials, [LEASE], unchanging=[RESULT, FAILURE, CHECKPOINT])

    def pull_end(self, signature: str) -> None:
        """Have here how one trial ended."""
        folder = self.trial(signature)
        self.files.fetch(folder / RESULT, folder / FAILURE)

    @property
    def data(self) -> Path:
        """Generated data sets, and real ones if put there."""
        return self.root / "data"

    @property
    def prepared(self) -> Path:
        """Training caches."""
        return self.root / "prepared"

    @cached_property
    def trials(self) -> Path:
        """One folder a trial."""
        return self.root / "trials"

    @property
    def studies(self) -> Path:
        """Records of studies."""
        return self.root / "studies"

    @property
    def ray(self) -> str:
        """Ray's own files, which its nodes share: a folder or an address."""
        if not self.url:
            return str(self.root / "ray")
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/ray"))

    def trial(self, signature: str) -> Path:
        """The folder of one trial."""
        return self.trials / signature


def _copy_of(url: str) -> Path:
    """Where a machine keeps its copy of an object store; ASC_SWEEPS_CACHE names the folder of all copies."""
    caches = os.environ.get("ASC_SWEEPS_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "asc_sweeps")
    return Path(caches, hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16])
