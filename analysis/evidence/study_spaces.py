"""Studies as search spaces that list their trials in full, so that a report alone repeats them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asc_sweeps.config.replay import space_as_yaml
from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.records import StudyRecord, TrialResult

LONGEST_NAME = 64
"""Of a study, in a search space."""


def spaces(studies: Sequence[StudyRecord], results: Mapping[str, TrialResult]) -> dict[str, str]:
    """By a study's name its trials as a search space, each with every setting, those of several workspaces together.

    `results` by signature. Studies of which no trial is known are left out.
    """
    found = {
        name: _space([r for r in studies if r.name == name], results) for name in dict.fromkeys(r.name for r in studies)
    }
    return {name: text for name, text in found.items() if text}


def _space(records: Sequence[StudyRecord], results: Mapping[str, TrialResult]) -> str:
    """The search space of one study's records; empty where none of its trials is known."""
    rows = {row.get("signature", ""): row for record in records for row in record.trials}
    known = [config for s, row in rows.items() if (config := _config(row, results.get(s)))]
    first = records[0]
    about = f"{len(known)} trials as they were run by: {first.command}"
    named = first.name if len(first.name) <= LONGEST_NAME else f"{first.study[: LONGEST_NAME - 5]}-mini"
    return space_as_yaml(named, about, known) if known else ""


def _config(row: Mapping[str, Any], result: TrialResult | None) -> TrialConfig | None:
    """A trial's settings by its result, else by what the study wrote down; None where neither is of this version."""
    settings = row.get("settings")
    try:
        if result:
            return result.config
        return None if settings is None else stored_config(settings, "")
    except WorkspaceError:
        return None
