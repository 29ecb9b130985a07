"""Kernels for depthwise filters, which apply the preceding norm while reading their input."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu.rows import norm, norm_backward
from asc_sweeps.models.cpu.vectors import accumulate, copy, inline_kernel, keep_alive, row_at, view


@inline_kernel
def _read(out_row, x, table, carry, carry_table, relu, i, c):
    """Read channel i of x, normalized if there is a table, plus that of `carry`, if any, normalized by its own table."""
    n = len(out_row)
    if len(table):
        norm(out_row, row_at(x, i, n), row_at(table, i, len(table) // c), relu, False)
    else:
        copy(out_row, row_at(x, i, n))
    if len(carry_table):
        norm(out_row, row_at(carry, i, n), row_at(carry_table, i, len(carry_table) // c), False, True)
    elif len(carry):
        accumulate(out_row, row_at(carry, i, n))


@inline_kernel
def _edges(n, t, width, dtype):
    """For filters along time: whether each element of a plane has a left and a right neighbour."""
    has_left, has_right = np.ones(n if width == 3 else 0, dtype), np.ones(n if width == 3 else 0, dtype)
    has_left[::t] = 0
    has_right[t - 1 :: t] = 0
    return has_left, has_right


@inline_kernel
def _around(padded, at, n):
    """A plane, and the same plane shifted by one element each backward_table."""
    return view(padded, at, n), view(padded, at - 1, n), view(padded, at + 1, n)


@inline_kernel
def filter(out, x, table, carry, carry_table, weight, c, n, t, width, relu):
    """Depthwise convolution of what `_read` returns: 3 along frequency, `width` (1 or 3) along time; weight [C, 3, width]."""
    zero, margin = x.dtype.type(0), (t + 16) // 16 * 16
    padded = np.zeros(n + 2 * margin, x.dtype)  # zeros above and below a plane; whole cache lines
    has_left, has_right = _edges(n, t, width, x.dtype)
    above, above_left, above_right = _around(padded, margin - t, n)
    here, left, right = _around(padded, margin, n)
    below, below_left, below_right = _around(padded, margin + t, n)
    for i in range(c):
        _read(here, x, table, carry, carry_table, relu, i, c)
        out_row, w = row_at(out, i, n), row_at(weight, i, 3 * width)
        if width == 1:
            w0, w1, w2 = w[0], w[1], w[2]
            for j in range(n):
                out_row[j] = w0 * above[j] + w1 * here[j] + w2 * below[j]
        else:
            w0, w1, w2, w3, w4, w5, w6, w7, w8 = w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8]
            for j in range(n):
                value = w1 * above[j] + w4 * here[j] + w7 * below[j]
                at_left = w0 * above_left[j] + w3 * left[j] + w6 * below_left[j]
                at_right = w2 * above_right[j] + w5 * right[j] + w8 * below_right[j]
                value += at_left if has_left[j] > zero else zero
                out_row[j] = value + (at_right if has_right[j] > zero else zero)
    keep_alive(padded)


@inline_kernel
def filter_backward(
    x_gradient, weight_gradient, gradient, before_norm, backward_table, x, table, carry, carry_table, weight, c, n, t, width, relu,
    relu_backward,
):  # fmt: skip
    """Backward pass of `filter`; with the `backward_table` of a following norm, `gradient` is that of the norm's result."""
    zero, margin = x.dtype.type(0), (t + 16) // 16 * 16
    padded, values = np.zeros(n + 2 * margin, x.dtype), np.empty(n, x.dtype)
    has_left, has_right = _edges(n, t, width, x.dtype)
    above, above_left, above_right = _around(padded, margin - t, n)
    here, left, right = _around(padded, margin, n)
    below, below_left, below_right = _around(padded, margin + t, n)
    for i in range(c):
        _read(values, x, table, carry, carry_table, relu, i, c)
        if len(backward_table):
            norm_backward(
                here,
                row_at(gradient, i, n),
                row_at(before_norm, i, n),
                row_at(backward_table, i, len(backward_table) // c),
                relu_backward,
            )
        else:
            copy(here, row_at(gradient, i, n))
        out_row, w, w_gradient = (
            row_at(x_gradient, i, n),
            row_at(weight, i, 3 * width),
            row_at(weight_gradient, i, 3 * width),
        )
        g0, g1, g2 = zero, zero, zero
        if width == 1:
            w0, w1, w2 = w[0], w[1], w[2]
            for j in range(n):
                out_row[j] = w2 * above[j] + w1 * here[j] + w0 * below[j]
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
                out_row[j] = value + (at_right if has_right[j] > zero else zero)
            for j in range(n):  # a loop of its own: there are not enough registers for both
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
            w_gradient[3] += g3
            w_gradient[4] += g4
            w_gradient[5] += g5
            w_gradient[6] += g6
            w_gradient[7] += g7
            w_gradient[8] += g8
        w_gradient[0] += g0
        w_gradient[1] += g1
        w_gradient[2] += g2
    keep_alive(padded)
