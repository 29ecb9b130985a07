"""The control for longer clips: the same network's predictions averaged over their one-second segments."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY
from analysis.evidence.predictions import Predictions
from analysis.paper.comparisons import mean_of


def mean_of_segments(clips: Predictions, segments: Predictions, seconds: int) -> Predictions | None:
    """The clips, each with the mean of its segments' probabilities; None if a segment was not predicted.

    A clip is named after its first segment, `audio/<scene>-<city>-<location>-<recording>-<segment>-<device>.wav`.
    """
    rows = {name: row for row, name in enumerate(segments.filenames.tolist())}
    chosen = np.full((len(clips.filenames), seconds), -1)
    for clip, name in enumerate(clips.filenames.tolist()):
        head, first, tail = name.rsplit("-", 2)
        chosen[clip] = [rows.get(f"{head}-{int(first) + i}-{tail}", -1) for i in range(seconds)]
    if (chosen < 0).any():
        return None
    # A loop over segments: the exponentials of all of them at once would take gigabytes.
    probability = sum(np.exp(segments.log_probability[chosen[:, i]].astype(float)) for i in range(seconds)) / seconds
    return Predictions(clips.filenames, clips.scenes, np.log(np.maximum(probability, np.finfo(float).tiny)))


def controls(trials: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Scores of the control, one row per trial of clips with stored predictions: `seed`, `log_loss`, `accuracy`."""
    rows = []
    for trial in trials[trials["evaluated"]].to_dict("records"):
        clips, segments = evidence.predictions(trial["signature"]), evidence.predictions(str(trial["start"]))
        control = mean_of_segments(clips, segments, int(trial["evaluate.seconds"])) if clips and segments else None
        if control:
            rows.append({"seed": trial["seed"], **{m.column: mean_of(control, m) for m in PRIMARY}})
    return pd.DataFrame(rows, columns=["seed", *(m.column for m in PRIMARY)])
