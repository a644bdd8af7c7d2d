"""A function of time as a table: splines, between the places where it jumps or has a kink."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

from odekit.base.checks import as_floats
from odekit.base.errors import ProblemError

Floats = np.ndarray[Any, np.dtype[np.float64]]

TOLERANCE = 1e-8
"""Largest deviation of a function from its table, relative to its largest value: the default
relative tolerance of a run."""
MOST_KNOTS = 65_536
PROBES = 4096
"""Points at which a function is looked at before anything else: features narrower than this part of
the phase may be missed."""
MOST_PASSES = 64
WIDE = 2.0**-8
"""Relative width of an interval below which a function may be found to have a kink in it."""
MOST_LOOKS = 2048
"""So many intervals are looked at each time, the narrowest: they lie about kinks, if any do."""
NARROW = 2.0**-44
"""That to which a kink or jump is located."""
RAMP = 2.0**-30
"""That of the ramp in the place of a jump, half before and half after it: times of steps are
rounded, and each side needs a rate of its own."""
NOISE = 1e-12
"""Deviation from a straight line, relative to the largest value, that may be rounding."""
PART = 0.4619
"""Where intervals are cut: at no place that a person would choose for a kink."""


def tabulate(function: Callable[[float], float], duration: float) -> tuple[Floats, Floats, Floats]:
    """Times, values, and those of the times at which the function is not smooth.

    Intervals in which a spline is off are halved. Where deviations from a straight line do not fall
    as the square of the width there is a kink or a jump: it is located, and splines end there.
    """
    kinks = np.zeros(0)
    for _ in range(MOST_PASSES):
        table = _Table(function, duration, kinks)
        found = table.refine()
        if not found.size:
            return table.knots, table.values, table.kinks
        kinks = np.union1d(kinks, found)
    raise _too_rough(f"new kinks in each of {MOST_PASSES} passes")


def pieces(times: Floats, values: Floats, kinks: Floats) -> Floats:
    """Coefficients of the powers 3, 2, 1, 0 on every interval, shape (4, n − 1)."""
    from scipy.interpolate import CubicSpline

    inner = np.flatnonzero(np.isin(times, kinks))
    ends = np.unique([0, *inner, times.size - 1])
    parts = [CubicSpline(times[i : j + 1], values[i : j + 1]).c for i, j in pairwise(ends)]
    return np.concatenate(parts, axis=1)


def evaluate(start: Floats, coefficients: Floats, times: Floats) -> Floats:
    """Values of piecewise cubics at times within them."""
    piece = np.clip(np.searchsorted(start, times, side="right") - 1, 0, start.size - 1)
    c3, c2, c1, c0 = coefficients[:, piece]
    x = times - start[piece]
    return np.asarray(((c3 * x + c2) * x + c1) * x + c0)


class _Table:
    """A table that grows until it is accurate, or until new kinks come to light."""

    def __init__(self, function: Callable[[float], float], duration: float, kinks: Floats) -> None:
        self.function, self.duration, self.kinks = function, duration, kinks
        even = np.linspace(0, duration, 33)
        grid = np.union1d(even, np.geomspace(duration * 1e-6, duration, 49))
        grid[-1] = duration
        if kinks.size:
            # A spline through knots that all but coincide has slopes of rounding.
            near = np.abs(grid[:, None] - kinks).min(axis=1) < 1e-7 * grid
            grid = grid[~near | np.isin(grid, [0.0, duration])]
        self.knots = np.union1d(grid, kinks)
        self.values = sample(function, self.knots)
        self.probes = _probes(duration)
        self.seen = sample(function, self.probes)
        self.largest = max(self.values.max(), self.seen.max())

    def refine(self) -> Floats:
        """Halve intervals; return kinks that were not known, or none once it is accurate."""
        while True:
            knots = self.knots
            centres = 0.5 * (knots[1:] + knots[:-1])
            exact = sample(self.function, centres)
            rough = self._rough(centres, exact)
            if not rough.any():
                return np.zeros(0)
            found = self._singular(np.flatnonzero(rough))
            if found.size:
                return found
            if knots.size + rough.sum() > MOST_KNOTS:
                raise _too_rough(f"one that needs more to be within {TOLERANCE:g}")
            order = np.argsort(np.concatenate([knots, centres[rough]]))
            self.values = np.concatenate([self.values, exact[rough]])[order]
            self.knots = np.concatenate([knots, centres[rough]])[order]

    def _rough(self, centres: Floats, exact: Floats) -> Any:
        """Which intervals deviate at their centre, or at a probe within."""
        knots, allowed = self.knots, TOLERANCE * self.largest
        c = pieces(knots, self.values, self.kinks)
        rough = np.abs(evaluate(knots[:-1], c, centres) - exact) > allowed
        missed = np.abs(evaluate(knots[:-1], c, self.probes) - self.seen) > allowed
        rough[np.searchsorted(knots, self.probes[missed], side="right") - 1] = True
        return rough & ~self._in_ramp()

    def _in_ramp(self) -> Any:
        ends = np.isin(self.knots, self.kinks)
        return (ends[1:] | ends[:-1]) & (np.diff(self.knots) < 2.0 * RAMP * self.knots[1:])

    def _singular(self, places: Any) -> Floats:
        """Kinks in or about the given intervals, and the ends of the ramps of jumps."""
        width = self.knots[places + 1] - self.knots[places]
        narrow = width <= WIDE * self.knots[places + 1]
        places = places[narrow][np.argsort(width[narrow], kind="stable")[:MOST_LOOKS]]
        found: list[float] = []
        last = 0.0
        for i in np.sort(places):
            left, right = self.knots[i], self.knots[i + 1]
            if left < last:
                continue
            for c in self._locate(*self._widened(left, right)):
                found.append(c)
                last = max(last, c)
        return np.array(found)

    def _widened(self, left: float, right: float) -> tuple[float, float]:
        """An interval with the kinks that may stand at its ends inside it, but no known ones."""
        more = 0.25 * (right - left)
        low = left if left in self.kinks else max(left - more, 0.0)
        high = right if right in self.kinks else min(right + more, self.duration)
        between = self.kinks[(self.kinks > low) & (self.kinks < high)]
        if between.size:  # beyond the interval on either side
            low = max([low, *between[between <= left]])
            high = min([high, *between[between >= right]])
        return low, high

    def _locate(self, left: float, right: float) -> tuple[float, ...]:
        """The place of a kink, the two ends of a jump's ramp, or nothing if it is smooth."""
        f, floor = self._at, NOISE * self.largest
        a, b, seen = f(left), f(right), [np.inf]
        while right - left > NARROW * right and seen[-1] > floor and not _is_smooth(seen):
            middle = left + PART * (right - left)
            m = f(middle)
            one, two = self._bend(left, middle, a, m), self._bend(middle, right, m, b)
            if one >= two:
                right, b = middle, m
            else:
                left, a = middle, m
            seen.append(max(one, two))
        if _is_smooth(seen) or not _is_kink([x for x in seen[1:] if x > floor]):
            return ()
        return self._place(0.5 * (left + right), abs(b - a) > TOLERANCE * self.largest)

    def _place(self, c: float, jumps: bool) -> tuple[float, ...]:
        """The knots that a kink or a jump is given, unless they are there."""
        if self.kinks.size and np.abs(self.kinks - c).min() < 4.0 * RAMP * c:
            return ()
        if c > self.duration * (1.0 - 2.0 * RAMP):  # a jump to the value at the end
            return (self.duration * (1.0 - RAMP),)
        return (c * (1.0 - 0.5 * RAMP), c * (1.0 + 0.5 * RAMP)) if jumps else (c,)

    def _at(self, time: float) -> float:
        return float(self.function(time))

    def _bend(self, left: float, right: float, a: float, b: float) -> float:
        """Deviation from the straight line."""
        return abs(self._at(left + PART * (right - left)) - (1.0 - PART) * a - PART * b)


