"""Networks on given data, as the rest of the library sees them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from odekit.base.errors import ProblemError
from odekit.problem.system import Finding, Measured, System
from odekit.systems.data.activations import UNITS

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from odekit.dataset.variable import Variable
    from odekit.problem.axes import Axis
    from odekit.problem.plain import Apart
    from odekit.systems.data.problem import DataProblem

PER_PRODUCT = 64
"""Multiplications of a gradient that take as long as a moment I4, 5 ns."""


class Data(System):
    """Networks of nonlinear units on given samples."""

    kind = "data"
    title = "Full-batch gradient descent of a network on data"
    references = "Jarvis, Klein, Rosman & Saxe 2025, arXiv:2409.17981"
    descends = True

    def write(self, problem: DataProblem, apart: Apart | None) -> dict[str, Any]:
        """The problem as plain data; large arrays may be kept apart."""
        from odekit.systems.data.plain import write

        return write(problem, apart)

    def read(self, data: Mapping[str, Any], own: Any) -> DataProblem:
        """Rebuild, and check, a problem."""
        from odekit.systems.data.plain import read

        return read(data, own)

    def variables(self, outline: Mapping[str, Any]) -> Mapping[str, Variable]:
        """Every variable of a dataset by name."""
        from odekit.systems.data.variables import variables

        return variables(outline["widths"])

    def sizes(self, problem: DataProblem) -> dict[str, int]:
        """Length of every dim of the dataset but those of time, phases and a sweep."""
        from odekit.systems.data.initial import nodes

        units = dict(zip(nodes(len(problem.weights)), problem.widths, strict=True))
        counted = {"task": len(problem.tasks), "sample": problem.most_samples}
        return {**units, **counted, "layer": len(problem.weights)}

    def labels(self, problem: DataProblem) -> dict[str, list[str]]:
        """Coordinates that are names."""
        return {"task": list(problem.tasks), "layer": list(problem.weights)}

    def absent(self, problem: DataProblem) -> set[str]:
        """What the problem says that rows need not hold."""
        without = {"weights": set(problem.weights), "answers": {"answer"}}
        return {
            name for what, names in without.items() if what not in problem.kept for name in names
        }

    def points(self, problem: DataProblem, found: Mapping[str, Axis]) -> Any:
        """The packing of all points of a sweep."""
        from odekit.systems.data.points import DataPoints

        return DataPoints(problem, found)

    def check_flow(self, problem: DataProblem) -> None:
        """Refuse units with a kink: samples come to it, and stay, where no derivative is."""
        if UNITS[problem.activation].kinked:
            remedy = "`odekit.descend` takes steps; steps_per_unit=10 makes them smaller."
            rule = "must be smooth for its gradient flow to be followed"
            raise ProblemError("activation", rule, repr(problem.activation), remedy)

    def in_lanes(self, problem: DataProblem) -> bool:
        """Its products are BLAS's: networks go one by one."""
        del problem
        return False

    def cost(self, problem: DataProblem) -> int:
        """Moments I4 of a committee that take as long as a right-hand side."""
        samples = sum(len(task.inputs) for task in problem.tasks.values())
        return int(samples * problem.layers.size // PER_PRODUCT) + 1

    def start_size(self, problem: DataProblem) -> int:
        """Numbers that one trajectory starts from."""
        return int(problem.layers.size)

    def words(self, problem: DataProblem) -> Iterator[str]:
        """The problem in a few lines."""
        from odekit.systems.data.words import words

        return words(problem)

    def final_words(self, ds: xr.Dataset) -> Iterator[str]:
        """The last row of a run, errors excepted."""
        from odekit.systems.data.words import final_words

        return final_words(ds)

    def panels(self, ds: xr.Dataset, time: str) -> Figure:
        """The course of one run over time."""
        from odekit.systems.data import panels

        return panels.run(ds, time)

    def measures(self) -> Mapping[str, Measured]:
        """Measures and variables that figures may show besides the errors."""
        from odekit.systems.data.measures import MEASURES

        return MEASURES

    def laws(self, ds: xr.Dataset, problem: DataProblem, tolerance: float) -> Iterator[Finding]:
        """What must hold in any one result."""
        from odekit.systems.data.laws import laws

        return laws(ds, problem, tolerance)

    def conserved(self, ds: xr.Dataset, problem: DataProblem) -> xr.Dataset:
        """Conserved quantities of a run, their drifts and sizes."""
        from odekit.systems.data.measures import unit_imbalance

        return unit_imbalance(ds, problem)

    def scenario(self, raw: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Tables of a scenario, what builds its problem, and the mistakes so far."""
        from odekit.scenario.mistakes import validate_whole
        from odekit.systems.data import tables

        table, mistakes = validate_whole(dict(raw), tables.SHAPE)
        return table, tables.DataBuilder(mistakes), mistakes
