"""YAML as people expect it, with line and column: the nodes of a file, checked, and turned into settings.

The only door to PyYAML. Knows settings' names; nothing of what a search space is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from asc_sweeps.config.settings import Setting, unknown_settings
from asc_sweeps.config.trial_settings import PHASES
from asc_sweeps.errors import ConfigError, did_you_mean

LARGEST_FILE = 5_000_000
Node = yaml.Node
Pair = tuple[yaml.Node, yaml.Node]
"""Key and value."""


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


def to_yaml(content: Mapping[str, Any]) -> str:
    """Plain values as YAML, in the order they have."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)


def compose(path: Path) -> Node | None:
    """The node tree of a file, None where it is empty. Raises ConfigError for what is not YAML."""
    if path.stat().st_size > LARGEST_FILE:
        raise ConfigError([f"{path.name}: larger than {LARGEST_FILE:,} bytes; a search space is a page of text"])
    try:
        return compose_text(path.read_text(encoding="utf-8"), path.name)
    except UnicodeDecodeError as error:
        raise ConfigError([f"{path.name}: not a UTF-8 text (byte {error.start}); is it a YAML file?"]) from None


def compose_text(text: str, name: str) -> Node | None:
    """The node tree of a text; `name` is the file's, for messages. Raises as `compose`."""
    try:
        return yaml.compose(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError([f"{name}{place}: not valid YAML: {problem}"]) from None


class NodeReader:
    """Turns the nodes of one file into values, collecting `problems` as it goes, each with its place."""

    def __init__(self, file: str) -> None:
        self.file, self.problems = file, list[str]()

    def leaves(self, node: yaml.Node) -> list[tuple[str, yaml.Node, yaml.Node]]:
        """Dotted name, key and value of each setting; groups may be nested or dotted. Tells of names that are none or twice."""
        found: dict[str, tuple[str, yaml.Node, yaml.Node]] = {}
        for name, key, value in self._leaves(node, ""):
            plain = self.value(value)
            if name in found:
                self.say(key, f"'{name}' stands twice; first in line {found[name][1].start_mark.line + 1}")
            # A phase (`finetune`) has no value but null, alone or as the one value of an axis.
            unknown = unknown_settings([Setting(name, None if plain == [None] else plain, self.at(key))])
            self.problems += unknown
            found[name] = name, key, value
        for phase in PHASES:
            member = next((name for name in found if name.startswith(f"{phase}.")), None)
            if phase in found and member:
                text = f"{phase}: null turns off what '{member}' beside it turns on; keep one of them"
                self.say(found[phase][1], text)
        return list(found.values())

    def _leaves(self, node: yaml.Node, prefix: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        for name, (key, value) in self.mapping(node, "settings").items():
            if isinstance(value, yaml.MappingNode):
                yield from self._leaves(value, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}", key, value

    def mapping(self, node: yaml.Node, what: str) -> dict[str, Pair]:
        """A mapping's pairs by name; empty, and told, where the node is none."""
        if not isinstance(node, yaml.MappingNode):
            self.say(node, f"{what} must be a mapping (name: value); got {self.value(node)!r}")
            return {}
        found: dict[str, Pair] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self.say(key, "a name must be a word, not a list or a mapping")
                continue
            name = str(key.value)
            if name in found:
                first = found[name][0].start_mark.line + 1
                self.say(key, f"'{name}' stands twice; first in line {first}")
            found[name] = (key, value)
        return found

    def check_keys(self, found: Mapping[str, Pair], known: Sequence[str], prefix: str) -> None:
        """Tell of keys that are none of the known ones."""
        for name, (key, _) in found.items():
            if name not in known:
                hint = did_you_mean(name, known) or f"; known: {', '.join(known)}"
                self.say(key, f"unknown key '{prefix}{name}'{hint}")

    @staticmethod
    def is_list(node: yaml.Node) -> bool:
        """Whether a node is a list."""
        return isinstance(node, yaml.SequenceNode)

    @staticmethod
    def is_mapping(node: yaml.Node) -> bool:
        """Whether a node is a mapping."""
        return isinstance(node, yaml.MappingNode)

    @staticmethod
    def items(node: yaml.Node) -> list[yaml.Node]:
        """The nodes of a list."""
        return list(node.value)

    def value(self, node: yaml.Node) -> Any:
        """The value of a node; None, and told, where it has none."""
        loader = _Loader("")
        try:
            return loader.construct_object(node, deep=True)
        except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError) as error:  # of tags like !!bool
            self.say(node, f"not a value: {getattr(error, 'problem', None) or repr(node.value)[:60]}")
            return None

    def at(self, node: yaml.Node) -> str:
        """A node's place, `file:line:column`."""
        return f"{self.file}:{node.start_mark.line + 1}:{node.start_mark.column + 1}"

    def say(self, node: yaml.Node, text: str) -> None:
        """Collect a problem at a node's place."""
        self.problems.append(f"{self.at(node)}: {text}")
