"""The operations of the compiled form, on the maps of one segment, and the loop that runs them for each segment in turn.

A map [C, F, T] is stored as one row of numbers, with a plane of F * T numbers per channel. Each operation computes its first operands
from the others. An operand of size 0 is absent.
"""

from __future__ import annotations

import numpy as np

from asc_sweeps.models.cpu import filters, planes, products, rows
from asc_sweeps.models.cpu.rows import CONSTANT, DEVIATION, MEAN, OF_GRADIENT, OF_INPUT, SCALE, SHIFT
from asc_sweeps.models.cpu.vectors import accumulate, add, compiled, copy, inline_kernel, row_at, view

OPERANDS, NUMBERS = 10, 6
"""Maximum per operation."""
ROW_WIDTH = 1 + 4 * OPERANDS + NUMBERS
"""Length of an operation's row: its code; for each operand the array, the start, the distance to the next segment's, and the size;
then numbers."""
SAVED, WORK, OWN = range(3)
"""Arrays: what the backward pass needs; what else outlives a phase; what each thread uses within a phase."""
(
    ADD, COPY, PRODUCT, PRODUCT_WEIGHT, UNFOLD, FOLD, FILTER, FILTER_BACKWARD, MOMENTS, NORM, NORM_SUMS,
    NORM_BACKWARD, ROW_MEANS, ROW_SPREAD, GATE, GATE_SUMS, GATE_BACKWARD, COLUMN_SUMS, ADD_LINE, RELU, RELU_BACKWARD,
    SILU, SILU_BACKWARD, SIGMOID, SIGMOID_BACKWARD, RESNORM, RESNORM_BACKWARD, POOL, POOL_BACKWARD, SHUFFLE_ADD,
    SHUFFLE_BACKWARD,
) = range(31)  # fmt: skip


@inline_kernel
def _operand(op, i, saved, work, b, own):
    array, first, stride, size = op[1 + 4 * i], op[2 + 4 * i], op[3 + 4 * i], op[4 + 4 * i]
    first += b * stride
    if array == OWN:
        first += own
    return view(saved, first, size) if array == SAVED else view(work, first, size)


@compiled
def run(ops, start, stop, step, saved, work, own):
    """A phase: rows `ops` [operations, ROW_WIDTH] on segments `start` to `stop`; the thread's numbers in `work` begin at `own`."""
    table, saved, work = view(ops.reshape(ops.size), 0, ops.size), view(saved, 0, len(saved)), view(work, 0, len(work))
    for b in range(start, stop, step):
        for i in range(len(ops)):
            op = row_at(table, i, ROW_WIDTH)
            code = op[0]
            p = _operand(op, 0, saved, work, b, own)
            q = _operand(op, 1, saved, work, b, own)
            r = _operand(op, 2, saved, work, b, own)
            s = _operand(op, 3, saved, work, b, own)
            u = _operand(op, 4, saved, work, b, own)
            v = _operand(op, 5, saved, work, b, own)
            k, l, m, n = op[1 + 4 * OPERANDS], op[2 + 4 * OPERANDS], op[3 + 4 * OPERANDS], op[4 + 4 * OPERANDS]
            if code == ADD:
                if len(r):
                    add(p, q, r)
                else:
                    accumulate(p, q)
            elif code == COPY:
                copy(p, q)
            elif code == PRODUCT:
                products.product(p, q, r, k, l, m, n, op[5 + 4 * OPERANDS])
            elif code == PRODUCT_WEIGHT:
                products.product_weight(p, q, r, k, l, m)
            elif code == UNFOLD:
                products.unfold(p, q, k, l, m, n)
            elif code == FOLD:
                products.fold(p, q, k, l, m, n)
            elif code == FILTER:
                filters.filter(p, q, r, s, u, v, k, l, m, n, op[5 + 4 * OPERANDS])
            elif code == FILTER_BACKWARD:
                w, x = _operand(op, 6, saved, work, b, own), _operand(op, 7, saved, work, b, own)
                y, z = _operand(op, 8, saved, work, b, own), _operand(op, 9, saved, work, b, own)
                is_relu, is_relu_backward = op[5 + 4 * OPERANDS], op[6 + 4 * OPERANDS]
                filters.filter_backward(p, q, r, s, u, v, w, x, y, z, k, l, m, n, is_relu, is_relu_backward)
            elif code == MOMENTS:
                rows.moments(p, q)
            elif code == NORM:
                rows.norm(p, q, r, k, False)
            elif code == NORM_SUMS:
                rows.norm_sums(p, q, r, s, k)
            elif code == NORM_BACKWARD:
                rows.norm_backward(p, q, r, s, k)
            elif code == ROW_MEANS:
                rows.row_means(p, q)
            elif code == ROW_SPREAD:
                rows.row_spread(p, q)
            elif code == GATE:
                rows.gate(p, q, r)
            elif code == GATE_SUMS:
                rows.gate_sums(p, q, r)
            elif code == GATE_BACKWARD:
                rows.gate_backward(p, q, r, s)
            elif code == COLUMN_SUMS:
                rows.column_sums(p, q, k, l, m)
            elif code == ADD_LINE:
                rows.add_line(p, q, r, s, k, l, m, n)
            elif code == RELU:
                rows.relu(p, q)
            elif code == RELU_BACKWARD:
                rows.relu_backward(p, q, r)
            elif code == SILU:
                rows.silu(p, q)
            elif code == SILU_BACKWARD:
                rows.silu_backward(p, q, r)
            elif code == SIGMOID:
                rows.sigmoid(p, q)
            elif code == SIGMOID_BACKWARD:
                rows.sigmoid_backward(p, q, r)
            elif code == RESNORM:
                planes.resnorm(p, q, r, s, u, k, l)
            elif code == RESNORM_BACKWARD:
                planes.resnorm_backward(p, q, r, s, u, v, k, l)
            elif code == POOL:
                planes.pool(p, q, r, k, l, m)
            elif code == POOL_BACKWARD:
                planes.pool_backward(p, q, r, k, l, m)
            elif code == SHUFFLE_ADD:
                planes.shuffle_add(p, q, r, k, l, m)
            elif code == SHUFFLE_BACKWARD:
                planes.shuffle_backward(p, q, k, l, m)


