"""What a user writes down: tasks, phases and the problem that they make up."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from odekit.base.checks import (
    array,
    choice,
    has_core,
    is_labelled,
    label,
    mapping,
    nonnegative,
    number,
    text,
)
from odekit.base.errors import ProblemError
from odekit.problem.base import AnyProblem
from odekit.problem.phase import Phase
from odekit.systems.committee.activations import Activation, check_activation
from odekit.systems.committee.groups import fractions
from odekit.systems.committee.state import OrderParameters

if TYPE_CHECKING:
    from odekit.base.given import Number, Values

UNITS = ("student", "student_other", "teacher", "teacher_other")
CORE = frozenset([*UNITS, "output", "group", "time", "head", "task", "phase_index"])
"""Dims of the dataset of a committee."""


def of_groups(argument: str, value: Any, check: Callable[[str, Any], Any]) -> Any:
    """A number for all inputs, or one for each group, checked."""
    if not isinstance(value, Mapping):
        return check(argument, value)
    return {
        label(argument, group): check(f"{argument}[{group!r}]", number)
        for group, number in mapping(argument, value).items()
    }


WHITE: dict[str, Any] = {"input_variance": 1.0, "student_gain": 1.0, "student_noise_std": 0.0}
"""What a task says of inputs that are white, and that the student sees as its teacher does."""

_VIEWS: dict[str, Callable[[str, Any], Any]] = {
    "input_variance": nonnegative,
    "student_gain": number,
    "student_noise_std": nonnegative,
}
"""Numbers of a task that may differ between groups of inputs."""


SELDOM: dict[str, Any] = {**WHITE, "label": 0.0, "input_mean": None}
"""What few tasks say, and what it is otherwise."""


def of_outputs(argument: str, value: Any, unit: str, size: int | None, remedy: str) -> Any:
    """Numbers of units, (…, units), or of outputs and units, (…, outputs, units)."""
    several = has_core(value, "output", 2)
    dims: tuple[str, ...] = ("output", unit) if several else (unit,)
    return array(argument, value, dims, (*(None for _ in dims[1:]), size), remedy)


def of_each_output(argument: str, value: Any, check: Callable[[str, Any], Any]) -> Any:
    """A number, or one for each output, checked."""
    if not has_core(value, "output", 1):
        return check(argument, value)
    found = array(argument, value, ("output",), (None,), "One number for each output.")
    check(argument, float(np.asarray(found).min()))
    return found


def _of_units(index: int, phase: Any) -> Any:
    """A phase whose labelled probabilities that units answer have their dims in order."""
    kept = getattr(phase, "keep_probability", None)
    if not is_labelled(kept):
        return phase
    where = f"phases[{index}].keep_probability"
    if "student" in kept.dims:
        kept = array(where, kept, ("student",), (None,), "One for each student unit.")
    else:
        kept = number(where, kept)
    return dataclasses.replace(phase, keep_probability=kept)


def outputs_of(value: Any, unit: bool) -> int | None:
    """Length of the axis of outputs, which that of units may follow, or None."""
    if not has_core(value, "output", 1 + unit):
        return None
    return int(value.sizes["output"] if hasattr(value, "sizes") else len(value))


@dataclass(frozen=True, eq=False)
class Task:
    """A target y + Σ_n u_n g(ρ_n) + σ ζ over the fixed vectors; a cluster of inputs is one too.

    Parameters
    ----------
    readout : array_like, shape (P,) or (O, P)
        u, over *all* fixed vectors of the problem: zero for those outside the task. With an axis
        of outputs, dim ``output``, targets have O components.
    noise_std : float or array_like, shape (O,)
        σ, standard deviation of the label noise, >= 0; of all outputs, or of each.
    head : str, optional
        Name of the student's head that answers this task; its own name by default. Tasks that name
        the same head share it.
    input_variance : float or dict of str to float
        m, variance of the inputs as the task draws them, >= 0: of all, or of each group.
    student_gain, student_noise_std : float or dict of str to float
        The student sees a x + s ξ where the teacher sees x: a, and s >= 0 with ξ ~ N(0, 1) drawn
        anew for every sample and input; of all inputs, or of each group. A gain of 0 masks them.
    label : float or array_like, shape (O,)
        y, a constant part of the target: the label of a cluster, with a `readout` of zeros.
    input_mean : array_like, shape (P,), optional
        s: inputs of the task have the mean Σ_n s_n B_n/√N, a combination of the fixed vectors. A
        mixture of Gaussian clusters is a mixture of such tasks that share a head.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.Task(readout=[1.0, 0.0], noise_std=0.1).head is None
    True
    >>> ok.Task(readout=[0.0, 0.0], label=-1.0, input_mean=[1.0, -1.0], head="main").label
    -1.0
    """

    readout: Any
    noise_std: Any = 0.0
    head: str | None = None
    input_variance: Any = 1.0
    student_gain: Any = 1.0
    student_noise_std: Any = 0.0
    label: Any = 0.0
    input_mean: Any = None

    if TYPE_CHECKING:  # what may be given; the fields hold what it was made to

        def __init__(
            self,
            readout: Values,
            noise_std: Values = 0.0,
            head: str | None = None,
            input_variance: Number | Mapping[str, Number] = 1.0,
            student_gain: Number | Mapping[str, Number] = 1.0,
            student_noise_std: Number | Mapping[str, Number] = 0.0,
            label: Values = 0.0,
            input_mean: Values | None = None,
        ) -> None: ...

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        remedy = "One number for each fixed vector."
        put("readout", of_outputs("readout", self.readout, "teacher", None, remedy))
        put("noise_std", of_each_output("noise_std", self.noise_std, nonnegative))
        put("label", of_each_output("label", self.label, number))
        if self.input_mean is not None:
            put("input_mean", array("input_mean", self.input_mean, ("teacher",), (None,), remedy))
        for name, check in _VIEWS.items():
            put(name, of_groups(name, getattr(self, name), check))
        if self.head is not None:
            object.__setattr__(self, "head", label("head", self.head))


@dataclass(frozen=True, eq=False, repr=False)
class Problem(AnyProblem):
    """Everything that decides a run: initial state, heads, tasks and the phases of training.

    Parameters
    ----------
    state : OrderParameters
        Overlaps at time 0.
    heads : dict of str to array_like, shape (K,) or (O, K)
        Readout vectors of the student at time 0, by name; with an axis of outputs, dim ``output``,
        there are several, and tasks have as many.
    tasks : dict of str to Task
    phases : sequence of Phase
        Run one after the other.
    activation : str or Activation
        Of students and teachers: ``"erf"`` (erf(x/√2)), ``"linear"`` or ``"relu"``, whose moments
        have compiled closed forms (but for ReLU's η² term); ``"tanh"``, ``"gelu"``,
        ``"softplus"``, ``"quadratic"`` or ``"leaky_relu"``, whose moments are found by quadrature;
        or one's own functions, as an `odekit.Activation`.
    teacher_activation : {"sign"}, optional
        Of the teachers, for students of erf or linear ones, where it is not the student's.
    groups : dict of str to float, optional
        Groups of inputs and their fractions, which sum to one. Q, R and T of the state then have
        the dim ``group`` first, each over the inputs of its group: w_k·w_l/N_τ.
    biases : array_like, shape (K,), optional
        Added to the fields of the student's units, at time 0; they learn at the phases'
        `bias_learning_rate`.
    teacher_biases : array_like, shape (P,), optional
        Added to the fields of the fixed vectors.
    test_scale : float or array_like, shape (K,)
        Factor on the heads, of all units or of each, where errors are measured, `until` included.
        With dropout the probability that a unit answers makes up for it; training does without.
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
    groups: Mapping[str, Any] | None = None
    teacher_activation: str | None = None
    biases: Any = None
    teacher_biases: Any = None
    test_scale: Any = 1.0
    title: str = ""

    if TYPE_CHECKING:

        def __init__(
            self,
            state: OrderParameters,
            heads: Mapping[str, Values],
            tasks: Mapping[str, Task],
            phases: Sequence[Phase],
            activation: str | Activation = "erf",
            groups: Mapping[str, Number] | None = None,
            teacher_activation: str | None = None,
            biases: Values | None = None,
            teacher_biases: Values | None = None,
            test_scale: Values = 1.0,
            title: str = "",
        ) -> None: ...

    def __post_init__(self) -> None:
        from odekit.systems.committee.crosscheck import check_problem

        if not isinstance(self.state, OrderParameters):
            raise ProblemError("state", "must be an OrderParameters", repr(self.state)[:80], "")
        K = self.state.student
        remedy = "One number for each student unit."
        heads = {
            label("heads", name): of_outputs(f"heads[{name!r}]", v, "student", K, remedy)
            for name, v in mapping("heads", self.heads).items()
        }
        scale = self.test_scale
        if not has_core(scale, "student", 1):
            scale = number("test_scale", scale)
        else:
            scale = array("test_scale", scale, ("student",), (K,), "One for each unit.")
        object.__setattr__(self, "test_scale", scale)
        for name, dim, size in (
            ("biases", "student", K),
            ("teacher_biases", "teacher", self.state.teacher),
        ):
            if getattr(self, name) is not None:
                given = array(name, getattr(self, name), (dim,), (size,), "One for each unit.")
                object.__setattr__(self, name, given)
        object.__setattr__(self, "heads", heads)
        tasks = {label("tasks", k): t for k, t in mapping("tasks", self.tasks).items()}
        object.__setattr__(self, "tasks", tasks)
        phases = (self.phases,) if isinstance(self.phases, Phase) else tuple(self.phases)
        object.__setattr__(self, "phases", tuple(map(_of_units, range(len(phases)), phases)))
        check_activation(self.activation)
        if self.teacher_activation is not None:
            choice("teacher_activation", self.teacher_activation, ("sign",))
            if self.activation not in ("erf", "linear"):
                rule, remedy = "must be left out for other students", "Use erf or linear ones."
                raise ProblemError("teacher_activation", rule, "'sign'", remedy)
        if self.groups is not None:
            object.__setattr__(self, "groups", fractions("groups", self.groups))
        text("title", self.title)
        check_problem(self)

    def head_of(self, task: str) -> str:
        """Name of the head that answers a task."""
        return self.tasks[task].head or task

    @property
    def outline(self) -> Mapping[str, Any]:
        """What decides the names and dims of the dataset's variables, as in `to_dict`."""
        beyond = self.beyond
        return {
            "kind": self.kind,
            **({} if self.groups is None else {"groups": self.groups}),
            **({"beyond": beyond} if beyond else {}),
        }

    @property
    def outputs(self) -> int | None:
        """Number of outputs; None where heads are vectors."""
        return outputs_of(next(iter(self.heads.values())), unit=True)

    @property
    def beyond(self) -> list[str]:
        """What the dataset has more than Q, R and readouts: outputs, biases, velocities, ….

        What only some phases have is not in it.
        """
        there = {
            "outputs": self.outputs is not None,
            "biases": self.biases is not None,
            "velocities": all(p.momentum_decay is not None for p in self.phases),
            "squared_gradient": all(p.normalization is not None for p in self.phases),
        }
        return [name for name, is_there in there.items() if is_there]

    @property
    def core_dims(self) -> frozenset[str]:
        """Dims that no sweep may have."""
        return CORE

    @property
    def order(self) -> dict[str, list[str]]:
        """Heads and tasks in the order of their numbers in the state."""
        return {
            "heads": list(self.heads),
            "tasks": list(self.tasks),
            **({} if self.groups is None else {"groups": list(self.groups)}),
        }
