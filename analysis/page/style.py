"""How figures look: one palette with its dark partner, transparent backgrounds, one font. Knows no data.

Figures are drawn in the light colours; the page swaps each hex of `DARK` for its partner when it is dark.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

import numpy as np

from analysis.page import charts

INK, GRID = "#27313B", "#DDE2E8"
PAPER = "#7F7F7F"
"""Grey is the paper's and nobody else's."""
BLUE, VERMILLION, GREEN, ORANGE, PINK = "#0072B2", "#D55E00", "#009E73", "#E69F00", "#CC79A7"
SERIES = (BLUE, VERMILLION, GREEN, ORANGE, PINK)
"""Okabe and Ito's colours; a dash or a marker always says the same as the colour."""
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
    "showgrid": True,  # said, since a template's colours alone draw neither
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
"""What all figures share: set once, not axis by axis, which plotly is slow at."""


def styled(figure: charts.Figure, height: int) -> charts.Figure:
    """The figure in the report's look, `height` pixels high and as wide as its place."""
    figure.update_layout(template=FIGURE_TEMPLATE, height=height, autosize=True)
    figure.update_annotations(font={"size": 13, "color": INK})
    return figure


def escaped(text: object) -> str:
    """A name as plotly is to draw it: plotly reads a subset of HTML in its labels.

    >>> shown("<b>w/ MFA & FPM</b>")
    '&lt;b&gt;w/ MFA &amp; FPM&lt;/b&gt;'
    """
    return html.escape(str(text), quote=False)


def object_array(values: Iterable[object]) -> np.ndarray:
    """What thousands of points have each, as plotly takes it whole; each value of a list it looks at several times."""
    return np.array(list(values), dtype=object)


def paper_marker(size: int = 11) -> dict[str, object]:
    """The open grey diamond of a printed number."""
    return {"symbol": "diamond-open", "size": size, "color": PAPER, "line": {"width": 2, "color": PAPER}}
