"""A branch of fixed points as the lines and marks of a picture."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from odekit.base.arrays import Floats

STABLE, UNSTABLE, NO_VECTORS = "stable", "unstable", "no real vectors"


@dataclass
class Curve:
    """One branch, or one entry of a variable along it.

    Attributes
    ----------
    x, y : ndarray, shape (points,)
    unstable, physical : ndarray, shape (points,)
        How many directions grow at each point, and whether real vectors have its overlaps.
    marks : sequence of (int, str, float, float)
        Special points: the last point before, the kind, and where it is.
    colour : int
    """

    x: Floats
    y: Floats
    unstable: Any
    physical: Any
    marks: Sequence[tuple[int, str, float, float]]
    colour: int = 0

    @property
    def pieces(self) -> Iterator[tuple[str, list[tuple[float, float]]]]:
        """Stretches of one kind of line; kinds change at special points."""
        kind, line = "", list[tuple[float, float]]()
        for here, a, b in self._segments():
            if here != kind:
                if line:
                    yield kind, line
                kind, line = here, [a]
            line.append(b)
        if line:
            yield kind, line

    def _segments(self) -> Iterator[tuple[str, tuple[float, float], tuple[float, float]]]:
        """Straight lines between points, cut at special ones; each has the kind of its own side."""
        at = list(zip(self.x.tolist(), self.y.tolist(), strict=True))
        marked: dict[int, list[tuple[float, float]]] = {}
        for after, _, x, y in self.marks:
            marked.setdefault(after, []).append((x, y))
        for i in range(len(at) - 1):
            stops = [at[i], *marked.get(i, []), at[i + 1]]
            # A point that is special itself counts no direction that neither grows nor shrinks.
            more = max(self.unstable[i], self.unstable[i + 1])
            for j in range(len(stops) - 1):
                grow = more if len(stops) == 2 else self.unstable[i + (j > 0)]
                yield self._kind(i, grow), stops[j], stops[j + 1]

    def _kind(self, i: int, grow: int) -> str:
        if not (self.physical[i] and self.physical[i + 1]):
            return NO_VECTORS
        return UNSTABLE if grow else STABLE
