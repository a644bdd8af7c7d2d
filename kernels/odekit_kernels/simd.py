"""Eight doubles as one value, and the elementary functions the kernels need of them.

LLVM leaves the loops of these kernels scalar; a vector type written out does not. `Vec8` is LLVM's
``<8 x double>``: a register of AVX-512, two of AVX2, four of NEON or SSE2. ``+ - * /`` work on it
and mix with floats. The functions also take single floats, so that a formula is written once.

The Python bodies are the same functions on numpy arrays of eight. They run when
``NUMBA_DISABLE_JIT`` is set; `native` gives the compiled counterpart of each.
"""

# ruff: noqa: ARG005 - numba reads a function's arguments from its signature

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import extending, types
from numba.core import cgutils
from numba.np import arrayobj

from odekit_kernels._jit import inner

__all__ = [
    "WIDTH",
    "absolute",
    "any_above",
    "choose_at_most",
    "choose_less",
    "least",
    "load",
    "minor",
    "most",
    "over_root",
    "over_root_near",
    "root",
    "round_up",
    "splat",
    "store",
    "total",
    "with_sign",
]

# Numba's annotations cover a part of these, and not as they are used here.
_numba: Any = extending
_cgutils: Any = cgutils
_arrayobj: Any = arrayobj

WIDTH = 8
"""Doubles in a `Vec8`."""
FAR = 1e30
"""Beyond it `over_root` leaves single precision, which ends at 3e38."""


class Vec8(types.Type):
    """Numba's type of eight doubles."""

    def __init__(self) -> None:
        super().__init__(name="Vec8")


vec8 = Vec8()
_ANY: Any = types.VarArg(types.Any)  # type: ignore[no-untyped-call]
_SIGN_BIT = 1 << 63
_SIZE_BITS = _SIGN_BIT - 1
_VECTOR = ir.VectorType(ir.DoubleType(), WIDTH)


@_numba.register_model(Vec8)
class _Vec8Model(extending.models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, _VECTOR)  # type: ignore[no-untyped-call]


# ------------------------------------------------------------------------------ typing and lowering


