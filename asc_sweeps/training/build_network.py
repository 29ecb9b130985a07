"""Networks for training: on a CPU with the compiled body, wherever it computes exactly what the layers do."""

from __future__ import annotations

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.models.cpu import compiled
from asc_sweeps.models.network import Network


def build_network(config: ModelConfig) -> Network:
    """A network with random weights."""
    return Network(config, body=compiled.body)
