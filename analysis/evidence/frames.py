"""Results as data frames: one row per trial, one row per epoch. Knows nothing of the paper's tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import pandas as pd

from asc_sweeps.config.dotted_names import flatten_settings
from asc_sweeps.config.trial_settings import PHASES, setting_fields
from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES, UNSEEN_DEVICES
from asc_sweeps.workspace.records import Complexity, TrialData, TrialResult

NAN = float("nan")
CURVE_COLUMNS = ("learning_rate", "drop_rate", "train_loss", "validation_log_loss", "validation_accuracy", "seconds")
PHASE_COLUMNS = {
    "finetuned": "finetune",
    "distilled": "distill",
    "specialized": "per_device",
    "quantized": "quantize",
    "evaluated": "evaluate",
}
"""Columns that say whether a trial has a phase."""


def trials_frame(results: Sequence[TrialResult]) -> pd.DataFrame:
    """One row per trial.

    Columns with a dot in their name, and `seed`, are settings. `log_loss` (natural) and `accuracy` (0..1) are of the whole test
    split; with a device's name appended, of that device; with `seen`, `unseen` or `devices`, means over these or all devices; with
    `macro`, the mean over scenes (the challenge's ranking). `validation_*` are of the validation split; `log_loss_before` is of the
    trial that it started from, `log_loss_converted` of an INT8 network before INT8 training; `plain` says that no phase came after
    pretraining or fine-tuning; `seconds` is the trial's own time, without that of its start.
    """
    return pd.DataFrame(_columns(results)) if results else pd.DataFrame(_columns([_EXAMPLE])).iloc[:0]


def setting_columns(frame: pd.DataFrame) -> list[str]:
    """The columns of settings except the seed, sorted by name."""
    return sorted(column for column in frame.columns if "." in column)


def curves_frame(results: Sequence[TrialResult]) -> pd.DataFrame:
    """One row per epoch of a trial; `step` counts the epochs of all phases from 1, values that were not logged are NaN."""
    rows = []
    for result in results:
        trial = {"signature": result.signature, "system": result.system, "seed": result.settings.get("seed")}
        for step, epoch in enumerate(result.history, start=1):
            values = {name: NAN if (value := epoch.get(name)) is None else value for name in CURVE_COLUMNS}
            rows.append({**trial, "step": step, "phase": str(epoch.get("phase")), **values})
    return pd.DataFrame(rows, columns=["signature", "system", "seed", "step", "phase", *CURVE_COLUMNS])


def _columns(results: Sequence[TrialResult]) -> dict[str, list[Any]]:
    """The frame by columns, which is much faster than by rows."""
    trees = [result.settings for result in results]
    columns: dict[str, list[Any]] = {
        name: [getattr(result, name) for result in results] for name in ("signature", "system", "phase", "start")
    }
    columns |= {column: [tree.get(phase) is not None for tree in trees] for column, phase in PHASE_COLUMNS.items()}
    columns["data_name"] = [result.data.get("name") for result in results]
    columns["data_fingerprint"] = [result.data.get("fingerprint") for result in results]
    columns["dropped_device"] = [result.data.get("dropped_device") for result in results]
    columns["generated"] = [bool(result.data.get("generated")) for result in results]
    for split in ("train", "validation", "test"):
        columns[f"{split}_segments"] = [result.data.get("segments", {}).get(split, 0) for result in results]
    columns |= {name: [getattr(result.complexity, name) for result in results] for name in ("params", "macs")}
    columns |= {name: [getattr(result, name) for result in results] for name in ("seconds", "finished_at")}
    columns |= _scores(results)
    log_losses = dict(zip(columns["signature"], columns["log_loss"], strict=True))
    columns["log_loss_before"] = [log_losses.get(start, NAN) for start in columns["start"]]
    after = [columns[column] for column in PHASE_COLUMNS if column != "finetuned"]
    columns["plain"] = [not any(phases) for phases in zip(*after, strict=True)]
    return columns | _settings(trees)


def _scores(results: Sequence[TrialResult]) -> dict[str, list[float]]:
    scores = [{(s.split, s.by, s.name): s for s in result.scores} for result in results]

    def column(measure: str, split: str, by: str, name: str) -> list[float]:
        return [getattr(trial.get((split, by, name)), measure, NAN) for trial in scores]

    columns: dict[str, list[float]] = {}
    for measure in ("log_loss", "accuracy"):
        columns[measure] = column(measure, "test", "overall", "micro")
        columns[f"{measure}_macro"] = column(measure, "test", "overall", "macro")
        columns[f"validation_{measure}"] = column(measure, "validation", "overall", "micro")
        columns |= {f"{measure}_{device}": column(measure, "test", "device", device) for device in DEVICES}
        for group, devices in (("seen", SEEN_DEVICES), ("unseen", UNSEEN_DEVICES), ("devices", DEVICES)):
            # A mean over fewer devices would be another measure: it is NaN if one of them is missing.
            by_trial = zip(*(columns[f"{measure}_{device}"] for device in devices), strict=True)
            columns[f"{measure}_{group}"] = [sum(values) / len(devices) for values in by_trial]
    columns["log_loss_converted"] = column("log_loss", "test", "conversion", "without training")
    return columns


def _settings(trees: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Settings by dotted name: NaN for those of a phase that is off, the default for those newer than the result."""
    known, flat = setting_fields(), [flatten_settings(tree) for tree in trees]
    columns: dict[str, list[Any]] = {}
    for name in dict.fromkeys(chain(known, *flat)):
        if name not in PHASES:
            phase, default = name.partition(".")[0], known[name].default if name in known else NAN
            off = [phase in PHASES and tree.get(phase) is None for tree in trees]
            columns[name] = [NAN if o else settings.get(name, default) for o, settings in zip(off, flat, strict=True)]
    return columns


_EXAMPLE = TrialResult(
    "",
    "",
    "",
    {},
    None,
    TrialData(name="", fingerprint="", generated=False, dropped_device=None, segments={}),
    Complexity(0, 0, 0),
    [],
    [],
    0.0,
    {},
    "",
)
"""Gives columns and their types where there are no results."""
