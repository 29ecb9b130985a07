"""The real command on small studies, and the real nodes of a Ray cluster: what tests of sweeps share."""

import json
import os
import socket
import subprocess
import sys
import time

import torch

from asc_sweeps.training.flat_state import unflatten

QUICK = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""A node that is gone counts as dead after seconds; by Ray's own values after up to a minute."""
COMMAND = [sys.executable, "-m", "asc_sweeps"]
SMALL_STUDY = """
settings:
  data.dataset: {folder}
  features.n_mels: 32
  features.hop: 1024
  model.width: 8
  model.mfa: false
  model.fpm: false
  pretrain.epochs: {epochs}
  pretrain.warmup_epochs: 0
  pretrain.batch_size: 16
  finetune.batch_size: 16
  finetune.epochs: 1
  finetune.head_epochs: 1
"""


def start(*words, cwd, env=None):
    """The command under way, in a process group of its own."""
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def ended(driver, code=0, seconds=240):
    """What a command that was started has printed, once it has ended with `code`."""
    out, err = driver.communicate(timeout=seconds)
    assert driver.returncode == code, f"exit {driver.returncode}\n{out}\n{err}"
    return out, err


def run(*words, cwd, code=0, env=None):
    done = subprocess.run(
        [*COMMAND, *words],
        cwd=cwd, env={**os.environ, **(env or {})}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def results(root):
    return {p.parent.name: json.loads(p.read_text()) for p in (root / "workspace" / "trials").glob("*/result.json")}


def until(seconds, holds):
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ray_node(secret, *words):
    """A node of a cluster, as `ray start` makes it, in a process group of its own."""
    alone = ["--block", "--disable-usage-stats", "--dashboard-agent-listen-port=0"]  # any port, not Ray's usual one
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, *alone]
    return subprocess.Popen(
        command, env={**os.environ, **QUICK, **secret}, stdout=subprocess.DEVNULL, start_new_session=True
    )


def wait_for(root, pattern):
    """Until a trial's checkpoint is there."""
    until(120, lambda: list((root / "workspace" / "trials").glob(pattern)))


def checkpoints(root):
    """History of each unfinished trial's checkpoint."""
    pointers = (root / "workspace" / "trials").glob("*/checkpoint.json")
    states = {p.parent.name: p.parent / json.loads(p.read_text())["file"] for p in pointers}
    return {name: unflatten(torch.load(path, weights_only=True))["history"] for name, path in states.items()}
