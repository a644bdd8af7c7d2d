"""Right-hand sides with tangents as straight lines: run by Python, or made into instructions.

From symbols to instructions without Python's source in between: numba's types and variables took
4 ms a line, of thousands.
"""

from __future__ import annotations

import hashlib
import math
import operator
import threading
from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba import typeof, types
from numba.core import cgutils

from odekit_kernels._jit import NO_JIT, kernel
from odekit_kernels.integrators.differentiated import TANGENT
from odekit_kernels.integrators.symbols import LEAVES, NORMAL, PRIMITIVES, NotSymbolic, Symbol, Y
from odekit_kernels.lanes.values import get, put
from odekit_kernels.simd import native

__all__ = ["Straight", "address_of", "run", "straightened"]

_cgutils: Any = cgutils
_typeof: Any = typeof
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "neg": operator.neg,
}
_WHOLE = ir.IntType(64)
FUNCTIONS: dict[str, Any] = OPERATORS | LEAVES | NORMAL | PRIMITIVES


class Straight(NamedTuple):
    """Lines, in which a whole number is that of an earlier line, and a float itself.

    Attributes
    ----------
    n : int
        Numbers of a state.
    shared, single : tuple
        Lines for all directions, and for each of them: (function, arguments), or a read: ("get",
        place in memory), ("state", i), ("by state", i) and ("by constant", i).
    outputs, slopes : tuple
        The derivative of the state, and that along the direction.
    """

    n: int
    shared: tuple[Any, ...]
    single: tuple[Any, ...]
    outputs: tuple[Any, ...]
    slopes: tuple[Any, ...]


# ------------------------------------------------------------------------------------- from symbols


class _Numbered:
    """Symbols by the numbers of their lines."""

    def __init__(self) -> None:
        self.number: dict[int, int] = {}

    def part(self, x: Any) -> int | float:
        """A line, or a number."""
        if isinstance(x, Symbol):
            return self.number[x.number]
        if not math.isfinite(x):
            raise NotSymbolic("a constant that is not finite")
        return float(x)

    def line(self, symbol: Symbol) -> tuple[Any, ...]:
        """A line of those before."""
        head, *arguments = symbol.parts
        if head == TANGENT:
            found = arguments[0]
        elif head == "get":
            place = arguments[0]
            found = ("state", place - Y) if place >= Y else ("get", place)
        else:
            found = (head, *(self.part(x) for x in arguments))
        self.number[symbol.number] = len(self.number)
        return found


def straightened(
    n: int, shared: list[Symbol], single: list[Symbol], outputs: Any, slopes: Any
) -> Straight:
    """The lines of symbols, each after its arguments.

    Raises
    ------
    NotSymbolic
        Where a number is not finite.
    """
    numbered = _Numbered()
    lines = [tuple(numbered.line(x) for x in part) for part in (shared, single)]
    ends = [tuple(numbered.part(x) for x in part) for part in (outputs, slopes)]
    return Straight(n, *lines, *ends)


# ----------------------------------------------------------------------------------------- compiled


def lines_of(M: Any, tag: Any, y: int, dy: int, first: int, width: int, directions: int) -> None:
    """What is kept under a tag: the derivative at `y` to `dy`, of the state and of all directions.

    The directions of the constants, `width` numbers each, begin at `first`.
    """
    found = _known[type(tag)]
    n = found.n

    def compute(lines: Any, known: list[Any], begin: dict[str, int]) -> None:
        for head, *arguments in lines:
            if head in begin:
                known.append(get(M, begin[head] + arguments[0]))
            else:
                given = [known[x] if isinstance(x, int) else x for x in arguments]
                known.append(FUNCTIONS[head](*given))

    def write(out: int, ends: Any, known: list[Any]) -> None:
        for i, x in enumerate(ends):
            put(M, out + i, known[x] if isinstance(x, int) else x)

    shared: list[Any] = []
    compute(found.shared, shared, {"get": 0, "state": y})
    write(dy, found.outputs, shared)
    for j in range(directions):
        known = list(shared)
        compute(
            found.single, known, {"by state": y + (1 + j) * n, "by constant": first + j * width}
        )
        write(dy + (1 + j) * n, found.slopes, known)


class _Instructions:
    """Instructions of lines, for memory of one type."""

    def __init__(self, context: Any, builder: Any, kind: Any, memory: Any) -> None:
        self.context, self.builder, self.kind, self.memory = context, builder, kind, memory
        self.found: dict[Any, Any] = {}
        self.known: list[Any] = []

    def call(self, function: Any, kinds: tuple[Any, ...], arguments: Any) -> Any:
        """Call what numba has for a function of arguments of these types."""
        if (function, kinds) not in self.found:
            typing = self.context.typing_context
            known = typing.resolve_value_type(function)
            signature = known.get_call_type(typing, kinds, {})
            compiled = self.context.get_function(known, signature)
            self.context.add_linking_libs(getattr(compiled, "libs", ()))
            self.found[function, kinds] = compiled, signature.return_type
        compiled, kind = self.found[function, kinds]
        return compiled(self.builder, arguments), kind

    def read(self, begin: Any, i: int) -> Any:
        """A number of memory."""
        place = self.builder.add(begin, _WHOLE(i))
        return self.call(get, (self.kind, types.int64), (self.memory, place))

    def part(self, x: Any) -> Any:
        """A line's value, or a number, with its type."""
        if isinstance(x, int):
            return self.known[x]
        return ir.Constant(ir.DoubleType(), x), types.float64

    def run(self, lines: Any, begin: dict[str, Any]) -> None:
        """Compute lines; reads begin there."""
        for head, *arguments in lines:
            if head in begin:
                self.known.append(self.read(begin[head], arguments[0]))
            else:
                given, kinds = zip(*map(self.part, arguments), strict=True)
                self.known.append(self.call(FUNCTIONS[head], kinds, given))

    def write(self, begin: Any, ends: Any) -> None:
        """Write lines to memory, one after the other."""
        for i, x in enumerate(ends):
            value, kind = self.part(x)
            place = self.builder.add(begin, _WHOLE(i))
            self.call(put, (self.kind, types.int64, kind), (self.memory, place, value))


