"""Table 2: what MFA and FPM add to BC-Res2Net, in size and in scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.evidence.counts import Size, count_of, count_remark, size_verdict
from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY
from analysis.page import charts
from analysis.page.elements import MISSING_CELL, Cell, Plot, Section, Table, Text, paper_cell, text_cell, text_head
from analysis.page.formats import MISSING, listed, millions, thousands
from analysis.page.style import BLUE, escaped, paper_marker, styled
from analysis.paper import missing
from analysis.paper.families import Family, best_family, paper_systems
from analysis.paper.paper_table import MeasuredTable, PaperTable
from analysis.paper.scores import (
    MACRO_COLUMN,
    Columns,
    Rows,
    make_table,
    notes_above,
    notes_below,
    score_columns,
    scores_in_words,
    seeds_column,
)
from analysis.published import TABLE2, TABLE2_PRINTED, WIDTH, AblationRow
from asc_sweeps.workspace.records import CountRow


def table2_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill Table 2: pretrained only, with the attention unit in the stem."""
    rows = {row.system: position for position, row in enumerate(TABLE2)}
    trials = frame.assign(row=paper_systems(frame).map(rows))
    keep = ~frame["finetuned"] & frame["plain"] & trials["row"].notna()
    return best_family(trials[keep], ("model.block", "model.mfa", "model.fpm"))


TABLE2_SCORES = PaperTable("Table 2", "table2_ablation", TABLE2_PRINTED, table2_family)


def table2(frame: pd.DataFrame, counts: Sequence[CountRow]) -> pd.DataFrame:
    """Table 2 by the paper's systems: `paper_*` printed, `counted_*` at the paper's size, the rest from the trials.

    `trial` is the system shown in the row (its width may differ from the paper's), `params` and `macs` its size; `log_loss`,
    `accuracy` (0..1) and `log_loss_macro` are means over `seeds` trials on the test split, `*_by_seed` their values, `*_sd` their
    sample standard deviations, `*_low` and `*_high` their 95 % intervals from three seeds on. On real data `*_verdict` says whether
    the printed number is one more run of the measured system (`verdicts.judge`), and `*_p` is that test's p value.
    """
    return _numbers(TABLE2_SCORES.measure(frame), counts)


def _numbers(measured: MeasuredTable[int], counts: Sequence[CountRow]) -> pd.DataFrame:
    rows = []
    for position, row in enumerate(TABLE2):
        counted, trials = count_of(row, counts), measured.rows[position]
        sizes = {
            "paper_params": row.params,
            "counted_params": counted and counted["params"],
            "paper_macs": row.macs,
            "counted_macs": counted and counted["macs"],
        }
        shown = {
            column: trials[name].iloc[0] if len(trials) else None
            for column, name in (("trial", "system"), ("params", "params"), ("macs", "macs"))
        }
        rows.append({**sizes, **shown, **measured.numbers(position)})
    integers = dict.fromkeys(("counted_params", "counted_macs", "params", "macs"), "Int64")
    return pd.DataFrame(rows, index=pd.Index([row.system for row in TABLE2], name="system")).astype(integers)


def section(evidence: Evidence) -> Section:
    """Table 2 in the report."""
    measured = evidence.cached(TABLE2_SCORES.measure)
    numbers = _numbers(measured, evidence.counts)
    plots = [_plot(numbers, measured.family)] if measured.family else []
    return Section(
        "table-2",
        "Table 2",
        "Splitting the blocks into four scales makes the network smaller; MFA and FPM then trade parameters and MACs for accuracy. "
        "Sizes are counted and compared exactly, without training; scores come from the trials.",
        (_sizes(evidence), *notes_above(measured), _scores(numbers, measured, evidence), *plots),
    )


