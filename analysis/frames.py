"""Results as tables of pandas: one row a trial, one row an epoch. Knows nothing of the paper's tables."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.paper import DEVICES, SEEN, UNSEEN
from asc_sweeps.config import TrialConfig, setting_fields
from asc_sweeps.results import Complexity, TrialResult

CURVE_COLUMNS = ("learning_rate", "drop_rate", "train_loss", "validation_log_loss", "validation_accuracy", "seconds")


PHASE_WORDS = {
    "finetuned": "finetune",
    "distilled": "distill",
    "specialized": "per_device",
    "quantized": "quantize",
    "evaluated": "evaluate",
}


def trials_frame(results: Sequence[TrialResult]) -> pd.DataFrame:
    """One row a trial.

    Columns with a dot in their name, and `seed`, are settings; `log_loss` (natural) and `accuracy` (0..1) are of the whole test
    split, with a device's name behind them of that device, with `seen`, `unseen` or `devices` means over these or all devices;
    `validation_*` are of the validation split; `log_loss_converted` is of an INT8 network before it was trained rounded; `plain`
    says that nothing came after pretraining or fine-tuning; `seconds` is the trial's own time, its start's not counted.
    """
    rows = [_row(result) for result in results]
    return pd.DataFrame(rows) if rows else pd.DataFrame([_row(_EXAMPLE)]).iloc[:0]


def setting_columns(frame: pd.DataFrame) -> list[str]:
    """The columns that hold settings, the seed left out, in the order of their names."""
    return sorted(column for column in frame.columns if "." in column)


def curves_frame(results: Sequence[TrialResult]) -> pd.DataFrame:
    """One row an epoch of a trial; `step` counts the epochs of all its phases from 1, what was not logged is NaN."""
    rows = [
        {
            "signature": result.signature,
            "system": result.system,
            "seed": result.settings.get("seed"),
            "step": step,
            "phase": str(row.get("phase")),
            **{name: float("nan") if row.get(name) is None else row[name] for name in CURVE_COLUMNS},
        }
        for result in results
        for step, row in enumerate(result.history, start=1)
    ]
    return pd.DataFrame(rows, columns=["signature", "system", "seed", "step", "phase", *CURVE_COLUMNS])


def _row(result: TrialResult) -> dict[str, Any]:
    scores = {(s.split, s.by, s.name): s for s in result.scores}
    row: dict[str, Any] = {
        "signature": result.signature,
        "system": result.system,
        "phase": result.phase,
        "start": result.start,
        **{word: result.settings.get(phase) is not None for word, phase in PHASE_WORDS.items()},
        "data_name": result.data.get("name"),
        "data_fingerprint": result.data.get("fingerprint"),
        "dropped_device": result.data.get("dropped_device"),
        "generated": bool(result.data.get("generated")),
        **{
            f"{split}_segments": result.data.get("segments", {}).get(split, 0)
            for split in ("train", "validation", "test")
        },
        "params": result.complexity.params,
        "macs": result.complexity.macs,
        "seconds": result.seconds,
        "finished_at": result.finished_at,
    }
    for measure in ("log_loss", "accuracy"):
        for split, prefix in (("test", ""), ("validation", "validation_")):
            score = scores.get((split, "overall", "micro"))
            row[prefix + measure] = getattr(score, measure) if score else float("nan")
        for device in DEVICES:
            score = scores.get(("test", "device", device))
            row[f"{measure}_{device}"] = getattr(score, measure) if score else float("nan")
        for group, devices in (("seen", SEEN), ("unseen", UNSEEN), ("devices", DEVICES)):
            # A mean over fewer devices is another number: without one of them there is none.
            row[f"{measure}_{group}"] = sum(row[f"{measure}_{device}"] for device in devices) / len(devices)
    converted = scores.get(("test", "conversion", "without training"))
    row["log_loss_converted"] = converted.log_loss if converted else float("nan")
    row["plain"] = not any(row[word] for word in PHASE_WORDS if word != "finetuned")
    return row | _flat(result.settings)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted name: those of a phase that is off NaN, those newer than the result at their default."""
    flat: dict[str, Any] = {}
    for group, (usual, members) in _groups().items():
        off = settings.get(group, usual) is None
        flat |= dict.fromkeys(members, float("nan")) if off else members
    for name, value in settings.items():
        if isinstance(value, dict):
            flat |= {f"{name}.{member}": inner for member, inner in value.items()}
        elif value is not None:
            flat[name] = value
    return flat


@functools.cache
def _groups() -> dict[str, tuple[Any, dict[str, Any]]]:
    """By a group of settings its own default, None where it is off, and its settings' defaults by dotted name."""
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, field in setting_fields().items():
        group = name.rpartition(".")[0]
        usual = TrialConfig.model_fields[group].default if group else name  # the seed belongs to none
        found.setdefault(group, (usual, {}))[1][name] = field.default
    return found


# Gives the columns and their types where there is no result.
_EXAMPLE = TrialResult("", "", "", {}, None, {}, Complexity(0, 0, 0), [], [], 0.0, {}, "")
