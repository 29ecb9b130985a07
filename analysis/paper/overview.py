"""The top of the report: a warning about generated data, and how much of the paper has been repeated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.evidence.counts import count_of, size_verdicts
from analysis.evidence.loading import Evidence
from analysis.page.formats import MISSING, duration, listed, plural
from analysis.paper.figure3 import FIGURE3_SCORES
from analysis.paper.paper_table import PaperTable
from analysis.paper.section6 import SECTION6_SCORES
from analysis.paper.table2 import TABLE2_SCORES
from analysis.paper.table3 import TABLE3_SCORES
from analysis.paper.table4 import TABLE4_SCORES
from analysis.published import TABLE2


@dataclass(frozen=True)
class Card:
    """A number at the top of the report, with its title and a detail."""

    title: str
    value: str
    detail: str


def data_warning(frame: pd.DataFrame) -> str:
    """The warning above all else: which data are generated, and that no verdicts are drawn from them; empty for real data."""
    generated = sorted(frame.loc[frame["generated"], "data_name"].astype(str).unique())
    real = sorted(frame.loc[~frame["generated"], "data_name"].astype(str).unique())
    if not generated:
        return ""
    if not real:
        return (
            f"Generated data: {listed(generated)}. The scores show that the system runs but say nothing about real scenes; "
            "no verdicts are drawn from them."
        )
    return (
        f"Generated data: {listed(generated)}, beside real data: {listed(real)}. Tables prefer real data; "
        "a table that shows generated data says so, and no verdicts are drawn from it."
    )


def cards(evidence: Evidence) -> list[Card]:
    """How much of the paper the workspace holds."""
    frame = evidence.frame
    hours = duration(float(frame["seconds"].sum())) if len(frame) else "0 s"
    failed = f"{plural(len(evidence.failures), 'trial')} failed" if evidence.failures else "none failed"
    counted = ((row, count_of(row, evidence.counts)) for row in TABLE2)
    verdicts = [verdict for row, count in counted if count for verdict in size_verdicts(row, count)]
    sizes = f"{sum(verdict.matches for verdict in verdicts)} of {len(verdicts)}" if verdicts else MISSING
    points = sum(len(trials) > 0 for trials in evidence.cached(FIGURE3_SCORES.measure).rows.values())
    tables: tuple[PaperTable[Any], ...] = (TABLE2_SCORES, TABLE3_SCORES, TABLE4_SCORES, SECTION6_SCORES)
    return [
        Card("Trials", str(len(frame)), f"{failed}; {hours} of computing"),
        Card("Counts matching the paper", sizes, "counted parameters and MACs" if verdicts else "not counted yet"),
        *(
            Card(table.title, f"{evidence.cached(table.measure).filled} of {len(table.printed)}", "rows measured")
            for table in tables
        ),
        Card("Figure 3", str(points), f"{'point' if points == 1 else 'points'} measured"),
    ]
