"""Where one row of the tables errs: scene by scene, device by device, and its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.predictions import Predictions
from analysis.page import charts
from analysis.page.elements import Cell, Plot, Section, Table, Text, number_heads, text_head, two_row_head
from analysis.page.formats import percent, plural
from analysis.page.style import BLUE, INK, PAPER, styled
from analysis.paper.table2 import table2_family
from analysis.paper.table4 import NO_FINETUNING, table4_family
from analysis.published import TABLE2
from analysis.statistics import Interval
from analysis.studies.calibration import BINS, Calibration, calibration, calibration_interval
from asc_sweeps.data.labels import DEVICES, SCENES, SEEN_DEVICES, UNSEEN_DEVICES

PREFERRED = 0.90
"""Drop rate of the paper's best log loss (Table 4); what is shown is never chosen by the test split."""
SHORT = {
    scene: scene.replace("street_pedestrian", "pedestrian").replace("street_traffic", "traffic") for scene in SCENES
}


@dataclass(frozen=True)
class Shown:
    """The trials that are looked at: one system, its seeds."""

    name: str
    generated: bool
    predictions: Sequence[Predictions]
    """By seed."""


def shown(evidence: Evidence) -> Shown | None:
    """Table 4's row of drop rate 0.90, else its next lower one, else Table 2's last; None without stored predictions."""
    four, two = evidence.cached(table4_family), evidence.cached(table2_family)
    rows = []
    if four:
        rates = sorted({float(r) for r in four.trials["row"]}, key=lambda r: (r > PREFERRED, -r))
        rows += [(four, rate, "no fine-tuning" if rate == NO_FINETUNING else f"drop rate {rate:.2f}") for rate in rates]
    if two:
        rows += [(two, i, TABLE2[i].system) for i in reversed(range(len(TABLE2)))]
    for family, row, name in rows:
        trials = family.trials[family.trials["row"] == row]
        found = [p for s in trials["signature"] if (p := evidence.predictions(s))]
        if found:
            system = trials["system"].iloc[0]
            return Shown(f"{system}, {name}" if name != system else name, family.generated, found)
    return None


def confusion(predictions: Sequence[Predictions]) -> pd.DataFrame:
    """Shares of each true scene's segments (rows) that were taken for each scene (columns), over all seeds; NaN without any."""
    counts = np.zeros((len(SCENES), len(SCENES)))
    for p in predictions:
        np.add.at(counts, (p.scenes, p.log_probability.argmax(axis=1)), 1)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    return pd.DataFrame(shares, index=list(SCENES), columns=list(SCENES))


def scenes_by_devices(predictions: Sequence[Predictions]) -> pd.DataFrame:
    """Accuracy (0..1) of each scene (rows) on each device, over all seeds; NaN where there are no segments."""
    rows = pd.concat(
        pd.DataFrame({"scene": np.array(SCENES)[p.scenes], "device": p.devices, "right": p.correct})
        for p in predictions
    )
    return rows.pivot_table(index="scene", columns="device", values="right", aggfunc="mean").reindex(
        index=list(SCENES), columns=list(DEVICES)
    )


@dataclass(frozen=True)
class CalibrationSummary:
    """Of a system, seed by seed."""

    seeds: Sequence[Calibration]
    error: Interval
    """Mean of the seeds' errors, with its 95 % interval over places."""
    chance: float
    """The error that a perfectly calibrated network would show on these places."""

    @property
    def bins(self) -> list[tuple[float, float, float]]:
        """Of each bin that every seed fills: confidence, accuracy and segments, means over seeds."""
        parts = [np.array([one.confidence, one.accuracy, one.segments]) for one in self.seeds]
        means = np.mean(parts, axis=0).T
        return [(float(c), float(a), float(n)) for c, a, n in means if not np.isnan(c)]

    @property
    def bias(self) -> float:
        """Confidence minus accuracy, mean over seeds: above zero is overconfident."""
        return float(np.mean([one.bias for one in self.seeds]))


def summarise_calibration(predictions: Sequence[Predictions]) -> CalibrationSummary:
    """Calibration for each seed, then averaged: two seeds that err in opposite directions are not calibrated together."""
    seeds = [calibration(p.log_probability, p.scenes, p.places) for p in predictions]
    return CalibrationSummary(seeds, *calibration_interval(seeds))


def section(evidence: Evidence) -> Section:
    """Confusions, scenes by devices, and calibration in the report."""
    found = shown(evidence)
    sentence = "Which scenes are predicted as which others, on which devices, and whether confidence matches accuracy."
    if found is None:
        return Section(
            "errors", "Error analysis", sentence, (Text("No trial of the tables has stored predictions yet."),)
        )
    caveat = "Generated data. " if found.generated else ""
    who = f"{caveat}{found.name}, {plural(len(found.predictions), 'seed')}, test split."
    shares, sure = confusion(found.predictions), summarise_calibration(found.predictions)
    blocks = (
        _devices_table(scenes_by_devices(found.predictions), who),
        _confusion_table(shares, who),
        _confusion_plot(shares, who),
        _calibration_table(sure, who),
        _calibration_plot(sure, who),
    )
    return Section("errors", "Error analysis", sentence, blocks)


