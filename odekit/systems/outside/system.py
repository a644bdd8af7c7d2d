"""Declared systems, as the rest of the library sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ScenarioError
from odekit.problem.system import Block, Finding, System

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from odekit.dataset.variable import Variable
    from odekit.problem.axes import Axis
    from odekit.problem.plain import Apart
    from odekit.systems.outside.problem import DeclaredProblem

MOST = 64
"""Most numbers of a state in lanes, whose implicit steps invert n x n matrices in each."""


class Outside(System):
    """A system that a user declared; all there is to know of it is in its problems."""

    kind = "outside"

    def __init__(self, title: str = "", references: str = "") -> None:
        self.title, self.references = title, references

    def write(self, problem: DeclaredProblem, apart: Apart | None) -> dict[str, Any]:
        """The problem as plain data; large arrays may be kept apart."""
        from odekit.systems.outside.plain import write

        return write(problem, apart)

    def read(self, data: Mapping[str, Any], own: Any) -> DeclaredProblem:
        """Rebuild, and check, a problem."""
        from odekit.systems.outside.plain import read

        return read(data, own)

    def variables(self, outline: Mapping[str, Any]) -> Mapping[str, Variable]:
        """Every variable of a dataset by name."""
        from odekit.systems.outside.variables import variables

        return variables(outline["declaration"])

    def sizes(self, problem: DeclaredProblem) -> dict[str, int]:
        """Length of every dim of the dataset but those of time, phases and a sweep."""
        return {**problem.lengths, "task": len(problem.tasks)}

    def labels(self, problem: DeclaredProblem) -> dict[str, list[str]]:
        """Coordinates that are names."""
        return {"task": list(problem.tasks)}

    def points(self, problem: DeclaredProblem, found: Mapping[str, Axis]) -> Any:
        """The packing of all points of a sweep."""
        from odekit.systems.outside.points import DeclaredPoints

        return DeclaredPoints(problem, found)

    def layout(self, problem: DeclaredProblem, points: Any, frame: Any) -> Mapping[str, Block]:
        """Where the declared variables stand in a flat state."""
        del problem, frame
        every = points.arrays(np.arange(points.n, dtype=float)[np.newaxis])
        return {
            name: Block(tuple(dims), np.asarray(every[name][0]).astype(np.int64))
            for name, dims in points.own.state.items()
        }

    def in_lanes(self, problem: DeclaredProblem) -> bool:
        """Whether the state is small."""
        return problem.count <= MOST

    def cost(self, problem: DeclaredProblem) -> int:
        """Moments I4 of a committee that take as long as a right-hand side, as far as one knows."""
        from odekit.systems.outside.points import SMALL

        n = problem.count
        return max(len(phase.mixture) for phase in problem.phases) * (SMALL + n * n // 5)

    def start_size(self, problem: DeclaredProblem) -> int:
        """Numbers that one trajectory starts from."""
        from odekit.systems.outside.probe import layouts

        state, given = layouts(problem)
        return int(state.itemsize + len(problem.tasks) * given.itemsize) // 8

    def words(self, problem: DeclaredProblem) -> Iterator[str]:
        """The problem in a few lines."""
        from odekit.systems.outside.words import words

        return words(problem)

    def final_words(self, ds: xr.Dataset) -> Iterator[str]:
        """The last row of a run, errors excepted."""
        from odekit.systems.outside.words import final_words

        return final_words(ds)

    def panels(self, ds: xr.Dataset, time: str) -> Figure:
        """The course of one run over time."""
        from odekit.systems.outside import panels

        return panels.run(ds, time)

    def laws(self, ds: xr.Dataset, problem: DeclaredProblem, tolerance: float) -> Iterator[Finding]:
        """What must hold in any one result."""
        from odekit.systems.outside.laws import laws

        return laws(ds, problem, tolerance)

    def conserved(self, ds: xr.Dataset, problem: DeclaredProblem) -> xr.Dataset:
        """Conserved quantities of a run, their drifts and sizes."""
        from odekit.systems.outside.laws import conserved

        return conserved(ds, problem)

    def scenario(self, raw: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """No scenario names functions: declared systems run from Python."""
        del raw
        rule = "must be 'committee', 'linear' or 'data': declared systems run from Python"
        raise ScenarioError([("system", f"{rule}, got 'outside'")])
