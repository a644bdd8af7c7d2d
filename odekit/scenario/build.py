"""Build the problem of a scenario part by part, and go on after a mistake to find the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from odekit.base.errors import ProblemError
from odekit.drawing.figure import check_figure
from odekit.integrate import options
from odekit.problem.base import AnyProblem
from odekit.problem.phase import Consolidation, Phase
from odekit.scenario import values as scenario_values
from odekit.scenario.mistakes import Key, Mistakes
from odekit.scenario.tables import (
    ConsolidationTable,
    FigureTable,
    PhaseTable,
    ScenarioTable,
    TaskTable,
)
from odekit.scenario.values import Axes, value, vector
from odekit.systems.committee.activations import Activation
from odekit.systems.committee.problem import Problem, Task
from odekit.systems.committee.state import OrderParameters

Part = TypeVar("Part")
ALWAYS = {"readout": [0.0], "tasks": "", "duration": 1.0, "learning_rate": 0.0}
"""Stand-ins for arguments that have no default."""


class Builder:
    """Build the parts of a scenario, taking down every mistake on the way.

    Parameters
    ----------
    mistakes : Mistakes
        Those known so far; new ones are added.
    """

    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.axes: Axes = {}

    def problem(self, table: ScenarioTable) -> Problem | None:
        """The problem, or None if there is none to speak of."""
        broken = self.mistakes.broken
        state = None if ("state",) in broken else self._state(table)
        heads = {name: self._head(name, given) for name, given in table.heads.items()}
        tasks = {name: self._task(name, given) for name, given in table.tasks.items()}
        phases = [
            self.phase(i, given, next(iter(tasks), "")) for i, given in enumerate(table.phases)
        ]
        if broken & {("heads",), ("tasks",), ("phases",)}:
            return None
        if state is None:
            return self._join(*self._without_sizes(heads, tasks, phases), self._activation(table))
        return self._join(state, heads, tasks, phases, self._activation(table))

    def figure(self, table: Any, problem: AnyProblem | None) -> FigureTable | None:
        """What the picture shows, if the scenario says so."""
        if table.figure is not None and problem is not None and not self.mistakes:
            with self.collect(("figure",)):
                check_figure(table.figure, problem)
        figure: FigureTable | None = table.figure
        return figure

    def solver(self, table: Any) -> dict[str, Any]:
        """Keyword arguments of `odekit.solve`."""
        given = {k: v for k, v in vars(table.solver).items() if v is not None}
        times = given.pop("t_eval", None)
        where: Key = ("solver",)
        self._construct(options.SolverOptions, dict(given), where, {})
        if times is not None:
            with self.collect((*where, "t_eval")):
                given["t_eval"] = self._output_times(table, times)
        return given

    def _output_times(self, table: Any, given: Any) -> Any:
        times = scenario_values.output_times(given)
        lengths = [phase.duration for phase in table.phases]
        plain = [length for length in lengths if isinstance(length, float) and length > 0]
        known = len(plain) == len(lengths) and not any(
            b[0] == "phases" for b in self.mistakes.broken
        )
        total = sum(plain) if known else np.inf
        return options.output_times("", times, total)

    def _activation(self, table: ScenarioTable) -> str | Activation:
        given = table.activation
        if isinstance(given, str):
            return given
        with self.collect(("activation",)):
            return Activation.shipped(**given.model_dump(exclude_none=True))
        return "linear"

    def _state(self, table: ScenarioTable) -> OrderParameters | None:
        with self.collect(("state",)):
            return scenario_values.state(table.state, self.axes)
        return None

    def _head(self, name: str, given: Any) -> Any:
        with self.collect(("heads", name)):
            return vector(given, "student", self.axes)
        return np.ones(1)

    def _task(self, name: str, table: TaskTable) -> Task:
        where: Key = ("tasks", name)
        fields: dict[str, Any] = {"head": table.head}
        with self.collect((*where, "readout")):
            fields["readout"] = vector(table.readout, "teacher", self.axes)
        with self.collect((*where, "noise_std")):
            fields["noise_std"] = value(table.noise_std, self.axes)
        return self._construct(Task, fields, where, ALWAYS)

    def phase(self, i: int, table: PhaseTable, any_task: str) -> Phase:
        """One phase."""
        where: Key = ("phases", i)
        fields: dict[str, Any] = {}
        for name in table.model_fields_set - {"consolidation"}:
            with self.collect((*where, name)):
                fields[name] = value(getattr(table, name), self.axes)
        if (*where, "tasks") in self.mistakes.broken or fields.get("tasks") == "":
            fields["tasks"] = any_task
        if table.consolidation is not None:
            fields["consolidation"] = self._consolidation(where, table.consolidation)
        return self._construct(Phase, fields, where, {**ALWAYS, "tasks": any_task})

    def _consolidation(self, where: Key, table: ConsolidationTable) -> Consolidation:
        where = (*where, "consolidation")
        fields: dict[str, Any] = {"kind": table.kind, "task": table.task}
        with self.collect((*where, "strength")):
            fields["strength"] = value(table.strength, self.axes)
        return self._construct(Consolidation, fields, where, {"kind": "quadratic", "strength": 0.0})

    def _construct(
        self,
        kind: Callable[..., Part],
        fields: dict[str, Any],
        where: Key,
        stand_ins: dict[str, Any],
    ) -> Part:
        """Build one part; replace an argument at fault and go on, for the sake of the others."""
        for name, stand_in in stand_ins.items():
            if name not in fields and name in kind.__annotations__:
                fields[name] = stand_in
        while True:
            try:
                return kind(**fields)
            except ProblemError as error:
                name = str(self.mistakes.blame(error, where)[len(where)])
                self.mistakes.broken.add((*where, name))
                if name in stand_ins:
                    fields[name] = stand_ins[name]
                elif fields.pop(name, None) is None:
                    raise

    def _join(
        self,
        state: OrderParameters,
        heads: dict[str, Any],
        tasks: dict[str, Task],
        phases: list[Phase],
        activation: str | Activation,
    ) -> Problem | None:
        """The parts together; each check that fails is noted and its argument replaced."""
        parts: dict[str, Any] = {
            "state": state,
            "heads": heads,
            "tasks": tasks,
            "phases": phases,
            "activation": activation,
        }
        for _ in range(8 + 8 * len(phases) + 4 * len(tasks) + len(heads)):
            try:
                return Problem(**parts)
            except ProblemError as error:
                key = self.mistakes.blame(error, ())
                if not _replace(parts, key):
                    return None
        return None

    def _without_sizes(
        self, heads: dict[str, Any], tasks: dict[str, Task], phases: list[Phase]
    ) -> tuple[OrderParameters, dict[str, Any], dict[str, Task], list[Phase]]:
        """Parts of one unit each: without a state only names can be checked."""
        return (
            OrderParameters(Q=[[1.0]], R=[[0.0]], T=[[1.0]]),
            dict.fromkeys(heads, np.ones(1)),
            {name: replace(task, readout=np.zeros(1)) for name, task in tasks.items()},
            [replace(phase, frozen=None) for phase in phases],
        )

    @contextmanager
    def collect(self, where: Key) -> Iterator[None]:
        """Note a mistake below a key and go on."""
        try:
            yield
        except ProblemError as error:
            self.mistakes.blame(error, where)
            self.mistakes.broken.add(where)


def _replace(parts: dict[str, Any], key: Key) -> bool:
    """Put something harmless in the place of an argument at fault; whether that could be done."""
    any_head, any_task = next(iter(parts["heads"]), ""), next(iter(parts["tasks"]), "")
    state = parts["state"]
    match key:
        case ("activation",):
            parts["activation"] = "linear"
        case ("heads", str(name)) if name in parts["heads"]:
            parts["heads"][name] = np.ones(state.student)
        case ("tasks", str(name), "readout"):
            parts["tasks"][name] = replace(parts["tasks"][name], readout=np.zeros(state.teacher))
        case ("tasks", str(name), "head"):
            parts["tasks"][name] = replace(parts["tasks"][name], head=any_head)
        case ("phases", int(i), "gradient_flow"):
            parts["phases"][i] = replace(parts["phases"][i], gradient_flow=True)
        case ("phases", int(i), "tasks"):
            parts["phases"][i] = replace(parts["phases"][i], tasks=any_task)
        case ("phases", int(i), str(name), *_) if name in _OPTIONAL:
            parts["phases"][i] = replace(parts["phases"][i], **{name: None})
        case _:
            return False
    return True


_OPTIONAL = ("until", "copy_heads", "frozen", "consolidation")
