"""Errors of one system: accuracy by scene and device, confusions of scenes, calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.predictions import Predictions
from analysis.page import charts
from analysis.page.elements import Cell, Plot, Section, Table, Text, number_heads, simple_table, text_head, two_row_head
from analysis.page.formats import percent, plural
from analysis.page.style import BLUE, INK, PAPER, styled
from analysis.paper.table2 import TABLE2_SCORES
from analysis.paper.table4 import TABLE4_SCORES
from analysis.published import NO_FINETUNING, TABLE2
from analysis.statistics import Interval
from analysis.studies.calibration import CONFIDENCE_BINS, calibration, calibration_interval
from asc_sweeps.data.labels import DEVICES, SCENES, SEEN_DEVICES, UNSEEN_DEVICES

PREFERRED_DROP_RATE = 0.90
"""The paper's best log loss (Table 4); the system is never chosen by its test scores."""
SHORT_NAMES = [s.replace("street_pedestrian", "pedestrian").replace("street_traffic", "traffic") for s in SCENES]


@dataclass(frozen=True)
class AnalysedSystem:
    """The system whose errors are shown."""

    name: str
    generated: bool
    predictions: Sequence[Predictions]
    """Of each seed."""

    @property
    def description(self) -> str:
        """The first sentence of a caption."""
        caveat = "Generated data. " if self.generated else ""
        return f"{caveat}{self.name}, {plural(len(self.predictions), 'seed')}, test split."


def analysed_system(evidence: Evidence) -> AnalysedSystem | None:
    """Table 4's row of drop rate 0.90, else its next lower one, else Table 2's last; None without stored predictions."""
    table4, table2 = evidence.cached(TABLE4_SCORES.measure).family, evidence.cached(TABLE2_SCORES.measure).family
    candidates = []
    if table4:
        rates = sorted({float(r) for r in table4.trials["row"]}, key=lambda r: (r > PREFERRED_DROP_RATE, -r))
        names = {rate: "no fine-tuning" if rate == NO_FINETUNING else f"drop rate {rate:.2f}" for rate in rates}
        candidates += [(table4, rate, name) for rate, name in names.items()]
    if table2:
        candidates += [(table2, i, TABLE2[i].system) for i in reversed(range(len(TABLE2)))]
    for family, row, name in candidates:
        trials = family.trials[family.trials["row"] == row]
        predictions = [p for signature in trials["signature"] if (p := evidence.predictions(signature))]
        if predictions:
            system = trials["system"].iloc[0]
            return AnalysedSystem(f"{system}, {name}" if name != system else name, family.generated, predictions)
    return None


def confusion(predictions: Sequence[Predictions]) -> pd.DataFrame:
    """Fractions of each true scene's segments (rows) predicted as each scene (columns), over all seeds; NaN without segments."""
    counts = np.zeros((len(SCENES), len(SCENES)))
    for p in predictions:
        np.add.at(counts, (p.scenes, p.log_probability.argmax(axis=1)), 1)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame(shares, index=list(SCENES), columns=list(SCENES))


def scenes_by_devices(predictions: Sequence[Predictions]) -> pd.DataFrame:
    """Accuracy (0..1) of each scene (rows) on each device, over all seeds; NaN without segments."""
    rows = pd.concat(
        pd.DataFrame({"scene": np.array(SCENES)[p.scenes], "device": p.devices, "right": p.correct})
        for p in predictions
    )
    means = rows.pivot_table(index="scene", columns="device", values="right", aggfunc="mean")
    return means.reindex(index=list(SCENES), columns=list(DEVICES))


@dataclass(frozen=True)
class CalibrationSummary:
    """Calibration of a system, means over its seeds."""

    bins: list[tuple[float, float, float]]
    """Confidence, accuracy and number of segments, for bins that are not empty for any seed."""
    bias: float
    """Confidence minus accuracy; positive values are overconfident."""
    error: Interval
    """Expected calibration error, with its 95 % interval over places."""
    chance: float
    """The error that a perfectly calibrated network would show on these places."""

    @property
    def error_text(self) -> str:
        """The error in percentage points with its interval."""
        mean, low, high = percent(self.error.mean), percent(self.error.low), percent(self.error.high)
        interval = "" if np.isnan(self.error.low) else f" (interval over places, about 95 %: {low} to {high})"
        return f"{mean} points{interval}"


def summarise_calibration(predictions: Sequence[Predictions]) -> CalibrationSummary:
    """Calibration of each seed, then averaged, so that opposite errors of two seeds do not cancel."""
    seeds = [calibration(p.log_probability, p.scenes, p.places) for p in predictions]
    means = np.mean([[seed.confidence, seed.accuracy, seed.segments] for seed in seeds], axis=0).T
    bins = [(float(c), float(a), float(n)) for c, a, n in means if not np.isnan(c)]
    return CalibrationSummary(bins, float(np.mean([seed.bias for seed in seeds])), *calibration_interval(seeds))


def section(evidence: Evidence) -> Section:
    """Confusions, accuracy by scene and device, and calibration in the report."""
    system = analysed_system(evidence)
    sentence = "Which scenes are confused with which, on which devices, and whether confidence matches accuracy."
    if system is None:
        none = Text("No trial of Table 2 or Table 4 has stored predictions yet.")
        return Section("errors", "Error analysis", sentence, (none,))
    description, predictions = system.description, system.predictions
    shares, summary = confusion(predictions), summarise_calibration(predictions)
    blocks = (
        _devices_table(scenes_by_devices(predictions), description),
        _confusion_table(shares, description),
        _confusion_plot(shares, description),
        _calibration_table(summary, description),
        _calibration_plot(summary, description),
    )
    return Section("errors", "Error analysis", sentence, blocks)


