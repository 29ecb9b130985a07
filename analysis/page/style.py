"""The look of figures: one palette with its dark counterpart, transparent backgrounds, one font. Knows no data.

Figures use the light colours; the page replaces each key of `DARK` by its value in the dark theme.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

import numpy as np

from analysis.page import charts

INK, GRID = "#27313B", "#DDE2E8"
PAPER = "#7F7F7F"
"""Grey, reserved for the paper's numbers."""
BLUE, VERMILLION, GREEN, ORANGE, PINK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
SERIES = (BLUE, VERMILLION, GREEN, ORANGE, PINK)
"""Okabe and Ito's colours; a dash or marker always repeats what the colour says."""
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
DARK = {
    INK: "#D9DFE6",
    GRID: "#36404B",
    PAPER: "#9AA3AD",
    BLUE: "#56B4E9",
    VERMILLION: "#F08A4B",
    GREEN: "#2FC79A",
    ORANGE: "#F0B93A",
    PINK: "#E09CC4",
}
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

_AXIS = {
    "gridcolor": GRID,
    "showgrid": True,  # colours in a template do not switch lines on
    "showline": True,
    "linecolor": GRID,
    "zeroline": False,
    "ticks": "",
    "automargin": True,
    "title": {"standoff": 8, "font": {"size": 13}},
}
FIGURE_TEMPLATE = charts.Template(
    layout={
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": FONT, "size": 13, "color": INK},
        "margin": {"l": 10, "r": 16, "t": 44, "b": 10},
        "legend": {"orientation": "h", "y": -0.2, "yanchor": "top", "x": 0, "bgcolor": "rgba(0,0,0,0)"},
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": PAPER, "activecolor": INK},
        "hoverlabel": {"font": {"family": FONT, "size": 13}},
        "xaxis": _AXIS,
        "yaxis": _AXIS,
    }
)
"""Shared by all figures: setting each axis separately is slow in plotly."""


def styled(figure: charts.Figure, height: int, x: str | None = None, y: str | None = None) -> charts.Figure:
    """The figure in the report's style, `height` pixels high and as wide as its container; `x` and `y` title all its axes."""
    figure.update_layout(template=FIGURE_TEMPLATE, height=height, autosize=True)
    figure.update_annotations(font={"size": 13, "color": INK})
    if x:
        figure.update_xaxes(title_text=x)
    if y:
        figure.update_yaxes(title_text=y)
    return figure


def panels(count: int, most_columns: int, titles: Sequence[str] | None = None) -> tuple[charts.Figure, int, int]:
    """A figure of `count` panels that share their y axes, with its numbers of rows and columns."""
    rows, columns = -(-count // most_columns), min(count, most_columns)
    spacing = {"horizontal_spacing": 0.04, "vertical_spacing": 0.3 / rows}
    return charts.make_subplots(rows, columns, shared_yaxes=True, subplot_titles=titles, **spacing), rows, columns


def escaped(text: object) -> str:
    """Text for a plotly label, which interprets some HTML.

    >>> escaped("<b>w/ MFA & FPM</b>")
    '&lt;b&gt;w/ MFA &amp; FPM&lt;/b&gt;'
    """
    return html.escape(str(text), quote=False)


def object_array(values: Iterable[object]) -> np.ndarray:
    """Values of thousands of points as an array, which plotly takes as a whole; it inspects each item of a list."""
    return np.array(list(values), dtype=object)


def paper_marker(size: int = 11) -> dict[str, object]:
    """The open grey diamond that marks printed numbers."""
    return {"symbol": "diamond-open", "size": size, "color": PAPER, "line": {"width": 2, "color": PAPER}}
