"""The compiled form of a network on a CPU: when it may replace the layers, and how it runs.

A network of 27 M multiply-accumulates spends most of its time on moving maps between memory and processor: one map of the first stage
is 21 MB for a mini-batch of 64. The layers become a program (`program`, `layers`) that uses as little main memory as possible, run by
compiled code (`operations`).
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import weakref
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.jit._trace import is_tracing
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

from asc_sweeps.models.cpu import buffers
from asc_sweeps.models.cpu.known_layers import is_known
from asc_sweeps.models.network import Network
from asc_sweeps.workspace.file_lock import FileLock

if TYPE_CHECKING:
    from asc_sweeps.config.setting_groups import ModelConfig
    from asc_sweeps.models.cpu.program import ExecutionPlan, Map, NormStep

DTYPES: tuple[torch.dtype, ...] = (torch.float32,)
"""Supported types; tests add float64."""
MIN_STEM_VALUES = 2**20
"""Smallest size of the stem's maps. Smaller networks are trained about as soon as compiled code is loaded (half a second) or
compiled (12 seconds, once per machine). Only the size counts, so that an interrupted training resumes in the same form."""
_MAX_PLANS = 16
"""Kept for one network, by size of mini-batch and training mode."""
_MUTABLE_ARGUMENTS = {nn.BatchNorm2d: ("momentum", "eps"), nn.Dropout2d: ("p",)}
"""Arguments read at each run, which may differ from those that a network was made with."""


def can_run(network: Network, x: Tensor) -> bool:
    """Whether the compiled form may replace the layers: on a CPU, for exactly the layers that `Network` makes of its settings.

    Not under autocast, tracing or export, which need the operators; not if a layer, one of its arguments or its forward method was
    changed (a bias, a dilation, another activation, quantization) or has hooks; not for inputs for which the layers raise an error.
    """
    if x.device.type != "cpu" or x.dtype not in DTYPES or type(x) not in (Tensor, nn.Parameter) or not _has_compiler():
        return False
    if not _has_size(network, x) or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_compiling() or is_tracing() or torch._C._functorch.peek_interpreter_stack():
        return False
    if _get_current_dispatch_mode() or _has_any_global_hook() or x.layout != torch.strided:
        return False
    if type(network) is not Network or not is_known(network.config.block):
        return False
    layers, expected = list(network.modules()), _expected_layers(network.config, network.scenes)
    if len(layers) != len(expected):
        return False
    pairs = zip(layers, expected, strict=True)
    return all(form.matches(layer) and _is_plain(layer, network, x.dtype) for layer, form in pairs)


@functools.cache
def _has_compiler() -> bool:
    """Whether numba is installed; without it the layers compute."""
    try:
        return importlib.util.find_spec("numba") is not None
    except ValueError:  # listed as missing in sys.modules
        return False


class _LayerForm:
    """A layer except for its numbers: class, forward method, shapes, arguments, inner layers. Fast to compare, at each pass."""

    def __init__(self, layer: nn.Module) -> None:
        self.kind = type(layer)
        self.attributes, self.inner = frozenset(vars(layer)), tuple(layer._modules)
        self.weights = {name: weight is not None and weight.shape for name, weight in layer._parameters.items()}
        ignored = ("training", "body", *_MUTABLE_ARGUMENTS.get(self.kind, ()))
        self.arguments = [
            (name, value) for name, value in vars(layer).items() if name[0] != "_" and name not in ignored
        ]
        self.forward = _FORWARD.setdefault(self.kind, self.kind.forward)

    def matches(self, layer: nn.Module) -> bool:
        """Whether a layer computes the same from the same weights."""
        own = layer.__dict__
        if type(layer) is not self.kind or self.kind.forward is not self.forward or own.keys() != self.attributes:
            return False
        if tuple(layer._modules) != self.inner or any(own[name] != value for name, value in self.arguments):
            return False
        return all(
            (weight is not None and weight.shape) == self.weights.get(name)
            for name, weight in layer._parameters.items()
        )


@functools.lru_cache(maxsize=32)
def _expected_layers(config: ModelConfig, scenes: int) -> list[_LayerForm]:
    """The layers of a network with these settings."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # without numbers
        return [_LayerForm(layer) for layer in Network(config, scenes).modules()]


