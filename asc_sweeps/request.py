"""What a person asks for on the command line, turned into spaces and settings; imports nothing slow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from asc_sweeps.config import TrialConfig
from asc_sweeps.errors import ConfigError
from asc_sweeps.settings import Setting
from asc_sweeps.space import SearchSpace, load_space, read_scalar


@dataclass(frozen=True)
class Request:
    """What a person asked for on the command line: studies at one size, with settings that win over the files'."""

    spaces: tuple[str, ...]
    mini: bool
    overrides: tuple[Setting, ...] = ()
    seeds: tuple[int, ...] | None = None
    options: tuple[str, ...] = ()
    """The other words of the command, to write down how to run it again."""

    def command(self, space: str | None = None) -> str:
        """The line that runs the request, or one study of it, again."""
        names = [space] if space else list(self.spaces)
        return " ".join(["asc-sweeps", "sweep", *names, *(["--mini"] if self.mini else []), *self.options])


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


def load_spaces(request: Request) -> tuple[list[SearchSpace], list[list[TrialConfig]]]:
    """The spaces and their trials; raises ConfigError with the problems of all files at once."""
    spaces, trials, problems = [], [], []
    for name in dict.fromkeys(request.spaces):
        try:
            space = load_space(name, request.mini)
            trials.append(space.trials(request.overrides, request.seeds))
            spaces.append(space)
        except ConfigError as error:
            problems += error.problems
    if len({s.study for s in spaces}) < len(spaces):
        problems.append(f"two of the files name the same study: {', '.join(f'{s.source} ({s.study})' for s in spaces)}")
    if problems:
        raise ConfigError(problems)
    return spaces, trials


def parse_seeds(text: str) -> tuple[int, ...]:
    """`3` is seeds 0, 1, 2; `4,7` are just these. Raises ConfigError otherwise.

    >>> parse_seeds("3"), parse_seeds("4,7")
    ((0, 1, 2), (4, 7))
    """
    parts = text.split(",")
    if not all(p.strip().isdigit() for p in parts) or text.strip() == "0":
        raise ConfigError([f"--seeds {text}: must be a number of seeds (3) or a list of them (0,1,7)"])
    numbers = tuple(dict.fromkeys(int(p) for p in parts))
    return tuple(range(numbers[0])) if len(parts) == 1 else numbers


def overrides_of(words: Sequence[str], data: str | None) -> tuple[Setting, ...]:
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
