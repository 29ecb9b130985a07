"""A search space: the settings that a study fixes, and those that it varies over a grid or by search; planned into trials.

Knows settings; nothing of YAML, torch, Ray or the workspace.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Literal, TypeGuard, get_args

from pydantic import AfterValidator, ConfigDict, Field, InstanceOf
from pydantic.dataclasses import dataclass as validated_dataclass
from pydantic_core import PydanticCustomError

from asc_sweeps.config.conditions import Condition
from asc_sweeps.config.setting_groups import Count, Positive
from asc_sweeps.config.settings import Setting, make_config, values_with_defaults
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import ConfigError

MAX_TRIALS = 10_000
Size = Literal["params", "macs", "model_bytes"]
Objective = Literal["validation_log_loss", "validation_accuracy", Size]
SIZES: tuple[str, ...] = get_args(Size)
"""What is counted before any training, as exact integers, and so can be limited."""
OBJECTIVES: Mapping[str, str] = {"validation_log_loss": "minimize", "validation_accuracy": "maximize"} | dict.fromkeys(
    SIZES, "minimize"
)
"""What a search can optimize, in which direction. The test split is scored and stored, never optimized."""
TRACKERS = ("tensorboard", "mlflow", "wandb")


@dataclass(frozen=True)
class Parameter:
    """A setting that a search draws: one of `choices`, or a number from `low` to `high`, both included."""

    name: str
    location: str
    """`file:line:column`."""
    choices: tuple[object, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    when: Condition | None = None
    """Drawn only where this holds for the parameters before it; elsewhere the setting keeps its fixed or default value."""

    def admits(self, value: object) -> bool:
        """Whether the value could be drawn."""
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        return is_number(value) and self.low <= value <= self.high

    def extremes(self) -> tuple[object, ...]:
        """Values that are all valid settings if every value is."""
        return self.choices or (self.low, self.high)


def is_number(value: object) -> TypeGuard[int | float]:
    """Whether a value is a number; true and false are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _distinct(values: tuple[Objective, ...]) -> tuple[Objective, ...]:
    if not values or len(set(values)) < len(values):
        raise PydanticCustomError("distinct", "must list at least one value, each once")
    return values


def _in_order(limits: dict[Size, int]) -> dict[Size, int]:
    return {name: limits[name] for name in get_args(Size) if name in limits}


@validated_dataclass(frozen=True, config=ConfigDict(strict=True))
class Search:
    """How a study searches for good settings instead of trying all of a grid."""

    parameters: tuple[InstanceOf[Parameter], ...]
    trials: Annotated[int, Field(ge=1, le=MAX_TRIALS)]
    """Trials to run; points that exceed a limit are rejected before training and do not count."""
    sampler: Literal["tpe", "random", "nsga2"] = "tpe"
    seed: Count = 0
    """The sampler's."""
    objectives: Annotated[tuple[Objective, ...], AfterValidator(_distinct)] = ("validation_log_loss",)
    limits: Annotated[dict[Size, Positive], AfterValidator(_in_order)] = field(default_factory=dict)
    """Hard limits, e.g. 30,000,000 `macs`, checked before any training."""
    first: tuple[tuple[InstanceOf[Setting], ...], ...] = ()
    """Points to try before the sampler draws any."""


@validated_dataclass(frozen=True, config=ConfigDict(strict=True))
class Scheduler:
    """Asynchronous successive halving (ASHA): of the trials that reach a rung, only the best 1 / `reduction` continue."""

    grace_epochs: Positive = 1
    """Epochs that no trial is stopped before."""
    reduction: Annotated[int, Field(ge=2)] = 3


