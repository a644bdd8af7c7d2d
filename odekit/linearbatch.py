"""How the points of a sweep of linear networks pack into the arrays of the batch kernels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.batch import NO_RATES, Points, joined, rates_of
from odekit.linearlayout import Readings, paths_of
from odekit.sweep import Axis
from odekit_kernels import gated
from odekit_kernels.lanes.batch import Batch

if TYPE_CHECKING:
    from odekit.linear import LinearProblem
    from odekit.problem import Phase

Floats = np.ndarray[Any, np.dtype[np.float64]]

COST = 0.12
"""Moments I4 that take as long as each of n x n products in a right-hand side of n weights."""


class LinearBatch(Points):
    """Packing of the weights of every point of a sweep.

    Parameters
    ----------
    problem : LinearProblem
    found : dict
        Its sweep dims, from `odekit.sweep.axes`; may be empty.
    """

    def __init__(self, problem: LinearProblem, found: dict[str, Axis]) -> None:
        super().__init__(problem, found)
        self.problem = problem
        self.paths = paths_of(problem.network)
        self.readings = Readings(problem, self.numbers)

    def start(self) -> tuple[None, Floats]:
        """States (points, n) at time 0."""
        weights = [self.numbers(self.problem.weights[e], 2) for e in self.problem.network.edges]
        y = joined(weights)
        return None, np.array(np.broadcast_to(y, (self.size, y.shape[1])))

    def enter(self, index: int, frame: None, y: Floats) -> tuple[None, Floats]:
        """States as a phase begins."""
        del index, frame
        return None, y

    def shown(self, frame: None) -> Any:
        """All entries of a state."""
        del frame
        return np.arange(int((self.paths.rows * self.paths.cols).sum()))

    def plan(self, index: int, frame: None, stages: int) -> Any:
        """Memory of a group of trajectories in a phase."""
        del frame
        return gated.make_plan(self.paths, len(self.problem.phases[index].thresholds), stages)

    @staticmethod
    def cost(plan: Any) -> int:
        """Moments I4 of a committee that take about as long as a right-hand side."""
        return int(COST * plan.n**2) + 1

    def work(self, plan: Any) -> Any:
        """Scratch memory of one trajectory."""
        del plan
        return gated.make_work(self.paths)

    def batch(self, index: int, frame: None, plan: Any, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        del frame
        phase = self.problem.phases[index]
        return Batch(
            **state,
            constants=self._constants(phase),
            places=gated.constant_places(plan),
            shown=self.shown(None),
            stops=self.stops(phase),
            rate_w=rates_of(phase.learning_rate),
            rate_v=NO_RATES,
            wiring=self.paths,
        )

    def _constants(self, phase: Phase) -> Floats:
        """Rows in the order of `gated.constant_places`."""
        watched = [self.readings.table(name) for name in phase.thresholds]
        rate, levels = self.rate(phase.learning_rate), self.thresholds(phase)[1]
        return joined([self.readings.trained(phase), rate, *watched, levels])

    def errors(self, rows: Floats, tasks: Any = None, frame: None = None) -> Floats:
        """Losses (points, ..., tasks) of states (points, ..., n)."""
        del frame
        whole = rows.reshape(len(rows), -1, rows.shape[-1])
        found = self.readings.errors(whole).reshape(*rows.shape[:-1], len(self.tasks))
        return found if tasks is None else found[..., tasks]

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Variables of the dataset by name, from rows (points, times, n)."""
        return dict(self.readings.arrays(rows))
