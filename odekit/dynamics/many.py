"""The equations of a phase at every point of a sweep, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats, Indices
from odekit.problem.axes import Axis
from odekit.problem.schedule import Schedule
from odekit.problem.system import Block

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem


class PhasePoints:
    """A phase at every point of a sweep, or of a problem without one at its only point.

    Attributes
    ----------
    start : ndarray, shape (m, n)
        The states with which the phase begins if nothing moved before.
    layout : dict of str to Block
        The variables of a state.
    """

    def __init__(self, problem: AnyProblem, found: Mapping[str, Axis], phase: int) -> None:
        self.problem, self.phase, self.system = problem, phase, problem.system
        self.points = self.system.points(problem, found)
        frame, y = self.points.start()
        for index in range(phase + 1):
            frame, y = self.points.enter(index, frame, y)
        self.set(frame, y)

    def set(self, frame: Any, y: Floats) -> None:
        """Let the phase begin with other copies and states (m, n)."""
        self.frame, self.start = frame, y
        self.equations = list(self.points.each(self.phase, frame, 0.0))
        self.layout: dict[str, Block] = dict(self.system.layout(self.problem, self.points, frame))

    @property
    def size(self) -> tuple[int, int]:
        """Number of points, and of entries of a state."""
        return self.start.shape[0], self.start.shape[1]

    def pack(self, arrays: Mapping[str, Floats]) -> Floats:
        """States (m, n) of variables (m, …) by name; those that lack stay as they start."""
        y = self.start.copy()
        for name, array in arrays.items():
            y[:, self.layout[name].places] = array
        return y

    def scales(self, t: Floats) -> Floats:
        """What times are measured in: the largest learning rate of each point, (m,)."""
        every = [
            np.array([rate(x) for x in t.tolist()])
            if isinstance(rate, Schedule)
            else self.points.values(rate)
            for rate in self.problem.phases[self.phase].every_rate
        ]
        larger = np.max([np.broadcast_to(rate, len(t)) for rate in every], axis=0)
        return np.where(larger > 0.0, larger, 1.0)

    def derivatives(self, t: Floats, y: Floats, which: Indices) -> tuple[Floats, Floats]:
        """f (k, n) and J (k, n, n) of states (k, n) of some points, at their times."""
        k, n = y.shape
        f, J = np.empty((k, n)), np.empty((k, n, n))
        for i, (at, state) in enumerate(zip(which, y, strict=True)):
            own = self.equations[at]
            f[i], J[i] = own.rhs(t[at], state), own.jac(t[at], state)
        return f, J

    def errors(self, y: Floats, which: Indices) -> Floats:
        """Errors (k, tasks) of states (k, n) of some points."""
        found = self.points.errors(y[:, np.newaxis], frame=self.frame, points=which)
        return np.asarray(found[:, 0])
