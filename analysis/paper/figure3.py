"""Figure 3: accuracy of the plain networks against their size, as the width grows."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import ACCURACY, LOG_LOSS
from analysis.page import charts
from analysis.page.elements import Cell, Plot, Section, Table, Text, paper_cell, text_head
from analysis.page.formats import MISSING, listed, millions, percent, signed, thousands
from analysis.page.style import BLUE, PAPER, VERMILLION, paper_marker, styled
from analysis.paper import missing
from analysis.paper.families import Family, best_family, paper_systems, summarise
from analysis.paper.paper_table import MeasuredTable, PaperTable
from analysis.paper.scores import Columns, Rows, log_loss_cell, make_table, measured_cell, notes_below, seeds_column
from analysis.published import BUDGET_MACS, BUDGET_PARAMS, TABLE2, WIDTH, WIDTHS

BLOCK_NAMES = {"bcresnet": "BC-ResNet", "bcres2net": "BC-Res2Net"}
PLAIN = {(row.block, WIDTH): row for row in TABLE2 if not (row.mfa or row.fpm)}
"""The paper's networks without MFA and FPM, by block and width."""
PANELS = (("params", 1e3, "Parameters, K", BUDGET_PARAMS), ("macs", 1e6, "MACs of one segment, M", BUDGET_MACS))
TICKS = [digit * 10.0**power for power in range(-2, 4) for digit in (1, 2, 5)]
"""Of logarithmic axes, in K parameters and M MACs."""


def figure3_family(frame: pd.DataFrame) -> Family | None:
    """The trials that Figure 3 shows: pretrained plain networks that differ in block and width alone."""
    plain = paper_systems(frame).isin([row.system for row in PLAIN.values()])
    trials = frame[~frame["finetuned"] & frame["plain"] & plain]
    rows = list(zip(trials["model.block"], trials["model.width"].astype(int), strict=True))
    return best_family(trials.assign(row=pd.Series(rows, trials.index, dtype=object)), ("model.block", "model.width"))


FIGURE3_SCORES = PaperTable(
    "Figure 3",
    "figure3_widths",
    {key: {"params": row.params, "macs": row.macs, "accuracy": row.accuracy} for key, row in PLAIN.items()},
    figure3_family,
    (ACCURACY, LOG_LOSS),
    ("accuracy", "log_loss"),
    open=True,
)


def figure3_points(frame: pd.DataFrame) -> pd.DataFrame:
    """The points of Figure 3 by block and width, always including the paper's two at width 40; accuracy 0..1."""
    return _points(FIGURE3_SCORES.measure(frame))


def _points(measured: MeasuredTable[tuple[str, int]]) -> pd.DataFrame:
    rows = []
    for block, width in sorted(measured.rows, key=lambda row: (row[0] != "bcresnet", row[1])):
        trials, printed = measured.rows[block, width], measured.paper.printed.get((block, width), {})
        rows.append(
            {
                "block": block,
                "width": width,
                **{f"paper_{name}": printed.get(name, float("nan")) for name in ("params", "macs", "accuracy")},
                **{name: trials[name].iloc[0] if len(trials) else float("nan") for name in ("params", "macs")},
                **summarise(trials, measured.paper.summarised),
                "seeds": len(trials),
                "seed_numbers": tuple(sorted(trials["seed"])),
            }
        )
    return pd.DataFrame(rows)


def figure3(frame: pd.DataFrame) -> charts.Figure:
    """Figure 3: accuracy in percent against parameters and MACs; lines measured, open diamonds the paper's."""
    points = figure3_points(frame)
    figure = charts.make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, (size, unit, title, budget) in enumerate(PANELS, start=1):
        figure.add_trace(_printed_points(points, size, unit, column == 1), *(1, column))
        for block, colour, symbol, side in (
            ("bcresnet", VERMILLION, "square", "bottom right"),
            ("bcres2net", BLUE, "circle", "top left"),
        ):
            line = points[(points["block"] == block) & (points["seeds"] > 0)]
            figure.add_trace(
                charts.Scatter(
                    x=(line[size] / unit).tolist(),
                    y=(100 * line["accuracy"]).round(3).tolist(),
                    error_y={"array": (100 * line["accuracy_half"]).fillna(0).tolist(), "thickness": 1, "width": 4},
                    text=[f"C = {width}" for width in line["width"]],
                    textposition=side,
                    cliponaxis=False,
                    textfont_color=colour,
                    name=BLOCK_NAMES[block],
                    showlegend=column == 1 and len(line) > 0,
                    mode="lines+markers+text",
                    line={"color": colour, "width": 2},
                    marker={"size": 9, "symbol": symbol},
                    hovertemplate=f"{BLOCK_NAMES[block]}, %{{text}}: %{{y:.1f}} %<extra></extra>",
                ),
                *(1, column),
            )
        sizes = pd.concat([points[size], points[f"paper_{size}"]]).dropna() / unit
        _size_axis(figure, column, title, sizes.min(), sizes.max(), budget / unit)
    styled(figure, 400)
    figure.update_yaxes(title_text="Accuracy, %", col=1)
    return figure


