"""What every kind of problem has in common."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

from odekit.base.errors import ProblemError
from odekit.base.html import as_table

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.problem.system import System


class AnyProblem:
    """A problem of some kind: a state, tasks, and the phases of training.

    Attributes
    ----------
    kind : str
        Name of the system of equations, in files and scenarios.
    title : str
        A line for people: of its datasets and pictures; by default that of the system.
    core_dims : frozenset of str
        Dims of its labelled arrays, and of its dataset, that are no axes of a sweep.
    """

    kind: ClassVar[str]
    title: str
    phases: Sequence[Phase]
    tasks: Mapping[str, Any]

    @property
    def system(self) -> System:
        """The equations, as the rest of the library sees them."""
        from odekit.problem.system import system_of

        return system_of(self.kind)

    @property
    def outline(self) -> Mapping[str, Any]:
        """What decides the names and dims of the dataset's variables, as in `to_dict`."""
        return {"kind": self.kind}

    @property
    def core_dims(self) -> frozenset[str]:
        """Dims that no sweep may have."""
        raise TypeError(f"{type(self).__name__} does not say its dims")

    @property
    def order(self) -> dict[str, list[str]]:
        """Names in the order of their numbers in the state, which equal mappings may not share."""
        return {"tasks": list(self.tasks)}

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed, checked again."""
        fields: Any = self
        copied: Self = dataclasses.replace(fields, **changes)
        return copied

    def replace_phase(self, index: int, **changes: Any) -> Self:
        """A copy with some fields of one phase changed."""
        phases = list(self.phases)
        try:
            phases[index] = dataclasses.replace(phases[index], **changes)
        except IndexError:
            raise ProblemError(
                "index", f"must be a phase, 0 to {len(phases) - 1}", str(index), ""
            ) from None
        return self.replace(phases=phases)

    def __repr__(self) -> str:
        said = "\n".join(f"{name:<9}{text}" for name, text in self._said())
        return f"<odekit.{type(self).__name__}>\n{said}"

    def _repr_html_(self) -> str:
        return as_table(f"odekit.{type(self).__name__}", self._said())

    def _said(self) -> list[tuple[str, str]]:
        """The problem and its phases in words."""
        from odekit.problem.words import phase_words

        rows = [("title", self.title)] if self.title else []
        rows += [("", text) for text in self.system.words(self)]
        return rows + [(f"phase {i}", phase_words(p)) for i, p in enumerate(self.phases)]

    def to_toml(self) -> str:
        """The problem as a scenario, to be run by ``odekit run``.

        Raises
        ------
        ProblemError
            If a scenario cannot say it: functions of one's own, or numbers that vary along several
            dims at once.

        Examples
        --------
        >>> import odekit as ok
        >>> problem = ok.Problem(
        ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        ...     heads={"main": [1.0]},
        ...     tasks={"main": ok.Task(readout=[1.0])},
        ...     phases=[ok.Phase("main", duration=10.0, learning_rate=0.5)],
        ... )
        >>> print(problem.to_toml())
        activation = "erf"
        <BLANKLINE>
        [state]
        Q = [[0.5]]
        R = [[0.1]]
        T = [[1.0]]
        <BLANKLINE>
        [heads]
        main = [1.0]
        <BLANKLINE>
        [tasks.main]
        readout = [1.0]
        noise_std = 0.0
        <BLANKLINE>
        [[phases]]
        tasks = "main"
        duration = 10.0
        learning_rate = 0.5
        <BLANKLINE>
        """
        return self.system.toml(self)

    def to_dict(self) -> dict[str, Any]:
        """The whole problem as plain data (JSON), without rounding."""
        from odekit.problem.plain import problem_to_dict

        return problem_to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], activation: Any = None) -> AnyProblem:
        """The problem, of whatever kind, that `to_dict` wrote down.

        Parameters
        ----------
        data : mapping
        activation : Activation, optional
            The user's own: its functions are not in the data. A problem without them can be looked
            at, not solved.
        """
        from odekit.problem.plain import problem_from_dict

        return problem_from_dict(data, activation)

    def __eq__(self, other: object) -> bool:
        return (
            self.to_dict() == other.to_dict() if isinstance(other, AnyProblem) else NotImplemented
        )

    __hash__ = None  # type: ignore[assignment]
