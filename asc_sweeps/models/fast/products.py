"""Products of matrices and depthwise filters (`operations`)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.fast.rows import norm, norm_back
from asc_sweeps.models.fast.vectors import (
    BYTES,
    DOTS_A,
    DOTS_B,
    ROWS,
    accumulate,
    copy,
    dot_tile,
    keep,
    nth,
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


@part
def _read(place, x, table, carry, carry_table, relu, i, c):
    """Channel i of x, through its norm if it has a table; plus that of `carry`, where there is one, through its own."""
    n = len(place)
    if len(table):
        norm(place, nth(x, i, n), nth(table, i, len(table) // c), relu, False)
    else:
        copy(place, nth(x, i, n))
    if len(carry_table):
        norm(place, nth(carry, i, n), nth(carry_table, i, len(carry_table) // c), False, True)
    elif len(carry):
        accumulate(place, nth(carry, i, n))


@part
def _edges(n, t, width, dtype):
    """Of a filter along time, too: whether each place of a plane has one to its left, and to its right."""
    has_left, has_right = np.ones(n if width == 3 else 0, dtype), np.ones(n if width == 3 else 0, dtype)
    has_left[::t] = 0
    has_right[t - 1 :: t] = 0
    return has_left, has_right


@part
def _around(padded, at, n):
    """Numbers from there, and those before and behind each."""
    return view(padded, at, n), view(padded, at - 1, n), view(padded, at + 1, n)


@part
def filter(out, x, table, carry, carry_table, weight, c, n, t, width, relu):
    """The depthwise convolution of what `_read` gives: 3 along frequency, `width` (1 or 3) along time; weight [C, 3, width]."""
    zero, margin = x.dtype.type(0), (t + 16) // 16 * 16
    padded = np.zeros(n + 2 * margin, x.dtype)  # zeros above and below a plane; whole cache lines
    has_left, has_right = _edges(n, t, width, x.dtype)
    above, above_left, above_right = _around(padded, margin - t, n)
    here, left, right = _around(padded, margin, n)
    below, below_left, below_right = _around(padded, margin + t, n)
    for i in range(c):
        _read(here, x, table, carry, carry_table, relu, i, c)
        place, w = nth(out, i, n), nth(weight, i, 3 * width)
        if width == 1:
            w0, w1, w2 = w[0], w[1], w[2]
            for j in range(n):
                place[j] = w0 * above[j] + w1 * here[j] + w2 * below[j]
        else:
            w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
            for j in range(n):
                value = w1 * above[j] + w4 * here[j] + w7 * below[j]
                at_left = w0 * above_left[j] + w3 * left[j] + w6 * below_left[j]
                at_right = w2 * above_right[j] + w5 * right[j] + w8 * below_right[j]
                value += at_left if has_left[j] > zero else zero
                place[j] = value + (at_right if has_right[j] > zero else zero)
    keep(padded)


@part
def filter_back(
    to_x, to_weight, gradient, before_norm, way, x, table, carry, carry_table, weight, c, n, t, width, relu, relu_back
):
    """The way back from `filter`; from the gradient behind a norm of its result, if that is given, and `way` through it."""
    zero, margin = x.dtype.type(0), (t + 16) // 16 * 16
    padded, values = np.zeros(n + 2 * margin, x.dtype), np.empty(n, x.dtype)
    has_left, has_right = _edges(n, t, width, x.dtype)
    above, above_left, above_right = _around(padded, margin - t, n)
    here, left, right = _around(padded, margin, n)
    below, below_left, below_right = _around(padded, margin + t, n)
    for i in range(c):
        _read(values, x, table, carry, carry_table, relu, i, c)
        if len(way):
            norm_back(here, nth(gradient, i, n), nth(before_norm, i, n), nth(way, i, len(way) // c), relu_back)
        else:
            copy(here, nth(gradient, i, n))
        place, w, to_w = nth(to_x, i, n), nth(weight, i, 3 * width), nth(to_weight, i, 3 * width)
        g0, g1, g2 = zero, zero, zero
        if width == 1:
            w0, w1, w2 = w[0], w[1], w[2]
            for j in range(n):
                place[j] = w2 * above[j] + w1 * here[j] + w0 * below[j]
                g2 += values[j] * above[j]
                g1 += values[j] * here[j]
                g0 += values[j] * below[j]
        else:
            g3, g4, g5, g6, g7, g8 = zero, zero, zero, zero, zero, zero
            w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
            for j in range(n):
                value = w7 * above[j] + w4 * here[j] + w1 * below[j]
                at_left = w8 * above_left[j] + w5 * left[j] + w2 * below_left[j]
                at_right = w6 * above_right[j] + w3 * right[j] + w0 * below_right[j]
                value += at_left if has_left[j] > zero else zero
                place[j] = value + (at_right if has_right[j] > zero else zero)
                middle = values[j]
                has_one_left = middle if has_left[j] > zero else zero
                has_one_right = middle if has_right[j] > zero else zero
                g8 += has_one_left * above_left[j]
                g7 += middle * above[j]
                g6 += has_one_right * above_right[j]
                g5 += has_one_left * left[j]
                g4 += middle * here[j]
                g3 += has_one_right * right[j]
                g2 += has_one_left * below_left[j]
                g1 += middle * below[j]
                g0 += has_one_right * below_right[j]
            to_w[3] += g3
            to_w[4] += g4
            to_w[5] += g5
            to_w[6] += g6
            to_w[7] += g7
            to_w[8] += g8
        to_w[0] += g0
        to_w[1] += g1
        to_w[2] += g2
    keep(padded)
