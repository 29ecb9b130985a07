"""Programs of operations: written down once for a network and a size of mini-batch, and how they are laid out in memory.

A batch norm has to see all segments before one of them can go on. What lies between two norms is a phase, and is done from
beginning to end for one segment, whose maps stay in the nearest caches, before it is done for the next. Only what goes from phase
to phase, or to the way back, is ever in main memory; and what is made quickly from what lies there is made in each phase that reads
it instead (`Program.lazy`), or not at all where a reader can do that on its way (`Map.through`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from torch import nn

from asc_sweeps.models.cpu.operations import COPY, OPERANDS, OWN, ROW_WIDTH, SAVED, WORK

_LINE = 16
"""Numbers: maps begin at cache lines."""
_ROWS_BEHIND = 16
"""As long as a plane of the input, behind all numbers: a product may read there, and leave out what it has read."""


@dataclass(eq=False)
class Value:
    """What lies in memory as a whole: `size` numbers for each segment, or for all of them."""

    size: int
    is_shared: bool = False
    """One for all segments."""
    is_kept: bool = False
    """Lies where others cannot, for what is outside the program."""
    array: int | None = None
    first: int = 0
    uses: list[tuple[int, int]] = field(default_factory=list)
    """Of the operations that write or read it: phase, and number in it."""


@dataclass(eq=False)
class Map:
    """Channels of a value: [C, F, T] of each segment. Or rows of other numbers."""

    value: Value
    c: int
    f: int
    t: int
    first: int = 0
    phase: int = -1
    """In which it was made."""
    remake: Callable[..., Map] | None = None
    """Makes it from what is kept: so many channels from the first that is asked for; in a map that is given, or a new one."""
    takes_summand: bool = False
    """`remake` takes another map to be added, too."""
    through: tuple[Map, ...] = ()
    """It is what a norm, and its ReLU if `relu`, make of the first of these by the tables that follow; or, on the way back, the
    gradient before a norm: from that behind it, what was normed, and a table. Who can reads it so, and it is never in memory."""
    relu: bool = False
    summands: tuple[Map, Map] | None = None
    """It is not in memory, but their sum."""
    slices: dict[tuple[int, int], Map] = field(default_factory=dict)

    @property
    def n(self) -> int:
        """Numbers of a plane."""
        return self.f * self.t

    @property
    def size(self) -> int:
        """Numbers in all."""
        return self.c * self.n

    def slice(self, first: int, c: int) -> Map:
        """Some of the channels; the same object each time."""
        if (first, c) == (0, self.c):
            return self
        if (first, c) not in self.slices:
            remake = None if self.remake is None else lambda i, *more, make=self.remake: make(first + i, *more)
            place = self.first + first * self.n
            through = tuple(x.slice(first, c) for x in self.through)
            self.slices[first, c] = dataclasses.replace(
                self, c=c, first=place, remake=remake, through=through, slices={}
            )
        return self.slices[first, c]


@dataclass
class NormStep:
    """What stands between two phases: the table of a norm from its moments, or the one that leads back from its sums."""

    layer: nn.BatchNorm2d
    operands: tuple[Map, ...]
    """Of `operations.settle`, or, on the way back, of `operations.settle_back`."""
    size: int = 0
    """Numbers of one segment in each statistic; 0: the running statistics make the table."""
    is_back: bool = False
    row: np.ndarray | None = None


class Program:
    """Operations in phases, as layers write them down (`layers`): the way there, and after `turn` the way back."""

    def __init__(self, is_training: bool, has_way_back: bool, has_input_gradient: bool) -> None:
        self.is_training, self.has_way_back, self.has_input_gradient = is_training, has_way_back, has_input_gradient
        self.phases: list[list[tuple[int, tuple[Map | None, ...], tuple[int, ...]]]] = [[]]
        self.norm_steps: dict[int, list[NormStep]] = {-1: []}
        """By the phase that they follow."""
        self.values: list[Value] = []
        self.parameters: dict[tuple[nn.Module, str], tuple[Map, Map]] = {}
        """By layer and name: a parameter's numbers, and where its gradient is added up."""
        self.norms: list[nn.BatchNorm2d] = []
        self.masks: list[tuple[nn.Dropout2d, Map]] = []
        self.constants: list[tuple[Map, tuple[float, ...]]] = []
        self.image: Map
        """What goes in, [1, F, T]; `features` come out, [C, 1, 1]; and of both the gradients, if there is a way back."""
        self.features: Map
        self.to_features: Map | None = None
        self.to_image: Map | None = None
        self._made: dict[tuple[Value, int, int], Map] = {}
        self._turned_at: int | None = None

    @property
    def phase(self) -> int:
        """The one that is written."""
        return len(self.phases) - 1

    def new(self, c: int, f: int, t: int, is_shared: bool = False, is_kept: bool = False) -> Map:
        """A map to be written."""
        self.values.append(Value(c * f * t, is_shared, is_kept))
        return Map(self.values[-1], c, f, t, phase=self.phase)

    def parameter(self, layer: nn.Module, name: str) -> Map:
        """A parameter's numbers."""
        size = getattr(layer, name).numel()
        if (layer, name) not in self.parameters:
            self.parameters[layer, name] = self.new(size, 1, 1, is_shared=True), self.new(size, 1, 1)
        return self.parameters[layer, name][0]

    def gradient(self, layer: nn.Module, name: str) -> Map:
        """Where a parameter's gradient is added up."""
        return self.parameters[layer, name][1]

    def constant(self, *numbers: float) -> Map:
        """Numbers that are known before."""
        self.constants.append((self.new(len(numbers), 1, 1, is_shared=True), numbers))
        return self.constants[-1][0]

    def do(self, code: int, *operands: Map | None, numbers: tuple[int, ...] = ()) -> None:
        """An operation."""
        self.phases[-1].append((code, operands, numbers))

    def end_phase(self, *steps: NormStep) -> None:
        """All segments come this far before any goes on."""
        self.norm_steps[self.phase] = list(steps)
        self.phases.append([])
        self._made.clear()

    def turn(self) -> None:
        """What follows is the way back."""
        self.end_phase()
        self._turned_at = self.phase

    def lazy(
        self, make: Callable[..., Map], c: int, f: int, t: int, through: tuple[Map, ...] = (), relu: bool = False
    ) -> Map:
        """A map that `make` makes in each phase where it is read."""
        return Map(Value(c * f * t), c, f, t, remake=make, through=through, relu=relu)

    def here(self, x: Map, into: Map | None = None) -> Map:
        """x, for this phase: as it is kept, or made, `into` a map if that is given."""
        if x.summands:
            raise ValueError("only filters take in a sum")
        found = self.found(x)
        if found is None:
            found = self._made[x.value, x.first, x.c] = x.remake(0, x.c, into)
        elif into:
            self.do(COPY, into, found)
        return into or found

    def found(self, x: Map) -> Map | None:
        """The map itself, if it is kept; what was made of it in this phase, or of a larger one; or None, and it has to be made."""
        if x.phase == self.phase or x.remake is None:
            return x
        for (value, first, _), made in self._made.items():
            if value is x.value and first <= x.first and x.first + x.size <= first + made.size:
                return made.slice((x.first - first) // x.n, x.c)
        return None

    def plan(self, segments: int) -> ExecutionPlan:
        """The program for so many segments: each value in the array that lasts as long as it is needed, where no other is then."""
        turned = self._turned_at or len(self.phases)
        groups = self._groups(turned)
        sizes = {SAVED: 0, OWN: 0, (WORK, False): 0, (WORK, True): 0}
        for _, gradient in self.parameters.values():
            gradient.value.first = sizes[OWN]
            sizes[OWN] += _up(gradient.value.size)
        gradients = sizes[OWN]
        for (array, where), values in groups.items():
            if array == SAVED:
                for value in values:
                    value.first = sizes[SAVED]
                    sizes[SAVED] += _up(value.size) * (1 if value.is_shared else segments)
            elif array == OWN:
                spans = [(value.uses[0][1], value.uses[-1][1]) for value in values]
                sizes[OWN] = max(sizes[OWN], _lay(values, spans, 1, gradients))
            else:
                always = 0, len(self.phases)
                spans = [always if value.is_kept else (value.uses[0][0], value.uses[-1][0]) for value in values]
                sizes[WORK, where] = _lay(values, spans, segments, 0)
        rows = [
            np.array([self._row(*step) for step in steps], np.int64).reshape(-1, ROW_WIDTH) for steps in self.phases
        ]
        for steps in self.norm_steps.values():
            for step in steps:
                step.row = np.array([step.operands[1].size, *self._row(step.size, step.operands, ())], np.int64)
        work = sizes[WORK, False], sizes[WORK, True]
        behind = _ROWS_BEHIND * self.image.n
        return ExecutionPlan(self, segments, turned, rows, sizes[SAVED] + behind, work, sizes[OWN] + behind, gradients)

    def _groups(self, turned: int) -> dict[tuple[int, int | bool], list[Value]]:
        """Values by their array, and within it by the phase (OWN) or by whether the way back needs them (WORK)."""
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
            is_there, is_back = min(phases, default=0) < turned, max(phases, default=0) >= turned
            if value.array is not None:
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
    """A program as it is run: rows of `operations.run` for each phase, and how large each array is."""

    program: Program
    segments: int
    turned: int
    rows: list[np.ndarray]
    saved: int
    work: tuple[int, int]
    """On the way there and back, without what each thread has for itself: that comes behind."""
    own: int
    gradients: int
    """Of what a thread has for itself, the first numbers are its gradients of parameters."""

    def view(self, x: Map, saved: np.ndarray, work: np.ndarray) -> np.ndarray:
        """A map's numbers, [segments, numbers]; those of a shared one, [numbers]."""
        array, first, size = saved if x.value.array == SAVED else work, x.value.first, x.value.size
        if x.value.is_shared:
            return array[first + x.first : first + x.first + x.size]
        rows = array[first : first + self.segments * _up(size)].reshape(self.segments, _up(size))
        return rows[:, x.first : x.first + x.size]


def _up(size: int) -> int:
    return -(-size // _LINE) * _LINE


def _stride(value: Value) -> int:
    return 0 if value.is_shared or value.array == OWN else _up(value.size)


def _lay(values: list[Value], spans: list[tuple[int, int]], segments: int, begin: int) -> int:
    """Gives each value the first place that is free for as long as it lasts; how many numbers there are in all."""
    placed: list[tuple[int, int, int, int]] = []
    end = begin
    for (since, until), value in sorted(zip(spans, values, strict=True), key=lambda pair: pair[0]):
        size = _up(value.size) * (1 if value.is_shared else segments)
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
