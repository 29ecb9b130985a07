"""What a study will do: its trials and their starts, what is finished already, what is left. Runs nothing."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from asc_sweeps.config.gc_pause import gc_paused
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.training.finished import complexity_of, find_result
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import Complexity


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of a plan."""

    config: TrialConfig
    complexity: Complexity
    finished: bool
    """A result of an equal trial is stored."""
    stopped: bool
    """Its study stopped it early, and does not ask for more of it."""
    studies: tuple[str, ...]
    """The studies that list it; empty for a start that only another trial needs."""

    @property
    def cost(self) -> float:
        """Relative training time: epochs x (MACs + what every layer costs however narrow it is); a little where none is trained."""
        return (self.config.epochs or 0.1) * self.cost_of_epoch

    @property
    def cost_of_epoch(self) -> float:
        """Of one epoch over one-second segments, in the same unit."""
        return complexity_of(self.config, 1.0).macs + 2e6


@dataclass(frozen=True)
class Plan:
    """Distinct trials, each after its start."""

    trials: list[PlannedTrial]
    listed: int
    """Trials that the studies list, counted once for each study."""
    naive_epochs: int
    """Epochs if each of them were trained on its own, from random weights."""

    @property
    def todo(self) -> list[PlannedTrial]:
        """The trials that are left to run."""
        return [t for t in self.trials if not t.finished and not t.stopped]

    @property
    def starts(self) -> set[str]:
        """Signatures of the trials that those left to run build on."""
        return {needed.signature for t in self.todo for needed in t.config.dependencies}


def planned(
    config: TrialConfig, workspace: Workspace, studies: Sequence[str] = (), stopped: bool = False
) -> PlannedTrial:
    """One trial as a plan holds it."""
    return _planned(config, find_result(config, workspace) is not None, studies, stopped)


def _planned(config: TrialConfig, finished: bool, studies: Sequence[str], stopped: bool) -> PlannedTrial:
    return PlannedTrial(config, complexity_of(config), finished, stopped and not finished, tuple(studies))


@gc_paused()
def make_plan(
    studies: Mapping[str, Sequence[TrialConfig]],
    workspace: Workspace,
    stopped: Mapping[str, Collection[str]] = MappingProxyType({}),
) -> Plan:
    """The distinct trials of some studies, given as name -> trials, with the starts they need.

    `stopped`: by study, signatures of trials that it stopped early. They are left as they are unless another study lists
    them as well, or a trial that is still to run builds on them.
    """
    wanted: dict[str, tuple[TrialConfig, list[str]]] = {}
    for study, trials in studies.items():
        for config in trials:
            wanted.setdefault(config.signature, (config, []))[1].append(study)
    chains = {signature: with_dependencies(config) for signature, (config, _) in wanted.items()}
    finished = {signature: find_result(config, workspace) is not None for signature, (config, _) in wanted.items()}
    naive = sum(len(wanted[name][1]) * sum(step.epochs for step in chain) for name, chain in chains.items())
    for name, chain in chains.items():
        if not finished[name]:  # what is finished needs nothing any more
            for needed in chain[:-1]:
                wanted.setdefault(needed.signature, (needed, []))
    finished |= {s: find_result(c, workspace) is not None for s, (c, _) in wanted.items() if s not in finished}
    # Starts first; among equals the order of the files.
    ordered = sorted(wanted.values(), key=lambda entry: entry[0].depth)
    ends = {s for s, (_, names) in wanted.items() if names and all(s in stopped.get(name, ()) for name in names)}
    chains |= {s: with_dependencies(config) for s, (config, _) in wanted.items() if s not in chains}
    needs = {n.signature for s, chain in chains.items() if s not in ends for n in chain[:-1]}
    left = ends - needs
    trials = [_planned(c, finished[c.signature], names, c.signature in left) for c, names in ordered]
    return Plan(trials, sum(len(configs) for configs in studies.values()), naive)


def with_dependencies(config: TrialConfig) -> list[TrialConfig]:
    """A trial after everything that it builds on, each once, in an order in which they can be run.

    >>> from asc_sweeps.config.setting_groups import EvaluateConfig, FinetuneConfig
    >>> [t.phase for t in with_dependencies(TrialConfig(finetune=FinetuneConfig(), evaluate=EvaluateConfig(seconds=5)))]
    ['pretraining', 'fine-tuning (drop rate 0.90)', 'fine-tuning (drop rate 0.90), clips of 5 s']
    """
    found = {t.signature: t for needed in config.dependencies for t in with_dependencies(needed)}
    return [*found.values(), config]


def distinct_models(trials: Iterable[TrialConfig]) -> list[dict[str, object]]:
    """Counted networks of some trials, one row each, for a study's record."""
    rows = {}
    for config in trials:
        n, model, features = complexity_of(config, 1.0), config.model, config.features
        names = ("block", "width", "mfa", "fpm", "stem_attention", "scale", "sub_bands")
        traits = {name: getattr(model, name) for name in names}
        size = {"n_mels": features.n_mels, "hop": features.hop, "params": n.params, "macs": n.macs}
        rows[config.system, *traits.values(), *size.values()] = {"system": config.system, **traits, **size}
    return list(rows.values())
