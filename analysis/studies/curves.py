"""Training curves: loss by epoch of each system, and of each drop rate with its schedule."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from analysis.evidence.loading import Evidence
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
    text_cell,
    text_head,
)
from analysis.page.formats import fixed
from analysis.page.style import BLUE, DASHES, GRID, SERIES, VERMILLION, escaped, styled
from analysis.paper.figure3 import figure3_family
from analysis.paper.table2 import table2_family
from analysis.paper.table4 import table4_family

MOST_PANELS = 16
MOST_EPOCHS = 60
"""Points of a line; of more epochs an even choice is drawn."""
COLUMNS = 4
SERIES_OF_LOSS = (
    ("train_loss", "training loss", BLUE, "solid"),
    ("validation_log_loss", "validation log loss", VERMILLION, "dash"),
)


def section(evidence: Evidence) -> Section:
    """Training curves in the report."""
    sentence = "How the loss fell, epoch by epoch; one line a seed. Training loss is measured on augmented segments."
    before, after = _pretraining(evidence), _finetuning(evidence)
    made = (pretraining(evidence, before), pretraining_table(before), finetuning(after), finetuning_table(after))
    blocks: list[Block] = [block for block in made if block]
    if not blocks:
        blocks.append(Text("No trial has a training history yet."))
    return Section("curves", "Training curves", sentence, tuple(blocks))


def _pretraining(evidence: Evidence) -> pd.DataFrame:
    """Epochs of the trials of Table 2 and Figure 3."""
    families = [family.trials for family in (evidence.cached(table2_family), evidence.cached(figure3_family)) if family]
    return evidence.curves(signature for trials in families for signature in trials["signature"])


def pretraining(evidence: Evidence, curves: pd.DataFrame) -> Plot | None:
    """A panel for each system of Table 2 and Figure 3, at most MOST_PANELS."""
    trials = evidence.frame[evidence.frame["signature"].isin(curves["signature"])]
    order = trials.sort_values(["model.mfa", "model.fpm", "model.block", "model.width"])["system"].unique()
    trained = set(curves["system"])
    systems = [system for system in order if system in trained]
    drawn = systems[:MOST_PANELS]
    if not drawn:
        return None
    lines = -(-len(drawn) // COLUMNS)
    columns = min(COLUMNS, len(drawn))
    figure = charts.make_subplots(
        *(lines, columns),
        shared_yaxes=True,
        subplot_titles=[escaped(s) for s in drawn],
        horizontal_spacing=0.04,
        vertical_spacing=0.3 / lines,
    )
    legend = set()
    for panel, system in enumerate(drawn):
        place = (panel // columns + 1, panel % columns + 1)
        for _, epochs in curves[curves["system"] == system].groupby("signature"):
            for column, name, colour, dash in SERIES_OF_LOSS:
                if epochs[column].notna().any():
                    look = {"color": colour, "dash": dash, "width": 1.5}
                    figure.add_trace(_line(epochs, column, name, look, name not in legend), *place)
                    legend.add(name)
        figure.update_xaxes(title_text="Epoch" if place[0] == lines else None, row=place[0], col=place[1])
    styled(figure, 120 + 180 * lines)
    figure.update_xaxes(dtick=_step(curves))
    figure.update_yaxes(title_text="Loss", col=1)
    figure.update_annotations(font_size=11)  # the panels' titles, four beside each other on a page
    figure.update_layout(legend_y=-60 / (60 + 180 * lines))
    left = f"; not drawn: {', '.join(systems[MOST_PANELS:])}" if len(systems) > MOST_PANELS else ""
    return Plot(
        "plot-pretraining",
        f"Loss by epoch of pretraining: {', '.join(drawn)}.",
        figure,
        f"Pretraining of the trials in Table 2 and Figure 3{left}. A panel is a system, a line one seed.",
    )


def pretraining_table(curves: pd.DataFrame) -> Table | None:
    """Loss of each system of Table 2 and Figure 3 at some epochs, means over seeds."""
    if curves.empty:
        return None
    measures = {"train_loss": "training", "validation_log_loss": "validation"}
    return _table("curves-pretraining", "Loss by epoch of pretraining, means over seeds", curves, "system", measures)


def finetuning_table(curves: pd.DataFrame) -> Table | None:
    """Training loss and drop rate of each of Table 4's fine-tunings at some epochs, means over seeds."""
    if curves.empty:
        return None
    curves = curves.assign(rate=curves["finetune.max_drop_rate"].map("{:.2f}".format))
    measures = {"train_loss": "training loss", "drop_rate": "drop rate"}
    return _table("curves-finetuning", "Fine-tuning by epoch, means over seeds", curves, "rate", measures)


