"""What a workspace holds, read once for all tables and figures. Knows nothing of how it is shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis.counts import counts_at_paper_size
from analysis.frames import curves_frame, trials_frame
from analysis.predictions import Predictions, load_predictions
from asc_sweeps.results import (
    StudyRecord,
    TrialFailure,
    TrialResult,
    load_failures,
    load_results,
    load_studies,
)
from asc_sweeps.workspace import Workspace


@dataclass(frozen=True)
class Evidence:
    """Results, failures and studies of one workspace, with the tables made of them."""

    results: list[TrialResult]
    failures: list[TrialFailure]
    studies: list[StudyRecord]
    workspace: Workspace | None = None
    """Where predictions are; without it there are none."""

    def predictions(self, signature: str) -> Predictions | None:
        """What a trial predicted for each test segment; None where that is not there."""
        if self.workspace and signature not in self._read:
            self._read[signature] = load_predictions(self.workspace, signature)
        return self._read.get(signature)

    @cached_property
    def _read(self) -> dict[str, Predictions | None]:
        """Predictions that were asked for: several sections look at the same trials."""
        return {}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a trial (`frames.trials_frame`)."""
        return trials_frame(self.results)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """One row an epoch (`frames.curves_frame`)."""
        return curves_frame(self.results)

    @cached_property
    def counts(self) -> list[dict[str, Any]]:
        """Networks counted at the paper's size (`counts.counts_at_paper_size`)."""
        return counts_at_paper_size(self.studies, self.frame)


def load_evidence(workspace: Workspace) -> Evidence:
    """Read a workspace; what is not there is empty."""
    return Evidence(load_results(workspace), load_failures(workspace), load_studies(workspace), workspace)
