"""From settings as a person wrote them to a validated trial, with every mistake told at its place, all at once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import PHASES, setting_fields
from asc_sweeps.errors import ConfigError, WorkspaceError, did_you_mean

LATER = tuple(f"{phase}." for phase in PHASES)


@dataclass(frozen=True)
class Setting:
    """One setting as a person wrote it: dotted name, value, and where it stands (`table4.yaml:5:3` or `--set`)."""

    name: str
    value: object
    where: str = ""


def make_config(settings: Iterable[Setting]) -> TrialConfig:
    """The trial of these settings, later ones winning; any `finetune.*` turns fine-tuning on, `finetune: null` keeps it off.

    So it is with every phase of `PHASES`.

    Raises ConfigError with every problem at once, each with its place, rule and value.
    """
    given: dict[str, Setting] = {s.name: s for s in settings}
    problems = unknown_settings(given.values())
    off = {s.name for s in given.values() if s.name in PHASES and s.value is None}
    tree: dict[str, Any] = {}
    for setting in given.values():
        group, _, leaf = setting.name.rpartition(".")
        if setting.name in setting_fields() and group not in off:
            (tree.setdefault(group, {}) if group else tree)[leaf] = setting.value
    # A wrong member keeps its group's own rules from being checked: take it out and look again, to say all at once.
    config, errors = _validate(tree)
    while errors:
        wrong = [_culprit(detail, given) for detail in errors]
        problems += [_explain(detail, setting) for detail, setting in zip(errors, wrong, strict=True)]
        if not any(setting and _remove(tree, setting.name) for setting in wrong):
            break
        _, errors = _validate(tree)
    if problems or config is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def values_with_defaults(settings: Iterable[Setting]) -> dict[str, object]:
    """The value of every setting by its dotted name, defaults where it is not given; nothing is checked.

    Those of a phase after pretraining are there only where it is on.
    """
    given = {s.name: s.value for s in settings}
    on = {name.partition(".")[0] for name in given if "." in name} - {p for p in PHASES if given.get(p, "") is None}
    usual = {n: f.default for n, f in setting_fields().items() if n.partition(".")[0] in on or not n.startswith(LATER)}
    return {**usual, **{name: value for name, value in given.items() if name in usual}}


def stored_config(settings: Mapping[str, Any], where: object) -> TrialConfig:
    """The trial of settings that an earlier run wrote down at `where`; what has been added since has its default.

    Raises WorkspaceError for settings that this version does not know.
    """
    try:
        return TrialConfig.model_validate(settings, strict=False)
    except ValidationError as error:
        detail = error.errors()[0]
        name = ".".join(str(part) for part in detail["loc"])
        raise WorkspaceError(
            f"{where}: its settings are not of this version ({name}: {detail['msg']}); use the version that wrote it, or move "
            "its folder away to train anew"
        ) from None


def _validate(tree: dict[str, Any]) -> tuple[TrialConfig | None, list[ErrorDetails]]:
    try:
        return TrialConfig.model_validate(tree), []
    except ValidationError as error:
        return None, error.errors()


def _remove(tree: dict[str, Any], name: str) -> bool:
    group, _, leaf = name.rpartition(".")
    place = tree.get(group, {}) if group else tree
    return place.pop(leaf, None) is not None


def unknown_settings(settings: Iterable[Setting]) -> list[str]:
    """A line for each setting whose name is not one, with the nearest name."""
    known = setting_fields()
    problems = []
    for s in settings:
        if s.name in known or (s.name in PHASES and s.value is None):
            continue
        members = [name for name in known if name.startswith(f"{s.name}.")]
        rule = f"'{s.name}' is a group of settings; set one of its members, e.g. '{members[0]}'" if members else ""
        problems.append(_at(s.where) + (rule or f"unknown setting '{s.name}'{did_you_mean(s.name, known)}"))
    return problems


def _at(where: str) -> str:
    return f"{where}: " if where else ""


def _culprit(detail: ErrorDetails, given: Mapping[str, Setting]) -> Setting | None:
    """The setting that one of pydantic's findings is about; of a rule over groups, a given one that it names, else one of them."""
    name = ".".join(str(part) for part in detail["loc"])
    words = detail["msg"].split()
    named = (s for s in given.values() if s.name in words or s.name.removeprefix(f"{name}.") in words)
    groups = [name] if name else words
    of_group = (s for s in given.values() if s.name.partition(".")[0] in groups)
    return given.get(name) or next(named, None) or next(of_group, None)


def _explain(detail: ErrorDetails, setting: Setting | None) -> str:
    """One line from one of pydantic's findings, in our words: place, dotted name, rule, value."""
    where = _at(setting.where) if setting else ""
    name = ".".join(str(part) for part in detail["loc"])
    if setting is None or setting.name != name:  # a rule over a group tells its names and values itself
        return where + detail["msg"]
    limits = detail.get("ctx") or {}
    rules = {
        "int_type": "must be a whole number",
        "float_type": "must be a number",
        "bool_type": "must be true or false",
        "string_type": "must be a word",
        "finite_number": "must be a finite number",
        "greater_than": f"must be greater than {limits.get('gt')}",
        "greater_than_equal": f"must be at least {limits.get('ge')}",
        "less_than": f"must be less than {limits.get('lt')}",
        "less_than_equal": f"must be at most {limits.get('le')}",
        "literal_error": f"must be {limits.get('expected')}",
    }
    hint = ""
    if detail["type"] == "literal_error":
        hint = did_you_mean(str(setting.value), [str(known) for known in get_args(setting_fields()[name].annotation)])
    rule = rules.get(detail["type"], detail["msg"])
    return f"{where}{name} {rule}; got {json.dumps(setting.value, default=str)}{hint}"