@compiled
def finish_norm(step, segments, saved, work, own, running_mean, running_var, momentum, eps):
    """Compute a norm's table from moments [segments, rows, 2], which update its running statistics; or from these alone.

    Moments are combined as in Chan et al. 1979, without cancellation; the running variance is the unbiased one.
    `step`: rows; numbers of a segment per statistic, or 0; operands as in an operation: table, weight, bias, moments.
    """
    rows, size = step[0], step[1]
    table = _operand(step[1:], 0, saved, work, 0, own)
    weight, bias = _operand(step[1:], 1, saved, work, 0, own), _operand(step[1:], 2, saved, work, 0, own)
    n = segments * size
    means, squares = np.zeros(rows), np.zeros(rows)
    for b in range(segments if size else 0):  # segment by segment, as in memory
        moments = _operand(step[1:], 3, saved, work, b, own)
        for j in range(rows):
            means[j] += moments[2 * j] / segments
    for b in range(segments if size else 0):
        moments = _operand(step[1:], 3, saved, work, b, own)
        for j in range(rows):
            squares[j] += (moments[2 * j + 1] + size * (moments[2 * j] - means[j]) ** 2) / n
    for j in range(rows):
        if size:
            running_mean[j] += momentum * (means[j] - running_mean[j])
            running_var[j] += momentum * (squares[j] * n / (n - 1) - running_var[j])
        else:
            means[j], squares[j] = running_mean[j], running_var[j]
        table[4 * j + MEAN] = means[j]
        table[4 * j + DEVIATION] = np.sqrt(squares[j] + eps)
        table[4 * j + SCALE] = weight[j] / table[4 * j + DEVIATION]
        table[4 * j + SHIFT] = bias[j] - means[j] * table[4 * j + SCALE]


@compiled
def finish_norm_backward(step, segments, saved, work, own, is_training):
    """Compute a norm's backward table and the gradients of its weight and bias from sums [segments, rows, 2].

    `step`: as in `finish_norm`; operands: backward table, both gradients, the norm's table, sums.
    """
    rows, n = step[0], segments * step[1]
    backward_table, table = _operand(step[1:], 0, saved, work, 0, own), _operand(step[1:], 3, saved, work, 0, own)
    weight_gradient, bias_gradient = (
        _operand(step[1:], 1, saved, work, 0, own),
        _operand(step[1:], 2, saved, work, 0, own),
    )
    totals, products = np.zeros(rows), np.zeros(rows)
    for b in range(segments):
        sums = _operand(step[1:], 4, saved, work, b, own)
        for j in range(rows):
            totals[j] += sums[2 * j]
            products[j] += sums[2 * j + 1]
    for j in range(rows):
        total, product = totals[j], products[j]
        mean, deviation, scale = table[4 * j + MEAN], table[4 * j + DEVIATION], table[4 * j + SCALE]
        weight_gradient[j] = product / deviation
        bias_gradient[j] = total
        slope = -scale * product / (deviation * deviation * n) if is_training else 0.0
        backward_table[4 * j + OF_GRADIENT], backward_table[4 * j + SHIFT] = scale, table[4 * j + SHIFT]
        backward_table[4 * j + OF_INPUT] = slope
        backward_table[4 * j + CONSTANT] = -scale * total / n - slope * mean if is_training else 0.0
