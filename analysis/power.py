"""How many seeds, and test places, an effect needs: before a study from published spreads, after it from its own trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.effects import found_effects, papers_sources, sources
from analysis.evidence import Evidence
from analysis.measures import MEASURES
from analysis.statistics import LEVEL, POWER, places_needed, seed_spread, seeds_needed
from analysis.verdicts import seed_table


@dataclass(frozen=True)
class Spread:
    """What scatters a measure: one seed's standard deviation, and what places add to a paired difference."""

    deviation: float
    correlations: tuple[float, ...]
    """Over seeds, of systems that share a start; 0 is of systems that do not."""
    source: str
    place_deviation: float = math.nan
    """Of a difference at one place, beyond seeds; NaN where it is not known."""
    places: int = 0


PUBLISHED: Mapping[str, Spread] = {
    name: Spread(deviation, (0.8, 0.5, 0.0), "published spread")
    for name, deviation in {
        "log_loss": 0.018,
        "accuracy": 0.008,
        "accuracy_devices": 0.008,
        "accuracy_unseen": 0.010,
    }.items()
}
"""Standard deviations of seeds on TAU 2022's test split, for networks of this size."""


@dataclass(frozen=True)
class Question:
    """An effect whose seeds are asked for."""

    name: str
    table: str
    measure: str
    effect: float
    """A difference; accuracies 0..1."""


def questions_of_the_paper() -> list[Question]:
    """Every effect that the paper prints and that is not zero, on its primary outcomes."""
    asked = [
        Question(effect.key, source.table, measure.column, source.printed_effect(effect, measure))
        for source in papers_sources()
        for effect in source.effects
        for measure in source.measures
    ]
    return [question for question in asked if question.effect and not math.isnan(question.effect)]


def measured_spreads(evidence: Evidence) -> dict[tuple[str, str], Spread]:
    """Spreads of a workspace by table and measure, where two rows or more share two seeds."""
    found = found_effects(evidence)
    spreads = {}
    for source in sources(evidence):
        for measure in source.measures if source.family is not None else ():
            spread = seed_spread(seed_table(source.rows, measure.column, source.group))
            if not (spread.residual_freedom > 0 and spread.variance > 0):
                continue
            known = [
                one.difference.place_variance * one.difference.places
                for one in found
                if (one.table, one.measure) == (source.table, measure)
                and one.difference.seeds > 1
                and one.difference.places
            ]
            places = max((one.difference.places for one in found if one.table == source.table), default=0)
            told = f"{source.table} of this workspace, {spread.freedom:.0f} degrees of freedom"
            deviation = math.sqrt(float(np.median(known))) if known else math.nan
            correlations = tuple(dict.fromkeys((round(spread.correlation, 2), 0.0)))
            spreads[source.table, measure.column] = Spread(
                math.sqrt(spread.variance), correlations, told, deviation, places if known else 0
            )
    return spreads


def spread_for(question: Question, measured: Mapping[tuple[str, str], Spread]) -> Spread:
    """That of the question's own table, else of any table with its measure, else the published one."""
    own = measured.get((question.table, question.measure))
    return own or next(
        (s for (_, name), s in measured.items() if name == question.measure), PUBLISHED[question.measure]
    )


def power_table(
    questions: Sequence[Question],
    spreads: Mapping[tuple[str, str], Spread],
    level: float = LEVEL,
    power: float = POWER,
    places: int | None = None,
) -> pd.DataFrame:
    """One row a question and correlation of seeds.

    Columns: effect, measure, size, deviation (of a seed), correlation, seeds (of each system, for these places alone), places (of
    the test split), seeds_with_places (for new places, too; NaN where no number of seeds suffices or places are not known),
    places_needed (with any number of seeds), source. `places`: another number of places than the workspace's.
    """
    rows = []
    for question in questions:
        spread = spread_for(question, spreads)
        count, known = places or spread.places, not math.isnan(spread.place_deviation)
        for correlation in spread.correlations:
            asked = (question.effect, spread.deviation**2, correlation)
            with_places = None
            if known and count:
                with_places = seeds_needed(*asked, spread.place_deviation / math.sqrt(count), count - 1, level, power)
            rows.append(
                {
                    **{"effect": question.name, "measure": question.measure, "size": question.effect},
                    **{"deviation": spread.deviation, "correlation": correlation},
                    "seeds": seeds_needed(*asked, level=level, power=power),
                    "places": count if known else None,
                    "seeds_with_places": with_places,
                    "places_needed": places_needed(question.effect, spread.place_deviation, level, power)
                    if known
                    else None,
                    "source": spread.source,
                }
            )
    integers = dict.fromkeys(("seeds", "places", "seeds_with_places", "places_needed"), "Int64")
    columns = ["effect", "measure", "size", "deviation", "correlation", *integers, "source"]
    return pd.DataFrame(rows, columns=columns).astype(integers)


def lines(table: pd.DataFrame) -> list[str]:
    """The table as lines for a terminal, a line an effect and measure, with seeds by correlation."""
    wide: list[list[str]] = []
    kinds = sorted(table["correlation"].unique(), reverse=True)
    known = table["places"].notna().any()
    heads = ["effect", "measure", "size", "sd", *(f"r = {kind:g}" if kind else "unpaired" for kind in kinds)]
    for (name, measure), its in table.groupby(["effect", "measure"], sort=False):
        first, seeds = its.iloc[0], its.set_index("correlation")
        m = MEASURES[str(measure)]
        size = f"{m.scale * first['size']:+.{m.digits}f}"
        row = [str(name), str(measure), size, m.amount(first["deviation"])]
        row += [_count(seeds["seeds"].get(kind)) for kind in kinds]
        if known:
            row += [_count(first["seeds_with_places"]), _count(first["places_needed"])]
        wide.append(row)
    heads += ["+ places", "places needed"] if known else []
    widths = [max(map(len, column)) for column in zip(heads, *wide, strict=True)]
    texts = [
        "  ".join(_set(cell, width, i) for i, (cell, width) in enumerate(zip(row, widths, strict=True)))
        for row in (heads, *wide)
    ]
    return [text.rstrip() for text in texts]


def _set(cell: str, width: int, column: int) -> str:
    return cell.ljust(width) if column < 2 else cell.rjust(width)


def _count(value: object) -> str:
    return "—" if value is None or pd.isna(value) else f"{int(str(value)):,}"
