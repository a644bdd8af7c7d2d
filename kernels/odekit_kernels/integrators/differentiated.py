"""Tangents of what equations compute on symbols: the derivative of every line by its arguments.

The derivatives of single lines are lines too, which all directions share; what depends on the
direction begins with its own reads of memory (`TANGENT`) and is told apart by that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from odekit_kernels.integrators.symbols import NORMAL, Lines, NotSymbolic, Symbol

__all__ = ["TANGENT", "depends_on_direction", "tangents"]

TANGENT = "tangent"
"""Head of the lines that read one number of a direction."""
ROOT_TWO_PI, ROOT_TWO_OVER_PI = math.sqrt(2.0 * math.pi), math.sqrt(2.0 / math.pi)
WORTH = (0.5, 1.0, 2.0, 4.0)
"""Operations for all directions that save one of each, from the cheapest lines on."""
LEAST = 1e-16
"""Least 1 − sin² with a slope of asin: squared, the rounding of a root of nearly nothing."""


def _over_root_near(x: Symbol) -> Any:
    return x.lines.line("over_root_near", x)


def _choose_less(a: Any, b: Any, yes: Any, no: Any) -> Any:
    symbol = next((x for x in (a, b) if isinstance(x, Symbol)), None)
    if symbol is None:
        return yes if a < b else no
    return symbol.lines.line("choose_less", a, b, yes, no)


def _sign(x: Any) -> Any:
    return x.lines.line("with_sign", 1.0, x) if isinstance(x, Symbol) else 1.0 if x >= 0 else -1.0


def _of_asin(_i: int, _value: Symbol, x: Any) -> Any:
    """1/√(1 − x²), and finite at ±1 too."""
    rest = (1.0 - x) * (1.0 + x)
    return _over_root_near(_choose_less(rest, LEAST, LEAST, rest))


def _of_asin_given(i: int, value: Symbol, x: Any, cosine2: Any) -> Any:
    """By that of both arguments which has the digits, x up to 1/2 and then 1 − x²; 0 at ±1."""
    size = value.lines.line("absolute", x)
    slope = _over_root_near(_choose_less(LEAST, cosine2, cosine2, 1.0))
    slope = _choose_less(LEAST, cosine2, slope, 0.0)
    if i == 0:
        return _choose_less(0.5, size, 0.0, slope)
    return _choose_less(0.5, size, -0.5 * slope / _choose_less(0.5, size, x, 1.0), 0.0)


def _of_root(_i: int, value: Any, _x: Any) -> Any:
    """1/(2√x), and 0 at 0, where functions that go on have a corner."""
    return _choose_less(0.0, value, 0.5 / _choose_less(0.0, value, value, 1.0), 0.0)


def _of_over_root(_i: int, value: Any, _x: Any) -> Any:
    return (-0.5 * value) * (value * value)


def _of_quotient(i: int, value: Any, _a: Any, b: Any) -> Any:
    inverse = 1.0 / b
    return inverse if i == 0 else -value * inverse


def _of_arc(i: int, value: Any, *given: Any) -> Any:
    """By a bound: √2π bell(h) [Φ((k − r h)/√(1 − r²)) − Φ(k)]; by the sine as `asin_given`."""
    h, k, r, cosine2 = given if i != 1 else (given[1], given[0], *given[2:])
    i_cosine = _over_root_near(_choose_less(LEAST, cosine2, cosine2, LEAST))
    if i < 2:
        apart = _normal("distribution", (k - r * h) * i_cosine) - _normal("distribution", k)
        return ROOT_TWO_PI * _normal("bell", h) * apart
    # exp(−(h² + k² − 2 h k r)/2(1 − r²)), the integrand at its end.
    end = _normal("bell", k) * _normal("bell", (h - r * k) * i_cosine)
    return end * _of_asin_given(i - 2, value, r, cosine2)


def _normal(name: str, x: Any) -> Any:
    """A function of the normal distribution."""
    if isinstance(x, Symbol):
        return x.lines.line(name, x)
    return float(getattr(NORMAL[name], "py_func", NORMAL[name])(x))


_PARTIALS: dict[str, Callable[..., Any]] = {
    "neg": lambda _i, _value, _x: -1.0,
    "+": lambda _i, _value, _a, _b: 1.0,
    "-": lambda i, _value, _a, _b: -1.0 if i else 1.0,
    "*": lambda i, _value, a, b: a if i else b,
    "/": _of_quotient,
    "asin": _of_asin,
    "asin_given": _of_asin_given,
    **dict.fromkeys(("over_root", "over_root_near"), _of_over_root),
    "root": _of_root,
    "exp": lambda _i, value, _x: value,
    "bell": lambda _i, value, x: -x * value,
    "balance": lambda _i, _value, x: ROOT_TWO_OVER_PI * _normal("bell", x),
    "balance_given": lambda i, _value, _x, bell: 0.0 if i else ROOT_TWO_OVER_PI * bell,
    "distribution": lambda _i, _value, x: _normal("bell", x) / ROOT_TWO_PI,
    "distribution_given": lambda i, _value, _x, bell: 0.0 if i else bell / ROOT_TWO_PI,
    "arc": _of_arc,
    "absolute": lambda _i, _value, x: _sign(x),
    "with_sign": lambda i, _value, size, sign: 0.0 if i else _sign(size) * _sign(sign),
    "choose_less": lambda i, _value, a, b, _yes, _no: _choose_less(
        a, b, float(i == 2), float(i == 3)
    ),
    "minor": lambda i, _value, a, b, c: (b, a, -2.0 * c)[i],
}
"""Derivative of a line by argument i, of the number of i, the line's value and the arguments."""


