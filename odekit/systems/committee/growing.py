"""Penalties on a network by a consolidation whose strength changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule


class Growing:
    """What a consolidation adds to the penalties of a network, at its strength now.

    Parameters
    ----------
    strength : float or Schedule
    parts : sequence of (ndarray, ndarray)
        Sums over all consolidations, which are changed in place, and what this one adds to them at
        strength 1.
    """

    def __init__(self, strength: Any, parts: Sequence[tuple[Floats, Floats]]) -> None:
        self.parts, self.now = parts, 0.0
        self.last = float(strength.values[-1] if isinstance(strength, Schedule) else strength)
        self.put(strength(0.0) if isinstance(strength, Schedule) else float(strength))

    def put(self, strength: float) -> None:
        """Go over to a strength."""
        if strength != self.now:
            for total, unit in self.parts:
                total += (strength - self.now) * unit
            self.now = strength

    def end(self) -> None:
        """Go over to the strength that later phases have."""
        self.put(self.last)
