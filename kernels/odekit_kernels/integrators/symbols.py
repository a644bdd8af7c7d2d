"""Kernels run on symbols: what they compute, as a list of operations without loops or memory.

The Python source of the equations runs once, every loop over sizes that a plan fixes unrolls by
itself, and what depends on more than sizes, such as a branch on a number, is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

from odekit_kernels import arcsine, bivariate, normal, simd
from odekit_kernels.lanes import values, views

__all__ = [
    "DY",
    "LEAVES",
    "NORMAL",
    "PRIMITIVES",
    "Lines",
    "NotSymbolic",
    "Symbol",
    "Y",
    "traced",
]

PACKAGE = __name__.partition(".")[0]
LEAVES: dict[str, Any] = {
    "asin": values.asin,
    "asin_given": arcsine.asin_given,
    "over_root": simd.over_root,
    "over_root_near": simd.over_root_near,
}
"""Functions of numbers with branches inside: called, not looked into."""
NORMAL: dict[str, Any] = {
    "arc": bivariate.arc,
    "balance": normal.balance,
    "balance_given": normal.balance_given,
    "bell": normal.bell,
    "distribution": normal.distribution,
    "distribution_given": normal.distribution_given,
    "exp": normal.exp,
}
"""Likewise, of the normal distribution: what is not looked into has a derivative in closed form."""
PRIMITIVES: dict[str, Any] = {
    f.__name__: f for f in (simd.root, simd.absolute, simd.with_sign, simd.minor, simd.choose_less)
}
Y, DY = 1 << 40, 1 << 41
"""Where the state and its derivative begin, in the eyes of the equations: beyond all memory."""


class NotSymbolic(Exception):
    """The equations ask for what a symbol does not have."""


def _same(part: Any) -> Any:
    """What two parts share that are the same; 0.0 is not −0.0."""
    if isinstance(part, Symbol):
        return "symbol", part.number
    return (repr(part), type(part)) if isinstance(part, float | int) else part


class Lines:
    """What has been computed so far, each expression once, in so many lines at most."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.known: dict[tuple[Any, ...], Symbol] = {}
        self.memory: dict[int, Any] = {}

    def line(self, *parts: Any) -> Symbol:
        """The symbol of an operation and its arguments."""
        key = tuple(_same(x) for x in parts)
        if key not in self.known:
            if len(self.known) >= self.most:
                raise NotSymbolic(f"more than {self.most} lines")
            self.known[key] = Symbol(self, len(self.known), parts)
        return self.known[key]

    def get(self, place: int) -> Any:
        """What was put there, or what the memory holds from outside."""
        if place not in self.memory:
            self.memory[place] = self.line("get", int(place))
        return self.memory[place]

    def put(self, place: int, value: Any) -> None:
        """Keep a value in mind."""
        self.memory[int(place)] = value

    def needed(self, outputs: list[Any]) -> list[Symbol]:
        """The symbols that these are made of, each after its arguments."""
        found: dict[int, Symbol] = {}
        todo = [x for x in outputs if isinstance(x, Symbol)]
        while todo:
            symbol = todo.pop()
            if symbol.number not in found:
                found[symbol.number] = symbol
                todo += [x for x in symbol.parts if isinstance(x, Symbol)]
        return [found[number] for number in sorted(found)]


def _undecided() -> Any:
    raise NotSymbolic("a branch on a number")


class Symbol:
    """A number that is not known yet; arithmetic on it is noted."""

    __slots__ = ("lines", "number", "parts")

    def __init__(self, lines: Lines, number: int, parts: tuple[Any, ...]) -> None:
        self.lines, self.number, self.parts = lines, number, parts

    def __bool__(self) -> bool:
        return _undecided()

    __float__ = __int__ = __index__ = __bool__
    __lt__ = __le__ = __gt__ = __ge__ = __eq__ = __ne__ = lambda *_pair: _undecided()
    __hash__ = object.__hash__

    def __neg__(self) -> Symbol:
        return self.lines.line("neg", self)


def _note(sign: str, backwards: bool) -> Any:
    def noted(self: Symbol, other: Any) -> Any:
        if not isinstance(other, Symbol):
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
    setattr(Symbol, f"__{_name}__", _note(_sign, False))
    setattr(Symbol, f"__r{_name}__", _note(_sign, True))


# ------------------------------------------------------------------------- running the equations


class _View:
    """As `views.View`, of symbols."""

    def __init__(self, memory: Lines, first: int, columns: int, matrix: bool) -> None:
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
        symbol = next((x for x in arguments if isinstance(x, Symbol)), None)
        if symbol is None:
            return float(getattr(function, "py_func", function)(*arguments))
        given = [x if isinstance(x, Symbol) else float(x) for x in arguments]
        return symbol.lines.line(name, *given)

    return noted


def _symbolic(leaves: dict[str, Any]) -> dict[Any, Callable[..., Any]]:
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
    both = leaves | PRIMITIVES
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


def plainly(leaves: dict[str, Any]) -> Callable[[Any], Any]:
    """What turns kernels into Python functions that call Python functions."""
    instead, made = _symbolic(leaves), dict[Any, Any]()

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


def traced(
    rhs: Any, m: Any, w: Any, flags: tuple[bool, ...], most: int, leaves: dict[str, Any] = LEAVES
) -> tuple[Lines, list[Any]]:
    """Run a right-hand side with the arguments of `registry.rhs` on symbols.

    Parameters
    ----------
    rhs : callable
        As it is registered.
    m, w : named tuples
        Plan and wiring, on the host.
    flags : tuple of bool
        What any trajectory moves, trains and decays.
    most : int
        Lines at most.
    leaves : dict
        Functions of numbers that are not looked into, by name.

    Returns
    -------
    lines : Lines
    outputs : list of Symbol or float
        The derivative of the state.

    Raises
    ------
    NotSymbolic
        Where the equations ask for more than a symbol has, or for more lines.
    """
    lines = Lines(most)
    try:
        plainly(leaves)(rhs)(lines, m, w, Y, DY, *flags)
        return lines, [lines.memory[DY + i] for i in range(m.n)]
    except (AttributeError, KeyError, TypeError) as error:
        raise NotSymbolic(str(error)) from error
