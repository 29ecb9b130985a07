"""Kernels for products of matrices, and for windows as columns."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu.vectors import (
    BYTES,
    ROWS,
    accumulate,
    copy,
    inline_kernel,
    keep_alive,
    product_strip,
    product_tile,
    row_at,
    transpose_tile,
    view,
)

BLOCK_COLUMNS = 256
"""Columns of a product that fit into the cache together."""


@inline_kernel
def _tiles(out, at_out, row_out, w, at_w, row_w, step_w, x, panel, row_x, m, k, n, is_added):
    """Compute out [m, n] = w [m, k] x [k, n], or add it to `out`.

    `row_...`: distance of rows; `step_w`: distance of columns of w. A tile of x that starts at column j starts at j * `panel`.
    """
    lanes = BYTES // out.itemsize
    tile = np.empty(2 * ROWS * lanes, out.dtype)
    for i in range(0, m, ROWS):
        at = at_w + i * row_w
        for j in range(0, n, 2 * lanes):
            start, wide = at_out + i * row_out + j, 2 * lanes if j + lanes < n else lanes
            is_whole = j + wide <= n and i + ROWS <= m and not is_added
            # Rows beyond the end of w and columns beyond that of x are computed from whatever is in memory, and discarded.
            to, at_to, row_to = (out, start, row_out) if is_whole else (tile, 0, wide)
            if wide > lanes:
                product_tile(w, at, row_w, step_w, x, j * panel, row_x, k, to, at_to, row_to)
            else:
                product_strip(w, at, row_w, step_w, x, j * panel, row_x, k, to, at_to, row_to)
            for r in range(0 if is_whole else min(ROWS, m - i)):
                numbers = view(out, start + r * row_out, min(wide, n - j))
                if is_added:
                    accumulate(numbers, row_at(tile, r, wide))
                else:
                    copy(numbers, row_at(tile, r, wide))
    keep_alive(tile)


@inline_kernel
def product(out, w, x, m, k, n, row, step):
    """Compute out [m, n] = w [m, k] x [k, n]; `row` and `step` are the strides of w, which may be transposed."""
    width = 2 * BYTES // x.itemsize
    # Not a power of two, so that rows do not compete for the same cache lines.
    length = min(BLOCK_COLUMNS, (n + width - 1) // width * width) + width // 2
    block = np.empty(k * length, x.dtype)
    for at in range(0, n, BLOCK_COLUMNS):
        size = min(BLOCK_COLUMNS, n - at)
        for i in range(k):
            copy(view(block, i * length, size), view(x, i * n + at, size))
        _tiles(out, at, n, w, 0, row, step, block, 1, length, m, k, size, False)
    keep_alive(block)


@inline_kernel
def product_weight(out, gradient, x, m, k, n):
    """Add gradient [m, n] x^T to out [m, k]; x [k, n]."""
    width, lanes = 2 * BYTES // x.itemsize, BYTES // x.itemsize
    panels = np.empty((k + width) * (min(BLOCK_COLUMNS, n) + lanes), x.dtype)  # of x^T, `width` columns each
    for at in range(0, n, BLOCK_COLUMNS):
        size = min(BLOCK_COLUMNS, n - at)
        for i in range(0, k, lanes):  # also transposes what follows x in memory, which is discarded
            start = i // width * width * size + i % width
            for q in range(0, size, lanes):
                transpose_tile(x, i * n + at + q, n, panels, start + q * width, width)
        _tiles(out, 0, k, gradient, at, n, 1, panels, size, width, m, size, k, True)
    keep_alive(panels)


@inline_kernel
def unfold(out, x, f, t, kernel, stride):
    """Each window of x [f, t], with padding that keeps its size at stride 1, as a column: [kernel * kernel, windows]."""
    high, wide, padding = (f - 1) // stride + 1, (t - 1) // stride + 1, kernel // 2
    n, rows = high * wide, np.empty((stride, high * wide), x.dtype)
    for right in range(kernel):  # a window's column of x; rows that are a stride apart are stored together
        rows[:] = 0
        for y in range(f):
            row, values = rows[y % stride, y // stride * wide : (y // stride + 1) * wide], x[y * t : (y + 1) * t]
            for j in range(max(0, (padding - right + stride - 1) // stride), wide):
                if j * stride + right - padding < t:
                    row[j] = values[j * stride + right - padding]
        for down in range(kernel):
            out_row, shift = out[(down * kernel + right) * n : (down * kernel + right + 1) * n], down - padding
            first, same = shift // stride * wide, rows[shift % stride]
            if first < 0:
                out_row[:-first] = 0
                copy(out_row[-first:], same[: n + first])
            else:
                copy(out_row[: n - first], same[first:])
                out_row[n - first :] = 0


@inline_kernel
def fold(out, columns, f, t, kernel, stride):
    """Backward pass of `unfold`."""
    high, wide, padding = (f - 1) // stride + 1, (t - 1) // stride + 1, kernel // 2
    out[:] = 0
    for k in range(kernel * kernel):
        for i in range(high):
            y = i * stride + k // kernel - padding
            for j in range(wide):
                z = j * stride + k % kernel - padding
                if 0 <= y < f and 0 <= z < t:
                    out[y * t + z] += columns[(k * high + i) * wide + j]