def _table(key: str, caption: str, curves: pd.DataFrame, by: str, measures: Mapping[str, str]) -> Table:
    last = int(curves["step"].max())
    steps = sorted({1, *(max(1, round(last * part / 5)) for part in range(1, 6))})
    groups = []
    for name, its in curves.groupby(by, sort=True):
        means = its.groupby("step")[list(measures)].mean()
        lines = []
        for measure, word in measures.items():
            values = [means[measure].get(step, float("nan")) for step in steps]
            lines.append([text_cell(word), *(Cell(fixed(value, 3)) for value in values)])
        groups.append(row_group(text_head(str(name)), lines))
    titles = {"system": "System", "rate": "Largest drop rate"}
    head = number_heads(text_head(titles[by]), text_head("Measure"), *(f"Epoch {step}" for step in steps))
    return Table(key, caption, [head], groups)


def _finetuning(evidence: Evidence) -> pd.DataFrame:
    """Epochs of Table 4's fine-tuned trials, with their drop rate."""
    family = evidence.cached(table4_family)
    trials = evidence.frame.iloc[:0] if family is None else family.trials[family.trials["finetuned"]]
    return evidence.curves(trials["signature"]).merge(trials[["signature", "finetune.max_drop_rate"]], on="signature")


def finetuning(curves: pd.DataFrame) -> Plot | None:
    """Loss by epoch of Table 4's fine-tuned trials, with the drop rate below it."""
    if curves.empty:
        return None
    figure = charts.make_subplots(2, 1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.06)
    rates = sorted(curves["finetune.max_drop_rate"].unique())
    for position, rate in enumerate(rates):
        colour, dash = SERIES[position % len(SERIES)], DASHES[position % len(DASHES)]
        look, name = {"color": colour, "dash": dash, "width": 1.5}, f"drop rate up to {rate:.2f}"
        of_rate = curves[curves["finetune.max_drop_rate"] == rate]
        for number, (_, epochs) in enumerate(of_rate.groupby("signature")):
            figure.add_trace(_line(epochs, "train_loss", name, look, number == 0), 1, 1)
            if number == 0:  # the schedule is a setting: the same for every seed
                figure.add_trace(_line(epochs, "drop_rate", name, look, False), 2, 1)
    whole = curves.loc[curves["phase"] == "finetune", "step"].min()
    styled(figure, 440)
    if whole > 1:
        note = {"annotation_text": "whole network", "annotation_position": "top right"}
        figure.add_vline(whole - 0.5, line={"color": GRID, "width": 2}, row=1, col=1, **note)
        figure.add_vline(whole - 0.5, line={"color": GRID, "width": 2}, row=2, col=1)
    figure.update_xaxes(dtick=_step(curves))
    figure.update_xaxes(title_text="Epoch", row=2, col=1)
    figure.update_yaxes(title_text="Training loss", row=1, col=1)
    figure.update_yaxes(title_text="Drop rate", range=[-0.05, 1.05], row=2, col=1)
    caption = (
        "Fine-tuning of Table 4: the new classifier alone, then (from the vertical line on) the whole network while the drop rate "
        "rises. A line is one seed; below, the drop rate's schedule."
    )
    label = f"Training loss and drop rate by epoch of fine-tuning, up to {', '.join(f'{rate:.2f}' for rate in rates)}."
    return Plot("plot-finetuning", label, figure, caption)


def _step(curves: pd.DataFrame) -> int | None:
    """Distance of an axis's ticks where plotly's own choice would cut epochs in parts."""
    return 1 if curves["step"].max() <= 10 else None


def _line(epochs: pd.DataFrame, y: str, name: str, look: dict[str, object], legend: bool) -> charts.Scatter:
    thin = -(-len(epochs) // MOST_EPOCHS)
    epochs = epochs.iloc[(len(epochs) - 1) % thin :: thin]  # the last one is among them
    first = epochs.iloc[0]
    who = f"{escaped(first['signature'])} (seed {first['seed']})"
    return charts.Scatter(
        x0=int(first["step"]),
        dx=thin,
        y=[None if pd.isna(v) else round(v, 3) for v in epochs[y]],
        name=name,
        legendgroup=name,
        showlegend=legend,
        mode="lines" if len(epochs) > 1 else "markers",
        line=look,
        hovertemplate=f"{name}, epoch %{{x}}: %{{y:.3f}}<br>{who}<extra></extra>",
    )
