"""Studies that travel inside a report: each as a search space that lists its trials in full, so that the file alone repeats them.

Knows nothing of how a report looks.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asc_sweeps.config import TrialConfig
from asc_sweeps.errors import ConfigError
from asc_sweeps.packing import unpack

CONTENT = "asc-sweeps-content"
"""Id of the element that holds what a report was made of."""


def as_space(study: str, about: str, trials: Iterable[TrialConfig]) -> str:
    """A search space's YAML that lists these trials with every setting, equal to no default's change since; one block each.

    Trials that differ in their seed alone stand in one block.
    """
    flat = [_flat(config) for config in trials]
    seedless = [{name: value for name, value in one.items() if name != "seed"} for one in flat]
    common = {
        name: value
        for name, value in (seedless[0] if seedless else {}).items()
        if all(name in other and _same(other[name], value) for other in seedless)
    }
    seeds: dict[str, list[int]] = {}
    for one, rest in zip(flat, seedless, strict=True):
        own = {name: value for name, value in rest.items() if name not in common}
        seeds.setdefault(json.dumps(own), []).append(one["seed"])
    lines = [f"study: {json.dumps(study)}", f"about: {json.dumps(about)}", "settings:"]
    lines += [f"  {name}: {json.dumps(value)}" for name, value in common.items()]
    lines.append("grid:")
    for own, its in seeds.items():
        axes = {**{name: [value] for name, value in json.loads(own).items()}, "seed": its}
        lines.append("  - {" + ", ".join(f"{name}: {json.dumps(values)}" for name, values in axes.items()) + "}")
    return "\n".join(lines) + "\n"


def spaces_in(path: Path) -> Mapping[str, str]:
    """The search spaces in a report, as YAML by the study's name. Raises ConfigError for a file that is none."""
    records = [record for record in content_of(path)["studies"] if isinstance(record, dict)]
    pairs = [(record.get("name"), record.get("space")) for record in records]
    return {name: space for name, space in pairs if isinstance(name, str) and isinstance(space, str) and space}


def content_of(path: Path) -> dict[str, Any]:
    """What a report was made of: studies, trials, failures. Raises ConfigError for a file that is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read as a report of asc-sweeps ({error})"]) from None
    found = re.search(rf'<script type="text/plain" id="{CONTENT}">([^<]*)</script>', text)
    try:
        content = json.loads(unpack(found[1])) if found else None
        known = isinstance(content, dict) and isinstance(content.get("studies"), list)
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: what this report was made of is damaged in it ({error})"]) from None
    if not known or content is None:
        raise ConfigError([f"{path}: not a report that `asc-sweeps report` wrote, or one that holds no studies"])
    return content


def _flat(config: TrialConfig) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in config.model_dump(mode="json").items():
        if isinstance(value, dict):
            found |= {f"{name}.{member}": inner for member, inner in value.items()}
        else:
            found[name] = value  # the seed, or a phase that is off
    return found


def _same(one: object, other: object) -> bool:
    return one == other and type(one) is type(other)
