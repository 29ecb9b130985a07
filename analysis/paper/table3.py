"""Table 3: test clips of 1, 2, 5 and 10 s through networks trained on one second."""

from __future__ import annotations

from functools import partial

import pandas as pd

from analysis.evidence.frames import PHASE_COLUMNS
from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY, Measure
from analysis.page import charts
from analysis.page.elements import Cell, Plot, Section, Table, Text, text_head
from analysis.page.formats import MISSING
from analysis.page.style import DASHES, SERIES, paper_marker, styled
from analysis.paper import missing
from analysis.paper.clip_control import controls
from analysis.paper.families import Family, best_family, paper_systems, summarise
from analysis.paper.paper_table import MeasuredTable, PaperTable
from analysis.paper.scores import (
    MACRO_COLUMN,
    Columns,
    Rows,
    make_table,
    measured_cell,
    notes_above,
    notes_below,
    score_columns,
    scores_in_words,
    seeds_column,
)
from analysis.published import DURATIONS, TABLE3, TABLE3_PRINTED


def table3_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill Table 3: pretrained networks, and clips of each duration through them, cropped by one policy."""
    later = frame[[column for column in PHASE_COLUMNS if column != "evaluated"]].any(axis=1)
    trials = frame.assign(paper_system=paper_systems(frame))
    trials = trials[~later & trials["paper_system"].isin(list(TABLE3))]
    clips, segments = trials[trials["evaluated"]], trials[~trials["evaluated"]]
    policies = sorted(clips["evaluate.crops"].unique()) or ["all"]
    # For a clip of one second, the network's own test, the policy makes no difference.
    parts = [*(segments.assign(**{"evaluate.crops": policy, "evaluate.seconds": 1.0}) for policy in policies), clips]
    together = pd.concat([part for part in parts if len(part)] or [clips], ignore_index=True)
    lengths = together["evaluate.seconds"].astype(float)
    together["row"] = list(zip(together["paper_system"], lengths, strict=True))
    return best_family(together, ("model.block", "model.mfa", "model.fpm", "evaluate.seconds"))


TABLE3_SCORES = PaperTable(
    "Table 3",
    "table3_durations",
    TABLE3_PRINTED,
    table3_family,
    groups={(system, seconds): system for system, seconds in TABLE3_PRINTED},
    judged=lambda row: row not in [(system, 1) for system in TABLE3],  # scores on one second are judged in Table 2
)


def table3(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 3 by system and `seconds`: `paper_*` printed, the rest measured, accuracies 0..1.

    `log_loss`, `accuracy` and `log_loss_macro` of the clips are means over `seeds` trials, with `*_by_seed`, `*_sd` and from three
    seeds on the 95 % interval `*_low` to `*_high`; on real data `*_verdict` and `*_p` compare those of more than a second with the
    printed ones (`verdicts.judge`). `clips`: number of clips in the test split.
    """
    measured, rows = TABLE3_SCORES.measure(frame), []
    for system, seconds in TABLE3_PRINTED:
        trials = measured.rows[system, seconds]
        clips = int(trials["test_segments"].iloc[0]) if len(trials) else 0
        rows.append({"system": system, "seconds": seconds, **measured.numbers((system, seconds), clips=clips)})
    return pd.DataFrame(rows).set_index(["system", "seconds"])


def section(evidence: Evidence) -> Section:
    """Table 3 in the report."""
    numbers, measured = evidence.cached(table3), evidence.cached(TABLE3_SCORES.measure)
    plots = [_plot(numbers, measured.family)] if measured.family else []
    sentence = (
        "The networks were trained on one-second segments and are given longer clips unchanged. More context should help, but in the "
        "paper accuracy is best at two seconds."
    )
    return Section(
        "table-3", "Table 3", sentence, (*notes_above(measured), _table(numbers, measured, evidence), *plots)
    )


