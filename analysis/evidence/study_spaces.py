"""Studies as search spaces that list their trials in full, so that a report alone repeats them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from asc_sweeps.config.replay import space_as_yaml
from asc_sweeps.config.settings import stored_config
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.records import StudyRecord, TrialResult, TrialRow

LONGEST_NAME = 64
"""Maximum length of a study's name in a search space."""


def spaces(studies: Sequence[StudyRecord], results: Mapping[str, TrialResult]) -> dict[str, str]:
    """Search spaces by study name that list each trial with all its settings, merged over workspaces.

    `results` by signature. Studies without any known trial are left out.
    """
    by_name: dict[str, list[StudyRecord]] = {}
    for study in studies:
        by_name.setdefault(study.name, []).append(study)
    texts = {name: _space(records, results) for name, records in by_name.items()}
    return {name: text for name, text in texts.items() if text}


def _space(records: Sequence[StudyRecord], results: Mapping[str, TrialResult]) -> str:
    """The search space of one study's records; empty if none of its trials is known."""
    rows = {row.get("signature", ""): row for record in records for row in record.trials}
    known = [config for signature, row in rows.items() if (config := _config(row, results.get(signature)))]
    first = records[0]
    about = f"{len(known)} trials as run by: {first.command}"
    name = first.name if len(first.name) <= LONGEST_NAME else f"{first.study[: LONGEST_NAME - 5]}-mini"
    return space_as_yaml(name, about, known) if known else ""


def _config(row: TrialRow, result: TrialResult | None) -> TrialConfig | None:
    """A trial's settings from its result or else from the study's record; None if not readable by this version."""
    settings = row.get("settings")
    try:
        if result:
            return result.config
        return None if settings is None else stored_config(settings, "")
    except WorkspaceError:
        return None
