"""What each layer of the networks is as operations: the way there, and a function that writes down the way back."""

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

Back = Callable[..., Map]
"""From the gradient of a layer's result to that of its input, which is written into `into` if that is given."""
Layer = tuple[Map, Back]


def sequence(p: Program, layers: list[nn.Module], x: Map, into: Map | None = None) -> Layer:
    """Layers one after the other; the last writes its result into `into` if that is given."""
    layers = [layer for layer in layers if not (isinstance(layer, nn.Dropout2d) and not (layer.training and layer.p))]
    backs: list[Back] = []
    i = 0
    while i < len(layers):
        layer, following = layers[i], layers[i + 1] if i + 1 < len(layers) else None
        i += 1
        if isinstance(layer, nn.BatchNorm2d) and type(following) is nn.ReLU:
            i += 1
            x, back = norm(p, layer, x, into if i == len(layers) else None, relu=True)
        else:
            x, back = LAYERS[type(layer)](p, layer, x, into if i == len(layers) else None)
        backs.append(back)

    def all_back(gradient: Map, into: Map | None = None) -> Map:
        for j, back in reversed(list(enumerate(backs))):
            gradient = back(gradient, into if j == 0 else None)
        return gradient

    return x, all_back


def identity(p: Program, _: nn.Identity, x: Map, into: Map | None = None) -> Layer:
    """Nothing but a copy, where one is asked for."""

    def copy(x: Map, into: Map | None = None) -> Map:
        return p.here(x, into) if into else x

    return copy(x, into), copy


def convolution(p: Program, layer: nn.Conv2d, x: Map, into: Map | None = None) -> Layer:
    """A depthwise filter along frequency, time or both; or a convolution over all channels, as a product of matrices."""
    if layer.groups == 1:
        return product(p, layer, x, into)
    high, wide = layer.kernel_size
    f, t = (x.f, x.t) if high == 3 else (x.t, 1)  # along time, on lines: as along frequency
    weight, numbers = p.parameter(layer, "weight"), (x.c, f * t, t, wide if high == 3 else 1)
    out = into or p.new(x.c, x.f, x.t)
    operands, relu = _summands(p, x)
    p.do(do.FILTER, out, *operands, weight, numbers=(*numbers, relu))

    def back(gradient: Map, into: Map | None = None) -> Map:
        to_x = into or p.new(x.c, x.f, x.t)
        above, relu_back = _read(p, gradient, 3)
        operands, relu = _summands(p, x)
        operands = to_x, p.gradient(layer, "weight"), *above, *operands, weight
        p.do(do.FILTER_BACK, *operands, numbers=(*numbers, relu, relu_back))
        return to_x

    return out, back


def _summands(p: Program, x: Map) -> tuple[list[Map | None], bool]:
    """What a filter takes in: a map, and another that is added to it as it is read; each with a norm's table, or none."""
    first, second = x.summands or (x, None)
    (operands, relu), (added, is_relu_added) = _read(p, first, 2), _read(p, second, 2)
    if is_relu_added:
        raise ValueError("what a filter adds is not read through a ReLU")
    return operands + added, relu


def _read(p: Program, x: Map | None, count: int) -> tuple[list[Map | None], bool]:
    """So many operands: x and nothing else; or, where it is in memory only as what comes before a norm, what it is made from."""
    if x is None or p.found(x) or not x.through:
        return [x and p.here(x)] + [None] * (count - 1), False
    return [p.here(part) for part in x.through], x.relu


