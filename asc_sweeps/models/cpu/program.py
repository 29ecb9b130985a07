"""Programs of operations, written once per network and size of mini-batch, and their arrangement in memory.

A batch norm needs all segments before any of them can continue. The operations between two norms are a phase, which is completed for
one segment, whose maps stay in the cache, before the next. Only what later phases or the backward pass need goes to main memory. Maps
that are quickly computed from those are computed in each phase that reads them (`Program.lazy`), or by the reading operation itself
(`Map.norm_source`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from asc_sweeps.models.cpu.operations import COPY, OPERANDS, OWN, ROW_WIDTH, SAVED, WORK

_LINE = 16
"""Numbers of a cache line; maps begin at cache lines."""
_PLANES_AFTER_END = 16
"""Planes of the input after the end of an array: products may read there and discard what they read."""


@dataclass(eq=False)
class Value:
    """A unit of memory: `size` numbers for each segment, or shared by all segments."""

    size: int
    is_shared: bool = False
    """One for all segments, not one each."""
    is_kept: bool = False
    """Never overwritten, since it is read or written outside of the program."""
    array: int = -1
    first: int = 0
    uses: list[tuple[int, int]] = field(default_factory=list)
    """The operations that write or read it: phase, and number within it."""


@dataclass(eq=False)
class Map:
    """Channels of a value, [C, F, T] for each segment; or rows of other numbers."""

    value: Value
    c: int
    f: int
    t: int
    first: int = 0
    phase: int = -1
    """The phase that computes it."""
    remake: Callable[..., Map] | None = None
    """Recomputes channels (first, count) from stored maps, into a given map or a new one."""
    takes_summand: bool = False
    """`remake` accepts another map to be added."""
    norm_source: tuple[Map, ...] = ()
    """Maps from which a norm (with ReLU if `relu`) computes it: the norm's input and table; or, in the backward pass, gradient, input
    and backward table. Operations that can apply the norm while reading use these, so that the map is never in memory."""
    relu: bool = False
    summands: tuple[Map, Map] | None = None
    """It is not in memory; it is their sum."""
    slices: dict[tuple[int, int], Map] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Numbers per plane."""
        return self.f * self.t

    @property
    def size(self) -> int:
        """Numbers in total."""
        return self.c * self.n

    def slice(self, first: int, c: int) -> Map:
        """Some of the channels; the same object each time."""
        if (first, c) == (0, self.c):
            return self
        if (first, c) not in self.slices:
            remake = None if self.remake is None else lambda i, *more, make=self.remake: make(first + i, *more)
            start = self.first + first * self.n
            norm_source = tuple(x.slice(first, c) for x in self.norm_source)
            self.slices[first, c] = dataclasses.replace(
                self, c=c, first=start, remake=remake, norm_source=norm_source, slices={}
            )
        return self.slices[first, c]


@dataclass
class NormStep:
    """Work between two phases: a norm's table from its moments, or its backward table from its sums."""

    layer: nn.BatchNorm2d
    operands: tuple[Map, ...]
    """Of `operations.finish_norm` or `operations.finish_norm_backward`."""
    size: int = 0
    """Numbers of one segment per statistic; 0: the table uses the running statistics."""
    is_backward: bool = False
    row: np.ndarray | None = None


