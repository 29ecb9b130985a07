"""Settings, and conditions over settings, in a YAML file."""

from __future__ import annotations

from collections.abc import Iterator

from asc_sweeps.config.conditions import Condition, read_condition
from asc_sweeps.config.settings import Setting, unknown_settings
from asc_sweeps.config.trial_settings import PHASES
from asc_sweeps.config.yaml_nodes import Node


def setting_nodes(node: Node, section: str) -> dict[str, Node]:
    """Nodes by the dotted name of their setting, from groups nested or dotted.

    Settings that are unknown, given twice, or contradicted by `finetune: null` (or another phase's) are reported.
    """
    members: dict[str, Node] = {}
    for name, member in _walk(node, section):
        if name in members:
            member.report_duplicate(name, members[name])
        # A phase (`finetune`) has no value but null, alone or as the one value of an axis.
        value = None if member.value == [None] else member.value
        member.problems.extend(unknown_settings([Setting(name, value, member.key_location)]))
        members[name] = member
    for phase in PHASES:
        setting = next((name for name in members if name.startswith(f"{phase}.")), None)
        if phase in members and setting:
            members[phase].report(f"`{phase}: null` turns {phase} off, but '{setting}' turns it on; remove one")
    return members


def read_settings(node: Node, section: str) -> tuple[Setting, ...]:
    """The settings in a mapping, each at its key's location; `section` of the file names it in messages."""
    nodes = setting_nodes(node, section)
    return tuple(Setting(name, member.value, member.key_location) for name, member in nodes.items())


def read_condition_node(node: Node, name: str) -> Condition | None:
    """A condition; None, and reported, where it is not understood."""
    try:
        return read_condition(str(node.value))
    except ValueError as error:
        node.report(f"{name}: {error}")
        return None


def _walk(node: Node, section: str, prefix: str = "") -> Iterator[tuple[str, Node]]:
    for name, member in node.mapping(section).items():
        if member.is_mapping:
            yield from _walk(member, section, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", member
