"""Studies stored in a report, each as a search space that lists its trials in full, so that the report alone can repeat them.

Knows nothing of what a report looks like.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from asc_sweeps.config.dotted_names import flatten_settings
from asc_sweeps.config.packing import unpack
from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.errors import ConfigError

REPORT_CONTENT_ID = "asc-sweeps-content"
"""Id of the report's element that holds the data it was made from."""


def space_as_yaml(study: str, about: str, trials: Iterable[TrialConfig]) -> str:
    """A search space that lists these trials with every setting, whatever later versions' defaults are.

    Each block of its grid is one trial, or trials that differ in their seed only.
    """
    listed = list(trials)
    values = [tuple(flatten_settings(trial.model_dump(exclude={"seed"})).items()) for trial in listed]
    common = set(values[0]).intersection(*values[1:])
    seeds: dict[tuple[tuple[str, Any], ...], list[int]] = {}
    for trial, settings in zip(listed, values, strict=True):
        seeds.setdefault(tuple(pair for pair in settings if pair not in common), []).append(trial.seed)
    lines = [f"study: {json.dumps(study)}", f"about: {json.dumps(about)}", "settings:"]
    lines += [f"  {name}: {json.dumps(value)}" for name, value in values[0] if (name, value) in common]
    lines.append("grid:")
    for settings, of_block in seeds.items():
        axes = {**{name: [value] for name, value in settings}, "seed": of_block}
        lines.append("  - {" + ", ".join(f"{name}: {json.dumps(axis)}" for name, axis in axes.items()) + "}")
    return "\n".join(lines) + "\n"


def spaces_in_report(path: Path) -> Mapping[str, str]:
    """The search spaces in a report, as YAML by the study's name. Raises ConfigError for any other file."""
    records = [record for record in report_content(path)["studies"] if isinstance(record, dict)]
    pairs = [(record.get("name"), record.get("space")) for record in records]
    return {name: space for name, space in pairs if isinstance(name, str) and isinstance(space, str) and space}


def report_content(path: Path) -> dict[str, Any]:
    """The data that a report was made from: studies, trials, failures. Raises ConfigError for any other file."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read as a report ({error})"]) from None
    found = re.search(rf'<script type="text/plain" id="{REPORT_CONTENT_ID}">([^<]*)</script>', text)
    try:
        content = json.loads(unpack(found[1])) if found else None
    except (ValueError, RecursionError) as error:
        raise ConfigError([f"{path}: the report's data are corrupt ({error})"]) from None
    if not isinstance(content, dict) or not isinstance(content.get("studies"), list):
        raise ConfigError([f"{path}: not a report of `asc-sweeps report`, or one without studies"])
    return content
