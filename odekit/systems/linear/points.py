"""How the weights of a linear network pack into the kernels' vectors, and what is read from them.

The vector holds the edges' weights, each row-major, in the order of the network's edges; the points
of a sweep come first, and a single run is a sweep of one point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.packing import driven, drives_of
from odekit.problem.axes import Axis, at, axes
from odekit.problem.points import Points, one_of, rows_of, side_by_side
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
PRODUCTS, NUMBERS = 0.02, 0.1
"""Moments I4 of a committee that take as long as a multiplication, and as the other work on each
weight: some 0.1 and 0.5 ns of eight trajectories at once."""
SMALL, LARGEST = 64, 500
"""Weights up to which an implicit step takes about as long as for committees, and up to which there
are any: a change to them inverts an n x n matrix for every trajectory."""


def multiplications(paths: Any) -> int:
    """Multiplications of a right-hand side: along every path, and of its residual."""
    rows, cols = paths.rows[paths.edge], paths.cols[paths.edge]
    inputs = np.repeat(paths.inputs, np.diff(paths.first))
    outputs = paths.rows[paths.edge[paths.first[1:] - 1]]
    pairs = np.where(paths.xx >= 0, np.multiply.outer(paths.inputs, paths.inputs), 0).sum(axis=0)
    inner = paths.below >= 0  # all edges of a path but the first
    return int(3 * (rows * cols * inputs)[inner].sum() + (outputs * pairs).sum())


def cost_of(paths: Any) -> int:
    """Moments I4 of a committee that take about as long as a right-hand side."""
    weights = int((paths.rows * paths.cols).sum())
    return int(PRODUCTS * multiplications(paths) + NUMBERS * weights) + 1


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

    def cost(self, plan: Any) -> int:
        """Moments I4 of a committee that take about as long as a right-hand side."""
        del plan
        return cost_of(self.paths)

    def patience(self, plan: Any) -> float:
        """How much more an implicit step must save than one of a small system."""
        n = plan.n
        if n <= SMALL:
            return 1.0
        if n > LARGEST:
            return math.inf
        products = multiplications(self.paths)
        implicit, explicit = 2 * n**3 + 24 * n * products, 6 * products + 50 * n
        return max(1.0, 0.25 * float(implicit / explicit))

    def work(self, plan: Any) -> Any:
        """Scratch memory of one trajectory."""
        return gated.make_work(self.paths, plan.E > 0)

    def batch(self, index: int, frame: None, plan: Any, **state: Any) -> Batch:
        """The kernels' arguments for a phase."""
        phase = self.problem.phases[index]
        rates = Rates(self.problem, phase)
        moving = {"rates": rates.of_edges, "eta_w": [rates.common]}
        return Batch(
            **state,
            constants=self.constants(phase, plan),
            places=places_of(gated.constants(plan)),
            shown=self.shown(frame),
            stops=self.stops(phase),
            wiring=self.paths,
            driven=driven(drives_of(gated.constants(plan), moving)),
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

    def each(self, index: int, frame: None, begin: float) -> Iterator[LinearPhase]:
        """The equations of a phase at every point."""
        phase = self.problem.phases[index]
        single = at(self.problem, dict.fromkeys(self.dims, 0))
        first = LinearPoints(single, {}).equations(index, frame, begin)
        table, own = self.readings.trained(phase), Rates(self.problem, phase)
        rates, decays = self.stack(own.first, 0), self.stack(own.decays, 0)
        for i, (common,) in enumerate(self.each_rate([own.common])):
            yield first.at_point(one_of(table, i), common, one_of(rates, i), one_of(decays, i))

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

    def arrays(self, rows: Floats, points: Any = None) -> dict[str, Any]:
        """Variables by name, from rows (points, times, n); errors are asked for apart.

        `points` tells which points the rows are of, if not all.
        """
        return dict(self.readings.arrays(rows, points))


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
