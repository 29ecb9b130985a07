"""Products of matrices; windows as columns (`operations`)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.fast.vectors import (
    BYTES,
    DOTS_A,
    DOTS_B,
    ROWS,
    accumulate,
    copy,
    dot_tile,
    part,
    product_tile,
    view,
)

COLUMNS = 1024
"""Of two matrices that are worked on while they lie in the cache."""


@part
def product(out, w, x, m, k, n, row, step, is_added):
    """Out [m, n] = w [m, k] x [k, n]; numbers of w are `row` and `step` apart, so that w may be transposed."""
    width = 2 * BYTES // x.itemsize
    length = (
        min(COLUMNS // 4, (n + width - 1) // width * width) + width // 2
    )  # no power of two, that rows share no place in the cache
    block, tile = np.empty(k * length, x.dtype), np.empty(ROWS * width, x.dtype)
    for at in range(0, n, COLUMNS // 4):
        end = min(at + COLUMNS // 4, n)
        for i in range(k):
            copy(view(block, i * length, end - at), view(x, i * n + at, end - at))
        for i in range(0, m, ROWS):
            for j in range(at, end, width):
                if j + width <= end and i + ROWS <= m and not is_added:
                    product_tile(w, i * row, row, step, block, j - at, length, k, out, i * n + j, n)
                    continue
                # Rows beyond w's last are computed from whatever lies behind it, and left out.
                product_tile(w, i * row, row, step, block, j - at, length, k, tile, 0, width)
                for r in range(min(ROWS, m - i)):
                    place = out[(i + r) * n + j : (i + r) * n + min(j + width, end)]
                    if is_added:
                        accumulate(place, tile[r * width :])
                    else:
                        copy(place, tile[r * width :])


@part
def product_weight(out, gradient, x, m, k, n):
    """Out [m, k] += gradient [m, n] x^T, x [k, n]."""
    lanes = BYTES // x.itemsize
    if n < 16 * lanes or m < DOTS_A or k < DOTS_B:  # few columns: as a product with them transposed
        turned = np.empty(n * k, x.dtype)
        for i in range(k):
            for j in range(n):
                turned[j * k + i] = x[i * n + j]
        product(out, gradient, turned, m, n, k, n, 1, True)
        return
    found = np.empty(DOTS_A * DOTS_B, x.dtype)
    for at in range(0, n, COLUMNS):
        end = min(at + COLUMNS, n)
        whole = (end - at) // lanes * lanes
        for i in range(0, m if whole else 0, DOTS_A):
            first_i = min(i, m - DOTS_A)
            for j in range(0, k, DOTS_B):
                first_j = min(j, k - DOTS_B)
                dot_tile(gradient, first_i * n + at, n, x, first_j * n + at, n, whole, found)
                for r in range(i - first_i, DOTS_A):
                    for c in range(j - first_j, DOTS_B):
                        out[(first_i + r) * k + first_j + c] += found[r * DOTS_B + c]
        for q in range(at + whole, end):
            for i in range(m):
                for j in range(k):
                    out[i * k + j] += gradient[i * n + q] * x[j * n + q]


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
