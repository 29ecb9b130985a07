"""What the command line asks for, as studies and settings; imports nothing slow."""

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
    """Studies at one size, and the settings that override their files'."""

    spaces: tuple[str, ...]
    mini: bool
    overrides: tuple[Setting, ...] = ()
    seeds: tuple[int, ...] | None = None
    options: tuple[str, ...] = ()
    """The command's other arguments, to record how to run it again."""
    report: Path | None = None
    """A report whose studies are run, instead of files; all of them if `spaces` is empty."""

    def command(self, space: str) -> str:
        """The command that runs one study of the request again."""
        return shlex.join(["asc-sweeps", "sweep", space, *(["--mini"] if self.mini else []), *self.options])


@dataclass(frozen=True)
class Study:
    """One study of a request, with its trials."""

    name: str
    """As requested: a shipped study or a path."""
    space: SearchSpace
    trials: tuple[TrialConfig, ...]
    full_size: tuple[TrialConfig, ...]
    """The file's trials at the paper's size, whose networks are counted whatever is trained."""
    overrides: tuple[Setting, ...]
    seeds: tuple[int, ...]
    probes: tuple[TrialConfig, ...] = ()
    """Trials that a search could draw; empty for a grid."""

    @property
    def record_name(self) -> str:
        """The name of its record and its Optuna study: the study's, with its size."""
        return f"{self.space.study}-mini" if self.space.mini else self.space.study


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs, and what a trial gets of it."""

    address: str | None = None
    """None starts a local Ray."""
    workers: int | None = None
    """Concurrent trials on a local Ray; None is one per core."""
    cpus_per_trial: int = 1
    gpus_per_trial: float | None = None
    """None is one where there are GPUs; fractions share a GPU."""
    wait_minutes: float = 0.0
    """How long to wait for autoscaled nodes."""
    allow_open: bool = False
    """Join a cluster without token authentication, on which whoever reaches it can run commands."""


def read_request(
    spaces: tuple[str, ...],
    mini: bool,
    data: str | None,
    sets: Sequence[str],
    seeds: str | None,
    options: tuple[str, ...] = (),
    report: Path | None = None,
) -> Request:
    """The request of a command's arguments; raises ConfigError for invalid ones."""
    return Request(spaces, mini, parse_overrides(sets, data), parse_seeds(seeds) if seeds else None, options, report)


@gc_paused()
def load_studies(request: Request) -> list[Study]:
    """The studies of a request; raises ConfigError with the problems of all files at once."""
    studies, problems = [], list[str]()
    if request.seeds is not None and any(s.name == "seed" for s in request.overrides):
        problems.append("--seeds and --set seed=... exclude each other; remove one")
    stored = _stored_spaces(request.report, request.mini) if request.report else None
    for name in dict.fromkeys(request.spaces or stored or ()):
        try:
            studies.append(_load_study(name, request, stored, problems))
        except ConfigError as error:
            problems += error.problems
    spaces = [study.space for study in studies]
    if len({space.study for space in spaces}) < len(spaces):
        files = ", ".join(f"{space.source} ({space.study})" for space in spaces)
        problems.append(f"each file must name a different `study`; got {files}")
    if problems:
        raise ConfigError(problems)
    return studies


def _load_study(name: str, request: Request, stored: Mapping[str, str] | None, problems: list[str]) -> Study:
    """A study of a file, or of the search spaces `stored` in a report."""
    if stored is None:
        sizes = load_sizes(name, request.mini)
    elif name in stored:
        sizes = {False: read_space(stored[name], f"{name}.yaml")}
    else:
        raise ConfigError([f"the report has no study '{name}'{did_you_mean(name, stored)}; known: {', '.join(stored)}"])
    space = sizes[request.mini]
    trials = space.trials(request.overrides, request.seeds)
    full_size = sizes[False].trials() if request.mini else trials
    seeds = request.seeds or space.seeds
    probes = [t for point in space.probes() if (t := space.trial(point, seeds[0], request.overrides))]
    problems += space.validation_problems([*trials, *probes])
    return Study(name, space, tuple(trials), tuple(full_size), request.overrides, seeds, tuple(probes))


def _stored_spaces(report: Path, mini: bool) -> Mapping[str, str]:
    """The search spaces in a report by name; each lists its trials as they were run."""
    if mini:
        raise ConfigError([f"--from {report}: its studies have the size they were run at; omit --mini"])
    spaces = spaces_in_report(report)
    if not spaces:
        raise ConfigError([f"--from {report}: the report has no study whose trials' settings are known"])
    return spaces


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` is seeds 0, 1, 2; `4,7` is these two, `4,` that one. Raises ConfigError otherwise.

    >>> parse_seeds("3"), parse_seeds("4,7"), parse_seeds("4,")
    ((0, 1, 2), (4, 7), (4,))
    """
    parts = [part.strip() for part in text.split(",")]
    is_list = len(parts) > 1
    if is_list and not parts[-1]:
        parts.pop()
    if not all(p.isdecimal() and len(p) < 10 for p in parts) or (not is_list and int(parts[0]) == 0):
        raise ConfigError([f"--seeds {text}: must be a number of seeds (3) or a list of seeds (0,1,7)"])
    numbers = tuple(dict.fromkeys(int(p) for p in parts))
    if is_list:
        return numbers
    if numbers[0] > MAX_TRIALS:
        raise ConfigError(
            [f"--seeds {text}: at most {MAX_TRIALS:,} seeds; the single seed {text} is written --seeds {text},"]
        )
    return tuple(range(numbers[0]))


def parse_overrides(sets: Sequence[str], data: str | None) -> tuple[Setting, ...]:
    """The settings of `--set NAME=VALUE` and `--data DIR`; raises ConfigError for a `--set` without `=`."""
    problems = [f"--set {text}: must be NAME=VALUE, e.g. --set model.width=48" for text in sets if "=" not in text]
    if problems:
        raise ConfigError(problems)
    pairs = [(text, *text.split("=", 1)) for text in sets]
    settings = [Setting(name.strip(), read_scalar(value), f"--set {text}") for text, name, value in pairs]
    if data is not None:
        settings.append(Setting("data.dataset", data if "/" in data else f"./{data}", "--data"))
    return tuple(settings)
