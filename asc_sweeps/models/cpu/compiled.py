"""The fast form of a network on a CPU: when it may stand in for the layers, and its runs.

A network of 27 M multiply-accumulates spends most of its time not on them but on moving maps between memory and core: one map of the
first stage is 21 MB for a mini-batch of 64. Here layers become a program (`program`, `layers`) that has as little as can be in main
memory, and that compiled code runs (`operations`).
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
from torch.nn.modules.module import _has_any_global_hook
from torch.utils._python_dispatch import _get_current_dispatch_mode

from asc_sweeps.models.cpu import buffers
from asc_sweeps.workspace.file_lock import FileLock

if TYPE_CHECKING:
    from asc_sweeps.config.setting_groups import ModelConfig
    from asc_sweeps.models.cpu.program import ExecutionPlan, Map, NormStep
    from asc_sweeps.models.network import Network

DTYPES: tuple[torch.dtype, ...] = (torch.float32,)
"""What the fast form takes; tests add float64."""
MIN_STEM_VALUES = 2**20
"""Numbers of the stem's maps. Work on smaller ones is short, and much of it done before compiled code is loaded (half a second) or
compiled (12 seconds, once on a machine). By size alone, that a training which was interrupted goes on as it would have."""
_MOST_PLANS = 16
"""Kept for one network: of as many sizes of mini-batch, each in training or not."""
_READ_AT_EACH_RUN = {nn.BatchNorm2d: ("momentum", "eps"), nn.Dropout2d: ("p",)}
"""Arguments that a program does not hold, so that they may be others than those a network was made with."""


def can_run(network: Network, x: Tensor) -> bool:
    """Whether the fast form may stand in: exactly the layers of its settings, on a CPU, that nobody traces, changed or watches.

    Not on a GPU, whose own kernels do well; not under autocast or in an export, which work on operators; not where a layer, one of
    its arguments or its forward is another than `Network` makes (a bias, a dilation, another activation, quantization) or has
    hooks (counting); not where the plain layers raise an error, for that is theirs.
    """
    if x.device.type != "cpu" or x.dtype not in DTYPES or type(x) not in (Tensor, nn.Parameter) or not _has_compiler():
        return False
    if not _has_size(network, x) or torch.is_autocast_enabled("cpu"):
        return False
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch._C._functorch.peek_interpreter_stack():
        return False
    if _get_current_dispatch_mode() or _has_any_global_hook() or x.layout != torch.strided:
        return False
    layers, made = list(network.modules()), _made(type(network), network.config, network.scenes)
    if len(layers) != len(made):
        return False
    pairs = zip(layers, made, strict=True)
    return all(known.matches(layer) and _is_plain(layer, network, x.dtype) for layer, known in pairs)


@functools.cache
def _has_compiler() -> bool:
    """Whether numba is installed; without it everything works, only slower."""
    try:
        return importlib.util.find_spec("numba") is not None
    except ValueError:  # it stands in sys.modules as missing
        return False


class _Layer:
    """What a layer is but for its numbers: class, forward, weights, arguments, layers within. Compared in each pass, so quickly."""

    def __init__(self, layer: nn.Module) -> None:
        self.kind = type(layer)
        self.attributes, self.inner = frozenset(vars(layer)), tuple(layer._modules)
        self.weights = {name: weight is not None and weight.shape for name, weight in layer._parameters.items()}
        left_out = ("training", "body", *_READ_AT_EACH_RUN.get(self.kind, ()))
        self.arguments = [
            (name, value) for name, value in vars(layer).items() if name[0] != "_" and name not in left_out
        ]
        self.forward = _FORWARD.setdefault(self.kind, self.kind.forward)

    def matches(self, layer: nn.Module) -> bool:
        """Whether another layer computes the same from the same weights."""
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
def _made(kind: type[Network], config: ModelConfig, scenes: int) -> list[_Layer]:
    """The layers of such a network; those of a subclass are never known."""
    from asc_sweeps.models.network import Network

    if kind is not Network:
        return []
    with torch.random.fork_rng(devices=[]), torch.device("meta"):  # a network of shapes alone
        return [_Layer(layer) for layer in Network(config, scenes).modules()]


_FORWARD: dict[type[nn.Module], object] = {}
"""Of each class, as it was first seen."""


def _has_size(network: Network, x: Tensor) -> bool:
    if x.dim() != 4 or x.shape[1] != 1 or 0 in x.shape or x.shape[2] % (8 * network.sub_bands):
        return False
    smallest = len(x) * -(-x.shape[3] // 8)  # numbers of a norm along time in the last stage: one has no variance
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
    """What the classifier sees, [B, channels]: the means over frequency and time of the last maps; None where `can_run` says no."""
    if not can_run(network, x):
        return None
    has_way_back = torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in network.parameters()))
    plan = _plan(network, x, has_way_back)
    return _Run.apply(plan, x, *(getattr(layer, name) for layer, name in plan.program.parameters))


_plans: weakref.WeakKeyDictionary[Network, tuple[list[nn.Module], dict[Any, ExecutionPlan]]] = (
    weakref.WeakKeyDictionary()
)


@functools.cache
def _operations(dtype: torch.dtype) -> ModuleType:
    """Compiled operations. Processes that begin together wait for the one that compiles them."""
    from asc_sweeps.models.cpu import operations

    folder = operations.run.stats.cache_path
    with contextlib.ExitStack() as stack:
        if folder:
            with contextlib.suppress(OSError):  # a folder that cannot be written to, or one that compiles for too long
                os.makedirs(folder, exist_ok=True)
                stack.enter_context(FileLock(os.path.join(folder, "compiling.lock"), timeout=120))
        nothing = np.empty(0, torch.empty(0, dtype=dtype).numpy().dtype)
        operations.run(np.empty((0, operations.ROW_WIDTH), np.int64), 0, 0, 1, nothing, nothing, 0)
    return operations


def _plan(network: Network, x: Tensor, has_way_back: bool) -> ExecutionPlan:
    from asc_sweeps.models.cpu import network_program, program

    _, *parts = network.modules()
    known, plans = _plans.get(network, (None, {}))
    if known is None:
        buffers.keep_for(network)
    if known != parts:  # a layer was replaced
        plans = {}
        _plans[network] = parts, plans
    rates = tuple(m.p for m in parts if type(m) is nn.Dropout2d) if network.training else ()
    key = (*x.shape, network.training, has_way_back, x.requires_grad, rates)
    if key not in plans:
        if len(plans) == _MOST_PLANS:
            del plans[next(iter(plans))]
        written = program.Program(network.training, has_way_back, has_way_back and x.requires_grad)
        network_program.network(written, network, x.shape[2], x.shape[3])
        plans[key] = written.plan(len(x))
    return plans[key]


class _Run(Function):
    """All but the classifier; arguments are a plan, a mini-batch [B, 1, F, T], and the program's parameters."""

    @staticmethod
    def forward(ctx: Any, plan: ExecutionPlan, x: Tensor, *parameters: Tensor) -> Tensor:
        program, saved = plan.program, buffers.empty(plan.saved, x.dtype)
        phases = _Phases(plan, saved, plan.work[0])
        phases.view(program.image)[:] = _numbers(x).reshape(len(x), -1)
        for (place, _), parameter in zip(program.parameters.values(), parameters, strict=True):
            phases.view(place)[:] = _numbers(parameter).reshape(-1)
        for place, numbers in program.constants:
            phases.view(place)[:] = numbers
        for layer, mask in program.masks:  # as torch draws them
            drawn = torch.empty(len(x), mask.c, 1, 1, dtype=x.dtype).bernoulli_(1 - layer.p).div_(1 - layer.p)
            phases.view(mask)[:] = _numbers(drawn).reshape(len(x), -1)
        phases.settle(program.norm_steps[-1])
        phases.run(range(plan.turned))
        if program.is_training:
            torch._foreach_add_([norm.num_batches_tracked for norm in program.norms], 1)
        ctx.plan, ctx.shape = plan, x.shape
        ctx.save_for_backward(saved)
        return torch.from_numpy(phases.view(program.features).copy())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        (saved,) = ctx.saved_tensors
        plan: ExecutionPlan = ctx.plan
        program, phases = plan.program, _Phases(plan, saved, plan.work[1])
        own = phases.own()[:, : plan.gradients]
        own[:] = 0
        phases.view(program.to_features)[:] = _numbers(gradient)
        phases.run(range(plan.turned, len(plan.rows)))
        total = torch.from_numpy(own.sum(0))
        gradients = [
            total[place.value.first :][: place.size].view(getattr(layer, name).shape)
            for (layer, name), (_, place) in program.parameters.items()
        ]
        to_x = program.to_image and torch.from_numpy(phases.view(program.to_image).copy()).view(ctx.shape)
        return None, to_x, *gradients


