"""Section 6: INT8 networks, with lambda 0.04 and 0.4, and with distillation; before, just converted, and trained rounded."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.frames import setting_columns
from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY
from analysis.page.elements import Cell, Section, Table, Text, number_heads, row_group, text_head, two_row_head
from analysis.paper import missing
from analysis.paper.families import Family, choose, family_keys, summarise
from analysis.paper.scores import (
    explained,
    measured_cell,
    score_cells,
    score_heads,
    score_notes,
    seeds_cell,
    verdict_columns,
)
from analysis.paper.verdicts import Judged, judge_rows
from analysis.published import SECTION6, ExtraRow

STUDY = "section6_extras"
AXES = ("finetune.reg_lambda", "distill.teachers")
DROP_RATE = 0.9
MEASURES = ("log_loss", "accuracy")
SHOWN = (*MEASURES, "log_loss_macro")
BEFORE = ("log_loss_before", "log_loss_converted")
"""Of the network in floating point, and of its integers without training."""


def section6_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill the table: INT8 networks that differ in lambda and in their teachers alone, and that of no fine-tuning."""
    of_system = frame["model.block"].eq("bcres2net") & frame["model.mfa"] & frame["model.fpm"]
    keep = of_system & frame["model.stem_attention"] & frame["quantized"] & ~frame["evaluated"]
    trials = frame[keep]
    trials = trials.assign(row=[_row(trial) for trial in trials.to_dict("records")])
    trials = trials[trials["row"].notna()]
    later = [c for c in setting_columns(frame) if c.startswith(("finetune.", "distill."))]
    base = family_keys(trials, later)
    own = family_keys(trials, [*AXES, *(c for c in later if c.startswith("distill."))])
    tuned = trials["finetuned"].astype(bool)
    families = pd.DataFrame({"base": base[tuned], "key": base[tuned] + own[tuned]}).drop_duplicates()
    first = (
        base[~tuned].rename("base").to_frame().rename_axis("trial").reset_index().merge(families, on="base", how="left")
    )
    first["key"] = first["key"].fillna(first["base"])
    together = pd.concat([trials.loc[first["trial"]], trials[tuned]], ignore_index=True)
    keys = pd.concat([first["key"], (base + own)[tuned]], ignore_index=True)
    family = choose(together, keys, AXES)
    return family and Family(_one_variant(family.trials), family.others, AXES)


def _row(trial: dict[str, object]) -> int | None:
    """Which row of the table a trial stands in."""
    teachers = ("self" if not trial["distill.teachers"] else "others") if trial["distilled"] else ""
    if trial["finetuned"] and trial["finetune.max_drop_rate"] != DROP_RATE:
        return None
    reg_lambda = trial["finetune.reg_lambda"] if trial["finetuned"] else None
    return next(
        (i for i, row in enumerate(SECTION6) if (row.reg_lambda, row.distilled) == (reg_lambda, teachers)), None
    )


def _one_variant(trials: pd.DataFrame) -> pd.DataFrame:
    """Of rows that were distilled in several ways, the way with the most trials: ways are never averaged."""
    kept = []
    for _, its in trials.groupby("row"):
        keys = family_keys(its, ())
        kept.append(its[keys == keys.value_counts().sort_index().idxmax()])
    return pd.concat(kept)


def section6_rows(frame: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Its trials by row, in the order of SECTION6."""
    family = section6_family(frame)
    trials = frame.iloc[:0].assign(row=[]) if family is None else family.trials
    return {row: trials[trials["row"] == row] for row in range(len(SECTION6))}


def section6_judged(frame: pd.DataFrame) -> Judged:
    """Verdicts on its scores (`verdicts.judge`)."""
    family = section6_family(frame)
    printed = {i: {name: getattr(row, name) for name in MEASURES} for i, row in enumerate(SECTION6)}
    return judge_rows(section6_rows(frame) if family and not family.generated else {}, printed, MEASURES)


def section6(frame: pd.DataFrame) -> pd.DataFrame:
    """Section 6 by row: `paper_*` printed, the rest measured, accuracies 0..1, means over `seeds` trials.

    `log_loss_before` is of the floating-point network, `log_loss_converted` of its integers without training, `log_loss` and
    `accuracy` of those after it, with `*_by_seed`, `*_sd`, `*_low`, `*_high`; on real data `*_verdict` and `*_p`
    (`verdicts.judge`).
    """
    before = frame.set_index("signature")["log_loss"].to_dict()
    by_row, judged = section6_rows(frame), section6_judged(frame)
    rows = []
    for i, row in enumerate(SECTION6):
        these = by_row[i].assign(log_loss_before=[before.get(start, float("nan")) for start in by_row[i]["start"]])
        rows.append(
            {
                "row": row.name,
                **{f"paper_{name}": getattr(row, name) for name in MEASURES},
                **summarise(these.astype(dict.fromkeys(BEFORE, float)), (*BEFORE, *SHOWN)),
                **verdict_columns(judged, i, MEASURES),
                "seeds": len(these),
                "seed_numbers": tuple(sorted(these["seed"])),
                "signatures": ", ".join(sorted(these["signature"])),
            }
        )
    return pd.DataFrame(rows).set_index("row")


def section(evidence: Evidence) -> Section:
    """Section 6 in the report."""
    numbers, family = evidence.cached(section6), evidence.cached(section6_family)
    sentence = (
        "What was submitted: networks of 8-bit integers. Rounding alone costs a little; training with the rounding in place should "
        "win it back, and distillation more."
    )
    return Section(
        "section-6",
        "Section 6",
        sentence,
        (*explained(evidence.cached(section6_judged)), _table(numbers, family, evidence)),
    )


def _table(numbers: pd.DataFrame, family: Family | None, evidence: Evidence) -> Table:
    fill = missing.commands(STUDY, family and family.generated, evidence)
    compare = family is not None and not family.generated
    groups = []
    for row in SECTION6:
        groups.append(_group(row, numbers, compare, fill if family else ()))
    names = score_heads(compare)
    before = number_heads("floating point", "converted, not trained")
    top = [(text_head("Network"), 1), ("Log loss before", 2), ("Log loss", len(names)), ("Accuracy, %", len(names))]
    head = two_row_head(*top, ("Macro log loss", 1), ("Seeds", 1), below=[*before, *names, *names])
    notes = score_notes(family, fill, MEASURES)
    text = (
        "The paper quantizes in fine-tuning; here fine-tuning comes first and training with rounded numbers after it, at the same "
        "drop rate. Lambda 0.4 and 0.04 without INT8 stand in the column of floating point."
    )
    notes += (Text(text),)
    return Table("section-6-scores", "Section 6, INT8 networks on the test split", head, groups, notes)


def _group(row: ExtraRow, numbers: pd.DataFrame, compare: bool, fill: tuple[str, ...]) -> list[list[Cell]]:
    found = numbers.loc[row.name]
    done = found["seeds"] > 0
    cells = [measured_cell(found, name, 1, 3) for name in BEFORE]
    for measure in PRIMARY:
        cells += score_cells(found, measure, compare)
    cells += [measured_cell(found, "log_loss_macro", 1, 3), seeds_cell(found["seed_numbers"], numbers["seed_numbers"])]
    return row_group(text_head(row.name), [cells], missing.remark((), bool(done), fill))
