"""What Ray reads from the environment while it is imported: set before that, once, for the Ray that a sweep will use."""

from __future__ import annotations

import os
import secrets
import urllib.request

from asc_sweeps.config.request import Cluster

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no call home
    "RAY_AIR_NEW_OUTPUT": "0",  # no table on the console: ours is there
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # no CSV and JSON logs: results are in the workspace
}


def prepare_ray(cluster: Cluster) -> None:
    """Set the environment for a sweep on `cluster`; call it before the first `import ray`.

    A Ray of our own listens on all interfaces whatever it is told, so it asks for a token that only this process and its
    children know. A cluster's authentication is the cluster's: RAY_AUTH_MODE and the token are then taken as they are.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if cluster.address is None:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


def job_api_is_open(url: str) -> bool:
    """Whether a cluster's job API, which runs anybody's commands, answers someone who shows no token."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:  # refused, or nothing there that we could reach
        return False
