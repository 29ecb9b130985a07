"""The whole network as a program: stem, stages and feature pyramid (`layers` has what they are made of)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from asc_sweeps.models.architecture import POOLED_STAGES
from asc_sweeps.models.cpu import operations as do
from asc_sweeps.models.cpu.layers import Layer, add, block, product, sequence
from asc_sweeps.models.cpu.program import Map, Program
from asc_sweeps.models.fpm import FeaturePyramid

if TYPE_CHECKING:
    from asc_sweeps.models.network import Network


def max_pool(p: Program, x: Map) -> Layer:
    """2 x 2, sizes rounded up."""
    out, places = (p.new(x.c, (x.f + 1) // 2, (x.t + 1) // 2) for _ in range(2))
    p.do(do.POOL, out, places, p.here(x), numbers=(x.c, x.f, x.t))

    def back(gradient: Map, into: Map | None = None) -> Map:
        to_x = into or p.new(x.c, x.f, x.t)
        p.do(do.POOL_BACK, to_x, p.here(gradient), places, numbers=(x.c, x.f, x.t))
        return to_x

    return out, back


def pyramid(p: Program, layer: FeaturePyramid, stages: list[Map], out: Map) -> Callable[[Map], list[Callable[[], Map]]]:
    """The feature pyramid; its way back gives, for each stage, what writes down the gradient of that stage's result."""
    levels, lateral_backs = [], []
    for lateral, stage in zip(layer.lateral, stages, strict=True):
        level, back = product(p, lateral, stage)
        levels.append(level)
        lateral_backs.append(back)
    levels[2] = add(p, levels[2], levels[3])
    upsample_backs = {}
    for i in (1, 0):
        up, upsample_backs[i] = product(p, layer.upsample[i][0], levels[i + 1])
        below = levels[i]
        levels[i] = p.new(below.c, below.f, below.t)
        p.do(do.SHUFFLE_ADD, levels[i], below, up, numbers=(below.c, below.f, below.t))
    width, smooth_backs = levels[0].c, []
    for i, (smooth, level) in enumerate(zip(layer.smooth, levels, strict=True)):
        result, back = block(p, smooth, level)
        p.do(do.ROW_MEANS, out.slice(i * width, width), p.here(result))
        smooth_backs.append(back)

    def back(gradient: Map) -> list[Callable[[], Map]]:
        found: list[Map] = []
        for i, level in enumerate(levels):
            means = gradient.slice(i * width, width)
            spread = p.new(width, level.f, level.t)
            p.do(do.ROW_SPREAD, spread, means)
            found.append(smooth_backs[i](spread))
            if i in (1, 2):
                lower = levels[i - 1]
                to_up = p.new(4 * width, level.f, level.t)
                p.do(do.SHUFFLE_BACK, to_up, p.here(found[i - 1]), numbers=(width, lower.f, lower.t))
                found[i] = add(p, found[i], upsample_backs[i - 1](to_up))
            if i == 3:
                found[3] = add(p, found[3], found[2])
        return [lambda i=i: lateral_backs[i](found[i]) for i in range(len(levels))]

    return back


def network(p: Program, layer: Network, f: int, t: int) -> None:
    """All but the classifier, on [1, f, t]."""
    p.image = p.new(1, f, t, is_kept=True)
    x, stem_back = sequence(p, list(layer.stem), p.image)
    backs, outputs = [], []
    for i, stage in enumerate(layer.stages):
        pool_back = None
        if i in POOLED_STAGES:
            x, pool_back = max_pool(p, x)
        x, stage_back = sequence(p, list(stage), x)
        outputs.append(x)
        backs.append((stage_back, pool_back))
    p.features = p.new(layer.classifier.weight.shape[1], 1, 1, is_kept=True)
    if layer.pyramid:
        pyramid_back = pyramid(p, layer.pyramid, outputs, p.features)
    else:
        p.do(do.ROW_MEANS, p.features, p.here(x))
    if not p.has_way_back:
        return
    p.turn()
    p.to_features = p.new(p.features.c, 1, 1, is_kept=True)
    if layer.pyramid:
        from_pyramid = pyramid_back(p.to_features)
        gradient = from_pyramid[-1]()
    else:
        gradient = p.new(x.c, x.f, x.t)
        p.do(do.ROW_SPREAD, gradient, p.to_features)
    for i, (stage_back, pool_back) in reversed(list(enumerate(backs))):
        if layer.pyramid and i < len(backs) - 1:
            gradient = add(p, from_pyramid[i](), gradient)
        gradient = stage_back(gradient)
        if pool_back:
            gradient = pool_back(gradient)
    gradient = stem_back(gradient)
    if p.has_input_gradient:
        p.to_image = p.new(1, f, t, is_kept=True)
        p.here(gradient, p.to_image)
