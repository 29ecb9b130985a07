"""The door to Ray: a plan's trials run on Ray Tune, each after its start; the truth stays in the workspace's files.

Import it after `ray_environment.prepare_ray`.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import ray
from ray import tune
from ray._private.authentication.authentication_utils import is_token_auth_enabled
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import asc_sweeps
import search_spaces
from asc_sweeps.config.request import Cluster
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import DISK_CAUSES, REMEDIES, AscSweepsError, NotPreparedError, SweepError, WorkspaceError
from asc_sweeps.sweep.halving import Halving
from asc_sweeps.sweep.interruption import force_exit_after_sigterm, sigterm_as_sigint
from asc_sweeps.sweep.on_ray import ray_patches
from asc_sweeps.sweep.on_ray.trial_queue import DEATHS, EarlyStops, Forward, OnPlanned, OnRow, Queue
from asc_sweeps.sweep.plan import Plan, PlannedTrial
from asc_sweeps.sweep.ray_environment import job_api_is_open
from asc_sweeps.sweep.searches.search_study import SearchStudy
from asc_sweeps.workspace.environment import git_state, package_versions
from asc_sweeps.workspace.paths import Workspace, cores
from asc_sweeps.workspace.record_store import load_failure, load_result
from asc_sweeps.workspace.records import utc_now

OPEN = (
    "whoever reaches it can run commands there. Start it with RAY_AUTH_MODE=token and give its token here (README, On a cluster), "
    "or say --allow-open-cluster"
)


def run_sweep(
    plan: Plan,
    workspace: Workspace,
    cluster: Cluster,
    on_row: OnRow,
    on_planned: OnPlanned = lambda trial: None,
    searches: Sequence[SearchStudy] = (),
    halvings: Mapping[str, Halving] = MappingProxyType({}),
) -> None:
    """Run what a plan has left, then what searches ask for. Ctrl-C ends it early, with every finished epoch kept.

    `on_row(signature, row)` hears of every epoch and of every end (`state`: done, failed, stopped, or of a drawn point reused or
    repeated), `on_planned` of every trial that a search asks for. A failed trial does not stop the others; what builds on it
    fails with cause `start`. Trials of the studies in `halvings` stop early. Raises WorkspaceError where the cluster cannot run
    the trials, SweepError where Ray gives up.
    """
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its one error line repeats what `on_row` has told
    ray_patches.survive_memory_kills()
    ray_patches.spare_trackers()
    ray_patches.use_started_workers()
    ray_patches.leave_sigterm_alone()
    force_exit_after_sigterm()
    _connect(cluster)
    sigterm_as_sigint()  # again: Ray's core has put an answer of its own in place
    name = f"sweep-{uuid.uuid4().hex[:8]}"
    try:
        resources = _resources(cluster, workspace.accelerator)
        _wait_for_node(resources, cluster.wait_minutes)
        if cluster.address is not None:
            wanted = {t.config.data.fingerprint for t in plan.todo} | {search.fingerprint for search in searches}
            _check_nodes(sorted(wanted), workspace, resources)
        early = EarlyStops(halvings, plan)

        def take(trial: PlannedTrial) -> None:
            early.watch(trial)
            on_planned(trial)

        # Without this Tune starts one process, waits until it is there, and only then asks for the next trial.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(1, _places(resources)))
        # One more than can run, where a cluster grows when a trial waits.
        spare = 1 if cluster.address is not None else 0
        queue = Queue(plan, searches, workspace, lambda: _places(resources) + spare, on_row, take, early.let_run)
        place = "cuda" if "gpu" in resources else "cpu"
        here = replace(workspace, accelerator=place, threads=cluster.cpus_per_trial, code=git_state())
        # Not tune.with_parameters: what that puts into Ray's store is lost with a raylet that gets SIGTERM, too, and looking for
        # it Ray would end this process on the spot.
        run = functools.partial(_run_on_worker, workspace=here, began=utc_now())
        tuner = tune.Tuner(
            tune.with_resources(run, resources),
            tune_config=tune.TuneConfig(search_alg=queue, scheduler=early, num_samples=-1, reuse_actors=True),
            run_config=tune.RunConfig(
                name=name,
                storage_path=workspace.ray,
                verbose=0,
                callbacks=[Forward(workspace, queue, on_row)],
                failure_config=tune.FailureConfig(max_failures=DEATHS),
            ),
        )
        try:
            tuner.fit()
        except (ray.exceptions.RayError, tune.TuneError, RuntimeError, EOFError) as error:
            text = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")  # below any traceback
            raise SweepError(
                f"Ray ended the sweep ({type(error).__name__}: {text}); finished trials and epochs are kept, the same "
                "command goes on"
            ) from error
        finally:
            queue.interrupt()
    except OSError as error:
        if error.filename is None and error.errno in REMEDIES:  # pyarrow's, which name no file
            error.filename = workspace.ray
        raise
    finally:
        ray.shutdown()
        with suppress(WorkspaceError):  # results are in trials/; this is Ray's bookkeeping
            workspace.storage.remove_folder(workspace.root / "ray" / name)


def _connect(cluster: Cluster) -> None:
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if cluster.address is None:
        with ray_patches.few_processes():
            ray.init(
                address="local",  # never joins what a stale file of another session points to
                num_cpus=(cluster.workers or max(1, cores() // cluster.cpus_per_trial)) * cluster.cpus_per_trial,
                **quiet,
            )
        return
    try:
        host, _, port = cluster.address.rpartition(":")
        if cluster.address != "auto":  # ray.init would try for many minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        code = [str(Path(module.__file__ or "").parent) for module in (asc_sweeps, search_spaces)]
        if not cluster.allow_open and not is_token_auth_enabled():
            raise WorkspaceError(
                f"--address {cluster.address}: without a token only an open cluster can be joined; {OPEN}"
            )
        joined = ray.init(address=cluster.address, runtime_env={"py_modules": code}, **quiet)
        head = joined.address_info["gcs_address"].rpartition(":")[0]
        jobs = f"http://{joined.dashboard_url or f'{head}:8265'}/api/jobs/"
        if not cluster.allow_open and job_api_is_open(jobs):
            raise WorkspaceError(f"--address {cluster.address}: {jobs} answers without a token; {OPEN}")
    except (OSError, RuntimeError, ValueError, OverflowError, ray.exceptions.RayError) as error:
        raise WorkspaceError(
            f"--address {cluster.address}: must be HOST:PORT of a running Ray head, e.g. 10.0.0.1:6379, or auto on one of its "
            f"nodes, with the same RAY_AUTH_MODE and token as here ({error})"
        ) from None


def _resources(cluster: Cluster, accelerator: str) -> dict[str, float]:
    """What a trial asks for."""
    nodes = _nodes()
    gpus = cluster.gpus_per_trial
    if gpus is None:
        any_gpu = any(node.get("GPU", 0) for node in nodes)
        gpus = 1.0 if accelerator == "cuda" or (accelerator == "auto" and any_gpu) else 0.0
    if (accelerator == "cpu" and gpus) or (accelerator == "cuda" and not gpus):
        raise WorkspaceError(
            f"--accelerator {accelerator} and --gpus-per-trial {gpus:g} contradict each other; leave one away"
        )
    if gpus > 1 and gpus != int(gpus):
        raise WorkspaceError(f"--gpus-per-trial {gpus:g}: must be a fraction of one GPU, or whole GPUs")
    return {"cpu": float(cluster.cpus_per_trial), **({"gpu": gpus} if gpus else {})}


def _wait_for_node(wanted: dict[str, float], minutes: float) -> None:
    """Until a node can give what a trial asks for; raises WorkspaceError when none can, since Ray would wait for ever."""
    until = time.monotonic() + 60 * minutes
    if minutes and not any(_has(node, wanted) for node in _nodes()):
        request_resources(bundles=[{name.upper(): amount for name, amount in wanted.items()}])
    while not any(_has(node, wanted) for node in _nodes()):
        if time.monotonic() >= until:
            most = {name: max((node.get(name.upper(), 0) for node in _nodes()), default=0) for name in wanted}
            told = f"no node has what a trial asks for: {_amounts(wanted)}; the most that one has: {_amounts(most)}"
            hint = "; --wait MINUTES waits for nodes that a cluster has still to start" if not minutes else ""
            raise WorkspaceError(told + hint)
        time.sleep(1)
    if minutes:
        request_resources(bundles=[])


def _nodes() -> list[dict[str, float]]:
    """Resources of each node that is there."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _places(wanted: dict[str, float]) -> int:
    """How many trials can run at once."""
    return sum(int(min(node.get(n.upper(), 0) // amount for n, amount in wanted.items())) for node in _nodes())


def _has(node: dict[str, float], wanted: dict[str, float]) -> bool:
    return all(node.get(name.upper(), 0) >= amount for name, amount in wanted.items())


def _amounts(resources: dict[str, float]) -> str:
    return ", ".join(f"{amount:g} {name.upper()}" for name, amount in resources.items())


def _check_nodes(fingerprints: Sequence[str], workspace: Workspace, wanted: dict[str, float]) -> None:
    """Raise WorkspaceError naming the nodes that could run trials but do not see the workspace's data or cannot run us."""
    asked = {}
    for node in ray.nodes():
        if node["Alive"] and _has(node["Resources"], wanted):
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            look = ray.remote(num_cpus=0, scheduling_strategy=there)(_look_on_worker)
            asked[node["NodeID"]] = node, look.remote(workspace, fingerprints, package_versions())
    wrong = []
    for name, (node, answer) in asked.items():
        try:
            found = ray.get(answer)
        except ray.exceptions.RayError as error:
            if not any(other["NodeID"] == name and other["Alive"] for other in ray.nodes()):
                continue  # it has gone meanwhile, and its trials with it: nothing is wrong with it
            found = f"cannot run asc_sweeps: {str(error).strip().splitlines()[-1]}"
        if found:
            wrong.append(f"\n  {node['NodeManagerHostname']} ({node['NodeManagerAddress']}): {found}")
    if wrong:
        raise WorkspaceError(
            "these nodes cannot run the trials; the workspace must be a folder that all nodes share, and asc_sweeps "
            f"must be installed on each in the same version:{''.join(wrong)}"
        )


def _look_on_worker(workspace: Workspace, fingerprints: list[str], wanted: dict[str, str]) -> str:
    """What keeps this node from running trials, or nothing. `wanted`: the driver's `versions`."""
    from asc_sweeps.data.catalog import fetch_prepared

    others = [
        f"{name} {there} (here {wanted.get(name)})"
        for name, there in package_versions().items()
        if there != wanted.get(name)
    ]
    if others:
        return f"has {', '.join(others)}, so that its numbers would be others; install the same there"
    try:
        workspace = workspace.on_this_machine()
        for fingerprint in fingerprints:
            fetch_prepared(workspace, fingerprint)
    except AscSweepsError as error:
        return str(error)
    return ""


def _run_on_worker(ray_config: dict[str, Any], workspace: Workspace, began: str) -> None:
    """One trial in a Ray worker. A failure that trying again would not mend is an end; an exception is tried again by Tune.

    `began`: when the sweep did.
    """
    from asc_sweeps.training.run_trial import HUNG, failure_from, run_trial

    _keep_what_is_imported()
    config, workspace = TrialConfig.model_validate_json(ray_config["trial"]), workspace.on_this_machine()
    before = _kind(workspace, config, began)
    if before and before[0] == HUNG:  # Tune's next try: what hung once would keep a place again for as long
        hung = load_failure(workspace, config.signature)
        tune.report({"state": "failed", "cause": HUNG, "message": hung.message if hung else ""})
        return
    # A trial that trains nothing reports no epoch; if it had no result before, it is this one that makes it.
    trained = config.epochs == 0 and load_result(workspace, config.signature) is None

    def report(row: dict[str, Any]) -> None:
        nonlocal trained
        trained = True
        tune.report(dict(row))

    try:
        run_trial(config, workspace, report)
    except Exception as error:
        if isinstance(error, NotPreparedError):
            raise  # this node does not see the workspace; another may
        failure = failure_from(config, error)
        foreseen = isinstance(error, AscSweepsError) or failure.cause in DISK_CAUSES.values()
        if not foreseen and _kind(workspace, config, began) not in (before, None):
            raise  # once more, in a new process
        tune.report({"state": "failed", "cause": failure.cause, "message": failure.message})
    else:
        tune.report({"state": "done", "trained": trained})  # or another sweep had it by the time that its turn came


@functools.cache
def _keep_what_is_imported() -> None:
    """Look for garbage no more among what this process has imported: that took 0.1 s of most trials."""
    gc.freeze()


def _kind(workspace: Workspace, config: TrialConfig, began: str) -> tuple[str, str] | None:
    """Cause and type of the failure that is written down of a trial in this sweep; None where none is, or can be."""
    try:
        workspace.pull_outcome(config.signature)
        failure = load_failure(workspace, config.signature)
    except (WorkspaceError, OSError):
        return None
    if failure is None or failure.failed_at < began:
        return None
    return (failure.cause, failure.message.partition(":")[0])
