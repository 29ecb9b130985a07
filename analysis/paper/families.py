"""Which trials fill a table: only those that differ in nothing but the table's axes and the seed, so that settings never mix.

Knows settings by their dotted names; knows no table.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence.frames import setting_columns
from analysis.page.formats import listed, plural
from analysis.published import EPOCHS, TABLE2, WIDTH
from analysis.statistics import mean_interval
from asc_sweeps.config.trial_settings import setting_fields

DESCRIBED = {"data.dataset", "data.fingerprint", "model.block", "model.mfa", "model.fpm", "model.width"}
DESCRIBED |= {"pretrain.epochs", "features.n_mels", "finetune.epochs", "seed"}
"""Settings that `Family.describe`, or the name of a system, states in words."""


@dataclass(frozen=True)
class Family:
    """Trials of one table; column `row` holds the row that each trial fills."""

    trials: pd.DataFrame
    others: int = 0
    """Number of families not shown."""
    axes: tuple[str, ...] = ()

    @property
    def generated(self) -> bool:
        """Whether the data are generated; then nothing is said about the paper's scores."""
        return bool(self.trials["generated"].any())

    @property
    def width(self) -> int | None:
        """Base channels of all networks, None where they differ."""
        widths = self.trials["model.width"].unique()
        return int(widths[0]) if len(widths) == 1 else None

    @property
    def caveat(self) -> str:
        """Beginning of a figure's caption."""
        return "Generated data. " if self.generated else ""

    def describe(self) -> str:
        """Width, epochs, mel bands, data, seeds, other settings that differ from their defaults, and what is not shown."""
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
        changed = [
            f"{name} {_values(self.trials[name])}"
            for name, known in setting_fields().items()
            if name not in {*DESCRIBED, *self.axes} and (self.trials[name].dropna() != known.default).any()
        ]
        text = f"Shown: {', '.join(parts)}. "
        text += (
            f"Non-default settings: {', '.join(changed)}." if changed else "All other settings are at their defaults."
        )
        if self.others:
            text += f" Not shown: {plural(self.others, 'other family')} of settings, listed under Trials."
        return text


def paper_systems(frame: pd.DataFrame) -> pd.Series:
    """The system of Table 2, at any width, that each trial's network is; None for networks that the paper does not have."""
    systems = {(row.block, row.mfa, row.fpm, True): row.system for row in TABLE2}
    keys = zip(*(frame[f"model.{name}"] for name in ("block", "mfa", "fpm", "stem_attention")), strict=True)
    return pd.Series([systems.get(key) for key in keys], index=frame.index, dtype=object)


def family_keys(frame: pd.DataFrame, axes: Iterable[str]) -> pd.Series:
    """For each trial a text of its data and its settings except the axes and the seed: equal within a family.

    Settings that are equal for all trials, nearly all of them, are left out.
    """
    columns = [*set(setting_columns(frame)).difference(axes), "data_name", "data_fingerprint"]
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
    """Whether a numeric column is evidently constant or all missing; ten times as fast as listing its values."""
    values = column.to_numpy() if isinstance(column.dtype, np.dtype) else np.array([])
    return len(values) > 0 and bool((values == values[0]).all() or (values != values).all())


def best_family(trials: pd.DataFrame, axes: tuple[str, ...], keys: pd.Series | None = None) -> Family | None:
    """The family that comes nearest to the paper's table, of those in `keys` (`family_keys` by default); None without trials.

    Real data before generated, the paper's width, most rows, epochs up to the paper's, then most segments and trials; ties go to
    the first key.
    """
    if trials.empty:
        return None
    keys = family_keys(trials, axes) if keys is None else keys
    ranked = pd.DataFrame(
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
    by_key = ranked.groupby("key", sort=True)
    ranks = pd.DataFrame(  # `agg` would take three times as long
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
    return Family(trials[keys == best], len(ranks) - 1, axes)


def best_family_with_starts(
    trials: pd.DataFrame, axes: tuple[str, ...], phases: tuple[str, ...], own_axes: Iterable[str]
) -> Family | None:
    """The best family of fine-tuned trials together with the trials of the networks that they start from.

    Fine-tuned trials of a family have equal settings except `own_axes`, its other trials except all those of `phases`. A start
    belongs to every family that is tuned from it, or is a family by itself.
    """
    tuned = trials["finetuned"].astype(bool)
    base = family_keys(trials, [c for c in setting_columns(trials) if c.startswith(phases)])
    keys = base[tuned] + family_keys(trials[tuned], own_axes)
    families = pd.DataFrame({"base": base[tuned], "key": keys}).drop_duplicates()
    starts = base[~tuned].rename("base").rename_axis("trial").reset_index().merge(families, on="base", how="left")
    starts["key"] = starts["key"].fillna(starts["base"])
    together = pd.concat([trials.loc[starts["trial"]], trials[tuned]], ignore_index=True)
    return best_family(together, axes, pd.concat([starts["key"], keys], ignore_index=True))


def summarise(trials: pd.DataFrame, measures: Iterable[str]) -> dict[str, Any]:
    """Mean over seeds of each measure, and as `<measure>_sd`, `_low`, `_high`, `_half` and `_by_seed` its spread.

    Sample standard deviation; ends and half-width of the 95 % t interval, NaN below three seeds; values in the order of the seeds.
    """
    means: dict[str, Any] = {}
    spreads: dict[str, Any] = {}
    by_seed = trials.sort_values("seed")
    for m in measures:
        means[m] = float(trials[m].mean(skipna=False)) if len(trials) else float("nan")
        values = by_seed[m].tolist()
        interval = mean_interval(values)
        spreads |= {f"{m}_sd": float(trials[m].std(ddof=1, skipna=False)), f"{m}_by_seed": tuple(values)}
        spreads |= {f"{m}_low": interval.low, f"{m}_high": interval.high, f"{m}_half": interval.half}
    return means | spreads


def _values(column: pd.Series) -> str:
    return listed([setting_text(value) for value in sorted(column.dropna().unique().tolist())])


def setting_text(value: object) -> str:
    """A setting's value as a user would write it."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, int | float) else str(value)