def _devices_table(accuracy: pd.DataFrame, who: str) -> Table:
    groups = []
    for scene, row in accuracy.iterrows():
        means = [row[list(devices)].mean(skipna=False) for devices in (SEEN_DEVICES, UNSEEN_DEVICES)]
        groups.append([[text_head(str(scene)), *(Cell(percent(value)) for value in (*row, *means))]])
    names = number_heads(*(device.upper() for device in DEVICES), "seen", "unseen")
    top = [
        (text_head("Scene"), 1),
        ("Seen devices", len(SEEN_DEVICES)),
        ("Unseen devices", len(UNSEEN_DEVICES)),
        ("Mean", 2),
    ]
    return Table(
        "errors-devices",
        "Accuracy of each scene on each device, %",
        two_row_head(*top, below=names),
        groups,
        (Text(who),),
    )


def _confusion_table(shares: pd.DataFrame, who: str) -> Table:
    groups = [[[text_head(str(scene)), *(Cell(percent(v)) for v in row)]] for scene, row in shares.iterrows()]
    head = two_row_head(
        (text_head("True scene"), 1),
        ("predicted, % of the true scene's segments", len(SCENES)),
        below=number_heads(*SHORT.values()),
    )
    return Table("errors-confusion", "Confusion of scenes", head, groups, (Text(who),))


def _confusion_plot(shares: pd.DataFrame, who: str) -> Plot:
    names, values = list(SHORT.values()), 100 * shares.to_numpy()
    figure = charts.Figure(
        charts.Heatmap(
            z=[[None if np.isnan(v) else round(v, 1) for v in row] for row in values],
            x=names,
            y=names,
            zmin=0,
            zmax=100,
            colorscale="Cividis",
            texttemplate="%{z:.0f}",
            textfont={"size": 11},
            colorbar={"title": {"text": "%"}, "thickness": 12, "outlinewidth": 0},
            hovertemplate="%{y} predicted as %{x}: %{z:.1f} %<extra></extra>",
        )
    )
    styled(figure, 460)
    figure.update_yaxes(autorange="reversed", title_text="True scene")
    figure.update_xaxes(title_text="Predicted scene")
    wrong = shares.where(~np.eye(len(SCENES), dtype=bool)).stack()
    worst = wrong.sort_values(ascending=False).head(3)
    told = "; ".join(f"{true} as {said} {percent(share)} %" for (true, said), share in worst.items() if share > 0)
    most = f"Most often: {told or 'none'}."
    return Plot(
        "plot-confusion",
        f"Confusion of scenes. {most}",
        figure,
        f"{who} A cell is the share of a true scene's segments (row) predicted as the column's scene, over all seeds. {most}",
    )


def _calibration_table(found: CalibrationSummary, who: str) -> Table:
    groups = [[[Cell(percent(c)), Cell(percent(a)), Cell(f"{n:,.0f}")]] for c, a, n in found.bins]
    note = (
        f"{who} Expected calibration error, computed for each seed and averaged: {_error(found)}, in {BINS} bins of confidence. "
        f"{_chance(found)}Rows are means "
        "over seeds, of the bins that every seed fills."
    )
    head = [number_heads("Confidence, %", "Accuracy, %", "Segments")]
    return Table("errors-calibration", "Calibration: accuracy by confidence", head, groups, (Text(note),))


def _chance(found: CalibrationSummary) -> str:
    if np.isnan(found.chance):
        return "Its seeds were not tested at the same places, two at least, so there is no interval. "
    return f"A perfectly calibrated network would show {percent(found.chance)} points on these places. "


def _error(found: CalibrationSummary) -> str:
    if np.isnan(found.error.low):
        return f"{percent(found.error.mean)} points"
    ends = f"{percent(found.error.low)} to {percent(found.error.high)}"
    return f"{percent(found.error.mean)} points (about 95 % over places: {ends})"


def _calibration_plot(found: CalibrationSummary, who: str) -> Plot:
    figure = charts.Figure(
        [
            charts.Scatter(
                x=[0, 100], y=[0, 100], mode="lines", name="perfectly calibrated", hoverinfo="skip",
                line={"color": PAPER, "dash": "dot", "width": 1.5},
            ),
            charts.Scatter(
                x=[round(100 * c, 2) for c, _, _ in found.bins],
                y=[round(100 * a, 2) for _, a, _ in found.bins],
                text=[f"{n:,.0f} segments" for _, _, n in found.bins],
                mode="lines+markers",
                name="measured",
                line={"color": BLUE, "width": 2},
                marker={"size": 9, "line": {"width": 1, "color": INK}},
                hovertemplate="confidence %{x:.1f} %, accuracy %{y:.1f} %<br>%{text}<extra></extra>",
            ),
        ]
    )  # fmt: skip
    styled(figure, 360)
    figure.update_xaxes(title_text="Confidence, %", range=[0, 102])
    figure.update_yaxes(title_text="Accuracy, %", range=[0, 102])
    side = "overconfident" if found.bias > 0 else "underconfident"
    label = f"Accuracy by confidence. The network is {side} on average; expected calibration error {_error(found)}."
    return Plot(
        "plot-calibration",
        label,
        figure,
        f"{who} A dot is a bin of confidence, mean over seeds. Below the dotted line the network is overconfident.",
    )
