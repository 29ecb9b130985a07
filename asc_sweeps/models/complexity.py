"""Parameters and multiply-accumulates by the challenge's counting rule (that of torchinfo 1.8), as exact integers."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor, nn

from asc_sweeps.config import ModelConfig
from asc_sweeps.models.network import Network
from asc_sweeps.results import Complexity

PARAMS_LIMIT, MACS_LIMIT = 128_000, 30_000_000
"""The challenge's limits of 2022, for one segment of one second."""


@functools.cache  # a plan asks for the same few networks again and again
def count(config: ModelConfig, n_mels: int, frames: int) -> Complexity:
    """Params and MACs of the network for one segment of `n_mels` x `frames`.

    MACs: a convolution has weights x output positions, Linear and BatchNorm their parameters once; pooling, activations,
    sums, ResNorm and pixel shuffle count 0.
    """
    with torch.random.fork_rng(devices=[]):  # counting must not move the generator that training draws from
        network = Network(config).eval()
    macs = 0

    def add(module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        positions = math.prod(output.shape[2:]) if isinstance(module, nn.Conv2d) else 1
        macs += positions * sum(p.numel() for p in module.parameters(recurse=False))

    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.register_forward_hook(add)
    with torch.inference_mode():
        network(torch.zeros(1, 1, n_mels, frames))
    params = sum(p.numel() for p in network.parameters())
    model_bytes = sum(p.numel() * p.element_size() for p in network.parameters())
    return Complexity(params=params, macs=macs, model_bytes=model_bytes)
