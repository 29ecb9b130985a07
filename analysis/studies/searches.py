"""Hyperparameter searches: configuration, best trials, important settings, rejected points; and early stopping of any study."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Mapping
from statistics import NormalDist
from typing import Any

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page.elements import Block, Cell, Row, Section, Table, Text, code_cell, simple_table, text_cell, text_head
from analysis.page.formats import MISSING, fixed, listed, plural
from analysis.studies.search_figures import OBJECTIVE_TITLES, search_figures
from analysis.studies.search_result import SEARCH_SCORES, SearchResult, search_results
from asc_sweeps.config.search_space import OBJECTIVES, SIZES
from asc_sweeps.sweep.searches.importance import IMPORTANCE_METHOD, MIN_TRIALS
from asc_sweeps.workspace.records import ParameterRecord, StudyRecord

MAX_LISTED = 50
"""Rows in a table of best or rejected points; the table of points lists all."""


def expected_maximum(count: int) -> float:
    """Expected largest of `count` standard normal values, by Blom's approximation.

    It is by how many standard deviations the best of so many equally good trials appears better than it is.

    >>> round(expected_maximum(1), 2), round(expected_maximum(60), 2)
    (0.0, 2.31)
    """
    return NormalDist().inv_cdf((count - 0.375) / (count + 0.25))


def early_stops(record: StudyRecord, evidence: Evidence) -> pd.DataFrame:
    """One row per rung of early stopping: rung (epochs), and the numbers of trials that reached it and were stopped there."""
    rows: list[tuple[int, int, int]] = []
    if record.scheduler:
        signatures = {row["signature"] for row in record.trials if "signature" in row}
        ended = [len(evidence.by_signature[s].history) for s in signatures if s in evidence.by_signature]
        trials = [t for t in evidence.unfinished if t.signature in signatures and t.state == "stopped"]
        stopped, rung = [trial.epochs_done or 0 for trial in trials], record.scheduler["grace_epochs"]
        while rung < max(ended, default=0):
            reached = sum(epochs > rung for epochs in ended) + sum(epochs >= rung for epochs in stopped)
            rows.append((rung, reached, stopped.count(rung)))
            rung *= record.scheduler["reduction"]
    return pd.DataFrame(rows, columns=["rung", "reached", "stopped"])


def section(evidence: Evidence) -> Section:
    """Searches and early stopping in the report."""
    sentence = "Points sampled by searches, and the best ones. Searches optimize validation scores, never test scores."
    blocks: list[Block] = []
    for i, result in enumerate(search_results(evidence)):
        blocks += _search(result, f"search-{i}")
    for i, record in enumerate(evidence.studies):
        stops = early_stops(record, evidence)
        if len(stops):
            blocks.append(_stops_table(record, stops, f"stops-{i}"))
    return Section("search", "Search", sentence, tuple(blocks) or (Text("No search was run in this workspace."),))


def _search(result: SearchResult, key: str) -> list[Block]:
    blocks: list[Block] = [_configuration_table(result, key)]
    if result.finished.empty:
        blocks.append(Text(f"{result.name}: no trial is finished yet."))
    else:
        blocks += [_best_table(result, key), _importance_block(result, key), *search_figures(result, key)]
    if (result.points["state"] == "refused").any():
        blocks.append(_rejected_table(result, key))
    return [*blocks, _points_table(result, key)]


def _configuration_table(result: SearchResult, key: str) -> Table:
    search, states = result.search, Counter(map(_state_text, result.points["state"]))
    counts = listed([f"{count} {state}" for state, count in sorted(states.items())])
    texts = {
        "Objectives": listed([f"{name} ({OBJECTIVES[name]})" for name in search["objectives"]]),
        "Sampler": f"{search['sampler']}, seed {search['seed']}",
        "Limits": ", ".join(f"{name} at most {limit:,}" for name, limit in search["limits"].items()) or MISSING,
        "Points": f"{search['trials']} requested; {counts}",
        **{parameter["name"]: _range(parameter) for parameter in search["parameters"]},
    }
    rows: list[Row] = [[text_head(name), text_cell(text)] for name, text in texts.items()]
    caveat = "Generated data: no conclusions about real recordings." if result.generated else ""
    caption = f"{result.name}: configuration of the search"
    return simple_table(f"{key}-asked", caption, ["Property", "Value"], rows, caveat)


def _range(parameter: ParameterRecord) -> str:
    if "choices" in parameter:
        text = listed([_value_text(choice) for choice in parameter["choices"]])
    else:
        text = f"{parameter['low']:g} to {parameter['high']:g}{', log scale' if parameter['log'] else ''}"
    return f"{text}; only if {parameter['when']}" if parameter["when"] else text


def _best_table(result: SearchResult, key: str) -> Table:
    several = len(result.search["objectives"]) > 1
    best = result.front if several else result.ranked.head(10)
    caption = "Pareto front of MACs and validation log loss" if several else plural(len(best), "best trial")
    other = [] if result.objective in (*SEARCH_SCORES, "macs") else [result.objective]
    rows: list[Row] = []
    for row in best.head(MAX_LISTED).to_dict("records"):
        cells: list[Cell | str] = [code_cell(str(row["signature"])), *(f"{row[name]:,.4g}" for name in other)]
        for score in result.scores:
            cells += [fixed(row[score], 3), result.new_seeds_text(row["signature"], score)]
        rows.append([*cells, _count_text(row["macs"]), *_settings_cells(row, result)])
    scores = [title for score in result.scores for title in (OBJECTIVE_TITLES[score], "With new seeds")]
    titles = ["Trial", *other, *scores, "MACs", *result.parameters]
    notes = [_hidden_note(len(best)), _optimism_note(result)]
    return simple_table(f"{key}-best", f"{result.name}: {caption}", titles, rows, *notes)


def _optimism_note(result: SearchResult) -> str:
    """How far the scores of the best trials are too good because they were chosen by these scores."""
    score = result.scores[0]
    deviation = result.seed_deviation(score)
    text = (
        f"The best of {plural(result.candidates, 'trial')}, one seed each, chosen by the score shown, which is therefore optimistic. "
        "With new seeds: mean of trials with the same settings and other seeds, on the same validation recordings. "
    )
    if math.isnan(deviation):
        return text + (
            "How optimistic is unknown, because no settings were tested with two new seeds. For example, the best of 60 equally "
            "good trials appears 0.04 better than it is if the standard deviation between seeds is 0.018 in log loss."
        )
    better = fixed(deviation * expected_maximum(result.candidates), 3)
    return text + (
        f"The standard deviation between new seeds of a point is {fixed(deviation, 3)} in {OBJECTIVE_TITLES[score].lower()}, so "
        f"the best of {result.candidates} equally good trials would appear {better} better than it is (expected largest of as "
        "many normal values, by Blom's approximation)."
    )


def _importance_block(result: SearchResult, key: str) -> Block:
    finished, importances = len(result.finished), result.importances
    if finished < MIN_TRIALS:
        return Text(
            f"{result.name}: no importance of settings is shown, because only {plural(finished, 'trial')} finished. It takes "
            f"{MIN_TRIALS}, so that the best tenth contains five, as Optuna recommends for PED-ANOVA: with fewer, chance often "
            "ranks an irrelevant setting first."
        )
    if importances.empty:
        return Text(f"{result.name}: no importance is shown, because no setting was sampled in every trial and varied.")
    shares = importances.set_index("name")["importance"]
    rows: list[Row] = [[text_head(str(name)), fixed(share, 2)] for name, share in shares.items()]
    absent = [name for name in result.parameters if name not in shares]
    note = (
        f"Importance for {result.objective} by {IMPORTANCE_METHOD}, over {plural(finished, 'trial')}: it ranks settings by what the "
        "best tenth has in common. There is no interval, and it is for one seed of the search."
    )
    note += f" Left out, because not sampled in every trial or not varied: {listed(absent)}." if absent else ""
    caption = f"{result.name}: importance of settings"
    return simple_table(f"{key}-importance", caption, ["Setting", "Importance"], rows, note)


def _rejected_table(result: SearchResult, key: str) -> Table:
    rejected = result.points[result.points["state"] == "refused"]
    rows: list[Row] = [
        [str(row["number"]), text_cell(row["reason"]), *_settings_cells(row, result)]
        for row in rejected.head(MAX_LISTED).to_dict("records")
    ]
    caption = f"{result.name}: {plural(len(rejected), 'rejected point')}"
    notes = ["Rejected before training, because of the search's limits or condition.", _hidden_note(len(rejected))]
    return simple_table(f"{key}-refused", caption, ["Point", "Reason", *result.parameters], rows, *notes)


def _points_table(result: SearchResult, key: str) -> Table:
    objectives = result.search["objectives"]
    rows: list[Row] = []
    for row in result.points.to_dict("records"):
        signature = code_cell(row["signature"]) if row["signature"] else text_cell(MISSING)
        scores = [_count_text(row[name]) if name in SIZES else fixed(row[name], 4) for name in objectives]
        state = text_cell(_state_text(row["state"]))
        rows.append([str(row["number"]), state, signature, *scores, *_settings_cells(row, result)])
    titles = ["Point", "State", "Trial", *objectives, *result.parameters]
    caption = f"{result.name}: {plural(len(rows), 'point')}, in sampling order"
    return simple_table(f"{key}-points", caption, titles, rows)


def _stops_table(record: StudyRecord, stops: pd.DataFrame, key: str) -> Table:
    rows = [[str(row[name]) for name in stops.columns] for row in stops.to_dict("records")]
    note = (
        "Only trials that were not stopped have a final score. So these numbers do not show whether a stopped trial would have "
        "been the best, or how well a rung predicts the final score; sweep --in-full trains the stopped trials to the end."
    )
    titles = ["Rung (epoch)", "Trials that reached it", "Trials stopped there"]
    return simple_table(f"{key}-rungs", f"{record.name}: early stopping", titles, rows, note)


def _settings_cells(row: Mapping[Hashable, Any], result: SearchResult) -> list[Cell]:
    return [text_cell(_value_text(row[name])) for name in result.parameters]


def _hidden_note(count: int) -> str:
    return f"{count - MAX_LISTED:,} more are in the table of points." if count > MAX_LISTED else ""


def _state_text(state: str) -> str:
    return "rejected" if state == "refused" else state


def _count_text(value: float) -> str:
    return MISSING if pd.isna(value) else f"{int(value):,}"


def _value_text(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value != value:
        return MISSING
    return f"{value:.4g}" if isinstance(value, float) else str(value)
