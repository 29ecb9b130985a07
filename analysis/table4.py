"""Table 4: what fine-tuning adds, device by device, as the largest drop rate rises."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from analysis import missing
from analysis.blocks import Cell, Plot, Section, Table, heads, paper, row_head, words
from analysis.evidence import Evidence
from analysis.families import Family, choose, family_keys, summarise
from analysis.frames import setting_columns
from analysis.paper import DEVICES, SEEN, TABLE4, UNSEEN, DropRow
from analysis.style import BLUE, PAPER, VERMILLION, paper_marker, styled
from analysis.table2 import score_notes
from analysis.words import MISSING, fixed, percent, spread

STUDY = "table4_drop_rate"
SYSTEM = "BC-Res2Net-40 w/ MFA & FPM"
AXES = ("finetune.max_drop_rate",)
GROUPS = {"accuracy_seen": SEEN, "accuracy_unseen": UNSEEN}
MEASURES = (*(f"accuracy_{device}" for device in DEVICES), *GROUPS, "log_loss", "accuracy")
NO_FINETUNING = -1.0
"""Row value of the trials that fine-tuning starts from."""


def table4_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill Table 4: fine-tuned ones that differ in the drop rate alone, and what they start from."""
    of_system = frame["model.block"].eq("bcres2net") & frame["model.mfa"] & frame["model.fpm"] & frame["model.stem_attention"]
    trials = frame[of_system]
    trials = trials.assign(row=trials["finetune.max_drop_rate"].astype(float).round(6).fillna(NO_FINETUNING))
    phase = [c for c in setting_columns(frame) if c.startswith("finetune.")]
    base = family_keys(trials, phase)
    starts = dict(list(trials[~trials["finetuned"]].groupby(base)))
    groups, started = [], set()
    for (key, _), tuned in trials[trials["finetuned"]].groupby([base, family_keys(trials, AXES)]):
        groups.append(pd.concat([starts.get(key, trials.iloc[:0]), tuned]))
        started.add(key)
    groups += [group for key, group in starts.items() if key not in started]
    return choose(groups, AXES)