def _table(numbers: pd.DataFrame, measured: MeasuredTable[tuple[str, int]], evidence: Evidence) -> Table:
    family = measured.family
    fill = measured.commands(evidence)
    pieces = {
        row: summarise(controls(trials, evidence), ("log_loss", "accuracy")) for row, trials in measured.rows.items()
    }

    def control(measure: Measure, row: pd.Series) -> list[Cell]:
        return [measured_cell(pieces[row["system"], row["seconds"]], measure.column, measure.scale, measure.digits)]

    columns = [
        Columns[pd.Series](text_head("Clips of"), lambda row: [text_head(f"{row['seconds']} s")]),
        *(score_columns(m, measured.compared, partial(control, m), "mean of segments") for m in PRIMARY),
        MACRO_COLUMN,
        Columns[pd.Series]("Clips", lambda row: [Cell(f"{row['clips']:,}" if row["seeds"] else MISSING)]),
        seeds_column(numbers),
    ]
    groups = []
    for system, part in numbers.reset_index().groupby("system", sort=False):
        remark = missing.remark((), bool((part["seeds"] > 0).all()), fill if family else ())
        groups.append(Rows(text_head(str(system)), [row for _, row in part.iterrows()], remark))
    policy = "all" if family is None else str(family.trials["evaluate.crops"].iloc[0])
    crops = {"all": "all non-overlapping clips of a recording", "first": "the first clip of each recording"}[policy]
    notes = (
        *notes_below(measured, fill),
        Text(
            f"Clips are consecutive one-second segments of a recording, joined: {crops}. The paper does not state its policy."
        ),
        Text(
            "Mean of segments is the control: the same network's probabilities for the clip's one-second segments, averaged. Any "
            "gain beyond it comes from processing the longer clip as a whole. Scores on 1 s are judged in Table 2."
        ),
    )
    return make_table("table-3-scores", "Table 3, test clips of several durations", "System", columns, groups, notes)


def _plot(numbers: pd.DataFrame, family: Family) -> Plot:
    figure = charts.make_subplots(1, 2, horizontal_spacing=0.1)
    for column, measure in enumerate(PRIMARY, start=1):
        for system, colour, dash in zip(TABLE3, SERIES, DASHES, strict=False):
            paper = (
                {"color": colour, "dash": "dot", "width": 1},
                {**paper_marker(9), "line": {"color": colour, "width": 1.5}},
            )
            ours = {"color": colour, "dash": dash}, {"size": 8}
            for source, name, (line, marker) in (
                (f"paper_{measure.column}", "paper", paper),
                (measure.column, "measured", ours),
            ):
                values = numbers.xs(system)[source]
                figure.add_trace(
                    charts.Scatter(
                        x=[f"{d} s" for d in DURATIONS],
                        y=[None if pd.isna(v) else round(measure.scale * v, 4) for v in values],
                        name=f"{system.replace('-40', '')}{', paper' if name == 'paper' else ''}",
                        legendgroup=f"{system}{name}",
                        showlegend=column == 1,
                        mode="lines+markers",
                        line=line,
                        marker=marker,
                        hovertemplate=f"%{{x}}: %{{y:.{measure.digits}f}}<extra>{system}, {name}</extra>",
                    ),
                    *(1, column),
                )
    styled(figure, 400)
    figure.update_xaxes(title_text="Duration of the test clip", type="category")
    figure.update_yaxes(title_text="Log loss", tickformat=".2f", row=1, col=1)
    figure.update_yaxes(title_text="Accuracy, %", row=1, col=2)
    scores = scores_in_words(numbers, lambda row: f"{row[0]}, {row[1]} s:")
    label = f"Log loss and accuracy by duration of the test clip. Measured: {scores or 'nothing yet'}."
    caption = (
        f"{family.caveat}Dots are means over seeds; colour and dashes mark the system; dotted lines and open diamonds are the "
        "paper's."
    )
    return Plot("plot-table-3", label, figure, caption)
