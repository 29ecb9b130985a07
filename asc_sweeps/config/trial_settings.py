"""Every setting of a trial that can change a number: the groups together, and the rules between groups."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Self, get_args

from pydantic import Field, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

from asc_sweeps.config.setting_groups import (
    AugmentConfig,
    ComputeConfig,
    Count,
    DataConfig,
    DistillConfig,
    EvaluateConfig,
    FeatureConfig,
    FinetuneConfig,
    ModelConfig,
    PerDeviceConfig,
    PretrainConfig,
    QuantizeConfig,
    Settings,
)

PHASES = ("finetune", "distill", "per_device", "quantize", "evaluate")
"""The optional phases after pretraining, in this order; each starts from the network before it."""


class TrialSettings(Settings):
    """Pretraining and, after it, each of `PHASES` that is not None."""

    seed: Count = Field(0, description="Seed of weights, order, augmentation and dropping")
    data: DataConfig = DataConfig()
    features: FeatureConfig = FeatureConfig()
    augment: AugmentConfig = AugmentConfig()
    compute: ComputeConfig = ComputeConfig()
    model: ModelConfig = ModelConfig()
    pretrain: PretrainConfig = PretrainConfig()
    finetune: FinetuneConfig | None = None
    distill: DistillConfig | None = None
    per_device: PerDeviceConfig | None = None
    quantize: QuantizeConfig | None = None
    evaluate: EvaluateConfig | None = None

    @model_validator(mode="after")
    def _bands_fit(self) -> Self:
        step = 8 * self.model.sub_bands
        if self.features.n_mels % step:
            raise PydanticCustomError(
                "n_mels",
                f"features.n_mels must be a multiple of {step}, so that F/8 divides by the {self.model.sub_bands} "
                f"sub-bands; got {self.features.n_mels}",
            )
        return self

    @model_validator(mode="after")
    def _one_network_is_quantized(self) -> Self:
        if self.per_device is not None and self.quantize is not None:
            raise PydanticCustomError(
                "per_device", "per_device and quantize exclude each other: integer networks cannot be fine-tuned"
            )
        return self

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As pydantic's, but cached properties are computed anew for the copy."""
        copy = super().model_copy(update=update, deep=deep)
        for name in copy.__dict__.keys() - type(self).model_fields.keys():
            del copy.__dict__[name]
        return copy


def non_defaults(settings: Settings) -> dict[str, Any]:
    """The settings that differ from their defaults, nested; a phase that is on appears even if all of it is default.

    >>> non_defaults(TrialSettings(seed=3, finetune=FinetuneConfig()))
    {'seed': 3, 'finetune': {}}
    """
    values, defaults = vars(settings), _defaults(type(settings))
    # Most groups are the default objects themselves, and pydantic compares slowly.
    changed = {n: values[n] for n, usual in defaults.items() if values[n] is not usual and values[n] != usual}
    changed = {n: value + 0.0 if isinstance(value, float) else value for n, value in changed.items()}  # no minus zero
    return {n: non_defaults(value) if isinstance(value, Settings) else value for n, value in changed.items()}


@functools.cache
def _defaults(kind: type[Settings]) -> dict[str, Any]:
    return {name: field.default for name, field in kind.model_fields.items()}


@functools.cache
def setting_fields() -> Mapping[str, FieldInfo]:
    """Every setting's pydantic field (default, description) by dotted name, in the order of the code."""

    def walk(model: type[Settings], prefix: str) -> Iterable[tuple[str, FieldInfo]]:
        for name, field in model.model_fields.items():
            kinds = (field.annotation, *get_args(field.annotation))
            group = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Settings)), None)
            if group:
                yield from walk(group, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", field

    return MappingProxyType(dict(walk(TrialSettings, "")))
