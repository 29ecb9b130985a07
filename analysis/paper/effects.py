"""What each change does, beside what the paper found it to do: differences of two rows that share their seeds.

Effects come before scores: a printed score is one run, whose own noise no number of seeds here removes, while most of what seeds
and places add to two rows alike drops out of their difference.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import ACCURACY, LOG_LOSS, PRIMARY, PRIMARY_BY_DEVICE, UNSEEN_ACCURACY, Measure
from analysis.paper.comparisons import influences
from analysis.paper.families import Family
from analysis.paper.section6 import section6_family, section6_rows
from analysis.paper.table2 import table2_family, table2_rows
from analysis.paper.table3 import table3_family, table3_rows
from analysis.paper.table4 import NO_FINETUNING, table4_family, table4_rows
from analysis.paper.verdicts import effect_verdict, scores_by_seed
from analysis.published import DURATIONS, SECTION6, TABLE2, TABLE3, TABLE4, DropRow
from analysis.statistics import Difference, holm, seed_spread, smallest_effect
from analysis.statistics import difference as difference_of

Row = Hashable
COLUMNS = (
    *("table", "effect", "name", "measure", "paper", "difference", "by_seed", "low", "high", "p", "p_holm", "verdict"),
    *("resolves", "seeds", "seed_numbers", "left_out", "places", "generated"),
)


@dataclass(frozen=True)
class Effect:
    """Two rows of a table: the first minus the second."""

    key: str
    """Its name in commands."""
    name: str
    first: Row
    second: Row
    alike: str = ""
    """Effects of one such name scatter alike, and pool their differences' spread. Without it the table's rows are trained apart from
    each other, and pool what is left of their scores once what a seed does to all of them is taken out."""


@dataclass(frozen=True)
class Source:
    """One of the paper's tables: its effects, and its rows as printed and as measured."""

    table: str
    measures: tuple[Measure, ...]
    """Primary outcomes."""
    effects: Sequence[Effect]
    printed: Mapping[Row, Mapping[str, float]]
    rows: Mapping[Row, pd.DataFrame]
    family: Family | None
    """None without a trial."""
    group: Mapping[Row, object] = field(default_factory=dict)
    """Of rows in which a seed means something else: seeds of two groups have nothing in common."""

    def printed_effect(self, effect: Effect, measure: Measure) -> float:
        """Of the paper; NaN where it prints one row only."""
        first, second = (self.printed.get(row, {}).get(measure.column, np.nan) for row in (effect.first, effect.second))
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
    """Those that one row has alone."""
    generated: bool


def sources(evidence: Evidence) -> list[Source]:
    """The paper's tables with the effects of their rows, and of drop rates that trials add."""
    return [
        _table4(evidence.cached(table4_family), evidence.cached(table4_rows)),
        _table2(evidence.cached(table2_family), evidence.cached(table2_rows)),
        _table3(evidence.cached(table3_family), evidence.cached(table3_rows)),
        _section6(evidence.cached(section6_family), evidence.cached(section6_rows), evidence.frame),
    ]


def papers_sources() -> list[Source]:
    """The same as printed, without any trial."""
    return sources(Evidence([], [], []))


def _table2(family: Family | None, rows: Mapping[int, pd.DataFrame]) -> Source:
    names = {1: ("res2net", "BC-Res2Net minus BC-ResNet"), 2: ("mfa", "MFA minus none"), 3: ("fpm", "FPM minus none")}
    names[4] = ("mfa-fpm", "MFA & FPM minus none")
    effects = [Effect(key, name, row, 0 if row == 1 else 1) for row, (key, name) in names.items()]
    printed = {i: {m.column: getattr(row, m.column) for m in PRIMARY} for i, row in enumerate(TABLE2)}
    return Source("Table 2", PRIMARY, effects, printed, rows, family)


