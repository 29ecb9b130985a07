"""From a search space's YAML file to a SearchSpace, with every mistake told at its line and column, all at once."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asc_sweeps.config.conditions import Condition, read_condition
from asc_sweeps.config.search_space import (
    MAX_TRIALS,
    OBJECTIVES,
    SAMPLERS,
    SIZES,
    TRACKERS,
    Parameter,
    Scheduler,
    Search,
    SearchSpace,
)
from asc_sweeps.config.settings import Setting, unknown_settings
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.config.yaml_nodes import Node, NodeReader, Pair, compose, compose_text
from asc_sweeps.errors import ConfigError, did_you_mean

KEYS = ("study", "about", "settings", "grid", "where", "search", "scheduler", "seeds", "track", "mini")
SIZED = ("settings", "grid", "where", "search", "scheduler", "seeds", "track")
"""Keys that the small size of a study may have of its own."""
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


def load_space(name: str, mini: bool = False) -> SearchSpace:
    """The space of a shipped study (`table2_ablation`) or of a YAML file (a path ending in .yaml), at one size.

    Raises ConfigError: every problem of the file at once, as `file:line:column: rule`.
    """
    return load_sizes(name, mini)[mini]


def load_sizes(name: str, mini: bool = False) -> dict[bool, SearchSpace]:
    """The space at its full size (False) and, where it has one, at its small size (True), as `load_space`.

    `mini`: whether the small one is asked for, so that a file without it is refused.
    """
    path = _find(name)
    return _Reader(path.name).sizes(compose(path), mini)


def read_space(text: str, name: str) -> SearchSpace:
    """The space of a YAML text, at its full size; `name` stands for the file in messages. Raises as `load_space`."""
    return _Reader(name).sizes(compose_text(text, name), mini_asked=False)[False]


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


class _Reader(NodeReader):
    """Turns the node tree of one file into a SearchSpace at each of its sizes."""

    def sizes(self, node: Node | None, mini_asked: bool) -> dict[bool, SearchSpace]:
        """Both sizes, whichever is asked for: all mistakes of a file are told at once."""
        top = self.mapping(node, "a search space") if node else {}
        if not node:
            self.problems.append(f"{self.file}: the file is empty; it needs `study` and `grid` or `search`")
        self.check_keys(top, KEYS, "")
        study = self.text(top, "study")
        if node and study and not NAME.fullmatch(study):
            self.say(top["study"][1], f"study must be made of a-z, 0-9, '.', '_' and '-', 64 at most; got '{study}'")
        if node and not study:
            self.problems.append(f"{self.file}: `study` is missing; it names the study, e.g. 'my_widths'")
        small = self.mapping(top["mini"][1], "mini") if "mini" in top else {}
        self.check_keys(small, SIZED, "mini.")
        if mini_asked and "mini" not in top:
            self.problems.append(f"{self.file}: has no `mini` size of itself; leave --mini away")
        settings = self.settings(top)
        sizes = {False: (top, settings), True: ({**top, **small}, [*settings, *self.settings(small)])}
        spaces = {}
        for mini in {False, "mini" in top}:
            chosen, fixed = sizes[mini]
            if node and ("grid" in chosen) == ("search" in chosen):
                missing = "`grid` is missing; it maps settings to lists of values (or `search`, which draws them)"
                both = "has both `grid` and `search`; leave one of them away"
                self.problems.append(f"{self.file}: {both if 'grid' in chosen else missing}")
            parts = self.parts(chosen, fixed)
            about = self.text(top, "about")
            space = SearchSpace(study, about, tuple(fixed), mini=mini, source=self.file, **parts)
            spaces[mini] = self.checked(space)
        if self.problems:
            raise ConfigError(sorted(set(self.problems), key=_place))
        return spaces

    def parts(self, top: dict[str, Pair], fixed: Sequence[Setting]) -> dict[str, Any]:
        """What a study varies, by the fields of SearchSpace."""
        search = self.search(top["search"][1]) if "search" in top else None
        grid = self.grid(top["grid"][1]) if "grid" in top else ()
        seeds = self.seeds(top)
        others = [s for s in fixed if s.name == "seed"]
        others += [axis[0] for block in grid for axis in block if axis and axis[0].name == "seed"]
        if "seeds" in top:
            self.problems += [f"{s.where}: seed stands beside `seeds`; keep one of them" for s in others]
        elif others:
            seeds = (others[0].value,)
        if search and len(seeds) > 1:
            self.say(top["seeds"][1], "a search draws its trials with one seed; run its best again with more by a grid")
        return {
            "grid": grid,
            "condition": self.condition(top, "where"),
            "search": search,
            "scheduler": self.scheduler(top["scheduler"][1]) if "scheduler" in top else None,
            "seeds": seeds,
            "track": self.track(top["track"][1]) if "track" in top else (),
        }

    def checked(self, space: SearchSpace) -> SearchSpace:
        """Collect what is wrong with the values of every point; the space without the names that are wrong already."""

        def known(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
            return tuple(s for s in settings if not unknown_settings([s]))

        axes = (tuple(axis for axis in map(known, block) if axis) for block in space.grid)
        space = replace(space, settings=known(space.settings), grid=tuple(axes))
        tests: list[Callable[[], object]] = [space.trials]
        tests += [lambda p=point: space.trial(known(p), space.seeds[0]) for point in space.probes()]
        trials = []
        for test in tests:
            try:
                found = test()
                trials += found if isinstance(found, list) else [found]
            except ConfigError as error:
                self.problems += error.problems
        self.problems += space.blind(trials)
        return space

    # -- parts of the file

    def settings(self, top: dict[str, Pair]) -> list[Setting]:
        if "settings" not in top:
            return []
        return [Setting(name, self.value(v), self.at(k)) for name, k, v in self.leaves(top["settings"][1])]

    def grid(self, node: Node) -> tuple[tuple[tuple[Setting, ...], ...], ...]:
        blocks = self.items(node) if self.is_list(node) else [node]
        if not blocks:
            self.say(node, "the grid has no points; leave an empty mapping {} for one trial of the settings alone")
        return tuple(tuple(self.axis(*leaf) for leaf in self.leaves(block)) for block in blocks)

    def axis(self, name: str, key: Node, node: Node) -> tuple[Setting, ...]:
        values = self.items(node) if self.is_list(node) else [node]
        if not values:
            self.say(node, f"{name} has no values; a grid needs at least one")
        return tuple(Setting(name, self.value(v), self.at(v)) for v in values)

    def seeds(self, top: dict[str, Pair]) -> tuple[int, ...]:
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

    def condition(self, top: dict[str, Pair], key: str) -> Condition | None:
        if key not in top:
            return None
        node = top[key][1]
        try:
            return read_condition(str(self.value(node)))
        except ValueError as error:
            self.say(node, f"{key}: {error}")
            return None

    def scheduler(self, node: Node) -> Scheduler | None:
        if self.is_mapping(node):
            found = self.mapping(node, "scheduler")
            self.check_keys(found, ("name", "grace_epochs", "reduction"), "scheduler.")
        else:
            found = {"name": (node, node)}
        usual = Scheduler()
        if "name" not in found or self.value(found["name"][1]) not in ("asha", None):
            self.say(node, "scheduler must be asha (name: asha, grace_epochs: 1, reduction: 3), or null for none")
        if "name" in found and self.value(found["name"][1]) is None:
            return None
        return Scheduler(
            self.whole(found, "grace_epochs", usual.grace_epochs, 1), self.whole(found, "reduction", usual.reduction, 2)
        )

    def track(self, node: Node) -> tuple[tuple[str, str], ...]:
        found, kinds = self.mapping(node, "track"), []
        self.check_keys(found, TRACKERS, "track.")
        for kind in (k for k in TRACKERS if k in found):
            value = self.value(found[kind][1])
            if not isinstance(value, bool | str) or value == "":
                self.say(found[kind][1], f"track.{kind} must be true, or say where: a folder, an address, a project")
            elif value is not False:
                kinds.append((kind, "" if value is True else value))
        return tuple(kinds)

    def search(self, node: Node) -> Search | None:
        found = self.mapping(node, "search")
        keys = ("trials", "sampler", "seed", "objectives", "limits", "parameters", "first")
        self.check_keys(found, keys, "search.")
        for key in ("trials", "parameters"):
            if found and key not in found:
                self.say(node, f"search.{key} is missing")
        parameters = tuple(self.parameters(found["parameters"][1], "")) if "parameters" in found else ()
        objectives = self.words(found, "objectives", OBJECTIVES, ("validation_log_loss",))
        sampler, *more = self.words(found, "sampler", SAMPLERS, ("tpe",))
        if more:
            self.say(found["sampler"][1], f"sampler must be one of {', '.join(SAMPLERS)}; got several")
        limits = self.mapping(found["limits"][1], "search.limits") if "limits" in found else {}
        self.check_keys(limits, SIZES, "search.limits.")
        first = found["first"][1] if "first" in found else None
        if first is not None and not self.is_list(first):
            self.say(first, "search.first must be a list of points, each a mapping of settings to values")
            first = None
        points = [self.leaves(point) for point in self.items(first)] if first is not None else []
        space = Search(
            parameters=parameters,
            trials=self.whole(found, "trials", 1, 1, MAX_TRIALS),
            sampler=sampler,
            seed=self.whole(found, "seed", 0, 0),
            objectives=objectives,
            limits=tuple((name, self.whole(limits, name, 1, 1)) for name in SIZES if name in limits),
            first=tuple(tuple(Setting(n, self.value(v), self.at(k)) for n, k, v in point) for point in points),
        )
        for setting in (s for point in space.first for s in point):
            parameter = next((p for p in parameters if p.name == setting.name), None)
            if parameter is None:
                self.problems.append(f"{setting.where}: {setting.name} is not among search.parameters")
            elif not parameter.admits(setting.value):
                self.problems.append(
                    f"{setting.where}: {setting.name} is {setting.value!r}, which search.parameters does not admit"
                )
        return space

    def parameters(self, node: Node, prefix: str) -> Iterator[Parameter]:
        for name, (key, value) in self.mapping(node, "search.parameters").items():
            full = f"{prefix}{name}"
            if self.is_mapping(value) and any(known.startswith(f"{full}.") for known in setting_fields()):
                yield from self.parameters(value, f"{full}.")
                continue
            unknown = unknown_settings([Setting(full, None, self.at(key))])
            if unknown or full == "seed" or full.startswith("data."):
                rule = f"{self.at(key)}: {full} cannot be drawn: trials on other data or seeds are not comparable"
                self.problems += unknown or [rule]
            elif parameter := self.parameter(full, key, value):
                yield parameter

    def parameter(self, name: str, key: Node, node: Node) -> Parameter | None:
        where = self.at(key)
        if self.is_list(node):
            choices = tuple(self.value(v) for v in self.items(node))
            if not choices or not all(isinstance(c, bool | int | float | str | None) for c in choices):
                self.say(node, f"{name} needs a list of plain values to choose from")
                return None
            return Parameter(name, where, choices=choices)
        form = "must be a list of values, or low and high with log, step and when: {low: 1e-3, high: 1, log: true}"
        found = self.mapping(node, name)
        self.check_keys(found, ("choices", "low", "high", "log", "step", "when"), f"{name}.")
        when = self.condition(found, "when")
        if "choices" in found and self.is_list(found["choices"][1]):
            choice = self.parameter(name, key, found["choices"][1])
            return choice and replace(choice, when=when)
        low, high, step = (self.value(found[k][1]) if k in found else None for k in ("low", "high", "step"))
        log = self.value(found["log"][1]) if "log" in found else False
        numbers = all(isinstance(v, int | float) and not isinstance(v, bool) for v in (low, high, step or 0))
        if not numbers or not isinstance(log, bool):
            self.say(node, f"{name} {form}")
            return None
        if not low < high or (log and low <= 0) or (step is not None and (step <= 0 or log)):
            self.say(node, f"{name}: low must lie below high, above 0 where log, step be above 0 and not beside log")
            return None
        if isinstance(setting_fields()[name].default, float):
            low, high = float(low), float(high)
        return Parameter(name, where, low=low, high=high, log=log, step=step, when=when)

    # -- values

    def text(self, top: dict[str, Pair], key: str) -> str:
        value = self.value(top[key][1]) if key in top else None
        return "" if value is None else str(value).strip()

    def whole(self, found: dict[str, Pair], key: str, usual: int, least: int, most: int = 10**12) -> int:
        """A whole number, the usual one where it is not given."""
        if key not in found:
            return usual
        value = self.value(found[key][1])
        if type(value) is not int or not least <= value <= most:
            self.say(found[key][1], f"{key} must be a whole number from {least:,} to {most:,}; got {value!r}")
            return usual
        return value

    def words(
        self, found: dict[str, Pair], key: str, known: Sequence[str] | dict[str, str], usual: tuple[str, ...]
    ) -> tuple[str, ...]:
        """One or several of some words."""
        if key not in found:
            return usual
        node = found[key][1]
        given = [self.value(v) for v in (self.items(node) if self.is_list(node) else [node])]
        wrong = [word for word in given if word not in known]
        if wrong or not given or len(set(given)) < len(given):
            hint = did_you_mean(str(wrong[0]), known) if wrong else ""
            self.say(node, f"{key} must be made of {', '.join(known)}, each once; got {self.value(node)!r}{hint}")
            return usual
        return tuple(given)


def _place(problem: str) -> tuple[int, int, str]:
    """Line and column at the head of a problem, so that they are told in the order of the file."""
    found = re.match(r"[^:]*:(\d+):(\d+): ", problem)
    return (int(found[1]), int(found[2]), problem) if found else (0, 0, problem)
