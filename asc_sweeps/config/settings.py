"""From settings as a person wrote them to a validated trial; all mistakes are reported at once, each with its location."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from asc_sweeps.config.dotted_names import nest_settings
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import PHASES, setting_fields
from asc_sweeps.errors import ConfigError, WorkspaceError, did_you_mean, show_value

RULES = {
    "missing": "is missing",
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "string_type": "must be a string",
    "dict_type": "must be a mapping (name: value)",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}
"""Pydantic's types of errors in our words."""


@dataclass(frozen=True)
class Setting:
    """One setting as a person wrote it: dotted name, value, and location (`table4.yaml:5:3` or `--set ...`)."""

    name: str
    value: object
    location: str = ""


def make_config(settings: Iterable[Setting]) -> TrialConfig:
    """The trial of these settings, later ones winning; `finetune.*` turns fine-tuning on, `finetune: null` keeps it off.

    So with every phase of `PHASES`. Raises ConfigError with every problem at once: location, name, rule, value.
    """
    given = {s.name: s for s in settings}
    problems = unknown_settings(given.values())
    off = {s.name for s in given.values() if s.name in PHASES and s.value is None}
    used = {n: s.value for n, s in given.items() if n in setting_fields() and n.rpartition(".")[0] not in off}
    config, errors = _validate(used)
    # Rules over a group are only checked once its members are valid: leave out the invalid ones and validate again.
    while errors:
        culprits = [_culprit(detail, given) for detail in errors]
        problems += [_describe(detail, setting) for detail, setting in zip(errors, culprits, strict=True)]
        invalid = {setting.name for setting in culprits if setting} & used.keys()
        if not invalid:
            break
        used = {name: value for name, value in used.items() if name not in invalid}
        _, errors = _validate(used)
    if problems or config is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    return config


def values_with_defaults(settings: Iterable[Setting]) -> dict[str, object]:
    """Unvalidated values by dotted name, of all settings but those of phases that are off."""
    given = {s.name: s.value for s in settings}
    off = {p for p in PHASES if given.get(p, "") is None or not any(name.startswith(f"{p}.") for name in given)}
    defaults = {n: f.default for n, f in setting_fields().items() if n.partition(".")[0] not in off}
    return defaults | {name: value for name, value in given.items() if name in defaults}


def stored_config(settings: Mapping[str, Any], where: object) -> TrialConfig:
    """The trial of settings that an earlier run stored at `where`; settings added since have their defaults.

    Raises WorkspaceError for settings that are invalid in this version.
    """
    try:
        return TrialConfig.model_validate(settings, strict=False)
    except ValidationError as error:
        detail = error.errors()[0]
        raise WorkspaceError(
            f"{where}: its settings are invalid in this version of asc-sweeps ({_name(detail)}: {detail['msg']}); "
            "use the version that wrote it, or move its folder away to train it again"
        ) from None


def unknown_settings(settings: Iterable[Setting]) -> list[str]:
    """The problem of each setting whose name is unknown, with the nearest known name."""
    known = setting_fields()
    problems = []
    for s in settings:
        if s.name in known or (s.name in PHASES and s.value is None):
            continue
        member = next((name for name in known if name.startswith(f"{s.name}.")), None)
        group = f"'{s.name}' is a group of settings; set one of its members, e.g. '{member}'"
        problems.append(_at(s) + (group if member else f"unknown setting '{s.name}'{did_you_mean(s.name, known)}"))
    return problems


def explain(detail: ErrorDetails, name: str) -> str:
    """One of pydantic's errors in our words: dotted name, rule, value, nearest valid value."""
    context = detail.get("ctx", {})
    expected = str(context.get("expected", ""))
    if name.endswith(".[key]"):
        return f"unknown key '{name.removesuffix('.[key]')}'; must be {expected}"
    rule = RULES[detail["type"]].format(**context) if detail["type"] in RULES else detail["msg"]
    if detail["type"] == "missing":
        return f"{name} {rule}"
    hint = did_you_mean(str(detail["input"]), re.findall(r"'([^']*)'", expected))
    return f"{name} {rule}; got {show_value(detail['input'])}{hint}"


def _validate(values: Mapping[str, object]) -> tuple[TrialConfig | None, list[ErrorDetails]]:
    try:
        return TrialConfig.model_validate(nest_settings(values)), []
    except ValidationError as error:
        return None, error.errors()


def _at(setting: Setting | None) -> str:
    return f"{setting.location}: " if setting and setting.location else ""


def _name(detail: ErrorDetails) -> str:
    return ".".join(str(part) for part in detail["loc"])


def _culprit(detail: ErrorDetails, given: Mapping[str, Setting]) -> Setting | None:
    """The given setting that an error is about; for a rule over groups the first that its message names, or that is in them."""
    name, words = _name(detail), detail["msg"].split()
    named = (s for s in given.values() if s.name in words or s.name.removeprefix(f"{name}.") in words)
    groups = [name] if name else words
    in_groups = (s for s in given.values() if s.name.partition(".")[0] in groups)
    return given.get(name) or next(named, None) or next(in_groups, None)


def _describe(detail: ErrorDetails, setting: Setting | None) -> str:
    name = _name(detail)  # a group's own rule states names and values in its message
    return _at(setting) + (explain(detail, name) if setting and setting.name == name else detail["msg"])