def _printed_points(points: pd.DataFrame, size: str, unit: float, legend: bool) -> charts.Scatter:
    printed = points[points["paper_accuracy"].notna()]
    return charts.Scatter(
        x=(printed[f"paper_{size}"] / unit).tolist(),
        y=(100 * printed["paper_accuracy"]).round(3).tolist(),
        text=[BLOCK_NAMES[block] for block in printed["block"]],
        name=f"paper, width {WIDTH}",
        showlegend=legend,
        mode="markers",
        marker=paper_marker(12),
        hovertemplate="paper, %{text}-40: %{y:.1f} %<extra></extra>",
    )


def _size_axis(figure: charts.Figure, column: int, title: str, low: float, high: float, limit: float) -> None:
    """Scale one panel to its sizes, logarithmic over a wide range, and draw the challenge's limit if in range."""
    log = high > 8 * low
    scale = math.log10 if log else float
    start, end = scale(low), scale(high)
    margin = 0.12 * (end - start) + 0.02 * abs(end)  # room for the labels of the outer points
    axis = {"type": "log", "tickvals": TICKS} if log else {"type": "linear"}
    figure.update_xaxes(title_text=title, range=(start - margin, end + margin), row=1, col=column, **axis)
    if scale(limit) <= end + margin:
        side = "right" if scale(limit) > end else "left"
        position = {"x": scale(limit), "xanchor": side, "y": 0, "yref": "y domain", "yanchor": "bottom"}
        figure.add_vline(limit, line={"color": PAPER, "dash": "dash", "width": 1.5}, row=1, col=column)
        figure.add_annotation(text=f"limit {limit:g}", showarrow=False, row=1, col=column, **position)


def section(evidence: Evidence) -> Section:
    """Figure 3 in the report."""
    measured = evidence.cached(FIGURE3_SCORES.measure)
    points = _points(measured)
    done = points[points["seeds"] > 0]
    scores = "; ".join(
        f"{BLOCK_NAMES[p['block']]}-{p['width']} {percent(p['accuracy'])} % at {thousands(p['params'])}"
        for _, p in done.iterrows()
    )
    label = f"Accuracy against parameters and against MACs of the plain networks. Measured: {scores or 'nothing yet'}."
    caption = measured.family.caveat if measured.family else ""
    caption += (
        "A dot is the mean over seeds of one width C, its bar the 95 % t interval from three seeds on; a dashed line is the "
        "challenge's limit. Open diamonds are the two points whose numbers the paper prints; its other widths are only plotted."
    )
    return Section(
        "figure-3",
        "Figure 3",
        "At the same size, is BC-Res2Net more accurate than BC-ResNet? Networks without MFA and FPM, narrow to wide.",
        (_table(points, measured, evidence), Plot("plot-figure-3", label, figure3(evidence.frame), caption)),
    )


def _table(points: pd.DataFrame, measured: MeasuredTable[tuple[str, int]], evidence: Evidence) -> Table:
    # Rows without a trial are the paper's own, of width 40: small networks on generated data never fill them.
    fill = missing.commands(FIGURE3_SCORES.study, False if measured.family else None, evidence)
    columns = [
        Columns("Parameters", partial(_size_cells, "params", thousands), ("paper", "measured")),
        Columns("MACs of one segment", partial(_size_cells, "macs", millions), ("paper", "measured")),
        Columns[pd.Series](
            "Accuracy, %",
            lambda point: _accuracy_cells(point, measured.compared),
            ("paper", "measured", *(["difference"] if measured.compared else [])),
        ),
        Columns[pd.Series]("Log loss, measured", lambda point: [log_loss_cell(point, "log_loss")]),
        seeds_column(points),
    ]
    groups = []
    for _, point in points.iterrows():
        system = f"{BLOCK_NAMES[point['block']]}-{point['width']}"
        failures = missing.failures_of(evidence.failures, system, "pretraining", point["width"])
        remark = missing.remark(failures, point["seeds"] > 0, fill if measured.family else ())
        groups.append(Rows(text_head(system), [point], remark))
    notes = notes_below(measured, fill)
    if measured.compared and (absent := _absent(points)):
        notes += (Text(f"Not measured yet: {listed(absent)}; run", fill),)
    notes += (Text("Verdicts on the points of width 40 are in Table 2."),) if measured.compared else ()
    return make_table("figure-3-points", "Figure 3, its points", "Network", columns, groups, notes)


def _size_cells(size: str, written: Callable[[float], str], point: pd.Series) -> list[Cell]:
    printed = point[f"paper_{size}"]
    return [
        paper_cell(MISSING if pd.isna(printed) else written(printed)),
        Cell(f"{int(point[size]):,}" if point["seeds"] else MISSING),
    ]


def _accuracy_cells(point: pd.Series, compare: bool) -> list[Cell]:
    cells = [paper_cell(percent(point["paper_accuracy"])), measured_cell(point, "accuracy", 100, 1)]
    difference = 100 * (point["accuracy"] - point["paper_accuracy"])
    known = point["seeds"] and not pd.isna(point["paper_accuracy"])
    return [*cells, Cell(signed(difference, 1) if known else MISSING)] if compare else cells


def _absent(points: pd.DataFrame) -> list[str]:
    """Networks of the paper's widths that have neither a trial nor a row."""
    there = set(zip(points["block"], points["width"], strict=True))
    return [f"{name}-{width}" for block, name in BLOCK_NAMES.items() for width in WIDTHS if (block, width) not in there]
