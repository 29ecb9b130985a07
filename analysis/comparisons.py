"""Are two systems really different? Paired tests of the tables' rows on the same test segments, from stored predictions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.blocks import MISSING_CELL, Cell, Section, Table, Text, head_of, heads, row_head, words
from analysis.evidence import Evidence
from analysis.families import Family
from analysis.paper import TABLE2, UNSEEN
from analysis.predictions import Predictions
from analysis.statistics import Comparison, holm, paired_bootstrap
from analysis.table2 import table2_family
from analysis.table4 import NO_FINETUNING, table4_family
from analysis.verdicts import LEVEL
from analysis.words import fixed, signed

RESAMPLES = 5_000
COLUMNS = ("table", "first", "second", "measure", "difference", "low", "high", "p", "seeds", "recordings")
MEASURES = (
    ("log_loss", "Log loss", 1, 3),
    ("accuracy", "Accuracy, points", 100, 1),
    ("unseen", "Unseen devices, points", 100, 1),
)


Differences = tuple[np.ndarray, np.ndarray, np.ndarray, int]
"""Between two systems by segment and measure, which segments are of unseen devices, their recordings, and how many seeds."""


@dataclass(frozen=True)
class Pair:
    """Two rows of a table: the second is what the first is compared with."""

    table: str
    first: str
    second: str
    rows: tuple[float, float]
    """Of the family's trials."""


def table2_pairs() -> list[Pair]:
    """What the paper says of Table 2: Res2 blocks against plain ones, then each addition against none."""
    names = [row.system for row in TABLE2]
    return [Pair("Table 2", names[i], names[j], (i, j)) for i, j in ((1, 0), (2, 1), (3, 1), (4, 1))]


def table4_pairs(family: Family) -> list[Pair]:
    """Fine-tuning without a drop against none, and each drop rate against no drop."""
    rates = sorted(float(value) for value in family.trials["row"].unique() if value > 0)
    start = Pair("Table 4", "fine-tuning, no drop", "no fine-tuning", (0.0, NO_FINETUNING))
    return [start, *(Pair("Table 4", f"drop rate {rate:.2f}", "fine-tuning, no drop", (rate, 0.0)) for rate in rates)]


def comparisons(evidence: Evidence) -> pd.DataFrame:
    """One row a pair and measure: table, first, second, measure, difference, low, high, p, p_holm, seeds, recordings.

    A difference is first minus second, of values that are means over the seeds that both have. `low` and `high` are 95 % by a
    bootstrap over recordings; Holm's correction is over all rows of the same table. Pairs without predictions of a common seed
    are left out, and generated data.
    """
    rows = []
    asked = [(pair, _values(pair, family, evidence)) for family, pairs in _asked(evidence) for pair in pairs]
    ready = [(pair, values) for pair, values in asked if values]
    for pair, (tested, seeds) in zip([pair for pair, _ in ready], _tested([v for _, v in ready]), strict=True):
        for (measure, *_), c in zip(MEASURES, tested, strict=True):
            names = (pair.table, pair.first, pair.second, measure)
            rows.append((*names, c.difference, c.low, c.high, c.p, seeds, c.groups))
    frame = pd.DataFrame(rows, columns=COLUMNS)
    frame["p_holm"] = float("nan")
    for _, index in frame.groupby("table").groups.items():
        frame.loc[index, "p_holm"] = holm(frame.loc[index, "p"].tolist())
    return frame


def compare(first: Sequence[Predictions], second: Sequence[Predictions]) -> pd.DataFrame:
    """Any two systems, each with its seeds: one row a measure, as `comparisons`, p without Holm.

    Raises ValueError where they did not predict the same segments, seed by seed.
    """
    values = _differences(list(zip(first, second, strict=True)))
    if values is None:
        raise ValueError("the two systems must have predicted the same test segments, in the same order")
    ((tested, seeds),) = _tested([values])
    rows = [
        (name, c.difference, c.low, c.high, c.p, seeds, c.groups)
        for (name, *_), c in zip(MEASURES, tested, strict=True)
    ]
    return pd.DataFrame(rows, columns=COLUMNS[3:])