_FORWARD: dict[type[nn.Module], object] = {}
"""Forward method of each class when first seen."""


def _has_size(network: Network, x: Tensor) -> bool:
    if x.dim() != 4 or x.shape[1] != 1 or 0 in x.shape or x.shape[2] % (8 * network.sub_bands):
        return False
    smallest = len(x) * -(-x.shape[3] // 8)  # numbers per statistic in the last stage; one has no variance
    return 2 * network.width * x.numel() // 4 >= MIN_STEM_VALUES and (smallest > 1 or not network.training)


def _is_plain(module: nn.Module, network: Network, dtype: torch.dtype) -> bool:
    kind = type(module)
    if module.training != network.training:
        return False
    if module is not network and (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    ):
        return False
    if kind is nn.BatchNorm2d and (module.momentum is None or module.running_mean is None or module.weight is None):
        return False
    return all(p is None or (type(p) is nn.Parameter and p.dtype == dtype) for p in module._parameters.values())


def body(network: Network, x: Tensor) -> Tensor | None:
    """Features before the classifier, [B, channels]: means of the last maps over frequency and time; None unless `can_run`."""
    if not can_run(network, x):
        return None
    has_backward = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in network.parameters()))
    plan = _plan(network, x, has_backward)
    return _Run.apply(plan, x, *(getattr(layer, name) for layer, name in plan.program.parameters))


_plans: weakref.WeakKeyDictionary[Network, tuple[list[nn.Module], dict[Any, ExecutionPlan]]] = (
    weakref.WeakKeyDictionary()
)


@functools.cache
def _operations(dtype: torch.dtype) -> ModuleType:
    """The compiled operations. Concurrent processes wait for the one that compiles them."""
    from asc_sweeps.models.cpu import operations
    from asc_sweeps.models.cpu.vectors import cache_folder

    folder = cache_folder(operations.run)
    with contextlib.ExitStack() as stack:
        if folder:
            with contextlib.suppress(OSError):  # a read-only folder, or a compilation that takes too long
                os.makedirs(folder, exist_ok=True)
                stack.enter_context(FileLock(os.path.join(folder, "compiling.lock"), timeout=120))
        nothing = np.empty(0, torch.empty(0, dtype=dtype).numpy().dtype)
        operations.run(np.empty((0, operations.ROW_WIDTH), np.int64), 0, 0, 1, nothing, nothing, 0)
    return operations


def _plan(network: Network, x: Tensor, has_backward: bool) -> ExecutionPlan:
    from asc_sweeps.models.cpu import network_program, program

    _, *parts = network.modules()
    known, plans = _plans.get(network, (None, {}))
    if known is None:
        buffers.recycle_for(network)
    if known != parts:  # layers were replaced
        plans = {}
        _plans[network] = parts, plans
    rates = tuple(m.p for m in parts if type(m) is nn.Dropout2d) if network.training else ()
    key = (*x.shape, network.training, has_backward, x.requires_grad, rates)
    if key not in plans:
        if len(plans) == _MAX_PLANS:
            del plans[next(iter(plans))]
        written = program.Program(network.training, has_backward, has_backward and x.requires_grad)
        network_program.network(written, network, x.shape[2], x.shape[3])
        plans[key] = written.plan(len(x))
    return plans[key]


