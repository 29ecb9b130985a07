"""The layers of the networks as operations: each writes its forward pass, and returns a function that writes its backward pass."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from torch import nn

from asc_sweeps.models.attention import FrequencyChannelGate
from asc_sweeps.models.blocks import BroadcastedBlock
from asc_sweeps.models.cpu import operations as do
from asc_sweeps.models.cpu.program import Map, NormStep, Program
from asc_sweeps.models.norms import ResNorm, SubSpectralNorm
from asc_sweeps.models.res2 import Res2

Backward = Callable[..., Map]
"""Writes a layer's backward pass: from its result's gradient to its input's, `into` a given map if there is one."""
Layer = tuple[Map, Backward]


def sequence(p: Program, layers: list[nn.Module], x: Map, into: Map | None = None) -> Layer:
    """Consecutive layers; the last writes its result `into` a given map if there is one."""
    layers = [layer for layer in layers if not (isinstance(layer, nn.Dropout2d) and not (layer.training and layer.p))]
    backwards: list[Backward] = []
    i = 0
    while i < len(layers):
        layer, following = layers[i], layers[i + 1] if i + 1 < len(layers) else None
        i += 1
        if isinstance(layer, nn.BatchNorm2d) and type(following) is nn.ReLU:
            i += 1
            x, backward = norm(p, layer, x, into if i == len(layers) else None, relu=True)
        else:
            x, backward = LAYERS[type(layer)](p, layer, x, into if i == len(layers) else None)
        backwards.append(backward)

    def all_backward(gradient: Map, into: Map | None = None) -> Map:
        for j, backward in reversed(list(enumerate(backwards))):
            gradient = backward(gradient, into if j == 0 else None)
        return gradient

    return x, all_backward


def identity(p: Program, _: nn.Identity, x: Map, into: Map | None = None) -> Layer:
    """Only a copy, if a map is given."""

    def copy(x: Map, into: Map | None = None) -> Map:
        return p.materialize(x, into) if into else x

    return copy(x, into), copy


def convolution(p: Program, layer: nn.Conv2d, x: Map, into: Map | None = None) -> Layer:
    """A depthwise filter along frequency, time or both; or a convolution over all channels, as a matrix product."""
    if layer.groups == 1:
        return product(p, layer, x, into)
    high, wide = layer.kernel_size
    f, t = (x.f, x.t) if high == 3 else (x.t, 1)  # along time on maps of one line: like along frequency
    weight, numbers = p.parameter(layer, "weight"), (x.c, f * t, t, wide if high == 3 else 1)
    out = into or p.new(x.c, x.f, x.t)
    inputs, relu = _summands(p, x)
    p.emit(do.FILTER, out, *inputs, weight, numbers=(*numbers, relu))

    def backward(gradient: Map, into: Map | None = None) -> Map:
        x_gradient = into or p.new(x.c, x.f, x.t)
        above, relu_backward = _read(p, gradient, 3)
        inputs, relu = _summands(p, x)
        operands = x_gradient, p.gradient(layer, "weight"), *above, *inputs, weight
        p.emit(do.FILTER_BACKWARD, *operands, numbers=(*numbers, relu, relu_backward))
        return x_gradient

    return out, backward


def _summands(p: Program, x: Map) -> tuple[list[Map | None], bool]:
    """A filter's inputs: a map, and another that is added while reading; each with a norm's table, or none."""
    first, second = x.summands or (x, None)
    (operands, relu), (added, is_relu_added) = _read(p, first, 2), _read(p, second, 2)
    if is_relu_added:
        raise ValueError("a filter's second input cannot have a ReLU")
    return operands + added, relu


def _read(p: Program, x: Map | None, count: int) -> tuple[list[Map | None], bool]:
    """`count` operands: x alone; or, if x is not in memory, the maps from which a norm computes it."""
    if x is None or p.available(x) or not x.norm_source:
        return [x and p.materialize(x)] + [None] * (count - 1), False
    return [p.materialize(part) for part in x.norm_source], x.relu


