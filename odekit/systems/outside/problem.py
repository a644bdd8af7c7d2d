"""A problem of a declared system: its start, its parameters, its tasks and phases."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from odekit.base.checks import array, is_labelled, label, number, text
from odekit.base.errors import ProblemError
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.problem.phase import Phase
from odekit.problem.phases import check_phases
from odekit.systems.outside.declaration import Declaration
from odekit.systems.outside.probe import check_functions

if TYPE_CHECKING:
    from odekit.problem.system import System

USED = ("tasks", "duration", "learning_rate", "readout_learning_rate", "until")
"""What declared equations know of a phase; all else are terms of other systems."""
REFUSED = {f.name: f.default for f in fields(Phase) if f.name not in USED}
COMMON = frozenset(["time", "task", "phase_index"])
OTHER = "_other"


@dataclass(frozen=True, eq=False, repr=False)
class DeclaredPhase(Phase):
    """A phase with parameters of its own; made by `Declaration.phase`."""

    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class DeclaredProblem(AnyProblem):
    """A problem of a system that a user declared; made by `Declaration.problem`.

    Parameters
    ----------
    declaration : Declaration
    state, parameters : dict of str to array_like
    tasks : dict of str to dict
        Parameters of each, over those of the problem.
    phases : Phase or sequence of Phase
    title : str
        A line for people, over its results and pictures; by default that of the declaration.
    """

    kind: ClassVar[str] = "outside"

    declaration: Declaration
    state: Mapping[str, Any]
    parameters: Mapping[str, Any]
    tasks: Any
    phases: Any
    record: Any = None
    title: str = ""

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        text("title", self.title)
        phases = (self.phases,) if isinstance(self.phases, Phase) else tuple(self.phases)
        put("tasks", _checked_tasks(self.tasks))
        check_phases(phases, self.tasks, REFUSED, "write such terms into `rhs`")
        self._check_names(phases)
        lengths = self._lengths(phases)
        own = self.declaration
        put("state", _arrays(self.state, own.state, lengths, ""))
        put("parameters", _arrays(self.parameters, own.parameters, lengths, ""))
        for name, given in self.tasks.items():
            where = f"tasks[{name!r}]"
            self.tasks[name] = _arrays(given, own.parameters, lengths, where)
        put("phases", tuple(_checked(p, own, lengths, i) for i, p in enumerate(phases)))
        for dim in axes(self):
            if dim in own.state:
                rule = "must have sweep dims that no state variable is named"
                raise ProblemError(dim, rule, repr(dim), "Rename the dim.")
        if own.has_code:
            check_functions(self)

    def _check_names(self, phases: Sequence[Any]) -> None:
        own = self.declaration
        for name in own.state:
            if name not in self.state:
                raise ProblemError(name, "must be given at time 0", "nothing", "")
        for task, given in self.tasks.items():
            for name in given:
                if name not in own.parameters:
                    known = ", ".join(map(repr, own.parameters)) or "none"
                    rule = f"must name parameters of {own.name!r} ({known})"
                    raise ProblemError(f"tasks[{task!r}]", rule, repr(name))
            for name in own.parameters:
                if name not in given and name not in self.parameters:
                    where = "only for phases" if _in_phases(name, phases) else "nothing"
                    remedy = "A phase goes over what the problem or its tasks give."
                    rule = f"must be given to the problem or to the task {task!r}"
                    raise ProblemError(name, rule, where, remedy)

    def _lengths(self, phases: Sequence[Any]) -> dict[str, int]:
        """Length of every dim, from the first array that has it."""
        found: dict[str, tuple[int, str]] = {}
        for where, name, value in _given(self, phases):
            dims = {**self.declaration.state, **self.declaration.parameters}[name]
            for dim, length in _sizes(where, value, dims).items():
                base = dim.removesuffix(OTHER)
                before, first = found.setdefault(base, (length, where))
                if length != before:
                    raise ProblemError(
                        where, f"must have {before} entries along {dim!r}, as {first} has", length
                    )
        return {dim: found[dim.removesuffix(OTHER)][0] for dim in self.declaration.dims}

    @property
    def lengths(self) -> dict[str, int]:
        """Length of every dim of the declaration."""
        return self._lengths(self.phases)

    @property
    def count(self) -> int:
        """Numbers of the state."""
        lengths, every = self.lengths, self.declaration.state.values()
        return sum(math.prod(lengths[d] for d in dims) for dims in every)

    @property
    def system(self) -> System:
        """The equations, as the rest of the library sees them."""
        from odekit.systems.outside.system import Outside

        return Outside(self.declaration.title or self.declaration.name, self.declaration.references)

    @property
    def outline(self) -> Mapping[str, Any]:
        """What decides the names and dims of the dataset's variables: the declaration."""
        from odekit.systems.outside.plain import declaration_plain

        return {"kind": self.kind, "declaration": declaration_plain(self.declaration)}

    @property
    def core_dims(self) -> frozenset[str]:
        """Dims that no sweep may have."""
        return COMMON | frozenset(self.declaration.dims)

    @property
    def order(self) -> dict[str, list[str]]:
        """Variables, parameters and tasks in the order of their numbers."""
        own = self.declaration
        names = {"state": own.state, "parameters": own.parameters, "tasks": self.tasks}
        return {what: list(named) for what, named in names.items()}

    def values_of(self, task: str, phase: Phase | None = None) -> dict[str, Any]:
        """Parameters of a task, in a phase, by name in their order."""
        over = phase.parameters if isinstance(phase, DeclaredPhase) else {}
        found = {**self.parameters, **self.tasks[task], **over}
        return {name: found[name] for name in self.declaration.parameters}


