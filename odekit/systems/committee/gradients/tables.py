"""Derivatives of numbers in time by what they are made of: numbers, or tables."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.problem.schedule import Schedule
from odekit.problem.tabulation import evaluate, pieces

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


def of_table(name: str, table: Schedule, part: str, j: int) -> Basis:
    """Derivative of a schedule by one of its values or times.

    Raises
    ------
    ProblemError
        By a time of a spline, or by a value of a cubic table that has an equal neighbour: the slope
        of a cubic table has a kink there.
    """
    if part == "times" and table.interpolation == "spline":
        rule = "must be a value, or a time of a linear or cubic table"
        raise ProblemError("wrt", rule, f"{name} of a spline", "")
    unit = np.zeros(table.times.size)
    unit[j] = 1.0
    if table.interpolation == "linear":
        return _hat(table, part, unit)
    if table.interpolation == "cubic" and part == "times":
        return _of_time(table, unit)
    if table.interpolation == "cubic":
        coefficients = _cubic(name, table, unit)
    else:
        coefficients = pieces(table.times, unit, table.kinks)

    def smooth(times: Floats, _middles: Floats) -> Floats:
        inside = np.clip(times, table.times[0], table.times[-1])
        found = evaluate(table.times[:-1], coefficients, inside.ravel())
        return found.reshape(times.shape)

    return smooth


def _hat(table: Schedule, part: str, unit: Floats) -> Basis:
    slopes = np.diff(table.values) / np.diff(table.times)

    def hat(times: Floats, middles: Floats) -> Floats:
        found = np.asarray(np.interp(times, table.times, unit))
        if part == "values":
            return found
        inside = (middles > table.times[0]) & (middles < table.times[-1])
        piece = np.searchsorted(table.times, middles) - 1
        return np.where(inside, -slopes[np.clip(piece, 0, slopes.size - 1)] * found, 0.0)

    return hat


def _of_time(table: Schedule, unit: Floats) -> Basis:
    """By a time of a monotone cubic, piece by piece: it stays what it is where the time moves."""
    from scipy.interpolate import CubicHermiteSpline

    coefficients = np.array(table.pieces[1]).T
    width, at = np.diff(table.times), table.times[:-1]
    slopes = np.append(coefficients[2], np.polyval(np.polyder(coefficients[:, -1]), width[-1]))
    # Values at moving times are given: at a fixed place they fall as the curve rises there.
    values, turned = -slopes * unit, _turned(table, np.zeros(unit.size), unit)
    begin = turned[:-1] - 2.0 * coefficients[1] * unit[:-1]
    end = turned[1:] - (6.0 * coefficients[0] * width + 2.0 * coefficients[1]) * unit[1:]
    found = np.concatenate([
        CubicHermiteSpline([0.0, width[i]], values[i : i + 2], [begin[i], end[i]]).c
        for i in range(width.size)
    ], axis=1)  # fmt: skip

    def moved(times: Floats, middles: Floats) -> Floats:
        inside = (middles > table.times[0]) & (middles < table.times[-1])
        within = np.clip(times, table.times[0], table.times[-1]).ravel()
        return np.where(inside, evaluate(at, found, within).reshape(times.shape), 0.0)

    return moved


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
