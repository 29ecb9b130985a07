"""Table 3: test clips of 1, 2, 5 and 10 s through networks that were trained on one second."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.frames import PHASE_WORDS
from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY
from analysis.page import charts
from analysis.page.elements import (
    Block,
    Cell,
    Plot,
    Section,
    Table,
    Text,
    number_heads,
    row_group,
    text_head,
    two_row_head,
)
from analysis.page.formats import MISSING, fixed, percent
from analysis.page.style import DASHES, SERIES, paper_marker, styled
from analysis.paper import missing
from analysis.paper.clip_pieces import controls
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
from analysis.published import DURATIONS, TABLE2, TABLE3

STUDY = "table3_durations"
AXES = ("model.block", "model.mfa", "model.fpm", "evaluate.seconds")
MEASURES = ("log_loss", "accuracy")
SHOWN = (*MEASURES, "log_loss_macro")
SYSTEMS = {(row.block, row.mfa, row.fpm): row.system for row in TABLE2 if row.system in TABLE3}


def table3_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill Table 3: pretrained networks, and clips of each duration through them, cropped by one policy."""
    of_system = pd.Series([key in SYSTEMS for key in _systems(frame)], index=frame.index, dtype=bool)
    later = frame[[word for word in PHASE_WORDS if word != "evaluated"]].any(axis=1)
    trials = frame[~later & frame["model.stem_attention"] & of_system]
    clips = trials[trials["evaluated"]]
    seconds = trials[~trials["evaluated"]]
    policies = sorted(clips["evaluate.crops"].unique()) or ["all"]
    # A clip of one second is the network's own test, whatever the policy.
    parts = [*(seconds.assign(**{"evaluate.crops": policy, "evaluate.seconds": 1.0}) for policy in policies), clips]
    together = pd.concat([part for part in parts if len(part)] or [clips], ignore_index=True)
    systems = [SYSTEMS[key] for key in _systems(together)]
    lengths = together["evaluate.seconds"].astype(float)
    together["row"] = [f"{system}, {length:g} s" for system, length in zip(systems, lengths, strict=True)]
    together["paper_system"], together["length"] = systems, lengths
    return choose(together, family_keys(together, AXES), AXES)


def _systems(frame: pd.DataFrame) -> list[tuple[object, ...]]:
    return list(zip(*(frame[axis] for axis in AXES[:3]), strict=True))


def table3_rows(frame: pd.DataFrame) -> dict[tuple[str, int], pd.DataFrame]:
    """Its trials by system and seconds."""
    family = table3_family(frame)
    trials = frame.iloc[:0].assign(row=[]) if family is None else family.trials
    return {(s, d): trials[trials["row"] == f"{s}, {d:g} s"] for s in TABLE3 for d in DURATIONS}


def table3_judged(frame: pd.DataFrame) -> Judged:
    """Verdicts on the clips longer than a second, whose networks' own scores are judged in Table 2."""
    family = table3_family(frame)
    rows = {row: its for row, its in table3_rows(frame).items() if row[1] > 1}
    printed = {(s, d): dict(zip(MEASURES, TABLE3[s][d], strict=True)) for s, d in rows}
    systems = {(s, d): s for s, d in rows}
    return judge_rows(rows if family and not family.generated else {}, printed, MEASURES, systems)


