"""Studies that travel inside a report: each as a search space that lists its trials in full, so that the file alone repeats them.

Knows nothing of how a report looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asc_sweeps.config.packing import unpack
from asc_sweeps.config.setting_groups import Settings
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import ConfigError

REPORT_CONTENT_ID = "asc-sweeps-content"
"""Id of the element that holds what a report was made of."""


def space_as_yaml(study: str, about: str, trials: Iterable[TrialConfig]) -> str:
    """A search space's YAML that lists these trials with every setting, equal to no default's change since; one block each.

    Trials that differ in their seed alone stand in one block.
    """
    listed = list(trials)
    common, own = _parted(listed)
    seeds: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for config, its in zip(listed, own, strict=True):
        seeds.setdefault(its, []).append(config.seed)
    lines = [f"study: {json.dumps(study)}", f"about: {json.dumps(about)}", "settings:"]
    lines += [f"  {name}: {json.dumps(value)}" for name, value in common.items()]
    lines.append("grid:")
    for its, of_them in seeds.items():
        axes = {**{name: [value] for name, value in its}, "seed": of_them}
        lines.append("  - {" + ", ".join(f"{name}: {json.dumps(values)}" for name, values in axes.items()) + "}")
    return "\n".join(lines) + "\n"


def spaces_in_report(path: Path) -> Mapping[str, str]:
    """The search spaces in a report, as YAML by the study's name. Raises ConfigError for a file that is none."""
    records = [record for record in report_content(path)["studies"] if isinstance(record, dict)]
    pairs = [(record.get("name"), record.get("space")) for record in records]
    return {name: space for name, space in pairs if isinstance(name, str) and isinstance(space, str) and space}


def report_content(path: Path) -> dict[str, Any]:
    """What a report was made of: studies, trials, failures. Raises ConfigError for a file that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read as a report of asc-sweeps ({error})"]) from None
    found = re.search(rf'<script type="text/plain" id="{REPORT_CONTENT_ID}">([^<]*)</script>', text)
    try:
        content = json.loads(unpack(found[1])) if found else None
        known = isinstance(content, dict) and isinstance(content.get("studies"), list)
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: what this report was made of is damaged in it ({error})"]) from None
    if not known or content is None:
        raise ConfigError([f"{path}: not a report that `asc-sweeps report` wrote, or one that holds no studies"])
    return content


def _parted(trials: Sequence[TrialConfig]) -> tuple[dict[str, Any], list[tuple[tuple[str, Any], ...]]]:
    """The settings that all of them have in common, the seed left out, and for each of them its others, by dotted name.

    Group by group, as most of their values are one for all trials.
    """
    common: dict[str, Any] = {}
    own: list[tuple[tuple[str, Any], ...]] = [()] * len(trials)
    for group in (name for name in TrialConfig.model_fields if name != "seed"):
        found = [getattr(config, group) for config in trials]
        values = [None if one is None else tuple(vars(one).values()) for one in found]
        others: dict[tuple[Any, ...] | None, tuple[tuple[str, Any], ...]] = {}
        for one, value in zip(found, values, strict=True):
            if value not in others:
                others[value] = ((group, None),) if one is None else tuple(_dotted(group, one))
        first, *rest = others.values() or ((),)
        shared = set(first).intersection(*rest)
        common |= dict(pair for pair in first if pair in shared)
        others = {value: tuple(pair for pair in its if pair not in shared) for value, its in others.items()}
        own = [(*before, *others[value]) for before, value in zip(own, values, strict=True)]
    return common, own


def _dotted(group: str, settings: Settings) -> Iterable[tuple[str, Any]]:
    return ((f"{group}.{member}", value) for member, value in vars(settings).items())