class _Phases:
    """The phases of a plan in as many threads as torch uses, and the norms between them."""

    def __init__(self, plan: ExecutionPlan, saved: Tensor, work: int) -> None:
        self._plan, self._saved, self._begin, self._dtype = plan, saved.numpy(), work, saved.dtype
        self._threads = min(torch.get_num_threads(), plan.segments)
        self._work = buffers.empty(work + self._threads * plan.own, saved.dtype).numpy()

    def view(self, x: Map) -> np.ndarray:
        """A map's numbers, [segments, numbers], or [numbers]."""
        return self._plan.view(x, self._saved, self._work)

    def own(self) -> np.ndarray:
        """What each thread has for itself, [threads, numbers]."""
        end = self._begin + self._threads * self._plan.own
        return self._work[self._begin : end].reshape(self._threads, -1)

    def run(self, phases: Iterable[int]) -> None:
        """Every other phase begins with the last segment, whose maps are still in the cache from the phase before."""
        operations = _operations(self._dtype)
        n, threads = self._plan.segments, self._threads

        def share(i: int) -> None:
            start, stop, step = n * i // threads, n * (i + 1) // threads, 1
            if phase % 2:
                start, stop, step = stop - 1, start - 1, -1
            own = self._begin + i * self._plan.own
            operations.run(self._plan.rows[phase], start, stop, step, self._saved, self._work, own)

        for phase in phases:
            if threads == 1:
                share(0)
            else:
                list(_pool(os.getpid(), threads).map(share, range(threads)))
            self.settle(self._plan.program.norm_steps.get(phase, ()))

    def settle(self, steps: Iterable[NormStep]) -> None:
        """What comes between two phases."""
        operations = _operations(self._dtype)
        for step in steps:
            place, layer = (step.row, self._plan.segments, self._saved, self._work, self._begin), step.layer
            if step.is_back:
                operations.settle_back(*place, self._plan.program.is_training)
            else:
                statistics = _numbers(layer.running_mean), _numbers(layer.running_var)
                operations.settle(*place, *statistics, layer.momentum, layer.eps)


def _numbers(x: Tensor) -> np.ndarray:
    return x.detach().numpy()


@functools.cache
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process: a fork has none of its parent's."""
    return ThreadPoolExecutor(threads)
