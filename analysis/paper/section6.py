"""Section 6: INT8 networks with lambda 0.04 and 0.4 and with distillation: before, just converted, and trained in INT8."""

from __future__ import annotations

import dataclasses

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY
from analysis.page.elements import Section, Table, Text, text_head
from analysis.paper import missing
from analysis.paper.families import Family, best_family_with_starts, family_keys, paper_systems
from analysis.paper.paper_table import MeasuredTable, PaperTable
from analysis.paper.scores import (
    MACRO_COLUMN,
    Columns,
    Rows,
    log_loss_cell,
    make_table,
    notes_above,
    notes_below,
    score_columns,
    seeds_column,
)
from analysis.paper.table4 import FULL_SYSTEM
from analysis.published import SECTION6, SECTION6_PRINTED

DROP_RATE = 0.9
BEFORE = ("log_loss_before", "log_loss_converted")
"""Log loss of the floating-point network, and of the converted one before INT8 training."""


def section6_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill the table: INT8 networks that differ in lambda and teachers alone, and the one without fine-tuning."""
    trials = frame[paper_systems(frame).eq(FULL_SYSTEM) & frame["quantized"] & ~frame["evaluated"]]
    trials = trials.assign(row=pd.Series({i: _row(trial) for i, trial in trials.iterrows()}, dtype=float))
    trials = trials[trials["row"].notna()]
    axes = ("finetune.reg_lambda", "distill.teachers")
    distillation = [column for column in frame.columns if column.startswith("distill.")]
    family = best_family_with_starts(trials, axes, ("finetune.", "distill."), (*axes, *distillation))
    return family and dataclasses.replace(family, trials=_one_variant(family.trials))


def _row(trial: pd.Series) -> int | None:
    """The row of SECTION6 that a trial fills."""
    teachers = ("self" if not trial["distill.teachers"] else "others") if trial["distilled"] else ""
    if trial["finetuned"] and trial["finetune.max_drop_rate"] != DROP_RATE:
        return None
    wanted = (trial["finetune.reg_lambda"] if trial["finetuned"] else None, teachers)
    return next((i for i, row in enumerate(SECTION6) if (row.reg_lambda, row.distilled) == wanted), None)


def _one_variant(trials: pd.DataFrame) -> pd.DataFrame:
    """For each row distilled in several ways, the way with the most trials, so that ways are never averaged."""
    kept = []
    for _, rows in trials.groupby("row"):
        keys = family_keys(rows, ())
        kept.append(rows[keys == keys.value_counts().sort_index().idxmax()])
    return pd.concat(kept)


SECTION6_SCORES = PaperTable(
    "Section 6",
    "section6_extras",
    SECTION6_PRINTED,
    section6_family,
    summarised=(*BEFORE, "log_loss", "accuracy", "log_loss_macro"),
)


def section6(frame: pd.DataFrame) -> pd.DataFrame:
    """Section 6 by row: `paper_*` printed, the rest measured, accuracies 0..1, means over `seeds` trials.

    `log_loss_before` is of the floating-point network, `log_loss_converted` of the converted one before INT8 training, `log_loss`
    and `accuracy` after it, with `*_by_seed`, `*_sd`, `*_low`, `*_high`; on real data `*_verdict` and `*_p` (`verdicts.judge`).
    """
    measured = SECTION6_SCORES.measure(frame)
    rows = [{"row": row.name, **measured.numbers(i)} for i, row in enumerate(SECTION6)]
    return pd.DataFrame(rows).set_index("row")


def section(evidence: Evidence) -> Section:
    """Section 6 in the report."""
    numbers, measured = evidence.cached(section6), evidence.cached(SECTION6_SCORES.measure)
    sentence = (
        "The submitted systems: networks of 8-bit integers. Conversion alone costs a little; quantization-aware training should "
        "recover it, and distillation improve on it."
    )
    return Section("section-6", "Section 6", sentence, (*notes_above(measured), _table(numbers, measured, evidence)))


def _table(numbers: pd.DataFrame, measured: MeasuredTable[int], evidence: Evidence) -> Table:
    fill = measured.commands(evidence)
    columns = [
        Columns[pd.Series](
            "Log loss before",
            lambda row: [log_loss_cell(row, column) for column in BEFORE],
            ("floating point", "converted, not trained"),
        ),
        *(score_columns(measure, measured.compared) for measure in PRIMARY),
        MACRO_COLUMN,
        seeds_column(numbers),
    ]
    groups = [
        Rows(text_head(str(name)), [row], missing.remark((), row["seeds"] > 0, fill if measured.family else ()))
        for name, row in numbers.iterrows()
    ]
    text = (
        "The paper quantizes during fine-tuning; here fine-tuning comes first and quantization-aware training after it, at the same "
        "drop rate. Lambda 0.4 and 0.04 without INT8 are in the floating-point column."
    )
    notes = (*notes_below(measured, fill), Text(text))
    caption = "Section 6, INT8 networks on the test split"
    return make_table("section-6-scores", caption, "Network", columns, groups, notes)