def table4(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 4 by drop rate (`X` is no fine-tuning): `paper_*` printed, the rest measured, accuracies 0..1.

    Measures: `accuracy_<device>`, `accuracy_seen` and `accuracy_unseen` (means over devices), `log_loss` and `accuracy`
    of the test split; means over `seeds` trials with `*_sd`. Drop rates that the paper lacks come last.
    """
    family = table4_family(frame)
    trials = frame.iloc[:0].assign(row=[]) if family is None else family.trials
    printed = {_value(row): row for row in TABLE4}
    rows = []
    for value in [*printed, *sorted(set(trials["row"]) - set(printed))]:
        these = trials[trials["row"] == value]
        rows.append(
            {
                **{f"paper_{name}": number for name, number in _printed(printed.get(value)).items()},
                **summarise(these, MEASURES),
                "seeds": len(these),
                "trial": these["system"].iloc[0] if len(these) else None,
                "signatures": ", ".join(sorted(these["signature"])),
                "drop_rate": "X" if value == NO_FINETUNING else f"{value:.2f}",
            }
        )
    return pd.DataFrame(rows).set_index("drop_rate")


def _value(row: DropRow) -> float:
    return NO_FINETUNING if row.max_drop_rate is None else row.max_drop_rate


def _printed(row: DropRow | None) -> dict[str, float]:
    if row is None:
        return dict.fromkeys(MEASURES, float("nan"))
    devices = {f"accuracy_{device}": accuracy for device, accuracy in row.devices.items()}
    means = {name: row.mean(group) for name, group in GROUPS.items()}
    return devices | means | {"log_loss": row.log_loss, "accuracy": row.accuracy}


def section(evidence: Evidence) -> Section:
    """Table 4 in the report."""
    numbers, family = table4(evidence.frame), table4_family(evidence.frame)
    blocks: list[Table | Plot] = [_table(numbers, family, evidence)]
    if family:
        blocks.append(_plot(numbers, family))
    return Section(
        "table-4",
        "Table 4",
        "Fine-tuning that drops more and more segments of device A should help the other devices, above all those "
        "that training never heard. X is the pretrained network, before fine-tuning.",
        tuple(blocks),
    )


def _table(numbers: pd.DataFrame, family: Family | None, evidence: Evidence) -> Table:
    fill = missing.commands(STUDY, family)
    groups = []
    for rate, row in numbers.iterrows():
        phase = "pretraining" if rate == "X" else f"fine-tuning (drop rate {rate})"
        failures = missing.failures_of(evidence.failures, SYSTEM, phase, family)
        done = row["seeds"] > 0
        printed, measured = [words("paper")], [words("measured")]
        for name in MEASURES:
            digits, scale = (3, 1) if name == "log_loss" else (1, 100)
            printed.append(paper(fixed(scale * row[f"paper_{name}"], digits)))
            measured.append(Cell(fixed(scale * row[name], digits), small=spread(scale * row[f"{name}_sd"], digits)))
        measured += [Cell(str(row["seeds"]) if done else MISSING), missing.remark(failures, done, fill)]
        small = "no fine-tuning" if rate == "X" else ""
        groups.append([[row_head(str(rate), small, rows=2), *printed, words(""), words("")], measured])
    top = [Cell("Drop rate", "text", head=True, rows=2), Cell("Source", "text", head=True, rows=2)]
    spans = (("Seen devices, accuracy %", len(SEEN)), ("Unseen devices, accuracy %", len(UNSEEN)))
    spans += (("Mean of devices, %", 2), ("Average", 2))
    top += [Cell(name, "text", head=True, columns=columns) for name, columns in spans]
    top += [Cell("Seeds", "text", head=True, rows=2), Cell("Remark", "text", head=True, rows=2)]
    names = [device.upper() for device in DEVICES]
    head = [top, heads(*names, "seen", "unseen", "log loss", "accuracy %")]
    system = "" if family is None else f", {family.trials['system'].iloc[0]}"
    averages = "The paper's averages are means over the nine devices; measured ones are over all test segments."
    notes = (*score_notes(family), averages)
    return Table("table-4-scores", f"Table 4, fine-tuning by drop rate{system}", head, groups, notes)


def _plot(numbers: pd.DataFrame, family: Family) -> Plot:
    figure = make_subplots(1, 2, horizontal_spacing=0.1)
    lines = (
        (1, "accuracy_seen", "seen devices", VERMILLION, "square"),
        (1, "accuracy_unseen", "unseen devices", BLUE, "circle"),
        (2, "log_loss", "all devices", BLUE, "circle"),
    )
    rates = ["X" if rate == "X" else str(rate) for rate in numbers.index]
    for column, measure, group, colour, symbol in lines:
        scale, digits = (1, 3) if measure == "log_loss" else (100, 1)
        printed = {"mode": "lines+markers", "line": {"color": PAPER, "dash": "dot", "width": 1.5}}
        printed["marker"] = {**paper_marker(10), "symbol": f"{'square' if symbol == 'square' else 'diamond'}-open"}
        drawn = {"mode": "lines+markers", "line": {"color": colour, "width": 2}, "marker": {"size": 9, "symbol": symbol}}
        drawn["error_y"] = {"array": (scale * numbers[f"{measure}_sd"]).fillna(0).tolist(), "thickness": 1, "width": 4}
        for source, name, looks in ((f"paper_{measure}", f"paper, {group}", printed), (measure, f"measured, {group}", drawn)):
            figure.add_trace(
                go.Scatter(
                    x=rates,
                    y=[None if pd.isna(v) else scale * v for v in numbers[source]],
                    name=name,
                    showlegend=column == 1,
                    hovertemplate=f"drop rate %{{x}}: %{{y:.{digits}f}}<extra>{name}</extra>",
                    **looks,
                ),
                *(1, column),
            )
    styled(figure, 380)
    figure.update_xaxes(title_text="Largest drop rate (X: no fine-tuning)", type="category")
    figure.update_yaxes(title_text="Mean accuracy of devices, %", col=1)
    figure.update_yaxes(title_text="Log loss, all devices", col=2)
    done = numbers[numbers["seeds"] > 0]
    found = "; ".join(f"{r}: {percent(n['accuracy_seen'])} and {percent(n['accuracy_unseen'])}" for r, n in done.iterrows())
    label = f"Mean accuracy of seen and unseen devices, and log loss, by drop rate. Measured seen and unseen: {found}."
    caption = "Filled marks are measured, bars ± one standard deviation over seeds; open grey marks are the paper's."
    return Plot("plot-table-4", label, figure, caption)
