"""Finished trials, looked up by their settings, and the size of their networks; without torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.models.complexity import count_complexity
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_result
from asc_sweeps.workspace.records import Complexity, Score, TrialResult


@dataclass(frozen=True)
class ResultSummary:
    """What a sweep needs to know of a finished trial, small enough to keep for thousands of them."""

    complexity: Complexity
    micro_scores: Mapping[str, Score]
    """Means over segments, by split."""
    validation_log_losses: tuple[float | None, ...]
    """One per epoch."""


class FinishedTrials:
    """The finished trials of a workspace during one sweep: each result is read from disk once."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._known: dict[str, ResultSummary] = {}

    def find(self, config: TrialConfig) -> ResultSummary | None:
        """The result of an equal trial, or None if there is none yet. Raises as `find_result`."""
        if config.signature not in self._known and (result := find_result(config, self.workspace)):
            scores = {s.split: s for s in result.scores if (s.by, s.name) == ("overall", "micro")}
            log_losses = tuple(epoch.get("validation_log_loss") for epoch in result.history)
            self._known[config.signature] = ResultSummary(result.complexity, scores, log_losses)
        return self._known.get(config.signature)


def find_result(config: TrialConfig, workspace: Workspace) -> TrialResult | None:
    """The stored result of an equal trial, or None.

    Raises WorkspaceError if the result under this signature was computed with other settings: a default has changed since.
    """
    result = load_result(workspace, config.signature)
    if result is not None:
        refuse_other_settings(result.config, config, workspace)
    return result


def refuse_other_settings(stored: TrialConfig, config: TrialConfig, workspace: Workspace) -> None:
    """Raise WorkspaceError if the settings stored in a trial's folder are not the trial's."""
    if stored != config:
        folder = workspace.trial(config.signature)
        raise WorkspaceError(
            f"{folder}: holds a trial with other settings than {config.signature} has now (a default changed between "
            "versions); move the folder away to train it again"
        )


def complexity_of(config: TrialConfig, seconds: float | None = None) -> Complexity:
    """Size of a trial's network, MACs for one clip of `seconds` (default: the length it is scored on); INT8 takes a byte each."""
    if seconds is None:
        seconds = config.evaluate.seconds if config.evaluate else 1.0
    counted = count_complexity(config.model, config.features.n_mels, config.features.frames(seconds))
    return replace(counted, model_bytes=counted.params) if config.quantize else counted
