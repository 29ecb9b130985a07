"""Searches: what they found for how many MACs, how they came there, which settings mattered, what was refused or stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import pandas as pd

from analysis import search_figures as figures
from analysis.blocks import Block, Cell, Section, Table, Text, code, heads, row_head, words
from analysis.evidence import Evidence
from analysis.importance import EVALUATOR, FEWEST, RESAMPLES, importances
from analysis.statistics import rank_correlation
from analysis.words import MISSING, fixed, listed, plural
from asc_sweeps.results import StudyRecord
from asc_sweeps.space import OBJECTIVES, SIZES

MOST_ROWS = 50
"""Of a table that lists the best or the refused; all points stand in the table of points."""


@dataclass(frozen=True)
class Found:
    """One search with what its trials reached."""

    record: StudyRecord
    evidence: Evidence

    @property
    def asked(self) -> dict[str, Any]:
        """What was asked for and drawn (`StudyRecord.search`)."""
        return self.record.search or {}

    @property
    def name(self) -> str:
        """The study's."""
        return self.record.name

    @property
    def objective(self) -> str:
        """The first of them."""
        return self.asked["objectives"][0]

    @property
    def parameters(self) -> list[str]:
        """Names of the drawn settings."""
        return [p["name"] for p in self.asked["parameters"]]

    @cached_property
    def points(self) -> pd.DataFrame:
        """One row a drawn point: number, state, signature, reason, a column an objective, `macs`, `validation_log_loss`.

        And a column a drawn setting, None where it was not drawn.
        """
        rows = []
        for point in self.asked["points"]:
            result = self.evidence.by_signature.get(point["signature"])
            micro = result.micro("validation") if result else None
            own = {name: point[name] for name in ("number", "state", "signature", "reason")}
            own["macs"] = result.complexity.macs if result else float("nan")
            own["validation_log_loss"] = micro.log_loss if micro else float("nan")
            values = point["values"] or [float("nan")] * len(self.asked["objectives"])
            own |= dict(zip(self.asked["objectives"], values, strict=True))
            rows.append(own | {name: point["params"].get(name) for name in self.parameters})
        columns = ["number", "state", "signature", "reason", "macs", "validation_log_loss"]
        columns = list(dict.fromkeys([*columns, *self.asked["objectives"], *self.parameters]))
        frame = pd.DataFrame(rows, columns=columns, dtype=object)  # so that None stays None
        numbers = ["macs", "validation_log_loss", *self.asked["objectives"]]
        return frame.astype({"number": int, **dict.fromkeys(numbers, float)})

    @cached_property
    def done(self) -> pd.DataFrame:
        """The points that reached an end, those of one trial once."""
        done = self.points[self.points["state"] == "done"]
        return done[done[self.objective].notna()].drop_duplicates("signature")

    @cached_property
    def generated(self) -> bool:
        """Whether its data were generated."""
        its = self.evidence.frame[self.evidence.frame["signature"].isin(self.points["signature"])]
        return bool(its["generated"].any())

    @property
    def maximize(self) -> bool:
        """Whether more of the first objective is better."""
        return OBJECTIVES[self.objective] == "maximize"

    @cached_property
    def best_first(self) -> pd.DataFrame:
        """The finished points, the best by the first objective on top."""
        return self.done.sort_values([self.objective, "number"], ascending=[not self.maximize, True])

    @cached_property
    def front(self) -> pd.DataFrame:
        """The finished points that no other beats in both MACs and validation log loss, by MACs."""
        return pareto_front(self.done.dropna(subset=["macs", "validation_log_loss"]))

    @cached_property
    def importances(self) -> pd.DataFrame:
        """Of the drawn settings for the first objective (`importance.importances`)."""
        done = set(self.done["number"])
        drawn = [p["params"] for p in self.asked["points"] if p["number"] in done]
        return importances(self.asked["parameters"], drawn, self.done[self.objective].tolist(), self.maximize)


def searches(evidence: Evidence) -> list[Found]:
    """The searches of the workspaces."""
    return [Found(record, evidence) for record in evidence.studies if record.search and record.search["points"]]


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """Rows that no other beats in both `macs` and `validation_log_loss`, both the fewer the better, by MACs."""
    ordered = points.sort_values(["macs", "validation_log_loss", "number"])
    best = ordered["validation_log_loss"].cummin()
    first = ordered["validation_log_loss"] < best.shift(fill_value=float("inf"))
    return ordered[first]


