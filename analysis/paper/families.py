"""Which trials fill a table: those that differ in nothing but the table's axes and the seed, never a mixture.

Knows settings by their dotted names; knows no table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence.frames import setting_columns
from analysis.page.formats import listed, plural
from analysis.published import EPOCHS, WIDTH
from analysis.statistics import mean_interval
from asc_sweeps.config.trial_settings import setting_fields

NAMED = ("data.dataset", "data.fingerprint", "model.block", "model.mfa", "model.fpm", "model.width")
NAMED += ("pretrain.epochs", "features.n_mels", "finetune.epochs")
"""Settings that a family's description, or the name of a system, says in words of its own."""


@dataclass(frozen=True)
class Family:
    """Trials of one table; column `row` says which row each fills."""

    trials: pd.DataFrame
    others: int = 0
    """Families left out."""
    axes: tuple[str, ...] = field(default=())

    @property
    def generated(self) -> bool:
        """Whether the data were generated: then nothing is said about the paper's scores."""
        return bool(self.trials["generated"].any())

    @property
    def width(self) -> int | None:
        """Base channels of all its networks, None where they differ."""
        widths = self.trials["model.width"].unique()
        return int(widths[0]) if len(widths) == 1 else None

    @property
    def caveat(self) -> str:
        """What a figure's caption begins with."""
        return "Generated data. " if self.generated else ""

    def describe(self) -> str:
        """Width, epochs, mel bands, data, seeds, every other setting not at its default, and what is left out."""
        first = self.trials.iloc[0]
        seeds = sorted(int(seed) for seed in self.trials["seed"].unique())
        parts = [
            f"width {_values(self.trials['model.width'])}",
            plural(int(first["pretrain.epochs"]), "epoch"),
            *[f"fine-tuning of {plural(int(n), 'epoch')}" for n in self.trials["finetune.epochs"].dropna().unique()],
            f"{int(first['features.n_mels'])} mel bands",
            f"{'generated ' if self.generated else ''}data {first['data_name']} "
            f"({int(first['train_segments']):,} training and {int(first['test_segments']):,} test segments)",
            f"{'seed' if len(seeds) == 1 else 'seeds'} {listed([str(seed) for seed in seeds])}",
        ]
        unusual = [
            f"{name} {_values(self.trials[name])}"
            for name, known in setting_fields().items()
            if name not in {*NAMED, *self.axes, "seed"} and (self.trials[name].dropna() != known.default).any()
        ]
        text = f"Shown: {', '.join(parts)}. "
        text += f"Not at their default: {', '.join(unusual)}." if unusual else "Everything else is at its default."
        if self.others:
            text += f" Left out: {plural(self.others, 'other family')} of settings, whose trials stand under Trials."
        return text


def family_keys(frame: pd.DataFrame, axes: Sequence[str]) -> pd.Series:
    """For each trial its settings but the axes and the seed, and its data, as one text: equal in a family.

    What is the same for all of them is left out, which is nearly everything.
    """
    columns = [c for c in setting_columns(frame) if c not in axes] + ["data_name", "data_fingerprint"]
    parts = []
    for name in sorted(columns):
        if all_same(frame[name]):
            continue
        codes, values = pd.factorize(frame[name], use_na_sentinel=False)
        if len(values) > 1:
            texts = [f"{name}: {None if pd.isna(v) else v!r}" for v in values.tolist()]
            parts.append([texts[code] for code in codes])
    keys = ["{" + ", ".join(row) + "}" for row in zip(*parts, strict=True)] if parts else ["{}"] * len(frame)
    return pd.Series(keys, index=frame.index, dtype=object)


def all_same(column: pd.Series) -> bool:
    """Whether numbers are plainly all the same, or all missing: told in a tenth of the time that it takes to list their values."""
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else np.array([])
    return len(values) > 0 and bool((values == values[0]).all() or (values != values).all())


def best_family(candidates: pd.DataFrame, axes: Sequence[str]) -> Family | None:
    """The family that comes nearest to the paper's table; None where there is no trial.

    Real data before generated, the paper's width, most rows, epochs up to the paper's, then most segments and trials.
    """
    return choose(candidates, family_keys(candidates, axes), axes)


def choose(trials: pd.DataFrame, keys: pd.Series, axes: Sequence[str]) -> Family | None:
    """The best of the families that `keys` names, trial by trial; of equal ones the first by its key."""
    if trials.empty:
        return None
    marks = pd.DataFrame(
        {
            "real": ~trials["generated"].astype(bool),
            "of_width": trials["model.width"] == WIDTH,
            "row": trials["row"],
            "epochs": trials["pretrain.epochs"].clip(upper=EPOCHS),
            "train": trials["train_segments"],
            "test": trials["test_segments"],
            "key": keys,
        }
    )
    by_key = marks.groupby("key", sort=True)
    ranks = pd.DataFrame(  # not by `agg`, which takes three times as long
        {
            "real": by_key["real"].all(),
            "of_width": by_key["of_width"].any(),
            "rows": by_key["row"].nunique(),
            "epochs": by_key["epochs"].max(),
            "segments": by_key["train"].max() + by_key["test"].max(),
            "trials": by_key.size(),
        }
    )
    best = ranks.sort_values(list(ranks.columns), ascending=False, kind="stable").index[0]
    return Family(trials[keys == best], len(ranks) - 1, tuple(axes))


def summarise(trials: pd.DataFrame, measures: Sequence[str]) -> dict[str, Any]:
    """Mean over seeds of each measure, and as `<measure>_sd`, `_low`, `_high`, `_half` and `_by_seed` its spread.

    Sample standard deviation; the ends and half the width of the 95 % t interval, NaN below three seeds; the values by seed.
    """
    means: dict[str, Any] = {m: float(trials[m].mean(skipna=False)) if len(trials) else float("nan") for m in measures}
    for m in measures:
        values = trials.sort_values("seed")[m].tolist()
        interval = mean_interval(values)
        means |= {f"{m}_sd": float(trials[m].std(ddof=1, skipna=False)), f"{m}_by_seed": tuple(values)}
        means |= {f"{m}_low": interval.low, f"{m}_high": interval.high, f"{m}_half": interval.half}
    return means


def _values(column: pd.Series) -> str:
    return listed([setting_text(value) for value in sorted(column.dropna().unique().tolist())])


def setting_text(value: object) -> str:
    """A setting's value as a user would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)
