"""How many seeds, and test places, an effect needs: before a study from published spreads, after it from its own trials."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import MEASURES
from analysis.page.formats import plural
from analysis.paper.effects import found_effects, papers_sources, sources
from analysis.paper.verdicts import scores_by_seed
from analysis.statistics import LEVEL, POWER, places_needed, seed_spread, seeds_needed

FEWEST_FREEDOM = 4
"""Residual degrees of freedom of a table from which its spread is taken rather than the published one."""


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
    """Spreads of a workspace by table and measure, where its rows share enough seeds to tell (FEWEST_FREEDOM)."""
    effects, spreads = found_effects(evidence), {}
    for source in sources(evidence):
        for measure in source.measures if source.family is not None else ():
            spread = seed_spread(scores_by_seed(source.rows, measure.column, source.group))
            if not (spread.residual_freedom >= FEWEST_FREEDOM and spread.variance > 0):
                continue
            pairs = [
                one.difference
                for one in effects
                if (one.table, one.measure) == (source.table, measure)
                and one.difference.seeds > 1
                and one.difference.places
            ]
            place_variance = float(np.mean([pair.place_variance * pair.places for pair in pairs])) if pairs else 0.0
            spreads[source.table, measure.column] = Spread(
                math.sqrt(spread.variance),
                tuple(dict.fromkeys((round(spread.correlation, 2), 0.0))),
                f"{source.table} of this workspace, {plural(round(spread.freedom), 'degree')} of freedom",
                math.sqrt(place_variance) if place_variance > 0 else math.nan,
                max((pair.places for pair in pairs), default=0),
            )
    return spreads


def spread_for(question: Question, measured: Mapping[tuple[str, str], Spread]) -> Spread:
    """That of the question's own table, else of any table with its measure, else the published one."""
    own = measured.get((question.table, question.measure))
    of_measure = (spread for (_, measure), spread in measured.items() if measure == question.measure)
    return own or next(of_measure, PUBLISHED[question.measure])


def power_table(
    questions: Sequence[Question],
    spreads: Mapping[tuple[str, str], Spread],
    level: float = LEVEL,
    power: float = POWER,
    places: int | None = None,
) -> pd.DataFrame:
    """One row a question and correlation over seeds.

    Columns: effect, measure, size, deviation (of a seed), correlation, seeds (of each system, for these places alone), places (of
    the test split; none where their part is not known), seeds_with_places (for other places, too), places_needed (with any number of
    seeds), source. Numbers are missing where none is enough. `places`: another number of places than the workspace's.
    """
    rows = []
    for question in questions:
        spread = spread_for(question, spreads)
        count = None if math.isnan(spread.place_deviation) else places or spread.places
        for correlation in spread.correlations:
            asked = (question.effect, spread.deviation**2, correlation)
            by_places = (None, None)
            if count:
                error = spread.place_deviation / math.sqrt(count)
                with_places = seeds_needed(*asked, error, count - 1, level, power)
                by_places = with_places, places_needed(question.effect, spread.place_deviation, level, power)
            seeds = seeds_needed(*asked, level=level, power=power)
            sizes = (question.name, question.measure, question.effect, spread.deviation, correlation)
            rows.append((*sizes, seeds, count, *by_places, spread.source))
    integers = dict.fromkeys(("seeds", "places", "seeds_with_places", "places_needed"), "Int64")
    columns = ["effect", "measure", "size", "deviation", "correlation", *integers, "source"]
    return pd.DataFrame(rows, columns=columns).astype(integers)


def lines(table: pd.DataFrame) -> list[str]:
    """The table as lines for a terminal: for each source of spreads its own, a line an effect and measure."""
    texts: list[str] = []
    for source, part in table.groupby("source", sort=False):
        measured = source != PUBLISHED["log_loss"].source
        texts += [*([""] if texts else []), f"seed-to-seed standard deviation (sd): {source}", *_lines(part, measured)]
    return texts


def _lines(part: pd.DataFrame, measured: bool) -> list[str]:
    """Published spreads have their correlations as columns; a workspace has its own in a column, and places."""
    rows = []
    for (name, measure), its in part.groupby(["effect", "measure"], sort=False):
        m, first = MEASURES[str(measure)], its.iloc[0]
        row = [str(name), str(measure), f"{m.scale * first['size']:+.{m.digits}f}", m.amount(first["deviation"])]
        row += [f"{first['correlation']:g}"] if measured else []
        seeds = its["seeds"].tolist()
        row += [_count(n) for n in ([seeds[0], seeds[-1]] if measured else seeds)]
        rows.append([*row, *([_count(first["seeds_with_places"]), _count(first["places_needed"])] if measured else [])])
    correlations = part["correlation"].unique()
    heads = ["effect", "measure", "size", "sd"]
    heads += ["r", "paired", "unpaired", "paired, + places", "places needed"] if measured else []
    heads += [] if measured else [f"r = {r:g}" if r else "unpaired" for r in correlations]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (heads, *rows)
    ]


def _count(value: int | None) -> str:
    return "—" if value is None or pd.isna(value) else f"{value:,}"
