"""Stretches in which a positive number stands still between two faster changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.interpolate import CubicSpline

from odekit.base.arrays import Floats


class Stretch(NamedTuple):
    """When it begins and ends, and the value that it keeps; `end` is NaN where it lasts."""

    level: float
    start: float
    end: float


def stretches(
    t: Floats,
    value: Floats,
    *,
    begin: float,
    jumped: bool,
    threshold: float,
    contrast: float,
    noisy: bool = False,
) -> list[Stretch]:
    """All of them, in order.

    Parameters
    ----------
    t : ndarray, shape (rows,)
        Increasing.
    value : ndarray, shape (rows,)
        Positive.
    begin : float
        What a stretch that holds the first row starts with.
    jumped : bool
        Whether such a stretch has a change before it.
    threshold : float
        What the value may differ by, as a ratio less one.
    contrast : float
        How much faster it changes before and after.
    noisy : bool
        Whether values are noisy: levels are then means over the stretch.

    Returns
    -------
    list of Stretch
    """
    finder = _Finder(t, np.log(value), begin, jumped, np.log1p(threshold), contrast, noisy)
    return sorted(finder.run(), key=lambda s: s.start)


class _Finder:
    """From the flattest place on; no row is in two stretches."""

    def __init__(
        self,
        t: Floats,
        y: Floats,
        begin: float,
        jumped: bool,
        band: float,
        contrast: float,
        noisy: bool,
    ) -> None:
        self.t, self.y, self.begin, self.jumped = t, y, begin, jumped
        self.band, self.contrast, self.noisy = float(band), contrast, noisy

    def run(self) -> list[Stretch]:
        """All stretches, the flattest first."""
        taken = np.zeros(self.t.size, dtype=bool)
        found = []
        for i in _flattest(self.t, self.y):
            if taken[i] or taken[i + 1]:
                continue
            level = 0.5 * (self.y[i] + self.y[i + 1])
            a, b = self._reach(i, level)
            if self.noisy and b > a:
                level = _mean(self.t[a : b + 1], self.y[a : b + 1])
            if not taken[a : b + 1].any():
                stretch = self._judged(level, *self._reach(i, level))
                found += [stretch] if stretch is not None else []
            taken[a : b + 1] = True
        return found

    def _reach(self, i: int, level: float) -> tuple[int, int]:
        """First and last row, around i and the next, that are within the band."""
        away = np.abs(self.y - level) > self.band
        before, after = np.flatnonzero(away[: i + 1]), np.flatnonzero(away[i + 1 :])
        a = int(before[-1]) + 1 if before.size else 0
        return a, i + int(after[0]) if after.size else self.t.size - 1

    def _judged(self, level: float, a: int, b: int) -> Stretch | None:
        """The stretch, if the value changes much faster before and after it."""
        start, comes = self._side(level, a, a - 1)
        end, goes = self._side(level, b, b + 1)
        length = end - start
        if length <= 0:
            return None
        least = self.contrast * 2 * self.band / length
        if not (comes(start - length) >= least and goes(end + length) >= least):
            return None
        start = start if a == 0 else self._crossing(a - 1, start, level)
        end = np.nan if b == self.t.size - 1 else self._crossing(b, end, level)
        return Stretch(float(np.exp(level)), start, end)

    def _crossing(self, i: int, about: float, level: float) -> float:
        """When a cubic through the rows about i and the next passes the edge of the band."""
        first = max(min(i - 1, self.t.size - 4), 0)
        t, y = self.t[first : first + 4], self.y[first : first + 4]
        if self.noisy or t.size < 4:
            return about
        outside = self.y[i] if abs(self.y[i] - level) > self.band else self.y[i + 1]
        edge = level + self.band * np.sign(outside - level)
        roots = CubicSpline(t, y).solve(edge, extrapolate=False)
        within = roots[(roots >= self.t[i]) & (roots <= self.t[i + 1])]
        return float(within[0]) if within.size else about

    def _side(self, level: float, inner: int, outer: int) -> tuple[float, Callable[[float], float]]:
        """When the value passes an edge of the band, and how fast it moves beyond up to a time."""
        if outer < 0:
            return self.begin, lambda _: np.inf if self.jumped else 0.0
        if outer == self.t.size:
            return float(self.t[-1]), lambda _: np.inf
        edge = level + self.band * np.sign(self.y[outer] - level)
        share = (edge - self.y[inner]) / (self.y[outer] - self.y[inner])
        at = float(self.t[inner] + share * (self.t[outer] - self.t[inner]))
        return at, lambda upto: self._steepest(outer, at, edge, upto)

    def _steepest(self, outer: int, at: float, edge: float, upto: float) -> float:
        """Steepest way from an edge to rows that are at least one more band away."""
        low, high = min(at, upto), max(at, upto)
        rows = (self.t >= low) & (self.t <= high)
        rows[outer] = True
        off, since = np.abs(self.y[rows] - edge), np.abs(self.t[rows] - at)
        far = (off >= self.band) & (since > 0)
        return float((off[far] / since[far]).max(initial=0.0))


def _flattest(t: Floats, y: Floats) -> list[int]:
    """Intervals between rows in which y changes less fast than in both neighbours."""
    rate = np.abs(np.diff(y)) / np.diff(t)
    padded = np.concatenate([[np.inf], rate, [np.inf]])
    least = np.flatnonzero((rate <= padded[:-2]) & (rate <= padded[2:]))
    return [int(i) for i in least[np.argsort(rate[least], kind="stable")]]


def _mean(t: Floats, y: Floats) -> float:
    return float(np.trapezoid(y, t) / (t[-1] - t[0]))
