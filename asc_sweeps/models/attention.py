"""Multi-scale frequency-channel attention (MFA, Sec. 2.2; Liu et al. 2022)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asc_sweeps.models.architecture import gate_channels
from asc_sweeps.models.blocks import EPS, depthwise, pointwise
from asc_sweeps.models.res2 import Res2


class FrequencyChannelGate(nn.Module):
    """Gates each channel and frequency by the mean over time, through a bottleneck of about half the channels.

    Shape: [B, C, F, T] -> the same.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = gate_channels(channels)
        self.squeeze = pointwise(channels, hidden)
        self.excite = pointwise(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(torch.relu(self.squeeze(x.mean(dim=3, keepdim=True))))
        return x * torch.sigmoid(gate)


def attention_unit(channels: int, scale: int) -> Res2:
    """The unit after the stem and after each stage: a Res2 split in which every slice is gated, before it is added to the next.
    Shape: [B, C, F, T] -> the same; C must divide by `scale`.
    """

    def gated_filter(part: int) -> nn.Module:
        return nn.Sequential(
            depthwise(part, 3, 3), nn.BatchNorm2d(part, eps=EPS), nn.ReLU(), FrequencyChannelGate(part)
        )

    return Res2(channels, scale, gated_filter, first=FrequencyChannelGate)
