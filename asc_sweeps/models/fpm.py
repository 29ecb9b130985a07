"""Feature pyramid module (FPM, Sec. 2.2, Fig. 2; Jung et al. 2020), with pixel shuffle for upsampling."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.models.blocks import bcres2net_block, pointwise


class FeaturePyramid(nn.Module):
    """Projects the four stages' maps to C channels, adds them from the top down, and averages each over F and T.

    Stages 3 and 4 have the same size; upsampling to each level below is a 1x1 convolution to 4C, pixel shuffle, and a crop, since
    pooling an odd number of frames rounds up.
    Shape: [B, C, F/2, T/2], [B, 1.5C, F/4, T/4], [B, 2C, F/8, T/8], [B, 2.5C, F/8, T/8] -> [B, 4C].
    """

    def __init__(self, stage_channels: list[int], config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.lateral = nn.ModuleList(pointwise(channels, width) for channels in stage_channels)
        self.upsample = nn.ModuleList(nn.Sequential(pointwise(width, 4 * width), nn.PixelShuffle(2)) for _ in range(2))
        self.smooth = nn.ModuleList(bcres2net_block(width, width, config) for _ in stage_channels)

    def forward(self, stages: list[Tensor]) -> Tensor:
        level1, level2, level3, level4 = (lateral(x) for lateral, x in zip(self.lateral, stages, strict=True))
        level3 = level3 + level4
        level2 = level2 + _crop(self.upsample[1](level3), level2)
        level1 = level1 + _crop(self.upsample[0](level2), level1)
        levels = [level1, level2, level3, level4]
        return torch.cat([smooth(x).mean(dim=(2, 3)) for smooth, x in zip(self.smooth, levels, strict=True)], dim=1)


def _crop(x: Tensor, like: Tensor) -> Tensor:
    return x[:, :, : like.shape[2], : like.shape[3]]
