"""Table 4: what fine-tuning adds, device by device, as the largest drop rate rises."""

from __future__ import annotations

import pandas as pd

from analysis.evidence.frames import setting_columns
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
from analysis.paper.families import Family, choose, family_keys, summarise
from analysis.paper.scores import explained, measured_cell, score_notes, seeds_cell, verdict_cell, verdict_columns
from analysis.paper.verdicts import Judged, judge_rows
from analysis.published import TABLE4, DropRow
from asc_sweeps.data.labels import DEVICES, SEEN_DEVICES, UNSEEN_DEVICES

STUDY = "table4_drop_rate"
SYSTEM = "BC-Res2Net-40 w/ MFA & FPM"
AXES = ("finetune.max_drop_rate",)
GROUPS = {"accuracy_seen": SEEN_DEVICES, "accuracy_unseen": UNSEEN_DEVICES}
MEASURES = (*(f"accuracy_{device}" for device in DEVICES), *GROUPS, "log_loss", "accuracy")
JUDGED = ("log_loss", "accuracy", "accuracy_unseen")
"""Primary outcomes; all other cells are functions of devices' cells, or too many to say something of each."""
LOG_LOSSES = ("log_loss", "log_loss_macro", *(f"log_loss_{name}" for name in (*DEVICES, "seen", "unseen")))
NO_FINETUNING = -1.0
"""Row value of the trials that fine-tuning starts from."""


def table4_family(frame: pd.DataFrame) -> Family | None:
    """The trials that fill Table 4: fine-tuned ones that differ in the drop rate alone, and what they start from."""
    of_system = frame["plain"] & (
        frame["model.block"].eq("bcres2net") & frame["model.mfa"] & frame["model.fpm"] & frame["model.stem_attention"]
    )
    trials = frame[of_system]
    trials = trials.assign(row=trials["finetune.max_drop_rate"].astype(float).round(6).fillna(NO_FINETUNING))
    phase = [c for c in setting_columns(frame) if c.startswith("finetune.")]
    base = family_keys(trials, phase)
    tuned = trials[trials["finetuned"]]
    keys = base[tuned.index] + family_keys(tuned, AXES)
    # A start belongs to every family that is tuned from it, or is one by itself.
    families = pd.DataFrame({"start": base[tuned.index], "key": keys}).drop_duplicates()
    starts = base[trials.index[~trials["finetuned"]]].rename("start").to_frame().rename_axis("trial").reset_index()
    joined = starts.merge(families, on="start", how="left")
    joined["key"] = joined["key"].fillna(joined["start"])
    together = pd.concat([trials.loc[joined["trial"]], tuned], ignore_index=True)
    return choose(together, pd.concat([joined["key"], keys], ignore_index=True), AXES)


def table4_rows(frame: pd.DataFrame) -> dict[float, pd.DataFrame]:
    """Its trials by drop rate, the paper's first; `accuracy` in them is the mean over devices, as the paper's average is."""
    family = table4_family(frame)
    trials = frame.iloc[:0].assign(row=[]) if family is None else family.trials
    trials = trials.assign(accuracy=trials["accuracy_devices"])
    printed = [_value(row) for row in TABLE4]
    return {v: trials[trials["row"] == v] for v in (*printed, *sorted(set(trials["row"]) - set(printed)))}


def table4_judged(frame: pd.DataFrame) -> Judged:
    """Verdicts on log loss, mean accuracy and that of unseen devices."""
    family = table4_family(frame)
    rows = table4_rows(frame) if family and not family.generated else {}
    printed = {_value(row): row for row in TABLE4}
    return judge_rows(rows, {value: _printed(printed.get(value)) for value in rows}, JUDGED)