def _table3(family: Family | None, rows: Mapping[tuple[str, int], pd.DataFrame]) -> Source:
    short = {"BC-ResNet-40": "resnet", "BC-Res2Net-40": "res2net", "BC-Res2Net-40 w/ MFA & FPM": "mfa-fpm"}
    effects = [
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
    cells = {(system, d): numbers for system, row in TABLE3.items() for d, numbers in row.items()}
    printed = {cell: {LOG_LOSS.column: n, ACCURACY.column: a} for cell, (n, a) in cells.items()}
    return Source("Table 3", PRIMARY, effects, printed, rows, family, {cell: cell[0] for cell in cells})


def _table4(family: Family | None, rows: Mapping[float, pd.DataFrame]) -> Source:
    printed = {NO_FINETUNING if row.max_drop_rate is None else row.max_drop_rate: _printed(row) for row in TABLE4}
    rates = [rate for rate in dict.fromkeys((*printed, *rows)) if rate != NO_FINETUNING]
    effects = [
        Effect(
            f"finetuning-{rate:g}", f"fine-tuned, drop rate {rate:.2f}, minus its start", rate, NO_FINETUNING, "start"
        )
        for rate in rates
    ]
    effects += [
        Effect(f"drop-{rate:g}", f"drop rate {rate:.2f} minus 0.00", rate, 0.0, "drop") for rate in rates if rate
    ]
    return Source("Table 4", PRIMARY_BY_DEVICE, effects, printed, rows, family)


def _printed(row: DropRow) -> dict[str, float]:
    return {
        LOG_LOSS.column: row.log_loss,
        "accuracy_devices": row.accuracy,
        UNSEEN_ACCURACY.column: row.mean(UNSEEN_ACCURACY.devices),
    }


def _section6(family: Family | None, rows: Mapping[int, pd.DataFrame], frame: pd.DataFrame) -> Source:
    numbers = {i: {LOG_LOSS.column: row.log_loss, ACCURACY.column: row.accuracy} for i, row in enumerate(SECTION6)}
    printed: dict[Row, dict[str, float]] = dict(numbers)
    start, tuned = (next(row for row in TABLE4 if row.max_drop_rate == rate) for rate in (None, 0.9))
    for i, row in ((0, start), (2, tuned)):  # lambda 0.04 was printed as INT8 alone
        printed["float", i] = {LOG_LOSS.column: row.log_loss, ACCURACY.column: row.accuracy}
    kinds = {"": "no fine-tuning", "-lambda-0.04": "fine-tuned, lambda 0.04", "-lambda-0.4": "fine-tuned, lambda 0.4"}
    effects = [
        Effect(f"int8{key}", f"INT8 minus float: {kind}", i, ("float", i), "int8")
        for i, (key, kind) in enumerate(kinds.items())
    ]
    effects += [
        Effect("distilled", "INT8: distilled (teacher as large as the student) minus not", 3, 2, "distilled"),
        Effect("distilled-others", "INT8: distilled (other teachers) minus not", 4, 2, "distilled"),
    ]
    measured: dict[Row, pd.DataFrame] = dict(rows)
    for i in range(len(kinds)):
        measured["float", i] = frame[frame["signature"].isin(rows[i]["start"])]
    return Source("Section 6", PRIMARY, effects, printed, measured, family)


def found_effects(evidence: Evidence) -> list[MeasuredEffect]:
    """Every effect whose rows are both measured, for each primary outcome; also where they share no seed."""
    return [
        one for source in sources(evidence) if source.family is not None for one in _of(source, source.family, evidence)
    ]


def _of(source: Source, family: Family, evidence: Evidence) -> list[MeasuredEffect]:
    columns = ["signature", "seed", *(measure.column for measure in source.measures)]
    by_row = {row: its[columns].drop_duplicates("seed").set_index("seed") for row, its in source.rows.items()}
    measured = [effect for effect in source.effects if effect.first in by_row and effect.second in by_row]
    found: dict[str, list[MeasuredEffect]] = {effect.key: [] for effect in measured}
    for measure in source.measures:
        by_seed = {
            effect.key: (by_row[effect.first][measure.column] - by_row[effect.second][measure.column])
            .dropna()
            .sort_index()
            for effect in measured
        }
        pooled = _pooled(source, measure, measured, by_seed)
        for effect in measured:
            values, sides = by_seed[effect.key], (by_row[effect.first], by_row[effect.second])
            if any(side[measure.column].dropna().empty for side in sides):
                continue
            pairs = [
                tuple(evidence.predictions(side.loc[seed, "signature"]) for side in sides) for seed in values.index
            ]
            stored = [(a, b) for a, b in pairs if a is not None and b is not None]
            difference = difference_of(values.tolist(), influences(stored, measure), pooled[effect.key])
            alone = tuple(sorted((set(sides[0].index) | set(sides[1].index)) - set(values.index)))
            told = (source.table, effect, measure, source.printed_effect(effect, measure), difference)
            found[effect.key].append(MeasuredEffect(*told, tuple(values.index), alone, family.generated))
    return [one for effect in measured for one in found[effect.key]]


def _pooled(
    source: Source, measure: Measure, measured: Sequence[Effect], by_seed: Mapping[str, pd.Series]
) -> dict[str, tuple[float, float]]:
    """For each effect the variance of one seed's difference and its degrees of freedom, pooled as `Effect.alike` says."""
    rows = seed_spread(scores_by_seed(source.rows, measure.column, source.group))
    pooled = {effect.key: (2 * rows.residual, rows.residual_freedom) for effect in measured}
    for name in {effect.alike for effect in measured if effect.alike}:
        alike = [effect for effect in measured if effect.alike == name]
        group = {effect.key: source.group.get(effect.first) for effect in alike}
        differences = {effect.key: by_seed[effect.key].rename("difference").reset_index() for effect in alike}
        spread = seed_spread(scores_by_seed(differences, "difference", group))
        pooled |= {effect.key: (spread.variance, spread.freedom) for effect in alike}
    return pooled


def effects(evidence: Evidence) -> pd.DataFrame:
    """One row an effect and primary outcome, in the order of the report.

    Columns (COLUMNS): `paper` is NaN where it prints none; `difference` is first minus second, the mean over the `seeds` that both
    rows have, `by_seed` its values; `low` and `high` its 95 % interval, NaN below three seeds; `p_holm` is corrected over all rows;
    `verdict` is empty on generated data; `resolves` would be found with 80 % power at 5 %; `places` is 0 where predictions are not
    stored.
    """
    found = found_effects(evidence)
    judged = [not one.generated and one.difference.seeds > 1 for one in found]
    nothing = [one.difference.p if ok else np.nan for one, ok in zip(found, judged, strict=True)]
    beside = [
        one.difference.beside(one.printed) if ok else (np.nan, np.nan) for one, ok in zip(found, judged, strict=True)
    ]
    corrected = (holm(nothing), holm([other for other, _ in beside]), holm([same for _, same in beside]))
    rows = []
    for one, *p_holm in zip(found, *corrected, strict=True):
        d = one.difference
        verdict = "" if one.generated else effect_verdict(one.measure, d, one.printed, *p_holm)
        ends, p, resolves = (np.nan, np.nan), np.nan, np.nan
        if d.seeds > 1:  # one seed compares two networks, and the table is of systems
            ends, p = (d.mean - d.half, d.mean + d.half), d.p
            resolves = smallest_effect(d.error, d.freedom) if d.error > 0 else np.nan
        names = (one.table, one.effect.key, one.effect.name, one.measure.column)
        told = (one.printed, d.mean, d.by_seed, *ends, p, p_holm[0], verdict, resolves)
        rows.append((*names, *told, d.seeds, one.seeds, one.left_out, d.places, one.generated))
    return pd.DataFrame(rows, columns=list(COLUMNS))