def _tested(values: Sequence[Differences]) -> list[tuple[list[Comparison], int]]:
    """Each pair's comparisons by measure, and its seeds. Pairs of the same segments share their resamples, which saves time."""
    found: dict[int, tuple[list[Comparison], int]] = {}
    for position, (_, _, recordings, _) in enumerate(values):
        same = [i for i in range(len(values)) if i not in found and np.array_equal(values[i][2], recordings)]
        if position in found or not same:
            continue
        differences = np.column_stack([values[i][0] for i in same])
        unseen = [values[i][1] for i in same]
        weights = np.column_stack([w for u in unseen for w in (np.ones(len(u)), np.ones(len(u)), u)])
        tested = paired_bootstrap(differences, recordings, weights, RESAMPLES)
        for k, i in enumerate(same):
            found[i] = tested[len(MEASURES) * k : len(MEASURES) * (k + 1)], values[i][3]
    return [found[i] for i in range(len(values))]


def _asked(evidence: Evidence) -> list[tuple[Family, list[Pair]]]:
    two, four = evidence.of(table2_family), evidence.of(table4_family)
    asked = [*([(two, table2_pairs())] if two else []), *([(four, table4_pairs(four))] if four else [])]
    return [(family, pairs) for family, pairs in asked if not family.generated]


def _values(pair: Pair, family: Family, evidence: Evidence) -> Differences | None:
    """Of the seeds that both rows have."""
    sides = [family.trials[family.trials["row"] == row].drop_duplicates("seed").set_index("seed") for row in pair.rows]
    seeds = sorted(set(sides[0].index) & set(sides[1].index))
    both = [[evidence.predictions(side.loc[seed, "signature"]) for side in sides] for seed in seeds]
    return _differences([(a, b) for a, b in both if a and b])


def _differences(pairs: Sequence[tuple[Predictions, Predictions]]) -> Differences | None:
    ready = [(a, b) for a, b in pairs if np.array_equal(a.filenames, b.filenames)]
    if not ready:
        return None
    first = ready[0][0]
    differences = np.mean([_measures(a) - _measures(b) for a, b in ready], axis=0)
    return differences, np.isin(first.devices, UNSEEN), first.recordings, len(ready)


def _measures(predictions: Predictions) -> np.ndarray:
    right = predictions.right.astype(float)
    return np.column_stack([predictions.log_loss, right, right])


def section(evidence: Evidence) -> Section:
    """The comparisons in the report."""
    frame = comparisons(evidence)
    sentence = (
        "The rows of a table are tested on the same segments, each pair with the seeds that both have. Whole recordings are drawn, "
        "since their ten pieces are alike."
    )
    if frame.empty:
        text = "No two rows of a table have stored predictions of the same seed on real data yet."
        return Section("comparisons", "Real differences?", sentence, (Text(text),))
    groups = []
    for (table, first, second), rows in frame.groupby(["table", "first", "second"], sort=False):
        by_measure = rows.set_index("measure")
        cells = [row_head(str(table)), words(str(first)), words(str(second))]
        for measure, _, scale, digits in MEASURES:
            r = by_measure.loc[measure]
            if np.isnan(r["difference"]):
                cells += [MISSING_CELL, MISSING_CELL]
                continue
            interval = f"{fixed(scale * r['low'], digits)} to {fixed(scale * r['high'], digits)}".replace("-", "−")
            cells.append(Cell(signed(scale * r["difference"], digits), small=interval))
            cells.append(_verdict(measure, r))
        groups.append([[*cells, Cell(str(rows["seeds"].iloc[0])), Cell(f"{rows['recordings'].max():,}")]])
    top = [(row_head("Table"), 1), (row_head("Row"), 1), (row_head("against"), 1)]
    top += [(title, 2) for _, title, *_ in MEASURES] + [("Seeds", 1), ("Recordings", 1)]
    below = heads(*(("difference", row_head("verdict")) * len(MEASURES)))
    note = (
        f"95 % interval and p by {RESAMPLES:,} resamples of recordings; p after Holm's correction over all tests of the table, "
        "difference at 5 %. Seeds are averaged, so how much seeds differ is not in it: see the intervals of the tables."
    )
    caption = "Pairs of rows on the same test segments"
    made = Table("comparisons-list", caption, head_of(*top, below=below), groups, (Text(note),))
    return Section("comparisons", "Real differences?", sentence, (made,))


def _verdict(measure: str, row: pd.Series) -> Cell:
    p = f"p < {1 / RESAMPLES:.1g}" if row["p_holm"] <= 1 / RESAMPLES else f"p = {row['p_holm']:.2g}"
    if not row["p_holm"] < LEVEL:
        return Cell("? undecided", small=p)
    better = (row["difference"] < 0) == (measure == "log_loss")
    return Cell("▲ better" if better else "▼ worse", "verdict-fits" if better else "verdict-differs", p)
