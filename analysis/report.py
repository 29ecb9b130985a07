"""The report: all sections in order, as one self-contained HTML file that makes no network requests.

The same results give the same bytes. To add a table or figure, write one function and add it to SECTIONS.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

import jinja2
from markupsafe import Markup

from analysis.evidence.embedded import embedded_json
from analysis.evidence.loading import Evidence, load_evidence
from analysis.page import charts
from analysis.page.elements import Cell, File, Plot, Section, Table
from analysis.page.images import ImageFormat, write_images
from analysis.page.style import DARK
from analysis.page.table_files import to_csv, to_latex, to_markdown
from analysis.paper import effects_section, figure3, notes, overview, section6, table2, table3, table4
from analysis.studies import costs, curves, error_analysis, grids, provenance, searches, trial_lists
from asc_sweeps.config.packing import compact_json, pack
from asc_sweeps.config.replay import REPORT_CONTENT_ID
from asc_sweeps.workspace.atomic_files import write_bytes
from asc_sweeps.workspace.paths import Workspace

SECTIONS: tuple[Callable[[Evidence], Section], ...] = (
    effects_section.section,
    table2.section,
    table3.section,
    table4.section,
    section6.section,
    figure3.section,
    grids.section,
    searches.section,
    error_analysis.section,
    curves.section,
    trial_lists.trials,
    trial_lists.unfinished,
    trial_lists.failures,
    trial_lists.studies,
    costs.section,
    provenance.section,
    notes.section,
)
EXPORTS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "latex": to_latex, "markdown": to_markdown}
TEMPLATES = Path(__file__).parent / "page" / "templates"


def write_report(workspaces: Workspace | Sequence[Workspace], out: Path, static: ImageFormat | None = None) -> Path:
    """Write the report of one or several workspaces to `out` and return its path; empty workspaces give a report that says so.

    `static`: also write each figure as a file of this format, in a folder beside the report. Raises WorkspaceError, after the
    report is written, if that needs a Chrome that is not installed.
    """
    evidence = load_evidence(*([workspaces] if isinstance(workspaces, Workspace) else workspaces))
    write_bytes(out, render(evidence).encode())
    if static:
        write_images([section(evidence) for section in SECTIONS], images_folder(out), static)
    return out


def images_folder(out: Path) -> Path:
    """The folder of a report's images."""
    return out.with_name(f"{out.stem}-images")


def render(evidence: Evidence) -> str:
    """The report as HTML."""
    sections = [section(evidence) for section in SECTIONS]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["kind"] = lambda block: type(block).__name__
    with ThreadPoolExecutor(1) as pool:
        plotly = pool.submit(pack, charts.get_plotlyjs())  # gzip releases the interpreter lock
        return environment.get_template("report.html.jinja").render(
            warning=overview.data_warning(evidence.frame),
            cards=overview.cards(evidence),
            sections=sections,
            figures=pack(compact_json(_figures(sections))),
            cells=_cells,
            texts=pack(compact_json(_texts(sections))),
            content_id=REPORT_CONTENT_ID,
            content=pack(embedded_json(evidence)),
            dark=DARK,
            plotly=plotly.result(),
        )


def _cells(row: Sequence[Cell], scope: str) -> Markup:
    """The cells of a row; a template macro would take most of the time of a large table."""
    return Markup("".join(_cell(cell, scope) for cell in row))  # noqa: S704  (`_cell` escapes)


def _cell(cell: Cell, scope: str) -> str:
    tag = "th" if cell.head or scope == "col" else "td"
    span = cell.columns if scope == "col" else cell.rows
    attributes = f' class="{cell.kind}"' if cell.kind != "number" else ""
    attributes += f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    attributes += f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    attributes += (f' scope="{scope}group"' if span > 1 else f' scope="{scope}"') if tag == "th" else ""
    text = escape(cell.text) + (" " if cell.text and cell.codes else "")
    text += " or ".join(f"<code>{escape(code)}</code>" for code in cell.codes)
    small = f"<small>{escape(cell.small)}</small>" if cell.small else ""
    return f"<{tag}{attributes}>{text}{small}</{tag}>"


def _figures(sections: Sequence[Section]) -> dict[str, str]:
    """The figures as plotly's JSON by id, as text, since the page replaces colours in it."""
    plots = [block for section in sections for block in section.blocks if isinstance(block, Plot)]
    return {plot.id: plot.figure.to_json(engine="json") for plot in plots}


def _texts(sections: Sequence[Section]) -> dict[str, dict[str, str]]:
    """What can be downloaded or copied, by the id of a table or file, then by format."""
    texts: dict[str, dict[str, str]] = {}
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, Table):
            texts[block.id] = {name: export(block) for name, export in EXPORTS.items()}
        elif isinstance(block, File):
            texts[block.id] = {"file": block.text}
    return texts
