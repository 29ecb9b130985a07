"""Section 6: INT8 networks, with lambda 0.04 and 0.4, and with distillation; before, just converted, and trained rounded."""

from __future__ import annotations

import pandas as pd

from analysis import missing
from analysis.blocks import Cell, Section, Table, Text, head_of, heads, paper, row_group, row_head
from analysis.evidence import Evidence
from analysis.families import Family, choose, family_keys, summarise
from analysis.frames import setting_columns
from analysis.paper import SECTION6, ExtraRow
from analysis.table2 import score_notes
from analysis.verdicts import EXPLAINED, judge_rows, verdict_cell
from analysis.words import MISSING, fixed, signed, spread

STUDY = "section6_extras"
AXES = ("finetune.reg_lambda", "distill.teachers")
DROP_RATE = 0.9
MEASURES = ("log_loss", "accuracy")


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


def section6(frame: pd.DataFrame) -> pd.DataFrame:
    """Section 6 by row: `paper_*` printed, the rest measured, accuracies 0..1, means over `seeds` trials.

    `log_loss_before` is of the floating-point network, `log_loss_converted` of its integers without training, `log_loss` and
    `accuracy` of those after it, with `*_sd`, `*_low`, `*_high`; on real data `*_verdict` and `*_p` (`verdicts`).
    """
    family = section6_family(frame)
    trials = frame.iloc[:0].assign(row=[]) if family is None else family.trials
    before = frame.set_index("signature")["log_loss"].to_dict()
    by_row = {i: trials[trials["row"] == i] for i in range(len(SECTION6))}
    printed = {i: {name: getattr(row, name) for name in MEASURES} for i, row in enumerate(SECTION6)}
    judged = judge_rows(by_row if family is not None and not family.generated else {}, printed, MEASURES)
    rows = []
    for i, row in enumerate(SECTION6):
        these = by_row[i].assign(log_loss_before=[before.get(start, float("nan")) for start in by_row[i]["start"]])
        rows.append(
            {
                "row": row.name,
                **{f"paper_{name}": printed[i][name] for name in MEASURES},
                **{
                    name: these[name].astype(float).mean(skipna=False)
                    for name in ("log_loss_before", "log_loss_converted")
                },
                **summarise(these, MEASURES),
                **{f"{name}_verdict": judged.texts.get((i, name), "") for name in MEASURES},
                **{f"{name}_p": judged.p_values.get((i, name), float("nan")) for name in MEASURES},
                "seeds": len(these),
                "signatures": ", ".join(sorted(these["signature"])),
            }
        )
    return pd.DataFrame(rows).set_index("row")


def section(evidence: Evidence) -> Section:
    """Section 6 in the report."""
    numbers, family = evidence.of(section6), evidence.of(section6_family)
    sentence = (
        "What was submitted: networks of 8-bit integers. Rounding alone costs a little; training with the rounding in place should "
        "win it back, and distillation more."
    )
    return Section("section-6", "Section 6", sentence, (_table(numbers, family, evidence),))


def _table(numbers: pd.DataFrame, family: Family | None, evidence: Evidence) -> Table:
    fill = missing.commands(STUDY, family and family.generated, evidence)
    compare = family is not None and not family.generated
    groups = []
    for row in SECTION6:
        groups.append(_group(row, numbers.loc[row.name], compare, fill if family else ()))
    names = heads("paper", "measured", "difference", row_head("verdict"))[: 4 if compare else 2]
    before = heads("floating point", "converted, not trained")
    top = [(row_head("Network"), 1), ("Log loss before", 2), ("Log loss", len(names)), ("Accuracy, %", len(names))]
    head = head_of(*top, ("Seeds", 1), below=[*before, *names, *names])
    notes = score_notes(family, fill)
    text = (
        "The paper quantizes in fine-tuning; here fine-tuning comes first and training with rounded numbers after it, at the same "
        "drop rate. Lambda 0.4 and 0.04 without INT8 stand in the column of floating point."
    )
    notes += (Text(text), *((Text(EXPLAINED),) if compare else ()))
    return Table("section-6-scores", "Section 6, INT8 networks on the test split", head, groups, notes)


def _group(row: ExtraRow, found: pd.Series, compare: bool, fill: tuple[str, ...]) -> list[list[Cell]]:
    done = found["seeds"] > 0
    cells = [Cell(fixed(found[name], 3)) for name in ("log_loss_before", "log_loss_converted")]
    for name, scale, digits in (("log_loss", 1, 3), ("accuracy", 100, 1)):
        printed, measured = scale * found[f"paper_{name}"], scale * found[name]
        cells += [paper(fixed(printed, digits))]
        cells += [Cell(fixed(measured, digits), small=spread(scale * found[f"{name}_half"], digits))]
        if compare:
            known = done and not pd.isna(printed)
            cells += [Cell(signed(measured - printed, digits) if known else MISSING)]
            cells += [verdict_cell(found[f"{name}_verdict"]) if known else Cell(MISSING)]
    cells += [Cell(str(found["seeds"]) if done else MISSING)]
    return row_group(row_head(row.name), [cells], missing.remark((), bool(done), fill))
