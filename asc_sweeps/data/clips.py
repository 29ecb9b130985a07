"""Clips longer than a segment: consecutive segments of a recording, cropped by a named policy (Table 3)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.config.setting_groups import EvaluateConfig
from asc_sweeps.data.cache import Prepared


def clip_rows(data: Prepared, rows: np.ndarray, config: EvaluateConfig) -> np.ndarray:
    """Row numbers of each clip's segments in order, shape [clips, seconds], from the recordings among `rows`.

    `all`: consecutive clips without overlap from the start of each recording; `first`: only the first. Incomplete clips are omitted.
    """
    recordings: dict[str, dict[int, int]] = {}
    for row in rows.tolist():
        recordings.setdefault(str(data.recordings[row]), {})[piece_of(data.filenames[row])] = row
    clips = []
    for row_of in recordings.values():
        starts = range(0, max(row_of) + 2 - config.seconds, config.seconds)
        for start in starts if config.crops == "all" else starts[:1]:
            pieces = range(start, start + config.seconds)
            if all(piece in row_of for piece in pieces):
                clips.append([row_of[piece] for piece in pieces])
    return np.array(clips, dtype=np.int64).reshape(-1, config.seconds)


def piece_of(filename: str) -> int:
    """Which second of its recording a segment is, 0..9.

    >>> piece_of("audio/airport-lisbon-1000-40000-3-a.wav")
    3
    """
    return int(filename.rsplit("-", 2)[1])
