"""Kernels that work row by row: norms, gates, means, activations."""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu.vectors import accumulate, add, copy, inline_kernel, row_at, view

MEAN, DEVIATION, SCALE, SHIFT = range(4)
"""Entries of a norm's table [C, bands, 4]: the result is SCALE * x + SHIFT."""
OF_INPUT, CONSTANT, OF_GRADIENT = MEAN, DEVIATION, SCALE
"""Entries of a norm's backward table [C, bands, 4]: the input's gradient is OF_GRADIENT * gradient + OF_INPUT * x + CONSTANT.
OF_GRADIENT equals SCALE, and SHIFT is kept: both are needed to see where a ReLU was zero."""


@inline_kernel
def moments(out, x):
    """Mean and sum of squared deviations of each row; out [rows, 2]."""
    n = len(x) // (len(out) // 2)
    for r in range(len(out) // 2):
        row = row_at(x, r, n)
        total = x.dtype.type(0)
        for i in range(n):
            total += row[i]
        mean = total / x.dtype.type(n)
        square = x.dtype.type(0)
        for i in range(n):
            square += (row[i] - mean) * (row[i] - mean)
        out[2 * r], out[2 * r + 1] = mean, square


@inline_kernel
def norm(out, x, table, relu, is_added):
    """SCALE * x + SHIFT, with ReLU if `relu`; added to `out` if `is_added`."""
    rows = len(table) // 4
    n = len(x) // rows
    zero = x.dtype.type(0)
    for r in range(rows):
        values, out_row = row_at(x, r, n), row_at(out, r, n)
        scale, shift = table[4 * r + SCALE], table[4 * r + SHIFT]
        if relu:
            for i in range(n):
                value = scale * values[i] + shift
                out_row[i] = zero if value < zero else value
        elif is_added:
            for i in range(n):
                out_row[i] += scale * values[i] + shift
        else:
            for i in range(n):
                out_row[i] = scale * values[i] + shift


@inline_kernel
def norm_sums(sums, gradient, x, table, relu):
    """Sums of the gradient of the norm's result, before its ReLU, and of its products with x - MEAN, [rows, 2]."""
    rows = len(table) // 4
    n = len(x) // rows
    zero = x.dtype.type(0)
    for r in range(rows):
        gradient_row, values = row_at(gradient, r, n), row_at(x, r, n)
        mean, scale, shift = table[4 * r + MEAN], table[4 * r + SCALE], table[4 * r + SHIFT]
        total, product = zero, zero
        for i in range(n):
            g = zero if relu and not scale * values[i] + shift > zero else gradient_row[i]
            total += g
            product += g * (values[i] - mean)
        sums[2 * r], sums[2 * r + 1] = total, product


@inline_kernel
def norm_backward(out, gradient, x, backward_table, relu):
    """Backward pass of `norm`; without `gradient`, in out_row: `out` contains the gradient of the norm's result."""
    rows = len(backward_table) // 4
    n = len(x) // rows
    zero = x.dtype.type(0)
    for r in range(rows):
        gradient_row, values, out_row = row_at(gradient, r, n), row_at(x, r, n), row_at(out, r, n)
        of_gradient, of_input, constant = (
            backward_table[4 * r + OF_GRADIENT],
            backward_table[4 * r + OF_INPUT],
            backward_table[4 * r + CONSTANT],
        )
        scale, shift = of_gradient, backward_table[4 * r + SHIFT]
        if len(gradient):
            for i in range(n):
                g = zero if relu and not scale * values[i] + shift > zero else gradient_row[i]
                out_row[i] = of_gradient * g + of_input * values[i] + constant
        else:
            for i in range(n):
                g = zero if relu and not scale * values[i] + shift > zero else out_row[i]
                out_row[i] = of_gradient * g + of_input * values[i] + constant


@inline_kernel
def row_means(out, x):
    n = len(x) // len(out)
    for r in range(len(out)):
        row = row_at(x, r, n)
        total = x.dtype.type(0)
        for i in range(n):
            total += row[i]
        out[r] = total / x.dtype.type(n)


@inline_kernel
def row_spread(out, means):
    """Backward pass of `row_means`."""
    n = len(out) // len(means)
    for r in range(len(means)):
        row_at(out, r, n)[:] = means[r] / out.dtype.type(n)


@inline_kernel
def gate(out, x, gates):
    """Multiply each row of x by a number."""
    n = len(x) // len(gates)
    for r in range(len(gates)):
        row, out_row, gate = row_at(x, r, n), row_at(out, r, n), gates[r]
        for i in range(n):
            out_row[i] = row[i] * gate


@inline_kernel
def gate_sums(out, gradient, x):
    """Backward pass of `gate`: the gradient of the gates."""
    n = len(x) // len(out)
    for r in range(len(out)):
        gradient_row, row = row_at(gradient, r, n), row_at(x, r, n)
        total = x.dtype.type(0)
        for i in range(n):
            total += gradient_row[i] * row[i]
        out[r] = total


@inline_kernel
def gate_backward(out, gradient, gates, means_gradient):
    """Backward pass of `gate`: the gradient of its rows, from whose means the gates were computed."""
    n = len(out) // len(gates)
    for r in range(len(gates)):
        gradient_row, out_row = row_at(gradient, r, n), row_at(out, r, n)
        gate, share = gates[r], means_gradient[r] / out.dtype.type(n)
        for i in range(n):
            out_row[i] = gradient_row[i] * gate + share


@inline_kernel
def column_sums(out, x, n, t, divisor):
    """Sums over frequency, [C, T], by adding the second half of the rows to the first until one is left."""
    half = np.empty((n // t + 1) // 2 * t, x.dtype)
    for c in range(len(x) // n):
        plane, rows = row_at(x, c, n), n // t
        left = (rows + 1) // 2
        add(view(half, 0, (rows - left) * t), plane, view(plane, left * t, (rows - left) * t))
        if rows % 2:
            copy(row_at(half, left - 1, t), row_at(plane, left - 1, t))
        while left > 1:
            rows, left = left, (left + 1) // 2
            accumulate(view(half, 0, (rows - left) * t), view(half, left * t, (rows - left) * t))
        for i in range(t):
            out[c * t + i] = half[i] / x.dtype.type(divisor)


@inline_kernel
def add_line(out, x, line, other, n, t, divisor, relu):
    """The sum of x, a line [C, T] divided by `divisor`, broadcast over frequency, and another map; ReLU."""
    zero = x.dtype.type(0)
    tile = np.empty(min(n // t, max(1, 512 // t)) * t, x.dtype)  # the line, repeated for longer loops
    for c in range(len(x) // n):
        for i in range(t):
            tile[i] = line[c * t + i] / x.dtype.type(divisor)
        size = t
        while size < len(tile):
            copy(view(tile, size, min(size, len(tile) - size)), tile)
            size *= 2
        for j in range(c * n, (c + 1) * n, len(tile)):
            size = min(len(tile), (c + 1) * n - j)
            out_row, values, others = view(out, j, size), view(x, j, size), view(other, j, size if len(other) else 0)
            if len(others):
                for i in range(len(out_row)):
                    value = values[i] + tile[i] + others[i]
                    out_row[i] = zero if relu and value < zero else value
            else:
                for i in range(len(out_row)):
                    value = values[i] + tile[i]
                    out_row[i] = zero if relu and value < zero else value


@inline_kernel
def relu(out, x):
    for i in range(len(out)):
        out[i] = 0 if x[i] < 0 else x[i]


@inline_kernel
def relu_backward(out, gradient, y):
    for i in range(len(out)):
        out[i] = gradient[i] if y[i] > 0 else 0


@inline_kernel
def _exp(x):
    """Exponential; in single precision by vector instructions, accurate to the last digit but one."""
    if x.itemsize == 8:
        return np.exp(x)
    out, powers = np.empty_like(x), np.empty(len(x), np.int32)
    for i in range(len(x)):  # 2 ** whole * e ** rest
        value = min(max(x[i], np.float32(-87)), np.float32(88))
        whole = np.floor(value * np.float32(1.44269504) + np.float32(0.5))
        rest = (value - whole * np.float32(0.693359375)) + whole * np.float32(2.12194440e-4)
        p = np.float32(1.9875691500e-4) * rest + np.float32(1.3981999507e-3)
        p = p * rest + np.float32(8.3334519073e-3)
        p = p * rest + np.float32(4.1665795894e-2)
        p = p * rest + np.float32(1.6666665459e-1)
        p = p * rest + np.float32(5.0000001201e-1)
        out[i] = p * rest * rest + rest + np.float32(1) if x[i] == x[i] else x[i]
        powers[i] = (np.int32(whole) + np.int32(127)) << np.int32(23)
    return out * powers.view(np.float32)


@inline_kernel
def sigmoid(out, x):
    one, powers = x.dtype.type(1), _exp(-x)
    for i in range(len(out)):
        out[i] = one / (one + powers[i])


@inline_kernel
def silu(out, x):
    sigmoid(out, x)
    for i in range(len(out)):
        out[i] *= x[i]


@inline_kernel
def silu_backward(out, gradient, x):
    one, s = x.dtype.type(1), np.empty_like(x)
    sigmoid(s, x)
    for i in range(len(out)):
        out[i] = gradient[i] * s[i] * (one + x[i] * (one - s[i]))


@inline_kernel
def sigmoid_backward(out, gradient, y):
    one = y.dtype.type(1)
    for i in range(len(out)):
        out[i] = gradient[i] * y[i] * (one - y[i])
