"""A challenge submission (DCASE 2022 task 1): output file and meta file in a ZIP, checked by the challenge's rules."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.yaml_nodes import to_yaml
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.deploy.predict import HEADER
from asc_sweeps.errors import ConfigError, DataError
from asc_sweeps.models.complexity import MACS_LIMIT, PARAMS_LIMIT
from asc_sweeps.models.int8 import integer_parameters
from asc_sweeps.training.run_trial import trained_network
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import TrialResult

FILES = 118_800
"""Of the evaluation sets of 2022 and 2023."""
LABEL = re.compile(r"[A-Za-z]+_[A-Za-z0-9]+_task1_[1-4]")
OUTPUT_FILENAME = re.compile(r"[0-9]+\.wav")
LONGEST_ABBREVIATION = 10


@dataclass(frozen=True)
class Author:
    """One author; exactly one of a submission's corresponds."""

    firstname: str
    lastname: str
    email: str
    affiliation: str


def parse_author(text: str) -> Author:
    """An author of `First name; Last name; e-mail; affiliation`. Raises ConfigError for anything else.

    >>> parse_author("Ada; Lovelace; ada@lab.org; Lab").lastname
    'Lovelace'
    """
    parts = [part.strip() for part in text.split(";")]
    if len(parts) != 4 or not all(parts) or "@" not in parts[2]:
        raise ConfigError([f"--author '{text}': must read 'First name; Last name; e-mail; affiliation'"])
    return Author(*parts)


def check_label(label: str, abbreviation: str) -> None:
    """Raise ConfigError for a label or an abbreviation that the challenge does not take."""
    problems = []
    if not LABEL.fullmatch(label):
        problems.append(f"--label {label}: must read Lastname_INST_task1_N, N from 1 to 4, e.g. Lee_HYU_task1_1")
    if not 0 < len(abbreviation) <= LONGEST_ABBREVIATION:
        problems.append(f"--abbreviation '{abbreviation}': must have 1 to {LONGEST_ABBREVIATION} signs")
    if problems:
        raise ConfigError(problems)


def check_output(text: str, files: int = FILES) -> list[str]:
    """What breaks the challenge's rules in an output file; nothing where nothing does.

    TAB, the header, so many rows of unique `<n>.wav`, a known scene, ten probabilities of which the scene's is the largest.
    """
    lines = text.splitlines()
    if not lines or tuple(lines[0].split("\t")) != HEADER:
        return [f"line 1: the header must be {' TAB '.join(HEADER)}"]
    problems, seen = [], set[str]()
    for number, line in enumerate(lines[1:], start=2):
        cells = line.split("\t")
        problem = _problem(cells, seen)
        if problem:
            problems.append(f"line {number}: {problem}")
        seen.add(cells[0])
    if len(lines) - 1 != files:
        problems.append(f"must hold {files:,} files; holds {len(lines) - 1:,}")
    return problems


def _problem(cells: list[str], seen: set[str]) -> str:
    if len(cells) != len(HEADER):
        return f"must have {len(HEADER)} columns, has {len(cells)}"
    name, scene, *numbers = cells
    if not OUTPUT_FILENAME.fullmatch(name):
        return f"'{name}' is no <number>.wav"
    if name in seen:
        return f"{name} stands twice"
    if scene not in SCENES:
        return f"'{scene}' is no scene"
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        return "a probability is not a number"
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in values) or abs(sum(values) - 1) > 1e-3:
        return "must have ten probabilities that sum to 1"
    return "" if values[SCENES.index(scene)] == max(values) else f"{scene} is not the most probable scene"


def check_complexity(result: TrialResult) -> None:
    """Raise ConfigError for a network over the challenge's limits."""
    c, problems = result.complexity, []
    for word, value, limit in (("parameters", c.params, PARAMS_LIMIT), ("MACs", c.macs, MACS_LIMIT)):
        if value > limit:
            problems.append(f"{result.signature}: has {value:,} {word}, over the challenge's {limit:,}")
    if problems:
        raise ConfigError(problems)


