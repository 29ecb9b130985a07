"""What a person asks for on the command line, turned into spaces and settings; imports nothing slow."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from asc_sweeps.config.gc_pause import gc_paused
from asc_sweeps.config.replay import spaces_in_report
from asc_sweeps.config.search_space import MAX_TRIALS, SearchSpace
from asc_sweeps.config.settings import Setting
from asc_sweeps.config.space_file import load_sizes, read_space
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.yaml_nodes import read_scalar
from asc_sweeps.errors import ConfigError, did_you_mean


@dataclass(frozen=True)
class Request:
    """What a person asked for on the command line: studies at one size, with settings that win over the files'."""

    spaces: tuple[str, ...]
    mini: bool
    overrides: tuple[Setting, ...] = ()
    seeds: tuple[int, ...] | None = None
    options: tuple[str, ...] = ()
    """The other words of the command, to write down how to run it again."""
    report: Path | None = None
    """A report whose studies are meant, instead of files; all of them where `spaces` is empty."""

    def command(self, space: str) -> str:
        """The line that runs one study of the request again."""
        return shlex.join(["asc-sweeps", "sweep", space, *(["--mini"] if self.mini else []), *self.options])


@dataclass(frozen=True)
class Study:
    """One study of a request: its file, read once, and its trials."""

    name: str
    """As it was asked for: a shipped study or a path."""
    space: SearchSpace
    trials: tuple[TrialConfig, ...]
    full_size: tuple[TrialConfig, ...]
    """The file's trials at the paper's size, which are counted whatever is trained."""
    overrides: tuple[Setting, ...]
    seeds: tuple[int, ...]
    probes: tuple[TrialConfig, ...] = ()
    """Trials that a search could draw; none where there is a grid."""

    @property
    def record_name(self) -> str:
        """The study with its size, as its record and its Optuna study are named."""
        return f"{self.space.study}-mini" if self.space.mini else self.space.study


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs and what it gives to a trial."""

    address: str | None = None
    """None starts a Ray of its own on this machine."""
    workers: int | None = None
    """Trials at once on a Ray of its own; None is one a core."""
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    """None is one where there are GPUs; a fraction lets trials share one."""
    wait_minutes: float = 0.0
    """How long to wait for nodes that a cluster has still to start."""
    allow_open: bool = False
    """Join a cluster that asks for no token: whoever reaches it can run commands on it."""


def read_request(
    spaces: tuple[str, ...],
    mini: bool,
    data: str | None,
    sets: Sequence[str],
    seeds: str | None,
    options: tuple[str, ...] = (),
    report: Path | None = None,
) -> Request:
    """The request of a command's words; raises ConfigError for words that are none."""
    return Request(spaces, mini, parse_overrides(sets, data), parse_seeds(seeds) if seeds else None, options, report)


@gc_paused()
def load_studies(request: Request) -> list[Study]:
    """The studies of a request; raises ConfigError with the problems of all files at once."""
    studies, problems = [], list[str]()
    if request.seeds is not None and any(s.name == "seed" for s in request.overrides):
        problems.append("--seeds and --set seed=... both name seeds; leave one of them away")
    texts = _texts_of(request.report, request.mini) if request.report else None
    for name in dict.fromkeys(request.spaces or texts or ()):
        try:
            sizes = _sizes(name, request.mini, texts)
            space = sizes[request.mini]
            trials = space.trials(request.overrides, request.seeds)
            full_size = sizes[False].trials() if request.mini else trials
            seeds = request.seeds or space.seeds
            probes = [t for p in space.probes() if (t := space.trial(p, seeds[0], request.overrides))]
            problems += space.validation_problems([*trials, *probes])
            studies.append(Study(name, space, tuple(trials), tuple(full_size), request.overrides, seeds, tuple(probes)))
        except ConfigError as error:
            problems += error.problems
    spaces = [s.space for s in studies]
    if len({s.study for s in spaces}) < len(spaces):
        problems.append(f"two of the files name the same study: {', '.join(f'{s.source} ({s.study})' for s in spaces)}")
    if problems:
        raise ConfigError(problems)
    return studies


def _texts_of(report: Path, mini: bool) -> dict[str, str]:
    """The spaces in a report, by name; each lists its trials as they were run."""
    if mini:
        raise ConfigError([f"--from {report}: its studies have the size they were run at; leave --mini away"])
    spaces = dict(spaces_in_report(report))
    if not spaces:
        raise ConfigError([f"--from {report}: holds no study with a trial whose settings are known"])
    return spaces


def _sizes(name: str, mini: bool, texts: Mapping[str, str] | None) -> dict[bool, SearchSpace]:
    """A space at its sizes: of the texts of a report by name, else of a file."""
    if texts is None:
        return load_sizes(name, mini)
    if name not in texts:
        raise ConfigError(
            [f"unknown study '{name}' in the report{did_you_mean(name, texts)}; known: {', '.join(texts)}"]
        )
    return {False: read_space(texts[name], f"{name}.yaml")}


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` is seeds 0, 1, 2; `4,7` are just these, as `4,` is just that one. Raises ConfigError otherwise.

    >>> parse_seeds("3"), parse_seeds("4,7"), parse_seeds("4,")
    ((0, 1, 2), (4, 7), (4,))
    """
    parts = [part.strip() for part in text.split(",")]
    listed = len(parts) > 1
    if listed and not parts[-1]:
        parts.pop()
    if not all(p.isdecimal() and len(p) < 10 for p in parts) or (not listed and int(parts[0]) == 0):
        raise ConfigError([f"--seeds {text}: must be a number of seeds (3) or a list of them (0,1,7)"])
    if not listed and int(parts[0]) > MAX_TRIALS:
        raise ConfigError(
            [f"--seeds {text}: more than {MAX_TRIALS:,} seeds; a single seed is written with a comma: {text},"]
        )
    numbers = tuple(dict.fromkeys(int(p) for p in parts))
    return numbers if listed else tuple(range(numbers[0]))


def parse_overrides(words: Sequence[str], data: str | None) -> tuple[Setting, ...]:
    """Settings of `--set NAME=VALUE` and `--data DIR`; raises ConfigError for a word without `=`."""
    settings, problems = [], []
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            problems.append(f"--set {word}: must be NAME=VALUE, e.g. --set model.width=48")
        settings.append(Setting(name.strip(), read_scalar(value), f"--set {word}"))
    if problems:
        raise ConfigError(problems)
    if data is not None:
        settings.append(Setting("data.dataset", data if "/" in data else f"./{data}", "--data"))
    return tuple(settings)
