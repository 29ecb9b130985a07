"""The networks of finished trials."""

from __future__ import annotations

from typing import Any

import torch

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import TrialError
from asc_sweeps.models.device_networks import DeviceNetworks
from asc_sweeps.models.int8 import integer_network
from asc_sweeps.models.network import Network
from asc_sweeps.training.build_network import build_network
from asc_sweeps.training.checkpoint import load_state
from asc_sweeps.training.finished import find_result
from asc_sweeps.workspace.paths import Workspace

MODEL = "model.pt"


def trained_network(config: TrialConfig, workspace: Workspace) -> Network | DeviceNetworks:
    """The network of a finished trial, on the CPU. Raises as `load_weights`."""
    with torch.random.fork_rng(devices=[]):  # the random weights are replaced
        network = build_network(config.model)
        trained = (
            DeviceNetworks(network) if config.per_device else integer_network(network) if config.quantize else network
        )
    trained.load_state_dict(load_weights(config, workspace))
    return trained


def load_weights(config: TrialConfig, workspace: Workspace) -> dict[str, Any]:
    """The weights of a finished trial. Raises TrialError if it is not finished or its file is damaged."""
    result = find_result(config, workspace)
    if result is None:
        raise TrialError(
            "start", f"trial {config.signature} ({config.system}), which this trial builds on, is not finished"
        )
    path = workspace.trial(config.signature) / MODEL
    workspace.storage.fetch(path)
    return load_state(path, str(result.environment["model_sha256"]))
