"""A search space: one YAML file, read with line and column, checked, and planned into trials.

Knows YAML and settings; nothing of torch, Ray or the workspace.
"""

from __future__ import annotations

import importlib.resources
import itertools
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from asc_sweeps.config import TrialConfig
from asc_sweeps.errors import ConfigError, did_you_mean
from asc_sweeps.settings import Setting, make_config, unknown_settings

LARGEST_FILE = 1_000_000
LARGEST_PLAN = 10_000
KEYS = ("study", "about", "settings", "grid", "seeds", "mini")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: `1e-3` is a number, `no` and `1:30` are words; aliases are refused."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  (PyYAML's own class attribute)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not used in a search space", problem_mark=mark)
        return super().compose_node(parent, index)


_FLOAT = r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
for _tag, _pattern in (
    ("null", r"~|null|Null|NULL|"),
    ("bool", r"true|True|TRUE|false|False|FALSE"),
    ("int", r"[-+]?[0-9]+"),
    ("float", rf"{_FLOAT}|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"^(?:{_pattern})$"), None)
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))
_Loader.add_constructor(
    "tag:yaml.org,2002:float", lambda loader, node: float(re.sub(r"\.(?=inf|nan)", "", node.value.lower()))
)


def read_scalar(text: str) -> object:
    """The value that a text means in YAML, for `--set name=value`; a list is read too, anything else stays a word.

    >>> read_scalar("1e-3"), read_scalar("no"), read_scalar("true"), read_scalar("[1, 2]")
    (0.001, 'no', True, [1, 2])
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


@dataclass(frozen=True)
class SearchSpace:
    """A study's settings, grid and seeds, at one of its two sizes."""

    study: str
    about: str
    settings: tuple[Setting, ...]
    grid: tuple[tuple[tuple[Setting, ...], ...], ...]
    """Blocks of the grid; a block is its axes, an axis its values."""
    seeds: tuple[int, ...]
    mini: bool
    source: str
    """The file's name, for messages."""

    def trials(self, overrides: Sequence[Setting] = (), seeds: Sequence[int] | None = None) -> list[TrialConfig]:
        """The trials of the space, equal ones once: every point of every block, with every seed.

        `overrides` win over the file's settings. Raises ConfigError with all problems of all points at once.
        """
        problems: list[str] = []
        varied = next((axis[0].where for block in self.grid for axis in block for s in axis if s.name == "seed"), None)
        if seeds is not None and varied:
            problems.append(f"{varied}: the grid varies `seed` itself, so --seeds cannot; leave one of them away")
        trials: dict[str, TrialConfig] = {}
        chosen = self.seeds if seeds is None else seeds
        if self.points * len(chosen) > LARGEST_PLAN:
            raise ConfigError(
                [
                    f"{self.source}: {self.points * len(chosen):,} trials with {len(chosen):,} seeds, more than {LARGEST_PLAN:,}"
                ]
            )
        for seed, point in itertools.product(chosen, self._points()):
            try:
                config = make_config([*self.settings, Setting("seed", seed, self.source), *point, *overrides])
                trials.setdefault(config.signature, config)
            except ConfigError as error:
                problems += error.problems
        if problems:
            raise ConfigError(list(dict.fromkeys(problems)))
        return list(trials.values())

    @property
    def points(self) -> int:
        """Points of the grid, each of which is run with every seed."""
        return sum(math.prod(len(axis) for axis in block) for block in self.grid)

    def _points(self) -> Iterator[tuple[Setting, ...]]:
        for block in self.grid:
            yield from itertools.product(*block)


def load_space(name: str, mini: bool = False) -> SearchSpace:
    """The space of a shipped study (`table2_ablation`) or of a YAML file (a path ending in .yaml), at one size.

    Raises ConfigError: every problem of the file at once, as `file:line:column: rule`.
    """
    path = _find(name)
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError([f"{path.name}: larger than {LARGEST_FILE:,} bytes; a search space is a page of text"])
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), _Loader)
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path.name}: not a UTF-8 text (byte {error.start}); is it a YAML file?"]) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        text = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError([f"{path.name}{place}: not valid YAML: {text}"]) from None
    return _Reader(path.name, mini).space(node)


def shipped_spaces() -> dict[str, Path]:
    """The studies that come with the package, by name."""
    folder = importlib.resources.files("search_spaces")
    return {Path(f.name).stem: Path(str(f)) for f in sorted(folder.iterdir(), key=str) if f.name.endswith(".yaml")}


def _find(name: str) -> Path:
    if name.endswith((".yaml", ".yml")) or "/" in name:
        path = Path(name).expanduser()
        if path.is_file():
            return path
        raise ConfigError([f"{name}: no such search space file"])
    shipped = shipped_spaces()
    if name not in shipped:
        known = f"; known: {', '.join(shipped)}, or a path ending in .yaml"
        hint = did_you_mean(name, shipped) or next(
            (f"; did you mean '{n}'?" for n in shipped if n.startswith(name)), known
        )
        raise ConfigError([f"unknown study '{name}'{hint}"])
    return shipped[name]


