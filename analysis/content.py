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
from asc_sweeps.results import StudyRecord, TrialResult
from asc_sweeps.settings import stored_config

FORMAT = 1


def content(evidence: Evidence) -> str:
    """Studies with their trials as search spaces, results without their training curves, failures; as JSON."""
    studies = [
        {**dataclasses.asdict(record), "name": record.name, "space": space_of(record, evidence)}
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


def space_of(record: StudyRecord, evidence: Evidence) -> str:
    """A study's trials as a search space, each with every setting; empty where none of them is known."""
    known = [
        config for row in record.trials if (config := _config(row, evidence.by_signature.get(row.get("signature", ""))))
    ]
    about = f"{len(known)} trials as they were run by: {record.command}"
    return as_space(record.name, about, known) if known else ""


def space_files(evidence: Evidence) -> list[File]:
    """The studies' search spaces, to be taken out of the report."""
    spaces = [(record.name, space_of(record, evidence)) for record in evidence.studies]
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
