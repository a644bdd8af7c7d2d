"""Eight doubles as one value, and the elementary functions the kernels need of them.

LLVM leaves the loops of these kernels scalar; a vector type written out does not. `Vec8` is LLVM's
``<8 x double>``: a register of AVX-512, two of AVX2, four of NEON or SSE2. ``+ - * /`` work on it
and mix with floats. The functions also take single floats, so that a formula is written once.

The Python bodies are the same functions on numpy arrays of eight. They run when
``NUMBA_DISABLE_JIT`` is set, and each `overload` gives the compiled counterpart of one.
"""

# ruff: noqa: ARG001 - an overload and an intrinsic have the arguments of what they stand for

from __future__ import annotations

import math
import operator
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils
from numba.np import arrayobj

from ._jit import FLAGS, kernel

__all__ = [
    "WIDTH",
    "absolute",
    "asin",
    "asin_given",
    "choose_less",
    "load",
    "minor",
    "root",
    "round_up",
    "splat",
    "store",
    "total",
    "view",
    "view2",
    "with_sign",
]

# Numba's annotations cover a part of these, and not as they are used here.
_numba: Any = extending
_cgutils: Any = cgutils
_arrayobj: Any = arrayobj
intrinsic = _numba.intrinsic

WIDTH = 8
"""Doubles in a `Vec8`."""


class Vec8(types.Type):
    """Numba's type of eight doubles."""

    def __init__(self) -> None:
        super().__init__(name="Vec8")


vec8 = Vec8()
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


def _compiled(function: Any) -> Any:
    """Give the compiled counterpart of a Python body."""
    return _numba.overload(
        function, jit_options={**FLAGS, "forceinline": True, "_nrt": False}, strict=False
    )


@_numba.register_model(Vec8)
class _Vec8Model(extending.models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTOR)  # type: ignore[no-untyped-call]


# --------------------------------------------------------------------------------------- arithmetic


def _is_real(kind: Any) -> bool:
    return bool(kind == types.float64)


def _widen(builder: Any, value: Any, kind: Any) -> Any:
    """Copy a double to all lanes; leave a vector alone."""
    if isinstance(kind, Vec8):
        return value
    lane = ir.IntType(32)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, lane(0))
    mask = ir.Constant(ir.VectorType(lane, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, undefined, mask)


def _define_operator(symbol: Any, instruction: str) -> None:
    def typer(_context: Any) -> Any:
        def result(a: Any, b: Any) -> Any:
            vectors = isinstance(a, Vec8) + isinstance(b, Vec8)
            if vectors == 2 or (vectors == 1 and (_is_real(a) or _is_real(b))):
                return vec8
            return None

        return result

    def lower(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        a, b = (_widen(builder, *pair) for pair in zip(arguments, signature.args, strict=True))
        return getattr(builder, instruction)(a, b, flags=("contract",))

    _numba.type_callable(symbol)(typer)
    for pair in ((Vec8, Vec8), (Vec8, types.Float), (types.Float, Vec8)):
        _numba.lower_builtin(symbol, *pair)(lower)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_symbol, _instruction)


# ------------------------------------------------------------------------------------------- memory


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    """Pointer to eight doubles from flat position `index` of a C-contiguous array."""
    data = _arrayobj.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


def _is_block(array: Any) -> bool:
    return isinstance(array, types.Array) and array.layout == "C" and _is_real(array.dtype)


@intrinsic
def _load(_typing: Any, array: Any, index: Any) -> Any:
    if not _is_block(array):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments)
        return builder.load(pointer, align=8)

    return vec8(array, types.intp), generate


@intrinsic
def _store(_typing: Any, array: Any, index: Any, value: Any) -> Any:
    if not _is_block(array):
        return None

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _address(context, builder, signature.args[0], *arguments[:2])
        builder.store(arguments[2], pointer, align=8)
        return context.get_dummy_value()

    return types.void(array, types.intp, vec8), generate


def load(array: Any, index: int) -> Any:
    """Eight doubles of a C-contiguous array, whatever its shape, from flat position `index` on."""
    return array.reshape(-1)[index : index + WIDTH].copy()


def store(array: Any, index: int, value: Any) -> None:
    """Write eight doubles to flat position `index` of a C-contiguous array and after."""
    array.reshape(-1)[index : index + WIDTH] = value


@_compiled(load)
def _overload_load(array: Any, index: Any) -> Any:
    return lambda array, index: _load(array, index)


@_compiled(store)
def _overload_store(array: Any, index: Any, value: Any) -> Any:
    return lambda array, index, value: _store(array, index, value)


