"""Searches: what they found for how many MACs, how they came there, which settings mattered, what was refused or stopped."""

from __future__ import annotations

import math
from collections import Counter
from statistics import NormalDist
from typing import Any

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page.elements import Block, Cell, Section, Table, Text, code_cell, number_heads, text_cell, text_head
from analysis.page.formats import MISSING, fixed, listed, plural
from analysis.studies import search_figures as figures
from analysis.studies.found_points import SCORES, Found
from asc_sweeps.config.search_space import OBJECTIVES, SIZES
from asc_sweeps.sweep.searches.importance import EVALUATOR, FEWEST
from asc_sweeps.workspace.records import StudyRecord

MOST_ROWS = 50
"""Of a table that lists the best or the refused; all points stand in the table of points."""


def optimism(draws: int) -> float:
    """By how many standard deviations the best of so many equal draws is expected to look better than it is.

    The largest of N standard normal numbers, by Blom's approximation.

    >>> round(optimism(1), 2), round(optimism(60), 2)
    (0.0, 2.31)
    """
    return NormalDist().inv_cdf((draws - 0.375) / (draws + 0.25))


def searches(evidence: Evidence) -> list[Found]:
    """The searches of the workspaces."""
    return [Found(record, evidence) for record in evidence.studies if record.search and record.search["points"]]


def early_stops(record: StudyRecord, evidence: Evidence) -> pd.DataFrame:
    """One row a rung of early stopping: rung (epochs), and how many trials reached it and were stopped there."""
    columns = ["rung", "reached", "stopped"]
    if not record.scheduler:
        return pd.DataFrame(columns=columns)
    its = {row["signature"] for row in record.trials if "signature" in row}
    ended = [len(evidence.by_signature[s].history) for s in its if s in evidence.by_signature]
    cut = [t.epochs_done or 0 for t in evidence.unfinished if t.signature in its and t.state == "stopped"]
    rows, rung = [], record.scheduler["grace_epochs"]
    while rung < max(ended, default=0):
        reached = sum(epochs > rung for epochs in ended) + sum(epochs >= rung for epochs in cut)
        rows.append((rung, reached, cut.count(rung)))
        rung *= record.scheduler["reduction"]
    return pd.DataFrame(rows, columns=columns)


def section(evidence: Evidence) -> Section:
    """Searches and early stopping in the report."""
    sentence = "What searches drew and found; they look at the validation split, never at the test split."
    blocks: list[Block] = []
    for position, found in enumerate(searches(evidence)):
        blocks += _search(found, f"search-{position}")
    for position, record in enumerate(evidence.studies):
        stops = early_stops(record, evidence)
        if len(stops):
            blocks.append(_stops_table(record, stops, f"stops-{position}"))
    return Section("search", "Search", sentence, tuple(blocks) or (Text("No search was run in this workspace."),))


def _search(found: Found, key: str) -> list[Block]:
    blocks: list[Block] = [_summary(found, key)]
    if found.done.empty:
        blocks.append(Text(f"{found.name}: no trial of it is finished."))
    else:
        blocks += [_best_table(found, key), figures.pareto(found, key), figures.history(found, key)]
        if len(found.done) < FEWEST:
            blocks.append(Text(_why_no_importance(found)))
        elif found.importances.empty:
            blocks.append(
                Text(f"{found.name}: no setting was drawn by every trial and varied, so none has an importance.")
            )
        else:
            blocks += [_importance_table(found, key), figures.importance(found, key)]
        blocks += [figures.parallel(found, key), figures.slices(found, key)]
    blocks += [_refused_table(found, key)] if (found.points["state"] == "refused").any() else []
    return [*blocks, _points_table(found, key)]


def _summary(found: Found, key: str) -> Table:
    asked, states = found.asked, Counter(found.points["state"])
    limits = ", ".join(f"{name} at most {limit:,}" for name, limit in asked["limits"].items())
    rows = [
        ("Looked for", listed([f"{name} ({OBJECTIVES[name]})" for name in asked["objectives"]])),
        ("Drawn by", f"{asked['sampler']}, seed {asked['seed']}"),
        ("Limits", limits or MISSING),
        ("Points", f"{asked['trials']} asked for; {listed([f'{n} {state}' for state, n in sorted(states.items())])}"),
    ]
    rows += [(p["name"], _range(p)) for p in asked["parameters"]]
    caveat = (Text("Generated data: what was found says nothing about real scenes."),) if found.generated else ()
    groups = [[[text_head(name), text_cell(value)]] for name, value in rows]
    return Table(
        f"{key}-asked", f"{found.name}: what was asked for", [[text_head("What"), text_head("Value")]], groups, caveat
    )


def _range(parameter: dict[str, Any]) -> str:
    if "choices" in parameter:
        text = listed([_setting(choice) for choice in parameter["choices"]])
    else:
        text = f"{parameter['low']:g} to {parameter['high']:g}{', logarithmic' if parameter['log'] else ''}"
    return f"{text}; drawn where {parameter['when']}" if parameter["when"] else text


