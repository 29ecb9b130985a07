"""Numbers of seeds and test places that an effect needs, from published spreads or from those of a workspace's trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import MEASURES
from analysis.page.formats import MISSING, plural
from analysis.paper.effects import effects_by_table, measured_effects, printed_effects
from analysis.statistics import LEVEL, NAN, POWER, places_needed, seeds_needed

MIN_FREEDOM = 4
"""Residual degrees of freedom that a table needs for its spread to be used instead of the published one."""


@dataclass(frozen=True)
class ScoreSpread:
    """Variation of a score: its standard deviation over seeds, and what places add to a paired difference."""

    deviation: float
    correlations: tuple[float, ...]
    """Over seeds, between systems that share a start; 0 for systems that do not."""
    source: str
    place_deviation: float = NAN
    """Of a difference at one place, beyond seeds; NaN if unknown."""
    places: int = 0


PUBLISHED_DEVIATIONS = {"log_loss": 0.018, "accuracy": 0.008, "accuracy_devices": 0.008, "accuracy_unseen": 0.010}
"""Standard deviations over seeds on TAU 2022's test split, for networks of this size."""
PUBLISHED = {name: ScoreSpread(sd, (0.8, 0.5, 0.0), "published spread") for name, sd in PUBLISHED_DEVIATIONS.items()}


@dataclass(frozen=True)
class TargetEffect:
    """An effect to detect."""

    name: str
    table: str
    measure: str
    effect: float
    """A difference; accuracies 0..1."""


def paper_effects() -> list[TargetEffect]:
    """All nonzero effects that the paper prints, on its primary outcomes."""
    targets = [
        TargetEffect(effect.key, table.measured.paper.title, measure.column, table.printed(effect, measure))
        for table in printed_effects()
        for effect in table.effects
        for measure in table.measured.paper.measures
    ]
    return [target for target in targets if target.effect and not math.isnan(target.effect)]


def measured_spreads(evidence: Evidence) -> dict[tuple[str, str], ScoreSpread]:
    """Spreads by table and measure, for tables of the workspace whose rows share enough seeds (MIN_FREEDOM)."""
    effects, spreads = measured_effects(evidence), {}
    for table in (table_effects.measured for table_effects in effects_by_table(evidence)):
        title = table.paper.title
        for measure in table.paper.measures if table.family is not None else ():
            spread = table.seed_spread(measure)
            if not (spread.residual_freedom >= MIN_FREEDOM and spread.variance > 0):
                continue
            of_measure = [e.difference for e in effects if (e.table, e.measure) == (title, measure)]
            pairs = [difference for difference in of_measure if difference.seeds > 1 and difference.places]
            place_variance = float(np.mean([pair.place_variance * pair.places for pair in pairs])) if pairs else 0.0
            spreads[title, measure.column] = ScoreSpread(
                math.sqrt(spread.variance),
                tuple(dict.fromkeys((round(spread.correlation, 2), 0.0))),
                f"{title} of this workspace, {plural(round(spread.freedom), 'degree')} of freedom",
                math.sqrt(place_variance) if place_variance > 0 else NAN,
                max((pair.places for pair in pairs), default=0),
            )
    return spreads


def power_table(
    targets: Sequence[TargetEffect],
    spreads: Mapping[tuple[str, str], ScoreSpread],
    level: float = LEVEL,
    power: float = POWER,
    places: int | None = None,
) -> pd.DataFrame:
    """One row per effect and correlation over seeds.

    Columns: effect, measure, size, deviation (over seeds), correlation, seeds (per system, for these places only), places (of the
    test split; missing if their contribution is unknown), seeds_with_places (to generalize to other places), places_needed (with
    any number of seeds), source. Missing numbers: none is enough. `places` replaces the workspace's number of places. An effect
    uses the spread of its own table, else of any table with its measure, else the published one.
    """
    rows = []
    for target in targets:
        of_measure = [spread for (_, measure), spread in spreads.items() if measure == target.measure]
        spread = spreads.get((target.table, target.measure)) or next(iter(of_measure), PUBLISHED[target.measure])
        count = None if math.isnan(spread.place_deviation) else places or spread.places
        for correlation in spread.correlations:
            start = (target.effect, spread.deviation**2, correlation)
            seeds, with_places, needed = seeds_needed(*start, level=level, power=power), None, None
            if count:
                with_places = seeds_needed(*start, spread.place_deviation / math.sqrt(count), count - 1, level, power)
                needed = places_needed(target.effect, spread.place_deviation, level, power)
            sizes = (target.name, target.measure, target.effect, spread.deviation, correlation)
            rows.append((*sizes, seeds, count, with_places, needed, spread.source))
    integers = ["seeds", "places", "seeds_with_places", "places_needed"]
    columns = ["effect", "measure", "size", "deviation", "correlation", *integers, "source"]
    return pd.DataFrame(rows, columns=columns).astype(dict.fromkeys(integers, "Int64"))


def text_lines(table: pd.DataFrame) -> list[str]:
    """The table for a terminal: one part per source of spreads, one line per effect and measure."""
    lines: list[str] = []
    for source, part in table.groupby("source", sort=False):
        rows = _text_rows(part, source == PUBLISHED["log_loss"].source)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines += [*([""] if lines else []), f"seed-to-seed standard deviation (sd): {source}"]
        for name, measure, *numbers in rows:
            texts = [number.rjust(width) for number, width in zip(numbers, widths[2:], strict=True)]
            lines.append("  ".join([name.ljust(widths[0]), measure.ljust(widths[1]), *texts]))
    return lines


def _text_rows(part: pd.DataFrame, published: bool) -> list[list[str]]:
    """Published spreads have one column per assumed correlation; measured ones have a column for theirs, and places."""
    titles = ["r", "paired", "unpaired", "paired, + places", "places needed"]
    if published:
        titles = [f"r = {r:g}" if r else "unpaired" for r in part["correlation"].unique()]
    rows = [["effect", "measure", "size", "sd", *titles]]
    for (name, column), group in part.groupby(["effect", "measure"], sort=False):
        measure, first, seeds = MEASURES[str(column)], group.iloc[0], group["seeds"].tolist()
        texts = [f"{measure.scale * first['size']:+.{measure.digits}f}", measure.amount(first["deviation"])]
        if not published:
            texts.append(f"{first['correlation']:g}")
            seeds = [seeds[0], seeds[-1], first["seeds_with_places"], first["places_needed"]]
        rows.append([str(name), str(column), *texts, *(MISSING if pd.isna(n) else f"{n:,}" for n in seeds)])
    return rows
