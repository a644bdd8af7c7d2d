"""Right-hand sides with tangents as straight lines: run by Python, or made into instructions.

From symbols to instructions without Python's source in between: numba's types and variables took
4 ms a line, of thousands.
"""

from __future__ import annotations

import math
import operator
from typing import Any, NamedTuple

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.core import cgutils

from odekit_kernels._jit import outer
from odekit_kernels.integrators.differentiated import TANGENT
from odekit_kernels.integrators.symbols import LEAVES, NORMAL, PRIMITIVES, NotSymbolic, Symbol, Y
from odekit_kernels.lanes.values import get, put
from odekit_kernels.simd import native

__all__ = ["Straight", "derivative", "keep", "straightened"]

_cgutils: Any = cgutils
OPERATORS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "neg": operator.neg,
}
FUNCTIONS: dict[str, Any] = OPERATORS | LEAVES | NORMAL | PRIMITIVES


class Straight(NamedTuple):
    """Lines, in which a whole number is that of an earlier line, and a float itself.

    Attributes
    ----------
    n, width : int
        Numbers of a state, and of constants.
    shared, single : tuple
        Lines for all directions, and for each of them: (function, arguments), or a read: ("get",
        place in memory), ("state", i), ("by state", i) and ("by constant", i).
    outputs, slopes : tuple
        The derivative of the state, and that along the direction.
    """

    n: int
    width: int
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
    n: int, width: int, shared: list[Symbol], single: list[Symbol], outputs: Any, slopes: Any
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
    return Straight(n, width, *lines, *ends)


# ---------------------------------------------------------------------------------------- by Python

_known: dict[Any, Straight] = {}


def keep(plan: type, lines: Straight) -> None:
    """Let these be what `derivative` computes for plans of a type."""
    _known[plan] = lines


def lines_of(M: Any, m: Any, y: int, dy: int, first: int, directions: int) -> None:
    """What is kept for the plan's type; the tangents of the constants begin at `first`."""
    found = _known[type(m)]
    n = found.n

    def run(lines: Any, known: list[Any], begin: dict[str, int]) -> None:
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
    run(found.shared, shared, {"get": 0, "state": y})
    write(dy, found.outputs, shared)
    for j in range(directions):
        known = list(shared)
        begin = {"by state": y + (1 + j) * n, "by constant": first + j * found.width}
        run(found.single, known, begin)
        write(dy + (1 + j) * n, found.slopes, known)


# ------------------------------------------------------------------------------------- instructions


class _Instructions:
    """Instructions of lines of one plan, for memory of one type."""

    def __init__(self, context: Any, builder: Any, kind: Any, memory: Any) -> None:
        self.context, self.builder, self.kind, self.memory = context, builder, kind, memory
        self.found: dict[Any, Any] = {}
        self.known: list[Any] = []
        self.size = ir.IntType(64)

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
        place = self.builder.add(begin, self.size(i))
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
            place = self.builder.add(begin, self.size(i))
            kinds = (self.kind, types.int64, kind)
            self.call(put, kinds, (self.memory, place, value))


def _is_kept(M: Any, m: Any, *rest: Any) -> Any:
    ours = getattr(m, "instance_class", None) in _known
    whole = all(isinstance(x, types.Integer) for x in rest)
    return types.none if ours and whole and isinstance(M, types.Array) else None


@native(lines_of, lambda M, m, y, dy, first, directions: _is_kept(M, m, y, dy, first, directions))
def _lines_of(context: Any, builder: Any, kinds: Any, arguments: Any) -> Any:
    found, memory = _known[kinds[1].instance_class], arguments[0]
    whole = zip(kinds[2:], arguments[2:], strict=True)
    y, dy, first, directions = (context.cast(builder, x, k, types.int64) for k, x in whole)
    lines = _Instructions(context, builder, kinds[0], memory)
    size = lines.size
    lines.run(found.shared, {"get": size(0), "state": y})
    lines.write(dy, found.outputs)
    with _cgutils.for_range(builder, directions) as loop:
        j = context.cast(builder, loop.index, types.intp, types.int64)
        state = builder.mul(builder.add(j, size(1)), size(found.n))
        constants = builder.add(first, builder.mul(j, size(found.width)))
        lines.run(found.single, {"by state": builder.add(y, state), "by constant": constants})
        lines.write(builder.add(dy, state), found.slopes)
    return context.get_dummy_value()


@outer
def derivative(M: Any, m: Any, y: int, dy: int, first: int, directions: int) -> None:
    """`lines_of`, compiled once for all places that ask for it."""
    lines_of(M, m, y, dy, first, directions)
