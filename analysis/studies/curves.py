"""Training curves: loss by epoch of each pretrained system, and of each drop rate with its schedule."""

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
    grouped_table,
    row_group,
    text_cell,
    text_head,
)
from analysis.page.formats import fixed
from analysis.page.style import BLUE, DASHES, GRID, SERIES, VERMILLION, escaped, panels, styled
from analysis.paper.figure3 import FIGURE3_SCORES
from analysis.paper.table2 import TABLE2_SCORES
from analysis.paper.table4 import TABLE4_SCORES

MAX_PANELS = 16
PANELS_PER_ROW = 4
MAX_LINE_POINTS = 60
"""Longer trainings are drawn with evenly spaced epochs."""
LOSSES = (
    ("train_loss", "training loss", {"color": BLUE, "dash": "solid", "width": 1.5}),
    ("validation_log_loss", "validation log loss", {"color": VERMILLION, "dash": "dash", "width": 1.5}),
)


def section(evidence: Evidence) -> Section:
    """Training curves in the report."""
    sentence = "Loss by epoch, one line per seed. Training loss is measured on augmented segments."
    pretrained, finetuned = _pretraining_epochs(evidence), _finetuning_epochs(evidence)
    blocks: list[Block] = []
    if len(pretrained):
        measures = {"train_loss": "training", "validation_log_loss": "validation"}
        caption = "Loss by epoch of pretraining, means over seeds"
        blocks.append(_pretraining_plot(evidence, pretrained))
        blocks.append(_table("curves-pretraining", caption, "System", pretrained, pretrained["system"], measures))
    if len(finetuned):
        measures = {"train_loss": "training loss", "drop_rate": "drop rate"}
        caption = "Fine-tuning by epoch, means over seeds"
        blocks.append(_finetuning_plot(finetuned))
        rates = finetuned["finetune.max_drop_rate"].map("{:.2f}".format)
        blocks.append(_table("curves-finetuning", caption, "Maximum drop rate", finetuned, rates, measures))
    return Section("curves", "Training curves", sentence, tuple(blocks) or (Text("No training history yet."),))


def _pretraining_epochs(evidence: Evidence) -> pd.DataFrame:
    """Epochs of the trials of Table 2 and Figure 3."""
    families = (evidence.cached(TABLE2_SCORES.measure).family, evidence.cached(FIGURE3_SCORES.measure).family)
    return evidence.curves(signature for family in families if family for signature in family.trials["signature"])


def _finetuning_epochs(evidence: Evidence) -> pd.DataFrame:
    """Epochs of Table 4's fine-tuned trials, with their maximum drop rate."""
    family = evidence.cached(TABLE4_SCORES.measure).family
    trials = evidence.frame.iloc[:0] if family is None else family.trials[family.trials["finetuned"]]
    return evidence.curves(trials["signature"]).merge(trials[["signature", "finetune.max_drop_rate"]], on="signature")


