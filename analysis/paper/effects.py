"""What each change does, beside what the paper reports for it: differences of two rows, paired by seed.

Effects come before scores: a printed score is one run, whose noise no number of seeds here removes, while most of what seeds and
places add to both rows cancels in their difference.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import Measure
from analysis.paper.comparisons import influences
from analysis.paper.paper_table import MeasuredTable, PaperTable
from analysis.paper.section6 import SECTION6_SCORES
from analysis.paper.table2 import TABLE2_SCORES
from analysis.paper.table3 import TABLE3_SCORES
from analysis.paper.table4 import TABLE4_SCORES
from analysis.paper.verdicts import effect_verdict, scores_by_seed
from analysis.published import DURATIONS, NO_FINETUNING, TABLE3, TABLE4, scores
from analysis.statistics import Difference, difference, holm, seed_spread, smallest_effect

EFFECT_COLUMNS = (
    *("table", "effect", "name", "measure", "paper", "difference", "by_seed", "low", "high", "p", "p_holm", "verdict"),
    *("resolves", "seeds", "seed_numbers", "left_out", "places", "generated"),
)


@dataclass(frozen=True)
class Effect:
    """Two rows of a table: the first minus the second."""

    key: str
    """Its name in commands."""
    name: str
    first: Hashable
    second: Hashable
    kind: str = ""
    """Effects of one kind pool the spread of their differences. Effects without a kind pool what remains of the spread of the
    table's scores, whose rows are trained independently, after the common effect of each seed is removed."""


@dataclass(frozen=True)
class TableEffects:
    """A measured table with the effects of its rows."""

    measured: MeasuredTable[Any]
    effects: Sequence[Effect]

    def printed(self, effect: Effect, measure: Measure) -> float:
        """The paper's effect; NaN unless it prints both rows."""
        rows = self.measured.paper.printed
        first, second = (rows.get(row, {}).get(measure.column, np.nan) for row in (effect.first, effect.second))
        return round(float(first - second), 6)


@dataclass(frozen=True)
class MeasuredEffect:
    """An effect on one measure as it was measured."""

    table: str
    effect: Effect
    measure: Measure
    printed: float
    difference: Difference
    seeds: tuple[int, ...]
    """Those that both rows have."""
    left_out: tuple[int, ...]
    """Those that only one row has."""
    generated: bool


def effects_by_table(evidence: Evidence) -> list[TableEffects]:
    """The effects of the paper's tables, including those of drop rates that only trials have."""
    tables: tuple[PaperTable[Any], ...] = (TABLE4_SCORES, TABLE2_SCORES, TABLE3_SCORES, SECTION6_SCORES)
    four, two, three, six = (evidence.cached(table.measure) for table in tables)
    six = _with_float_networks(six, evidence.frame)
    return [
        TableEffects(four, _drop_rate_effects([rate for rate in four.rows if rate != NO_FINETUNING])),
        TableEffects(two, _ablation_effects()),
        TableEffects(three, _duration_effects()),
        TableEffects(six, _int8_effects()),
    ]


def printed_effects() -> list[TableEffects]:
    """The effects that the paper prints, without any trial."""
    return effects_by_table(Evidence([], [], []))


def _ablation_effects() -> list[Effect]:
    return [
        Effect("res2net", "BC-Res2Net minus BC-ResNet", 1, 0),
        Effect("mfa", "MFA minus none", 2, 1),
        Effect("fpm", "FPM minus none", 3, 1),
        Effect("mfa-fpm", "MFA & FPM minus none", 4, 1),
    ]


def _duration_effects() -> list[Effect]:
    short = dict(zip(TABLE3, ("resnet", "res2net", "mfa-fpm"), strict=True))
    return [
        Effect(
            f"{seconds}s-{short[system]}",
            f"{system.replace('-40', '')}: {seconds} s minus 1 s",
            (system, seconds),
            (system, 1),
            f"{seconds} s",
        )
        for system in TABLE3
        for seconds in DURATIONS[1:]
    ]


def _drop_rate_effects(rates: Sequence[float]) -> list[Effect]:
    tuned = [
        Effect(
            f"finetuning-{rate:g}", f"fine-tuned, drop rate {rate:.2f}, minus its start", rate, NO_FINETUNING, "start"
        )
        for rate in rates
    ]
    drops = [Effect(f"drop-{rate:g}", f"drop rate {rate:.2f} minus 0.00", rate, 0.0, "drop") for rate in rates if rate]
    return [*tuned, *drops]


def _int8_effects() -> list[Effect]:
    kinds = {"": "no fine-tuning", "-lambda-0.04": "fine-tuned, lambda 0.04", "-lambda-0.4": "fine-tuned, lambda 0.4"}
    return [
        *(
            Effect(f"int8{key}", f"INT8 minus float: {kind}", i, ("float", i), "int8")
            for i, (key, kind) in enumerate(kinds.items())
        ),
        Effect("distilled", "INT8: distilled (teacher as large as the student) minus not", 3, 2, "distilled"),
        Effect("distilled-others", "INT8: distilled (other teachers) minus not", 4, 2, "distilled"),
    ]


