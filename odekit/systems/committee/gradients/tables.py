"""Derivatives of numbers in time by what they are made of: numbers, or tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.problem.mixture import Kind
from odekit.problem.schedule import Schedule
from odekit.problem.tabulation import evaluate, pieces

SHIFT = 3e-4
"""Part of the distance between two times by which one is moved for differences."""
Basis = Callable[[Floats, Floats], Floats]
"""From times (steps, stages) since a phase began, and the middles (steps, 1) of the steps."""


def constant(times: Floats, _middles: Floats) -> Floats:
    """Derivative of a number by itself."""
    return np.ones_like(times)


def values_of(table: Schedule) -> Basis:
    """The table itself: derivative of what it is a factor of by the other factor."""

    def values(times: Floats, _middles: Floats) -> Floats:
        return np.asarray(table.at(times.ravel())).reshape(times.shape)

    return values


@dataclass(eq=False, slots=True)
class OfTable:
    """Derivative of a schedule by one of its values or times.

    Attributes
    ----------
    table : Schedule
    part : str
        "values" or "times".
    j : int
        Which of them.
    coefficients : ndarray or None, shape (4, pieces)
        Of the derivative's cubics; None for linear tables.
    factor : float
        It is so many times that.
    """

    table: Schedule
    part: str
    j: int
    coefficients: Floats | None
    factor: float = 1.0

    @property
    def knots(self) -> Floats:
        """Times at which it is not smooth."""
        return self.table.times

    def __call__(self, times: Floats, middles: Floats) -> Floats:
        """At some times; see `Basis`."""
        found: Floats = together([self], times, middles)[0]
        return found


@dataclass(eq=False, slots=True)
class Along:
    """Cubics between times: on the side of a step's middle where they jump.

    Attributes
    ----------
    knots : ndarray, shape (n,)
    coefficients : ndarray, shape (4, n - 1)
    holds : bool
        Whether the values at the ends hold beyond them; otherwise it vanishes there.
    """

    knots: Floats
    coefficients: Floats
    holds: bool = True

    def __call__(self, times: Floats, middles: Floats) -> Floats:
        """At some times; see `Basis`."""
        first, last = self.knots[0], self.knots[-1]
        at = np.searchsorted(self.knots, middles, side="right") - 1
        piece = np.clip(at, 0, self.knots.size - 2)
        c3, c2, c1, c0 = self.coefficients[:, piece]
        x = np.clip(times, first, last) - self.knots[piece]
        found = ((c3 * x + c2) * x + c1) * x + c0
        return found if self.holds else np.where((middles > first) & (middles < last), found, 0.0)


def interpolated(kind: Kind, values: Floats) -> Along:
    """What stands between values of either sign, as in tables of a kind."""
    if kind.interpolation == "spline":
        return Along(kind.times, pieces(kind.times, values, kind.kinks))
    zeros = np.zeros(values.size - 1)
    slopes = np.diff(values) / np.diff(kind.times)
    return Along(kind.times, np.stack([zeros, zeros, slopes, values[:-1]]))


def scaled(factor: float, basis: Basis) -> Basis:
    """So many times a derivative."""
    if isinstance(basis, OfTable):
        return replace(basis, factor=factor * basis.factor)
    if isinstance(basis, Along):
        return replace(basis, coefficients=factor * basis.coefficients)
    return lambda times, middles: factor * basis(times, middles)


def of_table(name: str, table: Schedule, part: str, j: int) -> Basis:
    """Derivative of a schedule by one of its values or times.

    Raises
    ------
    ProblemError
        By a value of a cubic table that has an equal neighbour: its slope has a kink there.
    """
    if table.interpolation == "linear":
        return OfTable(table, part, j, None)
    if part == "times" and table.interpolation == "spline":
        return _of_time_of_spline(table, j)
    unit = np.zeros(table.times.size)
    unit[j] = 1.0
    if part == "times":
        return _of_time(table, unit)
    if table.interpolation == "cubic":
        return OfTable(table, part, j, _cubic(name, table, unit))
    return OfTable(table, part, j, pieces(table.times, unit, table.kinks))


def knots(bases: Sequence[Basis]) -> Floats:
    """Times at which derivatives are not smooth, wherever the table itself bends."""
    every = {}
    for basis in bases:
        own = getattr(basis, "knots", None)
        if own is not None:
            every[id(own)] = own
    return np.concatenate([np.zeros(0), *every.values()])


def together(bases: Sequence[Basis], times: Floats, middles: Floats) -> Floats:
    """Values of all of them, (bases, steps, stages): those of one table at once."""
    found = np.zeros((len(bases), *times.shape))
    begin = 0
    for some in _alike(bases):
        place, first = slice(begin, begin + len(some)), some[0]
        begin = place.stop
        if not isinstance(first, OfTable):
            found[place] = first(times, middles)
            continue
        if first.coefficients is None:
            rows = _Hats(first, times, middles).values([one.j for one in some])
        else:
            rows = _smooth(first.table, [one.coefficients for one in some], times)
        found[place] = first.factor * rows
    return found


def _alike(bases: Sequence[Basis]) -> Iterator[list[Any]]:
    """Neighbours of the same table, part and factor; any other by itself."""

    def kind(place: int) -> tuple[Any, ...]:
        one = bases[place]
        return (id(one.table), one.part, one.factor) if isinstance(one, OfTable) else (place,)

    for _, places in groupby(range(len(bases)), kind):
        yield [bases[place] for place in places]


def against(bases: Sequence[Basis], times: Floats, middles: Floats, weights: Floats) -> Floats:
    """Sums (q, bases) of weights (q, steps, stages) times each of them: of hats most are 0."""
    q = len(weights)
    found = np.zeros((q, len(bases)))
    begin = 0
    for some in _alike(bases):
        place, first = slice(begin, begin + len(some)), some[0]
        begin = place.stop
        if isinstance(first, OfTable) and first.coefficients is None:
            hats = _Hats(first, times, middles)
            for x in range(q):
                found[x, place] = first.factor * hats.sums(weights[x])[[one.j for one in some]]
        else:
            found[:, place] = np.einsum("qts,bts->qb", weights, together(some, times, middles))
    return found


class _Hats:
    """Where times lie in a linear table; each is in two hats at most."""

    def __init__(self, first: OfTable, times: Floats, middles: Floats) -> None:
        at, values, self.shape = first.table.times, first.table.values, times.shape
        flat, self.n = np.clip(times, at[0], at[-1]).ravel(), at.size
        self.piece = np.clip(np.searchsorted(at, flat) - 1, 0, self.n - 2)
        share = (flat - at[self.piece]) / (at[self.piece + 1] - at[self.piece])
        self.left, self.right = 1.0 - share, share
        if first.part == "times":
            slopes = np.diff(values) / np.diff(at)
            own = slopes[np.clip(np.searchsorted(at, middles) - 1, 0, self.n - 2)]
            inside = (middles > at[0]) & (middles < at[-1])
            factor = np.broadcast_to(np.where(inside, -own, 0.0), times.shape).ravel()
            self.left, self.right = factor * self.left, factor * self.right

    def values(self, chosen: list[int]) -> Floats:
        """Those of these knots, (chosen, steps, stages)."""
        whole, places = np.zeros((self.n, self.piece.size)), np.arange(self.piece.size)
        whole[self.piece, places], whole[self.piece + 1, places] = self.left, self.right
        return whole[chosen].reshape(len(chosen), *self.shape)

    def sums(self, weights: Floats) -> Floats:
        """Sums of weights (steps, stages) times those of every knot, (knots,)."""
        flat = weights.ravel()
        found = np.bincount(self.piece, flat * self.left, self.n)
        return np.asarray(found + np.bincount(self.piece + 1, flat * self.right, self.n))


def _smooth(table: Schedule, coefficients: list[Any], times: Floats) -> Floats:
    inside = np.clip(times, table.times[0], table.times[-1]).ravel()
    found = [evaluate(table.times[:-1], one, inside).reshape(times.shape) for one in coefficients]
    return np.array(found)


def _of_time(table: Schedule, unit: Floats) -> Basis:
    """By a time of a monotone cubic, piece by piece: it stays what it is where the time moves."""
    from scipy.interpolate import CubicHermiteSpline

    coefficients = np.array(table.pieces[1]).T
    width = np.diff(table.times)
    slopes = np.append(coefficients[2], np.polyval(np.polyder(coefficients[:, -1]), width[-1]))
    # Values at moving times are given: at a fixed place they fall as the curve rises there.
    values, turned = -slopes * unit, _turned(table, np.zeros(unit.size), unit)
    begin = turned[:-1] - 2.0 * coefficients[1] * unit[:-1]
    end = turned[1:] - (6.0 * coefficients[0] * width + 2.0 * coefficients[1]) * unit[1:]
    found = np.concatenate([
        CubicHermiteSpline([0.0, width[i]], values[i : i + 2], [begin[i], end[i]]).c
        for i in range(width.size)
    ], axis=1)  # fmt: skip
    return Along(table.times, found, holds=False)


def _of_time_of_spline(table: Schedule, j: int) -> Basis:
    """By a time of a spline, piece by piece: its coefficients by differences of fourth order."""
    at, kink = table.times, np.isin(table.times, table.kinks)
    h = SHIFT * float(np.diff(at)[max(j - 1, 0) : j + 1].min())

    def moved(shift: float) -> Floats:
        """Coefficients with the time moved, about the times as they are."""
        other = at.copy()
        other[j] += shift
        c3, c2, c1, c0 = pieces(other, table.values, other[kink])
        d = (at - other)[:-1]
        turned = c1 + (2.0 * c2 + 3.0 * c3 * d) * d
        return np.array([c3, c2 + 3.0 * c3 * d, turned, c0 + (c1 + (c2 + c3 * d) * d) * d])

    near, far = (moved(step) - moved(-step) for step in (h, 2.0 * h))
    return Along(at, (8.0 * near - far) / (12.0 * h), holds=False)


def _cubic(name: str, table: Schedule, unit: Floats) -> Floats:
    """Coefficients of the derivative of a monotone cubic (Fritsch & Butland 1984) along `unit`."""
    from scipy.interpolate import CubicHermiteSpline

    m, dm = np.diff(table.values), np.diff(unit)
    if (m[dm != 0.0] == 0.0).any():
        rule = "must be a value that differs from its neighbours, in a cubic table"
        remedy = "The slope has a kink where they are equal: use a linear table or a spline."
        raise ProblemError("wrt", rule, name, remedy)
    turned = _turned(table, unit, np.zeros(unit.size))
    return np.asarray(CubicHermiteSpline(table.times, unit, turned).c)


def _turned(table: Schedule, by_value: Floats, by_time: Floats) -> Floats:
    """Derivatives of its slopes at the times along a direction of values and times."""
    from scipy.interpolate import PchipInterpolator

    width, moved = np.diff(table.times), np.diff(by_time)
    m = np.diff(table.values) / width
    dm = (np.diff(by_value) - m * moved) / width
    turned = np.zeros(by_value.size)
    if m.size == 1:
        turned[:] = dm
        return turned
    slope = PchipInterpolator(table.times, table.values).derivative()(table.times)[1:-1]
    before, after = 2.0 * width[1:] + width[:-1], width[1:] + 2.0 * width[:-1]
    more, later = 2.0 * moved[1:] + moved[:-1], moved[1:] + 2.0 * moved[:-1]
    means = m[1:] * m[:-1] > 0.0  # elsewhere the slope is 0
    left, right = np.where(means, m[:-1], 1.0), np.where(means, m[1:], 1.0)
    # (before + after)/slope = before/left + after/right.
    bend = before * dm[:-1] / left**2 + after * dm[1:] / right**2 - more / left - later / right
    whole = before + after
    turned[1:-1] = np.where(means, slope**2 * bend / whole + slope * (more + later) / whole, 0.0)
    turned[0] = _end(width[:2], m[:2], moved[:2], dm[:2])
    turned[-1] = _end(width[:-3:-1], m[:-3:-1], moved[:-3:-1], dm[:-3:-1])
    return turned


def _end(width: Floats, m: Floats, moved: Floats, dm: Floats) -> float:
    """Of the slope at an end: three points', unless it is 0 or thrice that of the last piece."""
    total = width.sum()
    free = ((2.0 * width[0] + width[1]) * m[0] - width[0] * m[1]) / total
    if free * m[0] <= 0.0:
        return 0.0
    if m[0] * m[1] <= 0.0 and abs(free) > 3.0 * abs(m[0]):
        return float(3.0 * dm[0])
    change = (2.0 * width[0] + width[1]) * dm[0] - width[0] * dm[1]
    change += (2.0 * moved[0] + moved[1]) * m[0] - moved[0] * m[1] - free * moved.sum()
    return float(change / total)
