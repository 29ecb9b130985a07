"""What a trial builds on: the trial that it starts from, and the teachers of a distillation."""

from __future__ import annotations

import functools
import json
import re
from contextlib import suppress
from typing import Self

from pydantic import ValidationError, model_validator
from pydantic_core import PydanticCustomError

from asc_sweeps.config.dotted_names import flatten_settings, nest_settings
from asc_sweeps.config.setting_groups import (
    DistillConfig,
    EvaluateConfig,
    FinetuneConfig,
    PerDeviceConfig,
    PretrainConfig,
    QuantizeConfig,
)
from asc_sweeps.config.trial_settings import PHASES, TrialSettings, setting_fields
from asc_sweeps.errors import show_value

Phase = PretrainConfig | FinetuneConfig | DistillConfig | PerDeviceConfig | QuantizeConfig | EvaluateConfig


class Lineage(TrialSettings):
    """A trial runs its last phase only; the phases before it are trials of their own."""

    @model_validator(mode="after")
    def _teachers_are_trials(self) -> Self:
        if self.distill is not None:
            student = self.model_copy(update=dict.fromkeys(PHASES[PHASES.index("distill") :]))
            for spec in self.distill.teacher_specs():
                student._teacher(spec)
        return self

    @property
    def last_phase(self) -> Phase:
        """The settings of the phase that this trial runs itself."""
        return getattr(self, self._last_phase_name or "pretrain")

    @property
    def _last_phase_name(self) -> str | None:
        values = vars(self)
        return next((name for name in reversed(PHASES) if values[name] is not None), None)

    @functools.cached_property
    def epochs(self) -> int:
        """Epochs that this trial trains itself, those of its start not counted."""
        match self.last_phase:
            case EvaluateConfig():
                return 0
            case FinetuneConfig() as phase:
                return phase.head_epochs + phase.epochs
            case phase:
                return phase.epochs

    def start(self) -> Self | None:
        """The trial whose network this one starts from; None when it starts from random weights."""
        last = self._last_phase_name
        return self.model_copy(update={last: None}) if last else None

    def teachers(self) -> list[Self | str]:
        """A distillation's teachers, as trials or signatures; empty for any other trial."""
        start = self.start()
        if not isinstance(self.last_phase, DistillConfig) or start is None:
            return []
        return [start._teacher(spec) for spec in self.last_phase.teacher_specs()]

    @functools.cached_property
    def dependencies(self) -> tuple[Self, ...]:
        """Trials that must finish before this one begins: its start, and the teachers that are given by settings."""
        start = self.start()
        trials = [*([start] if start else []), *(t for t in self.teachers() if not isinstance(t, str))]
        return tuple(dict.fromkeys(trials))

    @property
    def depth(self) -> int:
        """How many trials must finish, one after another, before this one can begin."""
        return max((1 + trial.depth for trial in self.dependencies), default=0)

    def _teacher(self, spec: str) -> Self | str:
        """The teacher that `spec` means: a signature, or this trial with other settings."""
        if re.fullmatch(r"[0-9a-f]{12}", spec):
            return spec
        settings = flatten_settings(self.model_dump())
        for word in spec.split():
            name, equals, value = word.partition("=")
            if not equals or name not in settings or name not in setting_fields() or name.startswith("data."):
                raise PydanticCustomError(
                    "teachers",
                    "distill.teachers must be signatures, or settings in which a teacher differs from the network that "
                    f"distillation starts from, separated by ';', e.g. 'seed=1; model.width=80'; got {show_value(word)}",
                )
            settings[name] = value
            with suppress(ValueError):  # not JSON: a string
                settings[name] = json.loads(value)
        try:
            return self.model_validate(nest_settings(settings))
        except ValidationError as error:
            detail = error.errors()[0]
            path = ".".join(map(str, detail["loc"]))
            rule = detail["msg"] if detail["msg"].startswith(path) else f"{path}: {detail['msg']}"
            raise PydanticCustomError("teachers", f"distill.teachers {show_value(spec)}: {rule}") from None
