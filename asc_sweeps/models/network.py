"""The ASC network of Table 1: stem, four stages, feature pyramid or average, classifier."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from asc_sweeps.config.setting_groups import ModelConfig
from asc_sweeps.data.labels import SCENES
from asc_sweeps.models.architecture import BLOCKS_PER_STAGE, POOLED_STAGES, stage_channels
from asc_sweeps.models.attention import attention_unit
from asc_sweeps.models.blocks import BLOCKS, EPS, pointwise
from asc_sweeps.models.fpm import FeaturePyramid
from asc_sweeps.models.norms import ResNorm

Body = Callable[["Network", Tensor], Tensor | None]
"""Computes the features before the classifier, [B, channels], or declines with None."""


class Network(nn.Module):
    """Log-mel spectrogram to scene logits.

    `body`: an optional faster implementation of everything before the classifier, called with the network and its input. It returns
    features [B, channels], or None for an input that the layers should compute. `training.build_network` sets it.
    Shape: [B, 1, F, T] -> [B, scenes]; F must be divisible by 8 x sub_bands, T is free.
    """

    def __init__(self, config: ModelConfig, scenes: int = len(SCENES), body: Body | None = None) -> None:
        super().__init__()
        self.config, self.scenes, self.body = config, scenes, body
        self.width, self.sub_bands = config.width, config.sub_bands
        c = config.width
        channels = stage_channels(c)
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
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        if self.body is not None and (features := self.body(self, x)) is not None:
            return functional.linear(features, self.classifier.weight.flatten(1), self.classifier.bias)
        x = self.stem(x)
        outputs = []
        for i, stage in enumerate(self.stages):
            x = stage(self.pool(x) if i in POOLED_STAGES else x)
            outputs.append(x)
        if self.pyramid is not None:
            return self.classifier(self.pyramid(outputs))
        return self.classifier(x).mean(dim=(2, 3))

    def reset_classifier(self) -> None:
        """Reinitialize the classifier, for fine-tuning (Sec. 3)."""
        _initialise(self.classifier)

    def body_parameters(self) -> list[nn.Parameter]:
        """All parameters except the classifier's, as in the sum of Eq. 3."""
        return [p for name, p in self.named_parameters() if not name.startswith("classifier.")]


def _stage(channels_in: int, channels_out: int, blocks: int, config: ModelConfig) -> nn.Sequential:
    block = BLOCKS[config.block]
    layers: list[nn.Module] = [
        block(channels_in if i == 0 else channels_out, channels_out, config) for i in range(blocks)
    ]
    layers.append(ResNorm(config.resnorm))
    if config.mfa:
        layers.append(attention_unit(channels_out, config.scale))
    return nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
