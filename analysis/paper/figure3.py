"""Figure 3: accuracy of the plain networks against their size, as the width grows."""

from __future__ import annotations

import math

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.page import charts
from analysis.page.elements import (
    Cell,
    Plot,
    Section,
    Table,
    Text,
    number_heads,
    paper_cell,
    row_group,
    text_head,
    two_row_head,
)
from analysis.page.formats import MISSING, listed, millions, percent, signed, thousands
from analysis.page.style import BLUE, PAPER, VERMILLION, paper_marker, styled
from analysis.paper import missing
from analysis.paper.families import Family, best_family, summarise
from analysis.paper.scores import measured_cell, score_heads, score_notes, seeds_cell
from analysis.published import BUDGET_MACS, BUDGET_PARAMS, TABLE2, WIDTH, WIDTHS

STUDY = "figure3_widths"
AXES = ("model.block", "model.width")
NAMES = {"bcresnet": "BC-ResNet", "bcres2net": "BC-Res2Net"}
PANELS = (("params", 1e3, "Parameters, K", BUDGET_PARAMS), ("macs", 1e6, "MACs of one segment, M", BUDGET_MACS))
TICKS = [digit * 10.0**power for power in range(-2, 4) for digit in (1, 2, 5)]
"""Of logarithmic axes, in K parameters and M MACs."""


def figure3_family(frame: pd.DataFrame) -> Family | None:
    """The trials that Figure 3 shows: pretrained plain networks that differ in block and width alone."""
    plain = (
        ~frame["finetuned"] & frame["plain"] & frame["model.stem_attention"] & ~frame["model.mfa"] & ~frame["model.fpm"]
    )
    trials = frame[plain]
    rows = [f"{block}-{width}" for block, width in zip(trials["model.block"], trials["model.width"], strict=True)]
    return best_family(trials.assign(row=rows), AXES)


def figure3_points(frame: pd.DataFrame) -> pd.DataFrame:
    """The points of Figure 3 by block and width, the paper's two at width 40 always among them; accuracy 0..1.

    Those two are rows of Table 2, where verdicts on them stand.
    """
    family = figure3_family(frame)
    trials = frame.iloc[:0] if family is None else family.trials
    printed = {(row.block, WIDTH): row for row in TABLE2 if not (row.mfa or row.fpm)}
    measured = zip(trials["model.block"], trials["model.width"], strict=True)
    rows = []
    for block, width in sorted(
        {*printed, *((b, int(w)) for b, w in measured)}, key=lambda k: (k[0] != "bcresnet", k[1])
    ):
        these = trials[(trials["model.block"] == block) & (trials["model.width"] == width)]
        row = printed.get((block, width))
        rows.append(
            {
                "block": block,
                "width": width,
                **{f"paper_{n}": getattr(row, n, float("nan")) for n in ("params", "macs", "accuracy")},
                **{n: these[n].iloc[0] if len(these) else float("nan") for n in ("params", "macs")},
                **summarise(these, ("accuracy", "log_loss")),
                "seeds": len(these),
                "seed_numbers": tuple(sorted(these["seed"])),
            }
        )
    return pd.DataFrame(rows)


def figure3(frame: pd.DataFrame) -> charts.Figure:
    """Figure 3: accuracy in percent against parameters and MACs; lines measured, open diamonds the paper's."""
    points = figure3_points(frame)
    figure = charts.make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.05)
    for column, (size, unit, title, budget) in enumerate(PANELS, start=1):
        once = column == 1
        printed = points[points["paper_accuracy"].notna()]
        figure.add_trace(
            charts.Scatter(
                x=(printed[f"paper_{size}"] / unit).tolist(),
                y=(100 * printed["paper_accuracy"]).round(3).tolist(),
                text=[NAMES[block] for block in printed["block"]],
                name=f"paper, width {WIDTH}",
                showlegend=once,
                mode="markers",
                marker=paper_marker(12),
                hovertemplate="paper, %{text}-40: %{y:.1f} %<extra></extra>",
            ),
            *(1, column),
        )
        for block, colour, symbol, place in (
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
                    textposition=place,
                    cliponaxis=False,
                    textfont_color=colour,
                    name=NAMES[block],
                    showlegend=once and len(line) > 0,
                    mode="lines+markers+text",
                    line={"color": colour, "width": 2},
                    marker={"size": 9, "symbol": symbol},
                    hovertemplate=f"{NAMES[block]}, %{{text}}: %{{y:.1f}} %<extra></extra>",
                ),
                *(1, column),
            )
        sizes = pd.concat([points[size], points[f"paper_{size}"]]).dropna() / unit
        _size_axis(figure, column, title, sizes.min(), sizes.max(), budget / unit)
    styled(figure, 400)
    figure.update_yaxes(title_text="Accuracy, %", col=1)
    return figure


