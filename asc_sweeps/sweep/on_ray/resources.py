"""What a trial requests of a node, how many trials fit, and whether the nodes can run them."""

from __future__ import annotations

import time
from collections.abc import Sequence

import ray
from ray.autoscaler.sdk import request_resources
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asc_sweeps.config.request import Cluster
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.sweep.on_ray.worker import why_node_cannot_run
from asc_sweeps.workspace.environment import package_versions
from asc_sweeps.workspace.paths import Workspace

Resources = dict[str, float]


def trial_resources(cluster: Cluster, accelerator: str) -> Resources:
    """What a trial requests; raises WorkspaceError for options that contradict each other."""
    gpus = cluster.gpus_per_trial
    if gpus is None:
        any_gpu = any(node.get("GPU", 0) for node in _nodes())
        gpus = 1.0 if accelerator == "cuda" or (accelerator == "auto" and any_gpu) else 0.0
    if (accelerator == "cpu" and gpus) or (accelerator == "cuda" and not gpus):
        raise WorkspaceError(f"--accelerator {accelerator} contradicts --gpus-per-trial {gpus:g}; omit one of them")
    if gpus > 1 and gpus != int(gpus):
        raise WorkspaceError(f"--gpus-per-trial {gpus:g}: must be a fraction of one GPU or a whole number")
    return {"cpu": float(cluster.cpus_per_trial), **({"gpu": gpus} if gpus else {})}


def wait_for_node(request: Resources, minutes: float) -> None:
    """Wait until a node satisfies the request; raises WorkspaceError if none does, since Ray would wait forever."""
    deadline = time.monotonic() + 60 * minutes
    if minutes and capacity(request) == 0:
        request_resources(bundles=[{name.upper(): amount for name, amount in request.items()}])
    while capacity(request) == 0:
        if time.monotonic() >= deadline:
            largest = {name: max((node.get(name.upper(), 0) for node in _nodes()), default=0) for name in request}
            hint = "" if minutes else "; --wait MINUTES waits for autoscaled nodes"
            raise WorkspaceError(
                f"no node satisfies the resource request of a trial: {_in_words(request)}; the most that a node has: "
                f"{_in_words(largest)}{hint}"
            )
        time.sleep(1)
    if minutes:
        request_resources(bundles=[])


def capacity(request: Resources) -> int:
    """How many trials can run at once."""
    return sum(_trials_on(node, request) for node in _nodes())


def check_nodes(fingerprints: Sequence[str], workspace: Workspace, request: Resources) -> None:
    """Raise WorkspaceError naming the nodes that would run trials but do not see the workspace's data or have other versions."""
    nodes = [node for node in ray.nodes() if node["Alive"] and _trials_on(node["Resources"], request)]
    replies = []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        check = ray.remote(num_cpus=0, scheduling_strategy=there)(why_node_cannot_run)  # type: ignore[call-overload]  # Ray's types omit the strategy
        replies.append(check.remote(workspace, fingerprints, package_versions()))
    problems = []
    for node, reply in zip(nodes, replies, strict=True):
        try:
            reason = ray.get(reply)
        except ray.exceptions.RayError as error:
            if not any(other["NodeID"] == node["NodeID"] and other["Alive"] for other in ray.nodes()):
                continue  # it has left the cluster in the meantime
            reason = f"cannot run asc_sweeps: {str(error).strip().splitlines()[-1]}"
        if reason:
            problems.append(f"\n  {node['NodeManagerHostname']} ({node['NodeManagerAddress']}): {reason}")
    if problems:
        raise WorkspaceError(
            "these nodes cannot run the trials; the workspace must be a folder that all nodes share, and asc_sweeps must be "
            f"installed on each in the same version:{''.join(problems)}"
        )


def _nodes() -> list[Resources]:
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _trials_on(node: Resources, request: Resources) -> int:
    return int(min(node.get(name.upper(), 0) // amount for name, amount in request.items()))


def _in_words(resources: Resources) -> str:
    return ", ".join(f"{amount:g} {name.upper()}" for name, amount in resources.items())