def _sizes(evidence: Evidence) -> Table:
    counted = {row.system: count_of(row, evidence.counts) for row in TABLE2}

    def cells(row: AblationRow, size: Size, written: Callable[[float], str]) -> list[Cell]:
        printed, count = (row.params if size == "params" else row.macs), counted[row.system]
        if not count:
            return [paper_cell(written(printed)), MISSING_CELL, MISSING_CELL]
        verdict = size_verdict(size, printed, count[size])
        kind = "verdict-fits" if verdict.matches else "verdict-differs"
        return [paper_cell(written(printed)), Cell(f"{count[size]:,}"), Cell(verdict.text, kind)]

    groups = []
    for row in TABLE2:
        count = counted[row.system]
        remark = count_remark(row, count) if count else ""
        groups.append(Rows(text_head(row.system), [row], Cell(remark, "remark") if remark else None))
    names = ("paper", "counted", text_head("verdict"))
    columns = [
        Columns[AblationRow]("Parameters", lambda row: cells(row, "params", thousands), names),
        Columns[AblationRow]("MACs of one segment", lambda row: cells(row, "macs", millions), names),
    ]
    notes = [Text("Counted for one input of 1 x 256 x 32; a count matches if it rounds to the printed digits.")]
    absent = [row.label for row in TABLE2 if not counted[row.system]]
    if absent:
        fill = missing.commands(TABLE2_SCORES.study, True, evidence)
        notes.append(Text(f"Not counted yet: {listed(absent)}; run", fill))
    return make_table("table-2-sizes", "Table 2, sizes: printed and counted", "System", columns, groups, tuple(notes))


def _scores(numbers: pd.DataFrame, measured: MeasuredTable[int], evidence: Evidence) -> Table:
    family = measured.family
    fill = measured.commands(evidence)
    columns = [*(score_columns(measure, measured.compared) for measure in PRIMARY), MACRO_COLUMN, seeds_column(numbers)]
    if family and family.width != WIDTH:
        columns.insert(0, Columns(text_head("Trial shown", small="parameters / MACs"), _trial_cells))
    groups = []
    for system, row in numbers.iterrows():
        failures = missing.failures_of(evidence.failures, str(system), "pretraining", measured.width)
        remark = missing.remark(failures, row["seeds"] > 0, fill if family else ())
        groups.append(Rows(text_head(str(system)), [row], remark))
    notes = notes_below(measured, fill)
    notes += (
        Text("Macro log loss is the mean over scenes, by which the challenge ranks; the paper does not report it."),
    )
    return make_table("table-2-scores", "Table 2, scores on the test split", "System", columns, groups, notes)


def _trial_cells(row: pd.Series) -> list[Cell]:
    if not row["seeds"]:
        return [text_cell(MISSING)]
    return [text_cell(row["trial"], small=f"{row['params']:,} / {row['macs']:,}")]


def _plot(numbers: pd.DataFrame, family: Family) -> Plot:
    labels = [escaped(system.replace("-40", "")) for system in numbers.index]
    figure = charts.make_subplots(1, 2, shared_yaxes=True, horizontal_spacing=0.06)
    trials = family.trials
    names = [f"{escaped(s)} (seed {seed})" for s, seed in zip(trials["signature"], trials["seed"], strict=True)]
    for column, measure in enumerate(PRIMARY, start=1):
        figure.add_trace(
            charts.Scatter(
                x=(measure.scale * trials[measure.column]).tolist(),
                y=[labels[int(row)] for row in trials["row"]],
                text=names,
                name="one seed",
                showlegend=column == 1,
                mode="markers",
                marker={"symbol": "line-ns-open", "size": 12, "color": BLUE, "line": {"width": 1.5}},
                hovertemplate=f"%{{text}}<br>%{{x:.{measure.digits}f}}<extra></extra>",
            ),
            *(1, column),
        )
        for name, source, marker in (
            ("measured, mean over seeds", measure.column, {"size": 10, "color": BLUE}),
            ("paper", f"paper_{measure.column}", paper_marker()),
        ):
            figure.add_trace(
                charts.Scatter(
                    x=[None if pd.isna(v) else measure.scale * v for v in numbers[source]],
                    y=labels,
                    name=name,
                    showlegend=column == 1,
                    mode="markers",
                    marker=marker,
                    hovertemplate=f"%{{y}}: %{{x:.{measure.digits}f}}<extra>{name}</extra>",
                ),
                *(1, column),
            )
    styled(figure, 340)
    figure.update_xaxes(title_text="Log loss (lower is better)", tickformat=".2f", nticks=6, col=1)
    figure.update_xaxes(title_text="Accuracy, % (higher is better)", col=2)
    figure.update_yaxes(categoryorder="array", categoryarray=labels[::-1], range=[-0.5, len(labels) - 0.5])
    label = f"Log loss and accuracy of each row of Table 2. Measured: {scores_in_words(numbers)}."
    caption = f"{family.caveat}Dots are means over seeds, strokes single seeds, open diamonds the paper's numbers."
    return Plot("plot-table-2", label, figure, caption)
