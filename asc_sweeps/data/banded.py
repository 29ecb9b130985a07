"""Matrices that are zero but for a band, as filters of neighbouring frequencies or samples are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BAND_COUNT = 8
"""Into which columns are cut; 4 and 16 change little of what a spectrogram or a clip's conversion takes."""


class Band(NamedTuple):
    """Some columns of a matrix, and of its rows those that are not zero in them."""

    rows: slice
    columns: slice
    matrix: np.ndarray


def bands(matrix: np.ndarray) -> list[Band]:
    """Cut a matrix [rows, columns], of which each column has a few neighbouring rows that are not zero, into bands.

    Multiplied band by band: a product with all rows would spend four fifths of its time on zeros.
    """
    found, at = [], 0
    for piece in np.array_split(matrix, BAND_COUNT, axis=1):
        used = np.flatnonzero(piece.any(axis=1))
        rows = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        found.append(Band(rows, slice(at, at + piece.shape[1]), np.ascontiguousarray(piece[rows])))
        at += piece.shape[1]
    return found
