"""Banded matrices (filters over neighbouring frequencies or samples), stored as dense blocks that skip most zeros."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

BAND_COUNT = 8  # blocks of columns; 4 and 16 are about as fast for spectrograms and resampling


class Band(NamedTuple):
    """Some columns of a matrix, restricted to the rows that are not zero in them."""

    rows: slice
    columns: slice
    matrix: np.ndarray


def bands(matrix: np.ndarray) -> list[Band]:
    """Split a matrix [rows, columns] with a few neighbouring nonzero rows per column into bands.

    A full product would spend four fifths of its time on zeros.
    """
    result, start = [], 0
    for block in np.array_split(matrix, BAND_COUNT, axis=1):
        used = np.flatnonzero(block.any(axis=1))
        rows = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        result.append(Band(rows, slice(start, start + block.shape[1]), np.ascontiguousarray(block[rows])))
        start += block.shape[1]
    return result
