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

PASSES = 3
"""A training step computes about three times what predicting does: forward, and twice that backward."""
STATES = 7
"""Weights, and in each of the last two checkpoints weights and AdamW's two moments."""
BATCH = {"cpu": 16, "cuda": 256}
SECONDS = 2.0
"""How long the timing takes, beside one step to warm up."""


@dataclass(frozen=True)
class Cost:
    """What is left of a plan, in all."""

    epochs: int
    segments: int
    """Training segments times epochs."""
    macs: int
    """Of training: three times the network's MACs for each segment."""
    bytes_on_disk: int
    """Of what trials leave behind, the last checkpoint included; about."""
    hours: float
    """On this machine with all its cores, or its GPU; about."""
    measured_on: str


def estimate_cost(plan: Plan, workspace: Workspace, say: Callable[[str], None] = lambda line: None) -> Cost | None:
    """The cost of a plan's trials, which are bound to prepared data; None when nothing is left to run."""
    if not plan.todo:
        return None
    splits = {d: split_rows(fetch_data(workspace, d), d) for d in {t.config.data for t in plan.todo}}
    segments, disk = {}, 0
    for t in plan.todo:
        rows = splits[t.config.data]
        segments[t.config.signature] = len(rows["train"]) * t.config.epochs
        predictions = len(rows["test"]) * (len(SCENES) * 4 + 16)
        disk += STATES * t.complexity.model_bytes + predictions
    costs = [t.cost_of_epoch for t in plan.todo]
    largest = plan.todo[costs.index(max(costs))]
    pace, machine = _pace(largest, workspace, say)
    unit = pace / largest.cost_of_epoch  # seconds for one unit of cost, as `PlannedTrial.cost` reckons
    seconds = sum(segments[t.config.signature] * cost * unit for t, cost in zip(plan.todo, costs, strict=True))
    at_once = cores() if _accelerator(workspace) == "cpu" else 1
    return Cost(
        epochs=sum(t.config.epochs for t in plan.todo),
        segments=sum(segments.values()),
        macs=sum(PASSES * segments[t.config.signature] * t.complexity.macs for t in plan.todo),
        bytes_on_disk=disk,
        hours=seconds / min(at_once, len(plan.todo)) / 3600,
        measured_on=machine,
    )


def _pace(trial: PlannedTrial, workspace: Workspace, say: Callable[[str], None]) -> tuple[float, str]:
    """Seconds for one training segment of this trial on one core (or the GPU), and the machine; timed once, then remembered."""
    accelerator = _accelerator(workspace)
    place = f"a core of {platform.node()}"
    if accelerator == "cuda":
        import torch

        place = torch.cuda.get_device_name()
    what = [trial.config.model.model_dump_json(), trial.config.features.model_dump_json(), place, version("torch")]
    key = hashlib.sha256(json.dumps(what).encode()).hexdigest()[:16]
    path = workspace.root / "calibration.json"
    try:
        known = json.loads(path.read_text())
    except (OSError, ValueError):
        known = {}
    if not isinstance(known.get(key), float):
        compiling = "; the first time on a machine 20 s more, to compile what it runs" if accelerator == "cpu" else ""
        say(f"timing {trial.config.system} on {place} for {SECONDS:g} s{compiling}")
        known[key] = _time(trial, accelerator)
        write_json(path, known)
    return known[key], place


def _accelerator(workspace: Workspace) -> str:
    """What trials train on here; torch, which takes longer to import than most plans to make, is not asked for what it cannot do."""
    if workspace.accelerator == "auto" and version("torch").endswith("+cpu"):
        return "cpu"
    from asc_sweeps.training.run_trial import resolve_accelerator

    return resolve_accelerator(workspace.accelerator)


def _time(trial: PlannedTrial, accelerator: str) -> float:
    import torch

    from asc_sweeps.data.features import LogMel
    from asc_sweeps.training.build_network import build_network
    from asc_sweeps.training.heap import keep_freed_memory
    from asc_sweeps.training.optimizer import PlainAdamW

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as a sweep's trials
    try:
        network = build_network(trial.config.model).to(accelerator)
        features = LogMel(trial.config.features).to(accelerator)
        optimizer = PlainAdamW(network.parameters())
        batch = BATCH[accelerator]
        targets = torch.arange(batch, device=accelerator) % len(SCENES)

        def step() -> None:
            waveforms = torch.rand(batch, SAMPLE_RATE, device=accelerator)
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(network(features(waveforms)), targets)
            loss.backward()
            optimizer.step()
            loss.item()  # waits for the GPU

        with keep_freed_memory():
            step()
            began, steps = time.monotonic(), 0
            while time.monotonic() - began < SECONDS:
                step()
                steps += 1
            return (time.monotonic() - began) / (steps * batch)
    finally:
        torch.set_num_threads(threads)
