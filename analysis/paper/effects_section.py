"""The effects in the report: the table that opens it, with what its verdicts mean and what it can resolve."""

from __future__ import annotations

from functools import partial

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import ACCURACY, LOG_LOSS, MEAN_ACCURACY, MEASURES, UNSEEN_ACCURACY, Measure
from analysis.page.elements import MISSING_CELL, Cell, Section, Table, Text, paper_cell, text_head
from analysis.page.formats import MISSING, listed, plural, signed
from analysis.paper.effects import effects
from analysis.paper.scores import Columns, Rows, make_table, verdict_cell
from analysis.statistics import FEWEST_SEEDS

SHOWN_MEASURES = (LOG_LOSS, ACCURACY, UNSEEN_ACCURACY)
PRIMARY_NOTE = (
    "Primary outcomes: log loss and mean accuracy; in Table 4 mean accuracy over the nine devices, and over the devices unseen "
    "in training."
)
PAIRING = (
    "Differences are paired by seed, over the seeds that both rows have; if other seeds are excluded, the column Seeds lists those "
    "used. Below three seeds the individual values replace the interval; one seed compares two networks, not two systems."
)
INTERVALS = (
    "95 % intervals and p values are Student's, with two sources of variance: seeds (their spread is pooled over similar effects "
    "unless an effect's own is larger) and, where predictions are stored, the test places (scene and identifier); degrees of freedom "
    "are Satterthwaite's. Without stored predictions (places: —) an interval holds for these test places alone. p values are "
    "of no difference, after Holm's correction; intervals are not corrected. Seed-to-seed variation is assumed normal."
)
VERDICTS = (
    "Same direction: significantly different from zero, with the paper's sign. And size: equivalent to the paper's effect, taken "
    "as one run, within half of it. Opposite: significantly different from zero, with the other sign, and farther from the paper's "
    "effect than the noise of one run. Each of these tests is Holm-corrected at 5 %. Effects that the paper does not print, or "
    "prints as zero, are better or worse."
)


def section(evidence: Evidence) -> Section:
    """The effects in the report."""
    frame = effects(evidence)
    sentence = "The effect of each of the paper's changes on the scores, beside the effect that the paper reports."
    if frame.empty:
        none = Text("No two rows of the paper's tables share a seed yet.")
        return Section("effects", "Effects", sentence, (none,))
    judged = bool(frame["verdict"].ne("").any())
    tests = int(frame["p_holm"].notna().sum())
    above = PRIMARY_NOTE if judged else f"Generated data: no effect is compared with the paper's. {PRIMARY_NOTE}"
    if tests:
        above += (
            f" Holm's correction is over all {plural(tests, 'test')}, at 5 %; verdicts on scores have 5 % of their own."
        )
    return Section("effects", "Effects", sentence, (Text(above), _table(frame, judged)))


def _table(frame: pd.DataFrame, judged: bool) -> Table:
    names = ("paper", "measured", "verdict") if judged else ()
    columns = [
        Columns(text_head("Effect"), partial(_name_cells, judged)),
        *(Columns(measure.title, partial(_measure_cells, measure, judged), names) for measure in SHOWN_MEASURES),
        Columns("Seeds", _seeds_cells),
        Columns("Places", lambda rows: [Cell(str(rows["places"].iloc[0] or MISSING))]),
    ]
    groups = [
        Rows(text_head(str(table)), [part for _, part in rows.groupby("effect", sort=False)])
        for table, rows in frame.groupby("table", sort=False)
    ]
    notes = [PAIRING, *([INTERVALS] if frame["low"].notna().any() else []), *([VERDICTS] if judged else [])]
    caption = "Effects, measured and printed, test split" if judged else "Effects, test split"
    resolution = _resolution(frame[~frame["generated"]] if judged else frame)
    return make_table("effects-list", caption, "Table", columns, groups, (*map(Text, notes), resolution))


def _name_cells(judged: bool, rows: pd.DataFrame) -> list[Cell]:
    first = rows.iloc[0]
    return [text_head(first["name"], "generated data" if judged and first["generated"] else "")]


def _seeds_cells(rows: pd.DataFrame) -> list[Cell]:
    fewest = rows.iloc[rows["seeds"].to_numpy().argmin()]
    return [Cell(str(fewest["seeds"]), small=", ".join(map(str, fewest["seed_numbers"])) if fewest["left_out"] else "")]


def _measure_cells(measure: Measure, judged: bool, rows: pd.DataFrame) -> list[Cell]:
    """An effect on one measure; the mean accuracy over devices is shown in the column of accuracy."""
    names = (ACCURACY.column, MEAN_ACCURACY.column) if measure is ACCURACY else (measure.column,)
    found = rows[rows["measure"].isin(names)]
    if found.empty:
        return [MISSING_CELL] * (3 if judged else 1)
    row = found.iloc[-1]

    def text(value: float) -> str:
        return MISSING if pd.isna(value) else signed(measure.scale * value, measure.digits)

    small = f"{text(row['low'])} to {text(row['high'])}"
    if pd.isna(row["low"]):
        small = ", ".join(map(text, row["by_seed"])) if row["seeds"] > 1 else ""
    measured = Cell(text(row["difference"]), small=small)
    if not judged:
        return [measured]
    if row["generated"]:
        return [MISSING_CELL, measured, MISSING_CELL]
    p = "" if pd.isna(row["p_holm"]) else "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.2g}"
    return [paper_cell(text(row["paper"])), measured, verdict_cell(row["verdict"])._replace(small=p)]


def _resolution(frame: pd.DataFrame) -> Text:
    """The effect that each table's tests would detect: the median over its effects."""
    parts = []
    for table, rows in frame[frame["resolves"].notna()].groupby("table", sort=False):
        medians = rows.groupby("measure", sort=False)["resolves"].median()
        amounts = [f"{MEASURES[str(name)].amount(value)} {MEASURES[str(name)].unit}" for name, value in medians.items()]
        parts.append(f"{table}: {listed(amounts)}")
    if parts:
        text = f"Resolution (80 % power at 5 %, a single test, the median effect): {'; '.join(parts)}. "
        text += "Seeds needed for another effect:"
    else:
        equal = bool((frame["seeds"] >= FEWEST_SEEDS).any())
        why = "their seeds do not differ" if equal else f"that takes {FEWEST_SEEDS} seeds"
        text = f"Resolution: none for systems; {why}. Seeds needed for an effect:"
    return Text(text, ("asc-sweeps power",))
