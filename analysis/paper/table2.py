"""Table 2: what MFA and FPM add to BC-Res2Net, in size and in scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.evidence.counts import Verdict, count_of, macs_verdict, params_verdict, remark
from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY
from analysis.page import charts
from analysis.page.elements import (
    MISSING_CELL,
    Cell,
    Plot,
    Section,
    Table,
    Text,
    number_heads,
    paper_cell,
    row_group,
    text_cell,
    text_head,
    two_row_head,
)
from analysis.page.formats import MISSING, fixed, listed, millions, percent, thousands
from analysis.page.style import BLUE, escaped, paper_marker, styled
from analysis.paper import missing
from analysis.paper.families import Family, best_family, summarise
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
from analysis.published import TABLE2, WIDTH

STUDY = "table2_ablation"
AXES = ("model.block", "model.mfa", "model.fpm")
MEASURES = ("log_loss", "accuracy")
SHOWN = (*MEASURES, "log_loss_macro")


def table2_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill Table 2: pretrained only, the stem's attention unit kept."""
    rows = {(row.block, row.mfa, row.fpm): position for position, row in enumerate(TABLE2)}
    keys = zip(*(frame[axis] for axis in AXES), strict=True)
    candidates = frame.assign(row=[rows.get(key) for key in keys])
    keep = ~frame["finetuned"] & frame["plain"] & frame["model.stem_attention"] & candidates["row"].notna()
    return best_family(candidates[keep], AXES)


def table2_rows(frame: pd.DataFrame) -> dict[int, pd.DataFrame]:
    """Its trials by row, in the order of TABLE2."""
    family = table2_family(frame)
    trials = frame.iloc[:0].assign(row=[]) if family is None else family.trials
    return {row: trials[trials["row"] == row] for row in range(len(TABLE2))}


def table2_judged(frame: pd.DataFrame) -> Judged:
    """Verdicts on its scores (`verdicts.judge`); none where there are no real data."""
    family = table2_family(frame)
    printed = {i: {name: getattr(row, name) for name in MEASURES} for i, row in enumerate(TABLE2)}
    return judge_rows(table2_rows(frame) if family and not family.generated else {}, printed, MEASURES)


