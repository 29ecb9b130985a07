"""Results as tables of pandas: one row a trial, one row an epoch. Knows nothing of the paper's tables."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pandas as pd

from asc_sweeps.config.trial_config import TrialConfig
from asc_sweeps.config.trial_settings import setting_fields
from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES, UNSEEN_DEVICES
from asc_sweeps.workspace.records import Complexity, TrialResult

NAN = float("nan")
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
    split, with a device's name behind them of that device, with `seen`, `unseen` or `devices` means over these or all devices,
    with `macro` the mean over scenes (the challenge's ranking); `validation_*` are of the validation split; `log_loss_converted`
    is of an INT8 network before it was trained rounded; `plain` says that nothing came after pretraining or fine-tuning;
    `seconds` is the trial's own time, its start's not counted.
    """
    return pd.DataFrame(_columns(results)) if results else pd.DataFrame(_columns([_EXAMPLE])).iloc[:0]


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


def _columns(results: Sequence[TrialResult]) -> dict[str, list[Any]]:
    """By columns, since a row a trial would be made of thousands of pieces."""
    data = [result.data for result in results]
    trees = [result.settings for result in results]
    columns: dict[str, list[Any]] = {
        name: [getattr(result, name) for result in results] for name in ("signature", "system", "phase", "start")
    }
    columns |= {word: [tree.get(phase) is not None for tree in trees] for word, phase in PHASE_WORDS.items()}
    columns |= {f"data_{name}": [its.get(name) for its in data] for name in ("name", "fingerprint")}
    columns["dropped_device"] = [its.get("dropped_device") for its in data]
    columns["generated"] = [bool(its.get("generated")) for its in data]
    for split in ("train", "validation", "test"):
        columns[f"{split}_segments"] = [its.get("segments", {}).get(split, 0) for its in data]
    columns |= {name: [getattr(result.complexity, name) for result in results] for name in ("params", "macs")}
    columns |= {name: [getattr(result, name) for result in results] for name in ("seconds", "finished_at")}
    columns |= _scores(results)
    after = [columns[word] for word in PHASE_WORDS if word != "finetuned"]
    columns["plain"] = [not any(phases) for phases in zip(*after, strict=True)]
    return columns | _settings(trees)


def _scores(results: Sequence[TrialResult]) -> dict[str, list[float]]:
    scores = [{(s.split, s.by, s.name): s for s in result.scores} for result in results]

    def column(measure: str, *key: str) -> list[float]:
        return [NAN if score is None else getattr(score, measure) for score in (its.get(key) for its in scores)]

    columns: dict[str, list[float]] = {}
    for measure in ("log_loss", "accuracy"):
        columns[measure] = column(measure, "test", "overall", "micro")
        columns[f"{measure}_macro"] = column(measure, "test", "overall", "macro")
        columns[f"validation_{measure}"] = column(measure, "validation", "overall", "micro")
        columns |= {f"{measure}_{device}": column(measure, "test", "device", device) for device in DEVICES}
        for group, devices in (("seen", SEEN_DEVICES), ("unseen", UNSEEN_DEVICES), ("devices", DEVICES)):
            # A mean over fewer devices is another number: without one of them there is none.
            its = zip(*(columns[f"{measure}_{device}"] for device in devices), strict=True)
            columns[f"{measure}_{group}"] = [sum(values) / len(devices) for values in its]
    columns["log_loss_converted"] = column("log_loss", "test", "conversion", "without training")
    return columns


def _settings(trees: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Settings by dotted name: those of a phase that is off NaN, those newer than the result at their default."""
    columns: dict[str, list[Any]] = {}
    for name in dict.fromkeys(chain(_groups(), chain.from_iterable(trees))):
        usual, members = _groups().get(name, (NAN, {}))
        values = [tree.get(name, usual) for tree in trees]
        if not members and not any(isinstance(value, dict) for value in values):
            columns[name] = [NAN if value is None else value for value in values]
            continue
        its = [value if value is None or isinstance(value, dict) else {} for value in values]
        for member in dict.fromkeys(chain(members, chain.from_iterable(one for one in its if one))):
            default = members.get(member, NAN)
            columns[f"{name}.{member}"] = [NAN if one is None else one.get(member, default) for one in its]
    return columns


@functools.cache
def _groups() -> dict[str, tuple[Any, dict[str, Any]]]:
    """By a group of settings its own default, None where it is off, and its settings' defaults; the seed has none in it."""
    found: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, field in setting_fields().items():
        group, _, member = name.rpartition(".")
        if group:
            found.setdefault(group, (TrialConfig.model_fields[group].default, {}))[1][member] = field.default
        else:
            found[name] = (field.default, {})
    return found


# Gives the columns and their types where there is no result.
_EXAMPLE = TrialResult("", "", "", {}, None, {}, Complexity(0, 0, 0), [], [], 0.0, {}, "")
