"""Figures as image files, rendered by a local Chrome or Chromium. The only module that imports kaleido."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from analysis.page import charts
from analysis.page.elements import Plot, Section
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.atomic_files import write_bytes

ImageFormat = Literal["png", "svg", "pdf"]
IMAGE_WIDTH = 1100
"""Pixels; a PNG has twice as many."""


def write_images(sections: Iterable[Section], folder: Path, form: ImageFormat) -> None:
    """Write each figure as `folder`/<id>.<form>, in light colours on white. Raises WorkspaceError if no Chrome is found."""
    import kaleido
    from choreographer.browsers.chromium import Chromium

    if not Chromium.find_browser(skip_local=False):
        raise WorkspaceError(
            f"--static {form} needs Chrome or Chromium, and neither was found; install one (Debian: apt-get install chromium), "
            "or save figures with the camera button above each figure in the report"
        )
    kaleido.start_sync_server(silence_warnings=True)  # one browser for all figures
    try:
        for plot in (block for section in sections for block in section.blocks if isinstance(block, Plot)):
            figure = charts.Figure(plot.figure).update_layout(paper_bgcolor="#FFFFFF")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # plotly passes options that the server already has
                content = figure.to_image(form, width=IMAGE_WIDTH, height=plot.figure.layout.height, scale=2)
            write_bytes(folder / f"{plot.id}.{form}", content)
    finally:
        kaleido.stop_sync_server()
