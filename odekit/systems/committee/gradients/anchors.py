"""What a consolidation makes of sensitivities as its phase begins: copies of units, penalties."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.gradients.columns import Columns, laws_of
from odekit.systems.committee.gradients.course import Leg, Taken
from odekit.systems.committee.gradients.places import Places, is_structured
from odekit_kernels.committee.activations import ERF, LINEAR

TWO_OVER_PI = 2.0 / math.pi
STEP = 2e-3
"""Of differences of fourth order of moments of units with means, relative to their spread."""
Map = tuple[Floats, Floats]
"""A and B of X' = A X + B, B by the parameters."""


class Moved(NamedTuple):
    """A number with derivatives by what is carried (size,), and directly by parameters (m,)."""

    value: float
    row: Floats
    direct: Floats

    def times(self, factor: float) -> Moved:
        """A multiple."""
        return Moved(factor * self.value, factor * self.row, factor * self.direct)

    def of(self, other: Moved) -> Moved:
        """The product."""
        one, two = self.times(other.value), other.times(self.value)
        return Moved(one.value, one.row + two.row, one.direct + two.direct)


def consolidate(
    taken: Taken, leg: Leg, columns: Columns, places: tuple[Places, Places], made: Map
) -> None:
    """Write what copies and penalties depend on to the rows of a map.

    Of a strength that is a table, penalties are those of strength 1: see `moving.held`.
    """
    (old, new), (A, B) = places, made
    points, P = taken.points, old.P
    consolidation = taken.problem.phases[leg.index].consolidation
    task = points.tasks.index(protected_task(taken.problem, leg.index))
    head = int(points.head_index[task])
    A[new.T[..., P:, :P], old.R] = 1.0
    A[new.T[..., :P, P:], old.R.swapaxes(-1, -2)] = 1.0
    A[new.T[..., P:, P:], old.Q] = 1.0
    A[new.R[..., P:], old.Q] = 1.0
    A[new.v_anchor[-1], old.v[head]] = 1.0
    none = np.zeros(old.size)
    strength = Moved(1.0, none, np.zeros(columns.m))
    if not isinstance(consolidation.strength, Schedule):
        own = columns.phases[leg.index].strength
        strength = Moved(float(consolidation.strength), none, own)
    law, F = _Law(points, columns, task), new.F[-1].reshape(max(points.G, 1), old.K)
    for k in range(old.K):
        I2, J2 = law.moments(leg.y_before, old, k)
        v = _square(leg.y_before, old.v[head][..., k], old.size, columns.m)
        one = Moved(1.0, none, np.zeros(columns.m))
        importance = {"fisher": v.of(J2), "node": v, "quadratic": one}[consolidation.kind]
        pulls = [strength.of(importance)] * len(F)
        if consolidation.kind == "fisher":  # of a weight, that of the inputs that it sees
            pulls = [pull.of(Moved(*seen)) for pull, seen in zip(pulls, law.seen, strict=True)]
        for place, pull in [*zip(F[:, k], pulls, strict=True), (new.F_v[-1, k], strength.of(I2))]:
            A[place], B[place] = pull.row, pull.direct


def _square(y: Floats, places: Any, size: int, m: int) -> Moved:
    """Sum of squares of some numbers of the state."""
    row = np.zeros(size)
    row[places] = 2.0 * y[places]
    return Moved(float((y[places] ** 2).sum()), row, np.zeros(m))


class _Law:
    """What the student sees of a task's inputs."""

    def __init__(self, points: Any, columns: Columns, task: int) -> None:
        self.points, self.columns = points, columns
        self.laws, self.share = laws_of(points), np.ones(1)
        self.of_group, self.by_group = np.ones(1), np.zeros((1, columns.m))
        if points.G:
            self.v = int(self.laws.law[task])
            self.share, self.of_group = self.laws.share[0], self.laws.ss[0, self.v]
            self.by_group = columns.ss[self.v]

    @property
    def seen(self) -> list[tuple[Any, Any, Any]]:
        """Second moments of the groups' inputs; what is carried does not change them."""
        return [(x, 0.0, by) for x, by in zip(self.of_group, self.by_group, strict=True)]

    def moments(self, y: Floats, places: Places, k: int) -> tuple[Moved, Moved]:
        """I2(k, k) and J2(k, k) of a unit."""
        variance = self._variance(y, places, k)
        if not is_structured(self.points):
            I2, dI2, J2, dJ2 = _centred(self.points.code, variance.value)
            pairs = ((I2, dI2), (J2, dJ2))
            return tuple(Moved(x, dx * variance.row, dx * variance.direct) for x, dx in pairs)  # type: ignore[return-value]
        mean = self._mean(y, places, k)
        found, by_mean, by_variance = self._of_field(mean.value, variance.value)
        return tuple(
            Moved(x, a * mean.row + b * variance.row, a * mean.direct + b * variance.direct)
            for x, a, b in zip(found, by_mean, by_variance, strict=True)
        )  # type: ignore[return-value]

    def _variance(self, y: Floats, places: Places, k: int) -> Moved:
        own, row = places.Q.reshape(-1, places.K, places.K)[:, k, k], np.zeros(places.size)
        row[own] = self.share * self.of_group
        return Moved(float(row[own] @ y[own]), row, (self.share * y[own]) @ self.by_group)

    def _mean(self, y: Floats, places: Places, k: int) -> Moved:
        P, gain, mean = self.points.P, self.laws.gain[0, self.v], self.laws.mean[0, self.v]
        where, row = places.R[:, k, :P], np.zeros(places.size)
        row[where] = (self.share * gain)[:, np.newaxis] * mean
        by_gain, by_mean = self.columns.gain[self.v], self.columns.mean[self.v]
        direct = (self.share * (y[where] @ mean)) @ by_gain
        direct = direct + ((self.share * gain) @ y[where]) @ by_mean
        value = float((row[where] * y[where]).sum())
        if places.b.size:
            row[places.b[k]], value = 1.0, value + float(y[places.b[k]])
        return Moved(value, row, direct)

    def _of_field(self, mean: float, variance: float) -> tuple[Floats, Floats, Floats]:
        """I2 and J2 of a field, and their derivatives by its mean and variance, (2,) each."""

        def found(m: float, c: float) -> Floats:
            parts = self.points.unit_moments(np.full((1, 1), m), np.full((1, 1), c))
            return np.array([float(np.ravel(part)[0]) for part in parts])

        by_mean = _slope(lambda x: found(mean + x, variance), STEP * math.sqrt(1.0 + variance))
        by_variance = _slope(lambda x: found(mean, variance + x), STEP * variance)
        return found(mean, variance), by_mean, by_variance


def _slope(f: Callable[[float], Floats], h: float) -> Floats:
    return (8.0 * (f(h) - f(-h)) - (f(2.0 * h) - f(-2.0 * h))) / (12.0 * h)


def _centred(code: int, q: float) -> tuple[float, float, float, float]:
    """I2(k, k), J2(k, k) without means, each with its derivative by Q_kk."""
    if code == ERF:
        root = math.sqrt(1.0 + 2.0 * q)
        J2 = TWO_OVER_PI / root
        I2, slope = TWO_OVER_PI * math.asin(q / (1.0 + q)), TWO_OVER_PI / ((1.0 + q) * root)
        return I2, slope, J2, -J2 / (1.0 + 2.0 * q)
    return (q, 1.0, 1.0, 0.0) if code == LINEAR else (0.5 * q, 0.5, 0.5, 0.0)
