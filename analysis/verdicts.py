"""What is said of measured scores beside the paper's, each of which is one run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.blocks import Cell, Text
from analysis.measures import ACCURACY, MEASURES, Measure
from analysis.statistics import (
    FEWEST_SEEDS,
    LEVEL,
    Difference,
    SeedSpread,
    holm,
    new_observation_equivalence_p,
    new_observation_p,
    noise_of_one_run,
    seed_spread,
    smallest_effect,
)
from analysis.words import listed, plural

MARGINS = {"accuracy": 0.01, "log_loss": 0.03}
"""Within so much of the printed number a score counts as reproduced."""
TABLES = 4
"""Whose verdicts are corrected together: Tables 2, 3 and 4 and Section 6 share the level in equal parts."""
CANNOT = "? cannot be shown"


@dataclass(frozen=True)
class Judged:
    """What a table's primary cells are found to be, by row and measure."""

    texts: Mapping[tuple[object, str], str]
    p_values: Mapping[tuple[object, str], float]
    """Of the printed number being a run of another system, after Holm."""
    spreads: Mapping[str, SeedSpread]
    """By measure, pooled over the table's rows."""


def judge(
    scores: Mapping[str, np.ndarray],
    printed: Mapping[str, Sequence[float]],
    rows: Sequence[object] | None = None,
    level: float = LEVEL,
) -> Judged:
    """Verdicts on a table's cells: is the printed number one more run of the system that was measured?

    `scores`: by measure an array of shape [rows, seeds], NaN where a row lacks a seed; rows in which a seed means nothing in
    common have columns of their own. `printed`: by measure the row's number, NaN where there is none. Seeds' spread is pooled over
    rows, Holm's correction is over all cells, at `level`. `rows` names the rows, 0, 1, ... by default.
    """
    arrays = {measure: np.asarray(values, float) for measure, values in scores.items()}
    spreads = {measure: seed_spread(values) for measure, values in arrays.items()}
    cells, tested = [], []
    for measure, values in arrays.items():
        for row in range(len(values)):
            found = values[row][~np.isnan(values[row])]
            number = float(printed[measure][row])
            if len(found) and not math.isnan(number):
                cells.append((row, measure))
                tested.append((float(found.mean()), len(found), number))
    differs, same = [], []
    for (row, measure), known in zip(cells, tested, strict=True):
        spread, one_seed = spreads[measure].of(row), known[1] < 2
        differs.append(math.nan if one_seed else new_observation_p(*known, *spread))
        margin = _margin(measure)
        same.append(math.nan if one_seed else new_observation_equivalence_p(*known, margin, *spread))
    strictest = level / max(1, sum(not math.isnan(p) for p in same))
    names = range(max((len(values) for values in arrays.values()), default=0)) if rows is None else rows
    texts, p_values = {}, {}
    for (row, measure), known, other, equal in zip(cells, tested, holm(differs), holm(same), strict=True):
        key = (names[row], measure)
        variance, _ = spreads[measure].of(row)
        hidden = abs(known[0] - known[2]) < noise_of_one_run(variance, strictest)
        never = hidden and _margin(measure) < _least_margin(variance, strictest)
        texts[key], p_values[key] = _text(*known, other, equal, never, level), other
    return Judged(texts, p_values, spreads)


def _text(mean: float, count: int, printed: float, other: float, same: float, never: bool, level: float) -> str:
    if count < 2:
        return "? one seed"
    if math.isnan(other):
        return "? seeds do not differ"
    if same < level:
        return "= reproduced"
    if other < level:
        return "▲ higher" if mean > printed else "▼ lower"
    if never:  # with infinitely many seeds the printed run would still be too noisy to tell either way
        return CANNOT
    return f"? {count} seeds are too few" if count < 5 else "? undecided"


def judge_rows(
    trials: Mapping[object, pd.DataFrame],
    printed: Mapping[object, Mapping[str, float]],
    measures: Sequence[str],
    group: Mapping[object, object] | None = None,
) -> Judged:
    """Verdicts on one of the paper's tables: by row its trials and its printed numbers; seeds of other `group`s are others."""
    scores = {}
    for measure in measures:  # a row in which a seed lacks it has no mean to judge
        whole = {row: its if its[measure].notna().all() else its.iloc[:0] for row, its in trials.items()}
        scores[measure] = seed_table(whole, measure, group)
    numbers = {measure: [float(printed[row][measure]) for row in trials] for measure in measures}
    return judge(scores, numbers, list(trials), LEVEL / TABLES)


def seed_table(
    trials: Mapping[object, pd.DataFrame], measure: str, group: Mapping[object, object] | None = None
) -> np.ndarray:
    """Scores by row and seed, shape [rows, seeds], NaN where a row lacks a seed; seeds of other groups are other columns."""
    keys = {row: [((group or {}).get(row), seed) for seed in its["seed"]] for row, its in trials.items()}
    columns = {key: i for i, key in enumerate(dict.fromkeys(key for row in keys.values() for key in row))}
    table = np.full((len(trials), len(columns)), np.nan)
    for i, (row, its) in enumerate(trials.items()):
        table[i, [columns[key] for key in keys[row]]] = its[measure]
    return table


