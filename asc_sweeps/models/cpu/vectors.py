"""The door to numba: how operations are compiled; parts of them, two in vector instructions, which a loop would not become."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
from llvmlite import binding, ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import populate_array

_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"reassoc", "contract", "nsz"}}
"""Sums in any order, as vector instructions need it. Numbers that are not finite stay so: "nnan" is left out."""

part: Callable[..., Any] = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
"""Of what is part of kernels, and compiled into them."""

_IS_WIDE = bool(binding.get_host_cpu_features().get("avx512f"))
BYTES = 64 if _IS_WIDE else 32
"""Of a vector."""
ROWS = 10 if _IS_WIDE else 5
"""Of what the kernels below compute at once: as many sums as there are registers (32, or 16) for, less what they are fed from."""

_INDEX, _LANE = ir.IntType(64), ir.IntType(32)


_SOURCES = [
    Path(__file__).with_name(f"{name}.py")
    for name in ("vectors", "products", "rows", "filters", "planes", "operations")
]
_DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:8]


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compiled when first called, and kept on disk; where no folder can be written to, anew in each process."""
    function.__qualname__ += (
        f"_{_DIGEST}"  # part of the name on disk, for what is compiled into it stands in several files
    )
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return numba.njit(**_OPTIONS)(function)


class _Code:
    """Instructions as they are written down, for numbers of the type that an array has."""

    def __init__(self, context: Any, builder: ir.IRBuilder, array: types.Array) -> None:
        self.context, self.builder = context, builder
        self.item = context.get_data_type(array.dtype)
        self.size = 4 if isinstance(self.item, ir.FloatType) else 8
        self.lanes = BYTES // self.size
        self.vector = ir.VectorType(self.item, self.lanes)

    def pointer(self, array: types.Array, value: ir.Value, offset: ir.Value | int = 0) -> ir.Value:
        return self.move(self.context.make_array(array)(self.context, self.builder, value).data, offset)

    def move(self, pointer: ir.Value, *offsets: ir.Value | int) -> ir.Value:
        for offset in offsets:
            pointer = self.builder.gep(pointer, [offset if isinstance(offset, ir.Value) else _INDEX(offset)])
        return pointer

    def load(self, pointer: ir.Value) -> ir.Value:
        found = self.builder.load(self.builder.bitcast(pointer, self.vector.as_pointer()))
        found.align = self.size
        return found

    def store(self, value: ir.Value, pointer: ir.Value) -> None:
        self.builder.store(value, self.builder.bitcast(pointer, self.vector.as_pointer())).align = self.size

    def everywhere(self, pointer: ir.Value) -> ir.Value:
        """One number in all lanes."""
        empty = self.vector(ir.Undefined)
        one = self.builder.insert_element(empty, self.builder.load(pointer), _LANE(0))
        return self.builder.shuffle_vector(one, empty, ir.VectorType(_LANE, self.lanes)(None))

    def mixed(self, one: ir.Value, other: ir.Value, lanes: list[int]) -> ir.Value:
        """Lanes of two vectors: those of the other come after those of the one."""
        return self.builder.shuffle_vector(one, other, ir.VectorType(_LANE, len(lanes))(lanes))

    def sums(self, count: int, end: ir.Value, step: int, products: Callable[[ir.Value], list[tuple]]) -> list[ir.Value]:
        """`count` vectors that begin at zero; for each position up to `end`, at least one, products are added to them."""
        builder, entry = self.builder, self.builder.block
        loop, after = builder.append_basic_block(), builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        position, sums = builder.phi(_INDEX), [builder.phi(self.vector) for _ in range(count)]
        added = [
            builder.fadd(total, builder.fmul(*pair, flags=("contract",)), flags=("contract",))
            for total, pair in zip(sums, products(position), strict=True)
        ]
        following = builder.add(position, _INDEX(step))
        for phi, begin, value in zip(
            [position, *sums], [_INDEX(0)] + [self.vector(None)] * count, [following, *added], strict=True
        ):
            phi.add_incoming(begin, entry)
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", following, end), loop, after)
        builder.position_at_end(after)
        return added


@part
def copy(out, x):
    for i in range(len(out)):
        out[i] = x[i]


@part
def add(out, x, y):
    for i in range(len(out)):
        out[i] = x[i] + y[i]


