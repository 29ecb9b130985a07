"""The report: every section in its order, written as one HTML file that asks the network for nothing.

The same results give the same bytes. A new table or figure is one function and its line in SECTIONS.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from pathlib import Path

import jinja2
import plotly.offline

from analysis import comparisons, curves, errors, figure3, notes, overview, provenance, records, table2, table4
from analysis.blocks import Plot, Section, Table, Text
from analysis.evidence import Evidence, load_evidence
from analysis.export import to_csv, to_latex, to_markdown
from analysis.style import DARK
from asc_sweeps.files import write_bytes
from asc_sweeps.workspace import Workspace

SECTIONS: tuple[Callable[[Evidence], Section], ...] = (
    table2.section,
    table4.section,
    comparisons.section,
    figure3.section,
    errors.section,
    curves.section,
    records.trials,
    records.failures,
    records.studies,
    provenance.section,
    notes.section,
)
EXPORTS: dict[str, Callable[[Table], str]] = {"csv": to_csv, "latex": to_latex, "markdown": to_markdown}
TEMPLATES = Path(__file__).parent / "templates"


def write_report(workspace: Workspace, out: Path) -> Path:
    """Write the report of a workspace to `out` and return its path; an empty workspace gives a report that says so."""
    write_bytes(out, render(load_evidence(workspace)).encode())
    return out


def render(evidence: Evidence) -> str:
    """The page as text."""
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
    }
    return environment.get_template("report.html.jinja").render(
        warning=overview.data_warning(evidence.frame),
        cards=overview.cards(evidence),
        sections=[section(evidence) for section in SECTIONS],
        spec=lambda plot: inert_json(plot.figure.to_json(engine="json")),
        exports=lambda table: inert_json(json.dumps({name: write(table) for name, write in EXPORTS.items()})),
        dark=inert_json(json.dumps(DARK)),
        bundle=packed_plotly(),
    )


def inert_json(text: str) -> str:
    r"""JSON that cannot end the script element it stands in, nor open another; parses to the same.

    >>> inert_json('"</script>&"')
    '"\\u003c/script\\u003e\\u0026"'
    """
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def packed_plotly() -> str:
    """plotly.js, gzipped without a time stamp and in base64: 2 MB instead of 4.8, unpacked by the browser."""
    packed = gzip.compress(plotly.offline.get_plotlyjs().encode(), compresslevel=9, mtime=0)
    return base64.b64encode(packed).decode()
