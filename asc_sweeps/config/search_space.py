"""A search space: what a study fixes, and what it varies, over a grid or by search; planned into trials.

Knows settings; nothing of YAML, torch, Ray or the workspace.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from asc_sweeps.config.conditions import Condition
from asc_sweeps.config.settings import Setting, make_config, values_with_defaults
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import ConfigError

MAX_TRIALS = 10_000
OBJECTIVES = {
    "validation_log_loss": "minimize",
    "validation_accuracy": "maximize",
    "params": "minimize",
    "macs": "minimize",
    "model_bytes": "minimize",
}
"""What a search may look at, and which way. The test split is scored and stored, never searched on."""
SIZES = ("params", "macs", "model_bytes")
"""Those of them that are counted before any training, as exact integers: what can be limited."""
TRACKERS = ("tensorboard", "mlflow", "wandb")
SAMPLERS = ("tpe", "random", "nsga2")


@dataclass(frozen=True)
class Parameter:
    """One setting that a search draws: one of `choices`, or a number from `low` to `high`, both included."""

    name: str
    where: str
    """Its place in the file."""
    choices: tuple[object, ...] = ()
    low: float = 0
    high: float = 0
    log: bool = False
    step: float | None = None
    when: Condition | None = None
    """Drawn only where this holds of what stands above it; otherwise the setting has its usual value."""

    def admits(self, value: object) -> bool:
        """Whether it could be drawn."""
        if self.choices:
            return any(value == choice and type(value) is type(choice) for choice in self.choices)
        return isinstance(value, int | float) and not isinstance(value, bool) and self.low <= value <= self.high

    def extremes(self) -> tuple[object, ...]:
        """The values that show whether all are allowed."""
        return self.choices or (self.low, self.high)


@dataclass(frozen=True)
class Search:
    """How a study looks for good settings instead of trying all of a grid."""

    parameters: tuple[Parameter, ...]
    trials: int
    """Settings to try; those that a limit refuses before training do not count."""
    sampler: str = "tpe"
    seed: int = 0
    """Of the sampler."""
    objectives: tuple[str, ...] = ("validation_log_loss",)
    limits: tuple[tuple[str, int], ...] = ()
    """Hard limits, e.g. (`macs`, 30,000,000), counted before any training."""
    first: tuple[tuple[Setting, ...], ...] = ()
    """Points to try before the sampler draws any."""


@dataclass(frozen=True)
class Scheduler:
    """Asynchronous successive halving (ASHA): of the trials that reach a rung, only the best 1 / `reduction` go on."""

    grace_epochs: int = 1
    """Epochs that every trial gets."""
    reduction: int = 3


@dataclass(frozen=True)
class SearchSpace:
    """A study at one of its two sizes: fixed settings, and either a grid or a search."""

    study: str
    about: str
    settings: tuple[Setting, ...]
    grid: tuple[tuple[tuple[Setting, ...], ...], ...]
    """Blocks of the grid; a block is its axes, an axis its values. Empty where there is a search."""
    seeds: tuple[int, ...]
    mini: bool
    source: str
    """The file's name, for messages."""
    condition: Condition | None = None
    """Points of which it does not hold are left out."""
    search: Search | None = None
    scheduler: Scheduler | None = None
    track: tuple[tuple[str, str], ...] = ()
    """What else hears of the trials (`mlflow`), and where it is; nothing for its usual place."""

    def blind(self, trials: Iterable[TrialConfig | None]) -> list[str]:
        """The problem of a search or scheduler that looks at validation where trials hold nothing out for it; none else."""
        objectives = self.search.objectives if self.search else ()
        watches = self.scheduler or any(name.startswith("validation") for name in objectives)
        if not watches or all(t is None or t.data.validation_share for t in trials):
            return []
        rule = "a search or scheduler looks at validation, but data.validation_share is 0; set it, e.g. to 0.1"
        return [f"{self.source}: {rule}"]

    def trials(self, overrides: Sequence[Setting] = (), seeds: Sequence[int] | None = None) -> list[TrialConfig]:
        """The trials of the grid, equal ones once: every point of every block, with every seed; none for a search.

        `overrides` win over the file's settings. Raises ConfigError with all problems of all points at once.
        """
        if not overrides and seeds is None:
            return list(self._own_trials)
        return self._trials(overrides, seeds)

    @cached_property
    def _own_trials(self) -> list[TrialConfig]:
        """Without overrides: made when the file is read, to look for its mistakes, and asked for again by most commands."""
        return self._trials()

    def _trials(self, overrides: Sequence[Setting] = (), seeds: Sequence[int] | None = None) -> list[TrialConfig]:
        problems: list[str] = []
        varied = next((axis[0].where for block in self.grid for axis in block for s in axis if s.name == "seed"), None)
        if seeds is not None and varied:
            problems.append(f"{varied}: the grid varies `seed` itself, so --seeds cannot; leave one of them away")
        chosen = self.seeds if seeds is None else seeds
        count = sum(math.prod(len(axis) for axis in block) for block in self.grid) * len(chosen)
        if count > MAX_TRIALS:
            raise ConfigError([f"{self.source}: {count:,} trials with {len(chosen):,} seeds, more than {MAX_TRIALS:,}"])
        trials: dict[TrialConfig, None] = {}
        for seed, point in itertools.product(chosen, self._points()):
            try:
                config = self.trial(point, seed, overrides)
                if config:
                    trials.setdefault(config)
            except ConfigError as error:
                problems += error.problems
        if not problems and count and not trials:
            problems.append(
                f"{self.source}: no point of the grid fulfils `where`: {self.condition and self.condition.text}"
            )
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return list(trials)

    def trial(self, point: Iterable[Setting], seed: int, overrides: Sequence[Setting] = ()) -> TrialConfig | None:
        """The trial at one point, None where `where` leaves it out. Raises ConfigError with all its problems."""
        point = tuple(point)
        fixed = [s for s in self.settings if s.name != "seed"]
        # A point turns on a phase that the settings turn off; an override turns on one that either does.
        by_override = {s.name.partition(".")[0] for s in overrides if "." in s.name}
        on = {s.name.partition(".")[0] for s in point if "." in s.name} | by_override
        fixed = [s for s in fixed if s.name not in on]
        point = tuple(s for s in point if s.name not in by_override)
        settings = [*fixed, Setting("seed", seed, self.source), *point, *overrides]
        if self.condition and not self.condition.holds(values_with_defaults(settings)):
            return None
        return make_config(settings)

    def probes(self) -> Iterator[tuple[Setting, ...]]:
        """Points of the search that between them show every value that could be wrong."""
        if self.search:
            yield from self.search.first
            for p in self.search.parameters:
                yield from ((Setting(p.name, value, p.where),) for value in p.extremes())

    def _points(self) -> Iterator[tuple[Setting, ...]]:
        for block in self.grid:
            yield from itertools.product(*block)


def point_settings(values: Mapping[str, object], where: str) -> tuple[Setting, ...]:
    """The settings of a drawn point."""
    return tuple(Setting(name, value, where) for name, value in values.items())
