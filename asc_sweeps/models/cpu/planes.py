"""Kernels that use both dimensions of a plane, or all channels at one position."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu.vectors import accumulate, add, copy, inline_kernel, keep_alive, row_at, view


@inline_kernel
def _spread_means(totals, t, count):
    """Replace each row of t numbers by its sum divided by `count`."""
    for f in range(len(totals) // t):
        row = row_at(totals, f, t)
        total = totals.dtype.type(0)
        for i in range(t):
            total += row[i]
        row[:] = total / count


@inline_kernel
def resnorm(out, m, v, x, constants, n, t):
    """ResNorm: weight * x + x normalized over channels and time; stores mean and 1 / deviation as `m` and `v`, [F, T]."""
    channels = len(x) // n
    count, one = x.dtype.type(channels * t), x.dtype.type(1)
    weight, eps = constants[0], constants[1]
    m[:] = 0
    v[:] = 0
    for c in range(channels):
        accumulate(m, row_at(x, c, n))
    _spread_means(m, t, count)
    for c in range(channels):
        plane = row_at(x, c, n)
        for i in range(n):
            v[i] += (plane[i] - m[i]) * (plane[i] - m[i])
    _spread_means(v, t, count)
    for i in range(n):
        v[i] = one / np.sqrt(v[i] + eps)
    for c in range(channels):
        plane, out_row = row_at(x, c, n), row_at(out, c, n)
        for i in range(n):
            out_row[i] = weight * plane[i] + (plane[i] - m[i]) * v[i]


@inline_kernel
def resnorm_backward(out, gradient, x, m, v, constants, n, t):
    """Backward pass of `resnorm`."""
    channels = len(x) // n
    count, weight = x.dtype.type(channels * t), constants[0]
    sums, products = np.zeros(n, x.dtype), np.zeros(n, x.dtype)
    for c in range(channels):
        gradient_row, plane = row_at(gradient, c, n), row_at(x, c, n)
        for i in range(n):
            sums[i] += gradient_row[i]
            products[i] += gradient_row[i] * (plane[i] - m[i])
    _spread_means(sums, t, count)
    _spread_means(products, t, count)
    for i in range(n):
        products[i] *= v[i] * v[i] * v[i]
        sums[i] *= v[i]
    for c in range(channels):
        gradient_row, plane, out_row = row_at(gradient, c, n), row_at(x, c, n), row_at(out, c, n)
        for i in range(n):
            out_row[i] = (weight + v[i]) * gradient_row[i] - products[i] * (plane[i] - m[i]) - sums[i]


@inline_kernel
def pool(out, positions, x, c, f, t):
    """Maximum of 2 x 2 numbers (fewer at an odd end) and its position, 0 to 3; the first of equal ones, NaN gradient_row all."""
    high, wide = (f + 1) // 2, (t + 1) // 2
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    best, which = np.empty(f * wide, x.dtype), np.empty(f * wide, x.dtype)
    for i in range(c):
        plane = row_at(x, i, f * t)
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
            out_row, out_positions = row_at(out, i * high + y, wide), row_at(positions, i * high + y, wide)
            for j in range(wide):
                is_lower = (lower[j] > upper[j]) | (lower[j] != lower[j])
                out_row[j] = lower[j] if is_lower else upper[j]
                out_positions[j] = which_lower[j] + two if is_lower else which_upper[j]


@inline_kernel
def _weave(out, left, right):
    """Interleave two arrays."""
    for j in range(len(left)):
        out[2 * j] = left[j]
        out[2 * j + 1] = right[j]


@inline_kernel
def pool_backward(out, gradient, positions, c, f, t):
    """Backward pass of `pool`: the gradient goes to the position of the maximum."""
    wide = (t + 1) // 2
    n, zero = (f + 1) // 2 * wide, out.dtype.type(0)
    left, right, woven = np.empty(n, out.dtype), np.empty(n, out.dtype), np.empty(2 * n, out.dtype)
    for i in range(c):
        gradient_row, which = row_at(gradient, i, n), row_at(positions, i, n)
        for odd in range(2):
            first = out.dtype.type(2 * odd)
            for j in range(n):
                left[j] = gradient_row[j] if which[j] == first else zero
                right[j] = gradient_row[j] if which[j] == first + 1 else zero
            _weave(woven, left, right)
            for y in range(odd, f, 2):
                copy(view(out, (i * f + y) * t, t), view(woven, y // 2 * 2 * wide, t))
    keep_alive(woven)


@inline_kernel
def shuffle_add(out, x, u, c, f, t):
    """Add the pixel shuffle of u [4 C, (f + 1) / 2, (t + 1) / 2], cropped, to x [C, f, t]."""
    wide = (t + 1) // 2
    n = (f + 1) // 2 * wide
    woven = np.empty(2 * n, x.dtype)
    for i in range(c):
        for odd in range(2):
            _weave(woven, row_at(u, 4 * i + 2 * odd, n), row_at(u, 4 * i + 2 * odd + 1, n))
            for y in range(odd, f, 2):
                first = (i * f + y) * t
                add(view(out, first, t), view(x, first, t), view(woven, y // 2 * 2 * wide, t))
    keep_alive(woven)


@inline_kernel
def shuffle_backward(out, gradient, c, f, t):
    """Backward pass of `shuffle_add`: the gradient of u."""
    high, wide = (f + 1) // 2, (t + 1) // 2
    n = high * wide
    woven = np.zeros(2 * n, out.dtype)
    for r in range(2 * c):
        even, odd = row_at(out, 2 * r, n), row_at(out, 2 * r + 1, n)
        if f % 2:
            woven[:] = 0
        for i in range(r % 2, f, 2):
            first = (r // 2 * f + i) * t
            copy(view(woven, i // 2 * 2 * wide, t), view(gradient, first, t))
        for j in range(n):
            even[j] = woven[2 * j]
            odd[j] = woven[2 * j + 1]
