"""A linear network with its initial weights, its tasks and the phases of its training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from odekit.base.checks import array, text
from odekit.base.errors import ProblemError
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.problem.phase import Phase
from odekit.problem.phases import check_phases
from odekit.systems.linear.correlations import Correlations, checked
from odekit.systems.linear.network import Network
from odekit.systems.linear.rates import check_rates

USED = ("tasks", "duration", "learning_rate", "weight_decay", "until", "gradient_flow")
REFUSED = {f.name: f.default for f in fields(Phase) if f.name not in USED}
"""Fields of a phase that a linear network has no use for, and their defaults."""
NO_TERM = "the gradient flow of a linear network has no such term"
COMMON = frozenset(["time", "task", "path", "mode", "phase_index"])


@dataclass(frozen=True, eq=False, repr=False)
class LinearProblem(AnyProblem):
    """Gradient flow of a gated deep linear network on the squared error (theory: Saxe et al. 2022).

    Parameters
    ----------
    network : Network
    weights : dict of str to array_like, shape (to, from)
        Of every edge at time 0; see `odekit.linear.normal` and its neighbours.
    tasks : Correlations or dict of str to Correlations
        What is learnt, by name; a single one is named "main".
    phases : Phase or sequence of Phase
        Run one after the other. Of a `Phase` count `tasks`, `duration`, `learning_rate`,
        `weight_decay` and `until`; time is in steps of gradient descent at that rate, in the limit
        of small ones. Rates and decays are one for all edges or by edge,
        dW_e/dt = η_e (−∂L/∂W_e − κ_e W_e). Rates by edge must name every edge, and a rate of 0
        freezes one; decays are 0 for edges left out.
    title : str
        A line for people, over its results and pictures.

    Labelled arrays among the numbers are swept over, as in `odekit.Problem`: weights over the dims
    (to, from), named as the nodes, with dims of the sweep before them.

    Raises
    ------
    ProblemError
        If shapes do not chain, a Σ_xx is indefinite, or a name is unknown: the message names the
        edge, the path or the task.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.deep([2, 2, 2])
    >>> problem = ok.LinearProblem(
    ...     network=net,
    ...     weights=ok.linear.normal(net, 0.01, seed=0),
    ...     tasks=ok.linear.Correlations(yx=[[2.0, 0.0], [0.0, 1.0]], xx=[[1.0, 0.0], [0.0, 1.0]]),
    ...     phases=ok.Phase("main", duration=20.0, learning_rate=1.0),
    ... )
    >>> ok.solve(problem).generalization_error.values[-1].round(6)
    array([0.])
    """

    kind: ClassVar[str] = "linear"

    network: Network
    weights: Mapping[str, Any]
    tasks: Any
    phases: Any
    title: str = ""

    def __post_init__(self) -> None:
        text("title", self.title)
        if not isinstance(self.network, Network):
            raise ProblemError("network", "must be a Network", repr(self.network)[:80], "")
        given = {"main": self.tasks} if isinstance(self.tasks, Correlations) else self.tasks
        if not isinstance(given, Mapping) or not given:
            raise ProblemError("tasks", "must be Correlations by name", repr(given)[:80], "")
        tasks = {
            str(name): checked(task, self.network, f"tasks[{name!r}]")
            for name, task in given.items()
        }
        object.__setattr__(self, "tasks", tasks)
        object.__setattr__(self, "weights", self._checked_weights())
        phases = (self.phases,) if isinstance(self.phases, Phase) else tuple(self.phases)
        object.__setattr__(self, "phases", phases)
        check_phases(phases, self.tasks, REFUSED, NO_TERM, self.network.edges)
        for i, phase in enumerate(phases):
            check_rates(phase, self.network, f"phases[{i}]")
        for dim in axes(self):
            if dim in self.network.names:
                raise ProblemError(
                    "weights", "must have sweep dims that nothing in the result has", repr(dim), ""
                )

    def _checked_weights(self) -> dict[str, Any]:
        if not isinstance(self.weights, Mapping):
            raise ProblemError("weights", "must be a mapping from edges", repr(self.weights)[:80])
        for name in [*self.weights, *self.network.edges]:
            if name not in self.network.edges or name not in self.weights:
                wanted = ", ".join(map(repr, self.network.edges))
                raise ProblemError(f"weights[{name!r}]", f"must be there for {wanted}", "not so")
        found = {}
        for name, (start, end) in self.network.edges.items():
            remedy = f"The edge leads from {start!r} to {end!r}: its weights are (to, from)."
            shape = self.network.shape(name)
            where = f"weights[{name!r}]"
            found[name] = array(where, self.weights[name], (end, start), shape, remedy)
        return found

    @property
    def outline(self) -> Mapping[str, Any]:
        """What decides the names and dims of the dataset's variables: the network."""
        return {"kind": self.kind, "network": self.network.to_dict()}

    @property
    def core_dims(self) -> frozenset[str]:
        """Dims that no sweep may have: the nodes, among others."""
        nodes = self.network.nodes
        return COMMON | frozenset(nodes) | frozenset(f"{node}_other" for node in nodes)

    @property
    def order(self) -> dict[str, list[str]]:
        """Nodes, edges, paths and tasks in the order of their numbers."""
        net = self.network
        names = {"nodes": net.nodes, "edges": net.edges, "paths": net.paths, "tasks": self.tasks}
        return {what: list(named) for what, named in names.items()}
