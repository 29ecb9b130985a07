"""Broadcasted residual blocks: BC-ResNet's (the baseline, Kim et al. 2021) and BC-Res2Net's (Sec. 2.1, Fig. 1).

Both have the same data flow and differ in their layers. No convolution has a bias.
"""

from __future__ import annotations

from torch import Tensor, nn

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.models.norms import SubSpectralNorm
from asc_sweeps.models.res2 import Res2

EPS = 1e-6  # of every BatchNorm except SubSpectralNorm's


class BroadcastedBlock(nn.Module):
    """The sum of 2-D features, 1-D features of their mean over frequency (broadcast), and the input.

    A transition block changes the number of channels by a 1x1 convolution first and does not add its input.
    Shape: [B, channels_in, F, T] -> [B, channels_out, F, T].
    """

    def __init__(
        self, channels_in: int, channels_out: int, frequency: nn.Module, temporal: nn.Module, output: nn.Module
    ) -> None:
        super().__init__()
        self.is_transition = channels_in != channels_out
        if self.is_transition:
            self.transition = nn.Sequential(
                pointwise(channels_in, channels_out), nn.BatchNorm2d(channels_out, eps=EPS), nn.ReLU()
            )
        self.frequency, self.temporal, self.output = frequency, temporal, output

    def forward(self, x: Tensor) -> Tensor:
        if self.is_transition:
            x = self.transition(x)
        features = self.frequency(x)
        total = features + self.temporal(features.mean(dim=2, keepdim=True))
        return self.output(total if self.is_transition else total + x)


def bcresnet_block(channels_in: int, channels_out: int, config: ModelConfig) -> BroadcastedBlock:
    """Depthwise 3x1 and SubSpectralNorm; depthwise 1x3, BatchNorm, SiLU, 1x1, dropout; ReLU."""
    frequency = nn.Sequential(depthwise(channels_out, 3, 1), SubSpectralNorm(channels_out, config.sub_bands))
    temporal = nn.Sequential(
        depthwise(channels_out, 1, 3),
        nn.BatchNorm2d(channels_out, eps=EPS),
        nn.SiLU(),
        pointwise(channels_out, channels_out),
        nn.Dropout2d(config.dropout),
    )
    return BroadcastedBlock(channels_in, channels_out, frequency, temporal, nn.ReLU())


def bcres2net_block(channels_in: int, channels_out: int, config: ModelConfig) -> BroadcastedBlock:
    """F2 (Eq. 1); F1 (Eq. 2), 1x1, dropout; BatchNorm and ReLU after the sum.

    The paper's text names F1's result as the second residual; broadcasted residual learning adds F2's 2-D map, which also matches
    Fig. 1 and the counts of Table 2.
    """
    frequency = Res2(
        channels_out,
        config.scale,
        lambda part: nn.Sequential(depthwise(part, 3, 1), SubSpectralNorm(part, config.sub_bands)),
    )
    temporal = nn.Sequential(
        Res2(channels_out, config.scale, lambda part: nn.Sequential(depthwise(part, 1, 3), nn.ReLU())),
        pointwise(channels_out, channels_out),
        nn.Dropout2d(config.dropout),
    )
    output = nn.Sequential(nn.BatchNorm2d(channels_out, eps=EPS), nn.ReLU())
    return BroadcastedBlock(channels_in, channels_out, frequency, temporal, output)


BLOCKS = {"bcresnet": bcresnet_block, "bcres2net": bcres2net_block}


def pointwise(channels_in: int, channels_out: int) -> nn.Conv2d:
    """A 1x1 convolution."""
    return nn.Conv2d(channels_in, channels_out, 1, bias=False)


def depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    """A depthwise convolution that keeps the size; `height` is along frequency, `width` along time."""
    padding = (height // 2, width // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, groups=channels, bias=False)
