"""Everything that workspaces hold, read once for all tables and figures. Knows nothing of how it is shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import pandas as pd

from analysis.evidence.counts import counts_at_paper_size
from analysis.evidence.frames import curves_frame, trials_frame
from analysis.evidence.predictions import Predictions, load_predictions
from analysis.evidence.study_spaces import spaces
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_contents
from asc_sweeps.workspace.records import CountRow, StudyRecord, TrialFailure, TrialResult
from asc_sweeps.workspace.status import TrialStatus, trial_statuses

T = TypeVar("T")
STATES = ("planned", "failed", "stopped", "begun", "running", "done")
"""Of trials, from the least to the most informative."""


@dataclass(frozen=True)
class Evidence:
    """Results, failures and studies of one or more workspaces, with the tables made of them."""

    results: list[TrialResult]
    failures: list[TrialFailure]
    studies: list[StudyRecord]
    workspaces: Sequence[Workspace] = ()
    """Where predictions are stored; empty: there are none."""
    unfinished: list[TrialStatus] = field(default_factory=list)
    """Current status of the studies' trials that have no result."""
    _predictions: dict[str, Predictions | None] = field(default_factory=dict, init=False, repr=False)
    _cache: dict[Callable[[pd.DataFrame], Any], Any] = field(default_factory=dict, init=False, repr=False)

    def predictions(self, signature: str) -> Predictions | None:
        """What a trial predicted for each test segment, None if not stored; read once."""
        if signature not in self._predictions:
            stored = (load_predictions(workspace, signature) for workspace in self.workspaces)
            self._predictions[signature] = next((p for p in stored if p), None)
        return self._predictions[signature]

    def cached(self, function: Callable[[pd.DataFrame], T]) -> T:
        """The function's result on `frame`, computed once: several sections show the same tables."""
        if function not in self._cache:
            self._cache[function] = function(self.frame)
        return self._cache[function]

    @cached_property
    def by_signature(self) -> dict[str, TrialResult]:
        """Finished trials by signature."""
        return {result.signature: result for result in self.results}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row per trial (`frames.trials_frame`)."""
        return trials_frame(self.results)

    def curves(self, signatures: Iterable[str]) -> pd.DataFrame:
        """One row per epoch of these trials (`frames.curves_frame`), in the order of their signatures."""
        return curves_frame([self.by_signature[signature] for signature in sorted(set(signatures))])

    @cached_property
    def counts(self) -> list[CountRow]:
        """Networks counted at the paper's size (`counts.counts_at_paper_size`)."""
        return counts_at_paper_size(self.studies, self.frame)

    @cached_property
    def spaces(self) -> dict[str, str]:
        """Search spaces of the studies by name (`study_spaces.spaces`)."""
        return spaces(self.studies, self.by_signature)


def load_evidence(*workspaces: Workspace) -> Evidence:
    """Read workspaces; a missing one is empty. A trial that several of them hold is taken from the first."""
    workspaces = tuple({workspace.root: workspace for workspace in workspaces}.values())
    contents = [load_contents(workspace) for workspace in workspaces]
    # Later entries of a dictionary win, so the first workspace comes last.
    results = {result.signature: result for content in reversed(contents) for result in content.results}
    failures = {failure.signature: failure for content in reversed(contents) for failure in content.failures}
    statuses = [
        status
        for workspace, content in zip(workspaces, contents, strict=True)
        for status in trial_statuses(workspace, content)
    ]
    unfinished = {
        s.signature: s for s in sorted(statuses, key=lambda s: STATES.index(s.state))
    }  # most informative wins
    return Evidence(
        [results[signature] for signature in sorted(results)],
        [failures[signature] for signature in sorted(failures) if signature not in results],
        [study for content in contents for study in content.studies],
        workspaces,
        [unfinished[signature] for signature in sorted(unfinished) if signature not in results],
    )
