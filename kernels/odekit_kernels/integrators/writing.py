"""Symbols as the lines of a function."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from odekit_kernels.integrators.symbols import NotSymbolic, Symbol, Y

__all__ = ["Writer"]


class Writer:
    """Text of symbols, and the names that they have by now."""

    def __init__(self) -> None:
        self.named: dict[int, str] = {}

    def word(self, value: Any) -> str:
        """A name, or a number."""
        if isinstance(value, Symbol):
            return self.named[value.number]
        if not math.isfinite(value):
            raise NotSymbolic("a constant that is not finite")
        return self.number(float(value))

    def number(self, value: float) -> str:
        """A literal."""
        return repr(value)

    def place(self, place: int) -> str:
        """Where a number of the state or a constant lies."""
        return f"y + {place - Y}" if place >= Y else str(place)

    def call(self, name: str, words: list[str]) -> str:
        """A call of a function of numbers."""
        return f"{name}({', '.join(words)})"

    def statement(self, symbol: Symbol) -> str:
        """An operation."""
        head, *arguments = symbol.parts
        if head == "get":
            return f"get(M, {self.place(arguments[0])})"
        words = [self.word(x) for x in arguments]
        if head == "neg":
            return f"-{words[0]}"
        return f"{words[0]} {head} {words[1]}" if head in "+-*/" else self.call(head, words)

    def assignments(self, symbols: Iterable[Symbol]) -> list[str]:
        """A line for each; arguments come first."""
        text = []
        for symbol in symbols:
            statement = self.statement(symbol)
            name = self.named[symbol.number] = f"t{len(self.named)}"
            text.append(f" {name} = {statement}")
        return text

    def puts(self, outputs: Iterable[Any], first: str) -> list[str]:
        """Lines that write them to memory, one after the other."""
        return [f" put(M, {first} + {i}, {self.word(x)})" for i, x in enumerate(outputs)]
