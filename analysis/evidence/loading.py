"""What workspaces hold, read once for all tables and figures. Knows nothing of how it is shown."""

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
from asc_sweeps.workspace.records import StudyRecord, TrialFailure, TrialResult
from asc_sweeps.workspace.status import TrialStatus, trial_statuses

Row, Found = TypeVar("Row"), TypeVar("Found")
STATES = ("planned", "failed", "stopped", "begun", "running", "done")
"""Of trials, in the order in which they tell more of what happens."""


@dataclass(frozen=True)
class Evidence:
    """Results, failures and studies of one workspace or several, with the tables made of them."""

    results: list[TrialResult]
    failures: list[TrialFailure]
    studies: list[StudyRecord]
    workspaces: Sequence[Workspace] = ()
    """Where predictions are; without them there are none."""
    unfinished: list[TrialStatus] = field(default_factory=list)
    """Trials of the studies that have no result, as they stand now."""

    def predictions(self, signature: str) -> Predictions | None:
        """What a trial predicted for each test segment; None where that is not there."""
        if signature not in self._read:
            found = (load_predictions(workspace, signature) for workspace in self.workspaces)
            self._read[signature] = next((p for p in found if p), None)
        return self._read[signature]

    @cached_property
    def _read(self) -> dict[str, Predictions | None]:
        """Predictions that were asked for: several sections look at the same trials."""
        return {}

    @cached_property
    def by_signature(self) -> dict[str, TrialResult]:
        """Finished trials by their signature."""
        return {result.signature: result for result in self.results}

    @cached_property
    def frame(self) -> pd.DataFrame:
        """One row a trial (`frames.trials_frame`)."""
        return trials_frame(self.results)

    def cached(self, find: Callable[[pd.DataFrame], Found]) -> Found:
        """What a function finds in `frame`: several sections ask for the same tables and families, which are made once."""
        if find not in self._found:
            self._found[find] = find(self.frame)
        return self._found[find]

    @cached_property
    def _found(self) -> dict[Callable[[pd.DataFrame], Any], Any]:
        return {}

    def curves(self, signatures: Iterable[str]) -> pd.DataFrame:
        """One row an epoch of these trials (`frames.curves_frame`), in the order of their signatures."""
        return curves_frame([self.by_signature[signature] for signature in sorted(set(signatures))])

    @cached_property
    def counts(self) -> list[dict[str, Any]]:
        """Networks counted at the paper's size (`counts.counts_at_paper_size`)."""
        return counts_at_paper_size(self.studies, self.frame)

    @cached_property
    def spaces(self) -> dict[str, str]:
        """Search spaces of the studies by their name (`spaces.spaces`)."""
        return spaces(self.studies, self.by_signature)


def load_evidence(*workspaces: Workspace) -> Evidence:
    """Read workspaces; what is not there is empty. A trial that several of them hold is taken from the first."""
    workspaces = tuple({workspace.root: workspace for workspace in workspaces}.values())
    left = [load_contents(workspace) for workspace in workspaces]
    results = _first((one.results for one in left), lambda result: result.signature)
    failures = _first((one.failures for one in left), lambda failure: failure.signature)
    statuses = [
        status for workspace, one in zip(workspaces, left, strict=True) for status in trial_statuses(workspace, one)
    ]
    # Where several workspaces list it, the one where most has happened tells how it stands.
    unfinished = {s.signature: s for s in sorted(statuses, key=lambda s: STATES.index(s.state))}
    done = {result.signature for result in results}
    return Evidence(
        results,
        [failure for failure in failures if failure.signature not in done],
        [study for one in left for study in one.studies],
        workspaces,
        [unfinished[signature] for signature in sorted(unfinished) if signature not in done],
    )


def _first(parts: Iterable[Sequence[Row]], key: Callable[[Row], str]) -> list[Row]:
    """The rows of all workspaces in the order of their keys, those of one key from the first that has it."""
    found: dict[str, Row] = {}
    for rows in parts:
        for row in rows:
            found.setdefault(key(row), row)
    return [found[k] for k in sorted(found)]
