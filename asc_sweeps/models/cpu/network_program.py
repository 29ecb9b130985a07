"""The whole network as a program: stem, stages and feature pyramid, made of `layers`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, cast

from asc_sweeps.models.architecture import POOLED_STAGES
from asc_sweeps.models.cpu import operations as do
from asc_sweeps.models.cpu.layers import Backward, Layer, add, block, product, sequence
from asc_sweeps.models.cpu.program import Map, Program
from asc_sweeps.models.fpm import FeaturePyramid

if TYPE_CHECKING:
    from torch import nn

    from asc_sweeps.models.blocks import BroadcastedBlock
    from asc_sweeps.models.network import Network


def max_pool(p: Program, x: Map) -> Layer:
    """2 x 2 max-pooling; sizes are rounded up."""
    out, positions = (p.new(x.c, (x.f + 1) // 2, (x.t + 1) // 2) for _ in range(2))
    p.emit(do.POOL, out, positions, p.materialize(x), numbers=(x.c, x.f, x.t))

    def backward(gradient: Map, into: Map | None = None) -> Map:
        x_gradient = into or p.new(x.c, x.f, x.t)
        p.emit(do.POOL_BACKWARD, x_gradient, p.materialize(gradient), positions, numbers=(x.c, x.f, x.t))
        return x_gradient

    return out, backward


def pyramid(p: Program, layer: FeaturePyramid, stages: list[Map], out: Map) -> Callable[[Map], list[Callable[[], Map]]]:
    """The feature pyramid; its backward pass returns, for each stage, a function that writes the gradient of that stage's result."""
    levels: list[Map] = []
    lateral_backwards: list[Backward] = []
    for lateral, stage in zip(layer.lateral, stages, strict=True):
        level, lateral_backward = product(p, cast("nn.Conv2d", lateral), stage)  # a ModuleList declares modules
        levels.append(level)
        lateral_backwards.append(lateral_backward)
    levels[2] = add(p, levels[2], levels[3])
    upsample_backwards: dict[int, Backward] = {}
    for i in (1, 0):
        convolution = cast("nn.Conv2d", next(layer.upsample[i].children()))
        up, upsample_backwards[i] = product(p, convolution, levels[i + 1])
        below = levels[i]
        levels[i] = p.new(below.c, below.f, below.t)
        p.emit(do.SHUFFLE_ADD, levels[i], below, up, numbers=(below.c, below.f, below.t))
    width, smooth_backwards = levels[0].c, []
    for i, (smooth, level) in enumerate(zip(layer.smooth, levels, strict=True)):
        result, smooth_backward = block(p, cast("BroadcastedBlock", smooth), level)
        p.emit(do.ROW_MEANS, out.slice(i * width, width), p.materialize(result))
        smooth_backwards.append(smooth_backward)

    def backward(gradient: Map) -> list[Callable[[], Map]]:
        gradients: list[Map] = []
        for i, level in enumerate(levels):
            means = gradient.slice(i * width, width)
            spread = p.new(width, level.f, level.t)
            p.emit(do.ROW_SPREAD, spread, means)
            gradients.append(smooth_backwards[i](spread))
            if i in (1, 2):
                lower = levels[i - 1]
                up_gradient = p.new(4 * width, level.f, level.t)
                p.emit(
                    do.SHUFFLE_BACKWARD, up_gradient, p.materialize(gradients[i - 1]), numbers=(width, lower.f, lower.t)
                )
                gradients[i] = add(p, gradients[i], upsample_backwards[i - 1](up_gradient))
            if i == 3:
                gradients[3] = add(p, gradients[3], gradients[2])
        return [partial(lateral, gradient) for lateral, gradient in zip(lateral_backwards, gradients, strict=True)]

    return backward


def network(p: Program, layer: Network, f: int, t: int) -> None:
    """Everything before the classifier, for an input [1, f, t]."""
    p.image = p.new(1, f, t, is_kept=True)
    x, stem_backward = sequence(p, list(layer.stem.children()), p.image)
    backwards, outputs = [], []
    for i, stage in enumerate(layer.stages):
        pool_backward = None
        if i in POOLED_STAGES:
            x, pool_backward = max_pool(p, x)
        x, stage_backward = sequence(p, list(stage.children()), x)
        outputs.append(x)
        backwards.append((stage_backward, pool_backward))
    p.features = p.new(layer.classifier.weight.shape[1], 1, 1, is_kept=True)
    if layer.pyramid:
        pyramid_backward = pyramid(p, layer.pyramid, outputs, p.features)
    else:
        p.emit(do.ROW_MEANS, p.features, p.materialize(x))
    if not p.has_backward:
        return
    p.begin_backward()
    p.features_gradient = p.new(p.features.c, 1, 1, is_kept=True)
    if layer.pyramid:
        from_pyramid = pyramid_backward(p.features_gradient)
        gradient = from_pyramid[-1]()
    else:
        gradient = p.new(x.c, x.f, x.t)
        p.emit(do.ROW_SPREAD, gradient, p.features_gradient)
    for i, (stage_backward, pool_backward) in reversed(list(enumerate(backwards))):
        if layer.pyramid and i < len(backwards) - 1:
            gradient = add(p, from_pyramid[i](), gradient)
        gradient = stage_backward(gradient)
        if pool_backward:
            gradient = pool_backward(gradient)
    gradient = stem_backward(gradient)
    if p.has_input_gradient:
        p.image_gradient = p.new(1, f, t, is_kept=True)
        p.materialize(gradient, p.image_gradient)
