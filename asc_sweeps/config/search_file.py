"""`search` and `scheduler` in a search space's file: what a search draws, from which values, and what stops trials early."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from asc_sweeps.config.search_space import Parameter, Scheduler, Search, is_number
from asc_sweeps.config.setting_nodes import read_condition_node, read_settings
from asc_sweeps.config.settings import Setting, explain, unknown_settings
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.config.yaml_nodes import Node
from asc_sweeps.errors import show_value

SEARCH_KEYS = ("trials", "sampler", "seed", "objectives", "limits", "parameters", "first")
PARAMETER_KEYS = ("choices", "low", "high", "log", "step", "when")

Part = TypeVar("Part", Search, Scheduler)


def read_search(node: Node) -> Search:
    """A search; where something in it is invalid, that is reported and the defaults take its place."""
    members = node.mapping("search", SEARCH_KEYS)
    if not node.is_mapping:
        return Search((), trials=1)
    values = {key: member.value for key, member in members.items()}
    if "parameters" in members:
        values["parameters"] = tuple(_read_parameters(members["parameters"], ""))
    if "objectives" in members:
        values["objectives"] = tuple(item.value for item in members["objectives"].items())
    values["first"] = _read_points(members["first"]) if "first" in members else ()
    search = _validated(Search, values, node, "search") or Search(
        values.get("parameters", ()), 1, first=values["first"]
    )
    if not node.problems:
        _report_points_that_cannot_be_drawn(search, node)
    return search


def read_scheduler(node: Node) -> Scheduler | None:
    """A scheduler from `asha` or `{name: asha, grace_epochs: 1, reduction: 3}`; None from null."""
    members = node.mapping("scheduler", ("name", "grace_epochs", "reduction")) if node.is_mapping else {"name": node}
    values = {key: member.value for key, member in members.items()}
    name = values.pop("name", "")
    if name not in ("asha", None):
        node.report("scheduler must be asha, {name: asha, grace_epochs: 1, reduction: 3}, or null for none")
    return None if name is None else _validated(Scheduler, values, node, "scheduler")


def _validated(kind: type[Part], values: dict[str, Any], node: Node, name: str) -> Part | None:
    """A dataclass of these values; None where some are invalid, each of which is reported at its node."""
    try:
        return kind(**values)
    except ValidationError as error:
        for detail in error.errors():
            _report_violation(detail, node, name)
        return None


def _report_violation(detail: ErrorDetails, node: Node, name: str) -> None:
    path = ".".join([name, *(part for part in detail["loc"] if isinstance(part, str))])
    node.descendant(detail["loc"]).report(explain(detail, path), at_key=path.endswith("[key]"))


def _read_points(node: Node) -> tuple[tuple[Setting, ...], ...]:
    if node.is_list:
        return tuple(read_settings(point, "search.first") for point in node.items())
    node.report("search.first must be a list of points, each a mapping of settings to values")
    return ()


def _report_points_that_cannot_be_drawn(search: Search, node: Node) -> None:
    parameters = {parameter.name: parameter for parameter in search.parameters}
    for setting in itertools.chain.from_iterable(search.first):
        if setting.name not in parameters:
            node.problems.append(f"{setting.location}: {setting.name} is not among search.parameters")
        elif not parameters[setting.name].admits(setting.value):
            rule = f"{setting.name} must be one of the values in search.parameters; got {show_value(setting.value)}"
            node.problems.append(f"{setting.location}: {rule}")


def _read_parameters(node: Node, prefix: str) -> Iterator[Parameter]:
    """The parameters in a mapping; groups may be nested or dotted."""
    for key, member in node.mapping("search.parameters").items():
        name = f"{prefix}{key}"
        if member.is_mapping and any(known.startswith(f"{name}.") for known in setting_fields()):
            yield from _read_parameters(member, f"{name}.")
        elif unknown := unknown_settings([Setting(name, None, member.key_location)]):
            member.problems.extend(unknown)
        elif name == "seed" or name.startswith("data."):
            member.report(f"{name} cannot be searched: trials with other data or seeds are not comparable", at_key=True)
        elif parameter := _read_parameter(name, member):
            yield parameter


def _read_parameter(name: str, node: Node) -> Parameter | None:
    """A parameter from a list of values, or from a mapping of `PARAMETER_KEYS`."""
    members = {"choices": node} if node.is_list else node.mapping(name, PARAMETER_KEYS)
    values = {key: member.value for key, member in members.items()}
    when = read_condition_node(members["when"], "when") if "when" in members else None
    choices, low, high = values.get("choices"), values.get("low"), values.get("high")
    step, log = values.get("step"), values.get("log", False)
    if choices and isinstance(choices, list) and not any(isinstance(choice, list | dict) for choice in choices):
        return Parameter(name, node.key_location, tuple(choices), when=when)
    if not (is_number(low) and is_number(high) and (step is None or is_number(step)) and isinstance(log, bool)):
        form = "{low: 1, high: 9} with optional log, step and when"
        node.report(f"{name} must be a list of plain values, or a range, e.g. {form}")
        return None
    rules = {
        f"low must be below high; got {low} and {high}": low < high,
        f"low must be above 0 with log: true; got {low}": low > 0 or not log,
        f"step must be above 0; got {step}": step is None or step > 0,
        "step and log: true exclude each other; remove one": step is None or not log,
    }
    for rule in (rule for rule, holds in rules.items() if not holds):
        node.report(f"{name}: {rule}")
    if isinstance(setting_fields()[name].default, float):
        low, high = float(low), float(high)
    return Parameter(name, node.key_location, (), low, high, log, step, when) if all(rules.values()) else None
