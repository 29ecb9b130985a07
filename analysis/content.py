"""What a report is made of, for the file to carry: enough to run every study again, and to read every score elsewhere."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from analysis.blocks import File
from analysis.evidence import Evidence
from asc_sweeps.config import TrialConfig
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.repeat import as_space
from asc_sweeps.results import TrialResult
from asc_sweeps.settings import stored_config

FORMAT = 1
LONGEST_NAME = 64
"""Of a study, in a search space."""


def content(evidence: Evidence) -> str:
    """Studies with their trials as search spaces, results without their training curves, failures; as JSON."""
    studies = [
        {**dataclasses.asdict(record), "name": record.name, "space": space_of(record.name, evidence)}
        for record in evidence.studies
    ]
    trials = [
        {
            **vars(result),  # not `asdict`: it copies every epoch
            "complexity": vars(result.complexity),
            "scores": [vars(score) for score in result.scores],
            "history": len(result.history),
        }
        for result in evidence.results
    ]
    failures = [dataclasses.asdict(failure) for failure in evidence.failures]
    whole = {"format": FORMAT, "studies": studies, "trials": trials, "failures": failures}
    return json.dumps(whole, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def space_of(name: str, evidence: Evidence) -> str:
    """A study's trials as a search space, each with every setting, those of several workspaces together.

    Empty where none of them is known.
    """
    records = [record for record in evidence.studies if record.name == name]
    rows = {row.get("signature", ""): row for record in records for row in record.trials}
    known = [config for s, row in rows.items() if (config := _config(row, evidence.by_signature.get(s)))]
    about = f"{len(known)} trials as they were run by: {records[0].command}"
    named = name if len(name) <= LONGEST_NAME else f"{records[0].study[: LONGEST_NAME - 5]}-mini"
    return as_space(named, about, known) if known else ""


def space_files(evidence: Evidence) -> list[File]:
    """The studies' search spaces, to be taken out of the report."""
    names = dict.fromkeys(record.name for record in evidence.studies)
    spaces = [(name, space_of(name, evidence)) for name in names]
    return [
        File(f"space-{position}", f"{name}.yaml", f"{name}: its trials as a search space", text)
        for position, (name, text) in enumerate(spaces)
        if text
    ]


def _config(row: dict[str, Any], result: TrialResult | None) -> TrialConfig | None:
    """A trial's settings by its result, else by what the study wrote down; None where neither is of this version."""
    settings = result.settings if result else row.get("settings")
    try:
        return None if settings is None else stored_config(settings, "")
    except WorkspaceError:
        return None
