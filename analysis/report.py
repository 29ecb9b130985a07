"""The report: every section in its order, written as one HTML file that asks the network for nothing.

The same results give the same bytes. A new table or figure is one function and its line in SECTIONS.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from html import escape
from pathlib import Path

import jinja2
from markupsafe import Markup

from analysis.evidence.embedded import embedded_json
from analysis.evidence.loading import Evidence, load_evidence
from analysis.page import charts
from analysis.page.elements import Cell, File, Plot, Section, Table, Text
from analysis.page.images import Form, write_images
from analysis.page.style import DARK
from analysis.page.table_files import to_csv, to_latex, to_markdown
from analysis.paper import effects_section, figure3, notes, overview, section6, table2, table3, table4
from analysis.studies import costs, curves, error_analysis, grids, provenance, searches, trial_lists, unfinished
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
    unfinished.section,
    trial_lists.failures,
    trial_lists.studies,
    costs.section,
    provenance.section,
    notes.section,
)
EXPORTS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "latex": to_latex, "markdown": to_markdown}
TEMPLATES = Path(__file__).parent / "page" / "templates"


def write_report(workspaces: Workspace | Sequence[Workspace], out: Path, static: Form | None = None) -> Path:
    """Write the report of a workspace, or of several, to `out` and return its path; an empty one gives a report that says so.

    `static`: each figure is written as a file of this form, too, in a folder beside it. Raises WorkspaceError where that needs a
    Chrome that is not there; the report is written then.
    """
    several = [workspaces] if isinstance(workspaces, Workspace) else workspaces
    evidence = load_evidence(*several)
    sections = [section(evidence) for section in SECTIONS]
    write_bytes(out, _page(evidence, sections).encode())
    if static:
        write_images(sections, images_of(out), static)
    return out


def images_of(out: Path) -> Path:
    """The folder of a report's images."""
    return out.with_name(f"{out.stem}-images")


def render(evidence: Evidence) -> str:
    """The page as text."""
    return _page(evidence, [section(evidence) for section in SECTIONS])


def _page(evidence: Evidence, sections: Sequence[Section]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests |= {
        "table": lambda block: isinstance(block, Table),
        "plot": lambda block: isinstance(block, Plot),
        "words": lambda block: isinstance(block, Text),
        "file": lambda block: isinstance(block, File),
    }
    with ThreadPoolExecutor(1) as beside:
        bundle = beside.submit(pack, charts.get_plotlyjs())  # gzip leaves Python to the others meanwhile
        return environment.get_template("report.html.jinja").render(
            warning=overview.data_warning(evidence.frame),
            cards=overview.cards(evidence),
            sections=sections,
            figures=pack(compact_json(_specs(sections))),
            cells=_cells,
            texts=pack(compact_json(_texts(sections))),
            content_id=REPORT_CONTENT_ID,
            content=pack(embedded_json(evidence)),
            dark=inert_json(json.dumps(DARK)),
            bundle=bundle.result(),
        )


def _cells(row: Sequence[Cell], scope: str) -> Markup:
    """The cells of a row; a macro of the template would take most of the time of a large table."""
    return Markup("".join(_cell(cell, scope) for cell in row))  # noqa: S704  (`_cell` escapes)


def _cell(cell: Cell, scope: str) -> str:
    tag = "th" if cell.head or scope == "col" else "td"
    reaches = cell.columns if scope == "col" else cell.rows
    named = f' class="{cell.kind}"' if cell.kind != "number" else ""
    named += f' rowspan="{cell.rows}"' if cell.rows > 1 else ""
    named += f' colspan="{cell.columns}"' if cell.columns > 1 else ""
    named += (f' scope="{scope}group"' if reaches > 1 else f' scope="{scope}"') if tag == "th" else ""
    text = escape(cell.text) + (" " if cell.text and cell.codes else "")
    text += " or ".join(f"<code>{escape(code)}</code>" for code in cell.codes)
    small = f"<small>{escape(cell.small)}</small>" if cell.small else ""
    return f"<{tag}{named}>{text}{small}</{tag}>"


def inert_json(text: str) -> str:
    r"""JSON that cannot end the script element it stands in, nor open another; parses to the same.

    >>> inert_json('"</script>&"')
    '"\\u003c/script\\u003e\\u0026"'
    """
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _specs(sections: Sequence[Section]) -> dict[str, str]:
    """The figures as plotly reads them, by id. Texts, since the page swaps colours in them."""
    plots = [block for section in sections for block in section.blocks if isinstance(block, Plot)]
    return {plot.id: plot.figure.to_json(engine="json") for plot in plots}


def _texts(sections: Sequence[Section]) -> dict[str, dict[str, str]]:
    """What can be taken out of the page, by the id of a table or a file, then by its form."""
    found: dict[str, dict[str, str]] = {}
    for block in (block for section in sections for block in section.blocks):
        if isinstance(block, Table):
            found[block.id] = {name: write(block) for name, write in EXPORTS.items()}
        elif isinstance(block, File):
            found[block.id] = {"file": block.text}
    return found
