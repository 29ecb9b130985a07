"""The data embedded in a report: enough to run every study again and to read every score elsewhere."""

from __future__ import annotations

import dataclasses

from analysis.evidence.loading import Evidence
from asc_sweeps.config.packing import compact_json
from asc_sweeps.workspace.records import STORED_NAMES, TrialResult

FORMAT = 1


def embedded_json(evidence: Evidence) -> str:
    """JSON of studies with their trials as search spaces, results without training curves, and failures."""
    studies = [
        {**vars(record), "name": record.name, "space": evidence.spaces.get(record.name, "")}
        for record in evidence.studies
    ]
    names = [field.name for field in dataclasses.fields(TrialResult)]
    trials = [
        {
            # `asdict` would copy everything
            **{STORED_NAMES.get(name, name): getattr(result, name) for name in names},
            "complexity": vars(result.complexity),
            "scores": [vars(score) for score in result.scores],
            "history": len(result.history),
        }
        for result in evidence.results
    ]
    failures = [vars(failure) for failure in evidence.failures]
    return compact_json({"format": FORMAT, "studies": studies, "trials": trials, "failures": failures})
