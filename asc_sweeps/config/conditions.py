"""Conditions over settings, as a person writes them in YAML: `model.width <= 48 or not model.mfa`.

Read as Python's expressions, but nothing is ever executed: only the few forms below are understood.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.errors import did_you_mean

CONSTANTS = {"true": True, "false": False, "null": None}
COMPARISONS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
}
FORMS = "settings, numbers, words in quotes, true, false, null, comparisons, in [..], + - * / %, and, or, not"
LONGEST = 1_000


@dataclass(frozen=True)
class Condition:
    """One condition over the settings of a trial."""

    text: str
    tree: ast.expr

    def holds(self, settings: Mapping[str, object]) -> bool:
        """Whether it is true of settings by their dotted names; a setting that is not there is null.

        An order with null (`finetune.max_drop_rate > 0.5` of a trial without fine-tuning) does not hold.
        """
        return bool(_value(self.tree, settings))


def read_condition(text: str) -> Condition:
    """Read a condition. Raises ValueError saying what is not understood.

    >>> read_condition("model.width <= 48 or not model.mfa").holds({"model.width": 64, "model.mfa": False})
    True
    """
    if len(text) > LONGEST:
        raise ValueError(f"longer than {LONGEST:,} signs")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise ValueError(f"not a condition; it may hold {FORMS}") from None
    _check(tree)
    return Condition(text, tree)


def _check(node: ast.expr) -> None:
    match node:
        case ast.BoolOp():
            parts = node.values
        case ast.UnaryOp(op=ast.Not() | ast.USub()):
            parts = [node.operand]
        case ast.Compare() if all(type(op) in COMPARISONS for op in node.ops):
            parts = [node.left, *node.comparators]
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            parts = [node.left, node.right]
        case ast.List() | ast.Tuple():
            parts = node.elts
        case ast.Constant(value=bool() | int() | float() | str()):
            parts = []
        case ast.Name() | ast.Attribute() if name := _name(node):
            parts = []
            if name not in CONSTANTS and name not in setting_fields():
                raise ValueError(f"unknown setting '{name}'{did_you_mean(name, setting_fields())}")
        case _:
            raise ValueError(f"'{ast.unparse(node)}' is not understood; a condition may hold {FORMS}")
    for part in parts:
        _check(part)


def _name(node: ast.expr) -> str:
    """The dotted name of a setting, or nothing for another form."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (front := _name(node.value)):
        return f"{front}.{node.attr}"
    return ""


def _value(node: ast.expr, settings: Mapping[str, object]) -> Any:
    match node:
        case ast.BoolOp(op=ast.And()):
            return all(_value(part, settings) for part in node.values)
        case ast.BoolOp():
            return any(_value(part, settings) for part in node.values)
        case ast.UnaryOp(op=ast.Not()):
            return not _value(node.operand, settings)
        case ast.Constant():
            return node.value
        case ast.List() | ast.Tuple():
            return [_value(part, settings) for part in node.elts]
        case ast.Name() | ast.Attribute():
            name = _name(node)
            return CONSTANTS[name] if name in CONSTANTS else settings.get(name)
    try:
        match node:
            case ast.UnaryOp():
                return -_value(node.operand, settings)
            case ast.BinOp():
                return ARITHMETIC[type(node.op)](_number(node.left, settings), _number(node.right, settings))
            case ast.Compare():
                values = [_value(part, settings) for part in (node.left, *node.comparators)]
                pairs = zip(node.ops, values, values[1:], strict=False)
                return all(COMPARISONS[type(op)](a, b) for op, a, b in pairs)
    except (TypeError, ZeroDivisionError):  # an order with null, or of a number and a word
        return None
    raise AssertionError(f"_check lets no {node} through")


def _number(node: ast.expr, settings: Mapping[str, object]) -> float:
    value = _value(node, settings)
    if not isinstance(value, int | float):
        raise TypeError("only numbers are reckoned with")
    return value
