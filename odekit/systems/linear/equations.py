"""The equations of one phase of one linear network, as functions of time and state."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.problem.system import Exact
from odekit.systems.linear.rates import Rates
from odekit_kernels.gated import flow as gated

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.linear.points import LinearPoints


class LinearPhase(Exact):
    """Equations of one phase as functions of time and state (`odekit.integrate.phase.System`)."""

    def __init__(self, points: LinearPoints, phase: Phase, begin: float) -> None:
        self.begin, self.rates = begin, Rates(points.problem, phase)
        self.common = self.rates.common
        self.paths, names = points.paths, list(phase.thresholds)
        by_edge = self.rates.by_edge
        self.plan = gated.make_plan(self.paths, len(names), single=True, by_edge=by_edge)
        self.memory = np.zeros(self.plan.size)
        self._put(points.stack(self.rates.first, 0)[0], points.stack(self.rates.decays, 0)[0])
        tables = [points.readings.trained(phase), *(points.readings.table(n) for n in names)]
        for i, table in enumerate(tables):
            first = self.plan.table if i == 0 else self.plan.watched + (i - 1) * self.plan.T
            self.memory[first : first + self.plan.T] = table[0]
        self.has_event = bool(names)
        self.levels = np.array([phase.thresholds[name] for name in names], dtype=float)
        self.losses = np.empty(len(names))
        longest = float(phase.duration)
        self.breaks = sorted({begin + b for s in phase.schedules for b in s.breaks(longest)})

    def at_point(self, table: Floats, common: Any, rates: Floats, decays: Floats) -> Self:
        """The same phase with the numbers of another point of the sweep."""
        other = copy.copy(self)
        other.common, other.memory = common, self.memory.copy()
        other.memory[self.plan.table : self.plan.table + self.plan.T] = table
        other._put(rates, decays)
        return other

    def _put(self, rates: Floats, decays: Floats) -> None:
        """Rates and decays of the edges, where these have their own."""
        for first, values in ((self.plan.rates, rates), (self.plan.decays, decays)):
            self.memory[first : first + values.size] = values

    def _eta(self, t: float) -> float:
        """What all rates share at a time; the edges' own go into the memory."""
        for e, schedule in self.rates.schedules.items():
            self.memory[self.plan.rates + e] = schedule(t - self.begin)
        common = self.common
        return float(common(t - self.begin) if isinstance(common, Schedule) else common)

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""
        dy = np.empty_like(y)
        gated.flow(self.memory, self.plan, self.paths, y, self._eta(t), dy)
        return dy

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""
        J = np.empty((y.size, y.size))
        gated.jacobian(self.memory, self.plan, self.paths, y, self._eta(t), J)
        return J

    def event(self, y: Floats) -> float:
        """Largest loss of a watched task over its threshold, less one."""
        gated.loss(self.memory, self.plan, self.paths, y, self.losses)
        return float((self.losses / self.levels).max()) - 1.0

    def descend(self, t: float, y: Floats, parts: int) -> Floats:
        """The state after a step of gradient descent, at that part of the rates at a time."""
        after, eta = np.array(y), self._eta(t) / parts
        gated.descend(self.memory, self.plan, self.paths, after, eta, 1)
        return after
