"""What a trial is: every setting that can change a number, frozen and validated, and the signature they have together.

Knows nothing of files, Ray or torch.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, get_args

from pydantic import Field, ValidationError, model_validator
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

RECIPE = 1
"""Raised when the code, or a default, changes what the same settings compute: results of before then answer no more."""

PHASES = ("finetune", "distill", "per_device", "quantize", "evaluate")
"""What may come after pretraining, in this order; each starts from the network before it."""


class TrialConfig(Settings):
    """A trial is its settings: pretraining, and on top of it each of `PHASES` that is given."""

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
    def _bands_fit(self) -> TrialConfig:
        step = 8 * self.model.sub_bands
        if self.features.n_mels % step:
            raise PydanticCustomError(
                "n_mels",
                f"features.n_mels must be a multiple of {step}, so that F/8 divides by the {self.model.sub_bands} "
                f"sub-bands; got {self.features.n_mels}",
            )
        return self

    @model_validator(mode="after")
    def _one_network_is_quantized(self) -> TrialConfig:
        if self.per_device is not None and self.quantize is not None:
            raise PydanticCustomError(
                "per_device", "per_device and quantize exclude each other: networks of integers cannot be fine-tuned"
            )
        return self

    @model_validator(mode="after")
    def _teachers_are_trials(self) -> TrialConfig:
        if self.distill is not None:
            before = self.model_copy(update=dict.fromkeys(PHASES[PHASES.index("distill") :]))
            for words in self.distill.teacher_specs():
                _teacher(words, before)
        return self

    @functools.cached_property
    def epochs(self) -> int:
        """Epochs that the trial trains itself, its start's not counted."""
        match self.last_phase:
            case EvaluateConfig():
                return 0
            case FinetuneConfig() as phase:
                return phase.head_epochs + phase.epochs
            case phase:
                return phase.epochs

    @property
    def last_phase(
        self,
    ) -> PretrainConfig | FinetuneConfig | DistillConfig | PerDeviceConfig | QuantizeConfig | EvaluateConfig:
        """What this trial does itself."""
        last = self._last
        return getattr(self, last) if last else self.pretrain

    @property
    def _last(self) -> str | None:
        """The last of `PHASES` that is given."""
        values = vars(self)
        for name in reversed(PHASES):
            if values[name] is not None:
                return name
        return None

    def start(self) -> TrialConfig | None:
        """The trial whose network this one starts from, or None when it starts from random weights."""
        last = self._last
        return self.model_copy(update={last: None}) if last else None

    def teachers(self) -> list[TrialConfig | str]:
        """The teachers of a distillation: trials, or signatures of trials; none of any other trial."""
        start = self.start()
        if not isinstance(self.last_phase, DistillConfig) or start is None:
            return []
        return [_teacher(words, start) for words in self.last_phase.teacher_specs()]

    @functools.cached_property
    def dependencies(self) -> tuple[TrialConfig, ...]:
        """Trials that must be finished before this one begins: its start, and the teachers that are named by settings."""
        start = self.start()
        found = [*([start] if start else []), *(t for t in self.teachers() if not isinstance(t, str))]
        return tuple({t.signature: t for t in found}.values())

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> TrialConfig:
        """As pydantic's, but what was reckoned of this trial is not taken over by the copy."""
        copy = super().model_copy(update=update, deep=deep)
        for name in ("signature", "dependencies", "epochs"):
            copy.__dict__.pop(name, None)
        return copy

    @property
    def depth(self) -> int:
        """How many trials must follow each other until this one can begin."""
        return max((1 + needed.depth for needed in self.dependencies), default=0)

    def with_resolved_data(self, dataset: str, fingerprint: str, subset: str = "", responses: str = "") -> TrialConfig:
        """The same trial on data that were opened: names and contents take the place of folders' paths.

        `subset` and `responses`: the contents of the list of `data.subset` and of the folder of impulse responses,
        left away where the trial uses none.
        """
        listed = subset if self.data.subset < 100 else ""
        opened = {"dataset": dataset, "fingerprint": fingerprint, "subset_content": listed}
        responses = responses if self.augment.impulse_response_probability else ""
        heard = {"impulse_responses": "", "impulse_responses_content": responses}
        changed = {"data": self.data.model_copy(update=opened)}
        if any(getattr(self.augment, name) != value for name, value in heard.items()):
            changed["augment"] = self.augment.model_copy(update=heard)
        return self.model_copy(update=changed)

    @property
    def system(self) -> str:
        """The row of the paper's tables, e.g. `BC-Res2Net-40 w/ MFA & FPM`."""
        name = {"bcresnet": "BC-ResNet", "bcres2net": "BC-Res2Net"}[self.model.block]
        extras = [word for word, on in (("MFA", self.model.mfa), ("FPM", self.model.fpm)) if on]
        with_ = f" w/ {' & '.join(extras)}" if extras else ""
        return f"{name}-{self.model.width}{with_}{'' if self.model.stem_attention else ' w/o stem attention'}"

    @property
    def phase(self) -> str:
        """The phases after pretraining, in words for tables: `pretraining` alone, or e.g. `fine-tuning (drop rate 0.90), INT8`."""
        words = []
        if self.finetune:
            words.append(f"fine-tuning (drop rate {self.finetune.max_drop_rate:.2f})")
        if self.distill:
            words.append("distillation")
        if self.per_device:
            words.append("per device")
        if self.quantize:
            words.append("INT8" if self.quantize.epochs else "INT8 (converted)")
        if self.evaluate:
            words.append(f"clips of {self.evaluate.seconds} s")
        return ", ".join(words) or "pretraining"

    @functools.cached_property
    def signature(self) -> str:
        """Twelve hex digits that name the trial: a hash of `RECIPE` and the settings that differ from the defaults.

        So a setting added later, whose default means "as before", leaves every signature as it is.
        """
        identity = {"recipe": RECIPE, "settings": non_defaults(self)}
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def _teacher(words: str, start: TrialConfig) -> TrialConfig | str:
    """One teacher: the signature that `words` are, or `start` with the settings that they give."""
    if re.fullmatch(r"[0-9a-f]{12}", words):
        return words
    tree = start.model_dump()
    for word in words.split():
        name, equals, value = word.partition("=")
        group, _, leaf = name.rpartition(".")
        known = name in setting_fields() and not name.startswith("data.") and (not group or tree.get(group) is not None)
        if not equals or not known:
            raise PydanticCustomError(
                "teachers",
                "distill.teachers must be signatures, or settings of the network that distillation starts from, parted by ';', "
                f"e.g. 'seed=1; model.width=80'; got {json.dumps(word)}",
            )
        with suppress(ValueError):  # else it is a word
            value = json.loads(value)
        (tree[group] if group else tree)[leaf] = value
    try:
        return TrialConfig.model_validate(tree)
    except ValidationError as error:
        detail = error.errors()[0]
        rule = f"distill.teachers: {'.'.join(map(str, detail['loc']))}: {detail['msg']}; got {json.dumps(words)}"
        raise PydanticCustomError("teachers", rule) from None