class _Run(Function):
    """Everything before the classifier; arguments: a plan, a mini-batch [B, 1, F, T], and the program's parameters."""

    @staticmethod
    def forward(ctx: Any, plan: ExecutionPlan, x: Tensor, *parameters: Tensor) -> Tensor:
        program, saved = plan.program, buffers.empty(plan.saved, x.dtype)
        phases = _Phases(plan, saved, plan.work[0])
        phases.view(program.image)[:] = _numbers(x).reshape(len(x), -1)
        for (values, _), parameter in zip(program.parameters.values(), parameters, strict=True):
            phases.view(values)[:] = _numbers(parameter).reshape(-1)
        for values, numbers in program.constants:
            phases.view(values)[:] = numbers
        for layer, mask in program.masks:  # drawn as by torch
            drawn = torch.empty(len(x), mask.c, 1, 1, dtype=x.dtype).bernoulli_(1 - layer.p).div_(1 - layer.p)
            phases.view(mask)[:] = _numbers(drawn).reshape(len(x), -1)
        phases.finish_norms(program.norm_steps[-1])
        phases.run(range(plan.backward_phase))
        if program.is_training:
            torch._foreach_add_([n.num_batches_tracked for n in program.norms if n.num_batches_tracked is not None], 1)
        ctx.plan, ctx.shape = plan, x.shape
        ctx.save_for_backward(saved)
        return torch.from_numpy(phases.view(program.features).copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        (saved,) = ctx.saved_tensors
        plan: ExecutionPlan = ctx.plan
        program, phases = plan.program, _Phases(plan, saved, plan.work[1])
        sums = phases.per_thread()[:, : plan.gradients]
        sums[:] = 0
        assert program.features_gradient is not None  # a program without a backward pass is not run backward
        phases.view(program.features_gradient)[:] = _numbers(gradient)
        phases.run(range(plan.backward_phase, len(plan.rows)))
        total = torch.from_numpy(sums.sum(0))
        gradients = [
            total[gradient_sum.value.first :][: gradient_sum.size].view(getattr(layer, name).shape)
            for (layer, name), (_, gradient_sum) in program.parameters.items()
        ]
        image = program.image_gradient
        x_gradient = image and torch.from_numpy(phases.view(image).copy()).view(ctx.shape)
        return None, x_gradient, *gradients


class _Phases:
    """Runs the phases of a plan, in as many threads as torch uses, and the norms between them."""

    def __init__(self, plan: ExecutionPlan, saved: Tensor, work: int) -> None:
        self._plan, self._saved, self._begin, self._dtype = plan, saved.numpy(), work, saved.dtype
        self._threads = min(torch.get_num_threads(), plan.segments)
        self._work = buffers.empty(work + self._threads * plan.thread_size, saved.dtype).numpy()

    def view(self, x: Map) -> np.ndarray:
        """A map's numbers: [segments, numbers], or [numbers] if shared."""
        return self._plan.view(x, self._saved, self._work)

    def per_thread(self) -> np.ndarray:
        """Each thread's own numbers, [threads, numbers]."""
        end = self._begin + self._threads * self._plan.thread_size
        return self._work[self._begin : end].reshape(self._threads, -1)

    def run(self, phases: Iterable[int]) -> None:
        """Run phases; every other one begins with the last segment, whose maps are still in the cache."""
        operations = _operations(self._dtype)
        n, threads = self._plan.segments, self._threads

        def share(i: int) -> None:
            start, stop, step = n * i // threads, n * (i + 1) // threads, 1
            if phase % 2:
                start, stop, step = stop - 1, start - 1, -1
            thread_start = self._begin + i * self._plan.thread_size
            operations.run(self._plan.rows[phase], start, stop, step, self._saved, self._work, thread_start)

        for phase in phases:
            if threads == 1:
                share(0)
            else:
                list(_pool(os.getpid(), threads).map(share, range(threads)))
            self.finish_norms(self._plan.program.norm_steps.get(phase, ()))

    def finish_norms(self, steps: Iterable[NormStep]) -> None:
        """Compute the norms between two phases."""
        operations = _operations(self._dtype)
        for step in steps:
            arguments, layer = (step.row, self._plan.segments, self._saved, self._work, self._begin), step.layer
            if step.is_backward:
                operations.finish_norm_backward(*arguments, self._plan.program.is_training)
            else:
                statistics = _numbers(layer.running_mean), _numbers(layer.running_var)
                operations.finish_norm(*arguments, *statistics, layer.momentum, layer.eps)


def _numbers(x: Tensor | None) -> np.ndarray:
    assert x is not None  # norms without statistics are declined
    return x.detach().numpy()


@functools.cache
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process; a forked process does not have those of its parent."""
    return ThreadPoolExecutor(threads)
