"""Networks as files for other runtimes: ONNX, ONNX of integers (QDQ), torch's own exported program. The door to ONNX.

Input `log_mel`, [B, 1, F, T], as `data.features.LogMel` makes it; output `logits`, [B, scenes]. B and T are free.
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
Runner = Callable[[np.ndarray], np.ndarray]
"""Log-mel batch in, logits out."""


class _Dequantized(nn.Module):
    """Integers as ONNX writes them: DequantizeLinear of an int8 tensor."""

    zero: Tensor

    def __init__(self, found: Integers) -> None:
        super().__init__()
        self.found = found
        self.register_buffer("zero", torch.zeros_like(found.scale, dtype=torch.int8))

    def forward(self) -> Tensor:
        found = self.found
        along = {"axis": 0} if found.scale.dim() else {}
        return _onnx("DequantizeLinear", (found.levels, found.scale, self.zero), found.levels, torch.float32, **along)


class _QdqLayer(nn.Module):
    """An integer layer as ONNX writes one: rounded input and int8 weight, both scaled back, then the operator."""

    def __init__(self, layer: IntegerLayer) -> None:
        super().__init__()
        self.layer, self.weight = layer, _Dequantized(layer.weight)
        self.bias = None if layer.bias is None else _Dequantized(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        at = self.layer.input_scale, self.layer.input_zero
        levels = _onnx("QuantizeLinear", (x, *at), x, torch.uint8)
        total = self.layer.sums(_onnx("DequantizeLinear", (levels, *at), x, torch.float32), self.weight())
        return total if self.bias is None else total + self.layer.per_channel(self.bias())


class _QdqNorm(nn.Module):
    """A norm whose weight and bias are int8 in the file."""

    def __init__(self, norm: IntegerNorm) -> None:
        super().__init__()
        self.weight, self.bias = _Dequantized(norm.weight), _Dequantized(norm.bias)
        self.register_buffer("mean", norm.running_mean)
        self.register_buffer("deviation", (norm.running_var + norm.eps).sqrt())

    def forward(self, x: Tensor) -> Tensor:
        wide = (slice(None), None, None)
        centred = (x - self.mean[wide]) / self.deviation[wide]  # type: ignore[index]
        return centred * self.weight()[wide] + self.bias()[wide]


class _LargeResNorm(nn.Module):
    """ResNorm in larger numbers: ONNX's optimizer takes an eps of 1e-8 for zero and leaves it out (onnxscript 0.7)."""

    def __init__(self, norm: ResNorm) -> None:
        super().__init__()
        self.weight, self.eps = norm.weight, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        centred = x - x.mean(dim=(1, 3), keepdim=True)
        variance = (centred * centred).mean(dim=(1, 3), keepdim=True)
        return self.weight * x + centred / (torch.sqrt(variance / self.eps + 1) * self.eps**0.5)


def as_onnx(network: Network, example: Tensor, notes: Mapping[str, str]) -> bytes:
    """The network, of floating point or of integers, as an ONNX file; `notes` stand in its metadata.

    `example`: an input of at least two segments. Raises ImportError where the packages of the extra `onnx` are not installed.
    """
    import onnxscript  # noqa: F401  (torch asks for it late, and says less)

    shapes = {0: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it misses torchvision, which has no part in this
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch about itself
        program = torch.onnx.export(
            _as_onnx_has_it(copy.deepcopy(network)).eval(),
            (example,),
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=(shapes,),
            dynamo=True,
            opset_version=OPSET,
            verbose=False,
        )
    if program is None:
        raise RuntimeError("torch.onnx.export gave no program")
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces, with paths of this machine
    program.model.metadata_props.update(notes)
    return program.model_proto.SerializeToString()


def as_program(network: Network, example: Tensor) -> bytes:
    """The network as torch's exported program (`torch.export.load`)."""
    shapes = {0: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    program = torch.export.export(network.eval(), (example,), dynamic_shapes=(shapes,))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    return buffer.getvalue()


def onnx_runner(content: bytes) -> Runner:
    """The file in onnxruntime, on the CPU. Raises ImportError where it is not installed."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda log_mel: session.run([OUTPUT], {INPUT: log_mel})[0]


def program_runner(content: bytes) -> Runner:
    """The exported program, loaded anew."""
    module = torch.export.load(io.BytesIO(content)).module()
    return lambda log_mel: module(torch.from_numpy(log_mel)).detach().numpy()


def _onnx(operator: str, inputs: tuple[Tensor, ...], like: Tensor, dtype: torch.dtype, **attributes: int) -> Tensor:
    return torch.onnx.ops.symbolic(operator, inputs, {**attributes}, dtype=dtype, shape=like.shape, version=OPSET)


def _as_onnx_has_it(module: nn.Module) -> nn.Module:
    match module:
        case IntegerLayer():
            return _QdqLayer(module)
        case IntegerNorm():
            return _QdqNorm(module)
        case ResNorm():
            return _LargeResNorm(module)
    for name, child in module.named_children():
        setattr(module, name, _as_onnx_has_it(child))
    return module
