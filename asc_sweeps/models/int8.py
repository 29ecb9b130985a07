"""INT8: a network that trains with its numbers rounded, and the network of integers that it becomes (Sec. 6).

Training, every convolution and Linear sees its input and its weight in 8 bits (fake quantization, straight-through gradients),
and every norm its weight and bias. Converted, all parameters are int8; convolutions and Linear sum integers.

Decided, since the paper is silent:
- ResNorm stays in floating point: it has no parameters, and its statistics are each segment's own; rounding its input would put an
  error below a deviation that divides it.
- SubSpectralNorm and BatchNorm keep their place. A convolution's weights have one scale per output channel, so a norm behind it
  only multiplies that scale: folded in, the weights would have the same levels. Their weight and bias become int8, their running
  statistics stay in floating point: they are no parameters.
- Sums, pooling and gates stay in floating point.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc_sweeps.models.network import Network

LEVELS = 255
"""Highest level of an input; the lowest is 0."""
WEIGHT_LEVELS = 127
MIN_SCALE = 1e-8
"""A scale is never smaller: a channel of zeros divides by no zero."""
MOMENTUM = 0.01
"""Share of a mini-batch's range in the running range."""


class InputRange(nn.Module):
    """Running range of a layer's input, to which the input is rounded. Moves in training, stands still in eval mode."""

    low: Tensor
    high: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.calibrating = False

    def forward(self, x: Tensor) -> Tensor:
        if self.training or self.calibrating:
            self._observe(x.detach())
        scale, zero = self.levels()
        return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, LEVELS)

    def levels(self) -> tuple[Tensor, Tensor]:
        """Scale (float32), and the level that stands for zero (int32)."""
        scale = ((self.high - self.low) / LEVELS).clamp_min(MIN_SCALE)
        return scale, (-self.low / scale).round().clamp(0, LEVELS).to(torch.int32)

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        low, high = x.aminmax()
        low, high = low.clamp_max(0), high.clamp_min(0)  # zero must be a level: padding is made of it
        if self.calibrating:
            self.low.copy_(torch.minimum(self.low, low))
            self.high.copy_(torch.maximum(self.high, high))
        else:
            self.low.lerp_(low, MOMENTUM)
            self.high.lerp_(high, MOMENTUM)


class FakeQuantConv2d(nn.Conv2d):
    """A convolution that trains with its input and parameters rounded; they keep their names."""

    def __init__(self, layer: nn.Conv2d) -> None:
        shape = layer.in_channels, layer.out_channels, layer.kernel_size
        moves = layer.stride, layer.padding, layer.dilation, layer.groups
        super().__init__(*shape, *moves, bias=layer.bias is not None, device="meta")  # draws no random numbers
        self.weight, self.bias = layer.weight, layer.bias
        self.range = InputRange()

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(self.range(x), _rounded_weight(self.weight), _rounded(self.bias))


