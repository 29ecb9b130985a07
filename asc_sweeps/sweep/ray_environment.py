"""Environment variables that Ray reads while it is imported, and the check whether a cluster is open."""

from __future__ import annotations

import os
import secrets
import urllib.request

from asc_sweeps.config.request import Cluster

RAY_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_AIR_NEW_OUTPUT": "0",  # no progress table beside ours
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV and JSON logs: results are in the workspace
}


def prepare_ray(cluster: Cluster) -> None:
    """Set the environment for a sweep on `cluster`; call it before the first `import ray`.

    A local Ray listens on all interfaces, so it requires a token that only this process and its children know. A cluster's
    authentication is left to RAY_AUTH_MODE and its token.
    """
    for name, value in RAY_SETTINGS.items():
        os.environ.setdefault(name, value)
    if cluster.address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def job_api_is_open(url: str) -> bool:
    """Whether a cluster's job API, which runs any command, responds without a token."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as response:
            return response.status == 200
    except OSError:  # refused or unreachable
        return False