def native(function: Any, result: Callable[..., Any]) -> Any:
    """Decorate the generator of the instructions that stand for `function`.

    Parameters
    ----------
    function : callable
        What kernels call.
    result : callable
        From numba's types of the arguments to that of the value, or None to refuse them.

    Returns
    -------
    callable
        Decorator of ``generate(context, builder, kinds, arguments)``.
    """

    def decorate(generate: Any) -> Any:
        def lower(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            return generate(context, builder, signature.args, arguments)

        _numba.type_callable(function)(lambda _context: result)
        _numba.lower_builtin(function, _ANY)(lower)
        return generate

    return decorate


def _wide(*kinds: Any) -> Any:
    """Type of a lane-by-lane function: a vector if any argument is one."""
    if not all(isinstance(kind, (Vec8, types.Float)) for kind in kinds):
        return None
    return vec8 if any(isinstance(kind, Vec8) for kind in kinds) else types.float64


def _mixed(*kinds: Any) -> Any:
    """As `_wide`, for functions that numba has on floats."""
    return vec8 if _wide(*kinds) == vec8 else None


def spread(builder: Any, value: Any) -> Any:
    """Instructions that copy a double to all lanes."""
    lane = ir.IntType(32)
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, lane(0))
    mask = ir.Constant(ir.VectorType(lane, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(first, undefined, mask)


def _alike(builder: Any, kinds: Any, arguments: Any) -> list[Any]:
    """Make all arguments vectors if one is."""
    if _wide(*kinds) != vec8:
        return list(arguments)
    pairs = zip(kinds, arguments, strict=True)
    return [x if isinstance(kind, Vec8) else spread(builder, x) for kind, x in pairs]


def _call(builder: Any, name: str, *arguments: Any) -> Any:
    """LLVM's function `name` of doubles or of vectors, lane by lane."""
    kind = arguments[0].type
    suffix = "v8f64" if kind == _VECTOR else "f64"
    declared = ir.FunctionType(kind, [kind] * len(arguments))
    name = f"llvm.{name}.{suffix}"
    function = _cgutils.get_or_insert_function(builder.module, declared, name)
    return builder.call(function, arguments)


def _minus(builder: Any, value: Any) -> Any:
    """−x; the older LLVM inside CUDA's compiler knows no fneg."""
    zero = ir.Constant(ir.DoubleType(), -0.0)
    return builder.fsub(spread(builder, zero) if value.type == _VECTOR else zero, value)


def _define_operator(symbol: Any, instruction: str) -> None:
    def generate(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
        a, b = _alike(builder, kinds, arguments)
        return getattr(builder, instruction)(a, b, flags=("contract",))

    _numba.type_callable(symbol)(lambda _context: lambda a, b: _mixed(a, b))
    for pair in ((Vec8, Vec8), (Vec8, types.Float), (types.Float, Vec8)):
        _numba.lower_builtin(symbol, *pair)(lambda c, b, s, a: generate(c, b, s.args, a))


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _define_operator(_symbol, _instruction)


@native(operator.neg, lambda a: vec8 if isinstance(a, Vec8) else None)
def _negate(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    return _minus(builder, arguments[0])


# ------------------------------------------------------------------------------------------- memory


def load(array: Any, index: int) -> Any:
    """Eight doubles of a C-contiguous array, whatever its shape, from flat position `index` on."""
    return array.reshape(-1)[index : index + WIDTH].copy()


def store(array: Any, index: int, value: Any) -> None:
    """Write eight doubles to flat position `index` of a C-contiguous array and after."""
    array.reshape(-1)[index : index + WIDTH] = value


def _is_block(array: Any) -> bool:
    doubles = isinstance(array, types.Array) and array.dtype == types.float64
    return bool(doubles and array.layout == "C")


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = _arrayobj.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())


@native(load, lambda array, index: vec8 if _is_block(array) else None)
def _load(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    return builder.load(_address(context, builder, kinds[0], *arguments), align=8)


@native(store, lambda array, index, value: types.none if _is_block(array) else None)
def _store(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    array, index, value = arguments
    builder.store(value, _address(context, builder, kinds[0], array, index), align=8)
    return context.get_dummy_value()


# ---------------------------------------------------------------------------------------- functions


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


def over_root_roughly(x: Any) -> Any:
    """1/√x to single precision, for what that holds; for any double where a device takes one."""
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
        single = np.float32(1.0) / np.sqrt(np.asarray(x, dtype=np.float32))
    return single.astype(np.float64) if np.ndim(x) else float(single)


def is_far(x: Any) -> bool:
    """Whether `over_root_roughly` may not hold some lane's number."""
    return any_above(x, FAR)


def any_above(value: Any, bound: float) -> bool:
    """Whether the value of some trajectory is above `bound`, or NaN."""
    return bool(np.any(~(np.asarray(value) <= bound)))


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


def choose_at_most(a: Any, b: Any, yes: Any, no: Any) -> Any:
    """`yes` where a ≤ b, else `no`; a comparison with NaN is false."""
    return np.where(a <= b, yes, no)


@native(splat, lambda x: vec8 if isinstance(x, types.Float) else None)
def _splat(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    return spread(builder, arguments[0])


@native(total, lambda x: types.float64 if isinstance(x, Vec8) else None)
def _total(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    value, width, lane = arguments[0], WIDTH, ir.IntType(32)
    while width > 1:
        width //= 2
        undefined = ir.Constant(value.type, ir.Undefined)
        masks = (range(width), range(width, 2 * width))
        constants = [ir.Constant(ir.VectorType(lane, width), list(mask)) for mask in masks]
        value = builder.fadd(*[builder.shuffle_vector(value, undefined, m) for m in constants])
    return builder.extract_element(value, lane(0))


def _define_elementwise(function: Any, name: str, result: Any) -> None:
    @native(function, result)
    def _generate(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
        return _call(builder, name, *_alike(builder, kinds, arguments))


_define_elementwise(root, "sqrt", lambda x: _wide(x))


def _alone_on_device(builder: Any, kind: Any) -> bool:
    return "nvptx" in builder.module.triple and not isinstance(kind, Vec8)


@native(over_root_roughly, lambda x: _wide(x))
def _over_root_roughly(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    double, single = arguments[0].type, ir.FloatType()
    if _alone_on_device(builder, kinds[0]):
        # One instruction; a root and a quotient of single precision took 30, with four branches.
        kind = ir.FunctionType(double, [double])
        return builder.asm(kind, "rsqrt.approx.ftz.f64 $0, $1;", "=d,d", arguments, False)
    suffix, one = "f32", ir.Constant(single, 1.0)
    if isinstance(kinds[0], Vec8):
        single = ir.VectorType(single, WIDTH)
        suffix, one = "v8f32", ir.Constant(single, [one] * WIDTH)
    declared = ir.FunctionType(single, [single])
    sqrt = _cgutils.get_or_insert_function(builder.module, declared, f"llvm.sqrt.{suffix}")
    small = builder.fptrunc(arguments[0], single)
    return builder.fpext(builder.fdiv(one, builder.call(sqrt, [small])), double)


def _above(builder: Any, kind: Any, value: Any, bound: Any) -> Any:
    if not isinstance(kind, Vec8):
        return builder.fcmp_unordered(">", value, bound)
    above = builder.fcmp_unordered(">", value, spread(builder, bound))
    return builder.icmp_unsigned("!=", builder.bitcast(above, ir.IntType(8)), ir.IntType(8)(0))


@native(any_above, lambda value, bound: types.boolean)
def _any_above(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    return _above(builder, kinds[0], *arguments)


@native(is_far, lambda x: types.boolean if _wide(x) else None)
def _is_far(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    if _alone_on_device(builder, kinds[0]):
        return ir.IntType(1)(0)
    return _above(builder, kinds[0], arguments[0], ir.Constant(ir.DoubleType(), FAR))


def _bits(builder: Any, value: Any, mask: int) -> Any:
    """The bits of doubles that a mask leaves: CUDA's compiler lacks LLVM's fabs and copysign."""
    whole = ir.IntType(64)
    kind = ir.VectorType(whole, WIDTH) if value.type == _VECTOR else whole
    constant = ir.Constant(kind, [mask] * WIDTH if value.type == _VECTOR else mask)
    return builder.and_(builder.bitcast(value, kind), constant)


@native(absolute, lambda x: _wide(x))
def _absolute(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    return builder.bitcast(_bits(builder, arguments[0], _SIZE_BITS), arguments[0].type)


@native(with_sign, lambda size, sign: _wide(size, sign))
def _with_sign(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    size, sign = _alike(builder, kinds, arguments)
    both = builder.or_(_bits(builder, size, _SIZE_BITS), _bits(builder, sign, _SIGN_BIT))
    return builder.bitcast(both, size.type)


@native(minor, lambda a, b, c: _wide(a, b, c))
def _minor(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    # Kahan's: explicit FMAs, so that no contraction elsewhere can undo it.
    a, b, c = _alike(builder, kinds, arguments)
    square = builder.fmul(c, c)
    minus = _minus(builder, square)
    lost = _call(builder, "fma", c, c, minus)
    return builder.fsub(_call(builder, "fma", a, b, minus), lost)


def _define_choice(function: Any, comparison: str) -> None:
    @native(function, lambda a, b, yes, no: _wide(a, b, yes, no))
    def _generate(_context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
        a, b, yes, no = _alike(builder, kinds, arguments)
        return builder.select(builder.fcmp_ordered(comparison, a, b), yes, no)


_define_choice(choose_less, "<")
_define_choice(choose_at_most, "<=")


@inner
def least(a: Any, b: Any) -> Any:
    """The smaller of two values; b where one is NaN."""
    return choose_less(a, b, a, b)


@inner
def most(a: Any, b: Any) -> Any:
    """The larger of two values; b where one is NaN."""
    return choose_less(b, a, a, b)


@inner
def over_root_near(x: Any) -> Any:
    """`over_root` of what single precision holds, up to `FAR`."""
    y = over_root_roughly(x)
    rest = 1.0 - x * (y * y)
    return y + y * rest * (0.5 + 0.375 * rest)


@inner
def over_root(x: Any) -> Any:
    """1/√x of positive doubles or a Vec8, to 2e-16.

    From single precision by one step of third order: the divider takes four times as long for a
    root and a quotient of doubles. Numbers that single precision does not hold go the long way,
    each by itself: what its neighbours hold does not matter.
    """
    y = over_root_near(x)
    if is_far(x):
        y = choose_less(x, FAR, y, 1.0 / root(x))
    return y


def round_up(n: int) -> int:
    """Smallest multiple of WIDTH that is at least n."""
    return (n + WIDTH - 1) // WIDTH * WIDTH
