"""Build the problem of a scenario part by part, and go on after a mistake to find the others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np

from odekit.base.checks import count, interval, nonnegative, positive
from odekit.base.errors import ProblemError
from odekit.integrate import options
from odekit.problem import names
from odekit.problem.consolidation import Consolidation
from odekit.problem.normalization import normalization_from
from odekit.problem.phase import Phase
from odekit.scenario import values as scenario_values
from odekit.scenario.mistakes import Key, Mistakes
from odekit.scenario.tables import PHASE, ConsolidationTable, PhaseTable
from odekit.scenario.values import Axes, value, vector

Part = TypeVar("Part")


class Builder(ABC):
    """Build the parts of a scenario, taking down every mistake on the way; each system has its own.

    Parameters
    ----------
    mistakes : Mistakes
        Those known so far; new ones are added.
    """

    units = "unit"
    """The dim of what has one number for each unit."""

    def __init__(self, mistakes: Mistakes) -> None:
        self.mistakes = mistakes
        self.axes: Axes = {}

    @abstractmethod
    def problem(self, table: Any) -> Any:
        """The problem, or None if there is none to speak of."""

    def figure(self, table: Any, problem: Any, check: Callable[[Any, Any], None]) -> Any:
        """What the picture shows, if the scenario says so and `check` finds nothing against it."""
        if table.figure is not None and problem is not None and not self.mistakes:
            with self.collect(("figure",)):
                check(table.figure, problem)
        return table.figure

    def solver(self, table: Any) -> dict[str, Any]:
        """Keyword arguments of `odekit.solve`."""
        given = {k: v for k, v in vars(table.solver).items() if v is not None}
        times = given.pop("t_eval", None)
        where: Key = ("solver",)
        self.construct(options.SolverOptions, dict(given), where, {})
        if times is not None:
            with self.collect((*where, "t_eval")):
                given["t_eval"] = self._output_times(table, times)
        return given

    def fixed_point(self, table: Any) -> dict[str, Any]:
        """Keyword arguments of `odekit.fixed_point`."""
        given = _said(table, "fixed_point")
        last = len(table.phases) - 1
        checks: dict[str, Callable[[Any], Any]] = {
            "time": lambda x: nonnegative("", x),
            "phase": lambda x: count("", x, most=max(last, 0), least=0),
            "max_steps": lambda x: count("", x, most=10**6),
        }
        for name, x in given.items():
            with self.collect(("fixed_point", name)):
                checks[name](x)
        return given

    def continuation(self, table: Any, problem: Any) -> dict[str, Any]:
        """Keyword arguments of `odekit.continuation`."""
        given = _said(table, "continuation")
        last = len(table.phases) - 1
        checks: dict[str, Callable[[Any], Any]] = {
            "along": lambda x: problem is None or names.get(problem, x, ""),
            "between": lambda x: interval("", x),
            "phase": lambda x: count("", x, most=max(last, 0), least=0),
            "max_points": lambda x: count("", x, most=10**6, least=2),
        }
        for name, x in given.items():
            with self.collect(("continuation", name)):
                checks.get(name, lambda x: x)(x)
        return given

    def optimise(self, table: Any, problem: Any) -> dict[str, Any]:
        """Keyword arguments of `odekit.optimise`."""
        given = _said(table, "optimise")

        def known(mapping: Any) -> None:
            for name in mapping if problem is not None else ():
                names.get(problem, name, "")

        checks: dict[str, Callable[[Any], Any]] = {
            "controls": known,
            "tied": known,
            "bounds": lambda x: [interval("", pair) for pair in x.values()],
            "starts": lambda x: count("", x, most=10**5),
            "max_evaluations": lambda x: count("", x, most=10**7),
            "max_seconds": lambda x: positive("", x),
            "tolerance": lambda x: positive("", x),
        }
        for name, x in given.items():
            with self.collect(("optimise", name)):
                checks.get(name, lambda x: x)(x)
        if "bounds" in given:
            given["bounds"] = {name: tuple(pair) for name, pair in given["bounds"].items()}
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

    def phase(self, i: int, table: PhaseTable, any_task: str) -> Phase:
        """One phase."""
        where: Key = ("phases", i)
        fields: dict[str, Any] = {}
        for name in table.model_fields_set - {"consolidation", "normalization"}:
            with self.collect((*where, name)):
                given = getattr(table, name)
                of_units = name == "keep_probability"
                read = vector(given, self.units, self.axes) if of_units else value(given, self.axes)
                fields[name] = read
        if (*where, "tasks") in self.mistakes.broken or fields.get("tasks") == "":
            fields["tasks"] = any_task
        if table.consolidation is not None:
            fields["consolidation"] = self._consolidation(where, table.consolidation)
        if table.normalization is not None:
            with self.collect((*where, "normalization")):
                said = {k: v for k, v in vars(table.normalization).items() if v is not None}
                fields["normalization"] = normalization_from(value(said, self.axes))
        return self.construct(Phase, fields, where, {**PHASE, "tasks": any_task})

    def _consolidation(self, where: Key, table: ConsolidationTable) -> Consolidation:
        where = (*where, "consolidation")
        fields: dict[str, Any] = {"kind": table.kind, "task": table.task}
        with self.collect((*where, "strength")):
            fields["strength"] = value(table.strength, self.axes)
        return self.construct(Consolidation, fields, where, {"kind": "quadratic", "strength": 0.0})

    def construct(
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

    @contextmanager
    def collect(self, where: Key) -> Iterator[None]:
        """Note a mistake below a key and go on."""
        try:
            yield
        except ProblemError as error:
            self.mistakes.blame(error, where)
            self.mistakes.broken.add(where)


def _said(table: Any, section: str) -> dict[str, Any]:
    """The keys that a section holds; none where the system's scenarios have no such section."""
    own = getattr(table, section, None)
    return {} if own is None else {k: v for k, v in vars(own).items() if v is not None}
