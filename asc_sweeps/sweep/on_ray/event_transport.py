"""How a sweep's events travel in Tune's reports: as one JSON text, since Tune flattens dictionaries and adds keys of its own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from asc_sweeps.sweep.trial_events import EpochFinished, TrialFailed, TrialFinished

WorkerEvent = EpochFinished | TrialFinished | TrialFailed
WORKER_EVENTS: dict[str, type[WorkerEvent]] = {
    kind.__name__: kind for kind in (EpochFinished, TrialFinished, TrialFailed)
}


def encode(event: WorkerEvent) -> dict[str, str]:
    """The report that carries an event."""
    return {"event": json.dumps([type(event).__name__, asdict(event)])}


def decode(report: Mapping[str, Any]) -> WorkerEvent:
    """The event that a report carries."""
    kind, fields = json.loads(report["event"])
    return WORKER_EVENTS[kind](**fields)
