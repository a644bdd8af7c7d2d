"""A user's functions: compiled for the sizes of a problem, and carried as numbers.

They take *records*: of the state `y`, of the parameters `p`, of the derivative `d`, whose fields
are the declared names. A record is a pointer into memory in which one trajectory lies contiguous;
the shapes of its fields are part of its type, so that loops over them have constant bounds.

To the integrators a function is its address, so that their own code is the same for all systems and
comes from the cache; only the user's few lines are compiled anew. What runs on a device is
compiled as a whole, with the function in it (`static`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.np import arrayobj
from numpy.typing import NDArray

from odekit_kernels._jit import FLAGS, NO_JIT
from odekit_kernels.lanes.values import larger, smaller
from odekit_kernels.simd import native

__all__ = [
    "ON_DEVICE",
    "RATES",
    "Fields",
    "call",
    "carried",
    "carry",
    "compiled",
    "layout",
    "record_at",
]

RATES = ("learning_rate", "readout_learning_rate")
"""Last fields of the parameters."""
_arrayobj: Any = arrayobj
_DOUBLE = ir.DoubleType()
_SIGNATURE: Any = types.void(types.voidptr, types.voidptr, types.voidptr)
_numba: Any = numba
_carray: Any = _numba.carray


def layout(shapes: Mapping[str, tuple[int, ...]]) -> Any:
    """Type of a record: fields of doubles, row-major, one after the other."""
    return np.dtype([(name, np.float64, shape) for name, shape in shapes.items()])


class Fields:
    """A record where nothing is compiled: numbers, and arrays that look into the memory."""

    __slots__ = ("_arrays",)

    def __init__(self, flat: NDArray[np.float64], kind: Any) -> None:
        found = {}
        for name in kind.names:
            field, first = kind.fields[name][:2]
            size = field.itemsize // 8
            found[name] = flat[first // 8 : first // 8 + size].reshape(field.shape)
        object.__setattr__(self, "_arrays", found)

    def __getattr__(self, name: str) -> Any:
        """A number, or an array."""
        arrays = object.__getattribute__(self, "_arrays")
        if name not in arrays:
            raise AttributeError(f"nothing is named {name!r}; there are {', '.join(arrays)}")
        # A number of numpy's: like compiled code it divides by zero without raising.
        array = arrays[name]
        return array if array.ndim else array[()]

    def __setattr__(self, name: str, value: Any) -> None:
        """Set a number; entries of arrays are set by their indices."""
        arrays = object.__getattribute__(self, "_arrays")
        if name not in arrays:
            raise AttributeError(f"nothing is named {name!r}; there are {', '.join(arrays)}")
        if arrays[name].ndim:
            raise AttributeError(f"{name!r} has dims: set its entries, {name}[...] = ...")
        arrays[name][()] = value


class Carried(NamedTuple):
    """A function with the types of its records.

    Attributes
    ----------
    function : callable
    what : {"rhs", "error", "jacobian"}
    state, parameters : dtype
    entry : object
        For addresses; None where nothing is compiled.
    """

    function: Callable[..., Any]
    what: str
    state: Any
    parameters: Any
    entry: Any


# For good: a plan may hold an address for as long as the process lives.
_known: dict[Any, int] = {}
_table: dict[int, Carried] = {}


def carried(handle: int) -> Carried:
    """The function that a number stands for."""
    return _table[handle]


def carry(function: Callable[..., Any] | None, what: str, state: Any, parameters: Any) -> int:
    """A number that stands for a function in a plan: its address; 0 for none.

    Parameters
    ----------
    function : callable
        ``rhs(y, p, d)`` and ``jacobian(y, p, J)`` write, ``error(y, p)`` returns.
    what : {"rhs", "error", "jacobian"}
    state, parameters : dtype
        Of the records, from `layout`; the last fields of `parameters` are `RATES`.
    """
    if function is None:
        return 0
    plain = getattr(function, "py_func", function)
    key = (seen(plain), what, str(state), str(parameters))
    if key not in _known:
        jitted = None if NO_JIT else compiled(plain, {})
        entry = None if NO_JIT else _entry(jitted, what, state, parameters)
        handle = -1 - len(_known) if entry is None else int(entry.address)
        _table[handle] = Carried(plain, what, state, parameters, entry)
        _known[key] = handle
    return _known[key]


ON_DEVICE = {"min": smaller, "max": larger}
"""Of two numbers: numba's CUDA target has none of Python's own."""


def seen(function: Any, within: tuple[Any, ...] = ()) -> Any:
    """A function with all that it sees of its module: numba freezes that as it compiles.

    In a notebook a number, or a function that is called, may have changed since.
    """
    if not isinstance(function, FunctionType) or function in within:
        return function
    known, closure = function.__globals__, function.__closure__ or ()
    values = [known[n] for n in function.__code__.co_names if n in known]
    values += [cell.cell_contents for cell in closure]
    return function, tuple(_frozen(value, (*within, function)) for value in values)


def _frozen(value: Any, within: tuple[Any, ...]) -> Any:
    if isinstance(value, FunctionType):
        return seen(value, within)
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    try:
        hash(value)
    except TypeError:
        return repr(value)
    return type(value), value


def compiled(function: Any, extra: Any, made: dict[Any, Any] | None = None) -> Any:
    """A function, and the plain functions of its module that it calls, as numba compiles them.

    `extra` stands for builtins of the same names.
    """
    made = {} if made is None else made
    if not isinstance(function, FunctionType):
        return function
    if function not in made:
        made[function] = function  # one that calls itself is left as it is
        known = {**extra, **function.__globals__}
        named = {n: known[n] for n in function.__code__.co_names if n in known}
        plain = {n: compiled(f, extra, made) for n, f in named.items()}
        twin = FunctionType(
            function.__code__,
            {**known, **plain},
            function.__name__,
            function.__defaults__,
            function.__closure__,
        )
        # An index beyond its array would write into the memory of the integrator.
        checked = {} if extra else {"boundscheck": True}
        made[function] = _numba.njit(**FLAGS, **checked)(twin)
    return made[function]


def _entry(jitted: Any, what: str, state: Any, parameters: Any) -> Any:
    """The function of three addresses."""
    n = state.itemsize // 8

    def rhs(y: Any, p: Any, d: Any) -> None:
        jitted(_carray(y, 1, state)[0], _carray(p, 1, parameters)[0], _carray(d, 1, state)[0])

    def error(y: Any, p: Any, out: Any) -> None:
        value = jitted(_carray(y, 1, state)[0], _carray(p, 1, parameters)[0])
        _carray(out, 1, np.float64)[0] = value

    def jacobian(y: Any, p: Any, J: Any) -> None:
        matrix = _carray(J, (n, n), np.float64)
        jitted(_carray(y, 1, state)[0], _carray(p, 1, parameters)[0], matrix)

    chosen = {"rhs": rhs, "error": error, "jacobian": jacobian}[what]
    return numba.cfunc(_SIGNATURE, error_model=FLAGS["error_model"])(chosen)


# ------------------------------------------------------------------------------------------ calling


def call(handle: int, M: Any, y: int, p: int, out: Any, place: int) -> None:
    """Call a function on the memory of a group, from places `y` and `p` on, to `out` from a place.

    Places count single doubles: those of all lanes of a value are eight.
    """
    f = _table[handle]
    flat, to = M.reshape(-1), out.reshape(-1)
    n, P = f.state.itemsize // 8, f.parameters.itemsize // 8
    state, given = Fields(flat[y : y + n], f.state), Fields(flat[p : p + P], f.parameters)
    if f.what == "rhs":
        f.function(state, given, Fields(to[place : place + n], f.state))
    elif f.what == "error":
        to[place] = f.function(state, given)
    else:
        f.function(state, given, to[place : place + n * n].reshape(n, n))


def _doubles(kind: Any) -> bool:
    return isinstance(kind, types.Array) and kind.dtype == types.float64 and kind.layout == "C"


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    data = _arrayobj.make_array(kind)(context, builder, array).data
    return builder.bitcast(builder.gep(data, [index]), ir.IntType(8).as_pointer())


@native(
    call,
    lambda handle, M, y, p, out, place: types.none if _doubles(M) and _doubles(out) else None,  # noqa: ARG005
)
def _call(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    handle, M, y, p, out, place = arguments
    where = [
        _address(context, builder, kinds[1], M, y),
        _address(context, builder, kinds[1], M, p),
        _address(context, builder, kinds[4], out, place),
    ]
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()] * 3)
    builder.call(builder.inttoptr(handle, kind.as_pointer()), where)
    return context.get_dummy_value()


def record_at(M: Any, place: int, kind: Any) -> Any:
    """The record that begins at a place of a memory."""
    return Fields(M.reshape(-1)[place : place + kind.itemsize // 8], kind)


@native(record_at, lambda M, place, kind: kind.dtype if _doubles(M) else None)  # noqa: ARG005
def _record_at(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    where = _address(context, builder, kinds[0], arguments[0], arguments[1])
    record = context.get_value_type(kinds[2].dtype)
    return builder.bitcast(where, record)
