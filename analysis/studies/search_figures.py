"""Figures of a search: Pareto front, history, importance, parallel coordinates, slices."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from analysis.page import charts
from analysis.page.elements import Plot
from analysis.page.formats import fixed, plural
from analysis.page.style import BLUE, GRID, PAPER, VERMILLION, escaped, object_array, panels, paper_marker, styled
from analysis.paper.families import setting_text
from analysis.published import BUDGET_MACS, TABLE2
from analysis.studies.search_result import LOSS, SearchResult
from asc_sweeps.sweep.searches.importance import IMPORTANCE_METHOD
from asc_sweeps.workspace.records import ParameterRecord

MAX_POINTS = 1_000
"""Drawn per figure; of more, the best and an even selection of the others."""
SLICES_PER_ROW = 3
OBJECTIVE_TITLES = {
    LOSS: "Validation log loss",
    "validation_accuracy": "Validation accuracy",
    "params": "Parameters",
    "macs": "MACs",
    "model_bytes": "Model size in bytes",
}


def search_figures(result: SearchResult, key: str) -> list[Plot]:
    """The figures of a search with finished trials."""
    importance = [] if result.importances.empty else [importance_plot(result, key)]
    return [
        pareto_plot(result, key),
        history_plot(result, key),
        *importance,
        parallel_plot(result, key),
        slices_plot(result, key),
    ]


def pareto_plot(result: SearchResult, key: str) -> Plot:
    """Validation log loss against MACs, with the Pareto front, the challenge's limit, and the paper's network."""
    points, front = _drawn(result).dropna(subset=["macs", LOSS]), result.front
    texts = [f"{escaped(s)}<br>with new seeds: {result.new_seeds_text(s, LOSS)}" for s in front["signature"]]
    figure = charts.Figure(_dots(points, points["macs"], points[LOSS], "trials", 0.35))
    figure.add_scatter(
        x=front["macs"].tolist(), y=_rounded(front[LOSS]), mode="lines+markers", name="Pareto front", text=texts,
        line={"color": BLUE, "shape": "hv", "width": 2}, marker={"size": 9, "color": BLUE},
        hovertemplate="Pareto front: %{x:,} MACs, %{y:.3f}<br>%{text}<extra></extra>",
    )  # fmt: skip
    means = result.new_seeds.groupby("signature")[LOSS].mean()
    tested = front[front["signature"].isin(means.index)]
    caption = "each dot is a trial with one seed; the line is the Pareto front, chosen by these scores, so optimistic. "
    if tested.empty:
        caption += "None of it was tested with new seeds."
    else:
        caption += f"Crosses are means over new seeds, for {len(tested)} of its {plural(len(front), 'trial')}."
        figure.add_scatter(
            x=tested["macs"].tolist(), y=_rounded(means[tested["signature"]]), mode="markers",
            name="Pareto front, new seeds", marker={"symbol": "x", "size": 9, "color": VERMILLION},
            text=[escaped(signature) for signature in tested["signature"]],
            hovertemplate="new seeds: %{x:,} MACs, %{y:.3f}<br>%{text}<extra></extra>",
        )  # fmt: skip
    if not result.generated:
        caption += " The paper's point is a test score."
        paper = TABLE2[-1]
        figure.add_scatter(
            x=[paper.macs], y=[paper.log_loss], mode="markers", name="paper, test split", marker=paper_marker(),
            hovertemplate=f"paper: {paper.system}, {paper.macs:,} MACs, {paper.log_loss} (test split)<extra></extra>",
        )  # fmt: skip
    styled(figure, 400, x="MACs", y="Validation log loss").update_xaxes(rangemode="tozero")
    most = float(max(points["macs"].max(), 0 if result.generated else TABLE2[-1].macs, 1))
    if most > BUDGET_MACS / 4:  # otherwise the limit would squeeze the points together
        figure.add_vrect(
            x0=BUDGET_MACS, x1=max(most, BUDGET_MACS) * 1.25, fillcolor=VERMILLION, opacity=0.1, line_width=0,
            annotation_text="above the challenge's limit of 30 M", annotation_position="top left",
        )  # fmt: skip
    label = f"validation log loss by MACs. The Pareto front has {plural(len(front), 'trial')}"
    label += f", down to {_score_text(result, front.iloc[-1], LOSS)}." if len(front) else "."
    return _plot(result, f"{key}-pareto", label, figure, caption)


def history_plot(result: SearchResult, key: str) -> Plot:
    """The first objective in sampling order, and the best so far."""
    points, ordered = _drawn(result).sort_values("number"), result.finished.sort_values("number")
    best = ordered[result.objective].cummax() if result.maximize else ordered[result.objective].cummin()
    improved = best != best.shift()
    improved.iloc[-1] = True
    title = OBJECTIVE_TITLES[result.objective]
    figure = charts.Figure(_dots(points, points["number"], points[result.objective], "trials", 0.5))
    figure.add_scatter(
        x=ordered.loc[improved, "number"].tolist(), y=_rounded(best[improved]), mode="lines", name="best so far",
        line={"color": VERMILLION, "shape": "hv", "width": 2, "dash": "dash"},
        hovertemplate="best up to point %{x}: %{y:.4f}<extra></extra>",
    )  # fmt: skip
    styled(figure, 340, x="Point, in sampling order", y=title)
    final = _score_text(result, result.ranked.iloc[0], result.objective)
    label = f"{title.lower()} of each point in sampling order; the best is {final}."
    caption = f"each dot is a finished trial with one seed; the dashed line is the best so far, finally {final}."
    return _plot(result, f"{key}-history", label, figure, caption)


def importance_plot(result: SearchResult, key: str) -> Plot:
    """Importance of each setting."""
    rows = result.importances.iloc[::-1]
    figure = charts.Figure(
        charts.Bar(
            x=_rounded(rows["importance"]), y=[escaped(name) for name in rows["name"]], orientation="h",
            marker={"color": BLUE}, hovertemplate="%{y}: %{x:.2f}<extra></extra>",
        )
    )  # fmt: skip
    styled(figure, 120 + 34 * len(rows), x="Importance").update_xaxes(range=[0, 1])
    first = result.importances.iloc[0]
    label = f"importance of settings; the largest is {fixed(first['importance'], 2)}, of {first['name']}."
    caption = f"importance of each setting for {result.objective}, by {IMPORTANCE_METHOD}; one seed of the search."
    return _plot(result, f"{key}-importance", label, figure, caption)


def parallel_plot(result: SearchResult, key: str) -> Plot:
    """Parallel coordinates: one line per trial through its settings and its objective; the best tenth is highlighted."""
    points = _drawn(result)
    best = points["number"].isin(result.ranked.head(max(1, len(result.finished) // 10))["number"])
    values = points[result.objective]
    axes = [_axis(parameter, points[parameter["name"]]) for parameter in result.search["parameters"]]
    low, high = values.min(), values.max()
    title = f"{OBJECTIVE_TITLES[result.objective]}\n{low:.4g} … {high:.4g}"
    axes.append((title, _scaled(values, low, high)))
    figure = charts.Figure()
    for name, rows, line in (
        ("other trials", ~best, {"color": GRID, "width": 1}),
        ("best tenth", best, {"color": BLUE, "width": 2}),
    ):
        chosen = [i for i, drawn in enumerate(rows) if drawn]
        xs = object_array(x for _ in chosen for x in (*range(len(axes)), None))
        ys = object_array(y for i in chosen for y in (*(positions[i] for _, positions in axes), None))
        figure.add_scatter(x=xs, y=ys, mode="lines", name=name, line=line, hoverinfo="skip")
    styled(figure, 380).update_layout(legend_y=-0.3)
    ticks = {"tickvals": list(range(len(axes))), "tickfont_size": 11}
    ticks["ticktext"] = [escaped(title).replace("\n", "<br>") for title, _ in axes]
    figure.update_xaxes(range=[-0.3, len(axes) - 0.7], **ticks)
    figure.update_yaxes(visible=False, range=[-0.05, 1.05])
    for i in range(len(axes)):
        figure.add_vline(i, line={"color": PAPER, "width": 1})
    label = "settings of the best tenth of the trials and of the others, in parallel coordinates."
    caption = "each line is a trial with one seed, the best tenth in blue; below each axis are the values of its lower and upper end."
    return _plot(result, f"{key}-parallel", label, figure, caption)


def slices_plot(result: SearchResult, key: str) -> Plot:
    """The objective against each sampled setting."""
    points, parameters = _drawn(result), result.search["parameters"]
    figure, rows, columns = panels(len(parameters), SLICES_PER_ROW)
    for i, parameter in enumerate(parameters):
        name, panel = parameter["name"], {"row": i // columns + 1, "col": i % columns + 1}
        sampled = points[points[name].notna()]
        x = [escaped(setting_text(v)) for v in sampled[name]] if "choices" in parameter else sampled[name]
        dots = _dots(sampled, x, sampled[result.objective], "", 0.6)
        figure.add_trace(dots.update(showlegend=False), **panel)
        axis = {"type": "log", "dtick": 1} if parameter.get("log") else {}
        axis = {"type": "category"} if "choices" in parameter else axis
        figure.update_xaxes(title_text=escaped(name), **panel, **axis)
    title = OBJECTIVE_TITLES[result.objective]
    styled(figure, 90 + 210 * rows).update_yaxes(title_text=title, col=1)
    label = f"{title.lower()} against each sampled setting."
    caption = "each panel is a sampled setting, each dot a finished trial with one seed."
    return _plot(result, f"{key}-slices", label, figure, caption)


def _axis(parameter: ParameterRecord, values: pd.Series) -> tuple[str, list[float | None]]:
    """An axis of parallel coordinates: its title with the values of its ends, and where each trial crosses it, 0..1."""
    name = parameter["name"]
    if "choices" in parameter:
        texts = [None if pd.isna(value) else setting_text(value) for value in values]
        sampled = [text for text in texts if text is not None]
        choices = list(dict.fromkeys([*map(setting_text, parameter["choices"]), *sampled]))
        top = max(len(choices) - 1, 1)
        positions = [None if text is None else choices.index(text) / top for text in texts]
        return f"{name}\n{' … '.join(dict.fromkeys([choices[0], choices[-1]]))}", positions
    low, high = parameter["low"], parameter["high"]
    numbers = pd.Series(pd.to_numeric(values), dtype=float)
    title = f"{name}\n{low:g} … {high:g}"
    if parameter["log"]:
        return f"{title}, log", _scaled(numbers.map(math.log10), math.log10(low), math.log10(high))
    return title, _scaled(numbers, low, high)


def _scaled(values: pd.Series, low: float, high: float) -> list[float | None]:
    return [None if pd.isna(value) else round((value - low) / ((high - low) or 1), 4) for value in values]


def _drawn(result: SearchResult) -> pd.DataFrame:
    """The finished points to draw."""
    ranked = result.ranked
    if len(ranked) <= MAX_POINTS:
        return ranked
    top = MAX_POINTS // 4
    every = -(-(len(ranked) - top) // (MAX_POINTS - top))
    return pd.concat([ranked.iloc[:top], ranked.iloc[top::every]])


def _dots(points: pd.DataFrame, x: Iterable[object], y: pd.Series, name: str, opacity: float) -> charts.Scatter:
    return charts.Scatter(
        x=object_array(x), y=object_array(_rounded(y)), text=object_array(map(escaped, points["signature"])),
        mode="markers", name=name, marker={"color": BLUE, "size": 7, "opacity": opacity},
        hovertemplate="%{x}: %{y:.4f}<br>%{text}<extra></extra>",
    )  # fmt: skip


def _plot(result: SearchResult, key: str, label: str, figure: charts.Figure, caption: str) -> Plot:
    caveat = "Generated data. " if result.generated else ""
    count = len(result.finished)
    selection = f" {MAX_POINTS:,} of {count:,} trials are drawn." if count > MAX_POINTS else ""
    return Plot(f"plot-{key}", f"{result.name}: {label}", figure, f"{caveat}{result.name}: {caption}{selection}")


def _score_text(result: SearchResult, best: pd.Series, objective: str) -> str:
    """The objective of a chosen point; scores with a warning, since choosing the best of many makes them optimistic."""
    if objective not in result.scores:
        return f"{best[objective]:,.0f}"
    new_seeds = result.new_seeds_text(best["signature"], objective)
    return f"{fixed(best[objective], 4)}, optimistic as the best of many; with new seeds: {new_seeds}"


def _rounded(values: pd.Series) -> list[float | None]:
    return [None if pd.isna(value) else round(float(value), 5) for value in values]
