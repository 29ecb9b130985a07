"""What studies will run: their trials and all that these build on, what is finished, what is left. Runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import cast

from asc_sweeps.config.gc_pause import gc_paused
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.training.finished import FinishedTrials, ResultSummary, complexity_of
from asc_sweeps.workspace.records import Complexity, CountRow


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a plan."""

    config: TrialConfig
    complexity: Complexity
    result: ResultSummary | None
    """None unless an equal trial is finished."""
    stopped: bool
    """All of its studies stopped it early, and nothing else requires it."""
    studies: tuple[str, ...]
    """The studies that list it; empty for a trial that others only build on."""

    @property
    def finished(self) -> bool:
        """Whether the result of an equal trial is stored."""
        return self.result is not None

    @property
    def cost(self) -> float:
        """Relative training time; not zero without training."""
        return (self.config.epochs or 0.1) * self.epoch_cost

    @property
    def epoch_cost(self) -> float:
        """Relative time of an epoch over one-second segments: MACs, and what layers cost however narrow they are."""
        return complexity_of(self.config, 1.0).macs + 2e6


@dataclass(frozen=True)
class Plan:
    """Distinct trials, each after its dependencies."""

    trials: list[PlannedTrial]
    listed: int
    """Trials listed by the studies, equal ones counted for each study."""
    naive_epochs: int
    """Epochs if each listed trial were trained on its own, from random weights."""

    @property
    def todo(self) -> list[PlannedTrial]:
        """The trials that are left to run."""
        return [t for t in self.trials if not t.finished and not t.stopped]

    @property
    def starts(self) -> set[str]:
        """Signatures of the trials that those left to run build on."""
        return {dependency.signature for t in self.todo for dependency in t.config.dependencies}


def plan_trial(
    config: TrialConfig, finished: FinishedTrials, studies: Sequence[str] = (), stopped: bool = False
) -> PlannedTrial:
    """A trial as a plan holds it."""
    result = finished.find(config)
    return PlannedTrial(config, complexity_of(config), result, stopped and result is None, tuple(studies))


@gc_paused()
def make_plan(
    studies: Mapping[str, Sequence[TrialConfig]],
    finished: FinishedTrials,
    stopped: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Plan:
    """The distinct trials of studies (name -> trials) and all that they build on.

    `stopped` (study -> signatures): trials that a study stopped early. They stay stopped, unless another study lists them or a
    trial that is still to run builds on them.
    """
    configs: dict[str, TrialConfig] = {}
    listed_by: dict[str, list[str]] = {}
    for study, trials in studies.items():
        for config in trials:
            configs.setdefault(config.signature, config)
            listed_by.setdefault(config.signature, []).append(study)
    chains = {signature: with_dependencies(config) for signature, config in configs.items()}
    naive_epochs = sum(len(listed_by[s]) * sum(step.epochs for step in chain) for s, chain in chains.items())
    for *dependencies, config in chains.values():
        if finished.find(config) is None:  # a finished trial needs its dependencies no more
            for dependency in dependencies:
                configs.setdefault(dependency.signature, dependency)
    at_rest = {s for s, names in listed_by.items() if all(s in stopped.get(name, ()) for name in names)}
    active = (chains.get(s) or with_dependencies(config) for s, config in configs.items() if s not in at_rest)
    at_rest -= {dependency.signature for *dependencies, _ in active for dependency in dependencies}
    in_order = sorted(configs.items(), key=lambda item: item[1].depth)  # dependencies first, else as in the files
    trials_in_order = [plan_trial(config, finished, listed_by.get(s, ()), s in at_rest) for s, config in in_order]
    return Plan(trials_in_order, sum(map(len, studies.values())), naive_epochs)


def with_dependencies(config: TrialConfig) -> list[TrialConfig]:
    """A trial after everything that it builds on, each once, in an order in which they can be run.

    >>> from asc_sweeps.config.setting_groups import EvaluateConfig, FinetuneConfig
    >>> [t.phase for t in with_dependencies(TrialConfig(finetune=FinetuneConfig(), evaluate=EvaluateConfig(seconds=5)))]
    ['pretraining', 'fine-tuning (drop rate 0.90)', 'fine-tuning (drop rate 0.90), clips of 5 s']
    """
    chain = {t.signature: t for dependency in config.dependencies for t in with_dependencies(dependency)}
    return [*chain.values(), config]


def count_networks(trials: Iterable[TrialConfig]) -> list[CountRow]:
    """The distinct networks of some trials with their size, one row each, for a study's record."""
    rows = {}
    for config in trials:
        n, model, features = complexity_of(config, 1.0), config.model, config.features
        names = ("block", "width", "mfa", "fpm", "stem_attention", "scale", "sub_bands")
        traits = {name: getattr(model, name) for name in names}
        size = {"n_mels": features.n_mels, "hop": features.hop, "params": n.params, "macs": n.macs}
        row = {"system": config.system, **traits, **size}
        rows[tuple(row.values())] = cast("CountRow", row)  # with further keys, which it allows
    return list(rows.values())
