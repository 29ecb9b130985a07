"""Figures as files, drawn by a Chrome or Chromium of this machine. The door to kaleido."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from analysis.page import charts
from analysis.page.elements import Plot, Section
from asc_sweeps.errors import WorkspaceError
from asc_sweeps.workspace.atomic_files import write_bytes

Form = Literal["png", "svg", "pdf"]
WIDTH = 1100
"""Pixels; a PNG has twice as many."""


def write_images(sections: Iterable[Section], folder: Path, form: Form) -> list[Path]:
    """Write each figure as `folder`/<id>.<form>, in the light colours on white. Raises WorkspaceError where no Chrome is found."""
    import kaleido
    from choreographer.browsers.chromium import Chromium

    if not Chromium.find_browser(skip_local=False):
        raise WorkspaceError(
            f"--static {form}: no Chrome or Chromium was found on this machine, which draws the figures; install one "
            "(Debian: apt-get install chromium), or take a figure's picture with the button above it in the report"
        )
    plots = [block for section in sections for block in section.blocks if isinstance(block, Plot)]
    written = []
    kaleido.start_sync_server(silence_warnings=True)  # one browser for all figures
    try:
        for plot in plots:
            figure = charts.Figure(plot.figure).update_layout(paper_bgcolor="#FFFFFF")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # plotly hands on options that the server has already
                content = figure.to_image(form, width=WIDTH, height=plot.figure.layout.height, scale=2)
            path = folder / f"{plot.id}.{form}"
            write_bytes(path, content)
            written.append(path)
    finally:
        kaleido.stop_sync_server()
    return written
