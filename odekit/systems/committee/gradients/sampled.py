"""A curve by its values and slopes where steps begin and end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from odekit.base.arrays import Floats

PARTS = 8
"""Times at which each step is looked at."""


@dataclass
class Curve:
    """A curve by its values and slopes where steps begin and end: cubic within them.

    Attributes
    ----------
    time, values, slopes, phase : ndarray, shape (ends of steps,)
        Both sides of a switch are in it.
    """

    time: Floats
    values: Floats
    slopes: Floats
    phase: Any

    def times(self, sign: float) -> Curve:
        """The same, or upside down."""
        return replace(self, values=sign * self.values, slopes=sign * self.slopes)

    def _within(self, i: int) -> tuple[Floats, Floats]:
        """Times within a step, and values there."""
        from scipy.interpolate import CubicHermiteSpline

        pair = slice(i, i + 2)
        at = np.linspace(float(self.time[i]), float(self.time[i + 1]), PARTS + 1)
        return at, CubicHermiteSpline(self.time[pair], self.values[pair], self.slopes[pair])(at)

    def _steps(self) -> Any:
        return np.flatnonzero((np.diff(self.phase) == 0) & (np.diff(self.time) > 0.0))

    def around(self, time: float) -> tuple[float, float]:
        """The stretch of its phase in which a time lies, from the steps before and after."""
        i = int(np.clip(np.searchsorted(self.time, time) - 1, 0, self.time.size - 2))
        own = np.flatnonzero(self.phase == self.phase[i])
        low, high = max(i - 1, own[0]), min(i + 2, own[-1])
        return float(self.time[low]), float(self.time[high])

    def largest(self) -> tuple[float, int | None]:
        """Where it is largest; and the step within which its slope vanishes there, if any does."""
        best, time, place = float(self.values.max()), float(self.time[self.values.argmax()]), None
        for i in self._steps():
            at, found = self._within(i)
            k = int(found[1:-1].argmax()) + 1
            if found[k] >= best and found[k] > max(found[0], found[-1]):
                best, time, place = float(found[k]), float(at[k]), int(i)
        if place is None and self._inner(time):
            place = int(np.searchsorted(self.time, time))
        return time, place

    def _inner(self, time: float) -> bool:
        """Whether steps of the same phase end before and begin after a time."""
        here = self.phase[int(self.values.argmax())]
        own = self.time[self.phase == here]
        return bool(own[0] < time < own[-1])

    def first_above(self, level: float) -> tuple[float, tuple[float, float] | None] | None:
        """When it first is, and the step in which; None of the latter where it jumps."""
        inside = set(self._steps().tolist())
        for i in range(self.time.size - 1):
            if i not in inside:
                if self.values[i + 1] > level:
                    return float(self.time[i]), None
                continue
            at, found = self._within(i)
            over = np.flatnonzero(found > level)
            if over.size:
                k = max(int(over[0]), 1)
                share = (level - found[k - 1]) / (found[k] - found[k - 1])
                guess = float(at[k - 1] + share * (at[k] - at[k - 1]))
                return guess, (float(self.time[i]), float(self.time[i + 1]))
        return None
