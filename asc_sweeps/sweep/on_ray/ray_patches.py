"""What a sweep needs otherwise than Ray 2.60 has it, each with its reason. Import it after `ray_environment.prepare_ray`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray._private import node, utils

from asc_sweeps.errors import SweepError


def survive_memory_kills() -> None:
    """Make Tune take a worker that was killed for the node's memory for a dead one, which it retries.

    Ray 2.60 raises OutOfMemoryError there, which is none of the errors that Tune foresees, and the whole sweep would end.
    """
    from ray.air.execution._internal import actor_manager
    from ray.tune.execution import tune_controller

    dead = (ray.exceptions.RayActorError, ray.exceptions.OutOfMemoryError)
    for module in (actor_manager, tune_controller):
        if not hasattr(module, "RayActorError"):
            raise SweepError(f"Ray {ray.__version__} has no {module.__name__}.RayActorError; install ray 2.60")
        module.RayActorError = dead


def spare_trackers() -> None:
    """Keep Tune from importing MLflow and wandb, where installed, to count how often they are used: that takes 1.5 s."""
    absent = dict.fromkeys({"mlflow", "wandb"} - sys.modules.keys())
    sys.modules.update(absent)  # None is what an import takes for "not installed"
    try:
        from ray.air.integrations import mlflow, wandb  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]


def use_started_workers() -> None:
    """Let trials run in the workers that Ray starts ahead, which are those without an environment of their own.

    Tune gives every trial one, for a bug of PyTorch Lightning, which is not used here; so each waits for a worker of its own, and
    the first ones were started for nothing.
    """
    from ray.tune.execution import class_cache

    class_cache.DEFAULT_ENV_VARS.clear()


def leave_sigterm_alone() -> None:
    """Keep ray.init from giving SIGTERM an answer of Ray's, which ends the process on the spot."""
    utils.set_sigterm_handler = lambda handler: None


@contextmanager
def few_processes() -> Iterator[None]:
    """A node that is started meanwhile is one that nobody joins or looks at: no autoscaler, no dashboard, no reader of logs.

    Those three would take the cores for 2 s of a sweep's start, and a second of its end.
    """
    plain = node.Node

    class Alone(plain):
        def start_monitor(self) -> None:
            """None: there is one node."""

        def start_api_server(self, **options: Any) -> None:
            """None, not even the part that is left without a dashboard."""

        def start_log_monitor(self) -> None:
            """None: workers' logs are not told."""

    node.Node = Alone
    try:
        yield
    finally:
        node.Node = plain
