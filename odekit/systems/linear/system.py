"""Linear networks, as the rest of the library sees them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.problem.system import Block, Finding, Measured, System

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from odekit.dataset.variable import Variable
    from odekit.problem.axes import Axis
    from odekit.problem.plain import Apart
    from odekit.systems.linear.problem import LinearProblem

MOST = 10**6
"""Most numbers that a trajectory in lanes starts from: eight take 1 GB in each thread then."""


class Linear(System):
    """Gated deep linear networks."""

    kind = "linear"
    title = "Gradient flow of a linear network"
    descends = True
    references = (
        "Saxe, McClelland & Ganguli 2014, arXiv:1312.6120; "
        "Saxe, Sodhani & Lewallen 2022, arXiv:2207.10430"
    )

    def write(self, problem: LinearProblem, apart: Apart | None) -> dict[str, Any]:
        """The problem as plain data; large arrays may be kept apart."""
        from odekit.systems.linear.plain import write

        return write(problem, apart)

    def read(self, data: Mapping[str, Any], own: Any) -> LinearProblem:
        """Rebuild, and check, a problem."""
        from odekit.systems.linear.plain import read

        return read(data, own)

    def variables(self, outline: Mapping[str, Any]) -> Mapping[str, Variable]:
        """Every variable of a dataset by name."""
        from odekit.systems.linear.variables import variables

        return variables(outline["network"])

    def sizes(self, problem: LinearProblem) -> dict[str, int]:
        """Length of every dim of the dataset but those of time, phases and a sweep."""
        network = problem.network
        modes = max(min(network.nodes[n] for n in network.ends(p)) for p in network.paths)
        found = {"task": len(problem.tasks), "path": len(network.paths), "mode": modes}
        return {**network.nodes, **found}

    def labels(self, problem: LinearProblem) -> dict[str, list[str]]:
        """Coordinates that are names."""
        return {"task": list(problem.tasks), "path": list(problem.network.paths)}

    def constants(self, problem: LinearProblem) -> dict[str, Any]:
        """Strengths of the target's modes."""
        from odekit.systems.linear.points import target_strength

        return {"target_strength": target_strength(problem)}

    def points(self, problem: LinearProblem, found: Mapping[str, Axis]) -> Any:
        """The packing of all points of a sweep."""
        from odekit.systems.linear.points import LinearPoints

        return LinearPoints(problem, found)

    def layout(self, problem: LinearProblem, points: Any, frame: Any) -> Mapping[str, Block]:
        """Where the weights of every edge stand in a flat state."""
        del points, frame
        network, found, first = problem.network, {}, 0
        for name, (start, end) in network.edges.items():
            shape = network.shape(name)
            places = first + np.arange(math.prod(shape)).reshape(shape)
            found[name], first = Block((end, start), places), first + places.size
        return found

    def in_lanes(self, problem: LinearProblem) -> bool:
        """Whether eight trajectories fit into memory."""
        return self.start_size(problem) <= MOST

    def cost(self, problem: LinearProblem) -> int:
        """Moments I4 of a committee that take as long as a right-hand side."""
        from odekit.systems.linear.points import cost_of, paths_of

        return cost_of(paths_of(problem.network))

    def start_size(self, problem: LinearProblem) -> int:
        """Numbers that one trajectory starts from."""
        from odekit.systems.linear.points import start_size

        return start_size(problem)

    def words(self, problem: LinearProblem) -> Iterator[str]:
        """The problem in a few lines."""
        from odekit.systems.linear.words import words

        return words(problem)

    def toml(self, problem: LinearProblem) -> str:
        """The problem as a scenario's text."""
        from odekit.scenario.write import scenario_text
        from odekit.systems.linear.plain import written

        return scenario_text(written(problem), problem.core_dims)

    def final_words(self, ds: xr.Dataset) -> Iterator[str]:
        """The last row of a run, errors excepted."""
        from odekit.systems.linear.words import final_words

        return final_words(ds)

    def panels(self, ds: xr.Dataset, time: str) -> Figure:
        """The course of one run over time."""
        from odekit.systems.linear import panels

        return panels.run(ds, time)

    def measures(self) -> Mapping[str, Measured]:
        """Measures and variables that figures may show besides the errors."""
        from odekit.systems.linear.measures import MEASURES

        return MEASURES

    def laws(self, ds: xr.Dataset, problem: LinearProblem, tolerance: float) -> Iterator[Finding]:
        """What must hold in any one result."""
        from odekit.systems.linear.laws import laws

        return laws(ds, problem, tolerance)

    def conserved(self, ds: xr.Dataset, problem: LinearProblem) -> xr.Dataset:
        """Conserved quantities of a run, their drifts and sizes."""
        from odekit.systems.linear.conserved import conserved_layers

        del problem  # the dataset says it all

        return conserved_layers(ds)

    def scenario(self, raw: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Tables of a scenario, what builds its problem, and the mistakes so far."""
        from odekit.scenario.mistakes import validate_whole
        from odekit.systems.linear import tables

        table, mistakes = validate_whole(dict(raw), tables.SHAPE)
        return table, tables.LinearBuilder(mistakes), mistakes
