"""A network on given samples: its initial weights, its tasks and the phases of its training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

import numpy as np

from odekit.base.checks import array, as_floats, choice, label, text
from odekit.base.errors import ProblemError
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.problem.phase import Phase
from odekit.problem.phases import check_phases
from odekit.systems.data.activations import UNITS
from odekit.systems.data.initial import nodes
from odekit.systems.data.layers import Layers

USED = ("tasks", "duration", "learning_rate", "until", "gradient_flow")
REFUSED = {f.name: f.default for f in fields(Phase) if f.name not in USED}
"""Fields of a phase that gradient descent of a network on data has no use for, and defaults."""
NO_TERM = "full-batch gradient descent has no such term"
COMMON = frozenset(["time", "task", "phase_index", "sample", "layer"])
KEPT = ("weights", "answers")
MOST_KEPT = 4096
"""Most numbers of a row that are kept where `keep` does not say."""


@dataclass(frozen=True, eq=False)
class Samples:
    """The data of one task; every step of descent uses all of it.

    Parameters
    ----------
    inputs : array_like, shape (samples, inputs)
        Rows are samples. A column of ones gives the first layer a bias.
    targets : array_like, shape (samples, outputs)

    Examples
    --------
    >>> import odekit as ok
    >>> ok.data.Samples(inputs=[[1.0], [-1.0]], targets=[[2.0], [0.0]]).count
    2
    """

    inputs: Any
    targets: Any

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self.inputs)


@dataclass(frozen=True, eq=False, repr=False)
class DataProblem(AnyProblem):
    """Full-batch gradient descent of a network of nonlinear units on a data set.

    The loss of a task is half the mean over its samples of |y − f(x)|², its `generalization_error`
    in the dataset; for the sum over samples in place of the mean multiply learning rates by their
    number. Time counts steps, each at the learning rate of its phase, of all layers.

    Parameters
    ----------
    weights : dict of str to array_like, shape (to, from)
        ``W1``, ``W2``, … at time 0, from the input on: see `odekit.data.normal`. The last layer is
        linear. Labelled arrays, over (to, from) named ``input``, ``hidden`` (``hidden1``, …) and
        ``output`` with dims of a sweep before them, are swept over.
    tasks : Samples or dict of str to Samples
        What is learnt, by name; a single one is named "main".
    phases : Phase or sequence of Phase
        Run one after the other. Of a `Phase` count `tasks`, `duration`, `learning_rate`, `until`.
    activation : {"relu", "erf", "tanh", "linear"}
        Of all hidden units; erf is erf(x/√2). At a field of 0 the slope of a ReLU is 0.
    keep : sequence of {"weights", "answers"}, optional
        What every row holds besides errors and norms of layers. By default each of them that is at
        most 4096 numbers a row; the weights of the last row are always there.
    title : str
        A line for people, over its results and pictures.

    Raises
    ------
    ProblemError
        If shapes do not chain, or a name is unknown: the message names the layer or the task.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.DataProblem(
    ...     weights=ok.data.normal([2, 8, 1], 0.3, seed=0),
    ...     tasks=ok.data.Samples([[0, 0], [0, 1], [1, 0], [1, 1]], [[0], [1], [1], [0]]),
    ...     phases=ok.Phase("main", duration=4000, learning_rate=0.1),
    ... )
    >>> run = ok.descend(problem)
    >>> run.answer[-1, 0, :, 0].values.round(2)
    array([0., 1., 1., 0.])
    """

    kind: ClassVar[str] = "data"

    weights: Mapping[str, Any]
    tasks: Any
    phases: Any
    activation: str = "relu"
    keep: Any = None
    title: str = ""

    def __post_init__(self) -> None:
        def put(name: str, value: Any) -> None:
            object.__setattr__(self, name, value)

        text("title", self.title)
        choice("activation", self.activation, list(UNITS))
        put("weights", _checked_weights(self.weights))
        put("tasks", self._checked_tasks())
        phases = (self.phases,) if isinstance(self.phases, Phase) else tuple(self.phases)
        put("phases", phases)
        check_phases(phases, self.tasks, REFUSED, NO_TERM)
        put("keep", None if self.keep is None else _checked_keep(self.keep))
        for dim in axes(self):
            if dim in self.names:
                rule = "must have sweep dims that nothing in the result has"
                raise ProblemError("weights", rule, repr(dim), "Rename the dim.")

    def _checked_tasks(self) -> dict[str, Samples]:
        given = {"main": self.tasks} if isinstance(self.tasks, Samples) else self.tasks
        if not isinstance(given, Mapping) or not given:
            raise ProblemError("tasks", "must be Samples by name", repr(given)[:80], "")
        return {label("tasks", n): self._samples(n, task) for n, task in given.items()}

    def _samples(self, name: str, task: Any) -> Samples:
        where = f"tasks[{name!r}]"
        if not isinstance(task, Samples):
            raise ProblemError(where, "must be Samples", repr(task)[:80], "")
        found = {}
        for what, width in (("inputs", self.widths[0]), ("targets", self.widths[-1])):
            values = as_floats(f"{where}.{what}", getattr(task, what), "an array (samples, units)")
            if values.ndim != 2 or values.shape[1] != width or not len(values):
                rule = f"must have shape (samples, {width})"
                raise ProblemError(f"{where}.{what}", rule, str(values.shape), "Rows are samples.")
            values.setflags(write=False)
            found[what] = values
        if len(found["inputs"]) != len(found["targets"]):
            rule = f"must have {len(found['inputs'])} samples, as the inputs"
            raise ProblemError(f"{where}.targets", rule, str(len(found["targets"])), "")
        return Samples(**found)

    @property
    def shapes(self) -> list[tuple[int, int]]:
        """(to, from) of every layer."""
        return [(int(W.shape[-2]), int(W.shape[-1])) for W in self.weights.values()]

    @property
    def widths(self) -> list[int]:
        """Units of the input, the hidden layers and the output."""
        return [self.shapes[0][1], *(a for a, _ in self.shapes)]

    @property
    def layers(self) -> Layers:
        """The network."""
        return Layers(self.shapes, UNITS[self.activation])

    @property
    def kept(self) -> tuple[str, ...]:
        """What every row holds."""
        if self.keep is not None:
            return tuple(self.keep)
        answers = len(self.tasks) * self.most_samples * self.widths[-1]
        sizes = {"weights": sum(math.prod(s) for s in self.shapes), "answers": answers}
        return tuple(what for what in KEPT if sizes[what] <= MOST_KEPT)

    @property
    def most_samples(self) -> int:
        """Samples of the largest task."""
        return max(len(task.inputs) for task in self.tasks.values())

    @property
    def names(self) -> frozenset[str]:
        """Every name that its dataset uses for itself."""
        own = [*nodes(len(self.weights)), *self.weights, *(f"last_{W}" for W in self.weights)]
        others = [f"{node}_other" for node in nodes(len(self.weights))]
        return COMMON | frozenset([*own, *others, "answer", "layer_norm"])

    @property
    def outline(self) -> Mapping[str, Any]:
        """What decides the names and dims of the dataset's variables: the number of layers."""
        return {"kind": self.kind, "widths": self.widths}

    @property
    def core_dims(self) -> frozenset[str]:
        """Dims that no sweep may have."""
        return COMMON | frozenset(nodes(len(self.weights)))

    @property
    def order(self) -> dict[str, list[str]]:
        """Layers and tasks in the order of their numbers."""
        return {"weights": list(self.weights), "tasks": list(self.tasks)}


def _checked_weights(given: Any) -> dict[str, Any]:
    wanted = [f"W{i + 1}" for i in range(len(given))] if isinstance(given, Mapping) else []
    if not wanted or set(wanted) != set(given):
        what = ", ".join(map(str, given)) if isinstance(given, Mapping) else repr(given)[:80]
        raise ProblemError("weights", "must be W1, W2, … by name", what, "From the input on.")
    ends = nodes(len(wanted))
    found: dict[str, Any] = {}
    before: int | None = None
    for i, name in enumerate(wanted):
        if np.ndim(given[name]) < 2:
            rule = "must be a matrix (to, from)"
            raise ProblemError(f"weights[{name!r}]", rule, f"{np.ndim(given[name])} dims", "")
        core = (ends[i + 1], ends[i])
        remedy = "Rows are units that it leads to; columns are those before."
        W = array(f"weights[{name!r}]", given[name], core, (None, before), remedy)
        found[name], before = W, int(W.shape[-2])
    return found


def _checked_keep(given: Any) -> tuple[str, ...]:
    several = [given] if isinstance(given, str) else list(given)
    return tuple(what for what in KEPT if what in [choice("keep", w, KEPT) for w in several])
