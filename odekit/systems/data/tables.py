"""Scenarios of networks on data: ``system = "data"``, and the tables of `odekit.DataProblem`."""

from __future__ import annotations

from typing import Any, Literal

from odekit.base.errors import ProblemError
from odekit.drawing.figure import FigureTable
from odekit.scenario.build import Builder
from odekit.scenario.tables import FORMS, TABLES, Number, PhaseTable, Shape, Solver, Table
from odekit.scenario.values import matrix, value, within
from odekit.systems.data.initial import nodes, normal
from odekit.systems.data.problem import DataProblem, Samples


class NormalTable(Table):
    """Arguments of `odekit.data.normal`."""

    widths: list[int]
    scale: Number
    seed: int
    draws: int | None = None


class WeightsTable(Table):
    """How the weights are drawn, or their values by layer."""

    normal: NormalTable | None = None
    given: dict[str, list[list[Number]]] | None = None


class SamplesTable(Table):
    """The data of one task."""

    inputs: list[list[float]]
    targets: list[list[float]]


class DataTable(Table):
    """The whole file."""

    system: Literal["data"]
    title: str = ""
    description: str = ""
    references: list[str] = []
    activation: str = "relu"
    keep: list[str] | None = None
    weights: WeightsTable
    tasks: dict[str, SamplesTable]
    phases: list[PhaseTable]
    solver: Solver = Solver()
    figure: FigureTable | None = None


SHAPE = Shape(DataTable, FORMS, TABLES, sections={}, items={})


class DataBuilder(Builder):
    """Builds a problem on data part by part."""

    def problem(self, table: Any) -> Any:
        """The problem, or None if there is none to speak of."""
        weights = None
        with self.collect(("weights",)):
            weights = _weights(table.weights, self.axes)
        tasks = {name: Samples(t.inputs, t.targets) for name, t in table.tasks.items()}
        names = next(iter(table.tasks), "")
        phases = [self.phase(i, given, names) for i, given in enumerate(table.phases)]
        if weights is None:
            return None
        try:
            return DataProblem(weights, tasks, phases, table.activation, table.keep)
        except ProblemError as error:
            self.mistakes.blame(error, ())
            return None


def _weights(table: WeightsTable, axes: Any) -> Any:
    if (table.normal is None) == (table.given is None):
        what = "neither" if table.normal is None else "both"
        raise ProblemError("", "must have one of normal, given", what, "")
    if table.normal is not None:
        with within("normal"):
            return normal(**{field: value(v, axes) for field, v in vars(table.normal).items()})
    given = table.given or {}
    ends = nodes(len(given))
    return {
        name: matrix(name, rows, (ends[i + 1], ends[i]), axes)
        for i, (name, rows) in enumerate(given.items())
    }
