"""Tangents of what equations compute on symbols: the derivative of every line by its arguments.

The derivatives of single lines are lines too, which all directions share; what depends on the
direction begins with its own reads of memory (`TANGENT`) and is told apart by that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from odekit_kernels.integrators.symbols import Lines, NotSymbolic, Symbol

__all__ = ["TANGENT", "depends_on_direction", "tangents"]

TANGENT = "tangent"
"""Head of the lines that read one number of a direction."""
LEAST = 1e-16
"""Least 1 − sin² with a slope of asin: squared, the rounding of a root of nearly nothing."""


def _over_root_near(x: Symbol) -> Any:
    return x.lines.line("over_root_near", x)


def _choose_less(a: Any, b: Any, yes: Any, no: Any) -> Any:
    symbol = next(x for x in (a, b) if isinstance(x, Symbol))
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


def _of_root(_i: int, value: Symbol, _x: Any) -> Any:
    """1/(2√x), and 0 at 0, where functions that go on have a corner."""
    return _choose_less(0.0, value, 0.5 / _choose_less(0.0, value, value, 1.0), 0.0)


def _of_over_root(_i: int, value: Symbol, _x: Any) -> Any:
    return (-0.5 * value) * (value * value)


def _of_quotient(i: int, value: Symbol, _a: Any, b: Any) -> Any:
    inverse = 1.0 / b
    return inverse if i == 0 else -value * inverse


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
    "absolute": lambda _i, _value, x: _sign(x),
    "with_sign": lambda i, _value, size, sign: 0.0 if i else _sign(size) * _sign(sign),
    "minor": lambda i, _value, a, b, c: (b, a, -2.0 * c)[i],
}
"""Derivative of a line by argument i, of the number of i, the line's value and the arguments."""


def _is_zero(x: Any) -> bool:
    return not isinstance(x, Symbol) and x == 0.0


def _along(symbol: Symbol, known: Mapping[int, Any]) -> Any:
    """Tangent of a line from those of its arguments."""
    head, *arguments = symbol.parts
    given = [known[x.number] if isinstance(x, Symbol) else 0.0 for x in arguments]
    if head == "choose_less":
        yes, no = given[2:]
        return 0.0 if _is_zero(yes) and _is_zero(no) else _choose_less(*arguments[:2], yes, no)
    whole: Any = 0.0
    for i, tangent in enumerate(given):
        if _is_zero(tangent):
            continue
        partial = _PARTIALS[head](i, symbol, *arguments)
        if _is_zero(partial):
            continue
        if not isinstance(partial, Symbol) and abs(partial) == 1.0:
            whole = whole + tangent if partial > 0.0 else whole - tangent
        else:
            whole = whole + partial * tangent
    return whole


def tangents(lines: Lines, outputs: list[Any], inputs: Mapping[int, Any]) -> list[Any]:
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
    known: dict[int, Any] = {}
    for symbol in lines.needed(outputs):
        if symbol.parts[0] != "get":
            known[symbol.number] = _along(symbol, known)
        elif symbol.parts[1] in inputs:
            known[symbol.number] = lines.line(TANGENT, inputs[symbol.parts[1]])
        else:
            raise NotSymbolic(f"a number at {symbol.parts[1]} that is no constant")
    return [known[x.number] if isinstance(x, Symbol) else 0.0 for x in outputs]


def depends_on_direction(symbols: list[Symbol]) -> list[bool]:
    """Which of these, each after its arguments, depend on the direction."""
    found: dict[int, bool] = {}
    for symbol in symbols:
        arguments = (x for x in symbol.parts if isinstance(x, Symbol))
        found[symbol.number] = symbol.parts[0] == TANGENT or any(found[x.number] for x in arguments)
    return [found[x.number] for x in symbols]