def submission_meta(
    result: TrialResult, config: TrialConfig, workspace: Workspace, label: str, name: str, abbreviation: str,
    authors: Sequence[Author],
) -> dict[str, Any]:  # fmt: skip
    """The content of meta.yaml: who, what, how large, and the scores on the development set's test split."""
    people = [{**vars(author), **({"corresponding": True} if i == 0 else {})} for i, author in enumerate(authors)]
    seconds = f"{config.features.n_mels}-band log-mel energies"
    a = config.augment
    methods = [
        *(["time rolling"] if a.roll_probability and a.roll_seconds else []),
        *(["frequency and time masks"] if a.mask_probability and (a.frequency_masks or a.time_masks) else []),
        *(["freq-mixstyle"] if a.mixstyle_probability else []),
        *(["device impulse responses"] if a.impulse_response_probability else []),
        *(["mixup"] if config.pretrain.mixup_alpha else []),
    ]
    if config.per_device:
        raise DataError(
            f"{config.signature}: has a network for each device, and the challenge of 2022 does not tell the device of a file; "
            "submit the trial that it started from"
        )
    ways = ["weight quantization (INT8)"] if config.quantize else []
    network = trained_network(config, workspace)
    described = {
        "input_sampling_rate": "16kHz",
        "acoustic_features": seconds,
        "embeddings": None,
        "data_augmentation": ", ".join(methods) or None,
        "machine_learning_method": "CNN",
        "ensemble_method_subsystem_count": None,
        "decision_making": "maximum likelihood",
        "external_data_usage": "impulse responses" if a.impulse_response_probability else None,
        "complexity_management": ", ".join([*ways, *(["knowledge distillation"] if config.distill else [])]) or None,
        "pipeline": ", ".join(["pretraining", *_later(config)]),
        "framework": "pytorch",
    }
    sizes = {
        "total_parameters": result.complexity.params,
        "total_parameters_non_zero": _non_zero(network),
        "memory_use": result.complexity.model_bytes,
        "macs": result.complexity.macs,
    }
    return {
        "submission": {"label": label, "name": name, "abbreviation": abbreviation, "authors": people},
        "system": {
            "description": described,
            "complexity": sizes,
            "external_datasets": None,
            "source_code": None,
        },
        "results": {"development_dataset": _results(result)},
    }


def submission_zip(label: str, output: str, meta: Mapping[str, Any], note: str) -> bytes:
    """The ZIP, `task1/<label>/<label>.output.csv` and `.meta.yaml`; the same content gives the same bytes."""
    buffer = io.BytesIO()
    texts = {"output.csv": output, "meta.yaml": f"# {note}\n{to_yaml(meta)}"}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for ending, text in texts.items():
            file.writestr(zipfile.ZipInfo(f"task1/{label}/{label}.{ending}"), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def read_output(path: Path) -> str:
    """An output file's text. Raises DataError where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as a table of predictions ({error})") from None


def _later(config: TrialConfig) -> list[str]:
    words = {
        "finetune": "device-aware data-random-drop fine-tuning",
        "distill": "knowledge distillation",
        "quantize": "quantization-aware training",
    }
    return [word for name, word in words.items() if getattr(config, name) is not None]


def _non_zero(network: torch.nn.Module) -> int:
    found = [values.levels for _, values in integer_parameters(network)] or list(network.parameters())
    return int(sum(torch.count_nonzero(values).item() for values in found))


def _results(result: TrialResult) -> dict[str, Any]:
    scores = {(s.by, s.name): s for s in result.scores if s.split == "test"}

    def numbers(by: str, name: str) -> dict[str, float] | None:
        found = scores.get((by, name))
        return found and {"logloss": round(found.log_loss, 4), "accuracy": round(100 * found.accuracy, 2)}

    return {
        "overall": numbers("overall", "macro"),  # the challenge ranks by the mean over classes
        "class_wise": {scene: numbers("scene", scene) for scene in SCENES},
        "device_wise": {device: numbers("device", device) for device in DEVICES},
    }
