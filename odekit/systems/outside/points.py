"""How the state and the parameters of a declared system pack into the kernels' vectors.

The state holds its variables in the order of the declaration, each row-major; the points of a sweep
come first, and a single run is a sweep of one point.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.base.text import complaint
from odekit.integrate.packing import driven, drives_of
from odekit.problem.axes import Axis
from odekit.problem.points import Points, of_some, one_of, rows_of, side_by_side
from odekit.systems.outside.equations import DeclaredEquations
from odekit.systems.outside.plain import refuse_without_code
from odekit.systems.outside.probe import layouts
from odekit_kernels.integrators.batch import Batch
from odekit_kernels.lanes.memory import places_of
from odekit_kernels.outside import flow as outside
from odekit_kernels.outside.functions import carry

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.outside.problem import DeclaredProblem

SMALL = 10
"""Moments I4 of a committee that take as long as a call of a small function, some 50 ns."""


class DeclaredPoints(Points):
    """Packing of every point of a sweep.

    Parameters
    ----------
    problem : DeclaredProblem
    found : mapping
        Its sweep dims, from `odekit.problem.axes.axes`; may be empty.
    """

    def __init__(self, problem: DeclaredProblem, found: Mapping[str, Axis]) -> None:
        refuse_without_code(problem)
        super().__init__(problem, found)
        self.problem, self.own = problem, problem.declaration
        self.state, self.given = layouts(problem)
        self.n = self.state.itemsize // 8
        self.functions = tuple(
            _carried(what, getattr(self.own, what), self.state, self.given)
            for what in ("rhs", "error", "jacobian")
        )
        tables = [self.table(task) for task in self.tasks]
        size = max(len(table) for table in tables)
        self.tables = np.stack([np.broadcast_to(t, (size, t.shape[1])) for t in tables], axis=1)

    def table(self, task: str, phase: Phase | None = None) -> Floats:
        """Parameters of a task, in a phase, (points or 1, P)."""
        values = self.problem.values_of(task, phase)
        dims = self.own.parameters
        parts = [self.values(value, len(dims[name])) for name, value in values.items()]
        return side_by_side(parts) if parts else np.zeros((1, 0))

    def start(self) -> tuple[None, Floats]:
        """States (points, n) at time 0."""
        y = side_by_side(
            [self.values(self.problem.state[v], len(dims)) for v, dims in self.own.state.items()]
        )
        return None, np.array(np.broadcast_to(y, (self.size, self.n)))

    def enter(self, index: int, frame: None, y: Floats) -> tuple[None, Floats]:
        """States as a phase begins."""
        del index, frame
        return None, y

    def shown(self, frame: None) -> Any:
        """All entries of a state."""
        del frame
        return np.arange(self.n)

    def plan(self, phase: Phase, frame: None = None, stages: int = 0) -> Any:
        """Memory of a group of trajectories in a phase."""
        del frame
        P = self.tables.shape[-1]
        many = len(phase.mixture), len(phase.thresholds)
        return outside.make_plan(self.n, P, self.functions, *many, stages)

    @staticmethod
    def cost(plan: Any) -> int:
        """Moments I4 of a committee that take about as long as a right-hand side."""
        return int(plan.S * (SMALL + plan.n * plan.n // 5))

    def work(self, plan: Any) -> Any:
        """Scratch memory of one trajectory."""
        return outside.make_work(plan)

    def batch(self, index: int, frame: None, plan: Any, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        phase = self.problem.phases[index]
        moving = {"eta_w": [phase.learning_rate], "eta_v": [phase.readout_learning_rate]}
        return Batch(
            **state,
            constants=self.constants(phase, plan),
            places=places_of(outside.constants(plan)),
            shown=self.shown(frame),
            stops=self.stops(phase),
            wiring=outside.Wiring(np.zeros(0)),
            driven=driven(drives_of(outside.constants(plan), moving)),
        )

    def constants(self, phase: Phase, plan: Any) -> Floats:
        """What is constant in a phase, a row for each point or one for all."""
        share = self.stack(list(phase.mixture.values()), 0)
        watched = [self.table(name) for name in phase.thresholds]
        given = {
            "share": share / share.sum(axis=1, keepdims=True),
            "parameters": side_by_side([self.table(task, phase) for task in phase.mixture]),
            "eta_w": self.rate(phase.learning_rate),
            "eta_v": self.rate(phase.readout_learning_rate),
            "watched": side_by_side(watched) if watched else np.zeros((1, 0)),
            "level": self.levels(phase),
        }
        return rows_of(outside.constants(plan), given)

    def equations(self, index: int, frame: None, begin: float) -> DeclaredEquations:
        """The equations of a phase of the first point, as functions of time and state."""
        del frame
        return DeclaredEquations(self, self.problem.phases[index], begin)

    def each(self, index: int, frame: None, begin: float) -> Iterator[DeclaredEquations]:
        """The equations of a phase at every point."""
        phase, first = self.problem.phases[index], self.equations(index, frame, begin)
        rows = self.constants(phase, self.plan(phase))
        for i, rates in enumerate(self.each_rate(phase.rates)):
            yield first.at_point(one_of(rows, i), rates)

    def errors(
        self, rows: Floats, tasks: Any = None, frame: None = None, points: Any = None
    ) -> Floats:
        """Errors (points, ..., tasks) of states (points, ..., n).

        `points` tells which points the states are of, if not all.
        """
        del frame
        whole = np.ascontiguousarray(rows.reshape(len(rows), -1, self.n))
        own = of_some(self.tables, points)
        plan = self.plan(self.problem.phases[0])
        found = np.empty((*whole.shape[:2], len(self.tasks)))
        outside.errors_of_rows(np.zeros(plan.size), plan, whole, np.ascontiguousarray(own), found)
        found = found.reshape(*rows.shape[:-1], len(self.tasks))
        return found if tasks is None else found[..., tasks]

    def arrays(self, rows: Floats, points: Any = None) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n); errors are asked for apart."""
        del points
        found = {}
        for name in self.own.state:
            kind, first = self.state.fields[name][:2]
            part = rows[..., first // 8 : first // 8 + kind.itemsize // 8]
            found[name] = part.reshape(*rows.shape[:-1], *kind.shape)
        return found


def _carried(what: str, function: Any, state: Any, given: Any) -> int:
    """A function compiled; numba's complaint in one line where it cannot be."""
    from numba.core.errors import NumbaError

    try:
        return carry(function, what, state, given)
    except NumbaError as error:
        raise ProblemError(
            what,
            "must be plain arithmetic that numba compiles",
            complaint(error),
            "Loops, branches, and numpy's and math's functions of numbers.",
        ) from error
