"""The equations of one phase of one problem, as functions of time and state."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.problem.system import Exact
from odekit_kernels.lanes.memory import places_of
from odekit_kernels.outside import flow as outside

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.outside.points import DeclaredPoints


class DeclaredEquations(Exact):
    """Equations of one phase (`odekit.problem.system.Equations`)."""

    def __init__(self, points: DeclaredPoints, phase: Phase, begin: float) -> None:
        self.begin, self.rates = begin, phase.rates
        self.plan = points.plan(phase)
        self.memory = np.zeros(self.plan.size)
        row = points.constants(phase, self.plan)[0]
        self.memory[places_of(outside.constants(self.plan))] = row
        self.levels = np.array(list(phase.thresholds.values()), dtype=float)
        self.losses = np.empty(self.levels.size)
        self.has_event = bool(self.levels.size)
        self.square = np.zeros((self.plan.n, self.plan.n))
        self.breaks = sorted({begin + b for b in points.stops(phase)})

    def at_point(self, row: Floats, rates: tuple[Any, Any]) -> Self:
        """The same phase with the numbers of another point of the sweep."""
        other = copy.copy(self)
        other.rates, other.memory = rates, self.memory.copy()
        other.memory[places_of(outside.constants(self.plan))] = row
        return other

    def _eta(self, t: float) -> tuple[float, float]:
        w, v = (r(t - self.begin) if isinstance(r, Schedule) else r for r in self.rates)
        return float(w), float(v)

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""
        dy = np.empty_like(y)
        outside.flow(self.memory, self.plan, y, *self._eta(t), dy)
        return dy

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""
        J = np.empty((y.size, y.size))
        outside.slopes(self.memory, self.plan, self.square, y, *self._eta(t), J)
        return J

    def event(self, y: Floats) -> float:
        """Largest error of a watched task over its threshold, less one."""
        outside.losses(self.memory, self.plan, y, self.losses)
        return float((self.losses / self.levels).max()) - 1.0
