"""The equations of one phase of one structured problem, as functions of time and state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.problem.system import Exact
from odekit_kernels.committee.general.alone import errors, rhs
from odekit_kernels.committee.general.differences import jacobian
from odekit_kernels.committee.general.plan import constants
from odekit_kernels.lanes.memory import make_memory, places_of

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.general import GeneralPoints
    from odekit.systems.committee.generalstate import Frame


class GeneralPhase(Exact):
    """Equations of a phase of the first point of a sweep (`odekit.problem.system.Equations`)."""

    def __init__(self, points: GeneralPoints, phase: Phase, frame: Frame, begin: float) -> None:
        self.begin, self.rates = begin, phase.common_rates
        self.plan, self.wiring = points.plan(phase, frame), points.wiring(phase, frame)
        self.memory = np.zeros(self.plan.size)
        places = places_of(constants(self.plan))
        self.memory[places] = points.constants(phase, frame, self.plan)[0]
        self.breaks = [begin + float(stop) for stop in points.stops(phase)]
        self.has_event = bool(phase.thresholds)
        self.levels = points.levels(phase)[0]

    def _set_rates(self, t: float) -> None:
        """Learning rates at a time, as the kernels of one trajectory find them."""
        for place, rate in zip((self.plan.eta_w, self.plan.eta_v), self.rates, strict=True):
            if isinstance(rate, Schedule):
                self.memory[place] = rate(t - self.begin)

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""
        self._set_rates(t)
        dy = np.empty_like(y)
        rhs(self.memory, self.plan, self.wiring, y, dy)
        return dy

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""
        self._set_rates(t)
        lanes = make_memory(self.plan.size)
        lanes[:] = self.memory[:, np.newaxis]
        J = np.empty((y.size, y.size))
        jacobian(lanes, self.plan, self.wiring, y, J)
        return J

    def event(self, y: Floats) -> float:
        """Largest error of a watched task over its threshold, less one."""
        out = np.empty(self.levels.size)
        errors(self.memory, self.plan, self.wiring, y, out)
        return float((out / self.levels).max()) - 1.0
