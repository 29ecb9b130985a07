"""Clips longer than a segment: the pieces of a recording joined again, cropped by a named policy (Table 3)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.config.setting_groups import EvaluateConfig
from asc_sweeps.data.cache import Prepared


def clip_rows(data: Prepared, rows: np.ndarray, config: EvaluateConfig) -> np.ndarray:
    """Row numbers of each clip's pieces in their order, shape [clips, seconds], from the recordings among `rows`.

    `all`: clips that follow each other without overlap from a recording's beginning; `first`: the first of them. A clip that lacks
    a piece is left out, and what is left at a recording's end.
    """
    recordings: dict[str, dict[int, int]] = {}
    for row in rows.tolist():
        recordings.setdefault(str(data.recordings[row]), {})[piece_of(data.filenames[row])] = row
    clips = []
    for pieces in recordings.values():
        starts = range(0, max(pieces) + 2 - config.seconds, config.seconds)
        wanted = [range(start, start + config.seconds) for start in (starts if config.crops == "all" else starts[:1])]
        clips += [[pieces[piece] for piece in clip] for clip in wanted if all(piece in pieces for piece in clip)]
    return np.array(clips, dtype=np.int64).reshape(-1, config.seconds)


def piece_of(filename: str) -> int:
    """Which second of its recording a segment is, 0..9.

    >>> piece_of("audio/airport-lisbon-1000-40000-3-a.wav")
    3
    """
    return int(filename.rsplit("-", 2)[1])
