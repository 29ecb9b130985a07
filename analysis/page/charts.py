"""The only module that imports plotly."""

from plotly.graph_objects import Bar, Figure, Heatmap, Scatter
from plotly.graph_objs.layout import Template
from plotly.offline import get_plotlyjs
from plotly.subplots import make_subplots

__all__ = ["Bar", "Figure", "Heatmap", "Scatter", "Template", "get_plotlyjs", "make_subplots"]