def _checked(phase: Phase, own: Declaration, lengths: Mapping[str, int], index: int) -> Phase:
    """A phase whose parameters are arrays."""
    if not isinstance(phase, DeclaredPhase):
        return phase
    made = copy.copy(phase)
    found = _arrays(phase.parameters, own.parameters, lengths, f"phases[{index}]")
    object.__setattr__(made, "parameters", found)
    return made


def _checked_tasks(given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise ProblemError("tasks", "must be parameters by task", repr(given)[:80], "")
    for name, values in given.items():
        label("tasks", name)
        if not isinstance(values, Mapping):
            rule = "must be a mapping from parameters"
            raise ProblemError(f"tasks[{name!r}]", rule, repr(values)[:80], "")
    return dict(given)


def _in_phases(name: str, phases: Sequence[Any]) -> bool:
    return any(name in getattr(phase, "parameters", {}) for phase in phases)


def _given(problem: DeclaredProblem, phases: Sequence[Any]) -> Iterator[tuple[str, str, Any]]:
    """Every value with its place in words and its name."""
    for values in (problem.state, problem.parameters):
        yield from ((name, name, value) for name, value in values.items())
    for task, values in problem.tasks.items():
        yield from ((f"tasks[{task!r}][{n!r}]", n, value) for n, value in values.items())
    for i, phase in enumerate(phases):
        for name, value in getattr(phase, "parameters", {}).items():
            yield f"phases[{i}].{name}", name, value


def _sizes(where: str, value: Any, dims: Sequence[str]) -> dict[str, int]:
    if is_labelled(value):
        return {d: value.sizes[d] for d in dims if d in value.dims}
    try:
        shape = np.shape(value)
    except ValueError:
        shape = None
    if shape is None or len(shape) != len(dims):
        raise ProblemError(
            where,
            f"must be an array over {tuple(dims)}" if dims else "must be one number",
            "rows of different lengths" if shape is None else f"an array of shape {shape}",
            "To sweep over it, give an xarray.DataArray with named dims.",
        )
    return dict(zip(dims, shape, strict=True))


def _arrays(
    given: Mapping[str, Any],
    wanted: Mapping[str, tuple[str, ...]],
    lengths: Mapping[str, int],
    where: str,
) -> dict[str, Any]:
    found = {}
    for name, value in given.items():
        dims, argument = wanted[name], f"{where}[{name!r}]" if where else name
        shape = [lengths[d] for d in dims]
        found[name] = array(argument, value, dims, shape) if dims else number(argument, value)
    return found
