"""A challenge submission (DCASE 2022 task 1): output file and meta file in a ZIP, checked by the challenge's rules."""

from __future__ import annotations

import io
import math
import re
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.yaml_nodes import to_yaml
from asc_sweeps.data.labels import DEVICES, SCENES
from asc_sweeps.deploy.predict import HEADER
from asc_sweeps.errors import ConfigError, DataError
from asc_sweeps.models.complexity import MACS_LIMIT, PARAMS_LIMIT
from asc_sweeps.models.int8 import integer_parameters
from asc_sweeps.training.stored_network import trained_network
from asc_sweeps.workspace.paths import Workspace
from asc_sweeps.workspace.records import TrialResult

FILES = 118_800  # in the evaluation sets of 2022 and 2023
LABEL = re.compile(r"[A-Za-z]+_[A-Za-z0-9]+_task1_[1-4]")
OUTPUT_FILENAME = re.compile(r"[0-9]+\.wav")
MAX_ABBREVIATION = 10
LATER_PHASES = {
    "finetune": "device-aware data-random-drop fine-tuning",
    "distill": "knowledge distillation",
    "quantize": "quantization-aware training",
}


@dataclass(frozen=True)
class Author:
    """An author; the first one of a submission is the corresponding author."""

    firstname: str
    lastname: str
    email: str
    affiliation: str


def parse_author(text: str) -> Author:
    """An author given as `First name; Last name; e-mail; affiliation`. Raises ConfigError for anything else.

    >>> parse_author("Ada; Lovelace; ada@lab.org; Lab").lastname
    'Lovelace'
    """
    parts = [part.strip() for part in text.split(";")]
    if len(parts) != 4 or not all(parts) or "@" not in parts[2]:
        raise ConfigError([f"--author '{text}': must have the form 'First name; Last name; e-mail; affiliation'"])
    return Author(*parts)


def check_label(label: str, abbreviation: str) -> None:
    """Raise ConfigError for a label or an abbreviation that the challenge does not accept."""
    problems = []
    if not LABEL.fullmatch(label):
        form = "must have the form Lastname_INST_task1_N with N from 1 to 4, e.g. Lee_HYU_task1_1"
        problems.append(f"--label {label}: {form}")
    if not 0 < len(abbreviation) <= MAX_ABBREVIATION:
        problems.append(f"--abbreviation '{abbreviation}': must have 1 to {MAX_ABBREVIATION} characters")
    if problems:
        raise ConfigError(problems)


def check_output(text: str, files: int = FILES) -> list[str]:
    """An output file's violations of the challenge's rules.

    Rules: separated by TAB, the header, one row per file, unique names `<n>.wav`, known scenes, and ten probabilities of which that
    of the scene is the largest.
    """
    header, *lines = text.splitlines() or [""]
    if tuple(header.split("\t")) != HEADER:
        return [f"line 1: the header must be {' TAB '.join(HEADER)}"]
    problems, seen = [], set[str]()
    for number, line in enumerate(lines, start=2):
        cells = line.split("\t")
        if problem := _row_problem(cells, seen):
            problems.append(f"line {number}: {problem}")
        seen.add(cells[0])
    if len(lines) != files:
        problems.append(f"must contain {files:,} files; contains {len(lines):,}")
    return problems


def _row_problem(cells: list[str], seen: set[str]) -> str:
    if len(cells) != len(HEADER):
        return f"must have {len(HEADER)} columns, has {len(cells)}"
    name, scene, *numbers = cells
    if not OUTPUT_FILENAME.fullmatch(name):
        return f"file name '{name}' must have the form <number>.wav"
    if name in seen:
        return f"duplicate file {name}"
    if scene not in SCENES:
        return f"unknown scene '{scene}'"
    try:
        values = [float(number) for number in numbers]
    except ValueError:
        return "a probability is not a number"
    if not all(math.isfinite(v) and 0 <= v <= 1 for v in values) or abs(sum(values) - 1) > 1e-3:
        return "must have ten probabilities that sum to 1"
    return "" if values[SCENES.index(scene)] == max(values) else f"{scene} is not the most probable scene"


