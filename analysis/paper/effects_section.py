"""The effects in the report: the table that opens it, with what its verdicts mean and what it can resolve."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import ACCURACY, LOG_LOSS, MEAN_ACCURACY, MEASURES, UNSEEN_ACCURACY, Measure
from analysis.page.elements import (
    MISSING_CELL,
    Cell,
    Section,
    Table,
    Text,
    number_heads,
    paper_cell,
    row_group,
    text_head,
    two_row_head,
)
from analysis.page.formats import MISSING, listed, plural, signed
from analysis.paper.effects import effects
from analysis.paper.scores import verdict_cell
from analysis.statistics import FEWEST_SEEDS

COLUMNS = (LOG_LOSS, ACCURACY, UNSEEN_ACCURACY)
PRIMARY_NOTE = (
    "Primary outcomes: log loss and mean accuracy; in Table 4 mean accuracy over the nine devices, and over the devices unseen "
    "in training."
)
PAIRING = (
    "Each difference is of trials of the same seed, for the seeds that both rows have; where others are left out, the column "
    "Seeds names those used. Below three seeds the values stand in place of an interval; one seed compares two networks, not two "
    "systems."
)
INTERVALS = (
    "95 % intervals and p values are Student's, with two sources of variance: seeds (their spread is pooled over similar effects "
    "unless an effect's own is larger) and, where predictions are stored, the test places (scene and identifier); degrees of freedom "
    "are Satterthwaite's. Without stored predictions (places: —) an interval is for these test places alone. p values are "
    "of no difference, after Holm's correction; intervals are not corrected. Seed-to-seed variation is assumed normal."
)
VERDICTS = (
    "Same direction: not zero, with the paper's sign. And size: within half of the paper's effect, which is taken as one run. "
    "Opposite: not zero, with the other sign, and farther from the paper's effect than the noise of one run. Each of these tests is "
    "Holm-corrected at 5 %. Effects that the "
    "paper does not print, or prints as zero, are better or worse."
)


def section(evidence: Evidence) -> Section:
    """The effects in the report."""
    frame = effects(evidence)
    sentence = "What each change of the paper does to the scores, beside what the paper found it to do."
    if frame.empty:
        none = Text("No two rows of the paper's tables share a seed yet.")
        return Section("effects", "Effects", sentence, (none,))
    judged = bool(frame["verdict"].ne("").any())
    tests = int(frame["p_holm"].notna().sum())
    above = PRIMARY_NOTE if judged else f"Generated data: no effect is compared with the paper's. {PRIMARY_NOTE}"
    if tests:
        above += (
            f" Holm's correction is over its {plural(tests, 'test')}, at 5 %; verdicts on scores have 5 % of their own."
        )
    return Section("effects", "Effects", sentence, (Text(above), _table(frame, judged)))


def _table(frame: pd.DataFrame, judged: bool) -> Table:
    groups = []
    for table, rows in frame.groupby("table", sort=False):
        lines = [_line(its, judged) for _, its in rows.groupby("effect", sort=False)]
        groups.append(row_group(text_head(str(table)), lines))
    names = number_heads("paper", "measured", "verdict") if judged else []
    titles = [(measure.title, max(1, len(names))) for measure in COLUMNS]
    top = [(text_head("Table"), 1), (text_head("Effect"), 1), *titles, ("Seeds", 1), ("Places", 1)]
    head = two_row_head(*top, below=names * len(COLUMNS)) if judged else [number_heads(*(title for title, _ in top))]
    notes = [PAIRING, *([INTERVALS] if frame["low"].notna().any() else []), *([VERDICTS] if judged else [])]
    caption = "Effects, measured and printed, test split" if judged else "Effects, test split"
    return Table(
        "effects-list",
        caption,
        head,
        groups,
        (*map(Text, notes), _resolved(frame[~frame["generated"]] if judged else frame)),
    )


def _line(its: pd.DataFrame, judged: bool) -> list[Cell]:
    first, by_measure = its.iloc[0], {_column(row["measure"]): row for _, row in its.iterrows()}
    cells = [text_head(first["name"], "generated data" if judged and first["generated"] else "")]
    for measure in COLUMNS:
        cells += _cells(by_measure.get(measure.column), measure, judged)
    fewest = its.loc[its["seeds"].idxmin()]
    used = ", ".join(map(str, fewest["seed_numbers"])) if fewest["left_out"] else ""
    return [*cells, Cell(str(fewest["seeds"]), small=used), Cell(str(first["places"]) if first["places"] else MISSING)]


def _column(measure: str) -> str:
    """Where a measure stands: the mean over devices in the place of accuracy."""
    return ACCURACY.column if measure == MEAN_ACCURACY.column else measure


def _cells(row: pd.Series | None, measure: Measure, judged: bool) -> list[Cell]:
    if row is None:
        return [MISSING_CELL] * (3 if judged else 1)

    def text(value: float) -> str:
        return MISSING if pd.isna(value) else signed(measure.scale * value, measure.digits)

    small = f"{text(row['low'])} to {text(row['high'])}"
    if pd.isna(row["low"]):
        small = ", ".join(map(text, row["by_seed"])) if row["seeds"] > 1 else ""
    measured = Cell(text(row["difference"]), small=small)
    if not judged:
        return [measured]
    p = "" if pd.isna(row["p_holm"]) else "p < 0.001" if row["p_holm"] < 0.001 else f"p = {row['p_holm']:.2g}"
    if row["generated"]:
        return [MISSING_CELL, measured, MISSING_CELL]
    return [paper_cell(text(row["paper"])), measured, verdict_cell(row["verdict"])._replace(small=p)]


def _resolved(frame: pd.DataFrame) -> Text:
    """What a test of this table would find, table by table: the median over its effects."""
    parts = []
    for table, its in frame[frame["resolves"].notna()].groupby("table", sort=False):
        medians = its.groupby("measure", sort=False)["resolves"].median()
        amounts = [f"{MEASURES[name].amount(value)} {MEASURES[name].unit}" for name, value in medians.items()]
        parts.append(f"{table}: {listed(amounts)}")
    if not parts:
        why = (
            "their seeds do not differ"
            if (frame["seeds"] >= FEWEST_SEEDS).any()
            else f"that takes {FEWEST_SEEDS} seeds"
        )
        text = f"What these effects can resolve: nothing about systems; {why}. How many an effect needs:"
    else:
        text = f"What can be resolved (80 % power at 5 %, a single test, the median effect): {'; '.join(parts)}. "
        text += "How many seeds another effect needs:"
    return Text(text, ("asc-sweeps power",))
