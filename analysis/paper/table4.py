"""Table 4: what fine-tuning adds, device by device, as the maximum drop rate rises."""

from __future__ import annotations

from functools import partial

import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY_BY_DEVICE
from analysis.page import charts
from analysis.page.elements import (
    MISSING_CELL,
    Block,
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
from analysis.page.formats import fixed, percent, signed
from analysis.page.style import BLUE, PAPER, paper_marker, styled
from analysis.paper import missing
from analysis.paper.families import Family, best_family_with_starts, paper_systems
from analysis.paper.paper_table import MeasuredTable, PaperTable
from analysis.paper.scores import (
    Columns,
    Rows,
    log_loss_cell,
    make_table,
    measured_cell,
    notes_above,
    notes_below,
    seeds_cell,
    verdict_cell,
)
from analysis.published import NO_FINETUNING, TABLE4_PRINTED
from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES, UNSEEN_DEVICES

FULL_SYSTEM = "BC-Res2Net-40 w/ MFA & FPM"
CELLS = (*(f"accuracy_{device}" for device in DEVICES), "accuracy_seen", "accuracy_unseen", "log_loss", "accuracy")
"""Columns of the paper's table; `accuracy` is the mean over the nine devices."""
DEVICE_LOG_LOSSES = tuple(f"log_loss_{name}" for name in (*DEVICES, "seen", "unseen"))


def table4_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill Table 4: fine-tuned ones that differ in the drop rate alone, and those that they start from."""
    trials = frame[frame["plain"] & paper_systems(frame).eq(FULL_SYSTEM)]
    trials = trials.assign(row=trials["finetune.max_drop_rate"].astype(float).round(6).fillna(NO_FINETUNING))
    axes = ("finetune.max_drop_rate",)
    return best_family_with_starts(trials, axes, ("finetune.",), axes)


TABLE4_SCORES = PaperTable(
    "Table 4",
    "table4_drop_rate",
    TABLE4_PRINTED,
    table4_family,
    PRIMARY_BY_DEVICE,
    (*TABLE4_PRINTED[NO_FINETUNING], "log_loss_macro", *DEVICE_LOG_LOSSES),
    open=True,
)


def table4(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 4 by drop rate (`X`: no fine-tuning): `paper_*` printed, the rest measured, accuracies 0..1.

    Measures: `accuracy_<device>`, `accuracy_seen` and `accuracy_unseen` (means over devices), `log_loss` of the test split, and
    `accuracy`, here the mean over the nine devices as in the paper; `log_loss_*` macro, by device and by group. Means over `seeds`
    trials with `*_by_seed`, `*_sd`, and from three seeds on the 95 % interval `*_low` to `*_high`. On real data `*_verdict` and
    `*_p` of the primary outcomes compare them with the printed ones (`verdicts.judge`). Drop rates that the paper does not have
    come last.
    """
    return _numbers(TABLE4_SCORES.measure(frame))


def _numbers(measured: MeasuredTable[float]) -> pd.DataFrame:
    rows = []
    for rate, trials in measured.rows.items():
        numbers = measured.numbers(rate, trial=trials["system"].iloc[0] if len(trials) else None)
        rows.append({**numbers, "drop_rate": "X" if rate == NO_FINETUNING else f"{rate:.2f}"})
    frame = pd.DataFrame(rows).set_index("drop_rate")
    return frame.rename(columns=lambda name: name.replace("accuracy_devices", "accuracy"))


def section(evidence: Evidence) -> Section:
    """Table 4 in the report."""
    measured = evidence.cached(TABLE4_SCORES.measure)
    numbers = _numbers(measured)
    blocks: list[Block] = [*notes_above(measured), _table(numbers, measured, evidence)]
    if measured.family:
        blocks += [_log_losses(numbers, measured.family), _plot(numbers, measured.family)]
    return Section(
        "table-4",
        "Table 4",
        "Fine-tuning that drops more and more segments of device A should help the other devices, above all those "
        "unseen in training. X is the pretrained network, before fine-tuning.",
        tuple(blocks),
    )


def _table(numbers: pd.DataFrame, measured: MeasuredTable[float], evidence: Evidence) -> Table:
    family = measured.family
    fill = measured.commands(evidence)
    groups = []
    for rate, row in numbers.iterrows():
        phase = "pretraining" if rate == "X" else f"fine-tuning (drop rate {rate})"
        failures = missing.failures_of(evidence.failures, FULL_SYSTEM, phase, measured.width)
        printed = [paper_cell(_written(row[f"paper_{name}"], name)) for name in CELLS]
        scores = [measured_cell(row, name, *_unit(name)) for name in CELLS]
        seeds = seeds_cell(row["seed_numbers"], numbers["seed_numbers"])
        lines = [[text_cell("paper"), *printed, Cell("")], [text_cell("measured"), *scores, seeds]]
        if measured.compared and row.filter(like="_verdict").any():
            lines.append([text_cell("difference"), *(_difference_cell(row, name) for name in CELLS), Cell("")])
        name = text_head(str(rate), "no fine-tuning" if rate == "X" else "")
        groups.append(row_group(name, lines, missing.remark(failures, row["seeds"] > 0, fill if family else ())))
    names = number_heads(*(device.upper() for device in DEVICES), "seen", "unseen", "log loss", "acc. %")
    head = two_row_head(
        (text_head("Drop rate"), 1),
        (text_head("Source"), 1),
        ("Seen devices, accuracy %", len(SEEN_DEVICES)),
        ("Unseen devices, %", len(UNSEEN_DEVICES)),
        ("Mean, %", 2),
        ("Average", 2),
        ("Seeds", 1),
        below=names,
    )
    system = FULL_SYSTEM if family is None else family.trials["system"].iloc[0]
    caption = f"Table 4, fine-tuning of {system} by drop rate, test split"
    averages = (
        "Average accuracy is the mean over the nine devices, as in the paper; log loss is over all test segments."
    )
    return Table("table-4-scores", caption, head, groups, (*notes_below(measured, fill), Text(averages)))


def _unit(measure: str) -> tuple[int, int]:
    """What a measure is multiplied by to be shown, and its decimals."""
    return (1, 3) if measure == "log_loss" else (100, 1)


def _written(value: float, measure: str) -> str:
    scale, digits = _unit(measure)
    return fixed(scale * value, digits)


def _difference_cell(row: pd.Series, name: str) -> Cell:
    scale, digits = _unit(name)
    difference = row[name] - row[f"paper_{name}"]
    if pd.isna(difference):
        return MISSING_CELL
    text, verdict = signed(scale * difference, digits), row.get(f"{name}_verdict", "")
    return verdict_cell(verdict)._replace(text=text, small=verdict) if verdict else Cell(text)


def _log_losses(numbers: pd.DataFrame, family: Family) -> Table:
    """Log loss by device: the paper does not report it, but a device with confident errors shows here first."""
    columns = [
        Columns(title, partial(_log_loss_cells, names), heads)
        for title, names, heads in (
            ("Log loss", ["", "_macro"], ["all segments", "macro"]),
            ("Seen devices", [f"_{device}" for device in SEEN_DEVICES], [device.upper() for device in SEEN_DEVICES]),
            ("Unseen devices", [f"_{device}" for device in UNSEEN_DEVICES], [d.upper() for d in UNSEEN_DEVICES]),
            ("Mean", ["_seen", "_unseen"], ["seen", "unseen"]),
        )
    ]
    rows = numbers[numbers["seeds"] > 0].iterrows()
    groups = [Rows(text_head(str(rate)), [row]) for rate, row in rows]
    note = (
        f"{family.caveat}Macro is the mean over scenes, by which the challenge ranks. The paper reports none of these."
    )
    return make_table("table-4-log-loss", "Table 4, log loss by device", "Drop rate", columns, groups, (Text(note),))


def _log_loss_cells(names: list[str], row: pd.Series) -> list[Cell]:
    return [log_loss_cell(row, f"log_loss{name}") for name in names]


def _plot(numbers: pd.DataFrame, family: Family) -> Plot:
    panels = {"accuracy_seen": "Seen devices, %", "accuracy_unseen": "Unseen devices, %", "log_loss": "Log loss"}
    figure = charts.make_subplots(1, 3, horizontal_spacing=0.08)
    for column, (measure, title) in enumerate(panels.items(), start=1):
        scale, digits = _unit(measure)
        bars = {"array": (scale * numbers[f"{measure}_half"]).fillna(0).tolist(), "thickness": 1, "width": 4}
        for name, source, error_y, line, marker in (
            ("paper", f"paper_{measure}", None, {"color": PAPER, "dash": "dot", "width": 1.5}, paper_marker(10)),
            ("measured", measure, bars, {"color": BLUE, "width": 2}, {"size": 9}),
        ):
            figure.add_trace(
                charts.Scatter(
                    x=list(numbers.index),
                    y=[None if pd.isna(v) else scale * v for v in numbers[source]],
                    error_y=error_y,
                    name=name,
                    legendgroup=name,
                    showlegend=column == 1,
                    mode="lines+markers",
                    hovertemplate=f"drop rate %{{x}}: %{{y:.{digits}f}}<extra>{name}</extra>",
                    line=line,
                    marker=marker,
                ),
                *(1, column),
            )
        figure.update_yaxes(title_text=title, row=1, col=column)
    styled(figure, 360)
    figure.update_xaxes(title_text="Maximum drop rate", type="category")
    accuracies = [numbers[[name, f"paper_{name}"]] for name in ("accuracy_seen", "accuracy_unseen")]
    for column, limits in enumerate(_same_span(accuracies), start=1):
        figure.update_yaxes(range=limits, row=1, col=column)
    figure.update_yaxes(tickformat=".2f", row=1, col=3)
    done = numbers[numbers["seeds"] > 0]
    means = "; ".join(
        f"{r}: {percent(n['accuracy_seen'])} and {percent(n['accuracy_unseen'])}" for r, n in done.iterrows()
    )
    label = (
        f"Mean accuracy on seen and unseen devices, and log loss, by drop rate. Measured on seen and unseen: {means}."
    )
    caption = (
        f"{family.caveat}Dots are means over seeds, bars 95 % t intervals from three seeds on; dotted lines and diamonds are "
        "the paper's. Both accuracy panels span the same range."
    )
    return Plot("plot-table-4", label, figure, caption)


def _same_span(panels: list[pd.DataFrame]) -> list[tuple[float, float]]:
    """Axis limits in percent that show each panel whole and span the same range in all."""
    ends = [(100 * panel.min().min(), 100 * panel.max().max()) for panel in panels]
    half = 0.6 * max(high - low for low, high in ends) + 0.5
    return [((low + high) / 2 - half, (low + high) / 2 + half) for low, high in ends]