def product(p: Program, layer: nn.Conv2d, x: Map, into: Map | None = None) -> Layer:
    """A 1x1 convolution; or, for one channel, any square one, whose windows are first arranged as columns."""
    weight, kernel, stride = p.parameter(layer, "weight"), layer.kernel_size[0], layer.stride[0]
    m, k, image = layer.out_channels, layer.in_channels * kernel**2, x
    high, wide, windows = (x.f - 1) // stride + 1, (x.t - 1) // stride + 1, (x.f, x.t, kernel, stride)

    def unfolded(*_: int) -> Map:
        columns = p.new(k, high, wide)
        p.emit(do.UNFOLD, columns, p.materialize(image), numbers=windows)
        return columns

    if kernel > 1:
        x = p.lazy(unfolded, k, high, wide)
    out = into or p.new(m, x.f, x.t)
    p.emit(do.PRODUCT, out, weight, p.materialize(x), numbers=(m, k, x.n, k, 1))

    def backward(gradient: Map, into: Map | None = None) -> Map:
        gradient = p.materialize(gradient)
        p.emit(do.PRODUCT_WEIGHT, p.gradient(layer, "weight"), gradient, p.materialize(x), numbers=(m, k, x.n))
        if kernel > 1 and not p.has_input_gradient:
            return image
        x_gradient = (into if kernel == 1 else None) or p.new(k, x.f, x.t)
        p.emit(do.PRODUCT, x_gradient, weight, gradient, numbers=(k, m, x.n, 1, k))
        if kernel > 1:
            columns, x_gradient = x_gradient, p.new(1, image.f, image.t)
            p.emit(do.FOLD, x_gradient, columns, numbers=windows)
        return x_gradient

    return out, backward


def norm(
    p: Program, layer: nn.BatchNorm2d, x: Map, into: Map | None = None, bands: int = 1, *, relu: bool = False
) -> Layer:
    """Batch normalisation per channel, or per band of each channel; ReLU."""
    rows, size = x.c * bands, x.n // bands
    table = p.new(x.c, bands, 4, is_shared=True)
    of_table = table, p.parameter(layer, "weight"), p.parameter(layer, "bias")
    if p.is_training:
        moments = p.new(rows, 1, 2, is_kept=True)
        p.emit(do.MOMENTS, moments, p.materialize(x))
        p.end_phase(NormStep(layer, (*of_table, moments), size))
    else:
        p.norm_steps[-1].append(NormStep(layer, of_table))
    p.norms.append(layer)

    def make(first: int, c: int, into: Map | None = None) -> Map:
        out = into or p.new(c, x.f, x.t)
        p.emit(do.NORM, out, p.materialize(x.slice(first, c)), table.slice(first, c), numbers=(relu,))
        return out

    out = p.lazy(make, x.c, x.f, x.t, (x, table), relu)

    def backward(gradient: Map, into: Map | None = None) -> Map:
        gradient = p.materialize(gradient)
        sums, backward_table = p.new(rows, 1, 2, is_kept=True), p.new(x.c, bands, 4, is_shared=True)
        p.emit(do.NORM_SUMS, sums, gradient, p.materialize(x), table, numbers=(relu,))
        parameters_gradient = p.gradient(layer, "weight"), p.gradient(layer, "bias")
        p.end_phase(NormStep(layer, (backward_table, *parameters_gradient, table, sums), size, is_backward=True))

        def make_backward(first: int, c: int, into: Map | None = None) -> Map:
            # Memory that was just read is written to fastest; what comes to a norm before a ReLU is the gradient of that alone.
            above = gradient.slice(first, c)
            x_gradient = into or (above if relu else p.new(c, x.f, x.t))
            operands = (
                x_gradient,
                None if x_gradient is above else above,
                p.materialize(x.slice(first, c)),
                backward_table.slice(first, c),
            )
            p.emit(do.NORM_BACKWARD, *operands, numbers=(relu,))
            return x_gradient

        x_gradient = p.lazy(make_backward, x.c, x.f, x.t, (gradient, x, backward_table), relu)
        return p.materialize(x_gradient, into) if into else x_gradient

    return (p.materialize(out, into) if into else out), backward


def sub_spectral_norm(p: Program, layer: SubSpectralNorm, x: Map, into: Map | None = None) -> Layer:
    """Batch normalisation per sub-band."""
    return norm(p, layer.norm, x, into, layer.sub_bands)


def activation(p: Program, layer: nn.Module, x: Map, into: Map | None = None) -> Layer:
    """ReLU, whose backward pass needs its result; SiLU, whose backward pass needs its input."""
    code, code_backward = (do.RELU, do.RELU_BACKWARD) if isinstance(layer, nn.ReLU) else (do.SILU, do.SILU_BACKWARD)
    out = into or p.new(x.c, x.f, x.t)
    p.emit(code, out, p.materialize(x))
    out.phase = p.phase

    def backward(gradient: Map, into: Map | None = None) -> Map:
        x_gradient = into or p.new(x.c, x.f, x.t)
        p.emit(code_backward, x_gradient, p.materialize(gradient), p.materialize(out if code == do.RELU else x))
        return x_gradient

    return out, backward


