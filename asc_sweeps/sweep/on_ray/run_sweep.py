"""A plan's trials, and those that searches sample, run on Ray Tune.

Import it after `ray_environment.prepare_ray`.
"""

from __future__ import annotations

import functools
import logging
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import ray
from ray import tune

from asc_sweeps.config.request import Cluster
from asc_sweeps.errors import REMEDIES, SweepError, WorkspaceError
from asc_sweeps.sweep.halving import EarlyStopping, Halving
from asc_sweeps.sweep.interruption import force_exit_after_sigterm, sigterm_as_sigint
from asc_sweeps.sweep.on_ray import ray_patches
from asc_sweeps.sweep.on_ray.connect import connect
from asc_sweeps.sweep.on_ray.resources import Resources, capacity, check_nodes, trial_resources, wait_for_node
from asc_sweeps.sweep.on_ray.tune_adapters import WORKER_RETRIES, EarlyStopScheduler, EventCallback, QueueSearcher
from asc_sweeps.sweep.on_ray.worker import run_in_worker
from asc_sweeps.sweep.plan import Plan
from asc_sweeps.sweep.scheduling import OnEvent, OnPlanned, TrialQueue
from asc_sweeps.training.finished import FinishedTrials
from asc_sweeps.workspace.environment import git_state
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import utc_now

if TYPE_CHECKING:  # imports Optuna, which a grid does not need
    from asc_sweeps.sweep.searches.search_study import SearchStudy


def run_sweep(
    plan: Plan, finished: FinishedTrials, cluster: Cluster, on_event: OnEvent, on_planned: OnPlanned,
    searches: Sequence[SearchStudy], halvings: Mapping[str, Halving],
) -> None:  # fmt: skip
    """Run what a plan has left, then what searches sample. Ctrl-C ends it early; every finished epoch is saved.

    A failed trial does not stop the others; those that build on it fail with cause `start`. Trials of the studies in `halvings`
    may stop early. Raises WorkspaceError if the cluster cannot run the trials, SweepError if Ray ends the sweep.
    """
    workspace = finished.workspace
    _prepare_process()
    connect(cluster)
    sigterm_as_sigint()  # Ray has replaced the handler
    name = f"sweep-{uuid.uuid4().hex[:8]}"
    try:
        request = trial_resources(cluster, workspace.accelerator)
        wait_for_node(request, cluster.wait_minutes)
        if cluster.address is not None:
            data = {t.config.data.fingerprint for t in plan.todo} | {search.fingerprint for search in searches}
            check_nodes(sorted(data), workspace, request)
        # Without this Tune starts one process and waits for it before it asks for the next trial.
        os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(max(1, capacity(request)))
        # One more than can run makes an autoscaled cluster grow.
        spare = 0 if cluster.address is None else 1
        early = EarlyStopping(halvings, plan)
        queue = TrialQueue(plan, finished, searches, early, lambda: capacity(request) + spare, on_event, on_planned)
        try:
            _fit(name, queue, early, workspace, cluster, request, on_event)
        finally:
            queue.reports.interrupt()
    except OSError as error:
        if error.filename is None and error.errno in REMEDIES:  # pyarrow names no file
            error.filename = workspace.ray
        raise
    finally:
        ray.shutdown()
        with suppress(WorkspaceError):  # only Ray's bookkeeping; results are in trials/
            workspace.storage.remove_folder(workspace.root / "ray" / name)


def _prepare_process() -> None:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # its one error line repeats what events say
    ray_patches.retry_oom_workers()
    ray_patches.skip_tracker_imports()
    ray_patches.use_prestarted_workers()
    ray_patches.keep_sigterm_handler()
    force_exit_after_sigterm()


def _fit(
    name: str, queue: TrialQueue, early: EarlyStopping, workspace: Workspace, cluster: Cluster, request: Resources, on_event: OnEvent
) -> None:  # fmt: skip
    accelerator = "cuda" if "gpu" in request else "cpu"
    in_worker = replace(workspace, accelerator=accelerator, threads=cluster.cpus_per_trial, code=git_state())
    # Not tune.with_parameters, which puts them into Ray's store: lost if SIGTERM reaches a raylet, and Ray would exit on the spot.
    run = functools.partial(run_in_worker, workspace=in_worker, sweep_began=utc_now())
    tuner = tune.Tuner(
        tune.with_resources(run, request),
        tune_config=tune.TuneConfig(
            search_alg=QueueSearcher(queue, on_event), scheduler=EarlyStopScheduler(early), num_samples=-1, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            name=name, storage_path=workspace.ray, verbose=0, callbacks=[EventCallback(workspace, queue, on_event)],
            failure_config=tune.FailureConfig(max_failures=WORKER_RETRIES),
        ),
    )  # fmt: skip
    try:
        tuner.fit()
    except (ray.exceptions.RayError, tune.TuneError, RuntimeError, EOFError) as error:
        text = next((line for line in reversed(str(error).splitlines()) if line.strip()), "")  # below any traceback
        raise SweepError(
            f"Ray ended the sweep ({type(error).__name__}: {text}); finished trials and epochs are saved; rerun the same command "
            "to resume"
        ) from error
