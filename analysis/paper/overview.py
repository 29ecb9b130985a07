"""The top of the report: what the data are, and how much of the paper is there."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.evidence.counts import count_of, macs_verdict, params_verdict
from analysis.evidence.loading import Evidence
from analysis.page.formats import MISSING, duration, listed, plural
from analysis.paper.figure3 import figure3_points
from analysis.paper.section6 import section6
from analysis.paper.table2 import table2_family
from analysis.paper.table3 import table3
from analysis.paper.table4 import table4
from analysis.published import DURATIONS, SECTION6, TABLE2, TABLE3, TABLE4


@dataclass(frozen=True)
class Card:
    """One number at the top, with what it is and a line about it."""

    title: str
    value: str
    detail: str


def data_warning(frame: pd.DataFrame) -> str:
    """The strip above all else: which data were generated, and what is therefore not said; empty for real data."""
    generated = sorted(frame.loc[frame["generated"], "data_name"].astype(str).unique())
    real = sorted(frame.loc[~frame["generated"], "data_name"].astype(str).unique())
    if not generated:
        return ""
    if not real:
        return (
            f"Generated data: {listed(generated)}. The scores show that the system runs, nothing about real scenes; "
            "no verdicts are drawn from them."
        )
    return (
        f"Generated data: {listed(generated)}, beside real data: {listed(real)}. Tables prefer real data; "
        "a table that shows generated data says so, and no verdicts are drawn from it."
    )


def cards(evidence: Evidence) -> list[Card]:
    """How far the workspace has come."""
    frame = evidence.frame
    hours = duration(float(frame["seconds"].sum())) if len(frame) else "0 s"
    failed = f"{plural(len(evidence.failures), 'trial')} failed" if evidence.failures else "none failed"
    counted = [(row, count_of(row, evidence.counts)) for row in TABLE2]
    verdicts = [
        verdict.fits
        for row, count in counted
        if count
        for verdict in (params_verdict(row.params, count["params"]), macs_verdict(row.macs, count["macs"]))
    ]
    sizes = f"{sum(verdicts)} of {len(verdicts)}" if verdicts else MISSING
    family = evidence.cached(table2_family)
    filled = family.trials["row"].nunique() if family else 0
    points = evidence.cached(figure3_points)
    plain = int((points["seeds"] > 0).sum())
    return [
        Card("Trials", str(len(frame)), f"{failed}; {hours} of computing"),
        Card("Printed sizes that fit", sizes, "counted parameters and MACs" if verdicts else "not counted yet"),
        Card("Table 2", f"{filled} of {len(TABLE2)}", "rows measured"),
        _rows("Table 3", evidence.cached(table3), len(TABLE3) * len(DURATIONS)),
        _rows("Table 4", evidence.cached(table4), len(TABLE4)),
        _rows("Section 6", evidence.cached(section6), len(SECTION6)),
        Card("Figure 3", str(plain), f"{'point' if plain == 1 else 'points'} measured"),
    ]


def _rows(title: str, numbers: pd.DataFrame, printed: int) -> Card:
    done = int((numbers["seeds"].iloc[:printed] > 0).sum())
    return Card(title, f"{done} of {printed}", "rows measured")
