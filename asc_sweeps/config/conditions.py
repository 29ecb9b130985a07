"""Conditions over settings, as written in YAML: `model.width <= 48 or not model.mfa`.

Parsed as Python expressions of a few forms, and interpreted here; nothing is ever executed.
"""

from __future__ import annotations

import ast
import itertools
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.errors import did_you_mean

CONSTANTS = {"true": True, "false": False, "null": None}
OPERATORS: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
FORMS = "settings, numbers, quoted strings, true, false, null, comparisons, in [..], + - * / %, and, or, not"
MAX_CHARACTERS = 1_000


@dataclass(frozen=True)
class Condition:
    """A condition over the settings of a trial."""

    text: str
    tree: ast.expr

    def holds(self, settings: Mapping[str, object]) -> bool:
        """Whether it holds for settings by dotted name; a missing setting is null.

        Comparing null with a number (`finetune.max_drop_rate > 0.5` without fine-tuning) does not hold.
        """
        return bool(_value(self.tree, settings))


def read_condition(text: str) -> Condition:
    """Parse a condition. Raises ValueError naming what is not supported.

    >>> read_condition("model.width <= 48 or not model.mfa").holds({"model.width": 64, "model.mfa": False})
    True
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"longer than {MAX_CHARACTERS:,} characters")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"not a condition; it may contain {FORMS}") from None
    _check(tree)
    return Condition(text, tree)


def _check(node: ast.expr) -> None:
    parts: list[ast.expr] = []
    match node:
        case ast.BoolOp():
            parts = node.values
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            parts = [node.operand]
        case ast.Compare() if all(type(op) in OPERATORS for op in node.ops):
            parts = [node.left, *node.comparators]
        case ast.BinOp() if type(node.op) in OPERATORS:
            parts = [node.left, node.right]
        case ast.List() | ast.Tuple():
            parts = node.elts
        case ast.Constant(value=bool() | int() | float() | str()):
            pass
        case ast.Name() | ast.Attribute() if name := _name(node):
            if name not in CONSTANTS and name not in setting_fields():
                raise ValueError(f"unknown setting '{name}'{did_you_mean(name, setting_fields())}")
        case _:
            raise ValueError(f"'{ast.unparse(node)}' is not supported; a condition may contain {FORMS}")
    for part in parts:
        _check(part)


def _name(node: ast.expr) -> str:
    """The dotted name of a setting; empty for another form."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (group := _name(node.value)):
        return f"{group}.{node.attr}"
    return ""


def _value(node: ast.expr, settings: Mapping[str, object]) -> Any:
    """The value of a checked expression; None where operands have no order or are not numbers."""

    def value(part: ast.expr) -> Any:
        return _value(part, settings)

    try:
        match node:
            case ast.BoolOp(op=ast.And()):
                return all(map(value, node.values))
            case ast.BoolOp():
                return any(map(value, node.values))
            case ast.UnaryOp(op=ast.Not()):
                return not value(node.operand)
            case ast.UnaryOp():
                return -value(node.operand)
            case ast.BinOp():
                a, b = value(node.left), value(node.right)
                numbers = isinstance(a, int | float) and isinstance(b, int | float)
                return OPERATORS[type(node.op)](a, b) if numbers else None
            case ast.Compare():
                values = [value(part) for part in (node.left, *node.comparators)]
                return all(
                    OPERATORS[type(op)](*pair) for op, pair in zip(node.ops, itertools.pairwise(values), strict=True)
                )
            case ast.Constant():
                return node.value
            case ast.List() | ast.Tuple():
                return [value(part) for part in node.elts]
        name = _name(node)
        return CONSTANTS[name] if name in CONSTANTS else settings.get(name)
    except (TypeError, ZeroDivisionError):
        return None
