"""Parameters and multiply-accumulates counted from the layers of a network: for blocks that `complexity` has no formula for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.models.network import Network
from asc_sweeps.workspace.records import Complexity


def count_layers(config: ModelConfig, n_mels: int, frames: int) -> Complexity:
    """Params and MACs of the network for one segment of `n_mels` x `frames`, by the rule of `complexity.count_complexity`.

    The network is built and run on torch's meta device, which computes shapes alone.
    """
    macs = 0

    def add(layer: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        weights = sum(p.numel() for p in layer.parameters(recurse=False))
        macs += weights * (output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1)

    with torch.device("meta"), torch.no_grad():
        network = Network(config).eval()
        for layer in network.modules():
            if not list(layer.children()):
                layer.register_forward_hook(add)
        network(torch.empty(1, 1, n_mels, frames))
    params = sum(p.numel() for p in network.parameters())
    return Complexity(params=params, macs=macs, model_bytes=4 * params)