def product(p: Program, layer: nn.Conv2d, x: Map, into: Map | None = None) -> Layer:
    """A 1x1 convolution; or, of one channel, any square one, whose windows are made columns first."""
    weight, kernel, stride = p.parameter(layer, "weight"), layer.kernel_size[0], layer.stride[0]
    m, k, image = layer.out_channels, layer.in_channels * kernel**2, x
    high, wide, windows = (x.f - 1) // stride + 1, (x.t - 1) // stride + 1, (x.f, x.t, kernel, stride)

    def unfolded(*_: int) -> Map:
        columns = p.new(k, high, wide)
        p.do(do.UNFOLD, columns, p.here(image), numbers=windows)
        return columns

    if kernel > 1:
        x = p.lazy(unfolded, k, high, wide)
    out = into or p.new(m, x.f, x.t)
    p.do(do.PRODUCT, out, weight, p.here(x), numbers=(m, k, x.n, k, 1))

    def back(gradient: Map, into: Map | None = None) -> Map:
        gradient = p.here(gradient)
        p.do(do.PRODUCT_WEIGHT, p.gradient(layer, "weight"), gradient, p.here(x), numbers=(m, k, x.n))
        if kernel > 1 and not p.has_input_gradient:
            return image
        to_x = (into if kernel == 1 else None) or p.new(k, x.f, x.t)
        p.do(do.PRODUCT, to_x, weight, gradient, numbers=(k, m, x.n, 1, k))
        if kernel > 1:
            columns, to_x = to_x, p.new(1, image.f, image.t)
            p.do(do.FOLD, to_x, columns, numbers=windows)
        return to_x

    return out, back


def norm(
    p: Program, layer: nn.BatchNorm2d, x: Map, into: Map | None = None, bands: int = 1, *, relu: bool = False
) -> Layer:
    """Batch normalisation of channels, or of each band of each; ReLU."""
    rows, size = x.c * bands, x.n // bands
    table = p.new(x.c, bands, 4, is_shared=True)
    of_table = table, p.parameter(layer, "weight"), p.parameter(layer, "bias")
    if p.is_training:
        moments = p.new(rows, 1, 2, is_kept=True)
        p.do(do.MOMENTS, moments, p.here(x))
        p.end_phase(NormStep(layer, (*of_table, moments), size))
    else:
        p.norm_steps[-1].append(NormStep(layer, of_table))
    p.norms.append(layer)

    def make(first: int, c: int, into: Map | None = None) -> Map:
        out = into or p.new(c, x.f, x.t)
        p.do(do.NORM, out, p.here(x.slice(first, c)), table.slice(first, c), numbers=(relu,))
        return out

    out = p.lazy(make, x.c, x.f, x.t, (x, table), relu)

    def back(gradient: Map, into: Map | None = None) -> Map:
        gradient = p.here(gradient)
        sums, way = p.new(rows, 1, 2, is_kept=True), p.new(x.c, bands, 4, is_shared=True)
        p.do(do.NORM_SUMS, sums, gradient, p.here(x), table, numbers=(relu,))
        to_parameters = p.gradient(layer, "weight"), p.gradient(layer, "bias")
        p.end_phase(NormStep(layer, (way, *to_parameters, table, sums), size, is_back=True))

        def make_back(first: int, c: int, into: Map | None = None) -> Map:
            # Memory that was just read is written to fastest; what comes to a norm before a ReLU is the gradient of that alone.
            above = gradient.slice(first, c)
            to_x = into or (above if relu else p.new(c, x.f, x.t))
            operands = to_x, None if to_x is above else above, p.here(x.slice(first, c)), way.slice(first, c)
            p.do(do.NORM_BACK, *operands, numbers=(relu,))
            return to_x

        to_x = p.lazy(make_back, x.c, x.f, x.t, (gradient, x, way), relu)
        return p.here(to_x, into) if into else to_x

    return (p.here(out, into) if into else out), back


def sub_spectral_norm(p: Program, layer: SubSpectralNorm, x: Map, into: Map | None = None) -> Layer:
    """Each sub-band on its own."""
    return norm(p, layer.norm, x, into, layer.sub_bands)


def activation(p: Program, layer: nn.Module, x: Map, into: Map | None = None) -> Layer:
    """ReLU, whose way back needs its result; SiLU, whose way back needs what it came from."""
    code, code_back = (do.RELU, do.RELU_BACK) if isinstance(layer, nn.ReLU) else (do.SILU, do.SILU_BACK)
    out = into or p.new(x.c, x.f, x.t)
    p.do(code, out, p.here(x))
    out.phase = p.phase

    def back(gradient: Map, into: Map | None = None) -> Map:
        to_x = into or p.new(x.c, x.f, x.t)
        p.do(code_back, to_x, p.here(gradient), p.here(out if code == do.RELU else x))
        return to_x

    return out, back