def _are_numbers(kinds: Any) -> bool:
    return all(isinstance(kind, types.Integer) for kind in kinds)


def _cast(context: Any, builder: Any, kinds: Any, arguments: Any) -> list[Any]:
    pairs = zip(kinds, arguments, strict=True)
    return [context.cast(builder, x, kind, types.int64) for kind, x in pairs]


@native(
    lines_of,
    lambda M, tag, y, dy, first, width, directions: (
        types.none
        if getattr(tag, "instance_class", None) in _known
        and isinstance(M, types.Array)
        and _are_numbers((y, dy, first, width, directions))
        else None
    ),
)
def _lines_of(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    found, memory = _known[kinds[1].instance_class], arguments[0]
    y, dy, first, width, directions = _cast(context, builder, kinds[2:], arguments[2:])
    lines = _Instructions(context, builder, kinds[0], memory)
    lines.run(found.shared, {"get": _WHOLE(0), "state": y})
    lines.write(dy, found.outputs)
    with _cgutils.for_range(builder, directions) as loop:
        state = builder.mul(builder.add(loop.index, _WHOLE(1)), _WHOLE(found.n))
        constants = builder.add(first, builder.mul(loop.index, width))
        lines.run(found.single, {"by state": builder.add(y, state), "by constant": constants})
        lines.write(builder.add(dy, state), found.slopes)
    return context.get_dummy_value()


@kernel(_nrt=False)
def derivative(M: Any, tag: Any, y: int, dy: int, first: int, width: int, directions: int) -> None:
    """See `lines_of`."""
    lines_of(M, tag, y, dy, first, width, directions)


# -------------------------------------------------------------------------------------- by address

_known: dict[Any, Straight] = {}
_tags: dict[int, Any] = {}
"""By the number under which lines are called; what is compiled lives as long as they."""
_addresses: dict[str, int] = {}
_ONE_AT_A_TIME = threading.Lock()


class _Tag(NamedTuple):
    """Tells a compiler which lines are meant, by its type."""

    n: int


def address_of(lines: Straight) -> int:
    """Compile lines, or take them from the disk: the number under which `run` calls them.

    Where nothing is compiled it is a number of ours.
    """
    name = f"Lines{hashlib.sha256(repr(lines).encode()).hexdigest()[:32]}"
    with _ONE_AT_A_TIME:
        if name not in _addresses:
            _addresses[name] = _call(name, lines)
    return _addresses[name]


def _call(name: str, lines: Straight) -> int:
    kind: Any = type(name, (_Tag,), {"__slots__": (), "__module__": __name__})
    globals()[name] = kind  # so that its kernel can be kept on disk
    tag = kind(lines.n)
    _known[kind] = lines
    address = len(_tags) if NO_JIT else _compiled(tag)
    _tags[address] = tag
    return address


def _compiled(tag: Any) -> int:
    """Address of `derivative` for a tag, in numba's own convention of calls."""
    numbers = (types.int64,) * 5
    kinds = (types.Array(types.float64, 2, "C"), _typeof(tag), *numbers)
    derivative.compile(kinds)
    found = derivative.overloads[kinds]
    address: int = found.library.get_pointer_to_function(found.fndesc.llvm_func_name)
    return address


def run(M: Any, address: int, y: int, dy: int, first: int, width: int, directions: int) -> None:
    """`lines_of` of the lines with this number.

    By address, so that integrators compile once for all of them: each took 12 s.
    """
    lines_of(M, _tags[address], y, dy, first, width, directions)


@native(
    run,
    lambda M, address, y, dy, first, width, directions: (
        types.none
        if isinstance(M, types.Array)
        and M.ndim == 2
        and _are_numbers((address, y, dy, first, width, directions))
        else None
    ),
)
def _run(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    # The one number of a tag goes where the address stands, and nobody looks at it.
    numbers = _cast(context, builder, kinds[1:], arguments[1:])
    called = (kinds[0], *(types.int64 for _ in numbers))
    convention = context.call_conv
    pointer = convention.get_function_type(types.none, called).as_pointer()
    function = builder.inttoptr(numbers[0], pointer)
    convention.call_function(builder, function, types.none, called, (arguments[0], *numbers))
    return context.get_dummy_value()