def _with_float_networks(measured: MeasuredTable[Any], frame: pd.DataFrame) -> MeasuredTable[Any]:
    """Section 6 with further rows: the floating-point networks that its first three start from."""
    floats = {("float", i): frame[frame["signature"].isin(measured.rows[i]["start"])] for i in range(3)}
    rows = {0: TABLE4[0], 2: TABLE4[3]}  # with lambda 0.04 the paper prints the INT8 network alone
    printed = {("float", i): scores(row.log_loss, row.accuracy) for i, row in rows.items()}
    paper = dataclasses.replace(measured.paper, printed={**measured.paper.printed, **printed})
    return dataclasses.replace(measured, paper=paper, rows={**measured.rows, **floats})


def measured_effects(evidence: Evidence) -> list[MeasuredEffect]:
    """Every effect whose rows are both measured, for each primary outcome, even if they share no seed."""
    return [effect for table in effects_by_table(evidence) for effect in _measured(table, evidence)]


def _measured(table: TableEffects, evidence: Evidence) -> list[MeasuredEffect]:
    measured, measures = table.measured, table.measured.paper.measures
    if measured.family is None:
        return []
    columns = ["signature", "seed", *(measure.column for measure in measures)]
    by_row = {row: part[columns].drop_duplicates("seed").set_index("seed") for row, part in measured.rows.items()}
    found: dict[Effect, list[MeasuredEffect]] = {
        effect: [] for effect in table.effects if effect.first in by_row and effect.second in by_row
    }
    for measure in measures:
        differences = {e: _by_seed(by_row[e.first], by_row[e.second], measure) for e in found}
        pooled = _pooled(measured, measure, differences)
        for effect, by_seed in differences.items():
            first, second = by_row[effect.first], by_row[effect.second]
            if first[measure.column].dropna().empty or second[measure.column].dropna().empty:
                continue
            pairs = [
                (
                    evidence.predictions(first.loc[seed, "signature"]),
                    evidence.predictions(second.loc[seed, "signature"]),
                )
                for seed in by_seed.index
            ]
            stored = [(a, b) for a, b in pairs if a is not None and b is not None]
            found[effect].append(
                MeasuredEffect(
                    measured.paper.title,
                    effect,
                    measure,
                    table.printed(effect, measure),
                    difference(by_seed.tolist(), influences(stored, measure), pooled[effect]),
                    tuple(by_seed.index),
                    tuple(sorted((set(first.index) | set(second.index)) - set(by_seed.index))),
                    measured.family.generated,
                )
            )
    return [one for effects_of_measures in found.values() for one in effects_of_measures]


def _by_seed(first: pd.DataFrame, second: pd.DataFrame, measure: Measure) -> pd.Series:
    """First minus second, by the seeds that both have."""
    return (first[measure.column] - second[measure.column]).dropna().sort_index()


def _pooled(
    measured: MeasuredTable[Any], measure: Measure, differences: Mapping[Effect, pd.Series]
) -> dict[Effect, tuple[float, float]]:
    """For each effect the variance of one seed's difference and its degrees of freedom, pooled as `Effect.kind` says."""
    rows = measured.seed_spread(measure)
    pooled = {effect: (2 * rows.residual, rows.residual_freedom) for effect in differences}
    for kind in {effect.kind for effect in differences if effect.kind}:
        similar = {effect: by_seed for effect, by_seed in differences.items() if effect.kind == kind}
        groups = {effect: measured.paper.groups.get(effect.first) for effect in similar}
        frames = {effect: by_seed.rename("difference").reset_index() for effect, by_seed in similar.items()}
        spread = seed_spread(scores_by_seed(frames, "difference", groups))
        pooled |= dict.fromkeys(similar, (spread.variance, spread.freedom))
    return pooled


def effects(evidence: Evidence) -> pd.DataFrame:
    """One row per effect and primary outcome, in the order of the report.

    Columns (EFFECT_COLUMNS): `paper` is NaN where it prints none; `difference` is first minus second, the mean over the `seeds`
    that both rows have, `by_seed` its values; `low` and `high` its 95 % interval, NaN below three seeds; `p_holm` is corrected over
    all rows; `verdict` is empty on generated data; `resolves` is the effect detected with 80 % power at 5 %; `places` is 0 without
    stored predictions.
    """
    measured = measured_effects(evidence)
    judged = [not one.generated and one.difference.seeds > 1 for one in measured]
    nothing = [one.difference.p if ok else np.nan for one, ok in zip(measured, judged, strict=True)]
    beside = [
        one.difference.beside(one.printed) if ok else (np.nan, np.nan) for one, ok in zip(measured, judged, strict=True)
    ]
    corrected = (holm(nothing), holm([other for other, _ in beside]), holm([same for _, same in beside]))
    rows = [_row(one, p_holm) for one, *p_holm in zip(measured, *corrected, strict=True)]
    return pd.DataFrame(rows, columns=list(EFFECT_COLUMNS))


def _row(measured: MeasuredEffect, p_holm: Sequence[float]) -> tuple[object, ...]:
    d, effect = measured.difference, measured.effect
    verdict = "" if measured.generated else effect_verdict(measured.measure, d, measured.printed, *p_holm)
    ends, p, resolves = (np.nan, np.nan), np.nan, np.nan
    if d.seeds > 1:  # one seed compares two networks, and the table is of systems
        ends, p = (d.mean - d.half, d.mean + d.half), d.p
        resolves = smallest_effect(d.error, d.freedom) if d.error > 0 else np.nan
    names = (measured.table, effect.key, effect.name, measured.measure.column)
    values = (measured.printed, d.mean, d.by_seed, *ends, p, p_holm[0], verdict, resolves)
    return (*names, *values, d.seeds, measured.seeds, measured.left_out, d.places, measured.generated)
