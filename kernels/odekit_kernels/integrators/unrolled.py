"""Right-hand sides written out for one plan: no loop, no index, and no memory between the lines.

A thread of a device keeps its memory in a cache that many threads share, and whatever it stores
goes on to the next cache. Written out, what a right-hand side of a small system computes on its way
stays in registers: of its loads and stores only the state, the constants and the derivative remain.

The equations are not written again: their Python source runs once on symbols, every loop over sizes
that the plan fixes unrolls by itself, and what was computed is printed as the lines of a function.
What depends on more than sizes, such as a branch on a number, has no such form; it keeps its loops.
"""

from __future__ import annotations

import hashlib
import math
import operator
import struct
from collections import namedtuple
from collections.abc import Callable
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from odekit_kernels import simd
from odekit_kernels.integrators.registry import equations_of, register
from odekit_kernels.lanes import values, views

__all__ = ["MOST_LINES", "written_out"]

MOST_LINES = 2500
"""Lines from which the loops are kept: more do not fit into the caches of instructions. On an H100
the 619 of erf at K = P = 2 take 0.43 of the loops' time, the 2,060 at 3 take 0.84, the 5,200 at 4
took 2.5 times as long."""
Y, DY = 1 << 40, 1 << 41
"""Where the state and its derivative begin, in the eyes of the equations: beyond all memory."""
PACKAGE = __name__.partition(".")[0]
LEAVES: dict[str, Any] = {
    "asin": values.asin,
    "asin_given": simd.asin_given,
    "over_root": simd.over_root,
}
"""Functions of numbers with branches inside: called, not written out."""
PRIMITIVES = {f.__name__: f for f in (simd.root, simd.absolute, simd.with_sign, simd.minor)}


class _NotSymbolic(Exception):
    """The equations ask for what a symbol does not have."""


def _same(part: Any) -> Any:
    """What two parts share that are the same; 0.0 is not −0.0."""
    if isinstance(part, _Symbol):
        return "symbol", part.number
    return (repr(part), type(part)) if isinstance(part, float | int) else part


class _Lines:
    """What has been computed so far, each expression once."""

    def __init__(self) -> None:
        self.known: dict[tuple[Any, ...], _Symbol] = {}
        self.memory: dict[int, Any] = {}

    def line(self, *parts: Any) -> _Symbol:
        """The symbol of an operation and its arguments."""
        key = tuple(_same(x) for x in parts)
        if key not in self.known:
            if len(self.known) >= MOST_LINES:
                raise _NotSymbolic(f"more than {MOST_LINES} lines")
            self.known[key] = _Symbol(self, len(self.known), parts)
        return self.known[key]

    def get(self, place: int) -> Any:
        """What was put there, or what the memory holds from outside."""
        if place not in self.memory:
            self.memory[place] = self.line("get", int(place))
        return self.memory[place]

    def put(self, place: int, value: Any) -> None:
        """Keep a value in mind."""
        self.memory[int(place)] = value


def _undecided() -> Any:
    raise _NotSymbolic("a branch on a number")


class _Symbol:
    """A number that is not known yet; arithmetic on it is noted."""

    __slots__ = ("lines", "number", "parts")

    def __init__(self, lines: _Lines, number: int, parts: tuple[Any, ...]) -> None:
        self.lines, self.number, self.parts = lines, number, parts

    def __bool__(self) -> bool:
        return _undecided()

    __float__ = __int__ = __index__ = __bool__
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = lambda *_pair: _undecided()
    __hash__ = object.__hash__

    def __neg__(self) -> _Symbol:
        return self.lines.line("neg", self)


def _note(sign: str, backwards: bool) -> Any:
    def noted(self: _Symbol, other: Any) -> Any:
        if not isinstance(other, _Symbol):
            other = float(other)
            # Exact but for the sign of a zero, and frequent: rates of units that move, empty sums.
            if other == 1.0 and (sign == "*" or (sign == "/" and not backwards)):
                return self
            if other == 0.0 and (sign == "+" or (sign == "-" and not backwards)):
                return self
            if other == 0.0 and sign == "-":
                return -self
        pair = (other, self) if backwards else (self, other)
        return self.lines.line(sign, *pair)

    return noted