def dropout(p: Program, layer: nn.Dropout2d, x: Map, into: Map | None = None) -> Layer:
    """Multiplies channels by 0 or 1 / (1 - p), drawn before the run."""
    mask = p.new(x.c, 1, 1, is_kept=True)
    p.masks.append((layer, mask))

    def times(x: Map, into: Map | None = None) -> Map:
        out = into or p.new(x.c, x.f, x.t)
        p.emit(do.GATE, out, p.materialize(x), mask)
        return out

    return times(x, into), times


def res2(p: Program, layer: Res2, x: Map, into: Map | None = None) -> Layer:
    """Slices of the channels, each with its operator; from the third on, the previous result is added first."""
    part = x.c // layer.scale
    results: list[Map] = []
    backwards: list[Backward] = []
    is_lazy = any(isinstance(m, SubSpectralNorm) for m in layer.modules())  # the last layer, quickly recomputed
    if not is_lazy:
        out = into or p.new(x.c, x.f, x.t)
    for i, operator in enumerate(layer.operators):
        values = x.slice(i * part, part)
        if i > 1:
            values = dataclasses.replace(values, summands=(values, results[-1]))
        layers = list(operator) if isinstance(operator, nn.Sequential) else [operator]
        result, backward = sequence(p, layers, values, None if is_lazy else out.slice(i * part, part))
        results.append(result)
        backwards.append(backward)

    def make(first: int, c: int, into: Map | None = None) -> Map:
        if c < x.c:
            raise ValueError("results of Res2 are only computed as a whole")
        whole = into or p.new(x.c, x.f, x.t)
        for i, result in enumerate(results):
            p.materialize(result, whole.slice(i * part, part))
        return whole

    if is_lazy:
        out = p.lazy(make, x.c, x.f, x.t)
        out = p.materialize(out, into) if into else out

    def all_backward(gradient: Map, into: Map | None = None) -> Map:
        x_gradient = into or p.new(x.c, x.f, x.t)
        for i, backward in reversed(list(enumerate(backwards))):
            input_slice = x_gradient.slice(i * part, part)
            above = gradient.slice(i * part, part)
            if 1 <= i < layer.scale - 1:  # the next slice, to which it was added
                above = add(p, above, x_gradient.slice((i + 1) * part, part))
            backward(above, input_slice)
        return x_gradient

    return out, all_backward


def add(p: Program, x: Map, y: Map, into: Map | None = None) -> Map:
    """The sum of two maps; by default in place of the first, which is not used afterwards."""
    if x.takes_summand and x.remake:
        return x.remake(0, x.c, into, y)
    x = p.materialize(x)
    if into:
        p.emit(do.ADD, into, x, p.materialize(y))
    else:
        p.emit(do.ADD, x, p.materialize(y))
    return into or x


def gate(p: Program, layer: FrequencyChannelGate, x: Map, into: Map | None = None) -> Layer:
    """Rows weighted by gates computed from their means over time."""
    squeeze, excite = p.parameter(layer.squeeze, "weight"), p.parameter(layer.excite, "weight")
    c, f, hidden = x.c, x.f, layer.squeeze.out_channels
    means, inner, gates = p.new(c, f, 1), p.new(hidden, f, 1), p.new(c, f, 1)
    between = p.new(hidden, f, 1)
    raw = p.new(c, f, 1)
    p.emit(do.ROW_MEANS, means, p.materialize(x))
    p.emit(do.PRODUCT, between, squeeze, means, numbers=(hidden, c, f, c, 1))
    p.emit(do.RELU, inner, between)
    p.emit(do.PRODUCT, raw, excite, inner, numbers=(c, hidden, f, hidden, 1))
    p.emit(do.SIGMOID, gates, raw)
    out = into or p.new(c, f, x.t)
    p.emit(do.GATE, out, p.materialize(x), gates)

    def make(first: int, count: int, into: Map | None = None) -> Map:
        again = into or p.new(count, f, x.t)
        p.emit(do.GATE, again, p.materialize(x.slice(first, count)), gates.slice(first, count))
        return again

    out.phase, out.remake = p.phase, make

    def backward(gradient: Map, into: Map | None = None) -> Map:
        gradient = p.materialize(gradient)
        gates_gradient, raw_gradient, inner_gradient, between_gradient, means_gradient = (
            p.new(rows, f, 1) for rows in (c, c, hidden, hidden, c)
        )
        p.emit(do.GATE_SUMS, gates_gradient, gradient, p.materialize(x))
        p.emit(do.SIGMOID_BACKWARD, raw_gradient, gates_gradient, gates)
        p.emit(do.PRODUCT_WEIGHT, p.gradient(layer.excite, "weight"), raw_gradient, inner, numbers=(c, hidden, f))
        p.emit(do.PRODUCT, inner_gradient, excite, raw_gradient, numbers=(hidden, c, f, 1, hidden))
        p.emit(do.RELU_BACKWARD, between_gradient, inner_gradient, inner)
        p.emit(do.PRODUCT_WEIGHT, p.gradient(layer.squeeze, "weight"), between_gradient, means, numbers=(hidden, c, f))
        p.emit(do.PRODUCT, means_gradient, squeeze, between_gradient, numbers=(c, hidden, f, 1, c))
        x_gradient = into or p.new(c, f, x.t)
        p.emit(do.GATE_BACKWARD, x_gradient, gradient, gates, means_gradient)
        return x_gradient

    return out, backward


