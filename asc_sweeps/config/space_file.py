"""From a search space's YAML file to a SearchSpace; all mistakes are reported at once, each with line and column."""

from __future__ import annotations

import importlib.resources
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from asc_sweeps.config.search_file import read_scheduler, read_search
from asc_sweeps.config.search_space import TRACKERS, SearchSpace
from asc_sweeps.config.setting_nodes import read_condition_node, read_settings, setting_nodes
from asc_sweeps.config.settings import Setting, unknown_settings
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.yaml_nodes import Node, parse_yaml
from asc_sweeps.errors import ConfigError, did_you_mean, show_value

MINI_KEYS = ("settings", "grid", "where", "search", "scheduler", "seeds", "track")
"""What the mini size of a study can set differently."""
KEYS = ("study", "about", *MINI_KEYS, "mini")
STUDY_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
MAX_FILE_BYTES = 5_000_000


def load_sizes(name: str, mini: bool = False) -> dict[bool, SearchSpace]:
    """The space of a shipped study (`table2_ablation`) or a YAML file (a path ending in .yaml), by whether it is mini.

    Files may have no mini size; `mini` requires it. Raises ConfigError with every problem at once, as `file:line:column: rule`.
    """
    path = _find(name)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ConfigError([f"{path.name}: a search space may have at most {MAX_FILE_BYTES:,} bytes"])
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path.name}: not a UTF-8 text (byte {error.start}); is it a YAML file?"]) from None
    return _read_sizes(text, path.name, mini)


def read_space(text: str, file: str) -> SearchSpace:
    """The space of a YAML text, at full size; messages name it `file`. Raises as `load_sizes`."""
    return _read_sizes(text, file, mini=False)[False]


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
        longer = (f"; did you mean '{study}'?" for study in shipped if study.startswith(name))
        raise ConfigError([f"unknown study '{name}'{did_you_mean(name, shipped) or next(longer, known)}"])
    return shipped[name]


def _read_sizes(text: str, file: str, mini: bool) -> dict[bool, SearchSpace]:
    """The full and the mini size, whichever is requested, so that the mistakes of both are reported."""
    root = parse_yaml(text, file)
    if root is None:
        raise ConfigError([f"{file}: the file is empty; it needs `study`, and `grid` or `search`"])
    problems, full = root.problems, root.mapping("", KEYS)
    if not root.is_mapping:
        raise ConfigError(problems)
    small = full["mini"].mapping("mini", MINI_KEYS) if "mini" in full else {}
    if mini and "mini" not in full:
        problems.append(f"{file}: has no `mini` size; omit --mini, or add `mini` to the file")
    study = _read_study(full, file, problems)
    base = SearchSpace(study, _fixed(full), grid=(), seeds=(0,), mini=False, source=file)
    spaces = {False: _read_size(base, full, problems)}
    if "mini" in full:
        base = replace(base, settings=base.settings + _fixed(small), mini=True)
        spaces[True] = _read_size(base, {**full, **small}, problems)
    if problems:
        raise ConfigError(sorted(set(problems), key=_line_and_column))
    return spaces


def _read_study(members: Mapping[str, Node], file: str, problems: list[str]) -> str:
    value = members["study"].value if "study" in members else None
    if value is None or value == "":
        problems.append(f"{file}: `study` is missing; it names the study, e.g. 'my_widths'")
    elif not STUDY_NAME.fullmatch(str(value)):
        rule = "study may contain only a-z, 0-9, '.', '_' and '-' (64 at most, the first a letter or digit)"
        members["study"].report(f"{rule}; got {show_value(value)}")
    return str(value)


def _read_size(base: SearchSpace, members: Mapping[str, Node], problems: list[str]) -> SearchSpace:
    """The space with what its file varies."""
    if ("grid" in members) == ("search" in members):
        missing = "`grid` is missing; it maps settings to lists of values (or `search`, which draws them)"
        both = "has both `grid` and `search`; remove one"
        problems.append(f"{base.source}: {both if 'grid' in members else missing}")
    space = replace(
        base,
        grid=_read_grid(members["grid"]) if "grid" in members else (),
        condition=read_condition_node(members["where"], "where") if "where" in members else None,
        search=read_search(members["search"]) if "search" in members else None,
        scheduler=read_scheduler(members["scheduler"]) if "scheduler" in members else None,
        track=_read_track(members["track"]) if "track" in members else (),
    )
    return _checked(replace(space, seeds=_read_seeds(members.get("seeds"), space, problems)), problems)