for _name, _sign in {"add": "+", "sub": "-", "mul": "*", "truediv": "/"}.items():
    setattr(_Symbol, f"__{_name}__", _note(_sign, False))
    setattr(_Symbol, f"__r{_name}__", _note(_sign, True))


# ------------------------------------------------------------------------- running the equations


class _View:
    """As `views.View`, of symbols."""

    def __init__(self, memory: _Lines, first: int, columns: int, matrix: bool) -> None:
        self.memory, self.first, self.columns, self.matrix = memory, first, columns, matrix

    def _place(self, index: Any) -> int:
        i, j = index if self.matrix else (0, index)
        return int(self.first + i * self.columns + j)

    def __getitem__(self, index: Any) -> Any:
        return self.memory.get(self._place(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        self.memory.put(self._place(index), value)


def _called(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that is noted where an argument is a symbol."""

    def noted(*arguments: Any) -> Any:
        symbol = next((x for x in arguments if isinstance(x, _Symbol)), None)
        if symbol is None:
            return float(getattr(function, "py_func", function)(*arguments))
        given = [x if isinstance(x, _Symbol) else float(x) for x in arguments]
        return symbol.lines.line(name, *given)

    return noted


def _symbolic() -> dict[Any, Callable[..., Any]]:
    """What stands for the functions that reach into memory, and for those of numbers."""
    found: dict[Any, Callable[..., Any]] = {
        values.get: lambda memory, i: memory.get(i),
        values.pick: lambda memory, i, _lane: memory.get(i),
        values.put: lambda memory, i, value: memory.put(i, value),
        values.place: lambda memory, i, _lane, value: memory.put(i, value),
        values.fill: lambda _memory, x: float(x),
        values.lanes: lambda _memory: 1,
        views.vector: lambda memory, first, _length: _View(memory, first, 1, False),
        views.matrix: lambda memory, first, _rows, columns: _View(memory, first, columns, True),
    }
    both = LEAVES | PRIMITIVES | {"choose_less": simd.choose_less}
    return found | {f: _called(name, f) for name, f in both.items()}


class _Names(dict[str, Any]):
    """Names of a module, with its kernels as the Python functions that they are made of."""

    def __init__(self, names: dict[str, Any], plain: Callable[[Any], Any]) -> None:
        super().__init__(names)
        self.plain = plain

    def __getitem__(self, name: str) -> Any:
        return self.plain(super().__getitem__(name))


class _Module:
    """A module of kernels, likewise."""

    def __init__(self, module: ModuleType, plain: Callable[[Any], Any]) -> None:
        self.module, self.plain = module, plain

    def __getattr__(self, name: str) -> Any:
        return self.plain(getattr(self.module, name))


def _plainly() -> Callable[[Any], Any]:
    """What turns kernels into Python functions that call Python functions."""
    instead, made = _symbolic(), dict[Any, Any]()

    def plain(thing: Any) -> Any:
        try:
            if thing in instead:
                return instead[thing]
        except TypeError:  # not hashable: no function
            return thing
        if isinstance(thing, ModuleType) and thing.__name__.startswith(PACKAGE):
            return _Module(thing, plain)
        function = getattr(thing, "py_func", thing)
        if not isinstance(function, FunctionType):
            return thing
        if function not in made:
            names = _Names(function.__globals__, plain)
            made[function] = FunctionType(
                function.__code__, names, function.__name__, function.__defaults__,
                function.__closure__,
            )  # fmt: skip
        return made[function]

    return plain


# --------------------------------------------------------------------------------- writing it out


class _Writer:
    """Symbols as text: the names that they have by now, and the numbers that are arguments.

    Half of a double fits into an instruction. Others are arguments of the kernel, which lie where
    instructions reach them; in the code each of them took two more at every place.
    """

    def __init__(self) -> None:
        self.named: dict[int, str] = {}
        self.numbers: list[float] = list(simd.SERIES)

    def word(self, value: Any) -> str:
        """A name, or a number."""
        if isinstance(value, _Symbol):
            return self.named[value.number]
        if not math.isfinite(value):
            raise _NotSymbolic("a constant that is not finite")
        if struct.pack("<d", value)[:4] == bytes(4):
            return repr(float(value))
        if value not in self.numbers:
            self.numbers.append(float(value))
        return f"c[{self.numbers.index(value)}]"

    def statement(self, symbol: _Symbol) -> str:
        """An operation."""
        head, *arguments = symbol.parts
        if head == "get":
            place = arguments[0]
            return f"get(M, y + {place - Y})" if place >= Y else f"get(M, {place})"
        words = [self.word(x) for x in arguments]
        if head == "neg":
            return f"-{words[0]}"
        if head == "asin":
            return f"asin({words[0]}, c)"
        return f"{words[0]} {head} {words[1]}" if head in "+-*/" else f"{head}({', '.join(words)})"


def _needed(outputs: list[Any]) -> set[int]:
    """Numbers of the lines that the outputs are made of."""
    found: set[int] = set()
    todo = [x for x in outputs if isinstance(x, _Symbol)]
    while todo:
        symbol = todo.pop()
        if symbol.number not in found:
            found.add(symbol.number)
            todo += [x for x in symbol.parts if isinstance(x, _Symbol)]
    return found


def source(
    m: Any, w: Any, moves: bool, trains: bool, decays: bool
) -> tuple[str, tuple[float, ...]]:
    """Text of a right-hand side with the arguments of `registry.rhs`, and the numbers in it.

    The text is empty where there is none. It takes its numbers from ``w.numbers``.
    """
    lines = _Lines()
    rhs = _plainly()(equations_of(type(m)).rhs)
    try:
        rhs(lines, m, w, Y, DY, moves, trains, decays)
        return _text([lines.memory[DY + i] for i in range(m.n)], lines)
    except (_NotSymbolic, AttributeError, KeyError, TypeError):
        return "", ()


def _text(outputs: list[Any], lines: _Lines) -> tuple[str, tuple[float, ...]]:
    needed, writer = _needed(outputs), _Writer()
    text = ["def rhs(M, m, w, y, dy, moves, trains, decays):", " c = w.numbers"]
    for symbol in sorted(lines.known.values(), key=operator.attrgetter("number")):
        if symbol.number in needed:
            statement = writer.statement(symbol)
            writer.named[symbol.number] = f"t{len(writer.named)}"
            text.append(f" {writer.named[symbol.number]} = {statement}")
    text += [f" put(M, dy + {i}, {writer.word(x)})" for i, x in enumerate(outputs)]
    return "\n".join(text) + "\n", tuple(writer.numbers)


def _findable(kind: Any) -> Any:
    """Let a type be found under its name, so that kernels of it can be kept on disk."""
    globals()[kind.__name__] = kind
    return kind


@cache
def _kind(plan: Any, text: str) -> Any:
    """A type of plans of its own, whose right-hand side is this text."""
    names = (
        LEAVES | PRIMITIVES | {f.__name__: f for f in (values.get, values.put, simd.choose_less)}
    )
    names["asin"] = simd.asin_of_one
    exec(text, names)
    name = f"WrittenOut{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    kind = type(name, (plan,), {"__slots__": (), "__module__": __name__})
    register(kind, **equations_of(plan)._replace(rhs=names["rhs"])._asdict())
    return _findable(kind)


@cache
def _wired(name: str, fields: tuple[str, ...]) -> Any:
    """A type of the same wiring with numbers."""
    return _findable(namedtuple(f"{name}WithNumbers", (*fields, "numbers"), module=__name__))


def written_out(m: Any, w: Any, moves: bool, trains: bool, decays: bool) -> tuple[Any, Any]:
    """A plan with the same numbers, whose right-hand side is written out; `m` where it cannot be.

    Parameters
    ----------
    m : named tuple
        Plan of a registered system, of whole numbers.
    w : named tuple
        What all trajectories share, on the host: what is in it becomes part of the text.
    moves, trains, decays : bool
        As for `registry.rhs`.

    Returns
    -------
    plan : named tuple
    wire : callable
        What the kernel takes in place of a wiring on the device.
    """
    text, numbers = source(m, w, moves, trains, decays)
    if not text:
        return m, lambda wiring: wiring
    plain: Any = type(m)
    wired = _wired(type(w).__name__, w._fields)
    return _kind(plain, text)(*m), lambda wiring: wired(*wiring, numbers)