def _view_of(context: Any, builder: Any, kind: Any, memory: Any, start: Any, shape: Any) -> Any:
    """Array of `kind` on part of another's memory; owns nothing."""
    size = context.get_constant(types.intp, 8)
    strides = [size, builder.mul(size, shape[1])][::-1] if kind.ndim == 2 else [size]
    array = _arrayobj.make_array(kind)(context, builder)
    data = builder.gep(memory.data, [start])
    values = {"shape": shape, "strides": strides, "itemsize": size, "meminfo": None}
    _arrayobj.populate_array(array, data=data, **values)
    return array._getvalue()


@intrinsic
def _view(_typing: Any, memory: Any, start: Any, columns: Any) -> Any:
    kind = types.Array(types.float64, 1, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = _arrayobj.make_array(signature.args[0])(context, builder, arguments[0])
        return _view_of(context, builder, kind, whole, arguments[1], arguments[2:])

    return kind(memory, types.intp, types.intp), generate


@intrinsic
def _view2(_typing: Any, memory: Any, start: Any, rows: Any, columns: Any) -> Any:
    kind = types.Array(types.float64, 2, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        whole = _arrayobj.make_array(signature.args[0])(context, builder, arguments[0])
        return _view_of(context, builder, kind, whole, arguments[1], arguments[2:])

    return kind(memory, types.intp, types.intp, types.intp), generate


def view(memory: Any, start: int, columns: int) -> Any:
    """Vector of `columns` doubles within `memory`, from `start` on."""
    return memory[start : start + columns]


def view2(memory: Any, start: int, rows: int, columns: int) -> Any:
    """Matrix within `memory`; a reshaped slice would cost 20 ns in compiled code."""
    return memory[start : start + rows * columns].reshape(rows, columns)


@_compiled(view)
def _overload_view(memory: Any, start: Any, columns: Any) -> Any:
    return lambda memory, start, columns: _view(memory, start, columns)


@_compiled(view2)
def _overload_view2(memory: Any, start: Any, rows: Any, columns: Any) -> Any:
    return lambda memory, start, rows, columns: _view2(memory, start, rows, columns)


# ----------------------------------------------------------------------------- elementary functions


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    """LLVM's function `name` of doubles or of vectors, lane by lane."""
    kind = arguments[0].type
    suffix = "v8f64" if kind == _VECTOR else "f64"
    declared = ir.FunctionType(kind, [kind] * len(arguments))
    name = f"llvm.{name}.{suffix}"
    function = _cgutils.get_or_insert_function(builder.module, declared, name)
    return builder.call(function, arguments)


def _elementwise(name: str) -> Any:
    return lambda _context, builder, _signature, arguments: _call(builder, name, *arguments)


@intrinsic
def _root8(_typing: Any, x: Any) -> Any:
    return vec8(vec8), _elementwise("sqrt")


@intrinsic
def _absolute8(_typing: Any, x: Any) -> Any:
    return vec8(vec8), _elementwise("fabs")


@intrinsic
def _with_sign8(_typing: Any, size: Any, sign: Any) -> Any:
    return vec8(vec8, vec8), _elementwise("copysign")


@intrinsic
def _minor(_typing: Any, a: Any, b: Any, c: Any) -> Any:
    vectors = [isinstance(kind, Vec8) for kind in (a, b, c)]

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        if any(vectors):
            pairs = zip(arguments, signature.args, strict=True)
            arguments = [_widen(builder, *pair) for pair in pairs]
        x, y, z = arguments
        # Kahan's: explicit FMAs, so that no contraction elsewhere can undo it.
        square = builder.fmul(z, z)
        minus = builder.fneg(square)
        lost = _call(builder, "fma", z, z, minus)
        return builder.fsub(_call(builder, "fma", x, y, minus), lost)

    return (vec8 if any(vectors) else types.float64)(a, b, c), generate


@intrinsic
def _splat8(_typing: Any, x: Any) -> Any:
    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _widen(builder, arguments[0], signature.args[0])

    return vec8(types.float64), generate


@intrinsic
def _choose_less8(_typing: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    if not any(isinstance(kind, Vec8) for kind in (a, b, yes, no)):
        return None

    def generate(_context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pairs = zip(arguments, signature.args, strict=True)
        left, right, first, second = (_widen(builder, *pair) for pair in pairs)
        return builder.select(builder.fcmp_ordered("<", left, right), first, second)

    return vec8(a, b, yes, no), generate


@intrinsic
def _total8(_typing: Any, x: Any) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        value, width, lane = arguments[0], WIDTH, ir.IntType(32)
        while width > 1:
            width //= 2
            undefined = ir.Constant(value.type, ir.Undefined)
            masks = (range(width), range(width, 2 * width))
            constants = [ir.Constant(ir.VectorType(lane, width), list(mask)) for mask in masks]
            halves = [builder.shuffle_vector(value, undefined, mask) for mask in constants]
            value = builder.fadd(*halves)
        return builder.extract_element(value, lane(0))

    return types.float64(vec8), generate


def splat(x: float) -> Any:
    """Eight copies of a double."""
    return np.full(WIDTH, x)


def total(x: Any) -> float:
    """Sum of the eight lanes, by halves as the compiled one does it."""
    while x.size > 1:
        half = x.size // 2
        x = x[:half] + x[half:]
    return float(x[0])


def root(x: Any) -> Any:
    """Square root."""
    return np.sqrt(x)


def absolute(x: Any) -> Any:
    """Absolute value."""
    return np.abs(x)


def with_sign(size: Any, sign: Any) -> Any:
    """`size` with the sign of `sign`."""
    return np.copysign(size, sign)


def minor(a: Any, b: Any, c: Any) -> Any:
    """a b − c², to rounding of the result: exactly 0 for coinciding fields."""
    return a * b - c * c


def choose_less(a: Any, b: Any, yes: Any, no: Any) -> Any:
    """`yes` where a < b, else `no`; a comparison with NaN is false."""
    return np.where(a < b, yes, no)


@_compiled(splat)
def _overload_splat(x: Any) -> Any:
    return lambda x: _splat8(x)


@_compiled(total)
def _overload_total(x: Any) -> Any:
    return lambda x: _total8(x)


@_compiled(root)
def _overload_root(x: Any) -> Any:
    return (lambda x: _root8(x)) if isinstance(x, Vec8) else (lambda x: math.sqrt(x))


@_compiled(absolute)
def _overload_absolute(x: Any) -> Any:
    return (lambda x: _absolute8(x)) if isinstance(x, Vec8) else (lambda x: math.fabs(x))


@_compiled(with_sign)
def _overload_with_sign(size: Any, sign: Any) -> Any:
    if isinstance(size, Vec8):
        return lambda size, sign: _with_sign8(size, sign)
    return lambda size, sign: math.copysign(size, sign)


@_compiled(minor)
def _overload_minor(a: Any, b: Any, c: Any) -> Any:
    return lambda a, b, c: _minor(a, b, c)


@_compiled(choose_less)
def _overload_choose_less(a: Any, b: Any, yes: Any, no: Any) -> Any:
    if any(isinstance(kind, Vec8) for kind in (a, b, yes, no)):
        return lambda a, b, yes, no: _choose_less8(a, b, yes, no)
    return lambda a, b, yes, no: yes if a < b else no


# --------------------------------------------------------------------------------------------- asin


@kernel(forceinline=True)
def _asin(x: Any, size: Any, rest: Any) -> Any:
    """asin x from size = |x| and rest = (1 − |x|)/2.

    For |x| > 1/2, asin |x| = π/2 − 2 asin √rest, so that one polynomial in z ≤ 1/4 serves:
    Chebyshev interpolation of (asin √z − √z)/z^(3/2), in error by 3e-17 after the factor z^(3/2).
    """
    rest = choose_less(rest, 0.0, 0.0, rest)
    z = choose_less(0.5, size, rest, size * size)
    s = choose_less(0.5, size, root(rest), size)
    p = 0.028169218060881414 * z + -0.010749050339697811
    p = p * z + 0.016035514349148825
    p = p * z + 0.007802949477353317
    p = p * z + 0.011875494382636924
    p = p * z + 0.013929652902326633
    p = p * z + 0.017355259955786323
    p = p * z + 0.02237204763174451
    p = p * z + 0.03038194736709848
    p = p * z + 0.044642857103423646
    p = p * z + 0.07500000000020764
    p = p * z + 0.1666666666666665
    w = s + s * z * p
    return with_sign(choose_less(0.5, size, 1.5707963267948966 - 2.0 * w, w), x)


@kernel(forceinline=True)
def asin(x: Any) -> Any:
    """Inverse sine of a double or a Vec8, to 3e-16; beyond ±1 it stays at ±π/2, NaN stays NaN."""
    size = absolute(x)
    return _asin(x, size, 0.5 - 0.5 * size)


@kernel(forceinline=True)
def asin_given(x: Any, cosine2: Any) -> Any:
    """asin x where cosine2 = 1 − x² is known to more digits than x gives near ±1."""
    size = absolute(x)
    return _asin(x, size, 0.5 * cosine2 / (1.0 + size))


def round_up(n: int) -> int:
    """Smallest multiple of WIDTH that is at least n."""
    return (n + WIDTH - 1) // WIDTH * WIDTH
