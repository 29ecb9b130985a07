"""Depthwise filters, which read what they filter through the norm before it (`operations`)."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu.rows import norm, norm_back
from asc_sweeps.models.cpu.vectors import accumulate, copy, keep, nth, part, view


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
            for j in range(n):  # by itself: there are not registers enough for both
                middle = values[j]
                with_left = middle if has_left[j] > zero else zero
                with_right = middle if has_right[j] > zero else zero
                g8 += with_left * above_left[j]
                g7 += middle * above[j]
                g6 += with_right * above_right[j]
                g5 += with_left * left[j]
                g4 += middle * here[j]
                g3 += with_right * right[j]
                g2 += with_left * below_left[j]
                g1 += middle * below[j]
                g0 += with_right * below_right[j]
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
