"""A search and what it has sampled, as plain values for the record of its study."""

from __future__ import annotations

from typing import cast

from optuna.trial import FrozenTrial, TrialState

from asc_sweeps.config.search_space import Parameter, Search
from asc_sweeps.workspace.records import ParameterRecord, Plain, SearchPoint, SearchRecord

POINT_STATES = {TrialState.COMPLETE: "done", TrialState.PRUNED: "stopped", TrialState.FAIL: "failed"}


def search_record(search: Search, sampled: list[FrozenTrial]) -> SearchRecord:
    """The configuration of a search, and its points in the order in which they were sampled."""
    return {
        "sampler": search.sampler,
        "seed": search.seed,
        "objectives": list(search.objectives),
        "limits": {str(name): limit for name, limit in search.limits.items()},
        "trials": search.trials,
        "parameters": [_parameter(p) for p in search.parameters],
        "points": [_point(t) for t in sampled],
    }


def _parameter(p: Parameter) -> ParameterRecord:
    named: ParameterRecord = {"name": p.name, "when": p.when.text if p.when else None}
    if p.choices:
        return {**named, "choices": cast("list[Plain]", list(p.choices))}  # as read from YAML
    return {**named, "low": p.low, "high": p.high, "log": p.log}


def _point(trial: FrozenTrial) -> SearchPoint:
    notes = trial.user_attrs
    return {
        "number": trial.number,
        "state": "refused" if "rejected" in notes else POINT_STATES.get(trial.state, "running"),
        "signature": notes.get("signature"),
        "values": list(trial.values) if trial.state == TrialState.COMPLETE and trial.values else None,
        "params": dict(trial.params),
        "reason": notes.get("rejected") or notes.get("failed") or "",
    }
