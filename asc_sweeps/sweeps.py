"""The only door to Ray: a plan's trials run on Ray Tune, each after its start; the truth stays in the workspace's files."""

from __future__ import annotations

import os
import shutil
import signal
import traceback
import uuid
from collections.abc import Callable
from typing import Any

from asc_sweeps.config import TrialConfig
from asc_sweeps.errors import AscSweepsError, TrialError, WorkspaceError
from asc_sweeps.plan import Plan, PlannedTrial
from asc_sweeps.request import Cluster
from asc_sweeps.workspace import Workspace, cores

# Read by Ray when it is imported: no console of its own, no call home, no loggers that write what our files hold already.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")

import ray
from ray import tune
from ray.tune.search import Searcher

CRASH_RETRIES = 1
Row = Callable[[str, dict[str, Any]], None]


def run_sweep(plan: Plan, workspace: Workspace, cluster: Cluster, on_row: Row) -> None:
    """Run what a plan has left. Ctrl-C ends it early, with every finished epoch kept.

    `on_row(signature, row)` hears of every epoch and of every end (`state`: done or failed). A failed trial does not stop
    the others; what builds on it fails with cause `start`.
    """
    _connect(cluster)
    try:
        resources = _resources(cluster)
        name = f"sweep-{uuid.uuid4().hex[:8]}"
        order = _StartsFirst(plan, on_row)
        here = Workspace(workspace.root, workspace.accelerator, cluster.cpus_per_trial)
        tuner = tune.Tuner(
            tune.with_resources(tune.with_parameters(_run_on_worker, workspace=here), resources),
            tune_config=tune.TuneConfig(search_alg=order, num_samples=len(plan.todo), reuse_actors=True),
            run_config=tune.RunConfig(
                name=name,
                storage_path=str(workspace.ray),
                verbose=0,
                callbacks=[_Forward(on_row)],
                failure_config=tune.FailureConfig(max_failures=CRASH_RETRIES),
            ),
        )
        try:
            tuner.fit()
        except ray.exceptions.RayError as error:  # e.g. a worker killed for its memory, which Tune does not survive
            raise WorkspaceError(
                f"Ray ended the sweep ({type(error).__name__}: {str(error).splitlines()[0]}); finished trials and epochs are "
                "kept, the same command goes on"
            ) from error
        shutil.rmtree(workspace.ray / name, ignore_errors=True)  # results are in trials/; this is Ray's bookkeeping
    finally:
        ray.shutdown()


def _connect(cluster: Cluster) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        # `local` never joins what a stale file of another session points to. Its ports are on all interfaces without a token: see README.
        os.environ.setdefault("RAY_AUTH_MODE", "disabled")
        ray.init(
            address="local",
            num_cpus=(cluster.workers or max(1, cores() // cluster.cpus_per_trial)) * cluster.cpus_per_trial,
            include_dashboard=False,
            **quiet,
        )
        return
    try:
        ray.init(address=cluster.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise WorkspaceError(f"--address {cluster.address}: no Ray cluster answers there ({error})") from None


def _resources(cluster: Cluster) -> dict[str, float]:
    """What a trial asks for; raises WorkspaceError when no node can give it, since Ray would wait for ever."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    gpus = cluster.gpus_per_trial
    if gpus is None:
        gpus = 1.0 if any(node.get("GPU", 0) for node in nodes) else 0.0
    wanted = {"cpu": float(cluster.cpus_per_trial), **({"gpu": gpus} if gpus else {})}
    if not any(all(node.get(name.upper(), 0) >= amount for name, amount in wanted.items()) for node in nodes):
        most = {name.upper(): max((node.get(name.upper(), 0) for node in nodes), default=0) for name in wanted}
        raise WorkspaceError(f"no node of the cluster has {wanted} for a trial; the most that one has is {most}")
    return wanted


def _run_on_worker(ray_config: dict[str, Any], workspace: Workspace) -> None:
    """One trial in a Ray worker; a failure that trying again would not mend is an end, not an exception."""
    from asc_sweeps.trial import run_trial

    config = TrialConfig.model_validate_json(ray_config["trial"])
    try:
        run_trial(config, workspace, lambda row: tune.report(dict(row)))
    except AscSweepsError as error:
        cause = error.cause if isinstance(error, TrialError) else "data"
        tune.report({"state": "failed", "cause": cause, "message": str(error)})
    except Exception:
        # Ray tries it again from its checkpoint; the traceback is for whoever looks into the worker's log.
        traceback.print_exc()
        raise
    else:
        tune.report({"state": "done"})


class _StartsFirst(Searcher):
    """Hands out a plan's trials, each once its start is finished: what Tune takes for a search algorithm."""

    def __init__(self, plan: Plan, on_row: Row) -> None:
        super().__init__()
        self._waiting: list[PlannedTrial] = sorted(plan.todo, key=self._order(plan))
        self._finished = {t.config.signature for t in plan.trials if t.finished}
        self._failed: set[str] = set()
        self._running: dict[str, str] = {}
        self._on_row = on_row

    @staticmethod
    def _order(plan: Plan) -> Callable[[PlannedTrial], tuple[bool, bool, float]]:
        """Starts that others wait for, then the longest: the last trial to end should be a short one."""
        starts = {start.signature for t in plan.todo if (start := t.config.start())}
        return lambda t: (t.config.start() is not None, t.config.signature not in starts, -plan.cost(t))

    def suggest(self, trial_id: str) -> dict[str, str] | str | None:
        for trial in list(self._waiting):
            start = trial.config.start()
            if start and start.signature in self._failed:
                self._waiting.remove(trial)
                self._failed.add(trial.config.signature)
                message = f"its start {start.signature} failed"
                self._on_row(trial.config.signature, {"state": "failed", "cause": "start", "message": message})
            elif start is None or start.signature in self._finished:
                self._waiting.remove(trial)
                self._running[trial_id] = trial.config.signature
                return {"trial": trial.config.model_dump_json()}
        return None if self._running else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        signature = self._running.pop(trial_id, None)
        if signature is not None:
            done = not error and bool(result) and result.get("state") == "done"
            (self._finished if done else self._failed).add(signature)

    def save(self, checkpoint_path: str) -> None:
        """Nothing: an interrupted sweep is planned anew from the workspace."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, as `save`."""


class _Forward(tune.Callback):
    """Tells the driver what trials report."""

    def __init__(self, on_row: Row) -> None:
        self._on_row = on_row

    def setup(self, **info: Any) -> None:
        """Take SIGTERM back from Ray, whose handler ends the process on the spot: being asked to end is being interrupted."""
        signal.signal(signal.SIGTERM, lambda number, frame: os.kill(os.getpid(), signal.SIGINT))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self._on_row(_signature(trial), result)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        row = {"state": "failed", "cause": "crash", "message": "its process died; see the trial's failure.json"}
        self._on_row(_signature(trial), row)


def _signature(trial: Any) -> str:
    return TrialConfig.model_validate_json(trial.config["trial"]).signature
