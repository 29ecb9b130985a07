"""Parameters and multiply-accumulates by the challenge's counting rule (that of torchinfo 1.8), as exact integers.

Calculated from the settings, without torch: a plan of thousands of trials is counted in an instant. Tests compare the counts with
the networks.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.data.labels import SCENES
from asc_sweeps.models.architecture import BLOCKS_PER_STAGE, POOLED_STAGES, gate_channels, stage_channels
from asc_sweeps.workspace.records import Complexity

PARAMS_LIMIT, MACS_LIMIT = 128_000, 30_000_000  # the challenge's limits of 2022, for one segment of one second
COUNTED_BLOCKS = ("bcresnet", "bcres2net")
"""Those whose layers the arithmetic below knows; of any other block the layers themselves are counted."""


@functools.cache  # a plan repeats a few networks many times
def count_complexity(config: ModelConfig, n_mels: int, frames: int) -> Complexity:
    """Params and MACs of the network for one segment of `n_mels` x `frames`.

    MACs: weights x output positions for convolutions, the number of parameters for Linear and BatchNorm, 0 for everything else.
    """
    if config.block not in COUNTED_BLOCKS:
        from asc_sweeps.models.layer_counts import count_layers

        return count_layers(config, n_mels, frames)
    counter = _Counter(config)
    counter.network(_half(n_mels), _half(frames))
    return Complexity(params=counter.params, macs=counter.macs, model_bytes=4 * counter.params)


@dataclass
class _Counter:
    config: ModelConfig
    params: int = 0
    macs: int = 0

    def convolution(self, weights: int, positions: int) -> None:
        self.params += weights
        self.macs += weights * positions

    def norm(self, channels: int) -> None:
        self.convolution(2 * channels, 1)

    def network(self, f: int, t: int) -> None:
        """All layers; `f` and `t` are frequencies and frames after the stem."""
        c = self.config.width
        channels, sizes = stage_channels(c), []
        self.convolution(5 * 5 * 2 * c, f * t)
        self.norm(2 * c)
        if self.config.stem_attention:
            self.attention(2 * c, f, t)
        before = 2 * c
        for i, (now, blocks) in enumerate(zip(channels, BLOCKS_PER_STAGE, strict=True)):
            if i in POOLED_STAGES:
                f, t = _half(f), _half(t)
            for j in range(blocks):
                self.block(self.config.block, now if j else before, now, f, t)
            if self.config.mfa:
                self.attention(now, f, t)
            before = now
            sizes.append((now, f, t))
        if self.config.fpm:
            self.pyramid(sizes)
        else:
            self.convolution(before * len(SCENES), f * t)

    def block(self, kind: str, before: int, now: int, f: int, t: int) -> None:
        if before != now:
            self.convolution(before * now, f * t)
            self.norm(now)
        # In a Res2 split, all slices except the first are convolved.
        sliced = now if kind == "bcresnet" else now - now // self.config.scale
        self.convolution(3 * sliced, f * t)
        self.norm(sliced * self.config.sub_bands)
        self.convolution(3 * sliced, t)
        self.convolution(now * now, t)
        self.norm(now)

    def attention(self, channels: int, f: int, t: int) -> None:
        part = channels // self.config.scale
        self.convolution(self.config.scale * 2 * part * gate_channels(part), f)
        self.convolution(9 * (channels - part), f * t)
        self.norm(channels - part)

    def pyramid(self, sizes: list[tuple[int, int, int]]) -> None:
        c = self.config.width
        for channels, f, t in sizes:
            self.convolution(channels * c, f * t)
            self.block("bcres2net", c, c, f, t)
        for _, f, t in sizes[1:3]:  # stages 2 and 3 are upsampled
            self.convolution(c * 4 * c, f * t)
        self.convolution(4 * c * len(SCENES) + len(SCENES), 1)


def _half(size: int) -> int:
    return (size + 1) // 2
