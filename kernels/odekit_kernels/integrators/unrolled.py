"""Right-hand sides written out for one plan: no loop, no index, and no memory between the lines.

A thread of a device keeps its memory in a cache that many threads share, and whatever it stores
goes on to the next cache. Written out, what a right-hand side of a small system computes on its way
stays in registers: of its loads and stores only the state, the constants and the derivative remain.

The equations are not written again: they run on symbols (`symbols`), and what was computed is
printed as the lines of a function. Where they cannot, or the lines are too many, loops stay.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections import namedtuple
from functools import cache
from typing import Any

from odekit_kernels import arcsine
from odekit_kernels.integrators.registry import equations_of, register
from odekit_kernels.integrators.symbols import (
    LEAVES,
    PRIMITIVES,
    NotSymbolic,
    Symbol,
    Y,
    traced,
)
from odekit_kernels.lanes import values

__all__ = ["MOST_LINES", "written_out"]

MOST_LINES = 2500
"""Lines from which the loops are kept: more do not fit into the caches of instructions. On an H100
the 619 of erf at K = P = 2 take 0.43 of the loops' time, the 2,060 at 3 take 0.84, the 5,200 at 4
took 2.5 times as long."""


class _Writer:
    """Symbols as text: the names that they have by now, and the numbers that are arguments.

    Half of a double fits into an instruction. Others are arguments of the kernel, which lie where
    instructions reach them; in the code each of them took two more at every place.
    """

    def __init__(self) -> None:
        self.named: dict[int, str] = {}
        self.numbers: list[float] = list(arcsine.SERIES)

    def word(self, value: Any) -> str:
        """A name, or a number."""
        if isinstance(value, Symbol):
            return self.named[value.number]
        if not math.isfinite(value):
            raise NotSymbolic("a constant that is not finite")
        if struct.pack("<d", value)[:4] == bytes(4):
            return repr(float(value))
        if value not in self.numbers:
            self.numbers.append(float(value))
        return f"c[{self.numbers.index(value)}]"

    def statement(self, symbol: Symbol) -> str:
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


def source(
    m: Any, w: Any, moves: bool, trains: bool, decays: bool
) -> tuple[str, tuple[float, ...]]:
    """Text of a right-hand side with the arguments of `registry.rhs`, and the numbers in it.

    The text is empty where there is none. It takes its numbers from ``w.numbers``.
    """
    rhs = equations_of(type(m)).rhs
    try:
        lines, outputs = traced(rhs, m, w, (moves, trains, decays), MOST_LINES)
        return _text(outputs, lines.needed(outputs))
    except NotSymbolic:
        return "", ()


def _text(outputs: list[Any], symbols: list[Symbol]) -> tuple[str, tuple[float, ...]]:
    writer = _Writer()
    text = ["def rhs(M, m, w, y, dy, moves, trains, decays):", " c = w.numbers"]
    for symbol in symbols:
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
    names = LEAVES | PRIMITIVES | {"get": values.get, "put": values.put, "__name__": __name__}
    names["asin"] = arcsine.asin_of_one
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