def _devices_table(accuracy: pd.DataFrame, description: str) -> Table:
    groups = {"seen": SEEN_DEVICES, "unseen": UNSEEN_DEVICES}
    means = {name: accuracy[list(devices)].mean(axis=1, skipna=False) for name, devices in groups.items()}
    top = [("Seen devices", len(SEEN_DEVICES)), ("Unseen devices", len(UNSEEN_DEVICES)), ("Mean", 2)]
    head = two_row_head((text_head("Scene"), 1), *top, below=number_heads(*map(str.upper, DEVICES), *means))
    caption = "Accuracy by scene and device, %"
    return _scenes_table("errors-devices", caption, head, accuracy.assign(**means), description)


def _confusion_table(shares: pd.DataFrame, description: str) -> Table:
    top = ("predicted, % of the true scene's segments", len(SCENES))
    head = two_row_head((text_head("True scene"), 1), top, below=number_heads(*SHORT_NAMES))
    return _scenes_table("errors-confusion", "Confusion matrix", head, shares, description)


def _scenes_table(key: str, caption: str, head: list[list[Cell]], shares: pd.DataFrame, description: str) -> Table:
    groups = [[[text_head(str(scene)), *(Cell(percent(v)) for v in row)]] for scene, row in shares.iterrows()]
    return Table(key, caption, head, groups, (Text(description),))


def _confusion_plot(shares: pd.DataFrame, description: str) -> Plot:
    percentages = [[None if np.isnan(v) else round(v, 1) for v in row] for row in 100 * shares.to_numpy()]
    figure = charts.Figure()
    figure.add_heatmap(
        z=percentages, x=SHORT_NAMES, y=SHORT_NAMES, zmin=0, zmax=100, colorscale="Cividis",
        texttemplate="%{z:.0f}", textfont={"size": 11},
        colorbar={"title": {"text": "%"}, "thickness": 12, "outlinewidth": 0},
        hovertemplate="%{y} predicted as %{x}: %{z:.1f} %<extra></extra>",
    )  # fmt: skip
    styled(figure, 460, x="Predicted scene", y="True scene").update_yaxes(autorange="reversed")
    figure.update_xaxes(tickvals=SHORT_NAMES, ticktext=[name.replace("_", "<br>") for name in SHORT_NAMES])
    cells = np.ndenumerate(shares.to_numpy())
    wrong = [(share, SCENES[i], SCENES[j]) for (i, j), share in cells if i != j and share > 0]
    worst = [f"{true} as {said} {percent(share)} %" for share, true, said in sorted(wrong, key=lambda w: -w[0])[:3]]
    most = f"Most frequent: {'; '.join(worst) or 'none'}."
    caption = f"{description} Cells: percentage of a true scene's segments (row) predicted as the column's scene."
    return Plot("plot-confusion", f"Confusion matrix. {most}", figure, f"{caption} {most}")


def _calibration_table(summary: CalibrationSummary, description: str) -> Table:
    rows = [[percent(confidence), percent(accuracy), f"{count:,.0f}"] for confidence, accuracy, count in summary.bins]
    chance = f"A perfectly calibrated network would show {percent(summary.chance)} points on these places."
    if np.isnan(summary.chance):
        chance = "There is no interval, because that takes seeds tested at the same places, at least two."
    note = (
        f"{description} Expected calibration error with {CONFIDENCE_BINS} bins of confidence, mean over seeds: "
        f"{summary.error_text}. {chance} Rows are means over seeds; bins that are empty for some seed are left out."
    )
    titles = ["Confidence, %", "Accuracy, %", "Segments"]
    return simple_table("errors-calibration", "Calibration: accuracy by confidence", titles, rows, note)


def _calibration_plot(summary: CalibrationSummary, description: str) -> Plot:
    confidence, accuracy, counts = zip(*summary.bins, strict=True) if summary.bins else ((), (), ())
    figure = charts.Figure()
    figure.add_scatter(
        x=[0, 100], y=[0, 100], mode="lines", name="perfectly calibrated", hoverinfo="skip",
        line={"color": PAPER, "dash": "dot", "width": 1.5},
    )  # fmt: skip
    figure.add_scatter(
        x=[round(100 * value, 2) for value in confidence], y=[round(100 * value, 2) for value in accuracy],
        text=[f"{count:,.0f} segments" for count in counts], mode="lines+markers", name="measured",
        line={"color": BLUE, "width": 2}, marker={"size": 9, "line": {"width": 1, "color": INK}},
        hovertemplate="confidence %{x:.1f} %, accuracy %{y:.1f} %<br>%{text}<extra></extra>",
    )  # fmt: skip
    styled(figure, 360, x="Confidence, %", y="Accuracy, %")
    figure.update_xaxes(range=[0, 102]).update_yaxes(range=[0, 102])
    side = "overconfident" if summary.bias > 0 else "underconfident"
    label = f"Accuracy by confidence. The network is {side} on average; calibration error {summary.error_text}."
    caption = f"{description} Each dot is a bin of confidence, mean over seeds. Below the dotted line the network is overconfident."
    return Plot("plot-calibration", label, figure, caption)