def check_complexity(result: TrialResult) -> None:
    """Raise ConfigError for a network that exceeds the challenge's limits."""
    c, problems = result.complexity, []
    for word, value, limit in (("parameters", c.params, PARAMS_LIMIT), ("MACs", c.macs, MACS_LIMIT)):
        if value > limit:
            problems.append(f"{result.signature}: has {value:,} {word}, more than the challenge's {limit:,}")
    if problems:
        raise ConfigError(problems)


def submission_meta(
    result: TrialResult, config: TrialConfig, workspace: Workspace, label: str, name: str, abbreviation: str,
    authors: Sequence[Author],
) -> dict[str, Any]:  # fmt: skip
    """The content of meta.yaml: authors, description, complexity, and the scores on the development set's test split."""
    if config.per_device:
        raise DataError(
            f"{config.signature}: has one network per device, but the challenge of 2022 does not give the device of a file; "
            "submit the trial that it started from"
        )
    people = [{**vars(author), **({"corresponding": True} if i == 0 else {})} for i, author in enumerate(authors)]
    complexity = {
        "total_parameters": result.complexity.params,
        "total_parameters_non_zero": _nonzero_parameters(trained_network(config, workspace)),
        "memory_use": result.complexity.model_bytes,
        "macs": result.complexity.macs,
    }
    return {
        "submission": {"label": label, "name": name, "abbreviation": abbreviation, "authors": people},
        "system": {
            "description": _description(config),
            "complexity": complexity,
            "external_datasets": None,
            "source_code": None,
        },
        "results": {"development_dataset": _scores(result)},
    }


def submission_zip(label: str, output: str, meta: Mapping[str, Any], note: str) -> bytes:
    """The ZIP with `task1/<label>/<label>.output.csv` and `.meta.yaml`; the same content gives the same bytes."""
    buffer = io.BytesIO()
    texts = {"output.csv": output, "meta.yaml": f"# {note}\n{to_yaml(meta)}"}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for ending, text in texts.items():
            file.writestr(zipfile.ZipInfo(f"task1/{label}/{label}.{ending}"), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _description(config: TrialConfig) -> dict[str, str | None]:
    a = config.augment
    augmentations = {
        "time rolling": a.roll_probability and a.roll_seconds,
        "frequency and time masks": a.mask_probability and (a.frequency_masks or a.time_masks),
        "freq-mixstyle": a.mixstyle_probability,
        "device impulse responses": a.impulse_response_probability,
        "mixup": config.pretrain.mixup_alpha,
    }
    reductions = {"weight quantization (INT8)": config.quantize, "knowledge distillation": config.distill}
    pipeline = ["pretraining", *(word for name, word in LATER_PHASES.items() if getattr(config, name) is not None)]
    return {
        "input_sampling_rate": "16kHz",
        "acoustic_features": f"{config.features.n_mels}-band log-mel energies",
        "embeddings": None,
        "data_augmentation": ", ".join(word for word, value in augmentations.items() if value) or None,
        "machine_learning_method": "CNN",
        "ensemble_method_subsystem_count": None,
        "decision_making": "maximum likelihood",
        "external_data_usage": "impulse responses" if a.impulse_response_probability else None,
        "complexity_management": ", ".join(word for word, value in reductions.items() if value) or None,
        "pipeline": ", ".join(pipeline),
        "framework": "pytorch",
    }


def _nonzero_parameters(network: torch.nn.Module) -> int:
    tensors = [tensor.levels for _, tensor in integer_parameters(network)] or list(network.parameters())
    return int(sum(torch.count_nonzero(tensor).item() for tensor in tensors))


def _scores(result: TrialResult) -> dict[str, Any]:
    scores = {(s.by, s.name): s for s in result.scores if s.split == "test"}

    def numbers(by: str, name: str) -> dict[str, float] | None:
        if (score := scores.get((by, name))) is None:
            return None
        return {"logloss": round(score.log_loss, 4), "accuracy": round(100 * score.accuracy, 2)}

    return {
        "overall": numbers("overall", "macro"),  # the challenge ranks by the mean over classes
        "class_wise": {scene: numbers("scene", scene) for scene in SCENES},
        "device_wise": {device: numbers("device", device) for device in DEVICES},
    }
