"""YAML with line and column: the nodes of a file, and values as YAML 1.2's core schema defines them.

The only door to PyYAML; knows nothing of settings.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import yaml

from asc_sweeps.errors import ConfigError, did_you_mean, show_value


class _Loader(yaml.SafeLoader):
    """YAML 1.2's core schema: `1e-3` is a number, `no` and `1:30` are strings; aliases are refused."""

    yaml_implicit_resolvers: dict = {}  # noqa: RUF012  (PyYAML's own class attribute)

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark
            raise yaml.MarkedYAMLError(problem="aliases (*name) are not supported", problem_mark=mark)
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
    """The value of `--set NAME=VALUE` by the rules of YAML; text that is not YAML stays a string.

    >>> read_scalar("1e-3"), read_scalar("no"), read_scalar("true"), read_scalar("[1, 2]")
    (0.001, 'no', True, [1, 2])
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506  (a SafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        return text


def to_yaml(content: Mapping[str, Any]) -> str:
    """Plain values as YAML, in their order."""
    return yaml.safe_dump(dict(content), sort_keys=False, allow_unicode=True, width=120)


def parse_yaml(text: str, file: str) -> Node | None:
    """The root node of a text, None if it is empty. Raises ConfigError for invalid YAML."""
    try:
        root = yaml.compose(text, _Loader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        position = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        raise ConfigError([f"{file}{position}: invalid YAML: {problem}"]) from None
    return None if root is None else Node(root, root, file, [])


@dataclass(frozen=True)
class Node:
    """A value in a YAML file, with its location; all nodes of a file share its list of `problems`."""

    raw: yaml.Node
    key: yaml.Node
    """Its key in a mapping; elsewhere the node itself."""
    file: str
    problems: list[str]

    @property
    def location(self) -> str:
        """`file:line:column` of the value."""
        return self._at(self.raw)

    @property
    def key_location(self) -> str:
        """`file:line:column` of the key."""
        return self._at(self.key)

    @property
    def is_list(self) -> bool:
        """Whether the value is a list."""
        return isinstance(self.raw, yaml.SequenceNode)

    @property
    def is_mapping(self) -> bool:
        """Whether the value is a mapping."""
        return isinstance(self.raw, yaml.MappingNode)

    @functools.cached_property
    def value(self) -> Any:
        """The value in Python; None, and reported, where YAML has none for it."""
        try:
            return _Loader("").construct_object(self.raw, deep=True)
        except (yaml.YAMLError, ValueError, KeyError, AttributeError, TypeError) as error:  # of tags like !!bool
            self.report(f"invalid value: {getattr(error, 'problem', None) or repr(self.raw.value)[:60]}")
            return None

    def items(self) -> list[Node]:
        """The members of a list; any other node counts as a list of itself."""
        return [replace(self, raw=raw, key=raw) for raw in self.raw.value] if self.is_list else [self]

    def mapping(self, name: str, known: Collection[str] = ()) -> dict[str, Node]:
        """The members of a mapping by key; of those in `known`, if given. Anything else is reported."""
        if not self.is_mapping:
            self.report(f"{name or 'a search space'} must be a mapping (name: value); got {show_value(self.value)}")
            return {}
        members: dict[str, Node] = {}
        for key, raw in self.raw.value:
            member, word = Node(raw, key, self.file, self.problems), str(key.value)
            if not isinstance(key, yaml.ScalarNode):
                member.report("keys must be strings, not lists or mappings", at_key=True)
            elif known and word not in known:
                hint = did_you_mean(word, known) or f"; valid keys: {', '.join(known)}"
                member.report(f"unknown key '{name and f'{name}.'}{word}'{hint}", at_key=True)
            else:
                if word in members:
                    member.report_duplicate(word, members[word])
                members[word] = member
        return members

    def descendant(self, path: Iterable[str | int]) -> Node:
        """The node at a path of keys and indices, or the last one on the way that exists."""
        node = self
        for part in path:
            members: Mapping[Any, Node] = node.mapping("") if node.is_mapping else dict(enumerate(node.items()))
            node = members.get(part, node)
        return node

    def report(self, problem: str, at_key: bool = False) -> None:
        """Add a problem, at the location of the value or of its key."""
        self.problems.append(f"{self.key_location if at_key else self.location}: {problem}")

    def report_duplicate(self, name: str, first: Node) -> None:
        """Add the problem of a key that was defined before."""
        self.report(f"duplicate key '{name}' (first defined on line {first.key.start_mark.line + 1})", at_key=True)

    def _at(self, raw: yaml.Node) -> str:
        return f"{self.file}:{raw.start_mark.line + 1}:{raw.start_mark.column + 1}"
