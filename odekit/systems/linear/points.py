"""How the weights of a linear network pack into the kernels' vectors, and what is read from them.

The vector holds the edges' weights, each row-major, in the order of the network's edges; the points
of a sweep come first, and a single run is a sweep of one point.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.packing import NO_RATES, many_rates, rates_of
from odekit.problem.axes import Axis, axes
from odekit.problem.points import Points, rows_of, side_by_side
from odekit.systems.linear.equations import LinearPhase
from odekit.systems.linear.rates import Rates
from odekit.systems.linear.readings import Readings
from odekit_kernels.gated import flow as gated
from odekit_kernels.gated.paths import table_size
from odekit_kernels.integrators.batch import Batch
from odekit_kernels.lanes.memory import places_of

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.linear.network import Network
    from odekit.systems.linear.problem import LinearProblem

NOTHING = np.zeros((1, 0))
COST = 0.12
"""Moments I4 that take as long as each of n x n products in a right-hand side of n weights."""


def paths_of(network: Network) -> Any:
    """The network as the kernels' index arrays."""
    edges = list(network.edges)
    steps = [[edges.index(e) for e in path] for path in network.paths.values()]
    ends = [network.ends(path)[1] for path in network.paths]
    return gated.make_paths([network.shape(e) for e in edges], steps, ends)


def start_size(problem: LinearProblem) -> int:
    """Numbers that one trajectory starts from."""
    paths = paths_of(problem.network)
    return int((paths.rows * paths.cols).sum()) + len(problem.tasks) * table_size(paths)


class LinearPoints(Points):
    """Packing of the weights of every point of a sweep.

    Parameters
    ----------
    problem : LinearProblem
    found : mapping
        Its sweep dims, from `odekit.problem.axes.axes`; may be empty.
    """

    def __init__(self, problem: LinearProblem, found: Mapping[str, Axis]) -> None:
        super().__init__(problem, found)
        self.problem = problem
        self.paths = paths_of(problem.network)
        self.readings = Readings(problem, self.values)

    def start(self) -> tuple[None, Floats]:
        """States (points, n) at time 0; nothing changes at a switch but what is learnt."""
        weights = [self.values(self.problem.weights[e], 2) for e in self.problem.network.edges]
        y = side_by_side(weights)
        return None, np.array(np.broadcast_to(y, (self.size, y.shape[1])))

    def enter(self, index: int, frame: None, y: Floats) -> tuple[None, Floats]:
        """States as a phase begins."""
        del index, frame
        return None, y

    def shown(self, frame: None) -> Any:
        """All entries of a state."""
        del frame
        return np.arange(int((self.paths.rows * self.paths.cols).sum()))

    def plan(self, phase: Phase, frame: None, stages: int = 0) -> Any:
        """Memory of a group of trajectories in a phase."""
        del frame
        some = len(phase.thresholds)
        return gated.make_plan(self.paths, some, stages, by_edge=Rates(self.problem, phase).by_edge)

    @staticmethod
    def cost(plan: Any) -> int:
        """Moments I4 of a committee that take about as long as a right-hand side."""
        return int(COST * plan.n**2) + 1

    def work(self, plan: Any) -> Any:
        """Scratch memory of one trajectory."""
        return gated.make_work(self.paths, plan.E > 0)

    def batch(self, index: int, frame: None, plan: Any, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        phase = self.problem.phases[index]
        rates = Rates(self.problem, phase)
        return Batch(
            **state,
            constants=self.constants(phase, plan),
            places=places_of(gated.constants(plan)),
            shown=self.shown(frame),
            stops=self.stops(phase),
            rate_w=rates_of(rates.common),
            rate_v=NO_RATES,
            wiring=self.paths,
            more_rates=many_rates({plan.rates + e: s for e, s in rates.schedules.items()}),
        )

    def constants(self, phase: Phase, plan: Any) -> Floats:
        """What is constant in a phase, a row for each point or one for all."""
        tables = [self.readings.table(name) for name in phase.thresholds]
        rates = Rates(self.problem, phase)
        given = {
            "table": self.readings.trained(phase),
            "rates": self.stack(rates.first, 0),
            "decays": self.stack(rates.decays, 0),
            "eta_w": self.rate(rates.common),
            "watched": side_by_side(tables or [NOTHING]),
            "level": self.levels(phase),
        }
        return rows_of(gated.constants(plan), given)

    def equations(self, index: int, frame: None, begin: float) -> LinearPhase:
        """The equations of a phase of the first point, as functions of time and state."""
        del frame
        return LinearPhase(self, self.problem.phases[index], begin)

    def errors(
        self, rows: Floats, tasks: Any = None, frame: None = None, points: Any = None
    ) -> Floats:
        """Losses (points, ..., tasks) of states (points, ..., n).

        `points` tells which points the states are of, if not all.
        """
        del frame
        whole = rows.reshape(len(rows), -1, rows.shape[-1])
        losses = self.readings.errors(whole, points)
        found = losses.reshape(*rows.shape[:-1], len(self.tasks))
        return found if tasks is None else found[..., tasks]

    def arrays(self, rows: Floats) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n); errors are asked for apart."""
        return dict(self.readings.arrays(rows))


def target_strength(problem: LinearProblem) -> Any:
    """Strengths of the modes of the targets, with the sweep dims that these have."""
    import xarray as xr

    found = axes(problem)
    parts = [v for c in problem.tasks.values() for v in (*c.yx.values(), *_inner(c.xx))]
    dims = [d for d in found if any(d in getattr(v, "dims", ()) for v in parts)]
    own = Points(problem, {d: found[d] for d in dims})
    values = Readings(problem, own.values).target_strength()
    whole = np.broadcast_to(values, (own.size, *values.shape[1:]))
    return xr.DataArray(own.fold(whole), dims=(*dims, "task", "path", "mode"))


def _inner(xx: Mapping[str, Mapping[str, Any]]) -> list[Any]:
    return [value for row in xx.values() for value in row.values()]