class Program:
    """Operations in phases, as written by `layers`: the forward pass and, after `begin_backward`, the backward pass."""

    def __init__(self, is_training: bool, has_backward: bool, has_input_gradient: bool) -> None:
        self.is_training, self.has_backward, self.has_input_gradient = is_training, has_backward, has_input_gradient
        self.phases: list[list[tuple[int, tuple[Map | None, ...], tuple[int, ...]]]] = [[]]
        self.norm_steps: dict[int, list[NormStep]] = {-1: []}
        """By the preceding phase."""
        self.values: list[Value] = []
        self.parameters: dict[tuple[nn.Module, str], tuple[Map, Map]] = {}
        """By layer and name: a parameter's values, and the sum of its gradient."""
        self.norms: list[nn.BatchNorm2d] = []
        self.masks: list[tuple[nn.Dropout2d, Map]] = []
        self.constants: list[tuple[Map, tuple[float, ...]]] = []
        self.image: Map
        """The input, [1, F, T]; the output is `features`, [C, 1, 1]. With a backward pass, both have gradients."""
        self.features: Map
        self.features_gradient: Map | None = None
        self.image_gradient: Map | None = None
        self._made: dict[tuple[Value, int, int], Map] = {}
        self._backward_at: int | None = None

    @property
    def phase(self) -> int:
        """The phase being written."""
        return len(self.phases) - 1

    def new(self, c: int, f: int, t: int, is_shared: bool = False, is_kept: bool = False) -> Map:
        """A new map."""
        self.values.append(Value(c * f * t, is_shared, is_kept))
        return Map(self.values[-1], c, f, t, phase=self.phase)

    def parameter(self, layer: nn.Module, name: str) -> Map:
        """A parameter's values."""
        size = getattr(layer, name).numel()
        if (layer, name) not in self.parameters:
            self.parameters[layer, name] = self.new(size, 1, 1, is_shared=True), self.new(size, 1, 1)
        return self.parameters[layer, name][0]

    def gradient(self, layer: nn.Module, name: str) -> Map:
        """The sum of a parameter's gradient."""
        return self.parameters[layer, name][1]

    def constant(self, *numbers: float) -> Map:
        """Constant numbers."""
        self.constants.append((self.new(len(numbers), 1, 1, is_shared=True), numbers))
        return self.constants[-1][0]

    def emit(self, code: int, *operands: Map | None, numbers: tuple[int, ...] = ()) -> None:
        """Append an operation."""
        self.phases[-1].append((code, operands, numbers))

    def end_phase(self, *steps: NormStep) -> None:
        """All segments finish this phase before the next begins."""
        self.norm_steps[self.phase] = list(steps)
        self.phases.append([])
        self._made.clear()

    def begin_backward(self) -> None:
        """The backward pass follows."""
        self.end_phase()
        self._backward_at = self.phase

    def lazy(
        self, make: Callable[..., Map], c: int, f: int, t: int, norm_source: tuple[Map, ...] = (), relu: bool = False
    ) -> Map:
        """A map that `make` computes in each phase that reads it."""
        return Map(Value(c * f * t), c, f, t, remake=make, norm_source=norm_source, relu=relu)

    def materialize(self, x: Map, into: Map | None = None) -> Map:
        """The map in memory in this phase: stored, or computed, `into` a given map if there is one."""
        if x.summands:
            raise ValueError("only filters accept a sum of maps")
        present = self.available(x)
        if present is None:
            if x.remake is None:
                raise ValueError("a map that is neither stored nor computable")
            present = self._made[x.value, x.first, x.c] = x.remake(0, x.c, into)
        elif into:
            self.emit(COPY, into, present)
        return into or present

    def available(self, x: Map) -> Map | None:
        """The map itself if it is stored; what this phase computed of it, or of a larger one; None if it has to be computed."""
        if x.phase == self.phase or x.remake is None:
            return x
        for (value, first, _), made in self._made.items():
            if value is x.value and first <= x.first and x.first + x.size <= first + made.size:
                return made.slice((x.first - first) // x.n, x.c)
        return None

    def plan(self, segments: int) -> ExecutionPlan:
        """The program for a number of segments, with each value in an array that lasts as long as it is used, reusing space."""
        backward_phase = self._backward_at or len(self.phases)
        groups = self._groups(backward_phase)
        sizes = {SAVED: 0, OWN: 0, (WORK, False): 0, (WORK, True): 0}
        for _, gradient in self.parameters.values():
            gradient.value.first = sizes[OWN]
            sizes[OWN] += _padded(gradient.value.size)
        gradients = sizes[OWN]
        for (array, where), values in groups.items():
            if array == SAVED:
                for value in values:
                    value.first = sizes[SAVED]
                    sizes[SAVED] += _padded(value.size) * (1 if value.is_shared else segments)
            elif array == OWN:
                spans = [(value.uses[0][1], value.uses[-1][1]) for value in values]
                sizes[OWN] = max(sizes[OWN], _place(values, spans, 1, gradients))
            else:
                always = 0, len(self.phases)
                spans = [always if value.is_kept else (value.uses[0][0], value.uses[-1][0]) for value in values]
                sizes[WORK, where] = _place(values, spans, segments, 0)
        rows = [
            np.array([self._row(*step) for step in steps], np.int64).reshape(-1, ROW_WIDTH) for steps in self.phases
        ]
        for steps in self.norm_steps.values():
            for step in steps:
                step.row = np.array([step.operands[1].size, *self._row(step.size, step.operands, ())], np.int64)
        work = sizes[WORK, False], sizes[WORK, True]
        padding = _PLANES_AFTER_END * self.image.n
        return ExecutionPlan(
            self, segments, backward_phase, rows, sizes[SAVED] + padding, work, sizes[OWN] + padding, gradients
        )

    def _groups(self, backward_phase: int) -> dict[tuple[int, int | bool], list[Value]]:
        """Values by array, and within it by phase (OWN) or by whether the backward pass uses them (WORK)."""
        for phase, steps in enumerate(self.phases):
            for i, (_, operands, _) in enumerate(steps):
                for x in operands:
                    if x is not None:
                        x.value.uses.append((phase, i))
        for _, gradient in self.parameters.values():
            gradient.value.array = OWN
        groups: dict[tuple[int, int | bool], list[Value]] = {}
        for value in self.values:
            phases = {phase for phase, _ in value.uses}
            is_there, is_back = min(phases, default=0) < backward_phase, max(phases, default=0) >= backward_phase
            if value.array >= 0:
                continue
            if value.is_shared or (is_there and is_back):
                value.array, where = SAVED, 0
            elif len(phases) == 1 and not value.is_kept:
                value.array, where = OWN, value.uses[0][0]
            else:
                value.array, where = WORK, is_back
            groups.setdefault((value.array, where), []).append(value)
        return groups

    def _row(self, code: int, operands: tuple[Map | None, ...], numbers: tuple[int, ...]) -> list[int]:
        row = [code]
        for x in operands:
            row += [0, 0, 0, 0] if x is None else [x.value.array, x.value.first + x.first, _stride(x.value), x.size]
        row += [0, 0, 0, 0] * (OPERANDS - len(operands))
        row += numbers
        return row + [0] * (ROW_WIDTH - len(row))


@dataclass
class ExecutionPlan:
    """A program with its arrangement in memory: rows for `operations.run` for each phase, and the sizes of the arrays."""

    program: Program
    segments: int
    backward_phase: int
    """The first phase of the backward pass."""
    rows: list[np.ndarray]
    saved: int
    work: tuple[int, int]
    """In the forward and the backward pass, without the threads' own numbers, which follow."""
    thread_size: int
    """Numbers of each thread."""
    gradients: int
    """Numbers of the parameters' gradients, which come first among those of a thread."""

    def view(self, x: Map, saved: np.ndarray, work: np.ndarray) -> np.ndarray:
        """A map's numbers: [segments, numbers], or [numbers] if shared."""
        array, first, size = saved if x.value.array == SAVED else work, x.value.first, x.value.size
        if x.value.is_shared:
            return array[first + x.first : first + x.first + x.size]
        rows = array[first : first + self.segments * _padded(size)].reshape(self.segments, _padded(size))
        return rows[:, x.first : x.first + x.size]


def _padded(size: int) -> int:
    return -(-size // _LINE) * _LINE


def _stride(value: Value) -> int:
    return 0 if value.is_shared or value.array == OWN else _padded(value.size)


def _place(values: list[Value], spans: list[tuple[int, int]], segments: int, begin: int) -> int:
    """Assign each value the first space that is free during its span; returns the total size."""
    placed: list[tuple[int, int, int, int]] = []
    end = begin
    for (since, until), value in sorted(zip(spans, values, strict=True), key=lambda pair: pair[0]):
        size = _padded(value.size) * (1 if value.is_shared else segments)
        at = begin
        for first, last, a, b in placed:
            if since <= b and a <= until:
                if at + size <= first:
                    break
                at = max(at, last)
        value.first = at
        placed.append((at, at + size, since, until))
        placed.sort()
        end = max(end, at + size)
    return end
