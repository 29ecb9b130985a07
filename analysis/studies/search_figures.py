"""The figures of a search: Pareto front, history, importance, parallel coordinates, slices."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from analysis.page import charts
from analysis.page.elements import Plot
from analysis.page.formats import fixed, plural
from analysis.page.style import BLUE, GRID, PAPER, VERMILLION, escaped, object_array, paper_marker, styled
from analysis.published import BUDGET_MACS, TABLE2
from analysis.studies.found_points import Found
from asc_sweeps.sweep.searches.importance import EVALUATOR

MOST_DRAWN = 1_000
"""Points of a figure; of more than that the best and an even choice of the others are drawn."""
COLUMNS = 3
LOSS = "validation_log_loss"
TITLES = {
    LOSS: "Validation log loss",
    "validation_accuracy": "Validation accuracy",
    "params": "Parameters",
    "macs": "MACs",
    "model_bytes": "Bytes of the parameters",
}


def pareto(found: Found, key: str) -> Plot:
    """Validation log loss against MACs, with the front, the challenge's limit, and the paper's network."""
    done, front = _drawn(found).dropna(subset=["macs", LOSS]), found.front
    after = found.fresh.groupby("signature")[LOSS].mean()
    again = front[front["signature"].isin(after.index)]
    # Drawn as a line of steps: beside each point of the front nothing was found below and to its left.
    figure = charts.Figure(
        [
            _markers(done, done["macs"], done[LOSS], "trials", BLUE, 0.35),
            charts.Scatter(
                x=front["macs"].tolist(), y=_rounded(front[LOSS]), mode="lines+markers", name="front",
                line={"color": BLUE, "shape": "hv", "width": 2}, marker={"size": 9, "color": BLUE},
                text=[f"{escaped(s)}<br>after confirmation: {found.confirmed(s, LOSS)}" for s in front["signature"]],
                hovertemplate="front: %{x:,} MACs, %{y:.3f}<br>%{text}<extra></extra>",
            ),
        ]
    )  # fmt: skip
    caption = f"{'Generated data. ' if found.generated else ''}{found.name}: a dot is one of "
    caption += f"{plural(len(found.done), 'trial')}, of one seed; the line is the front, chosen by these scores and so optimistic; "
    if again.empty:
        caption += "none of it is confirmed by other seeds"
    else:
        caption += f"a cross is the mean of new seeds, of {len(again)} of its {plural(len(front), 'trial')}"
        figure.add_trace(
            charts.Scatter(
                x=again["macs"].tolist(), y=_rounded(after[again["signature"]]), mode="markers",
                name="front, after confirmation", marker={"symbol": "x", "size": 9, "color": VERMILLION},
                text=[escaped(s) for s in again["signature"]],
                hovertemplate="after confirmation: %{x:,} MACs, %{y:.3f}<br>%{text}<extra></extra>",
            )
        )  # fmt: skip
    if not found.generated:
        last = TABLE2[-1]
        figure.add_trace(
            charts.Scatter(
                x=[last.macs], y=[last.log_loss], mode="markers", name="paper, test split", marker=paper_marker(),
                hovertemplate=f"paper: {last.system}, {last.macs:,} MACs, {last.log_loss} (test split)<extra></extra>",
            )
        )  # fmt: skip
        caption += "; the paper's point is of the test split"
    styled(figure, 400)
    most = float(max(done["macs"].max(), 0 if found.generated else TABLE2[-1].macs, 1))
    if most > BUDGET_MACS / 4:  # elsewhere the limit would squeeze the points together
        figure.add_vrect(
            x0=BUDGET_MACS, x1=max(most, BUDGET_MACS) * 1.25, fillcolor=VERMILLION, opacity=0.1, line_width=0,
            annotation_text="over the challenge's 30 M", annotation_position="top left",
        )  # fmt: skip
    figure.update_xaxes(title_text="MACs", rangemode="tozero")
    figure.update_yaxes(title_text="Validation log loss")
    label = f"{found.name}: validation log loss by MACs. The front has {plural(len(front), 'trial')}"
    label += f", down to {_with_confirmation(found, front.iloc[-1], LOSS)}." if len(front) else "."
    return Plot(f"plot-{key}-pareto", label, figure, f"{caption}.")


def history(found: Found, key: str) -> Plot:
    """The first objective by the order in which points were drawn, and the best so far."""
    done = _drawn(found).sort_values("number")
    ordered = found.done.sort_values("number")
    best = ordered[found.objective].cummax() if found.maximize else ordered[found.objective].cummin()
    moved = best != best.shift()
    moved.iloc[-1] = True
    title = TITLES[found.objective]
    figure = charts.Figure(
        [
            _markers(done, done["number"], done[found.objective], "trials", BLUE, 0.5),
            charts.Scatter(
                x=ordered.loc[moved, "number"].tolist(), y=_rounded(best[moved]), mode="lines", name="best so far",
                line={"color": VERMILLION, "shape": "hv", "width": 2, "dash": "dash"},
                hovertemplate="best by point %{x}: %{y:.4f}<extra></extra>",
            ),
        ]
    )  # fmt: skip
    styled(figure, 340)
    figure.update_xaxes(title_text="Point, in the order drawn")
    figure.update_yaxes(title_text=title)
    end = _with_confirmation(found, found.best_first.iloc[0], found.objective)
    label = f"{found.name}: {title.lower()} of each point in the order drawn; the best is {end}."
    caption = (
        f"{_caveat(found)}{found.name}: how the search went. A dot is a finished trial of one seed; the dashed line is "
    )
    return Plot(f"plot-{key}-history", label, figure, f"{caption}the best so far, in the end {end}.")


def importance(found: Found, key: str) -> Plot:
    """Importance of each setting."""
    rows = found.importances.iloc[::-1]
    figure = charts.Figure(
        charts.Bar(
            x=_rounded(rows["importance"]), y=[escaped(n) for n in rows["name"]], orientation="h", marker={"color": BLUE},
            hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    )  # fmt: skip
    styled(figure, 120 + 34 * len(rows))
    figure.update_xaxes(title_text="Importance", range=[0, 1])
    top = found.importances.iloc[0]
    label = f"{found.name}: importance of settings; {top['name']} has {fixed(top['importance'], 2)}."
    caption = f"{_caveat(found)}{found.name}: a bar is a setting's share of the importance for {found.objective}, "
    return Plot(f"plot-{key}-importance", label, figure, f"{caption}by {EVALUATOR}; this search's seed only.")


def parallel(found: Found, key: str) -> Plot:
    """A line a trial through its settings to its objective; the best tenth stands out."""
    drawn = _drawn(found)
    best = set(found.best_first.head(max(1, len(found.done) // 10))["number"])
    axes = [_axis(p, drawn[p["name"]]) for p in found.asked["parameters"]]
    values = drawn[found.objective]
    axes.append(_Axis(TITLES[found.objective], _share(values, values.min(), values.max()), _ends(values)))
    figure = charts.Figure()
    for inside, colour, width, name in ((False, GRID, 1, "other trials"), (True, BLUE, 2, "best tenth")):
        chosen = [i for i, number in enumerate(drawn["number"]) if (number in best) == inside]
        xs: list[int | None] = []
        ys: list[float | None] = []
        for i in chosen:
            xs += [*range(len(axes)), None]
            ys += [*(axis.places[i] for axis in axes), None]
        line = {"color": colour, "width": width}
        figure.add_trace(
            charts.Scatter(x=object_array(xs), y=object_array(ys), mode="lines", name=name, line=line, hoverinfo="skip")
        )
    styled(figure, 380)
    names = [f"{escaped(axis.title)}<br>{escaped(axis.ends)}" for axis in axes]
    figure.update_xaxes(
        tickvals=list(range(len(axes))), ticktext=names, tickfont_size=11, range=[-0.3, len(axes) - 0.7]
    )
    figure.update_yaxes(visible=False, range=[-0.05, 1.05])
    for position in range(len(axes)):
        figure.add_vline(position, line={"color": PAPER, "width": 1})
    figure.update_layout(legend_y=-0.3)
    caption = f"{_caveat(found)}{found.name}: a line is a trial of one seed, the best tenth in blue; below each axis what its "
    caption += "bottom and its top mean."
    label = f"{found.name}: settings of the best tenth of the trials against the others, in parallel coordinates."
    return Plot(f"plot-{key}-parallel", label, figure, caption)


def slices(found: Found, key: str) -> Plot:
    """The objective against each drawn setting."""
    drawn, parameters = _drawn(found), found.asked["parameters"]
    lines = -(-len(parameters) // COLUMNS)
    figure = charts.make_subplots(
        lines, min(COLUMNS, len(parameters)), shared_yaxes=True, horizontal_spacing=0.04, vertical_spacing=0.3 / lines
    )
    for position, p in enumerate(parameters):
        row, column = position // COLUMNS + 1, position % COLUMNS + 1
        its = drawn[[value is not None and value == value for value in drawn[p["name"]]]]
        x = [escaped(_word(value)) if "choices" in p else value for value in its[p["name"]]]
        trace = _markers(its, x, its[found.objective], "", BLUE, 0.6)
        figure.add_trace(trace.update(showlegend=False), row, column)
        kind = {"type": "log", "dtick": 1} if p.get("log") else {"type": "category"} if "choices" in p else {}
        figure.update_xaxes(title_text=escaped(p["name"]), row=row, col=column, **kind)
    styled(figure, 90 + 210 * lines)
    figure.update_yaxes(title_text=TITLES[found.objective], col=1)
    label = f"{found.name}: {TITLES[found.objective].lower()} against each drawn setting."
    caption = "a panel is one drawn setting, a dot a finished trial of one seed."
    return Plot(f"plot-{key}-slices", label, figure, f"{_caveat(found)}{found.name}: {caption}")


class _Axis:
    """One axis of parallel coordinates: where each trial crosses it (0..1), and what its ends mean."""

    def __init__(self, title: str, places: list[float | None], ends: str) -> None:
        self.title, self.places, self.ends = title, places, ends


def _axis(parameter: dict[str, Any], values: pd.Series) -> _Axis:
    if "choices" in parameter:
        order = list(dict.fromkeys([*map(_word, parameter["choices"]), *(_word(v) for v in values if v is not None)]))
        top = max(len(order) - 1, 1)
        places = [None if v is None or v != v else order.index(_word(v)) / top for v in values]
        return _Axis(parameter["name"], places, " … ".join([order[0], order[-1]] if len(order) > 1 else order))
    low, high = parameter["low"], parameter["high"]
    numbers = pd.Series(pd.to_numeric(values), dtype=float)
    ends = f"{low:g} … {high:g}"
    if parameter["log"]:
        return _Axis(
            parameter["name"], _share(numbers.map(math.log10), math.log10(low), math.log10(high)), f"{ends}, log"
        )
    return _Axis(parameter["name"], _share(numbers, low, high), ends)


def _share(values: pd.Series, low: float, high: float) -> list[float | None]:
    return [None if pd.isna(v) else round((v - low) / ((high - low) or 1), 4) for v in values]


def _ends(values: pd.Series) -> str:
    return f"{values.min():.4g} … {values.max():.4g}"


def _drawn(found: Found) -> pd.DataFrame:
    """The finished points that a figure shows."""
    ranked = found.best_first
    if len(ranked) <= MOST_DRAWN:
        return ranked
    top = MOST_DRAWN // 4
    step = -(-(len(ranked) - top) // (MOST_DRAWN - top))
    return pd.concat([ranked.iloc[:top], ranked.iloc[top::step]])


def _markers(rows: pd.DataFrame, x: Any, y: pd.Series, name: str, colour: str, opacity: float) -> charts.Scatter:
    return charts.Scatter(
        x=object_array(x),
        y=object_array(_rounded(y)),
        text=object_array(escaped(signature) for signature in rows["signature"]),
        mode="markers",
        name=name,
        marker={"color": colour, "size": 7, "opacity": opacity},
        hovertemplate="%{x}: %{y:.4f}<br>%{text}<extra></extra>",
    )


def _with_confirmation(found: Found, best: pd.Series, objective: str) -> str:
    """The value that chose a point, never alone where chance has a part in it."""
    if objective not in found.scores:
        return f"{best[objective]:,.0f}"
    after = found.confirmed(best["signature"], objective)
    return f"{fixed(best[objective], 4)}, the best of many and so optimistic; after confirmation: {after}"


def _rounded(values: pd.Series) -> list[float | None]:
    return [None if pd.isna(v) else round(float(v), 5) for v in values]


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _caveat(found: Found) -> str:
    of_many = len(found.done) > MOST_DRAWN
    return ("Generated data. " if found.generated else "") + (f"{MOST_DRAWN:,} of its trials. " if of_many else "")
