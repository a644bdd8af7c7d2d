"""One value of a trajectory, in eight trajectories at once or in one.

The kernels of this folder are written for *values*: what `get` takes out of the memory of a group
of trajectories. On the CPU that memory has shape (size, 8) and a value is a `Vec8`, one lane a
trajectory; on a GPU it is an array (size,) of one thread and a value is a float. Arithmetic, and
the functions of `odekit_kernels.simd`, work on both, so that every formula is written once.
"""

# ruff: noqa: ARG005 - numba reads a function's arguments from its signature

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils
from numba.np import arrayobj

from odekit_kernels._jit import inner
from odekit_kernels.arcsine import asin as asin_anywhere
from odekit_kernels.arcsine import asin_within_half
from odekit_kernels.simd import WIDTH, Vec8, absolute, any_above, native, spread, vec8

__all__ = ["asin", "fill", "get", "lanes", "larger", "pick", "place", "put", "shaped", "smaller"]

_arrayobj: Any = arrayobj
_cgutils: Any = cgutils
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


def get(memory: Any, i: int) -> Any:
    """Value `i` of a group's memory."""
    return memory[i].copy() if memory.ndim == 2 else float(memory[i])


def put(memory: Any, i: int, value: Any) -> None:
    """Set value `i` of a group's memory."""
    memory[i] = value


def pick(memory: Any, i: int, lane: int) -> Any:
    """Value `i` of one trajectory."""
    return float(memory[i, lane]) if memory.ndim == 2 else float(memory[i])


def place(memory: Any, i: int, lane: int, x: float) -> None:
    """Set value `i` of one trajectory."""
    if memory.ndim == 2:
        memory[i, lane] = x
    else:
        memory[i] = x


def lanes(memory: Any) -> int:
    """Trajectories in a group."""
    return WIDTH if memory.ndim == 2 else 1


def fill(memory: Any, x: float) -> Any:
    """A value that is x in every trajectory of the group."""
    return np.full(WIDTH, x) if memory.ndim == 2 else x


def shaped(numbers: Any, first: int, shape: tuple[int, ...]) -> Any:
    """The numbers of a flat array from `first` on, in a shape, row-major; nothing is copied."""
    return numbers[first : first + math.prod(shape)].reshape(shape)


# Of Python's own numba's CUDA target has no version for two numbers.
@inner
def smaller(a: Any, b: Any) -> Any:
    """The smaller of two numbers."""
    return a if a < b else b


@inner
def larger(a: Any, b: Any) -> Any:
    """The larger of two numbers."""
    return a if a > b else b


# ------------------------------------------------------------------------------------------- native


def _is_memory(array: Any) -> bool:
    doubles = isinstance(array, types.Array) and array.dtype == types.float64
    return bool(doubles and array.layout == "C" and array.ndim in (1, 2))


def _value(memory: Any) -> Any:
    if not _is_memory(memory):
        return None
    return vec8 if memory.ndim == 2 else types.float64


def _pointer(
    context: Any, builder: Any, kind: Any, array: Any, index: Any, lane: Any = None
) -> Any:
    """Address of a value, or of its part in one lane."""
    data = _arrayobj.make_array(kind)(context, builder, array).data
    if kind.ndim == 1:
        return builder.gep(data, [index])
    index = builder.mul(index, ir.Constant(index.type, WIDTH))
    if lane is not None:
        return builder.gep(data, [builder.add(index, lane)])
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@native(get, lambda memory, i: _value(memory))
def _get(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    return builder.load(_pointer(context, builder, kinds[0], *arguments), align=8)


def _fits(memory: Any, value: Any) -> Any:
    held = _value(memory)
    return types.none if held is not None and value in (held, types.float64) else None


@native(put, lambda memory, i, value: _fits(memory, value))
def _put(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    array, index, value = arguments
    if kinds[0].ndim == 2 and not isinstance(kinds[2], Vec8):
        value = spread(builder, value)
    builder.store(value, _pointer(context, builder, kinds[0], array, index), align=8)
    return context.get_dummy_value()


@native(pick, lambda memory, i, lane: types.float64 if _is_memory(memory) else None)
def _pick(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    return builder.load(_pointer(context, builder, kinds[0], *arguments))


@native(place, lambda memory, i, lane, x: types.none if _is_memory(memory) else None)
def _place(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    array, index, lane, x = arguments
    builder.store(x, _pointer(context, builder, kinds[0], array, index, lane))
    return context.get_dummy_value()


@native(lanes, lambda memory: types.int64 if _is_memory(memory) else None)
def _lanes(_context: Any, _builder: Any, kinds: Any, _arguments: Any) -> Any:
    return ir.Constant(ir.IntType(64), WIDTH if kinds[0].ndim == 2 else 1)


@native(fill, lambda memory, x: _value(memory))
def _fill(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    return spread(builder, arguments[1]) if kinds[0].ndim == 2 else arguments[1]


def _shaped_type(numbers: Any, first: Any, shape: Any) -> Any:
    if not (_is_memory(numbers) and numbers.ndim == 1 and isinstance(first, types.Integer)):
        return None
    if not (isinstance(shape, types.UniTuple) and isinstance(shape.dtype, types.Integer)):
        return None
    return types.Array(types.float64, len(shape), "C")


# Numba's own reshape calls a function of the host's; and it checks whether it must copy.
@native(shaped, _shaped_type)
def _shaped(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    numbers, first, shape = arguments
    size = context.get_value_type(types.intp)
    whole = [
        context.cast(builder, x, kinds[2].dtype, types.intp)
        for x in _cgutils.unpack_tuple(builder, shape)
    ]
    strides: list[Any] = []
    step = ir.Constant(size, 8)
    for length in reversed(whole):
        strides.insert(0, step)
        step = builder.mul(step, length)
    made = _arrayobj.make_array(types.Array(types.float64, len(whole), "C"))(context, builder)
    _arrayobj.populate_array(
        made, data=_pointer(context, builder, kinds[0], numbers, first), shape=whole,
        strides=strides, itemsize=ir.Constant(size, 8), meminfo=None,
    )  # fmt: skip
    return made._getvalue()


# --------------------------------------------------------------------------------------------- asin


@inner
def asin(x: Any) -> Any:
    """Inverse sine; where every lane is within 1/2, as it is for norms up to 1, without its root.

    Both ways give the same bits for such a lane: what its neighbours hold does not matter.
    """
    if any_above(absolute(x), 0.5):
        return asin_anywhere(x)
    return asin_within_half(x)
