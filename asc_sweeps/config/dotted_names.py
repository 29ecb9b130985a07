"""Settings by dotted name (`model.width`) and as nested groups: each form from the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten_settings(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Values by dotted name.

    >>> flatten_settings({"seed": 1, "model": {"width": 40}, "finetune": None})
    {'seed': 1, 'model.width': 40, 'finetune': None}
    """
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        flat |= flatten_settings(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return flat


def nest_settings(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of values, from values by dotted name.

    >>> nest_settings({"seed": 1, "model.width": 40, "finetune": None})
    {'seed': 1, 'model': {'width': 40}, 'finetune': None}
    """
    tree: dict[str, Any] = {}
    for name, value in flat.items():
        group, _, member = name.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[member] = value
    return tree
