"""Derivatives of learning rates by what they are made of: numbers, or tables in time."""

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


def of_table(name: str, table: Schedule, part: str, j: int) -> Basis:
    """Derivative of a schedule by one of its values or times.

    Raises
    ------
    ProblemError
        By a time of a table that is not linear, or by a value of a cubic one that has an equal
        neighbour: the slope of a cubic table has a kink there.
    """
    if part == "times" and table.interpolation != "linear":
        rule = "must be a value, or a time of a linear table"
        raise ProblemError("wrt", rule, f"{name} of a {table.interpolation} table", "")
    unit = np.zeros(table.times.size)
    unit[j] = 1.0
    if table.interpolation == "linear":
        return _hat(table, part, unit)
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


def _cubic(name: str, table: Schedule, unit: Floats) -> Floats:
    """Coefficients of the derivative of a monotone cubic (Fritsch & Butland 1984) along `unit`."""
    from scipy.interpolate import CubicHermiteSpline, PchipInterpolator

    width = np.diff(table.times)
    m, dm = np.diff(table.values) / width, np.diff(unit) / width
    if (m[dm != 0.0] == 0.0).any():
        rule = "must be a value that differs from its neighbours, in a cubic table"
        remedy = "The slope has a kink where they are equal: use a linear table or a spline."
        raise ProblemError("wrt", rule, name, remedy)
    slope = PchipInterpolator(table.times, table.values).derivative()(table.times)
    turned = np.zeros(unit.size)
    if m.size == 1:
        turned[:] = dm
    else:
        before, after = 2.0 * width[1:] + width[:-1], width[1:] + 2.0 * width[:-1]
        means = m[1:] * m[:-1] > 0.0  # elsewhere the slope is 0
        over = np.where(means, m[:-1], 1.0), np.where(means, m[1:], 1.0)
        bend = before * dm[:-1] / over[0] ** 2 + after * dm[1:] / over[1] ** 2
        turned[1:-1] = np.where(means, slope[1:-1] ** 2 * bend / (before + after), 0.0)
        turned[0] = _end(width[:2], m[:2], dm[:2])
        turned[-1] = _end(width[:-3:-1], m[:-3:-1], dm[:-3:-1])
    return np.asarray(CubicHermiteSpline(table.times, unit, turned).c)


def _end(width: Floats, m: Floats, dm: Floats) -> float:
    """Of the slope at an end: three points', unless it is 0 or thrice that of the last piece."""
    free = ((2.0 * width[0] + width[1]) * m[0] - width[0] * m[1]) / width.sum()
    if free * m[0] <= 0.0:
        return 0.0
    if m[0] * m[1] <= 0.0 and abs(free) > 3.0 * abs(m[0]):
        return float(3.0 * dm[0])
    return float(((2.0 * width[0] + width[1]) * dm[0] - width[0] * dm[1]) / width.sum())