class _Reader:
    """Turns the node tree of one file into a SearchSpace, collecting problems as it goes."""

    def __init__(self, file: str, mini: bool) -> None:
        self.file, self.mini, self.problems = file, mini, list[str]()

    def space(self, node: yaml.Node | None) -> SearchSpace:
        top = self.mapping(node, "a search space") if node else {}
        if not node:
            self.problems.append(f"{self.file}: the file is empty; it needs `study` and `grid`")
        self.check_keys(top, KEYS, "")
        mini = self.mapping(top["mini"][1], "mini") if "mini" in top else {}
        self.check_keys(mini, ("settings", "grid", "seeds"), "mini.")
        settings = self.settings(top)
        small = self.settings(mini)  # read at either size: a wrong key of the other size is told as well
        chosen = {**top, **mini} if self.mini else top
        blocks, seeds = self.grid(chosen), self.seeds(chosen)
        if not self.mini and "grid" in mini:
            self.grid(mini)
        study = self.text(top, "study")
        if node and study and not NAME.fullmatch(study):
            self.say(top["study"][1], f"study must be made of a-z, 0-9, '.', '_' and '-', 64 at most; got '{study}'")
        if node and not study:
            self.problems.append(f"{self.file}: `study` is missing; it names the study, e.g. 'my_widths'")
        if self.mini and "mini" not in top:
            self.problems.append(f"{self.file}: has no `mini` size of itself; leave --mini away")
        settings = [*settings, *small] if self.mini else settings
        space = SearchSpace(study, self.text(top, "about"), tuple(settings), blocks, seeds, self.mini, self.file)
        if blocks:
            self.check_values(space)
        if self.problems:
            raise ConfigError(sorted(set(self.problems), key=_place))
        return space

    def check_values(self, space: SearchSpace) -> None:
        """Collect what is wrong with the values of every point, beside the names that are wrong already."""

        def known(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
            return tuple(s for s in settings if not unknown_settings([s]))

        axes = (tuple(axis for axis in map(known, block) if axis) for block in space.grid)
        try:
            replace(space, settings=known(space.settings), grid=tuple(axes)).trials()
        except ConfigError as error:
            self.problems += error.problems

    # -- parts of the file; a `pair` is (key node, value node)

    def settings(self, top: dict[str, Any]) -> list[Setting]:
        if "settings" not in top:
            return []
        return [Setting(name, self.value(v), self.at(k)) for name, k, v in self.leaves(top["settings"][1], "")]

    def grid(self, top: dict[str, Any]) -> tuple[tuple[tuple[Setting, ...], ...], ...]:
        if "grid" not in top:
            self.problems.append(f"{self.file}: `grid` is missing; it maps settings to lists of values")
            return ()
        node = top["grid"][1]
        blocks = node.value if isinstance(node, yaml.SequenceNode) else [node]
        return tuple(tuple(self.axis(*leaf) for leaf in self.leaves(block, "")) for block in blocks)

    def axis(self, name: str, key: yaml.Node, node: yaml.Node) -> tuple[Setting, ...]:
        values = node.value if isinstance(node, yaml.SequenceNode) else [node]
        if not values:
            self.say(node, f"{name} has no values; a grid needs at least one")
        return tuple(Setting(name, self.value(v), self.at(v)) for v in values)

    def seeds(self, top: dict[str, Any]) -> tuple[int, ...]:
        if "seeds" not in top:
            return (0,)
        node = top["seeds"][1]
        seeds = self.value(node)
        if not isinstance(seeds, list) or not seeds or not all(type(s) is int and s >= 0 for s in seeds):
            self.say(node, f"seeds must be a list of whole numbers from 0, e.g. [0, 1, 2]; got {seeds!r}")
            return (0,)
        if len(set(seeds)) < len(seeds):
            self.say(node, f"seeds must differ from each other; got {seeds!r}")
        return tuple(seeds)

    def text(self, top: dict[str, Any], key: str) -> str:
        return str(self.value(top[key][1])).strip() if key in top else ""

    # -- nodes

    def leaves(self, node: yaml.Node, prefix: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Dotted name, key and value of each setting, told where the name is none; groups may be nested or dotted."""
        for name, (key, value) in self.mapping(node, "settings").items():
            if isinstance(value, yaml.MappingNode):
                yield from self.leaves(value, f"{prefix}{name}.")
            else:
                self.problems += unknown_settings([Setting(f"{prefix}{name}", self.value(value), self.at(key))])
                yield f"{prefix}{name}", key, value

    def mapping(self, node: yaml.Node, what: str) -> dict[str, tuple[yaml.Node, yaml.Node]]:
        if not isinstance(node, yaml.MappingNode):
            self.say(node, f"{what} must be a mapping (name: value); got {self.value(node)!r}")
            return {}
        found: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            if name in found:
                first = found[name][0].start_mark.line + 1
                self.say(key, f"'{name}' stands twice; first in line {first}")
            found[name] = (key, value)
        return found

    def check_keys(self, found: Iterable[str], known: Sequence[str], prefix: str) -> None:
        for name, (key, _) in dict(found).items():
            if name not in known:
                hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
                self.say(key, f"unknown key '{prefix}{name}'{hint}")

    def value(self, node: yaml.Node) -> Any:
        loader = _Loader("")
        try:
            return loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError) as error:
            self.say(node, f"not a value: {getattr(error, 'problem', error)}")
            return None

    def at(self, node: yaml.Node) -> str:
        return f"{self.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def say(self, node: yaml.Node, text: str) -> None:
        self.problems.append(f"{self.at(node)}: {text}")


def _place(problem: str) -> tuple[int, int, str]:
    """Line and column at the head of a problem, so that they are told in the order of the file."""
    found = re.match(r"[^:]*:(\d+):(\d+): ", problem)
    return (int(found[1]), int(found[2]), problem) if found else (0, 0, problem)
