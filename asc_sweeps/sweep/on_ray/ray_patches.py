"""Changes to Ray 2.60 that a sweep needs, each with its reason. Import it after `ray_environment.prepare_ray`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import node, utils

from asc_sweeps.errors import SweepError

DEAD_WORKER = "RayActorError"
"""The name by which Tune's modules catch the error of a worker that died."""


def retry_oom_workers() -> None:
    """Make Tune retry a worker that was killed because its node ran low on memory, as it does any dead worker.

    Ray 2.60 raises OutOfMemoryError there, which Tune does not catch: the whole sweep would end.
    """
    from ray.air.execution._internal import actor_manager
    from ray.tune.execution import tune_controller

    for module in (actor_manager, tune_controller):
        if not hasattr(module, DEAD_WORKER):
            raise SweepError(f"Ray {ray.__version__} has no {module.__name__}.{DEAD_WORKER}; install ray 2.60")
        setattr(module, DEAD_WORKER, (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError))


def skip_tracker_imports() -> None:
    """Keep Tune from importing MLflow and wandb for its usage statistics, which takes 1.5 s."""
    absent = {"mlflow", "wandb"} - sys.modules.keys()
    for name in absent:
        sys.modules[name] = None  # type: ignore[assignment]  # how Python marks a package as not importable
    try:
        from ray.air.integrations import mlflow, wandb  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]


def use_prestarted_workers() -> None:
    """Run trials in the workers that Ray starts in advance, which have no environment of their own.

    Tune gives every trial an environment because of a bug in PyTorch Lightning, so each would wait for a new worker.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()


def keep_sigterm_handler() -> None:
    """Keep ray.init from installing a SIGTERM handler that exits at once."""
    utils.set_sigterm_handler = lambda handler: None


@contextmanager
def minimal_local_node() -> Iterator[None]:
    """Start a node without autoscaler, dashboard and log monitor: nobody joins it, and they would cost 3 s of every sweep."""
    starters = {name: getattr(node.Node, name) for name in ("start_monitor", "start_api_server", "start_log_monitor")}

    def skip(self: node.Node, **options: Any) -> None:
        """Start nothing."""

    try:
        for name in starters:
            setattr(node.Node, name, skip)
        yield
    finally:
        for name, start in starters.items():
            setattr(node.Node, name, start)