def dropout(p: Program, layer: nn.Dropout2d, x: Map, into: Map | None = None) -> Layer:
    """Channels times 0 or 1 / (1 - p), which are drawn before."""
    mask = p.new(x.c, 1, 1, is_kept=True)
    p.masks.append((layer, mask))

    def times(x: Map, into: Map | None = None) -> Map:
        out = into or p.new(x.c, x.f, x.t)
        p.do(do.GATE, out, p.here(x), mask)
        return out

    return times(x, into), times


def res2(p: Program, layer: Res2, x: Map, into: Map | None = None) -> Layer:
    """Slices of the channels, each through its operator; from the third on, with the result before it added first."""
    part, results, backs = x.c // layer.scale, [], []
    is_lazy = any(
        isinstance(m, SubSpectralNorm) for m in layer.modules()
    )  # it comes last, and what it makes is made quickly
    if not is_lazy:
        out = into or p.new(x.c, x.f, x.t)
    for i, operator in enumerate(layer.operators):
        values = x.slice(i * part, part)
        if i > 1:
            values = dataclasses.replace(values, summands=(values, results[-1]))
        layers = list(operator) if isinstance(operator, nn.Sequential) else [operator]
        result, back = sequence(p, layers, values, None if is_lazy else out.slice(i * part, part))
        results.append(result)
        backs.append(back)

    def make(first: int, c: int, into: Map | None = None) -> Map:
        if c < x.c:
            raise ValueError("results of Res2 are made all at once")
        whole = into or p.new(x.c, x.f, x.t)
        for i, result in enumerate(results):
            p.here(result, whole.slice(i * part, part))
        return whole

    if is_lazy:
        out = p.lazy(make, x.c, x.f, x.t)
        out = p.here(out, into) if into else out

    def all_back(gradient: Map, into: Map | None = None) -> Map:
        to_x = into or p.new(x.c, x.f, x.t)
        for i, back in reversed(list(enumerate(backs))):
            place = to_x.slice(i * part, part)
            above = gradient.slice(i * part, part)
            if 1 <= i < layer.scale - 1:  # what it was added to
                above = add(p, above, to_x.slice((i + 1) * part, part))
            back(above, place)
        return to_x

    return out, all_back


def add(p: Program, x: Map, y: Map, into: Map | None = None) -> Map:
    """The sum of two maps; in the place of the first, which nobody else needs, where none is given."""
    if x.takes_summand:
        return x.remake(0, x.c, into, y)
    x = p.here(x)
    if into:
        p.do(do.ADD, into, x, p.here(y))
    else:
        p.do(do.ADD, x, p.here(y))
    return into or x