def _is_number(x: Any, value: float) -> bool:
    return not isinstance(x, Symbol) and x == value


def _product(p: Any, q: Any) -> Any:
    """p q, and no product by ±1."""
    for a, b in ((p, q), (q, p)):
        if _is_number(a, 1.0):
            return b
        if _is_number(a, -1.0):
            return -b
    return p * q


def _partials(symbol: Symbol) -> dict[int, Any]:
    """Derivatives of a line by the symbols among its arguments, by their numbers."""
    head, *arguments = symbol.parts
    found: dict[int, Any] = {}
    for i, x in enumerate(arguments):
        if isinstance(x, Symbol) and not (head == "choose_less" and i < 2):
            partial = _PARTIALS[head](i, symbol, *arguments)
            if not _is_number(partial, 0.0):
                found[x.number] = found[x.number] + partial if x.number in found else partial
    return found


class _Graph:
    """Which lines depend on which, with the derivatives of one by the other.

    Attributes
    ----------
    into : dict
        Of every line, the derivatives by its arguments.
    out : dict
        Of every line, those that it is an argument of.
    """

    def __init__(self, symbols: list[Symbol]) -> None:
        self.into: dict[int, dict[int, Any]] = {}
        self.out: dict[int, set[int]] = {symbol.number: set() for symbol in symbols}
        for symbol in symbols:
            self.into[symbol.number] = {} if symbol.parts[0] == "get" else _partials(symbol)
            for x in self.into[symbol.number]:
                self.out[x].add(symbol.number)

    def price(self, line: int) -> tuple[int, int]:
        """Operations that it takes to do without a line, and how many each direction saves."""
        into, out = self.into[line], self.out[line]
        cost = new = 0
        for user in out:
            plain = _is_unit(self.into[user][line])
            for x, partial in into.items():
                known = x in self.into[user]
                cost += known + (not plain and not _is_unit(partial))
                new += not known
        return cost, len(into) + len(out) - new

    def remove(self, line: int) -> None:
        """Let those that use a line depend on its arguments instead: the chain rule."""
        into = self.into.pop(line)
        for user in sorted(self.out.pop(line)):
            others = self.into[user]
            slope = others.pop(line)
            for x, partial in into.items():
                term = _product(slope, partial)
                others[x] = others[x] + term if x in others else term
                self.out[x].add(user)
        for x in into:
            self.out[x].discard(line)

    def shrink(self, lines: list[int]) -> None:
        """Remove lines, the cheapest first, as long as that is worth it."""
        for worth in WORTH:
            todo, changed = lines, True
            while changed:
                left = []
                for line in todo:
                    cost, gain = self.price(line)
                    if gain > 0 and cost <= worth * gain:
                        self.remove(line)
                    else:
                        left.append(line)
                changed, todo = len(left) < len(todo), left
            lines = todo


def _is_unit(x: Any) -> bool:
    return _is_number(x, 1.0) or _is_number(x, -1.0)


def tangents(lines: Lines, outputs: list[Any], inputs: Mapping[int, tuple[str, int]]) -> list[Any]:
    """Derivatives of outputs along one direction, as further lines.

    Parameters
    ----------
    lines : Lines
    outputs : list of Symbol or float
    inputs : mapping
        From every place that is read to what tells it in a line (`TANGENT`) of its number in the
        direction.

    Returns
    -------
    list of Symbol or float

    Raises
    ------
    NotSymbolic
        Where another place is read.
    """
    symbols = lines.needed(outputs)
    kept = {x.number for x in outputs if isinstance(x, Symbol)}
    graph = _Graph(symbols)
    inner = (x.number for x in symbols if x.parts[0] != "get" and x.number not in kept)
    graph.shrink(sorted(inner, reverse=True))
    known: dict[int, Any] = {}
    for symbol in symbols:
        if symbol.number not in graph.into:
            continue
        if symbol.parts[0] != "get":
            known[symbol.number] = _sum(graph.into[symbol.number], known)
        elif symbol.parts[1] in inputs:
            known[symbol.number] = lines.line(TANGENT, inputs[symbol.parts[1]])
        else:
            raise NotSymbolic(f"a number at {symbol.parts[1]} that is no constant")
    return [known[x.number] if isinstance(x, Symbol) else 0.0 for x in outputs]


def _sum(partials: Mapping[int, Any], known: Mapping[int, Any]) -> Any:
    """Tangent of a line from those of what it depends on."""
    whole: Any = 0.0
    for number, partial in partials.items():
        if _is_number(partial, -1.0):
            whole = whole - known[number]
        elif not _is_number(known[number], 0.0):
            whole = whole + _product(partial, known[number])
    return whole


def depends_on_direction(symbols: list[Symbol]) -> list[bool]:
    """Which of these, each after its arguments, depend on the direction."""
    found: dict[int, bool] = {}
    for symbol in symbols:
        arguments = (x for x in symbol.parts if isinstance(x, Symbol))
        found[symbol.number] = symbol.parts[0] == TANGENT or any(found[x.number] for x in arguments)
    return [found[x.number] for x in symbols]
