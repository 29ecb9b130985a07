"""The layers that the compiled form was written for, each by its source: layers that were changed compute themselves.

After changing a layer, change the compiled form with it, and then the layer's digest here; a test prints the new one.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import re
from collections.abc import Callable
from typing import Any

from asc_sweeps.models import architecture, attention, blocks, fpm, network, norms, res2

KNOWN_SOURCES: dict[Callable[..., Any], str] = {
    network.Network: "3d0d1d6f38b5",
    network._stage: "e130e45a3a62",
    blocks.BroadcastedBlock: "2735b7bd2162",
    blocks.bcresnet_block: "2c70fc08f1e5",
    blocks.bcres2net_block: "6c181a554d59",
    blocks.pointwise: "6f310eed7108",
    blocks.depthwise: "341f26141f68",
    attention.FrequencyChannelGate: "833778021b24",
    attention.attention_unit: "a7ef0025af2d",
    fpm.FeaturePyramid: "99e130c06f4b",
    fpm._crop: "d9f9fe638a9f",
    norms.SubSpectralNorm: "10ffe9224e81",
    norms.ResNorm: "d4ab8eef8123",
    res2.Res2: "44c4a51f670e",
    architecture.stage_channels: "11928271808e",
    architecture.gate_channels: "4acc372587c2",
}
"""The start of a SHA-256 of each layer's source, docstrings and blanks aside."""

BLOCKS_BY_NAME = {"bcresnet": blocks.bcresnet_block, "bcres2net": blocks.bcres2net_block}


@functools.cache
def is_known(block: str) -> bool:
    """Whether networks of these blocks still consist of the layers that the compiled form was written for."""
    same_block = block in BLOCKS_BY_NAME and blocks.BLOCKS.get(block) is BLOCKS_BY_NAME[block]
    return same_block and all(source_digest(layer) == known for layer, known in KNOWN_SOURCES.items())


def source_digest(layer: Callable[..., Any]) -> str:
    """The start of the SHA-256 of a layer's source, docstrings and blanks aside; empty where there is no source."""
    try:
        source = inspect.getsource(layer)
    except (OSError, TypeError):
        return ""
    return hashlib.sha256("".join(re.sub(r'""".*?"""', "", source, flags=re.DOTALL).split()).encode()).hexdigest()[:12]
