"""What the studies cost: hours by how trials ended, who worked when, and what was saved by training nothing twice."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page import charts
from analysis.page.elements import Block, Cell, Plot, Section, Table, Text, number_heads, text_head
from analysis.page.formats import MISSING, duration, percent, plural
from analysis.page.style import BLUE, GREEN, INK, ORANGE, VERMILLION, escaped, object_array, styled
from asc_sweeps.workspace.records import StudyRecord

LOOKS = {
    "finished": (BLUE, ""),
    "stopped early": (ORANGE, "/"),
    "failed": (VERMILLION, "x"),
    "unfinished": (GREEN, "."),
}
"""Colour and hatching of a bar by how its trial ended."""
MOST_BARS = 2_000


def sittings_frame(evidence: Evidence) -> pd.DataFrame:
    """One row a stretch of work: signature, system, state, worker, began, ended (UTC); trials of before they were noted lack them."""
    rows = []
    for result in evidence.results:
        rows += _rows(result.signature, result.system, "finished", result.work_intervals)
    failed = {failure.signature for failure in evidence.failures}
    for status in evidence.unfinished:
        rows += _rows(
            status.signature, status.system, _end(status.state, status.signature in failed), status.work_intervals
        )
    frame = pd.DataFrame(rows, columns=["signature", "system", "state", "worker", "began", "ended"])
    for column in ("began", "ended"):
        frame[column] = pd.to_datetime(frame[column], utc=True, format="ISO8601")
    frame["ended"] = frame[["began", "ended"]].max(
        axis=1
    )  # of trials of before: the clock may have been set back meanwhile
    return frame.sort_values(["worker", "began", "signature"], ignore_index=True)


def hours_by_state(evidence: Evidence) -> pd.DataFrame:
    """One row a way to end (finished, stopped early, failed, unfinished): trials, epochs, seconds of computing."""
    found = {name: [0, 0, 0.0] for name in LOOKS}
    for result in evidence.results:
        _add(found["finished"], len(result.history), result.seconds)
    failed = {failure.signature for failure in evidence.failures}
    told = {status.signature for status in evidence.unfinished}
    for status in evidence.unfinished:
        epochs = status.epochs_done or 0
        if epochs or status.signature in failed:
            end = found[_end(status.state, status.signature in failed)]
            _add(end, epochs, epochs * (status.seconds_per_epoch or 0.0))
    for _ in failed - told:  # of a study whose record does not list it
        _add(found["failed"], 0, 0.0)
    rows = [(name, *numbers) for name, numbers in found.items()]
    return pd.DataFrame(rows, columns=["state", "trials", "epochs", "seconds"]).set_index("state")


def reuse(studies: Iterable[StudyRecord], seconds: Mapping[str, float]) -> tuple[pd.DataFrame, pd.Series]:
    """One row a study: trials; epochs of them and all they build on with each trial by itself, and with each training done once.

    `seconds` (by signature) gives `alone_seconds` and `shared_seconds`, over finished trials. The second value is of all studies
    together: what several of them share counts once. Rows of records that are too old to say their epochs are left out.
    """
    rows, everything = [], dict[str, int]()
    for record in studies:
        its = [row for row in record.trials if "signature" in row and "epochs" in row]
        lengths: dict[str, int] = {}
        for row in its:
            lengths |= row.get("needs", {})
        lengths |= {row["signature"]: row["epochs"] for row in its}
        alone = [s for row in its for s in (*row.get("needs", {}), row["signature"])]
        everything |= lengths
        rows.append((record.name, len(its), *_sums(alone, lengths, seconds), *_sums(lengths, lengths, seconds)))
    columns = ["study", "trials", "alone_epochs", "alone_seconds", "shared_epochs", "shared_seconds"]
    frame = pd.DataFrame(rows, columns=columns).set_index("study")
    total = frame.sum()
    total["shared_epochs"], total["shared_seconds"] = _sums(everything, everything, seconds)
    return frame, total


def section(evidence: Evidence) -> Section:
    """Cost in the report."""
    sentence = "Computing time: what became of it, who worked when, and what was not computed twice."
    by_state = hours_by_state(evidence)
    if not by_state["trials"].sum():
        return Section("cost", "Cost", sentence, (Text("No trial has been trained yet."),))
    blocks: list[Block] = [_states_table(by_state)]
    known = {result.signature: result.seconds for result in evidence.results}
    if any("epochs" in row for record in evidence.studies for row in record.trials):
        blocks.append(_reuse_table(*reuse(evidence.studies, known)))
    sittings = sittings_frame(evidence)
    if len(sittings):
        blocks += [_workers_table(sittings), _timeline(sittings)]
    return Section("cost", "Cost", sentence, tuple(blocks))


def _states_table(by_state: pd.DataFrame) -> Table:
    groups = []
    for state, row in by_state.iterrows():
        numbers = [Cell(f"{int(row['trials']):,}"), Cell(f"{int(row['epochs']):,}"), Cell(duration(row["seconds"]))]
        groups.append([[text_head(str(state)), *numbers]])
    note = "Time of the trials themselves, added over workers; what a worker waited for is not in it."
    head = [number_heads(text_head("Trials that are"), "Trials", "Epochs", "Time")]
    return Table("cost-states", "Computing time by how trials ended", head, groups, (Text(note),))


def _reuse_table(frame: pd.DataFrame, total: pd.Series) -> Table:
    groups = []
    for study, row in [*frame.iterrows(), ("all studies together", total)]:
        saved = 1 - row["shared_epochs"] / row["alone_epochs"] if row["alone_epochs"] else 0.0
        cells = [Cell(f"{int(row[c]):,}") for c in ("trials", "alone_epochs", "shared_epochs")]
        times = [Cell(duration(row[c]) if row[c] else MISSING) for c in ("alone_seconds", "shared_seconds")]
        groups.append([[text_head(str(study)), *cells, Cell(percent(saved)), *times]])
    note = (
        "Each trial by itself, with the training of all that it builds on, against every distinct training once. Times are "
        "of finished trials."
    )
    head = [
        number_heads(
            text_head("Study"),
            "Trials",
            "Epochs, each by itself",
            "Epochs, shared",
            "Saved, %",
            "Time, each by itself",
            "Time, shared",
        )
    ]
    return Table("cost-reuse", "What reuse saved", head, groups, (Text(note),))


def _workers_table(sittings: pd.DataFrame) -> Table:
    groups = []
    for worker, its in sittings.groupby("worker"):
        busy = (its["ended"] - its["began"]).dt.total_seconds().sum()
        span = (its["ended"].max() - its["began"].min()).total_seconds()
        ends = [Cell(_clock(time), "text") for time in (its["began"].min(), its["ended"].max())]
        share = Cell(percent(busy / span) if span else MISSING)
        groups.append(
            [[text_head(str(worker)), Cell(str(its["signature"].nunique())), Cell(duration(busy)), share, *ends]]
        )
    head = number_heads(
        text_head("Worker (host:process)"),
        "Trials",
        "Busy",
        "Share of its time, %",
        text_head("First (UTC)"),
        text_head("Last (UTC)"),
    )
    return Table("cost-workers", plural(len(groups), "worker"), [head], groups)


def _timeline(sittings: pd.DataFrame) -> Plot:
    longest = (sittings["ended"] - sittings["began"]).sort_values(ascending=False, kind="stable").index[:MOST_BARS]
    drawn = sittings.loc[sorted(longest)]
    figure = charts.Figure()
    for state, (colour, hatching) in LOOKS.items():
        its = drawn[drawn["state"] == state]
        if len(its):
            figure.add_trace(
                charts.Bar(
                    base=object_array(_clock(time) for time in its["began"]),
                    x=object_array(
                        round((e - b).total_seconds() * 1000) for b, e in zip(its["began"], its["ended"], strict=True)
                    ),
                    y=object_array(escaped(worker) for worker in its["worker"]),
                    text=object_array(
                        escaped(f"{system}, {signature}")
                        for system, signature in zip(its["system"], its["signature"], strict=True)
                    ),
                    textposition="none",
                    orientation="h",
                    name=state,
                    marker={"color": colour, "line": {"color": INK, "width": 0.5}, "pattern": {"shape": hatching}},
                    hovertemplate="%{text}<br>from %{base}<extra>" + state + "</extra>",
                )
            )
    workers = drawn["worker"].nunique()
    styled(figure, 130 + 26 * min(workers, 40))
    figure.update_layout(barmode="overlay", legend_y=-60 / (60 + 26 * min(workers, 40)))
    figure.update_xaxes(type="date", title_text="Time (UTC)")
    figure.update_yaxes(type="category", autorange="reversed")
    left = len(sittings) - len(drawn)
    caption = "One bar a stretch of work on a trial, by worker; colour and hatching say how the trial ended." + (
        f" {left:,} shorter ones are not drawn." if left else ""
    )
    busy = (sittings["ended"] - sittings["began"]).dt.total_seconds().sum()
    label = f"Timeline of {plural(workers, 'worker')}, busy for {duration(busy)} in all."
    return Plot("plot-timeline", label, figure, caption)


def _end(state: str, failed: bool) -> str:
    return "failed" if failed or state == "failed" else "stopped early" if state == "stopped" else "unfinished"


def _rows(signature: str, system: str, state: str, sittings: Iterable[Mapping[str, str]]) -> list[tuple[str, ...]]:
    return [(signature, system, state, s["worker"], s["began_at"], s["ended_at"]) for s in sittings]


def _add(sums: list[float], epochs: int, seconds: float) -> None:
    for position, amount in enumerate((1, epochs, seconds)):
        sums[position] += amount


def _sums(signatures: Iterable[str], lengths: Mapping[str, int], seconds: Mapping[str, float]) -> tuple[int, float]:
    chosen = list(signatures)
    return sum(lengths.get(s, 0) for s in chosen), sum(seconds.get(s, 0.0) for s in chosen)


def _clock(time: datetime.datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S")
