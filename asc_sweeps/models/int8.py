"""INT8: quantization-aware training with rounded numbers, and conversion to a network of integers (Sec. 6).

In training, each convolution and Linear rounds its input and weight to 8 bits (fake quantization, straight-through gradients), and
each norm its weight and bias. After conversion all parameters are int8, and convolutions and Linear sum integers.

Decisions where the paper is silent:
- ResNorm stays in floating point: it has no parameters, and dividing by a small deviation would amplify errors of a rounded input.
- SubSpectralNorm and BatchNorm are not folded into convolutions: a convolution has one scale per output channel, so folding only
  changes that scale. Their weight and bias become int8; their running statistics, which are not parameters, stay in floating point.
- Sums, pooling and gates stay in floating point.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from asc_sweeps.models.network import Network

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)
Replacements = tuple[tuple[type[nn.Module], Callable[..., nn.Module]], ...]

LEVELS = 255  # highest level of an input; the lowest is 0
WEIGHT_LEVELS = 127
MIN_SCALE = 1e-8  # avoids division by zero for a channel of zeros
MOMENTUM = 0.01  # weight of a mini-batch's range in the running range


class InputRange(nn.Module):
    """Rounds a layer's input to a running range, which is updated in training and fixed in eval mode."""

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
        """Scale (float32), and the level of zero (int32)."""
        scale = ((self.high - self.low) / LEVELS).clamp_min(MIN_SCALE)
        return scale, (-self.low / scale).round().clamp(0, LEVELS).to(torch.int32)

    @torch.no_grad()
    def _observe(self, x: Tensor) -> None:
        low, high = x.aminmax()
        low, high = low.clamp_max(0), high.clamp_min(0)  # zero must be a level, since padding is zero
        if self.calibrating:
            self.low.copy_(torch.minimum(self.low, low))
            self.high.copy_(torch.maximum(self.high, high))
        else:
            self.low.lerp_(low, MOMENTUM)
            self.high.lerp_(high, MOMENTUM)


class FakeQuantConv2d(nn.Conv2d):
    """A convolution that trains with rounded input and parameters; takes over a layer's parameters and their names."""

    def __init__(self, layer: nn.Conv2d) -> None:
        shape = layer.in_channels, layer.out_channels, layer.kernel_size
        geometry = layer.stride, layer.padding, layer.dilation, layer.groups
        # The meta device draws no random numbers.
        super().__init__(*shape, *geometry, bias=layer.bias is not None, device="meta")  # type: ignore[arg-type]  # loose in torch
        self.weight, self.bias = layer.weight, layer.bias
        self.range = InputRange()

    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(self.range(x), _rounded_weight(self.weight), _rounded(self.bias))


class FakeQuantLinear(nn.Linear):
    """A Linear that trains with rounded input and parameters; takes over a layer's parameters and their names."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self.range = InputRange()

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(self.range(x), _rounded_weight(self.weight), _rounded(self.bias))


class FakeQuantBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that trains with rounded weight and bias and fixed statistics; takes over a layer's state and its names.

    Mini-batches of this phase, without Mixup and perhaps with drops, would move the statistics away from those that the network was
    trained with (measured on generated data: log loss 1.72 -> 1.80 from that alone, at a learning rate of 0).
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
    """A parameter as int8 levels with one scale, or one scale per output channel."""

    levels: Tensor
    scale: Tensor

    def __init__(self, values: Tensor, scale: Tensor) -> None:
        super().__init__()
        column = scale.reshape(-1, *[1] * (values.dim() - 1)) if scale.dim() else scale
        # Multiplied by the reciprocal, as torch's fake quantization does, not divided.
        levels = (values.detach() * (1 / column)).round().clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS)
        self.register_buffer("levels", levels.to(torch.int8))
        self.register_buffer("scale", scale)

    def values(self) -> Tensor:
        """The values that the levels represent, if they have one scale."""
        return self.levels * self.scale


class IntegerLayer(nn.Module):
    """A convolution or Linear on integers: uint8 input, int8 weights, exact sums, one multiplication per output channel.

    The sums are int32 on the CPU. CUDA has no integer convolution; there they are exact in float64.
    """

    input_scale: Tensor
    input_zero: Tensor
    bias: Integers | None

    def __init__(self, layer: FakeQuantConv2d | FakeQuantLinear) -> None:
        super().__init__()
        self.weight = Integers(layer.weight, _channel_scale(layer.weight))
        self.bias = None if layer.bias is None else Integers(layer.bias, _scale(layer.bias))
        scale, zero = layer.range.levels()
        self.register_buffer("input_scale", scale)
        self.register_buffer("input_zero", zero.to(torch.uint8))
        self.is_linear = isinstance(layer, nn.Linear)
        if isinstance(layer, nn.Conv2d):
            self._geometry = layer.stride, layer.padding, layer.dilation, layer.groups

    def forward(self, x: Tensor) -> Tensor:
        dtype = torch.int32 if x.device.type == "cpu" else torch.float64
        zero = self.input_zero.to(x.dtype)
        levels = (x * (1 / self.input_scale)).round().add(zero).clamp(0, LEVELS)
        total = self.sums((levels - zero).to(dtype), self.weight.levels.to(dtype)).to(x.dtype)
        total = total * self.per_channel(self.input_scale * self.weight.scale)
        return total if self.bias is None else total + self.per_channel(self.bias.values())

    def sums(self, x: Tensor, weight: Tensor) -> Tensor:
        """The layer's sums of products, without bias."""
        if self.is_linear:
            return functional.linear(x, weight)
        stride, padding, dilation, groups = self._geometry
        assert not isinstance(padding, str)  # the networks give sizes
        return functional.conv2d(x, weight, None, stride, padding, dilation, groups)

    def per_channel(self, values: Tensor) -> Tensor:
        """[out], reshaped to broadcast over the layer's output."""
        return values if self.is_linear else values[:, None, None]


