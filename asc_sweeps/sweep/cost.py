"""What a plan costs: epochs, segments, MACs, disk, and hours by a short timing of this machine."""

from __future__ import annotations

import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from asc_sweeps.config.setting_groups import SAMPLE_RATE
from asc_sweeps.data.labels import SCENES
from asc_sweeps.data.splits import split_rows
from asc_sweeps.data.subsets import fetch_data
from asc_sweeps.sweep.plan import Plan, PlannedTrial
from asc_sweeps.workspace.atomic_files import write_json
from asc_sweeps.workspace.paths import Workspace, cores

PASSES_PER_STEP = 3
"""A training step computes a forward pass, and a backward pass of about twice that."""
STORED_STATES = 7
"""Weights, and in each of the last two checkpoints weights and AdamW's two moments."""
TIMED_BATCH = {"cpu": 16, "cuda": 256}
TIMING_SECONDS = 2.0
"""Without the first step, which warms up."""


@dataclass(frozen=True)
class Cost:
    """What is left of a plan."""

    epochs: int
    segments: int
    """Training segments times epochs."""
    macs: int
    """Of training: three times the network's MACs for each segment."""
    bytes_on_disk: int
    """About what trials leave behind, the last checkpoint included."""
    hours: float
    """About, on this machine with all its cores, or its GPU."""
    measured_on: str


def estimate_cost(plan: Plan, workspace: Workspace, say: Callable[[str], None] = lambda line: None) -> Cost | None:
    """The cost of a plan's trials, which are on resolved data; None if nothing is left to run."""
    if not plan.todo:
        return None
    splits = {d: split_rows(fetch_data(workspace, d), d) for d in {t.config.data for t in plan.todo}}
    segments = {t.config.signature: len(splits[t.config.data]["train"]) * t.config.epochs for t in plan.todo}
    costliest = max(plan.todo, key=lambda t: t.epoch_cost)
    pace, machine = _pace(costliest, workspace, say)
    seconds = sum(segments[t.config.signature] * t.epoch_cost for t in plan.todo) * pace / costliest.epoch_cost
    at_once = cores() if _accelerator(workspace) == "cpu" else 1
    predicted = sum(len(splits[t.config.data]["test"]) for t in plan.todo)
    return Cost(
        epochs=sum(t.config.epochs for t in plan.todo),
        segments=sum(segments.values()),
        macs=sum(PASSES_PER_STEP * segments[t.config.signature] * t.complexity.macs for t in plan.todo),
        bytes_on_disk=STORED_STATES * sum(t.complexity.model_bytes for t in plan.todo)
        + predicted * (len(SCENES) * 4 + 16),
        hours=seconds / min(at_once, len(plan.todo)) / 3600,
        measured_on=machine,
    )


def _pace(trial: PlannedTrial, workspace: Workspace, say: Callable[[str], None]) -> tuple[float, str]:
    """Seconds per training segment of a trial on one core (or the GPU), and the machine; timed once, then remembered."""
    accelerator, machine = _accelerator(workspace), f"a core of {platform.node()}"
    if accelerator == "cuda":
        import torch

        machine = torch.cuda.get_device_name()
    timed = [trial.config.model.model_dump_json(), trial.config.features.model_dump_json(), machine, version("torch")]
    key = hashlib.sha256(json.dumps(timed).encode()).hexdigest()[:16]
    path = workspace.root / "calibration.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    if not isinstance(known.get(key), float):
        compiling = "; the first time on a machine 20 s more to compile" if accelerator == "cpu" else ""
        say(f"timing {trial.config.system} on {machine} for {TIMING_SECONDS:g} s{compiling}")
        known[key] = _time_training(trial, accelerator)
        write_json(path, known)
    return known[key], machine


def _accelerator(workspace: Workspace) -> str:
    """What trials train on here; without importing torch, which is slow, if it has no CUDA."""
    if workspace.accelerator == "auto" and version("torch").endswith("+cpu"):
        return "cpu"
    from asc_sweeps.training.run_trial import resolve_accelerator

    return resolve_accelerator(workspace.accelerator)


def _time_training(trial: PlannedTrial, accelerator: str) -> float:
    """Seconds per segment."""
    import torch

    from asc_sweeps.data.features import LogMel
    from asc_sweeps.training.build_network import build_network
    from asc_sweeps.training.heap import keep_freed_memory
    from asc_sweeps.training.optimizer import PlainAdamW

    network = build_network(trial.config.model).to(accelerator)
    features = LogMel(trial.config.features).to(accelerator)
    optimizer, batch = PlainAdamW(network.parameters()), TIMED_BATCH[accelerator]
    targets = torch.arange(batch, device=accelerator) % len(SCENES)

    def step() -> None:
        waveforms = torch.rand(batch, SAMPLE_RATE, device=accelerator)
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(features(waveforms)), targets)
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the GPU

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as the trials of a sweep
    try:
        with keep_freed_memory():
            step()
            began, steps = time.monotonic(), 0
            while time.monotonic() - began < TIMING_SECONDS:
                step()
                steps += 1
            return (time.monotonic() - began) / (steps * batch)
    finally:
        torch.set_num_threads(threads)