EFFECT_WORDS = ("same direction and size", "same direction", "opposite", "cannot tell")


def effect_verdict(
    measure: Measure, found: Difference, printed: float, p_holm: float, other_holm: float, same_holm: float
) -> str:
    """What an effect is beside the paper's (EFFECT_WORDS), or without a printed one whether it is for better or worse.

    A direction is that of a difference which is not zero (`p_holm`). The size is the paper's where it is within half of it
    (`same_holm`). `opposite` takes an effect that is neither zero nor one of which the paper's could be a run (`other_holm`).
    """
    if found.seeds < FEWEST_SEEDS:
        return ("? no seed in common", "? one seed", "? two seeds")[found.seeds]
    if math.isnan(p_holm):
        return "? seeds do not differ"
    if not p_holm < LEVEL:
        return "? cannot tell"
    if math.isnan(printed) or printed == 0:
        return "▲ better" if (found.mean < 0) == measure.lower_is_better else "▼ worse"
    if (found.mean > 0) == (printed > 0):
        return "= same direction and size" if same_holm < LEVEL else "= same direction"
    return "≠ opposite" if other_holm < LEVEL else "? cannot tell: the paper's may be chance"


def verdict_cell(text: str) -> Cell:
    """A verdict as a cell."""
    kinds = {"=": "verdict-fits", "≠": "verdict-differs", "▲": "verdict-differs", "▼": "verdict-differs"}
    return Cell(text, kinds.get(text[:1], "text"))


def explained(judged: Judged) -> tuple[Text, ...]:
    """What stands above a table of scores: what its verdicts are, on which cells, and what one printed run can tell at all."""
    tests = sum(not math.isnan(p) for p in judged.p_values.values())
    if not judged.texts:
        return ()
    measures = {name: MEASURES.get(name, ACCURACY) for name in judged.spreads}
    text = (
        f"Primary outcomes: {listed([m.name for m in measures.values()])}; other cells have no verdict. = reproduced, within 0.03 of "
        "log loss or 1 point of accuracy; ▲ higher or ▼ lower than printed. A printed number is one run, so the standard error is "
        "that of a new observation (t tests, the spread of seeds pooled over the rows and taken to be normal). Holm's correction is "
        f"over the {plural(tests, 'test')} of the table, at {100 * LEVEL / TABLES:g} %: its part of the 5 % of {TABLES} tables."
    )
    noise, beyond = [], []
    for name, spread in judged.spreads.items():
        if spread.variance > 0 and tests:
            of, needed = measures[name], _least_margin(spread.variance, LEVEL / TABLES / tests)
            noise.append(
                f"± {of.amount(noise_of_one_run(spread.variance))} {of.unit} (margin {of.amount(_margin(name))})"
            )
            beyond += [f"{of.amount(needed)} {of.unit}"] if _margin(name) < needed else []
    if noise:
        text += f" However many seeds are measured, one printed run tells its system's mean only to {listed(noise)}, by this spread."
    if beyond:
        text += (
            f" So no number of seeds can show a score to be reproduced within less than {listed(beyond)}: “{CANNOT[2:]}” stands in "
            "place of a count of seeds. Effects can be shown; they open the report."
        )
    return (Text(text),)


def resolved(spreads: Mapping[str, SeedSpread], rows: str = "two rows") -> tuple[Text, ...]:
    """The line under a table that says which difference of two of its rows their seeds would find."""
    counts = [n for spread in spreads.values() for n in spread.counts if n >= FEWEST_SEEDS]
    needed = Text("How many seeds another effect needs:", ("asc-sweeps power",))
    if not counts:
        return Text(
            f"What this table can resolve: nothing about systems; that takes {FEWEST_SEEDS} seeds a row."
        ), needed
    parts = []
    for name, spread in spreads.items():
        if spread.residual > 0:
            measure = MEASURES.get(name, ACCURACY)
            found = smallest_effect(math.sqrt(2 * spread.residual / min(counts)), spread.residual_freedom)
            parts.append(f"{measure.amount(found)} {measure.unit}")
    if not parts:
        return ()
    text = (
        f"What this table can resolve with {min(counts)} seeds a row, on these places (80 % power at 5 %, a single test): a "
        f"difference between {rows} of {listed(parts)}."
    )
    return Text(text), needed


def _least_margin(variance: float, level: float) -> float:
    """Within which infinitely many seeds that agree with one run would show equivalence, by two one-sided tests at `level`."""
    return noise_of_one_run(variance, 2 * level)


def _margin(measure: str) -> float:
    return MARGINS["log_loss" if measure == "log_loss" else "accuracy"]