def table2(frame: pd.DataFrame, counts: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """Table 2 by the paper's systems: `paper_*` printed, `counted_*` at the paper's size, the rest from the trials.

    `trial` is the system that stands in the row (another width where that is shown), `params` and `macs` its size;
    `log_loss`, `accuracy` (0..1) and `log_loss_macro` are means over `seeds` trials of the test split, `*_by_seed` their values,
    `*_sd` their sample deviations, `*_low` and `*_high` their 95 % intervals from three seeds on. On real data `*_verdict` says
    whether the printed number is one more run of the measured system (`verdicts.judge`), and `*_p` is that test's p value.
    """
    by_row, judged = table2_rows(frame), table2_judged(frame)
    rows = []
    for position, row in enumerate(TABLE2):
        counted = count_of(row, counts)
        trials = by_row[position]
        size = trials.iloc[0] if len(trials) else {"system": None, "params": None, "macs": None}
        rows.append(
            {
                "paper_params": row.params,
                "counted_params": counted and counted["params"],
                "paper_macs": row.macs,
                "counted_macs": counted and counted["macs"],
                "trial": size["system"],
                **{name: size[name] for name in ("params", "macs")},
                **{f"paper_{name}": getattr(row, name) for name in MEASURES},
                **summarise(trials, SHOWN),
                **verdict_columns(judged, position, MEASURES),
                "seeds": len(trials),
                "seed_numbers": tuple(sorted(trials["seed"])),
                "signatures": ", ".join(sorted(trials["signature"])),
            }
        )
    integers = {name: "Int64" for name in ("counted_params", "counted_macs", "params", "macs")}
    return pd.DataFrame(rows, index=pd.Index([row.system for row in TABLE2], name="system")).astype(integers)


def section(evidence: Evidence) -> Section:
    """Table 2 in the report."""
    numbers = table2(evidence.frame, evidence.counts)
    family = evidence.cached(table2_family)
    blocks = [_sizes(evidence), *explained(evidence.cached(table2_judged)), _scores(numbers, family, evidence)]
    if family:
        blocks.append(_plot(numbers, family))
    return Section(
        "table-2",
        "Table 2",
        "Cutting the blocks in four makes the network smaller; MFA and FPM then buy accuracy with parameters and MACs. "
        "Sizes are counted and compared exactly, which needs no training; scores come from the trials.",
        tuple(blocks),
    )


def _sizes(evidence: Evidence) -> Table:
    counts = evidence.counts
    groups = []
    for row in TABLE2:
        counted = count_of(row, counts)
        params, macs, text = [MISSING_CELL, MISSING_CELL], [MISSING_CELL, MISSING_CELL], ""
        if counted:
            params = [Cell(f"{counted['params']:,}"), _chip(params_verdict(row.params, counted["params"]))]
            macs = [Cell(f"{counted['macs']:,}"), _chip(macs_verdict(row.macs, counted["macs"]))]
            text = remark(row, counted)
        cells = [paper_cell(thousands(row.params)), *params, paper_cell(millions(row.macs)), *macs]
        groups.append(row_group(text_head(row.system), [cells], Cell(text, "remark") if text else None))
    names = number_heads("paper", "counted", text_head("verdict"))
    head = two_row_head((text_head("System"), 1), ("Parameters", 3), ("MACs of one segment", 3), below=[*names, *names])
    notes = [Text("Counted on one input of 1 x 256 x 32; a count fits when it rounds to the printed digits.")]
    absent = [row.label for row in TABLE2 if not count_of(row, counts)]
    if absent:
        notes.append(
            Text(f"Not counted yet: {listed(absent)}; run", missing.commands(missing.COUNTING, True, evidence))
        )
    return Table("table-2-sizes", "Table 2, sizes: printed and counted", head, groups, tuple(notes))


def _chip(verdict: Verdict) -> Cell:
    return Cell(verdict.text, "verdict-fits" if verdict.fits else "verdict-differs")


def _scores(numbers: pd.DataFrame, family: Family | None, evidence: Evidence) -> Table:
    compare = family is not None and not family.generated
    resized = family is not None and family.width != WIDTH
    fill = missing.commands(STUDY, family and family.generated, evidence)
    groups = []
    for system, row in numbers.iterrows():
        failures = missing.failures_of(evidence.failures, str(system), "pretraining", family and family.width)
        done = row["seeds"] > 0
        cells = []
        if resized:
            cells.append(
                text_cell(row["trial"], small=f"{row['params']:,} / {row['macs']:,}") if done else text_cell(MISSING)
            )
        for measure in PRIMARY:
            cells += score_cells(row, measure, compare)
        cells += [measured_cell(row, "log_loss_macro", 1, 3), seeds_cell(row["seed_numbers"], numbers["seed_numbers"])]
        groups.append(
            row_group(text_head(str(system)), [cells], missing.remark(failures, done, fill if family else ()))
        )
    names = score_heads(compare)
    shown_trial = [(text_head("Trial shown", small="parameters / MACs"), 1)] if resized else []
    top = [(text_head("System"), 1), *shown_trial, ("Log loss", len(names)), ("Accuracy, %", len(names))]
    head = two_row_head(*top, ("Macro log loss", 1), ("Seeds", 1), below=[*names, *names])
    notes = score_notes(family, fill, MEASURES)
    notes += (Text("Macro log loss is the mean over scenes, by which the challenge ranks; the paper prints none."),)
    return Table("table-2-scores", "Table 2, scores on the test split", head, groups, notes)


def _plot(numbers: pd.DataFrame, family: Family) -> Plot:
    labels = [escaped(system.replace("-40", "")) for system in numbers.index]
    figure = charts.make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    for column, (measure, scale, digits) in enumerate((("log_loss", 1, 3), ("accuracy", 100, 1)), start=1):
        trials = family.trials
        once = column == 1
        figure.add_trace(
            charts.Scatter(
                x=(scale * trials[measure]).tolist(),
                y=[labels[int(row)] for row in trials["row"]],
                text=[
                    f"{s} (seed {seed})"
                    for s, seed in zip(trials["signature"].map(escaped), trials["seed"], strict=True)
                ],
                name="one seed",
                showlegend=once,
                mode="markers",
                marker={"symbol": "line-ns-open", "size": 12, "color": BLUE, "line": {"width": 1.5}},
                hovertemplate=f"%{{text}}<br>%{{x:.{digits}f}}<extra></extra>",
            ),
            *(1, column),
        )
        for name, values, marker in (
            ("measured, mean over seeds", numbers[measure], {"size": 10, "color": BLUE}),
            ("paper", numbers[f"paper_{measure}"], paper_marker()),
        ):
            figure.add_trace(
                charts.Scatter(
                    x=[None if pd.isna(v) else scale * v for v in values],
                    y=labels,
                    name=name,
                    showlegend=once,
                    mode="markers",
                    marker=marker,
                    hovertemplate=f"%{{y}}: %{{x:.{digits}f}}<extra>{name}</extra>",
                ),
                *(1, column),
            )
    styled(figure, 340)
    figure.update_xaxes(title_text="Log loss (lower is better)", tickformat=".2f", nticks=6, col=1)
    figure.update_xaxes(title_text="Accuracy, % (higher is better)", col=2)
    figure.update_yaxes(categoryorder="array", categoryarray=labels[::-1], range=[-0.5, len(labels) - 0.5])
    done = numbers[numbers["seeds"] > 0]
    found = "; ".join(
        f"{system} {fixed(r['log_loss'], 3)}, {percent(r['accuracy'])} %" for system, r in done.iterrows()
    )
    caption = f"{family.caveat}Dots are means over seeds, strokes single seeds, open diamonds the paper's numbers."
    return Plot("plot-table-2", f"Log loss and accuracy of each row of Table 2. Measured: {found}.", figure, caption)
