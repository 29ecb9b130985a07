"""Helpers for tests of sweeps: the real command on small studies, and nodes of a real Ray cluster."""

import json
import os
import socket
import subprocess
import sys
import time

import torch

from asc_sweeps.training.flat_state import unflatten

FAST_HEALTH_CHECKS = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "3",
}
"""Ray detects a dead node within seconds instead of a minute."""
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
    """Start the command in its own process group."""
    return subprocess.Popen(
        [*COMMAND, *words],
        cwd=cwd, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip


def wait_for_exit(process, code=0, seconds=240):
    """Wait until a started command exits with `code`; returns its standard output and error."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == code, f"exit {process.returncode}\n{out}\n{err}"
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


def wait_until(seconds, condition):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} seconds"
        time.sleep(0.05)


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def ray_node(secret, *words):
    """Start a node of a cluster with `ray start`, in its own process group."""
    isolated = ["--block", "--disable-usage-stats", "--dashboard-agent-listen-port=0"]  # any port, not Ray's usual one
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", *words, *isolated]
    return subprocess.Popen(
        command, env={**os.environ, **FAST_HEALTH_CHECKS, **secret}, stdout=subprocess.DEVNULL, start_new_session=True
    )


def wait_for_checkpoint(root, pattern):
    """Wait until a trial has a checkpoint that matches the pattern."""
    wait_until(120, lambda: list((root / "workspace" / "trials").glob(pattern)))


def checkpoints(root):
    """The history in the checkpoint of each unfinished trial."""
    pointers = (root / "workspace" / "trials").glob("*/checkpoint.json")
    states = {p.parent.name: p.parent / json.loads(p.read_text())["file"] for p in pointers}
    return {name: unflatten(torch.load(path, weights_only=True))["history"] for name, path in states.items()}
