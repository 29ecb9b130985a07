"""What looks at a plane's two dimensions, or at all channels of a place (`operations`)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu.vectors import accumulate, add, copy, keep, nth, part, view


@part
def _spread_means(totals, t, count):
    """Each row of t numbers by its sum over `count`."""
    for f in range(len(totals) // t):
        row = nth(totals, f, t)
        total = totals.dtype.type(0)
        for i in range(t):
            total += row[i]
        row[:] = total / count


@part
def resnorm(out, m, v, x, constants, n, t):
    """Weight * x + x with zero mean and unit variance over channels and time; these as mean and 1 / deviation, [F, T]."""
    channels = len(x) // n
    count, one = x.dtype.type(channels * t), x.dtype.type(1)
    weight, eps = constants[0], constants[1]
    m[:] = 0
    v[:] = 0
    for c in range(channels):
        accumulate(m, nth(x, c, n))
    _spread_means(m, t, count)
    for c in range(channels):
        plane = nth(x, c, n)
        for i in range(n):
            v[i] += (plane[i] - m[i]) * (plane[i] - m[i])
    _spread_means(v, t, count)
    for i in range(n):
        v[i] = one / np.sqrt(v[i] + eps)
    for c in range(channels):
        plane, place = nth(x, c, n), nth(out, c, n)
        for i in range(n):
            place[i] = weight * plane[i] + (plane[i] - m[i]) * v[i]


@part
def resnorm_back(out, gradient, x, m, v, constants, n, t):
    """The gradient of ResNorm's input."""
    channels = len(x) // n
    count, weight = x.dtype.type(channels * t), constants[0]
    sums, products = np.zeros(n, x.dtype), np.zeros(n, x.dtype)
    for c in range(channels):
        above, plane = nth(gradient, c, n), nth(x, c, n)
        for i in range(n):
            sums[i] += above[i]
            products[i] += above[i] * (plane[i] - m[i])
    _spread_means(sums, t, count)
    _spread_means(products, t, count)
    for i in range(n):
        products[i] *= v[i] * v[i] * v[i]
        sums[i] *= v[i]
    for c in range(channels):
        above, plane, place = nth(gradient, c, n), nth(x, c, n), nth(out, c, n)
        for i in range(n):
            place[i] = (weight + v[i]) * above[i] - products[i] * (plane[i] - m[i]) - sums[i]


@part
def pool(out, places, x, c, f, t):
    """The largest of 2 x 2 numbers, at an odd end of fewer, and which: 0 to 3. The first of equal ones; NaN is larger than all."""
    high, wide = (f + 1) // 2, (t + 1) // 2
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    best, which = np.empty(f * wide, x.dtype), np.empty(f * wide, x.dtype)
    for i in range(c):
        plane = nth(x, i, f * t)
        if t % 2 == 0:
            for j in range(f * wide):
                left, right = plane[2 * j], plane[2 * j + 1]
                is_right = (right > left) | (right != right)
                best[j], which[j] = right if is_right else left, one if is_right else zero
        else:
            for j in range(f * wide):
                at = j // wide * t + j % wide * 2
                left, right = plane[at], plane[at + (1 if j % wide < wide - 1 else 0)]
                is_right = (right > left) | (right != right)
                best[j], which[j] = right if is_right else left, one if is_right else zero
        for y in range(high):
            first, second = 2 * y * wide, min(2 * y + 1, f - 1) * wide
            upper, lower = view(best, first, wide), view(best, second, wide)
            which_upper, which_lower = view(which, first, wide), view(which, second, wide)
            place, place_which = nth(out, i * high + y, wide), nth(places, i * high + y, wide)
            for j in range(wide):
                is_lower = (lower[j] > upper[j]) | (lower[j] != lower[j])
                place[j] = lower[j] if is_lower else upper[j]
                place_which[j] = which_lower[j] + two if is_lower else which_upper[j]


@part
def _weave(out, left, right):
    """Numbers of both in turn."""
    for j in range(len(left)):
        out[2 * j] = left[j]
        out[2 * j + 1] = right[j]


@part
def pool_back(out, gradient, places, c, f, t):
    """The gradient goes to where the largest came from."""
    wide = (t + 1) // 2
    n, zero = (f + 1) // 2 * wide, out.dtype.type(0)
    left, right, woven = np.empty(n, out.dtype), np.empty(n, out.dtype), np.empty(2 * n, out.dtype)
    for i in range(c):
        above, which = nth(gradient, i, n), nth(places, i, n)
        for odd in range(2):
            first = out.dtype.type(2 * odd)
            for j in range(n):
                left[j] = above[j] if which[j] == first else zero
                right[j] = above[j] if which[j] == first + 1 else zero
            _weave(woven, left, right)
            for y in range(odd, f, 2):
                copy(view(out, (i * f + y) * t, t), view(woven, y // 2 * 2 * wide, t))
    keep(woven)


@part
def shuffle_add(out, x, u, c, f, t):
    """X [C, f, t] plus the pixel shuffle of u [4 C, (f + 1) / 2, (t + 1) / 2], cropped to its size."""
    wide = (t + 1) // 2
    n = (f + 1) // 2 * wide
    woven = np.empty(2 * n, x.dtype)
    for i in range(c):
        for odd in range(2):
            _weave(woven, nth(u, 4 * i + 2 * odd, n), nth(u, 4 * i + 2 * odd + 1, n))
            for y in range(odd, f, 2):
                first = (i * f + y) * t
                add(view(out, first, t), view(x, first, t), view(woven, y // 2 * 2 * wide, t))
    keep(woven)


@part
def shuffle_back(out, gradient, c, f, t):
    """The gradient of u of `_shuffle_add`."""
    high, wide = (f + 1) // 2, (t + 1) // 2
    n = high * wide
    woven = np.zeros(2 * n, out.dtype)
    for r in range(2 * c):
        even, odd = nth(out, 2 * r, n), nth(out, 2 * r + 1, n)
        if f % 2:
            woven[:] = 0
        for i in range(r % 2, f, 2):
            first = (r // 2 * f + i) * t
            copy(view(woven, i // 2 * 2 * wide, t), view(gradient, first, t))
        for j in range(n):
            even[j] = woven[2 * j]
            odd[j] = woven[2 * j + 1]
