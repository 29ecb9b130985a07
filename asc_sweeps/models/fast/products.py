"""Products of matrices and depthwise filters (`operations`)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.fast.vectors import (
    BYTES,
    DOTS_A,
    DOTS_B,
    ROWS,
    accumulate,
    add,
    copy,
    dot_tile,
    part,
    product_tile,
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
    block, tile = np.zeros(k * length, x.dtype), np.empty(ROWS * width, x.dtype)
    for at in range(0, n, COLUMNS // 4):
        end = min(at + COLUMNS // 4, n)
        for i in range(k):
            copy(block[i * length : i * length + end - at], x[i * n + at : i * n + end])
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
    if n < 2 * lanes or m < DOTS_A or k < DOTS_B:  # few columns: as a product with them transposed
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
def _taps(out, x, weight, t, is_added):
    """Filters along frequency."""
    n = len(x)
    before, here, after = weight[0], weight[1], weight[2]
    if n == t:
        for i in range(t):
            out[i] = here * x[i] + (out[i] if is_added else 0)
        return
    first, second, last, last_but_one = x[:t], x[t : 2 * t], x[n - t :], x[n - 2 * t : n - t]
    inside, end, earlier, values, later = out[t : n - t], out[n - t :], x[: n - 2 * t], x[t : n - t], x[2 * t :]
    if is_added:
        for i in range(t):
            out[i] += here * first[i] + after * second[i]
        for i in range(len(inside)):
            inside[i] += before * earlier[i] + here * values[i] + after * later[i]
        for i in range(t):
            end[i] += before * last_but_one[i] + here * last[i]
    else:
        for i in range(t):
            out[i] = here * first[i] + after * second[i]
        for i in range(len(inside)):
            inside[i] = before * earlier[i] + here * values[i] + after * later[i]
        for i in range(t):
            end[i] = before * last_but_one[i] + here * last[i]


@part
def _taps_back(to_x, to_weight, gradient, x, weight, t, is_added):
    """The way back from `_taps`: filters the other way round."""
    n = len(x)
    if n == t:
        _taps(to_x, gradient, weight, t, is_added)
        to_weight[1] += _dot(x, gradient)
        return
    before, here, after = weight[0], weight[1], weight[2]
    first, second, last, last_but_one = (
        gradient[:t],
        gradient[t : 2 * t],
        gradient[n - t :],
        gradient[n - 2 * t : n - t],
    )
    inside, end, values = to_x[t : n - t], to_x[n - t :], x[t : n - t]
    earlier, same, later = gradient[: n - 2 * t], gradient[t : n - t], gradient[2 * t :]
    to_before, to_here, to_after = _dot(x[:t], second), _dot(x[:t], first), _dot(x[n - t :], last_but_one)
    to_here += _dot(x[n - t :], last)
    for i in range(t):
        to_x[i] = here * first[i] + before * second[i] + (to_x[i] if is_added else 0)
        end[i] = after * last_but_one[i] + here * last[i] + (end[i] if is_added else 0)
    for i in range(len(inside)):
        value = before * later[i] + here * same[i] + after * earlier[i]
        inside[i] = inside[i] + value if is_added else value
        to_before += values[i] * later[i]
        to_here += values[i] * same[i]
        to_after += values[i] * earlier[i]
    to_weight[0] += to_before
    to_weight[1] += to_here
    to_weight[2] += to_after


@part
def _dot(x, y):
    total = x.dtype.type(0)
    for i in range(len(x)):
        total += x[i] * y[i]
    return total


@part
def _shift(earlier, later, plane, t):
    """The plane one frame earlier, and one frame later; zeros come in."""
    n = len(plane)
    copy(earlier[: n - 1], plane[1:])
    copy(later[1:], plane[: n - 1])
    earlier[t - 1 :: t] = 0
    later[::t] = 0


@part
def _plane(x, carry, i, n, room):
    """A channel of x, or of x plus `carry` where there is that."""
    plane = x[i * n : (i + 1) * n]
    if len(carry) == 0:
        return plane
    add(room, plane, carry[i * n : (i + 1) * n])
    return room


@part
def filter(out, x, carry, weight, c, n, t, width):
    """The depthwise convolution of x plus `carry`: 3 along frequency, `width` (1 or 3) along time; weight [C, 3, width]."""
    earlier, later, room = np.empty(n, x.dtype), np.empty(n, x.dtype), np.empty(n, x.dtype)
    for i in range(c):
        plane = _plane(x, carry, i, n, room)
        place, w = out[i * n : (i + 1) * n], weight[3 * width * i : 3 * width * (i + 1)]
        _taps(place, plane, w[width // 2 :: width], t, False)
        if width == 3:
            _shift(earlier, later, plane, t)
            _taps(place, later, w[::3], t, True)
            _taps(place, earlier, w[2::3], t, True)


@part
def filter_back(to_x, to_weight, gradient, x, carry, weight, c, n, t, width):
    """The way back from `_filter`."""
    earlier, later, room = np.empty(n, x.dtype), np.empty(n, x.dtype), np.empty(n, x.dtype)
    for i in range(c):
        values = _plane(x, carry, i, n, room)
        above, place = gradient[i * n : (i + 1) * n], to_x[i * n : (i + 1) * n]
        w, to_w = weight[3 * width * i : 3 * width * (i + 1)], to_weight[3 * width * i : 3 * width * (i + 1)]
        _taps_back(place, to_w[width // 2 :: width], above, values, w[width // 2 :: width], t, False)
        if width == 3:
            _shift(earlier, later, above, t)
            _taps_back(place, to_w[::3], earlier, values, w[::3], t, True)
            _taps_back(place, to_w[2::3], later, values, w[2::3], t, True)
