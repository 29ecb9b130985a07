"""Products of matrices; windows as columns (`operations`)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu.vectors import (
    BYTES,
    ROWS,
    accumulate,
    copy,
    keep,
    nth,
    part,
    product_strip,
    product_tile,
    turn_tile,
    view,
)

BLOCK_COLUMNS = 256
"""Of a product that are worked on while they lie in the cache."""


@part
def _tiles(out, at_out, row_out, w, at_w, row_w, step_w, x, panel, row_x, m, k, n, is_added):
    """Out [m, n] = w [m, k] x [k, n], or that added to it.

    Rows of each are `row_...` numbers apart, columns of w `step_w`; x's columns begin at `panel` times their number, where tiles do.
    """
    lanes = BYTES // out.itemsize
    tile = np.empty(2 * ROWS * lanes, out.dtype)
    for i in range(0, m, ROWS):
        at = at_w + i * row_w
        for j in range(0, n, 2 * lanes):
            place, wide = at_out + i * row_out + j, 2 * lanes if j + lanes < n else lanes
            is_whole = j + wide <= n and i + ROWS <= m and not is_added
            # Rows beyond w's last, and columns beyond x's, are computed from whatever lies there, and left out.
            to, at_to, row_to = (out, place, row_out) if is_whole else (tile, 0, wide)
            if wide > lanes:
                product_tile(w, at, row_w, step_w, x, j * panel, row_x, k, to, at_to, row_to)
            else:
                product_strip(w, at, row_w, step_w, x, j * panel, row_x, k, to, at_to, row_to)
            for r in range(0 if is_whole else min(ROWS, m - i)):
                numbers = view(out, place + r * row_out, min(wide, n - j))
                if is_added:
                    accumulate(numbers, nth(tile, r, wide))
                else:
                    copy(numbers, nth(tile, r, wide))
    keep(tile)


@part
def product(out, w, x, m, k, n, row, step):
    """Out [m, n] = w [m, k] x [k, n]; numbers of w are `row` and `step` apart, so that w may be transposed."""
    width = 2 * BYTES // x.itemsize
    # No power of two: rows are to share no place in the cache.
    length = min(BLOCK_COLUMNS, (n + width - 1) // width * width) + width // 2
    block = np.empty(k * length, x.dtype)
    for at in range(0, n, BLOCK_COLUMNS):
        size = min(BLOCK_COLUMNS, n - at)
        for i in range(k):
            copy(view(block, i * length, size), view(x, i * n + at, size))
        _tiles(out, at, n, w, 0, row, step, block, 1, length, m, k, size, False)
    keep(block)


@part
def product_weight(out, gradient, x, m, k, n):
    """Out [m, k] += gradient [m, n] x^T, x [k, n]."""
    width, lanes = 2 * BYTES // x.itemsize, BYTES // x.itemsize
    panels = np.empty((k + width) * (min(BLOCK_COLUMNS, n) + lanes), x.dtype)  # of x^T, `width` columns each
    for at in range(0, n, BLOCK_COLUMNS):
        size = min(BLOCK_COLUMNS, n - at)
        for i in range(0, k, lanes):  # turns what lies behind x's last row and column, too, which is left out then
            place = i // width * width * size + i % width
            for q in range(0, size, lanes):
                turn_tile(x, i * n + at + q, n, panels, place + q * width, width)
        _tiles(out, 0, k, gradient, at, n, 1, panels, size, width, m, size, k, True)
    keep(panels)


@part
def unfold(out, x, f, t, kernel, stride):
    """Every window of x [f, t], padded to keep its size but for the stride, as a column: [kernel * kernel, windows]."""
    high, wide, padding = (f - 1) // stride + 1, (t - 1) // stride + 1, kernel // 2
    n, rows = high * wide, np.empty((stride, high * wide), x.dtype)
    for right in range(kernel):  # what a window has there: of all rows, those together that are a stride apart
        rows[:] = 0
        for y in range(f):
            row, values = rows[y % stride, y // stride * wide : (y // stride + 1) * wide], x[y * t : (y + 1) * t]
            for j in range(max(0, (padding - right + stride - 1) // stride), wide):
                if j * stride + right - padding < t:
                    row[j] = values[j * stride + right - padding]
        for down in range(kernel):
            place, shift = out[(down * kernel + right) * n : (down * kernel + right + 1) * n], down - padding
            first, same = shift // stride * wide, rows[shift % stride]
            if first < 0:
                place[:-first] = 0
                copy(place[-first:], same[: n + first])
            else:
                copy(place[: n - first], same[first:])
                place[n - first :] = 0


@part
def fold(out, columns, f, t, kernel, stride):
    """The way back from `_unfold`."""
    high, wide, padding = (f - 1) // stride + 1, (t - 1) // stride + 1, kernel // 2
    out[:] = 0
    for k in range(kernel * kernel):
        for i in range(high):
            y = i * stride + k // kernel - padding
            for j in range(wide):
                z = j * stride + k % kernel - padding
                if 0 <= y < f and 0 <= z < t:
                    out[y * t + z] += columns[(k * high + i) * wide + j]