def _checked(space: SearchSpace, problems: list[str]) -> SearchSpace:
    """Report the invalid values of every point; the space without unknown settings, which were reported before."""

    def known(settings: tuple[Setting, ...]) -> tuple[Setting, ...]:
        return tuple(s for s in settings if not unknown_settings([s]))

    grid = tuple(tuple(axis for axis in map(known, block) if axis) for block in space.grid)
    space = replace(space, settings=known(space.settings), grid=grid)
    trials: list[TrialConfig | None] = []
    try:
        trials += space.trials()
    except ConfigError as error:
        problems += error.problems
    for point in space.probes():
        try:
            trials.append(space.trial(known(point), space.seeds[0]))
        except ConfigError as error:
            problems += error.problems
    problems += space.validation_problems(trials)
    return space


def _fixed(members: Mapping[str, Node]) -> tuple[Setting, ...]:
    return read_settings(members["settings"], "settings") if "settings" in members else ()


def _read_grid(node: Node) -> tuple[tuple[tuple[Setting, ...], ...], ...]:
    blocks = node.items()
    if not blocks:
        node.report("the grid is empty; `grid: {}` is one trial, of the settings alone")
    return tuple(
        tuple(_read_axis(name, axis) for name, axis in setting_nodes(block, "grid").items()) for block in blocks
    )


def _read_axis(name: str, node: Node) -> tuple[Setting, ...]:
    values = node.items()
    if not values:
        node.report(f"{name} has no values; list at least one")
    return tuple(Setting(name, value.value, value.location) for value in values)


def _read_seeds(node: Node | None, space: SearchSpace, problems: list[str]) -> tuple[int, ...]:
    """The seeds of `seeds`; else the first `seed` of the settings or the grid, also for blocks without one; else 0."""
    fixed = [s for s in space.settings if s.name == "seed"]
    axes = [axis[0] for block in space.grid for axis in block if axis and axis[0].name == "seed"]
    if node is None:
        first = next(iter([*fixed, *axes]), None)
        if first is None:
            return (0,)
        if isinstance(first.value, int) and not isinstance(first.value, bool) and first.value >= 0:
            return (first.value,)
        problems.append(f"{first.location}: seed must be a whole number from 0; got {show_value(first.value)}")
        return (0,)
    problems += [f"{s.location}: `seed` conflicts with `seeds`; remove one" for s in (*fixed, *axes)]
    seeds = node.value
    if not isinstance(seeds, list) or not seeds or not all(type(s) is int and s >= 0 for s in seeds):
        node.report(f"seeds must be a list of whole numbers from 0, e.g. [0, 1, 2]; got {show_value(seeds)}")
        return (0,)
    if len(set(seeds)) < len(seeds):
        node.report(f"seeds must not repeat a value; got {show_value(seeds)}")
    if space.search and len(seeds) > 1:
        node.report("a search uses one seed; train its best settings with more seeds in a grid")
    return tuple(seeds)


def _read_track(node: Node) -> tuple[tuple[str, str], ...]:
    trackers = []
    for kind, member in node.mapping("track", TRACKERS).items():
        if not isinstance(member.value, bool | str) or member.value == "":
            rule = "must be true, false, or a folder, a tracking URL or a project's name"
            member.report(f"track.{kind} {rule}; got {show_value(member.value)}")
        elif member.value is not False:
            trackers.append((kind, "" if member.value is True else member.value))
    return tuple(trackers)


def _line_and_column(problem: str) -> tuple[int, int, str]:
    """A sort key, so that problems are reported in the order of the file."""
    found = re.match(r"[^:]*:(\d+):(\d+): ", problem)
    return (int(found[1]), int(found[2]), problem) if found else (0, 0, problem)
