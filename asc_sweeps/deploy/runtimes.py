"""Networks as files for other runtimes: ONNX, ONNX with integers (QDQ), torch's exported program. The only import of ONNX.

Input `log_mel`, [B, 1, F, T], from `data.features.LogMel`; output `logits`, [B, scenes]. B and T are free.
"""

from __future__ import annotations

import copy
import io
import logging
import warnings
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from asc_sweeps.models.int8 import IntegerLayer, IntegerNorm, Integers
from asc_sweeps.models.network import Network
from asc_sweeps.models.norms import ResNorm

OPSET = 20
INPUT, OUTPUT = "log_mel", "logits"
Runner = Callable[[np.ndarray], np.ndarray]  # Log-mel batch in, logits out


class _Dequantized(nn.Module):
    """A quantized parameter in ONNX: DequantizeLinear of an int8 tensor."""

    zero: Tensor

    def __init__(self, integers: Integers) -> None:
        super().__init__()
        self.integers = integers
        self.register_buffer("zero", torch.zeros_like(integers.scale, dtype=torch.int8))

    def forward(self) -> Tensor:
        levels, scale = self.integers.levels, self.integers.scale
        axis = {"axis": 0} if scale.dim() else {}
        return _onnx("DequantizeLinear", (levels, scale, self.zero), levels, torch.float32, **axis)


class _QdqLayer(nn.Module):
    """An integer layer in ONNX: input and int8 weight are dequantized before the operator."""

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.layer, self.weight = layer, _Dequantized(layer.weight)
        self.bias = None if layer.bias is None else _Dequantized(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        scale = self.layer.input_scale, self.layer.input_zero
        levels = _onnx("QuantizeLinear", (x, *scale), x, torch.uint8)
        total = self.layer.sums(_onnx("DequantizeLinear", (levels, *scale), x, torch.float32), self.weight())
        return total if self.bias is None else total + self.layer.per_channel(self.bias())


class _QdqNorm(nn.Module):
    """A norm with int8 weight and bias."""

    def __init__(self, norm: IntegerNorm) -> None:
        super().__init__()
        self.weight, self.bias = _Dequantized(norm.weight), _Dequantized(norm.bias)
        self.register_buffer("mean", norm.running_mean)
        self.register_buffer("deviation", (norm.running_var + norm.eps).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        wide = (slice(None), None, None)
        centred = (x - self.mean[wide]) / self.deviation[wide]  # type: ignore[index]
        return centred * self.weight()[wide] + self.bias()[wide]


class _ScaledResNorm(nn.Module):
    """ResNorm divided by its eps: ONNX's optimizer treats an eps of 1e-8 as zero and removes it (onnxscript 0.7)."""

    def __init__(self, norm: ResNorm) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=(1, 3), keepdim=True)
        variance = (centred * centred).mean(dim=(1, 3), keepdim=True)
        return self.weight * x + centred / (torch.sqrt(variance / self.eps + 1) * self.eps**0.5)


def as_onnx(network: Network, example: Tensor, notes: Mapping[str, str]) -> bytes:
    """A network, in floating point or integers, as an ONNX file with `notes` in its metadata.

    `example`: an input of at least two segments. Raises ImportError if the packages of the extra `onnx` are not installed.
    """
    import onnxscript  # noqa: F401  (torch imports it late, with a less helpful error)

    shapes = {0: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about missing torchvision, which is not needed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's own deprecations
        program = torch.onnx.export(
            _with_onnx_layers(copy.deepcopy(network)).eval(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(shapes,),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export returned no program")
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces, with paths of this machine
    program.model.metadata_props.update(notes)
    return program.model_proto.SerializeToString()


def as_program(network: Network, example: Tensor) -> bytes:
    """A network as torch's exported program (`torch.export.load`)."""
    shapes = {0: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=(shapes,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def onnx_runner(content: bytes) -> Runner:
    """Runs an ONNX file in onnxruntime, on the CPU. Raises ImportError if it is not installed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda log_mel: session.run([OUTPUT], {INPUT: log_mel})[0]


def program_runner(content: bytes) -> Runner:
    """Runs an exported program."""
    module = torch.export.load(io.BytesIO(content)).module()
    return lambda log_mel: module(torch.from_numpy(log_mel)).detach().numpy()


def _onnx(operator: str, inputs: tuple[Tensor, ...], like: Tensor, dtype: torch.dtype, **attributes: int) -> Tensor:
    return torch.onnx.ops.symbolic(operator, inputs, {**attributes}, dtype=dtype, shape=like.shape, version=OPSET)


def _with_onnx_layers(module: nn.Module) -> nn.Module:
    match module:
        case IntegerLayer():
            return _QdqLayer(module)
        case IntegerNorm():
            return _QdqNorm(module)
        case ResNorm():
            return _ScaledResNorm(module)
    for name, child in module.named_children():
        setattr(module, name, _with_onnx_layers(child))
    return module
