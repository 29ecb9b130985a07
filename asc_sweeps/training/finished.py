"""Finished trials as their settings find them, and how large their networks are; without torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.models.complexity import count_complexity
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_result
from asc_sweeps.workspace.records import Complexity, TrialResult


def find_result(config: TrialConfig, workspace: Workspace) -> TrialResult | None:
    """The stored result of an equal trial, or None.

    Raises WorkspaceError when what stands under the signature was computed with other settings: a default has changed since.
    """
    result = load_result(workspace, config.signature)
    if result is not None:
        refuse_other_settings(result.settings, config, workspace)
    return result


def refuse_other_settings(stored: dict[str, Any], config: TrialConfig, workspace: Workspace) -> None:
    """Raise WorkspaceError where what stands under a trial's signature was computed with other settings."""
    folder = workspace.trial(config.signature)
    if stored_config(stored, folder) != config:
        raise WorkspaceError(
            f"{folder}: holds a trial with other settings than {config.signature} has now (a default changed between "
            "versions); move the folder away to train anew"
        )


def complexity_of(config: TrialConfig, seconds: float | None = None) -> Complexity:
    """Params and MACs of a trial's network for one clip, usually of the seconds that it hears; INT8 parameters are a byte each."""
    if seconds is None:
        seconds = config.evaluate.seconds if config.evaluate else 1.0
    counted = count_complexity(config.model, config.features.n_mels, config.features.frames(seconds))
    return replace(counted, model_bytes=counted.params) if config.quantize else counted
