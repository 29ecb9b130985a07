"""The networks written down plainly: the measure of what `asc_sweeps.models` computes, and of how fast.

One layer after the other on maps [B, C, F, T], in torch's default memory layout, with torch's own backward passes. Weights have
the names that they have in `asc_sweeps.models`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from asc_sweeps.config import ModelConfig

EPS = 1e-6
BLOCKS_PER_STAGE = (2, 2, 2, 3)


def pointwise(channels_in: int, channels_out: int) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 1, bias=False)


def depthwise(channels: int, height: int, width: int) -> nn.Conv2d:
    padding = (height // 2, width // 2)
    return nn.Conv2d(channels, channels, (height, width), padding=padding, groups=channels, bias=False)


class SubSpectralNorm(nn.Module):
    def __init__(self, channels: int, sub_bands: int) -> None:
        super().__init__()
        self.sub_bands = sub_bands
        self.norm = nn.BatchNorm2d(channels * sub_bands)

    def forward(self, x: Tensor) -> Tensor:
        b, c, f, t = x.shape
        bands = x.reshape(b, c * self.sub_bands, f // self.sub_bands, t)
        return self.norm(bands).reshape(b, c, f, t)


class ResNorm(nn.Module):
    def __init__(self, weight: float, eps: float = 1e-8) -> None:
        super().__init__()
        self.weight, self.eps = weight, eps

    def forward(self, x: Tensor) -> Tensor:
        variance, mean = torch.var_mean(x, dim=(1, 3), correction=0, keepdim=True)
        return self.weight * x + (x - mean) * torch.rsqrt(variance + self.eps)


class Res2(nn.Module):
    def __init__(
        self,
        channels: int,
        scale: int,
        operator: Callable[[int], nn.Module],
        first: Callable[[int], nn.Module] = lambda channels: nn.Identity(),
    ) -> None:
        super().__init__()
        self.scale = scale
        part = channels // scale
        self.operators = nn.ModuleList([first(part), *(operator(part) for _ in range(scale - 1))])

    def forward(self, x: Tensor) -> Tensor:
        outputs: list[Tensor] = []
        for i, (operator, part) in enumerate(zip(self.operators, x.chunk(self.scale, dim=1), strict=True)):
            outputs.append(operator(part if i < 2 else part + outputs[-1]))
        return torch.cat(outputs, dim=1)


class FrequencyChannelGate(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels // 2 + channels // 2 % 2
        self.squeeze = pointwise(channels, hidden)
        self.excite = pointwise(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = self.excite(torch.relu(self.squeeze(x.mean(dim=3, keepdim=True))))
        return x * torch.sigmoid(gate)


def attention_unit(channels: int, scale: int) -> Res2:
    def gated_filter(part: int) -> nn.Module:
        return nn.Sequential(
            depthwise(part, 3, 3), nn.BatchNorm2d(part, eps=EPS), nn.ReLU(), FrequencyChannelGate(part)
        )

    return Res2(channels, scale, gated_filter, first=FrequencyChannelGate)


class BroadcastedBlock(nn.Module):
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


class FeaturePyramid(nn.Module):
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


class Network(nn.Module):
    def __init__(self, config: ModelConfig, scenes: int = 10) -> None:
        super().__init__()
        c = config.width
        channels = [c, c * 3 // 2, 2 * c, c * 5 // 2]
        self.stem = nn.Sequential(
            nn.Conv2d(1, 2 * c, 5, stride=2, padding=2, bias=False), nn.BatchNorm2d(2 * c, eps=EPS), nn.ReLU()
        )
        if config.stem_attention:
            self.stem.append(attention_unit(2 * c, config.scale))
        self.stages = nn.ModuleList(
            _stage(channels_in, channels_out, blocks, config)
            for channels_in, channels_out, blocks in zip([2 * c, *channels], channels, BLOCKS_PER_STAGE, strict=False)
        )
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.pyramid = FeaturePyramid(channels, config) if config.fpm else None
        self.classifier = nn.Linear(4 * c, scenes) if config.fpm else pointwise(channels[-1], scenes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        outputs = []
        for i, stage in enumerate(self.stages):
            x = stage(self.pool(x) if i in (1, 2) else x)
            outputs.append(x)
        if self.pyramid is not None:
            return self.classifier(self.pyramid(outputs))
        return self.classifier(x).mean(dim=(2, 3))


def _stage(channels_in: int, channels_out: int, blocks: int, config: ModelConfig) -> nn.Sequential:
    block = BLOCKS[config.block]
    layers = [block(channels_in if i == 0 else channels_out, channels_out, config) for i in range(blocks)]
    layers.append(ResNorm(config.resnorm))
    if config.mfa:
        layers.append(attention_unit(channels_out, config.scale))
    return nn.Sequential(*layers)