@part
def accumulate(out, x):  # and not add(out, out, x): arrays that overlap are added number by number
    for i in range(len(out)):
        out[i] += x[i]


@intrinsic
def view(_context, array, first, size):
    """Numbers of an array, without a look at whether it has them. A slice counts who uses the array, which takes longer than a short
    loop; a view does not, so whoever owns the array has to `keep` it.
    """

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: list[ir.Value]) -> ir.Value:
        whole, first, size = values
        kind = signature.args[0]
        code, out = _Code(context, builder, kind), context.make_array(kind)(context, builder)
        fields = {
            "data": code.pointer(kind, whole, first),
            "shape": cgutils.pack_array(builder, [size]),
            "strides": cgutils.pack_array(builder, [_INDEX(code.size)]),
            "itemsize": _INDEX(code.size),
        }
        populate_array(out, **fields, meminfo=None)
        return out._getvalue()

    return array(array, types.intp, types.intp), generate


@intrinsic
def keep(_context, array):
    """Up to here nobody gives the array's memory back: a view of it does not stand in the way of that."""

    def generate(context: Any, _builder: ir.IRBuilder, _signature: Any, _values: list[ir.Value]) -> ir.Value:
        return context.get_dummy_value()

    return types.void(array), generate


@part
def nth(array, i, n):
    """The i-th n numbers."""
    return view(array, i * n, n)


def _product_tile(vectors: int) -> Any:
    @intrinsic
    def tile(_context, w, at_w, row_w, step_w, x, at_x, row_x, n, out, at_out, row_out):
        """The product w x: ROWS rows of so many vectors. Each row of w is `row_w` numbers further, each of its n columns `step_w`."""
        signature = types.void(w, at_w, row_w, step_w, x, at_x, row_x, n, out, at_out, row_out)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: list[ir.Value]) -> ir.Value:
            w, at_w, row_w, step_w, x, at_x, row_x, n, out, at_out, row_out = values
            code, w_type, x_type, out_type = _Code(context, builder, signature.args[0]), *signature.args[0:9:4]
            rows = [code.move(code.pointer(w_type, w, at_w), builder.mul(_INDEX(i), row_w)) for i in range(ROWS)]
            x, out = code.pointer(x_type, x, at_x), code.pointer(out_type, out, at_out)

            def products(k: ir.Value) -> list[tuple]:
                place, column = builder.mul(k, row_x), builder.mul(k, step_w)
                right = [code.load(code.move(x, place, j * code.lanes)) for j in range(vectors)]
                return [(left, r) for row in rows for left in [code.everywhere(code.move(row, column))] for r in right]

            for i, total in enumerate(code.sums(vectors * ROWS, n, 1, products)):
                place = code.move(out, builder.mul(_INDEX(i // vectors), row_out), i % vectors * code.lanes)
                code.store(total, place)
            return context.get_dummy_value()

        return signature, generate

    return tile


product_tile, product_strip = _product_tile(2), _product_tile(1)


@intrinsic
def turn_tile(_context, x, at_x, row_x, out, at_out, row_out):
    """Out [lanes, lanes] is x [lanes, lanes] turned, columns for rows; rows are so many numbers apart."""
    signature = types.void(x, at_x, row_x, out, at_out, row_out)

    def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: list[ir.Value]) -> ir.Value:
        x, at_x, row_x, out, at_out, row_out = values
        code = _Code(context, builder, signature.args[0])
        x, out = code.pointer(signature.args[0], x, at_x), code.pointer(signature.args[3], out, at_out)
        every = range(code.lanes)
        rows = [code.load(code.move(x, builder.mul(_INDEX(i), row_x))) for i in every]
        distance = code.lanes // 2
        while (
            distance
        ):  # blocks of so many rows and columns change places across the diagonal, then smaller ones in each
            for i in every:
                if not i & distance:
                    upper, lower = rows[i], rows[i + distance]
                    rows[i] = code.mixed(
                        upper, lower, [j if not j & distance else code.lanes + j - distance for j in every]
                    )
                    rows[i + distance] = code.mixed(
                        upper, lower, [j + distance if not j & distance else code.lanes + j for j in every]
                    )
            distance //= 2
        for i, row in enumerate(rows):
            code.store(row, code.move(out, builder.mul(_INDEX(i), row_out)))
        return context.get_dummy_value()

    return signature, generate
