"""What a user writes down: tasks, phases and the problem that they make up."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from odekit.base.checks import array, label, mapping, nonnegative, text
from odekit.base.errors import ProblemError
from odekit.problem.base import AnyProblem
from odekit.problem.phase import Phase
from odekit.systems.committee.activations import Activation, check_activation
from odekit.systems.committee.state import OrderParameters

CORE = frozenset(
    ["student", "student_other", "teacher", "teacher_other", "time", "head", "task", "phase_index"]
)
"""Dims of the dataset of a committee."""


@dataclass(frozen=True, eq=False)
class Task:
    """A target y = Σ_n u_n g(ρ_n) + σ ζ over the fixed vectors.

    Parameters
    ----------
    readout : array_like, shape (P,)
        u, over *all* fixed vectors of the problem: zero for those outside the task.
    noise_std : float
        σ, standard deviation of the label noise, >= 0.
    head : str, optional
        Name of the student's head that answers this task; its own name by default. Tasks that name
        the same head share it.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.Task(readout=[1.0, 0.0], noise_std=0.1).head is None
    True
    """

    readout: Any
    noise_std: Any = 0.0
    head: str | None = None

    def __post_init__(self) -> None:
        readout = array(
            "readout", self.readout, ("teacher",), (None,), "One number for each fixed vector."
        )
        object.__setattr__(self, "readout", readout)
        object.__setattr__(self, "noise_std", nonnegative("noise_std", self.noise_std))
        if self.head is not None:
            object.__setattr__(self, "head", label("head", self.head))


@dataclass(frozen=True, eq=False, repr=False)
class Problem(AnyProblem):
    """Everything that decides a run: initial state, heads, tasks and the phases of training.

    Parameters
    ----------
    state : OrderParameters
        Overlaps at time 0.
    heads : dict of str to array_like, shape (K,)
        Readout vectors of the student at time 0, by name.
    tasks : dict of str to Task
    phases : sequence of Phase
        Run one after the other.
    activation : str or Activation
        Of students and teachers: ``"erf"`` (erf(x/√2)), ``"linear"`` or ``"relu"``, whose moments
        have compiled closed forms (but for ReLU's η² term); ``"tanh"``, ``"gelu"``,
        ``"softplus"``, ``"quadratic"`` or ``"leaky_relu"``, whose moments are found by quadrature;
        or one's own functions, as an `odekit.Activation`.
    title : str
        A line for people, over its results and pictures.

    Raises
    ------
    ProblemError
        If a name is unknown, a length does not fit, or a value breaks its rule; the message names
        the argument, the rule, what was given and the remedy.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters.draw(
    ...         student=2, teacher=2, weight_std=1e-3, input_dim=10_000, seed=7),
    ...     heads={"main": [1.0, 1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0, 1.0])},
    ...     phases=[ok.Phase("main", duration=1e3, learning_rate=0.5)],
    ... )
    >>> problem.replace_phase(0, learning_rate=0.1).phases[0].learning_rate
    0.1
    """

    kind: ClassVar[str] = "committee"

    state: OrderParameters
    heads: Mapping[str, Any]
    tasks: Mapping[str, Task]
    phases: Sequence[Phase]
    activation: str | Activation = "erf"
    title: str = ""

    def __post_init__(self) -> None:
        from odekit.systems.committee.crosscheck import check_problem

        if not isinstance(self.state, OrderParameters):
            raise ProblemError("state", "must be an OrderParameters", repr(self.state)[:80], "")
        K = self.state.student
        heads = {
            label("heads", name): array(
                f"heads[{name!r}]", v, ("student",), (K,), "One number for each student unit."
            )
            for name, v in mapping("heads", self.heads).items()
        }
        object.__setattr__(self, "heads", heads)
        tasks = {label("tasks", k): t for k, t in mapping("tasks", self.tasks).items()}
        object.__setattr__(self, "tasks", tasks)
        phases = (self.phases,) if isinstance(self.phases, Phase) else tuple(self.phases)
        object.__setattr__(self, "phases", phases)
        check_activation(self.activation)
        text("title", self.title)
        check_problem(self)

    def head_of(self, task: str) -> str:
        """Name of the head that answers a task."""
        return self.tasks[task].head or task

    @property
    def core_dims(self) -> frozenset[str]:
        """Dims that no sweep may have."""
        return CORE

    @property
    def order(self) -> dict[str, list[str]]:
        """Heads and tasks in the order of their numbers in the state."""
        return {"heads": list(self.heads), "tasks": list(self.tasks)}