class FakeQuantLinear(nn.Linear):
    """A Linear that trains with its input and parameters rounded; they keep their names."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.range = InputRange()

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.range(x), _rounded_weight(self.weight), _rounded(self.bias))


class FakeQuantBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that trains with its weight and bias rounded, by statistics that stand still; its state keeps its names.

    Mini-batches of this phase, without Mixup and perhaps with drops, would move the statistics away from those that the network
    was trained to its end with (measured on generated data: log loss 1.72 -> 1.80 by that alone, at a learning rate of 0).
    """

    def __init__(self, layer: nn.BatchNorm2d) -> None:
        super().__init__(layer.num_features, eps=layer.eps, momentum=layer.momentum, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        for name, buffer in layer.named_buffers(recurse=False):
            setattr(self, name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        statistics = self.running_mean, self.running_var
        rounded = _rounded(self.weight), _rounded(self.bias)
        return functional.batch_norm(x, *statistics, *rounded, False, 0.0, self.eps)


class Integers(nn.Module):
    """A tensor of parameters as int8 and one scale, or one scale per output channel."""

    levels: Tensor
    scale: Tensor

    def __init__(self, values: Tensor, scale: Tensor) -> None:
        super().__init__()
        column = scale.reshape(-1, *[1] * (values.dim() - 1)) if scale.dim() else scale
        # As torch's fake quantization makes them: times the reciprocal, not divided.
        levels = (values.detach() * (1 / column)).round().clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS)
        self.register_buffer("levels", levels.to(torch.int8))
        self.register_buffer("scale", scale)

    def values(self) -> Tensor:
        """What the integers stand for, where they have one scale."""
        return self.levels * self.scale


class IntegerLayer(nn.Module):
    """A convolution or Linear on integers: uint8 levels in, int8 weights, exact sums, one multiplication per channel.

    The sums are int32 on the CPU. CUDA has no integer convolution: there float64 holds the same integers exactly.
    """

    input_scale: Tensor
    input_zero: Tensor

    def __init__(self, layer: FakeQuantConv2d | FakeQuantLinear) -> None:
        super().__init__()
        self.weight = Integers(layer.weight, _channel_scale(layer.weight))
        self.bias = None if layer.bias is None else Integers(layer.bias, _scale(layer.bias))
        scale, zero = layer.range.levels()
        self.register_buffer("input_scale", scale)
        self.register_buffer("input_zero", zero.to(torch.uint8))
        is_linear = isinstance(layer, nn.Linear)
        self.moves = None if is_linear else (layer.stride, layer.padding, layer.dilation, layer.groups)

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.int32 if x.device.type == "cpu" else torch.float64
        zero = self.input_zero.to(x.dtype)
        levels = (x * (1 / self.input_scale)).round().add(zero).clamp(0, LEVELS)
        total = self.sums((levels - zero).to(dtype), self.weight.levels.to(dtype)).to(x.dtype)
        total = total * self.per_channel(self.input_scale * self.weight.scale)
        return total if self.bias is None else total + self.per_channel(self.bias.values())

    def sums(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer's sums of products, without bias."""
        return functional.linear(x, weight) if self.moves is None else functional.conv2d(x, weight, None, *self.moves)

    def per_channel(self, values: Tensor) -> Tensor:
        """[out] as what broadcasts over the layer's output."""
        return values if self.moves is None else values[:, None, None]


class IntegerNorm(nn.Module):
    """A batch norm in eval mode whose weight and bias are int8."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, layer: FakeQuantBatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = (Integers(values, _scale(values)) for values in (layer.weight, layer.bias))
        self.register_buffer("running_mean", layer.running_mean)
        self.register_buffer("running_var", layer.running_var)
        self.eps = layer.eps

    def forward(self, x: Tensor) -> Tensor:
        parameters = self.weight.values(), self.bias.values()
        return functional.batch_norm(x, self.running_mean, self.running_var, *parameters, False, 0.0, self.eps)


TRAINED: tuple[tuple[type[nn.Module], Callable[..., nn.Module]], ...] = (
    (nn.Conv2d, FakeQuantConv2d),
    (nn.Linear, FakeQuantLinear),
    (nn.BatchNorm2d, FakeQuantBatchNorm2d),
)
CONVERTED: tuple[tuple[type[nn.Module], Callable[..., nn.Module]], ...] = (
    (FakeQuantConv2d, IntegerLayer),
    (FakeQuantLinear, IntegerLayer),
    (FakeQuantBatchNorm2d, IntegerNorm),
)


def fake_quantize(network: Network, batches: Iterable[Tensor] = ()) -> Network:
    """A copy of a network that trains rounded; `batches` of its inputs, [B, 1, F, T], set the first ranges.

    Its parameters have the network's names and order; its state is the network's plus every layer's range.
    """
    prepared = _replaced(copy.deepcopy(network), TRAINED)
    _calibrate(prepared, batches)
    return prepared


def convert_to_int8(prepared: Network) -> Network:
    """A copy in eval mode, all of whose parameters are integers; it no longer trains."""
    return _replaced(copy.deepcopy(prepared), CONVERTED).eval().requires_grad_(False)


def integer_network(network: Network) -> Network:
    """What `network` is converted to, with no values of use: for `load_state_dict` of a converted network's state."""
    return convert_to_int8(fake_quantize(network))


def integer_parameters(converted: nn.Module) -> Iterator[tuple[str, Integers]]:
    """The parameters of a converted network and their names."""
    return ((name, module) for name, module in converted.named_modules() if isinstance(module, Integers))


def integer_bytes(converted: nn.Module) -> int:
    """Bytes of the parameters of a converted network: one each; their scales are not parameters."""
    return sum(found.levels.numel() * found.levels.element_size() for _, found in integer_parameters(converted))


@torch.no_grad()
def _calibrate(prepared: Network, batches: Iterable[Tensor]) -> None:
    """Set every range to what the batches span in eval mode; norms keep their statistics."""
    was_training, ranges = prepared.training, [m for m in prepared.modules() if isinstance(m, InputRange)]
    prepared.eval()
    for found in ranges:
        found.calibrating = True
    for batch in batches:
        prepared(batch)
    for found in ranges:
        found.calibrating = False
    prepared.train(was_training)


def _channel_scale(weight: Tensor) -> Tensor:
    """One scale per output channel, [out]: its largest weight is level 127 or -127."""
    return (weight.detach().flatten(1).abs().amax(dim=1) / WEIGHT_LEVELS).clamp_min(MIN_SCALE)


def _scale(values: Tensor) -> Tensor:
    """One scale for all values."""
    return (values.detach().abs().amax() / WEIGHT_LEVELS).clamp_min(MIN_SCALE)


def _rounded_weight(weight: Tensor) -> Tensor:
    scale = _channel_scale(weight)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -WEIGHT_LEVELS, WEIGHT_LEVELS)


def _rounded(values: Tensor | None) -> Tensor | None:
    if values is None:
        return None
    zero = torch.zeros((), dtype=torch.int32, device=values.device)
    return torch.fake_quantize_per_tensor_affine(values, _scale(values), zero, -WEIGHT_LEVELS, WEIGHT_LEVELS)


def _replaced(module: nn.Module, kinds: tuple[tuple[type[nn.Module], Callable[..., nn.Module]], ...]) -> nn.Module:
    """The module with every layer of these kinds in it, itself too, made anew."""
    for kind, make in kinds:
        if isinstance(module, kind):
            return make(module).train(module.training)
    for name, child in module.named_children():
        setattr(module, name, _replaced(child, kinds))
    return module
