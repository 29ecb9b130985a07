"""Starting a local Ray, or joining a cluster that only holders of its token can use."""

from __future__ import annotations

import logging
import socket
from pathlib import Path

import ray
from ray._private.authentication.authentication_utils import is_token_auth_enabled

import asc_sweeps
import search_spaces
from asc_sweeps.config.request import Cluster
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.sweep.on_ray.ray_patches import minimal_local_node
from asc_sweeps.sweep.ray_environment import job_api_is_open
from asc_sweeps.workspace.paths import cores

OPEN_CLUSTER = (
    "anyone who can reach it can run commands there. Start it with RAY_AUTH_MODE=token and set its token here "
    "(docs/clusters.md), or pass --allow-open-cluster"
)


def connect(cluster: Cluster) -> None:
    """Initialize Ray. Raises WorkspaceError if the cluster cannot be joined, or is open without permission to use such a one."""
    if cluster.address is None:
        workers = cluster.workers or max(1, cores() // cluster.cpus_per_trial)
        with minimal_local_node():  # "local" never joins a session that a stale file points to
            ray.init(
                "local", num_cpus=workers * cluster.cpus_per_trial, log_to_driver=False, logging_level=logging.ERROR
            )
        return
    try:
        host, _, port = cluster.address.rpartition(":")
        if cluster.address != "auto":  # ray.init would retry for many minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        if not cluster.allow_open and not is_token_auth_enabled():
            raise WorkspaceError(
                f"--address {cluster.address}: without a token, only an open cluster can be joined; {OPEN_CLUSTER}"
            )
        code = {"py_modules": [str(Path(module.__file__ or "").parent) for module in (asc_sweeps, search_spaces)]}
        joined = ray.init(cluster.address, runtime_env=code, log_to_driver=False, logging_level=logging.ERROR)
        head = ray.get_runtime_context().gcs_address.rpartition(":")[0]
        jobs = f"http://{joined.dashboard_url or f'{head}:8265'}/api/jobs/"
        if not cluster.allow_open and job_api_is_open(jobs):
            raise WorkspaceError(f"--address {cluster.address}: {jobs} responds without a token; {OPEN_CLUSTER}")
    except (OSError, RuntimeError, ValueError, OverflowError, ray.exceptions.RayError) as error:
        raise WorkspaceError(
            f"--address {cluster.address}: must be HOST:PORT of a running Ray head, e.g. 10.0.0.1:6379, or auto on one of its "
            f"nodes, with the same RAY_AUTH_MODE and token as here ({error})"
        ) from None