# Intervals are cut to 0.46 or 0.54: deviations from a straight line fall to some 0.25 each time
# where a function is smooth, to some 0.5 about a kink, and not at all about a jump.
def _is_smooth(bends: list[float]) -> bool:
    """Whether the last ones fell as those of a smooth function do."""
    return len(bends) > 8 and bends[-1] < 0.3**6 * bends[-7]


def _is_kink(bends: list[float]) -> bool:
    """Whether they fell by less to the end."""
    few = bends[-12:]
    return len(few) >= 4 and bool(few[-1] > 0.36 ** (len(few) - 1) * few[0])


def sample(function: Callable[[float], float], times: Any) -> Floats:
    """Values of a function, checked."""
    values = as_floats(
        "function", [function(float(t)) for t in times], "a function of time giving numbers"
    )
    if values.shape != np.shape(times) or (values < 0).any():
        raise ProblemError(
            "function",
            "must be a function giving one number >= 0",
            f"values from {values.min():g}, shape {values.shape}",
            "Check the function over [0, duration].",
        )
    return values


def _probes(duration: float) -> Floats:
    """One point in each of many equal parts, at no regular place: a period may not hide them."""
    inside = np.random.default_rng(0).random(PROBES)
    return np.asarray(duration * (np.arange(PROBES) + inside) / PROBES)


def _too_rough(given: str) -> ProblemError:
    return ProblemError(
        "function",
        f"must fit a table of splines of {MOST_KNOTS} times when it is a function",
        given,
        "Give a Schedule (linear table) or one phase for each piece.",
    )
