"""What runs in Ray's workers: one trial, or a check whether a node can run trials."""

from __future__ import annotations

import functools
import gc
from collections.abc import Sequence
from typing import Any

from ray import tune

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import DISK_CAUSES, AscSweepsError, NotPreparedError, WorkspaceError
from asc_sweeps.sweep.on_ray.event_transport import WorkerEvent, encode
from asc_sweeps.sweep.trial_events import EpochFinished, TrialFailed, TrialFinished
from asc_sweeps.workspace.environment import package_versions
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.record_store import load_failure, load_result
from asc_sweeps.workspace.records import EpochRow, TrialFailure


def run_in_worker(tune_config: dict[str, Any], workspace: Workspace, sweep_began: str) -> None:
    """Run a trial and report its events. An exception makes Tune retry it in a new process; other failures are reported as such."""
    from asc_sweeps.training.run_trial import HUNG, failure_from, run_trial

    _freeze_imports()
    config, workspace = TrialConfig.model_validate_json(tune_config["trial"]), workspace.on_this_machine()
    signature, earlier = config.signature, _failure_since(sweep_began, config.signature, workspace)
    if earlier and earlier.cause == HUNG:  # its process was killed; a retry would block a slot for as long again
        return _report(TrialFailed(signature, HUNG, earlier.message))
    # A trial without epochs reports none; it counts as trained unless it has a result already.
    trained = config.epochs == 0 and load_result(workspace, signature) is None

    def on_epoch(row: EpochRow) -> None:
        nonlocal trained
        trained = True
        _report(EpochFinished(signature, row["epochs_done"], row["epochs_total"], row))

    try:
        run_trial(config, workspace, on_epoch)
    except NotPreparedError:
        raise  # this node does not see the workspace; another may
    except Exception as error:
        failure = failure_from(config, error)
        expected = isinstance(error, AscSweepsError) or failure.cause in DISK_CAUSES.values()
        latest = _failure_since(sweep_began, signature, workspace)
        if not expected and latest and _kind(latest) != (earlier and _kind(earlier)):
            raise  # retried once
        return _report(TrialFailed(signature, failure.cause, failure.message))
    return _report(TrialFinished(signature, trained))


def why_node_cannot_run(workspace: Workspace, fingerprints: Sequence[str], driver_versions: dict[str, str]) -> str:
    """What keeps this node from running trials on these data; empty if nothing does."""
    from asc_sweeps.data.catalog import fetch_prepared

    others = [
        f"{name} {version} (here {driver_versions.get(name)})"
        for name, version in package_versions().items()
        if version != driver_versions.get(name)
    ]
    if others:
        return f"version mismatch: has {', '.join(others)}, so results would differ; install the same version there"
    try:
        workspace = workspace.on_this_machine()
        for fingerprint in fingerprints:
            fetch_prepared(workspace, fingerprint)
    except AscSweepsError as error:
        return str(error)
    return ""


def _report(event: WorkerEvent) -> None:
    tune.report(encode(event))


@functools.cache
def _freeze_imports() -> None:
    """Exclude all that this process has imported from garbage collection, which took 0.1 s of most trials."""
    gc.freeze()


def _failure_since(began: str, signature: str, workspace: Workspace) -> TrialFailure | None:
    """The failure that is recorded of a trial in this sweep, if it can be read."""
    try:
        workspace.pull_outcome(signature)
        failure = load_failure(workspace, signature)
    except (WorkspaceError, OSError):
        return None
    return failure if failure and failure.failed_at >= began else None


def _kind(failure: TrialFailure) -> tuple[str, str]:
    """Cause and type of error."""
    return failure.cause, failure.message.partition(":")[0]