class IntegerNorm(nn.Module):
    """A batch norm in eval mode with int8 weight and bias."""

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


FAKE_QUANTIZED: Replacements = (
    (nn.Conv2d, FakeQuantConv2d),
    (nn.Linear, FakeQuantLinear),
    (nn.BatchNorm2d, FakeQuantBatchNorm2d),
)
CONVERTED: Replacements = (
    (FakeQuantConv2d, IntegerLayer),
    (FakeQuantLinear, IntegerLayer),
    (FakeQuantBatchNorm2d, IntegerNorm),
)


def fake_quantize(network: AnyNetwork, batches: Iterable[Tensor] = ()) -> AnyNetwork:
    """A copy of a network for quantization-aware training; `batches` of its inputs, [B, 1, F, T], initialize the ranges.

    Parameters keep their names and order; each layer's range is added to the state.
    """
    quantized = copy.deepcopy(network)
    _replace_layers(quantized, FAKE_QUANTIZED)
    _calibrate(quantized, batches)
    return quantized


def convert_to_int8(network: AnyNetwork) -> AnyNetwork:
    """A copy of a fake-quantized network with integer parameters, in eval mode; it cannot be trained."""
    converted = copy.deepcopy(network)
    _replace_layers(converted, CONVERTED)
    return converted.eval().requires_grad_(False)


def integer_network(network: Network) -> Network:
    """A converted network with arbitrary values, for `load_state_dict`."""
    return convert_to_int8(fake_quantize(network))


def integer_parameters(converted: nn.Module) -> Iterator[tuple[str, Integers]]:
    """The parameters of a converted network with their names."""
    return ((name, module) for name, module in converted.named_modules() if isinstance(module, Integers))


def integer_bytes(converted: nn.Module) -> int:
    """Bytes of the parameters of a converted network, one each; scales are not parameters."""
    return sum(integers.levels.numel() for _, integers in integer_parameters(converted))


@torch.no_grad()
def _calibrate(network: nn.Module, batches: Iterable[Tensor]) -> None:
    """Set each range to the span of the batches in eval mode, which keeps the norms' statistics."""
    was_training, ranges = network.training, [m for m in network.modules() if isinstance(m, InputRange)]
    network.eval()
    for input_range in ranges:
        input_range.calibrating = True
    for batch in batches:
        network(batch)
    for input_range in ranges:
        input_range.calibrating = False
    network.train(was_training)


def _channel_scale(weight: Tensor) -> Tensor:
    """One scale per output channel, [out]; the largest weight has level 127 or -127."""
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


def _replace_layers(module: nn.Module, replacements: Replacements) -> None:
    for name, child in module.named_children():
        make = next((make for kind, make in replacements if isinstance(child, kind)), None)
        if make:
            setattr(module, name, make(child).train(child.training))
        else:
            _replace_layers(child, replacements)