def _size_axis(figure: charts.Figure, column: int, title: str, low: float, high: float, limit: float) -> None:
    """Scale one panel to its sizes, logarithmic where they differ much, with the challenge's limit if in sight."""
    log = high > 8 * low
    scale = math.log10 if log else float
    start, end = scale(low), scale(high)
    margin = 0.12 * (end - start) + 0.02 * abs(end)  # room for the labels of the outer points
    axis = {"type": "log", "tickvals": TICKS} if log else {"type": "linear"}
    figure.update_xaxes(title_text=title, range=(start - margin, end + margin), row=1, col=column, **axis)
    if scale(limit) <= end + margin:
        side = "right" if scale(limit) > end else "left"
        place = {"x": scale(limit), "xanchor": side, "y": 0, "yref": "y domain", "yanchor": "bottom"}
        figure.add_vline(limit, line={"color": PAPER, "dash": "dash", "width": 1.5}, row=1, col=column)
        figure.add_annotation(text=f"limit {limit:g}", showarrow=False, row=1, col=column, **place)


def section(evidence: Evidence) -> Section:
    """Figure 3 in the report."""
    points, family = evidence.cached(figure3_points), evidence.cached(figure3_family)
    done = points[points["seeds"] > 0]
    found = "; ".join(
        f"{NAMES[p['block']]}-{p['width']} {percent(p['accuracy'])} % at {thousands(p['params'])}"
        for _, p in done.iterrows()
    )
    label = f"Accuracy against parameters and against MACs of the plain networks. Measured: {found or 'nothing yet'}."
    caption = family.caveat if family else ""
    caption += (
        "A dot is the mean over seeds of one width C, its bar the 95 % t interval from three seeds on; a dashed line is the "
        "challenge's limit. Open diamonds are the two points the paper prints numbers of; "
        "its other widths it only draws."
    )
    return Section(
        "figure-3",
        "Figure 3",
        "At the same size, is BC-Res2Net more accurate than BC-ResNet? Networks without MFA and FPM, narrow to wide.",
        (_table(points, family, evidence), Plot("plot-figure-3", label, figure3(evidence.frame), caption)),
    )


def _table(points: pd.DataFrame, family: Family | None, evidence: Evidence) -> Table:
    # Rows without a trial are the paper's own, of width 40: small networks on generated data never fill them.
    fill = missing.commands(STUDY, False if family else None, evidence)
    compare = family is not None and not family.generated
    groups = []
    for _, point in points.iterrows():
        done, system = point["seeds"] > 0, f"{NAMES[point['block']]}-{point['width']}"
        failures = missing.failures_of(evidence.failures, system, "pretraining", point["width"])
        cells = []
        for size, written in (("params", thousands), ("macs", millions)):
            printed = point[f"paper_{size}"]
            cells.append(paper_cell(MISSING if pd.isna(printed) else written(printed)))
            cells.append(Cell(f"{int(point[size]):,}" if done else MISSING))
        cells.append(paper_cell(percent(point["paper_accuracy"])))
        cells.append(measured_cell(point, "accuracy", 100, 1))
        if compare:
            known = done and not pd.isna(point["paper_accuracy"])
            difference = 100 * (point["accuracy"] - point["paper_accuracy"])
            cells.append(Cell(signed(difference, 1) if known else MISSING))
        cells += [measured_cell(point, "log_loss", 1, 3), seeds_cell(point["seed_numbers"], points["seed_numbers"])]
        groups.append(row_group(text_head(system), [cells], missing.remark(failures, done, fill if family else ())))
    scores = score_heads(compare)[: 3 if compare else 2]
    top = [(text_head("Network"), 1), ("Parameters", 2), ("MACs of one segment", 2), ("Accuracy, %", len(scores))]
    top += [("Log loss, measured", 1), ("Seeds", 1)]
    head = two_row_head(*top, below=[*number_heads(*("paper", "measured") * 2), *scores])
    notes = score_notes(family, fill, ("accuracy", "log_loss"))
    if family and not family.generated and (absent := _absent(points)):
        notes += (Text(f"Not measured yet: {listed(absent)}; run", fill),)
    notes += (Text("Verdicts on the points of width 40 stand in Table 2."),) if compare else ()
    return Table("figure-3-points", "Figure 3, its points", head, groups, notes)


def _absent(points: pd.DataFrame) -> list[str]:
    """Networks of the paper's widths without a trial, those apart that have a row of their own."""
    there = set(zip(points["block"], points["width"], strict=True))
    return [f"{name}-{width}" for block, name in NAMES.items() for width in WIDTHS if (block, width) not in there]
