"""Derivatives of what a sweep computes besides its equations, by differences at all points at once.

What a function gives is a nest of arrays with the points in front, or one entry for all. It moves
with a number of the problem, of which `Ghosts` hold packings a little apart, and with what it is
given. The two are told apart, since each has a natural step of its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Flags, Floats
from odekit.problem.schedule import Schedule

STEP = 1e-3
"""Of differences of fourth order, relative: off by some 1e-12 of what varies on a scale of one."""
SHIFTS = (-2, -1, 1, 2)
TOLERANCE, FLOOR = 1e-6, 1e-8
"""Fourth difference over the step, relative to function and derivative, at which there is doubt. It
falls as the cube of the step, 1e-9, where a function is smooth, and is the bend at a kink."""
APART = 1e-4
"""The same of the differences of second and fourth order, which tell a short scale where a function
is odd: they are apart by the square of the step on it, and the latter is off by that squared."""


class Ghosts(NamedTuple):
    """Packings of a sweep of which one number is shifted.

    Attributes
    ----------
    points : dict of int to Points
        By the shift, in steps.
    step : ndarray, shape (points or 1,)
    """

    points: Mapping[int, Any]
    step: Floats


class Slope(NamedTuple):
    """A derivative.

    Attributes
    ----------
    parts : list of ndarray
        Derivatives of the arrays of a nest, in their order.
    doubt : ndarray of bool, shape (points or 1,)
        Where differences are not those of a smooth function.
    """

    parts: list[Floats]
    doubt: Flags


Function = Callable[[Any, Any], Any]
"""Of a packing and of what it is given."""


def parts_of(nest: Any) -> list[Floats]:
    """The arrays of floats in a nest of tuples and dataclasses, from left to right."""
    return list(_parts(nest))


def _parts(nest: Any) -> Iterator[Floats]:
    if isinstance(nest, np.ndarray):
        if nest.dtype.kind == "f":
            yield nest
    elif isinstance(nest, tuple | list):
        for item in nest:
            yield from _parts(item)
    elif _is_open(nest):
        for field in dataclasses.fields(nest):
            yield from _parts(getattr(nest, field.name))


def _is_open(nest: Any) -> bool:
    """Whether there is anything to look for within; tables are numbers of the problem."""
    return dataclasses.is_dataclass(nest) and not isinstance(nest, type | Schedule)


def with_parts(nest: Any, parts: Iterator[Floats]) -> Any:
    """The same nest of other arrays."""
    if isinstance(nest, np.ndarray):
        return next(parts) if nest.dtype.kind == "f" else nest
    if isinstance(nest, tuple | list):
        return tuple(with_parts(item, parts) for item in nest)
    if _is_open(nest):
        names = [field.name for field in dataclasses.fields(nest)]
        made = {name: with_parts(getattr(nest, name), parts) for name in names}
        return dataclasses.replace(nest, **made)
    return nest


def slope(
    function: Function,
    points: Any,
    given: Any,
    *,
    ghosts: Ghosts | None = None,
    along: Sequence[Floats] | None = None,
) -> Slope:
    """Derivative of a function of a packing and a nest, by a number and along a direction.

    Parameters
    ----------
    function : callable
    points : Points
    given : nest
    ghosts : Ghosts, optional
        By whose number; by none without.
    along : sequence of ndarray, optional
        Derivatives of the arrays of `given`; all 0 without.
    """
    middle = parts_of(function(points, given))
    found = Slope([np.zeros_like(part) for part in middle], np.zeros(1, dtype=bool))
    if ghosts is not None:
        values = {s: parts_of(function(ghosts.points[s], given)) for s in SHIFTS}
        found = _differences(middle, values, ghosts.step)
    if along is not None and any(part.any() for part in along):
        step = STEP / np.maximum(1.0, _largest(along))
        values = {s: parts_of(function(points, _moved(given, along, s * step))) for s in SHIFTS}
        found = _sum(found, _differences(middle, values, step))
    return found


def _moved(given: Any, along: Sequence[Floats], step: Floats) -> Any:
    parts = [
        part + over(step, part) * by if by.any() else part
        for part, by in zip(parts_of(given), along, strict=True)
    ]
    return with_parts(given, iter(parts))


def over(values: Floats, array: Floats) -> Floats:
    """A number for each point with as many axes as an array has."""
    return values.reshape(len(values), *(1,) * (array.ndim - 1))


def _largest(along: Sequence[Floats]) -> Floats:
    """Largest entry at every point, (points or 1,)."""
    found = np.zeros(1)
    for part in along:
        if part.size:
            found = np.maximum(found, np.abs(part.reshape(len(part), -1)).max(axis=1))
    return found


def _differences(
    middle: Sequence[Floats], values: Mapping[int, Sequence[Floats]], step: Floats
) -> Slope:
    parts, doubt = [], np.zeros(1, dtype=bool)
    for f, *around in zip(middle, *(values[s] for s in SHIFTS), strict=True):
        far_below, below, above, far_above = around
        h = over(step, f)
        derivative = (8.0 * (above - below) - (far_above - far_below)) / (12.0 * h)
        bend = np.abs(far_above + far_below - 4.0 * (above + below) + 6.0 * f) / h
        apart = np.abs(derivative - (above - below) / (2.0 * h))
        size = np.abs(f) + np.abs(derivative)
        smooth = (bend <= TOLERANCE * size + FLOOR) & (apart <= APART * size + FLOOR)
        parts.append(derivative)
        if f.size:
            doubt = doubt | ~smooth.reshape(len(smooth), -1).all(axis=1)
    return Slope(parts, doubt)


def _sum(one: Slope, other: Slope) -> Slope:
    parts = [a + b for a, b in zip(one.parts, other.parts, strict=True)]
    return Slope(parts, one.doubt | other.doubt)