def resnorm(p: Program, layer: ResNorm, x: Map, into: Map | None = None) -> Layer:
    """Residual normalisation."""
    out, mean, inverse = into or p.new(x.c, x.f, x.t), p.new(1, x.f, x.t), p.new(1, x.f, x.t)
    constants = p.constant(layer.weight, layer.eps)
    p.emit(do.RESNORM, out, mean, inverse, p.materialize(x), constants, numbers=(x.n, x.t))
    out.phase = p.phase

    def backward(gradient: Map, into: Map | None = None) -> Map:
        x_gradient = into or p.new(x.c, x.f, x.t)
        operands = x_gradient, p.materialize(gradient), p.materialize(x), mean, inverse, constants
        p.emit(do.RESNORM_BACKWARD, *operands, numbers=(x.n, x.t))
        return x_gradient

    return out, backward


def block(p: Program, layer: BroadcastedBlock, x: Map, into: Map | None = None) -> Layer:
    """The sum of 2-D features, 1-D features and, unless a transition, the input."""
    if layer.is_transition:
        x, transition_backward = sequence(p, list(layer.transition.children()), x)
    features, frequency_backward = LAYERS[type(layer.frequency)](p, layer.frequency, x)
    c, f, t, n = x.c, x.f, x.t, x.n
    line = p.new(c, 1, t)
    p.emit(do.COLUMN_SUMS, line, p.materialize(features), numbers=(n, t, f))
    line, temporal_backward = sequence(p, list(layer.temporal.children()), line)
    is_plain = isinstance(layer.output, nn.ReLU)
    total = p.new(c, f, t)
    other = None if layer.is_transition else p.materialize(x)
    p.emit(do.ADD_LINE, total, p.materialize(features), line, other, numbers=(n, t, 1, is_plain))
    out, output_backward = (total, None) if is_plain else sequence(p, list(layer.output.children()), total)

    def backward(gradient: Map, into: Map | None = None) -> Map:
        if output_backward:
            total_gradient = p.materialize(output_backward(gradient))
        else:
            total_gradient = p.new(c, f, t)
            p.emit(do.RELU_BACKWARD, total_gradient, p.materialize(gradient), total)
        sums = p.new(c, 1, t)
        p.emit(do.COLUMN_SUMS, sums, total_gradient, numbers=(n, t, 1))
        line_gradient = temporal_backward(sums)

        def features_gradient(first: int, count: int, into: Map | None = None, summand: Map | None = None) -> Map:
            part = into or p.new(count, f, t)
            summands = total_gradient.slice(first, count), line_gradient.slice(first, count), summand
            p.emit(do.ADD_LINE, part, *summands, numbers=(n, t, f, False))
            return part

        lazily = p.lazy(features_gradient, c, f, t)
        lazily.takes_summand = True
        x_gradient = frequency_backward(lazily)
        if layer.is_transition:
            return transition_backward(x_gradient, into)
        return add(p, x_gradient, total_gradient, into)

    return out, backward


LAYERS: dict[type[nn.Module], Callable[..., Layer]] = {
    nn.Identity: identity,
    nn.Conv2d: convolution,
    nn.BatchNorm2d: norm,
    nn.ReLU: activation,
    nn.SiLU: activation,
    nn.Dropout2d: dropout,
    nn.Sequential: lambda p, layers, x, into=None: sequence(p, list(layers), x, into),
    SubSpectralNorm: sub_spectral_norm,
    ResNorm: resnorm,
    Res2: res2,
    FrequencyChannelGate: gate,
    BroadcastedBlock: block,
}