def non_defaults(settings: Settings) -> dict[str, Any]:
    """The settings that differ from the defaults, nested as they are; a phase that is on appears even when all is default.

    >>> non_defaults(TrialConfig(seed=3, finetune=FinetuneConfig()))
    {'seed': 3, 'finetune': {}}
    """
    values, defaults = vars(settings), _defaults(type(settings))
    # Most groups are the defaults themselves, and pydantic compares slowly.
    found = {n: values[n] for n, usual in defaults.items() if values[n] is not usual and values[n] != usual}
    return {
        name: non_defaults(value) if isinstance(value, Settings) else _plain(value) for name, value in found.items()
    }


def _plain(value: Any) -> Any:
    return value + 0.0 if isinstance(value, float) else value  # minus zero is zero


@functools.cache
def _defaults(kind: type[Settings]) -> dict[str, Any]:
    return dict(vars(kind()))


@functools.cache
def setting_fields() -> Mapping[str, Any]:
    """Every setting by its dotted name, with pydantic's field (default, description), in the order of the code."""

    def walk(model: type[Settings], prefix: str) -> Iterable[tuple[str, Any]]:
        for name, field in model.model_fields.items():
            group = next((t for t in (field.annotation, *get_args(field.annotation)) if _is_group(t)), None)
            if group:
                yield from walk(group, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", field

    return MappingProxyType(dict(walk(TrialConfig, "")))


def _is_group(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Settings)
