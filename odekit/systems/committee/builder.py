"""Build the problem of a committee's scenario."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.problem.phase import Phase
from odekit.scenario.build import Builder
from odekit.scenario.mistakes import Key
from odekit.scenario.values import value, vector
from odekit.systems.committee.activations import Activation
from odekit.systems.committee.groups import fractions
from odekit.systems.committee.plain import OWN
from odekit.systems.committee.problem import SELDOM, WHITE, Problem, Task
from odekit.systems.committee.state import OrderParameters
from odekit.systems.committee.tables import ScenarioTable, TaskTable
from odekit.systems.committee.values import of_outputs
from odekit.systems.committee.values import state as initial_state


class CommitteeBuilder(Builder):
    """Build a committee part by part, and go on after a mistake to find the others."""

    units = "student"

    def problem(self, table: ScenarioTable) -> Problem | None:
        """The problem, or None if there is none to speak of."""
        broken = self.mistakes.broken
        groups = self._groups(table)
        state = None if ("state",) in broken else self._state(table, groups)
        heads = {name: self._head(name, given) for name, given in table.heads.items()}
        tasks = {name: self._task(name, given) for name, given in table.tasks.items()}
        phases = [
            self.phase(i, given, next(iter(tasks), "")) for i, given in enumerate(table.phases)
        ]
        if broken & {("heads",), ("tasks",), ("phases",)}:
            return None
        if state is None:
            return self._join(*self._without_sizes(heads, tasks, phases), self._activation(table))
        rest = (self._activation(table), groups, table.teacher_activation)
        return self._join(state, heads, tasks, phases, *rest, **self._own(table))

    def _own(self, table: ScenarioTable) -> dict[str, Any]:
        """Numbers of the problem that few scenarios have."""
        found = {}
        dims = {"biases": "student", "teacher_biases": "teacher", "test_scale": "student"}
        for name, dim in dims.items():
            with self.collect((name,)):
                found[name] = vector(getattr(table, name), dim, self.axes)
        return found

    def _groups(self, table: ScenarioTable) -> Any:
        """Fractions of the groups of inputs, or None."""
        if table.groups is None:
            return None
        with self.collect(("groups",)):
            return fractions("", value(table.groups, self.axes))
        return {name: 1.0 / len(table.groups) for name in table.groups} or None

    def _activation(self, table: ScenarioTable) -> str | Activation:
        given = table.activation
        if isinstance(given, str):
            return given
        with self.collect(("activation",)):
            return Activation.shipped(**given.model_dump(exclude_none=True))
        return "linear"

    def _state(self, table: ScenarioTable, groups: Any) -> OrderParameters | None:
        with self.collect(("state",)):
            return initial_state(table.state, self.axes, groups)
        return None

    def _head(self, name: str, given: Any) -> Any:
        with self.collect(("heads", name)):
            return of_outputs(given, "student", self.axes)
        return np.ones(1)

    def _task(self, name: str, table: TaskTable) -> Task:
        where: Key = ("tasks", name)
        fields: dict[str, Any] = {"head": table.head}
        with self.collect((*where, "readout")):
            fields["readout"] = of_outputs(table.readout, "teacher", self.axes)
        for name, core in (("noise_std", "output"), ("label", "output"), ("input_mean", "teacher")):
            with self.collect((*where, name)):
                fields[name] = vector(getattr(table, name), core, self.axes)
        for name in WHITE:
            if getattr(table, name) is not None:
                with self.collect((*where, name)):
                    fields[name] = value(getattr(table, name), self.axes)
        return self.construct(Task, fields, where, {"readout": [0.0]})

    def _join(
        self,
        state: OrderParameters,
        heads: dict[str, Any],
        tasks: dict[str, Task],
        phases: list[Phase],
        activation: str | Activation,
        groups: Any = None,
        teacher_activation: str | None = None,
        **own: Any,
    ) -> Problem | None:
        """The parts together; each check that fails is noted and its argument replaced."""
        parts: dict[str, Any] = {
            "state": state,
            "heads": heads,
            "tasks": tasks,
            "phases": phases,
            "activation": activation,
            "groups": groups,
            "teacher_activation": teacher_activation,
            **own,
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
        any_of_units: dict[str, Any] = {**OF_UNITS, "input_variance": None}
        return (
            OrderParameters(Q=[[1.0]], R=[[0.0]], T=[[1.0]]),
            dict.fromkeys(heads, np.ones(1)),
            {n: replace(t, readout=np.zeros(1), **OF_SIZES) for n, t in tasks.items()},
            [
                replace(phase, learning_rate=phase.common_rates[0], **any_of_units)
                for phase in phases
            ],
        )


def _replace(parts: dict[str, Any], key: Key) -> bool:
    """Put something harmless in the place of an argument at fault; whether that could be done."""
    any_head, any_task = next(iter(parts["heads"]), ""), next(iter(parts["tasks"]), "")
    state = parts["state"]
    match key:
        case ("activation",):
            parts["activation"] = "linear"
        case ("teacher_activation",):
            parts["teacher_activation"] = None
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
        case ("tasks", str(name), str(view), *_) if view in OF_SIZES:
            parts["tasks"][name] = replace(parts["tasks"][name], **{view: OF_SIZES[view]})
        case ("phases", int(i), "learning_rate", *_):
            phase = parts["phases"][i]
            parts["phases"][i] = replace(phase, learning_rate=phase.common_rates[0])
        case ("phases", int(i), str(name), *_) if name in _OPTIONAL:
            parts["phases"][i] = replace(parts["phases"][i], **{name: _OPTIONAL[name]})
        case (str(name), *_) if name in OWN:
            parts[name] = OWN[name]
            if name == "biases":
                parts["phases"] = [replace(p, bias_learning_rate=0.0) for p in parts["phases"]]
        case _:
            return False
    return True


OF_SIZES = {**SELDOM, "noise_std": 0.0}
"""What tasks say of groups, outputs and fixed vectors, and what stands in for it."""
OF_UNITS: dict[str, Any] = {"frozen": None, "keep_probability": 1.0, "bias_learning_rate": 0.0}
_OPTIONAL: dict[str, Any] = dict.fromkeys(("until", "copy_heads", "consolidation", "normalization"))
_OPTIONAL |= OF_UNITS