def gate(p: Program, layer: FrequencyChannelGate, x: Map, into: Map | None = None) -> Layer:
    """Rows weighted by what their means over time say."""
    squeeze, excite = p.parameter(layer.squeeze, "weight"), p.parameter(layer.excite, "weight")
    c, f, hidden = x.c, x.f, layer.squeeze.out_channels
    means, inner, gates = p.new(c, f, 1), p.new(hidden, f, 1), p.new(c, f, 1)
    between = p.new(hidden, f, 1)
    raw = p.new(c, f, 1)
    p.do(do.ROW_MEANS, means, p.here(x))
    p.do(do.PRODUCT, between, squeeze, means, numbers=(hidden, c, f, c, 1))
    p.do(do.RELU, inner, between)
    p.do(do.PRODUCT, raw, excite, inner, numbers=(c, hidden, f, hidden, 1))
    p.do(do.SIGMOID, gates, raw)
    out = into or p.new(c, f, x.t)
    p.do(do.GATE, out, p.here(x), gates)

    def make(first: int, count: int, into: Map | None = None) -> Map:
        again = into or p.new(count, f, x.t)
        p.do(do.GATE, again, p.here(x.slice(first, count)), gates.slice(first, count))
        return again

    out.phase, out.remake = p.phase, make

    def back(gradient: Map, into: Map | None = None) -> Map:
        gradient = p.here(gradient)
        to_gates, to_raw, to_inner, to_between, to_means = (p.new(rows, f, 1) for rows in (c, c, hidden, hidden, c))
        p.do(do.GATE_SUMS, to_gates, gradient, p.here(x))
        p.do(do.SIGMOID_BACK, to_raw, to_gates, gates)
        p.do(do.PRODUCT_WEIGHT, p.gradient(layer.excite, "weight"), to_raw, inner, numbers=(c, hidden, f))
        p.do(do.PRODUCT, to_inner, excite, to_raw, numbers=(hidden, c, f, 1, hidden))
        p.do(do.RELU_BACK, to_between, to_inner, inner)
        p.do(do.PRODUCT_WEIGHT, p.gradient(layer.squeeze, "weight"), to_between, means, numbers=(hidden, c, f))
        p.do(do.PRODUCT, to_means, squeeze, to_between, numbers=(c, hidden, f, 1, c))
        to_x = into or p.new(c, f, x.t)
        p.do(do.GATE_BACK, to_x, gradient, gates, to_means)
        return to_x

    return out, back


def resnorm(p: Program, layer: ResNorm, x: Map, into: Map | None = None) -> Layer:
    """Residual normalisation."""
    out, mean, inverse = into or p.new(x.c, x.f, x.t), p.new(1, x.f, x.t), p.new(1, x.f, x.t)
    constants = p.constant(layer.weight, layer.eps)
    p.do(do.RESNORM, out, mean, inverse, p.here(x), constants, numbers=(x.n, x.t))
    out.phase = p.phase

    def back(gradient: Map, into: Map | None = None) -> Map:
        to_x = into or p.new(x.c, x.f, x.t)
        operands = to_x, p.here(gradient), p.here(x), mean, inverse, constants
        p.do(do.RESNORM_BACK, *operands, numbers=(x.n, x.t))
        return to_x

    return out, back


def block(p: Program, layer: BroadcastedBlock, x: Map, into: Map | None = None) -> Layer:
    """2-D features, 1-D features and identity."""
    if layer.is_transition:
        x, transition_back = sequence(p, list(layer.transition), x)
    features, frequency_back = LAYERS[type(layer.frequency)](p, layer.frequency, x)
    c, f, t, n = x.c, x.f, x.t, x.n
    line = p.new(c, 1, t)
    p.do(do.COLUMN_SUMS, line, p.here(features), numbers=(n, t, f))
    line, temporal_back = sequence(p, list(layer.temporal), line)
    is_plain = isinstance(layer.output, nn.ReLU)
    total = p.new(c, f, t)
    other = None if layer.is_transition else p.here(x)
    p.do(do.ADD_LINE, total, p.here(features), line, other, numbers=(n, t, 1, is_plain))
    out, output_back = (total, None) if is_plain else sequence(p, list(layer.output), total)

    def back(gradient: Map, into: Map | None = None) -> Map:
        if output_back:
            to_total = p.here(output_back(gradient))
        else:
            to_total = p.new(c, f, t)
            p.do(do.RELU_BACK, to_total, p.here(gradient), total)
        sums = p.new(c, 1, t)
        p.do(do.COLUMN_SUMS, sums, to_total, numbers=(n, t, 1))
        to_line = temporal_back(sums)

        def to_features(first: int, count: int, into: Map | None = None, summand: Map | None = None) -> Map:
            made = into or p.new(count, f, t)
            summands = to_total.slice(first, count), to_line.slice(first, count), summand
            p.do(do.ADD_LINE, made, *summands, numbers=(n, t, f, False))
            return made

        lazily = p.lazy(to_features, c, f, t)
        lazily.takes_summand = True
        to_x = frequency_back(lazily)
        if layer.is_transition:
            return transition_back(to_x, into)
        return add(p, to_x, to_total, into)

    return out, back


LAYERS = {
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
