"""The only import of numba: compiles kernels, and writes some of them as vector instructions, which loops would not become."""

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
"""Sums may be reordered for vector instructions. Without "nnan": numbers that are not finite stay so."""

inline_kernel: Callable[..., Any] = numba.njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
"""Decorates functions that are inlined into compiled operations."""

_IS_WIDE = bool(binding.get_host_cpu_features().get("avx512f"))
BYTES = 64 if _IS_WIDE else 32
"""Bytes of a vector."""
ROWS = 10 if _IS_WIDE else 5
"""Rows that a tile computes at once: as many sums as fit into the registers (32 or 16) beside the operands."""

_INDEX, _LANE = ir.IntType(64), ir.IntType(32)


_SOURCES = [
    Path(__file__).with_name(f"{name}.py")
    for name in ("vectors", "products", "rows", "filters", "planes", "operations")
]
_DIGEST = hashlib.sha256(b"".join(path.read_bytes() for path in _SOURCES)).hexdigest()[:8]


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compile at the first call and cache on disk; without a writable folder, compile in each process."""
    # Part of the name on disk, since an operation is compiled from several files.
    function.__qualname__ += f"_{_DIGEST}"
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:
        return numba.njit(**_OPTIONS)(function)


def cache_folder(operation: Any) -> str:
    """The folder in which a compiled operation is cached."""
    return operation.stats.cache_path


class _Code:
    """Writes instructions for numbers of an array's type."""

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

    def broadcast(self, pointer: ir.Value) -> ir.Value:
        """A vector with one number in all lanes."""
        empty = self.vector(ir.Undefined)
        one = self.builder.insert_element(empty, self.builder.load(pointer), _LANE(0))
        return self.builder.shuffle_vector(one, empty, ir.VectorType(_LANE, self.lanes)(None))

    def shuffled(self, one: ir.Value, other: ir.Value, lanes: list[int]) -> ir.Value:
        """Selected lanes of two vectors; lane numbers of the second follow those of the first."""
        return self.builder.shuffle_vector(one, other, ir.VectorType(_LANE, len(lanes))(lanes))

    def sums(self, count: int, end: ir.Value, step: int, products: Callable[[ir.Value], list[tuple]]) -> list[ir.Value]:
        """`count` vectors of sums of products, over positions up to `end` (at least one)."""
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


@inline_kernel
def copy(out, x):
    for i in range(len(out)):
        out[i] = x[i]


@inline_kernel
def add(out, x, y):
    for i in range(len(out)):
        out[i] = x[i] + y[i]


@inline_kernel
def accumulate(out, x):  # add(out, out, x) would not be vectorized, since the arrays overlap
    for i in range(len(out)):
        out[i] += x[i]


@intrinsic
def view(_context, array, first, size):
    """Part of an array, without bounds checks or reference counting, which would take longer than a short loop. The owner of the
    array must `keep_alive` it.
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
def keep_alive(_context, array):
    """Keeps an array's memory allocated up to this point; views of it do not."""

    def generate(context: Any, _builder: ir.IRBuilder, _signature: Any, _values: list[ir.Value]) -> ir.Value:
        return context.get_dummy_value()

    return types.void(array), generate


@inline_kernel
def row_at(array, i, n):
    """Row i of an array with rows of n numbers."""
    return view(array, i * n, n)


def _product_tile(vectors: int) -> Any:
    @intrinsic
    def tile(_context, w, at_w, row_w, step_w, x, at_x, row_x, n, out, at_out, row_out):
        """ROWS rows of the product w x, `vectors` wide. `row_w` and `step_w` are the strides of w, which has n columns."""
        signature = types.void(w, at_w, row_w, step_w, x, at_x, row_x, n, out, at_out, row_out)

        def generate(context: Any, builder: ir.IRBuilder, signature: Any, values: list[ir.Value]) -> ir.Value:
            w, at_w, row_w, step_w, x, at_x, row_x, n, out, at_out, row_out = values
            code, w_type, x_type, out_type = _Code(context, builder, signature.args[0]), *signature.args[0:9:4]
            rows = [code.move(code.pointer(w_type, w, at_w), builder.mul(_INDEX(i), row_w)) for i in range(ROWS)]
            x, out = code.pointer(x_type, x, at_x), code.pointer(out_type, out, at_out)

            def products(k: ir.Value) -> list[tuple]:
                start, column = builder.mul(k, row_x), builder.mul(k, step_w)
                right = [code.load(code.move(x, start, j * code.lanes)) for j in range(vectors)]
                return [(left, r) for row in rows for left in [code.broadcast(code.move(row, column))] for r in right]

            for i, total in enumerate(code.sums(vectors * ROWS, n, 1, products)):
                start = code.move(out, builder.mul(_INDEX(i // vectors), row_out), i % vectors * code.lanes)
                code.store(total, start)
            return context.get_dummy_value()

        return signature, generate

    return tile


product_tile, product_strip = _product_tile(2), _product_tile(1)


@intrinsic
def transpose_tile(_context, x, at_x, row_x, out, at_out, row_out):
    """Transpose x [lanes, lanes] into out [lanes, lanes]; `row_...`: distance of rows."""
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
                    rows[i] = code.shuffled(
                        upper, lower, [j if not j & distance else code.lanes + j - distance for j in every]
                    )
                    rows[i + distance] = code.shuffled(
                        upper, lower, [j + distance if not j & distance else code.lanes + j for j in every]
                    )
            distance //= 2
        for i, row in enumerate(rows):
            code.store(row, code.move(out, builder.mul(_INDEX(i), row_out)))
        return context.get_dummy_value()

    return signature, generate