def early_stops(record: StudyRecord, evidence: Evidence) -> pd.DataFrame:
    """One row a rung of early stopping: rung (epochs), reached, stopped, correlation, best_rank.

    `correlation` is Spearman's between validation log loss at the rung and at the end, of the trials that were run to their end;
    `best_rank` the rank at the rung, among all that reached it, of the trial that was the best in the end.
    """
    columns = ["rung", "reached", "stopped", "correlation", "best_rank"]
    if not record.scheduler:
        return pd.DataFrame(columns=columns)
    signatures = [row["signature"] for row in record.trials if "signature" in row]
    ended = {
        s: [row.get("validation_log_loss") for row in r.history]
        for s in signatures
        if (r := evidence.by_signature.get(s))
    }
    ended = {s: values for s, values in ended.items() if values and values[-1] is not None}
    its = set(signatures)
    cut = {t.signature: t for t in evidence.unfinished if t.signature in its and t.state == "stopped"}
    best = min(ended, key=lambda s: ended[s][-1], default=None)
    rows, rung = [], record.scheduler["grace_epochs"]
    while rung < max((len(values) for values in ended.values()), default=0):
        there = {
            s: values[rung - 1] for s, values in ended.items() if len(values) > rung and values[rung - 1] is not None
        }
        stopped = {s: t.validation_log_loss for s, t in cut.items() if t.epochs_done == rung}
        beyond = sum((t.epochs_done or 0) > rung for t in cut.values())
        before_end = list(there.values())
        correlation = rank_correlation(before_end, [ended[s][-1] for s in there])
        known = [*before_end, *(v for v in stopped.values() if v is not None)]
        rank = 1 + sum(v < there[best] for v in known) if best in there else None
        rows.append((rung, len(there) + len(stopped) + beyond, len(stopped), correlation, rank))
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
        if found.importances.empty:
            told = f"{found.name}: too few trials for the importance of settings; it takes {FEWEST} that are finished."
            blocks.append(Text(told))
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
    groups = [[[row_head(name), words(value)]] for name, value in rows]
    return Table(
        f"{key}-asked", f"{found.name}: what was asked for", [[row_head("What"), row_head("Value")]], groups, caveat
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
    other = [] if found.objective in ("validation_log_loss", "macs") else [found.objective]
    names = [row_head("Trial"), *other, "Validation log loss", "MACs", *(row_head(name) for name in found.parameters)]
    groups = []
    for _, row in rows.head(MOST_ROWS).iterrows():
        cells = [code(str(row["signature"])), *(Cell(f"{row[name]:,.4g}") for name in other)]
        cells += [Cell(fixed(row["validation_log_loss"], 3)), Cell(_count(row["macs"]))]
        groups.append([[*cells, *(words(_setting(row[name])) for name in found.parameters)]])
    left = len(rows) - MOST_ROWS
    notes = (Text(f"{left} more stand among the points."),) if left > 0 else ()
    return Table(f"{key}-best", f"{found.name}: {caption}", [heads(*names)], groups, notes)


def _importance_table(found: Found, key: str) -> Table:
    groups = []
    for _, row in found.importances.iterrows():
        interval = f"{fixed(row['low'], 2)} to {fixed(row['high'], 2)}"
        groups.append([[row_head(row["name"]), Cell(fixed(row["importance"], 2)), Cell(interval)]])
    left = [name for name in found.parameters if name not in set(found.importances["name"])]
    note = (
        f"By {EVALUATOR}, for {found.objective}, over {plural(len(found.done), 'trial')}; 95 % interval by {RESAMPLES} "
    )
    note += "resamples of them."
    note += f" Not every trial drew, or varied, {listed(left)}." if left else ""
    head = [heads(row_head("Setting"), "Importance", "95 % interval")]
    return Table(f"{key}-importance", f"{found.name}: which settings mattered", head, groups, (Text(note),))


def _refused_table(found: Found, key: str) -> Table:
    refused = found.points[found.points["state"] == "refused"]
    groups = []
    for _, row in refused.head(MOST_ROWS).iterrows():
        cells = [Cell(str(row["number"])), words(row["reason"])]
        groups.append([[*cells, *(words(_setting(row[name])) for name in found.parameters)]])
    left = len(refused) - MOST_ROWS
    note = "Counted before any training, and never trained."
    note += f" {left} more stand among the points." if left > 0 else ""
    head = [heads("Point", row_head("Refused for"), *(row_head(name) for name in found.parameters))]
    caption = f"{found.name}: {plural(len(refused), 'point')} that its limits refused"
    return Table(f"{key}-refused", caption, head, groups, (Text(note),))


def _points_table(found: Found, key: str) -> Table:
    objectives = found.asked["objectives"]
    groups = []
    for row in found.points.to_dict("records"):
        signature = [code(row["signature"])] if row["signature"] else [Cell(MISSING, "text")]
        cells = [Cell(str(row["number"])), words(row["state"]), *signature]
        cells += [Cell(_count(row[o]) if o in SIZES else fixed(row[o], 4)) for o in objectives]
        groups.append([[*cells, *(words(_setting(row[name])) for name in found.parameters)]])
    head = heads("Point", row_head("State"), row_head("Trial"), *objectives, *(row_head(n) for n in found.parameters))
    return Table(f"{key}-points", f"{found.name}: {plural(len(groups), 'point')}, in the order drawn", [head], groups)


def _stops_table(record: StudyRecord, stops: pd.DataFrame, key: str) -> Table:
    groups = []
    for row in stops.to_dict("records"):
        rank = MISSING if pd.isna(row["best_rank"]) else f"{int(row['best_rank'])} of {row['reached']}"
        cells = [Cell(str(row["rung"])), Cell(str(row["reached"])), Cell(str(row["stopped"]))]
        groups.append([[*cells, Cell(fixed(row["correlation"], 2)), Cell(rank)]])
    note = (
        "Rank correlation (Spearman) of validation log loss at the rung with that at the end, over the trials that were run to "
        "their end; those that were stopped might have said otherwise. Last column: where the trial that ended best stood then."
    )
    head = [heads("Epoch", "Reached it", "Stopped there", "Rank correlation with the end", "Rank of the later best")]
    return Table(f"{key}-ranks", f"{record.name}: ranks at early stopping's rungs", head, groups, (Text(note),))


def _count(value: float) -> str:
    return MISSING if pd.isna(value) else f"{int(value):,}"


def _setting(value: object) -> str:
    if value is None or value != value:
        return MISSING
    return str(value).lower() if isinstance(value, bool) else f"{value:.4g}" if isinstance(value, float) else str(value)