def _pretraining_plot(evidence: Evidence, epochs: pd.DataFrame) -> Plot:
    """One panel per system."""
    trials = evidence.frame[evidence.frame["signature"].isin(epochs["signature"])]
    systems = trials.sort_values(["model.mfa", "model.fpm", "model.block", "model.width"])["system"].unique().tolist()
    drawn, hidden = systems[:MAX_PANELS], systems[MAX_PANELS:]
    figure, rows, columns = panels(len(drawn), PANELS_PER_ROW, [escaped(system) for system in drawn])
    in_legend = set()
    for i, system in enumerate(drawn):
        panel = (i // columns + 1, i % columns + 1)
        for _, trial in epochs[epochs["system"] == system].groupby("signature"):
            for column, name, look in LOSSES:
                if trial[column].notna().any():
                    figure.add_trace(_line(trial, column, name, look, name not in in_legend), *panel)
                    in_legend.add(name)
        figure.update_xaxes(title_text="Epoch" if panel[0] == rows else None, row=panel[0], col=panel[1])
    styled(figure, 120 + 180 * rows)
    figure.update_xaxes(dtick=_tick_distance(epochs))
    figure.update_yaxes(title_text="Loss", col=1)
    figure.update_annotations(font_size=11)  # panel titles, four in a row
    figure.update_layout(legend_y=-60 / (60 + 180 * rows))
    label = f"Loss by epoch of pretraining: {', '.join(drawn)}."
    caption = "Pretraining of the trials in Table 2 and Figure 3. Each panel is a system, each line a seed."
    caption += f" Not drawn: {', '.join(hidden)}." if hidden else ""
    return Plot("plot-pretraining", label, figure, caption)


def _finetuning_plot(epochs: pd.DataFrame) -> Plot:
    """Training loss of each drop rate, with the drop rate's schedule below."""
    figure = charts.make_subplots(2, 1, shared_xaxes=True, row_heights=[0.65, 0.35], vertical_spacing=0.06)
    rates = sorted(epochs["finetune.max_drop_rate"].unique())
    for i, rate in enumerate(rates):
        look: dict[str, object] = {"color": SERIES[i % len(SERIES)], "dash": DASHES[i % len(DASHES)], "width": 1.5}
        name = f"drop rate up to {rate:.2f}"
        for number, (_, trial) in enumerate(epochs[epochs["finetune.max_drop_rate"] == rate].groupby("signature")):
            figure.add_trace(_line(trial, "train_loss", name, look, number == 0), 1, 1)
            if number == 0:  # the schedule is the same for all seeds
                figure.add_trace(_line(trial, "drop_rate", name, look, False), 2, 1)
    styled(figure, 440)
    first = epochs.loc[epochs["phase"] == "finetune", "step"].min()
    if first > 1:
        note = {"annotation_text": "whole network", "annotation_position": "top right"}
        for row, extra in ((1, note), (2, {})):
            figure.add_vline(first - 0.5, line={"color": GRID, "width": 2}, row=row, col=1, **extra)
    figure.update_xaxes(dtick=_tick_distance(epochs))
    figure.update_xaxes(title_text="Epoch", row=2, col=1)
    figure.update_yaxes(title_text="Training loss", row=1, col=1)
    figure.update_yaxes(title_text="Drop rate", range=[-0.05, 1.05], row=2, col=1)
    caption = (
        "Fine-tuning in Table 4: first the new classifier alone; then, from the vertical line on, the whole network while the "
        "drop rate rises. Each line is a seed; below, the schedule of the drop rate."
    )
    label = f"Training loss and drop rate by epoch of fine-tuning, up to {', '.join(f'{rate:.2f}' for rate in rates)}."
    return Plot("plot-finetuning", label, figure, caption)


def _table(
    key: str, caption: str, title: str, epochs: pd.DataFrame, by: pd.Series, measures: Mapping[str, str]
) -> Table:
    """Means over seeds at about six epochs; the values of `by` name the groups of rows."""
    last = int(epochs["step"].max())
    steps = sorted({1, *(max(1, round(last * part / 5)) for part in range(1, 6))})
    groups = []
    for name, group in epochs.groupby(by):
        means = group.groupby("step")[list(measures)].mean().reindex(steps)
        lines = [[text_cell(word), *(Cell(fixed(v, 3)) for v in means[column])] for column, word in measures.items()]
        groups.append(row_group(text_head(str(name)), lines))
    return grouped_table(key, caption, [title, "Measure", *(f"Epoch {step}" for step in steps)], groups)


def _tick_distance(epochs: pd.DataFrame) -> int | None:
    """1 for few epochs, where plotly would choose a fraction."""
    return 1 if epochs["step"].max() <= 10 else None


def _line(trial: pd.DataFrame, column: str, name: str, look: Mapping[str, object], legend: bool) -> charts.Scatter:
    every = -(-len(trial) // MAX_LINE_POINTS)
    trial = trial.iloc[(len(trial) - 1) % every :: every]  # includes the last epoch
    first = trial.iloc[0]
    seed = f"{escaped(first['signature'])} (seed {first['seed']})"
    return charts.Scatter(
        x0=int(first["step"]), dx=every, y=[None if pd.isna(value) else round(value, 3) for value in trial[column]],
        name=name, legendgroup=name, showlegend=legend, line=look, mode="lines" if len(trial) > 1 else "markers",
        hovertemplate=f"{name}, epoch %{{x}}: %{{y:.3f}}<br>{seed}<extra></extra>",
    )  # fmt: skip
