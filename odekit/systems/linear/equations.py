"""The equations of one phase of one linear network, as functions of time and state."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.problem.system import Exact
from odekit_kernels.gated import flow as gated

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.linear.points import LinearPoints


class LinearPhase(Exact):
    """Equations of one phase as functions of time and state (`odekit.integrate.phase.System`)."""

    def __init__(self, points: LinearPoints, phase: Phase, begin: float) -> None:
        self.begin, self.rate = begin, phase.learning_rate
        self.paths, names = points.paths, list(phase.thresholds)
        self.plan = gated.make_plan(self.paths, len(names), single=True)
        self.memory = np.zeros(self.plan.size)
        tables = [points.readings.trained(phase), *(points.readings.table(n) for n in names)]
        for i, table in enumerate(tables):
            first = self.plan.table if i == 0 else self.plan.watched + (i - 1) * self.plan.T
            self.memory[first : first + self.plan.T] = table[0]
        self.has_event = bool(names)
        self.levels = np.array([phase.thresholds[name] for name in names], dtype=float)
        self.losses = np.empty(len(names))
        scheduled = isinstance(self.rate, Schedule)
        kinks = self.rate.breaks(float(phase.duration)) if scheduled else []
        self.breaks = sorted({begin + b for b in kinks})

    def at_point(self, table: Floats, rate: Any) -> Self:
        """The same phase with the numbers of another point of the sweep."""
        other = copy.copy(self)
        other.rate, other.memory = rate, self.memory.copy()
        other.memory[self.plan.table : self.plan.table + self.plan.T] = table
        return other

    def _eta(self, t: float) -> float:
        return float(self.rate(t - self.begin) if isinstance(self.rate, Schedule) else self.rate)

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

    def descend(self, y: Floats, parts: int) -> Floats:
        """The state after a step of gradient descent, at that part of the learning rate."""
        after, eta = np.array(y), self._eta(self.begin) / parts
        gated.descend(self.memory, self.plan, self.paths, after, eta, 1)
        return after
