"""Where things are and what computes them: paths, accelerator, threads.

Never part of a signature: they change no result beyond the last digits, by the order in which numbers are added.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKPOINT = "checkpoint.json"
"""In a trial's folder: which file is its last checkpoint, and how far the trial is."""


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
    ray/        Ray's own files; disposable
    """

    root: Path
    accelerator: str = "auto"
    """`auto` (CUDA where there is one), `cpu` or `cuda`."""
    threads: int = 1
    """CPU threads of one trial."""
    code: Mapping[str, Any] | None = None
    """Git state of the code where it was sent to a cluster's node, which has no checkout."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root).expanduser().resolve())

    @property
    def data(self) -> Path:
        """Generated data sets, and real ones if put there."""
        return self.root / "data"

    @property
    def prepared(self) -> Path:
        """Training caches."""
        return self.root / "prepared"

    @property
    def trials(self) -> Path:
        """One folder a trial."""
        return self.root / "trials"

    @property
    def studies(self) -> Path:
        """Records of studies."""
        return self.root / "studies"

    @property
    def ray(self) -> Path:
        """Ray's own files."""
        return self.root / "ray"

    def trial(self, signature: str) -> Path:
        """The folder of one trial."""
        return self.trials / signature