def table4(frame: pd.DataFrame) -> pd.DataFrame:
    """Table 4 by drop rate (`X` is no fine-tuning): `paper_*` printed, the rest measured, accuracies 0..1.

    Measures: `accuracy_<device>`, `accuracy_seen` and `accuracy_unseen` (means over devices), `log_loss` of the test split, and
    `accuracy`, here the mean over the nine devices, as the paper's average is; `log_loss_*` macro, by device and by group. Means
    over `seeds` trials with `*_by_seed`, `*_sd`, and from three seeds on the 95 % interval `*_low` to `*_high`. On real data
    `*_verdict` and `*_p` of the primary outcomes (JUDGED) compare them with the printed ones (`verdicts.judge`). Drop rates that
    the paper lacks come last.
    """
    printed, judged = {_value(row): row for row in TABLE4}, table4_judged(frame)
    rows = []
    for value, these in table4_rows(frame).items():
        rows.append(
            {
                **{f"paper_{name}": number for name, number in _printed(printed.get(value)).items()},
                **summarise(these, (*MEASURES, *LOG_LOSSES[1:])),
                **verdict_columns(judged, value, JUDGED),
                "seeds": len(these),
                "seed_numbers": tuple(sorted(these["seed"])),
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
    numbers, family = evidence.cached(table4), evidence.cached(table4_family)
    blocks: list[Block] = [
        *explained(evidence.cached(table4_judged), PRIMARY_BY_DEVICE),
        _table(numbers, family, evidence),
    ]
    if family:
        blocks += [_log_losses(numbers, family), _plot(numbers, family)]
    return Section(
        "table-4",
        "Table 4",
        "Fine-tuning that drops more and more segments of device A should help the other devices, above all those "
        "unseen in training. X is the pretrained network, before fine-tuning.",
        tuple(blocks),
    )


def _table(numbers: pd.DataFrame, family: Family | None, evidence: Evidence) -> Table:
    fill = missing.commands(STUDY, family and family.generated, evidence)
    compare = family is not None and not family.generated
    groups = []
    for rate, row in numbers.iterrows():
        phase = "pretraining" if rate == "X" else f"fine-tuning (drop rate {rate})"
        failures = missing.failures_of(evidence.failures, SYSTEM, phase, family and family.width)
        done = row["seeds"] > 0
        printed, scores, found = [text_cell("paper")], [text_cell("measured")], [text_cell("difference")]
        for name in MEASURES:
            scale, digits = _unit(name)
            printed.append(paper_cell(fixed(scale * row[f"paper_{name}"], digits)))
            scores.append(measured_cell(row, name, scale, digits))
            if pd.isna(row[name] - row[f"paper_{name}"]):
                found.append(MISSING_CELL)
                continue
            difference = signed(scale * (row[name] - row[f"paper_{name}"]), digits)
            verdict = row[f"{name}_verdict"] if name in JUDGED else ""
            found.append(
                verdict_cell(verdict)._replace(text=difference, small=verdict) if verdict else Cell(difference)
            )
        lines = [[*printed, Cell("")], [*scores, seeds_cell(row["seed_numbers"], numbers["seed_numbers"])]]
        if done and compare and any(row[f"{name}_verdict"] for name in JUDGED):
            lines.append([*found, Cell("")])
        name = text_head(str(rate), "no fine-tuning" if rate == "X" else "")
        groups.append(row_group(name, lines, missing.remark(failures, done, fill if family else ())))
    names = number_heads(*(device.upper() for device in DEVICES), "seen", "unseen", "log loss", "acc. %")
    top = [(text_head("Drop rate"), 1), (text_head("Source"), 1), ("Seen devices, accuracy %", len(SEEN_DEVICES))]
    top += [("Unseen devices, %", len(UNSEEN_DEVICES)), ("Mean, %", 2), ("Average", 2), ("Seeds", 1)]
    system = SYSTEM if family is None else family.trials["system"].iloc[0]
    averages = "Average accuracy is the mean over the nine devices, as the paper's; log loss is over all test segments."
    return Table(
        "table-4-scores",
        f"Table 4, fine-tuning of {system} by drop rate, test split",
        two_row_head(*top, below=names),
        groups,
        (*score_notes(family, fill, [measure.column for measure in PRIMARY_BY_DEVICE]), Text(averages)),
    )


def _log_losses(numbers: pd.DataFrame, family: Family) -> Table:
    """Log loss by device: the paper prints none, but a device on which the network is surely wrong shows here first."""
    groups = []
    for rate, row in numbers[numbers["seeds"] > 0].iterrows():
        groups.append([[text_head(str(rate)), *(measured_cell(row, name, 1, 3) for name in LOG_LOSSES)]])
    names = number_heads("all segments", "macro", *(device.upper() for device in DEVICES), "seen", "unseen")
    top = [
        (text_head("Drop rate"), 1),
        ("Log loss", 2),
        ("Seen devices", len(SEEN_DEVICES)),
        ("Unseen devices", len(UNSEEN_DEVICES)),
        ("Mean", 2),
    ]
    note = (
        f"{family.caveat}Macro is the mean over scenes, by which the challenge ranks. The paper prints none of these."
    )
    return Table(
        "table-4-log-loss", "Table 4, log loss by device", two_row_head(*top, below=names), groups, (Text(note),)
    )


def _unit(measure: str) -> tuple[int, int]:
    """What a measure is multiplied by to be shown, and its decimals."""
    return (1, 3) if measure == "log_loss" else (100, 1)


def _plot(numbers: pd.DataFrame, family: Family) -> Plot:
    panels = (("accuracy_seen", "Seen devices, %"), ("accuracy_unseen", "Unseen devices, %"), ("log_loss", "Log loss"))
    figure = charts.make_subplots(1, 3, horizontal_spacing=0.08)
    looks = {
        "paper": {"line": {"color": PAPER, "dash": "dot", "width": 1.5}, "marker": paper_marker(10)},
        "measured": {"line": {"color": BLUE, "width": 2}, "marker": {"size": 9}},
    }
    for column, (measure, _) in enumerate(panels, start=1):
        scale, digits = _unit(measure)
        for name, look in looks.items():
            values = numbers[measure if name == "measured" else f"paper_{measure}"]
            bars = (scale * numbers[f"{measure}_half"]).fillna(0).tolist()
            figure.add_trace(
                charts.Scatter(
                    x=list(numbers.index),
                    y=[None if pd.isna(v) else scale * v for v in values],
                    error_y={"array": bars, "thickness": 1, "width": 4} if name == "measured" else None,
                    name=name,
                    legendgroup=name,
                    showlegend=column == 1,
                    mode="lines+markers",
                    hovertemplate=f"drop rate %{{x}}: %{{y:.{digits}f}}<extra>{name}</extra>",
                    **look,
                ),
                *(1, column),
            )
    styled(figure, 360)
    figure.update_xaxes(title_text="Largest drop rate", type="category")
    for column, (_, title) in enumerate(panels, start=1):
        figure.update_yaxes(title_text=title, row=1, col=column)
    for column, limits in enumerate(_same_span([numbers[[m, f"paper_{m}"]] for m, _ in panels[:2]]), start=1):
        figure.update_yaxes(range=limits, row=1, col=column)
    figure.update_yaxes(tickformat=".2f", row=1, col=3)
    done = numbers[numbers["seeds"] > 0]
    found = "; ".join(
        f"{r}: {percent(n['accuracy_seen'])} and {percent(n['accuracy_unseen'])}" for r, n in done.iterrows()
    )
    label = f"Mean accuracy of seen and unseen devices, and log loss, by drop rate. Measured seen and unseen: {found}."
    caption = (
        f"{family.caveat}Dots are means over seeds, bars 95 % t intervals from three seeds on; dotted lines and diamonds are "
        "the paper's. Both panels of accuracy span equally many points."
    )
    return Plot("plot-table-4", label, figure, caption)


def _same_span(panels: list[pd.DataFrame]) -> list[tuple[float, float]]:
    """Axis limits in percent that show each panel whole and make a point of accuracy equally high in all."""
    ends = [(100 * panel.min().min(), 100 * panel.max().max()) for panel in panels]
    half = 0.6 * max(high - low for low, high in ends) + 0.5
    return [((low + high) / 2 - half, (low + high) / 2 + half) for low, high in ends]