@dataclass(frozen=True)
class SearchSpace:
    """A study at one of its two sizes: fixed settings, and either a grid or a search."""

    study: str
    settings: tuple[Setting, ...]
    grid: tuple[tuple[tuple[Setting, ...], ...], ...]
    """Blocks of the grid; a block is its axes, an axis its values. Empty for a search."""
    seeds: tuple[int, ...]
    mini: bool
    source: str
    """The file's name, for messages."""
    condition: Condition | None = None
    """Points for which it does not hold are omitted."""
    search: Search | None = None
    scheduler: Scheduler | None = None
    track: tuple[tuple[str, str], ...] = ()
    """Trackers that get the trials' metrics (`mlflow`), each with its address; empty for the default one."""

    def validation_problems(self, trials: Iterable[TrialConfig | None]) -> list[str]:
        """The problem of a search or scheduler that watches validation scores where a trial holds out no validation data."""
        objectives = self.search.objectives if self.search else ()
        watches = self.scheduler or any(name.startswith("validation") for name in objectives)
        if not watches or all(t is None or t.data.validation_share for t in trials):
            return []
        rule = "a search or scheduler needs validation data, but data.validation_share is 0; set it, e.g. to 0.1"
        return [f"{self.source}: {rule}"]

    def trials(self, overrides: Sequence[Setting] = (), seeds: Sequence[int] | None = None) -> list[TrialConfig]:
        """The distinct trials of a grid, every point of every block with every seed; none for a search.

        `overrides` win over the file's settings. Raises ConfigError with the problems of all points at once.
        """
        if not overrides and seeds is None:
            return list(self._own_trials)
        return self._trials(overrides, self.seeds if seeds is None else seeds, seeds is not None)

    @cached_property
    def _own_trials(self) -> list[TrialConfig]:
        """Those without overrides, which validate the file and are what most commands ask for."""
        return self._trials((), self.seeds, seeds_given=False)

    def _trials(self, overrides: Sequence[Setting], seeds: Sequence[int], seeds_given: bool) -> list[TrialConfig]:
        problems: list[str] = []
        axis = next((axis for block in self.grid for axis in block if axis[0].name == "seed"), None)
        if seeds_given and axis:
            problems.append(f"{axis[0].location}: the grid varies `seed`, so --seeds cannot be used; remove one")
        count = sum(math.prod(len(axis) for axis in block) for block in self.grid) * len(seeds)
        if count > MAX_TRIALS:
            raise ConfigError([f"{self.source}: a grid may have at most {MAX_TRIALS:,} trials; got {count:,} trials"])
        trials: dict[TrialConfig, None] = {}
        points = [point for block in self.grid for point in itertools.product(*block)]
        for seed, point in itertools.product(seeds, points):
            try:
                if config := self.trial(point, seed, overrides):
                    trials.setdefault(config)
            except ConfigError as error:
                problems += error.problems
        if self.condition and count and not problems and not trials:
            problems.append(f"{self.source}: `where` excludes every point of the grid: {self.condition.text}")
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return list(trials)

    def trial(self, point: Iterable[Setting], seed: int, overrides: Sequence[Setting] = ()) -> TrialConfig | None:
        """The trial at one point, None where `where` omits it. Raises ConfigError with all its problems."""
        point = tuple(point)
        # A point turns on a phase that the settings turn off; an override turns on one that either turns off.
        on_by_override = {s.name.partition(".")[0] for s in overrides if "." in s.name}
        on = {s.name.partition(".")[0] for s in point if "." in s.name} | on_by_override
        fixed = [s for s in self.settings if s.name not in {"seed", *on}]
        point = tuple(s for s in point if s.name not in on_by_override)
        settings = [*fixed, Setting("seed", seed, self.source), *point, *overrides]
        if self.condition and not self.condition.holds(values_with_defaults(settings)):
            return None
        return make_config(settings)

    def probes(self) -> Iterator[tuple[Setting, ...]]:
        """Points of a search that together contain every value that could be invalid."""
        if self.search:
            yield from self.search.first
            for p in self.search.parameters:
                yield from ((Setting(p.name, value, p.location),) for value in p.extremes())


def point_settings(values: Mapping[str, object], location: str) -> tuple[Setting, ...]:
    """The settings of a drawn point."""
    return tuple(Setting(name, value, location) for name, value in values.items())