def table3(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 3 by system and `seconds`: `paper_*` printed, the rest measured, accuracies 0..1.

    `log_loss`, `accuracy` and `log_loss_macro` of the clips are means over `seeds` trials, with `*_by_seed`, `*_sd` and from three
    seeds on the 95 % interval `*_low` to `*_high`; on real data `*_verdict` and `*_p` compare those of more than a second with the
    printed ones (`verdicts.judge`). `clips` is how many of the test split.
    """
    judged, rows = table3_judged(frame), []
    for (system, seconds), these in table3_rows(frame).items():
        row = (system, seconds)
        rows.append(
            {
                "system": system,
                "seconds": seconds,
                **{f"paper_{name}": number for name, number in zip(MEASURES, TABLE3[system][seconds], strict=True)},
                **summarise(these, SHOWN),
                **verdict_columns(judged, row, MEASURES),
                "seeds": len(these),
                "seed_numbers": tuple(sorted(these["seed"])),
                "clips": int(these["test_segments"].iloc[0]) if len(these) else 0,
                "signatures": ", ".join(sorted(these["signature"])),
            }
        )
    return pd.DataFrame(rows).set_index(["system", "seconds"])


def section(evidence: Evidence) -> Section:
    """Table 3 in the report."""
    numbers, family = evidence.cached(table3), evidence.cached(table3_family)
    blocks: list[Block] = [*explained(evidence.cached(table3_judged)), _table(numbers, family, evidence)]
    if family:
        blocks.append(_plot(numbers, family))
    sentence = (
        "The networks were trained on one second and are given longer clips as they are. More sound should help, but the paper's "
        "accuracies are best at two seconds."
    )
    return Section("table-3", "Table 3", sentence, tuple(blocks))


def _table(numbers: pd.DataFrame, family: Family | None, evidence: Evidence) -> Table:
    fill = missing.commands(STUDY, family and family.generated, evidence)
    compare = family is not None and not family.generated
    rows = evidence.cached(table3_rows)
    groups = []
    for system in TABLE3:
        lines = []
        for seconds in DURATIONS:
            row = numbers.loc[(system, seconds)]
            done, cells = row["seeds"] > 0, [text_head(f"{seconds} s")]
            control = summarise(controls(rows[system, seconds], evidence), MEASURES)
            for measure in PRIMARY:
                cells += score_cells(row, measure, compare)
                cells += [measured_cell(control, measure.column, measure.scale, measure.digits)]
            cells += [measured_cell(row, "log_loss_macro", 1, 3), Cell(f"{row['clips']:,}" if done else MISSING)]
            lines.append([*cells, seeds_cell(row["seed_numbers"], numbers["seed_numbers"])])
        done = (numbers.loc[system, "seeds"] > 0).all()
        groups.append(row_group(text_head(system), lines, missing.remark((), bool(done), fill if family else ())))
    names = [*score_heads(compare), *number_heads("mean of pieces")]
    top = [(text_head("System"), 1), (text_head("Clips of"), 1), ("Log loss", len(names)), ("Accuracy, %", len(names))]
    head = two_row_head(*top, ("Macro log loss", 1), ("Clips", 1), ("Seeds", 1), below=[*names, *names])
    notes = score_notes(family, fill, MEASURES, "paper_system")
    crops = "all" if family is None else str(family.trials["evaluate.crops"].iloc[0])
    policy = {"all": "all clips of a recording that do not overlap", "first": "the first clip of each recording"}[crops]
    notes += (
        Text(f"Clips are the one-second pieces of a recording joined again: {policy}. The paper names no policy."),
        Text(
            "Mean of pieces is the control: the same network's probabilities for the clip's one-second pieces, averaged. What a "
            "longer clip gains beyond it, the network gains from hearing it whole. Networks' own scores (1 s) are judged in Table 2."
        ),
    )
    return Table("table-3-scores", "Table 3, test clips of several durations", head, groups, notes)


def _plot(numbers: pd.DataFrame, family: Family) -> Plot:
    figure = charts.make_subplots(1, 2, horizontal_spacing=0.1)
    for column, (measure, scale, digits) in enumerate((("log_loss", 1, 3), ("accuracy", 100, 1)), start=1):
        for position, system in enumerate(TABLE3):
            rows, colour, dash = numbers.loc[system], SERIES[position], DASHES[position]
            for source, name in ((f"paper_{measure}", "paper"), (measure, "measured")):
                look = (
                    {"color": colour, "dash": "dot", "width": 1} if name == "paper" else {"color": colour, "dash": dash}
                )
                marker = (
                    {**paper_marker(9), "line": {"color": colour, "width": 1.5}} if name == "paper" else {"size": 8}
                )
                figure.add_trace(
                    charts.Scatter(
                        x=[f"{d} s" for d in DURATIONS],
                        y=[None if pd.isna(v) else round(scale * v, 4) for v in rows[source]],
                        name=f"{system.replace('-40', '')}{', paper' if name == 'paper' else ''}",
                        legendgroup=f"{system}{name}",
                        showlegend=column == 1,
                        mode="lines+markers",
                        line=look,
                        marker=marker,
                        hovertemplate=f"%{{x}}: %{{y:.{digits}f}}<extra>{system}, {name}</extra>",
                    ),
                    *(1, column),
                )
    styled(figure, 400)
    figure.update_xaxes(title_text="Duration of a test clip", type="category")
    figure.update_yaxes(title_text="Log loss", tickformat=".2f", row=1, col=1)
    figure.update_yaxes(title_text="Accuracy, %", row=1, col=2)
    done = numbers[numbers["seeds"] > 0]
    found = "; ".join(
        f"{s}, {d} s: {fixed(r['log_loss'], 3)}, {percent(r['accuracy'])} %" for (s, d), r in done.iterrows()
    )
    label = f"Log loss and accuracy by duration of the test clip. Measured: {found or 'nothing yet'}."
    return Plot(
        "plot-table-3",
        label,
        figure,
        f"{family.caveat}Dots are means over seeds, colour and dashes the system; dotted lines and open diamonds are the paper's.",
    )