def _best_table(found: Found, key: str) -> Table:
    several = len(found.asked["objectives"]) > 1
    rows = found.front if several else found.best_first.head(10)
    caption = "the front: no other has both fewer MACs and a lower log loss" if several else "the ten best"
    other = [] if found.objective in (*SCORES, "macs") else [found.objective]
    columns = [column for score in found.scores for column in (figures.TITLES[score], "After confirmation")]
    names = [text_head("Trial"), *other, *columns, "MACs", *(text_head(name) for name in found.parameters)]
    groups = []
    for _, row in rows.head(MOST_ROWS).iterrows():
        cells = [code_cell(str(row["signature"])), *(Cell(f"{row[name]:,.4g}") for name in other)]
        for score in found.scores:
            cells += [Cell(fixed(row[score], 3)), Cell(found.confirmed(row["signature"], score))]
        cells.append(Cell(_count(row["macs"])))
        groups.append([[*cells, *(text_cell(_setting(row[name])) for name in found.parameters)]])
    left = len(rows) - MOST_ROWS
    notes = [Text(f"{left} more stand among the points.")] if left > 0 else []
    notes.append(Text(_how_much_too_good(found)))
    return Table(f"{key}-best", f"{found.name}: {caption}", [number_heads(*names)], groups, tuple(notes))


def _how_much_too_good(found: Found) -> str:
    """What a score is worth that was chosen for being the best."""
    score = found.scores[0]
    spread = found.seed_deviation(score)
    text = (
        f"Chosen from {plural(found.tried, 'trial')}, one seed each, by the score shown, which is therefore optimistic. "
        "After confirmation: the mean over new seeds of the same settings, on the same validation recordings. "
    )
    if math.isnan(spread):
        return text + (
            "How optimistic is not known: no settings here have two new seeds. An example: the best of 60 equal "
            "trials looks 0.04 better than it is where the standard deviation between seeds is 0.018 in log loss."
        )
    better = fixed(spread * optimism(found.tried), 3)
    return text + (
        f"The standard deviation between new seeds of a point is {fixed(spread, 3)} in {figures.TITLES[score].lower()}: "
        f"the best of {found.tried} equal trials would look {better} better than it is (the expected largest of as many "
        "normal values, by Blom's approximation)."
    )


def _why_no_importance(found: Found) -> str:
    return (
        f"{found.name}: the importance of settings is not shown. {plural(len(found.done), 'trial')} finished, and it takes "
        f"{FEWEST}, so that the best tenth holds five, as Optuna advises for PED-ANOVA: with fewer, chance often ranks a "
        "setting first that does not matter."
    )


def _importance_table(found: Found, key: str) -> Table:
    rows = found.importances.to_dict("records")
    groups = [[[text_head(row["name"]), Cell(fixed(row["importance"], 2))]] for row in rows]
    left = [name for name in found.parameters if name not in set(found.importances["name"])]
    note = (
        f"By {EVALUATOR}, for {found.objective}, over {plural(len(found.done), 'trial')}: a ranking of what the best tenth "
        "has in common, without an interval, of this search's seed only."
    )
    note += f" Not every trial drew, or varied, {listed(left)}." if left else ""
    head = [number_heads(text_head("Setting"), "Importance")]
    return Table(f"{key}-importance", f"{found.name}: which settings mattered", head, groups, (Text(note),))


def _refused_table(found: Found, key: str) -> Table:
    refused = found.points[found.points["state"] == "refused"]
    groups = []
    for _, row in refused.head(MOST_ROWS).iterrows():
        cells = [Cell(str(row["number"])), text_cell(row["reason"])]
        groups.append([[*cells, *(text_cell(_setting(row[name])) for name in found.parameters)]])
    left = len(refused) - MOST_ROWS
    note = "Counted before any training, and never trained."
    note += f" {left} more stand among the points." if left > 0 else ""
    head = [number_heads("Point", text_head("Refused for"), *(text_head(name) for name in found.parameters))]
    caption = f"{found.name}: {plural(len(refused), 'point')} that its limits refused"
    return Table(f"{key}-refused", caption, head, groups, (Text(note),))


def _points_table(found: Found, key: str) -> Table:
    objectives = found.asked["objectives"]
    groups = []
    for row in found.points.to_dict("records"):
        signature = [code_cell(row["signature"])] if row["signature"] else [Cell(MISSING, "text")]
        cells = [Cell(str(row["number"])), text_cell(row["state"]), *signature]
        cells += [Cell(_count(row[o]) if o in SIZES else fixed(row[o], 4)) for o in objectives]
        groups.append([[*cells, *(text_cell(_setting(row[name])) for name in found.parameters)]])
    head = number_heads(
        "Point", text_head("State"), text_head("Trial"), *objectives, *(text_head(n) for n in found.parameters)
    )
    return Table(f"{key}-points", f"{found.name}: {plural(len(groups), 'point')}, in the order drawn", [head], groups)


def _stops_table(record: StudyRecord, stops: pd.DataFrame, key: str) -> Table:
    groups = [[[Cell(str(row[name])) for name in stops.columns]] for row in stops.to_dict("records")]
    note = (
        "Only trials that were not stopped have an end. Whether one of the others would have been the best, or how well a "
        "rung foretells the end, cannot be told from them; sweep --in-full trains the stopped ones to their ends."
    )
    head = [number_heads("Epoch", "Reached it", "Stopped there")]
    return Table(f"{key}-rungs", f"{record.name}: early stopping", head, groups, (Text(note),))


def _count(value: float) -> str:
    return MISSING if pd.isna(value) else f"{int(value):,}"


def _setting(value: object) -> str:
    if value is None or value != value:
        return MISSING
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else str(value)
