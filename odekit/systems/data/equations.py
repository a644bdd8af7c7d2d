"""The descent, and the flow, of one phase of one network on data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.problem.system import Exact
from odekit.systems.data.layers import Batch

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.data.problem import DataProblem


class DataPhase(Exact):
    """One phase (`odekit.problem.system.Equations`); dy/dt = −η ∂loss/∂y."""

    def __init__(self, problem: DataProblem, phase: Phase, begin: float) -> None:
        self.begin, self.rate, self.layers = begin, phase.learning_rate, problem.layers
        self.learnt = mixed(problem, phase)
        self.watched = [batch_of(problem, name) for name in phase.thresholds]
        self.levels = np.array(list(phase.thresholds.values()), dtype=float)
        self.has_event = bool(self.watched)
        scheduled = isinstance(self.rate, Schedule)
        kinks = self.rate.breaks(float(phase.duration)) if scheduled else []
        self.breaks = sorted({begin + b for b in kinks})

    def _eta(self, t: float) -> float:
        return float(self.rate(t - self.begin) if isinstance(self.rate, Schedule) else self.rate)

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""
        return -self._eta(t) * self.layers.gradient(y, self.learnt)

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""
        return -self._eta(t) * self.layers.hessian(y, self.learnt)

    def event(self, y: Floats) -> float:
        """Largest loss of a watched task over its threshold, less one."""
        losses = np.array([self.layers.loss(y, batch) for batch in self.watched])
        return float((losses / self.levels).max()) - 1.0

    def descend(self, t: float, y: Floats, parts: int) -> Floats:
        """The state after a step of gradient descent, at that part of the learning rate."""
        # A descent that diverges overflows before it is seen to.
        with np.errstate(over="ignore", invalid="ignore"):
            return y - self._eta(t) / parts * self.layers.gradient(y, self.learnt)


def batch_of(problem: DataProblem, task: str) -> Batch:
    """All samples of a task, in equal shares."""
    x, y = problem.tasks[task].inputs, problem.tasks[task].targets
    return Batch(x, y, np.full((len(x), 1), 1.0 / len(x)))


def mixed(problem: DataProblem, phase: Phase) -> Batch:
    """The samples of all tasks of a phase, in the shares of its mixture."""
    share = {name: float(p) for name, p in phase.mixture.items()}
    total = sum(share.values())
    parts = [(batch_of(problem, name), p / total) for name, p in share.items() if p]
    return Batch(
        np.concatenate([b.x for b, _ in parts]),
        np.concatenate([b.y for b, _ in parts]),
        np.concatenate([p * b.share for b, p in parts]),
    )
