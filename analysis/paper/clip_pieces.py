"""The control of a longer clip: the mean of what the same network says of its one-second pieces, from stored predictions."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.evidence.loading import Evidence
from analysis.evidence.measures import PRIMARY
from analysis.evidence.predictions import Predictions
from analysis.paper.comparisons import mean_of


def mean_of_pieces(clips: Predictions, segments: Predictions, seconds: int) -> Predictions | None:
    """The clips, each with the mean of its pieces' probabilities; None where a piece was not predicted.

    A clip is named by its first piece, as `audio/<scene>-<city>-<location>-<recording>-<piece>-<device>.wav`.
    """
    rows = {name: row for row, name in enumerate(segments.filenames.tolist())}
    chosen = np.full((len(clips.filenames), seconds), -1)
    for clip, name in enumerate(clips.filenames.tolist()):
        head, piece, tail = name.rsplit("-", 2)
        chosen[clip] = [rows.get(f"{head}-{int(piece) + i}-{tail}", -1) for i in range(seconds)]
    if (chosen < 0).any():
        return None
    # The mean of exponentials as a loop over pieces: all of them at once would be gigabytes.
    probability = sum(np.exp(segments.log_probability[chosen[:, i]].astype(float)) for i in range(seconds)) / seconds
    return Predictions(clips.filenames, clips.scenes, np.log(np.maximum(probability, np.finfo(float).tiny)))


def controls(trials: pd.DataFrame, evidence: Evidence) -> pd.DataFrame:
    """Scores of the pieces' mean, a row for each trial of clips with stored predictions: `seed`, `log_loss`, `accuracy`."""
    found = []
    for trial in trials[trials["evaluated"]].to_dict("records"):
        clips, segments = evidence.predictions(trial["signature"]), evidence.predictions(str(trial["start"]))
        control = mean_of_pieces(clips, segments, int(trial["evaluate.seconds"])) if clips and segments else None
        if control:
            found.append({"seed": trial["seed"], **{m.column: mean_of(control, m) for m in PRIMARY}})
    return pd.DataFrame(found, columns=["seed", *(m.column for m in PRIMARY)])
