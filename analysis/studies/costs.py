"""Computing time of the studies: by outcome, by worker, and what was saved by training nothing twice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page import charts
from analysis.page.elements import Block, Plot, Row, Section, Table, Text, simple_table, text_cell, text_head
from analysis.page.formats import MISSING, duration, percent, plural
from analysis.page.style import BLUE, GREEN, INK, ORANGE, VERMILLION, escaped, object_array, styled
from asc_sweeps.workspace.records import StudyRecord, TrialResult
from asc_sweeps.workspace.status import TrialStatus

OUTCOMES = {
    "finished": (BLUE, ""),
    "stopped early": (ORANGE, "/"),
    "failed": (VERMILLION, "x"),
    "unfinished": (GREEN, "."),
}
"""Colour and pattern of a bar by the outcome of its trial."""
MAX_BARS = 2_000


def work_intervals(evidence: Evidence) -> pd.DataFrame:
    """One row per work interval: signature, system, state, worker, began, ended (UTC); the oldest results have none."""
    failed = {failure.signature for failure in evidence.failures}
    outcomes: list[tuple[TrialResult | TrialStatus, str]] = [(result, "finished") for result in evidence.results]
    outcomes += [(status, _outcome(status, failed)) for status in evidence.unfinished]
    rows = [
        (trial.signature, trial.system, outcome, work["worker"], work["began_at"], work["ended_at"])
        for trial, outcome in outcomes
        for work in trial.work_intervals
    ]
    frame = pd.DataFrame(rows, columns=["signature", "system", "state", "worker", "began", "ended"])
    for column in ("began", "ended"):
        frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601")
    frame["ended"] = frame[["began", "ended"]].max(axis=1)  # the clock may have been set back
    return frame.sort_values(["worker", "began", "signature"], ignore_index=True)


def time_by_outcome(evidence: Evidence) -> pd.DataFrame:
    """One row per outcome (finished, stopped early, failed, unfinished): trials, epochs, seconds of computing."""
    rows = [("finished", len(result.history), result.seconds) for result in evidence.results]
    failed = {failure.signature for failure in evidence.failures}
    for status in evidence.unfinished:
        epochs = status.epochs_done or 0
        if epochs or status.signature in failed:
            rows.append((_outcome(status, failed), epochs, epochs * (status.seconds_per_epoch or 0.0)))
    not_listed = failed - {status.signature for status in evidence.unfinished}
    rows += [("failed", 0, 0.0)] * len(not_listed)  # of studies whose records do not list them
    by_outcome = pd.DataFrame(rows, columns=["state", "epochs", "seconds"]).groupby("state")
    sums = by_outcome.agg(trials=("epochs", "size"), epochs=("epochs", "sum"), seconds=("seconds", "sum"))
    return sums.reindex(list(OUTCOMES), fill_value=0)


def reuse(studies: Iterable[StudyRecord], seconds: Mapping[str, float]) -> tuple[pd.DataFrame, pd.Series]:
    """One row per study: trials; epochs if each trial trained everything it depends on, and with every training done once.

    `seconds` (by signature of finished trials) gives `alone_seconds` and `shared_seconds`. The second value is the total, in
    which training shared between studies counts once. Records too old to contain epochs are left out.
    """
    rows, everything = [], dict[str, int]()
    for record in studies:
        trials = [row for row in record.trials if "signature" in row and "epochs" in row]
        alone = [pair for row in trials for pair in ({**row.get("needs", {}), row["signature"]: row["epochs"]}).items()]
        shared = dict(alone)
        everything |= shared
        rows.append((record.name, len(trials), *_sums(alone, seconds), *_sums(shared.items(), seconds)))
    columns = ["study", "trials", "alone_epochs", "alone_seconds", "shared_epochs", "shared_seconds"]
    frame = pd.DataFrame(rows, columns=columns).set_index("study")
    total = frame.sum()
    total["shared_epochs"], total["shared_seconds"] = _sums(everything.items(), seconds)
    return frame, total


def section(evidence: Evidence) -> Section:
    """Computing time in the report."""
    sentence = "Computing time by outcome and by worker, and the time saved by reusing trained networks."
    by_outcome = time_by_outcome(evidence)
    if not by_outcome["trials"].sum():
        return Section("cost", "Cost", sentence, (Text("No trial has been trained yet."),))
    blocks: list[Block] = [_outcomes_table(by_outcome)]
    if any("epochs" in row for record in evidence.studies for row in record.trials):
        blocks.append(_reuse_table(*reuse(evidence.studies, {r.signature: r.seconds for r in evidence.results})))
    intervals = work_intervals(evidence)
    if len(intervals):
        blocks += [_workers_table(intervals), _timeline(intervals)]
    return Section("cost", "Cost", sentence, tuple(blocks))


def _outcomes_table(by_outcome: pd.DataFrame) -> Table:
    rows: list[Row] = [
        [text_head(outcome), f"{row['trials']:,.0f}", f"{row['epochs']:,.0f}", duration(row["seconds"])]
        for outcome, row in zip(OUTCOMES, by_outcome.to_dict("records"), strict=True)
    ]
    note = "Computing time of the trials, summed over workers; idle time excluded."
    titles = ["Outcome", "Trials", "Epochs", "Time"]
    return simple_table("cost-states", "Computing time by outcome", titles, rows, note)


def _reuse_table(frame: pd.DataFrame, total: pd.Series) -> Table:
    rows: list[Row] = []
    for study, row in [*frame.iterrows(), ("all studies", total)]:
        saved = 1 - row["shared_epochs"] / row["alone_epochs"] if row["alone_epochs"] else 0.0
        counts = [f"{row[column]:,.0f}" for column in ("trials", "alone_epochs", "shared_epochs")]
        times = [duration(row[c]) if row[c] else MISSING for c in ("alone_seconds", "shared_seconds")]
        rows.append([text_head(str(study)), *counts, percent(saved), *times])
    note = (
        "Without reuse, each trial would train everything it depends on; with reuse, every training runs once. Times are of "
        "finished trials."
    )
    titles = ["Study", "Trials", "Epochs without reuse", "Epochs with reuse", "Saved, %"]
    titles += ["Time without reuse", "Time with reuse"]
    return simple_table("cost-reuse", "Savings from reuse", titles, rows, note)


def _workers_table(intervals: pd.DataFrame) -> Table:
    rows: list[Row] = []
    for worker, work in intervals.groupby("worker"):
        first, last, busy = work["began"].min(), work["ended"].max(), _seconds(work).sum()
        span = (last - first).total_seconds()
        share = percent(busy / span) if span else MISSING
        ends = [text_cell(_clock(time)) for time in (first, last)]
        rows.append([text_head(str(worker)), str(work["signature"].nunique()), duration(busy), share, *ends])
    titles = ["Worker (host:process)", "Trials", "Busy", "Utilization, %", "First (UTC)", "Last (UTC)"]
    return simple_table("cost-workers", plural(len(rows), "worker"), titles, rows)


def _timeline(intervals: pd.DataFrame) -> Plot:
    longest = _seconds(intervals).sort_values(ascending=False, kind="stable").index[:MAX_BARS]
    drawn = intervals.loc[sorted(longest)]
    figure = charts.Figure()
    for outcome, (colour, pattern) in OUTCOMES.items():
        work = drawn[drawn["state"] == outcome]
        if len(work):
            figure.add_bar(
                base=object_array(map(_clock, work["began"])), x=object_array((_seconds(work) * 1000).round().astype(int)),
                y=object_array(map(escaped, work["worker"])), orientation="h", name=outcome,
                text=object_array(map(escaped, work["system"] + ", " + work["signature"])), textposition="none",
                marker={"color": colour, "line": {"color": INK, "width": 0.5}, "pattern": {"shape": pattern}},
                hovertemplate="%{text}<br>from %{base}<extra>" + outcome + "</extra>",
            )  # fmt: skip
    workers = drawn["worker"].nunique()
    height = 26 * min(workers, 40)
    styled(figure, 130 + height, x="Time (UTC)")
    figure.update_layout(barmode="overlay", legend_y=-60 / (60 + height))
    figure.update_xaxes(type="date")
    figure.update_yaxes(type="category", autorange="reversed")
    hidden = len(intervals) - len(drawn)
    caption = "Each bar is one work interval of a trial; colour and pattern show the outcome of the trial."
    caption += f" {hidden:,} shorter intervals are not drawn." if hidden else ""
    busy = duration(_seconds(intervals).sum())
    label = f"Timeline of {plural(workers, 'worker')} with {busy} of computing in total."
    return Plot("plot-timeline", label, figure, caption)


def _outcome(status: TrialStatus, failed: Set[str]) -> str:
    if status.state == "failed" or status.signature in failed:
        return "failed"
    return "stopped early" if status.state == "stopped" else "unfinished"


def _sums(epochs: Iterable[tuple[str, int]], seconds: Mapping[str, float]) -> tuple[int, float]:
    """Epochs and seconds of trainings, given as (signature, epochs)."""
    pairs = list(epochs)
    return sum(count for _, count in pairs), sum(seconds.get(signature, 0.0) for signature, _ in pairs)


def _seconds(intervals: pd.DataFrame) -> pd.Series:
    return (intervals["ended"] - intervals["began"]).dt.total_seconds()


def _clock(time: pd.Timestamp) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
