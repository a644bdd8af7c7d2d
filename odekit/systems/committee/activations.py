"""Activations beyond those with compiled closed forms: shipped ones, and a user's own."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import choice, count, number, positive
from odekit.base.errors import ProblemError
from odekit.systems.committee.nonlinearities import check_functions, functions, kinked, parity_of
from odekit_kernels.committee.activations import CODES, row_of

if TYPE_CHECKING:
    from odekit.systems.committee.problem import Problem

COMPILED = tuple(CODES)
"""Activations whose moments have compiled closed forms: g(x) = erf(x/√2), x, max(x, 0)."""
SMOOTH = ("tanh", "gelu", "softplus", "quadratic")
KINKED = ("relu", "leaky_relu")
"""Positively homogeneous ones: their moments have closed forms but for one integral."""
NAMES = (*COMPILED, *SMOOTH, "leaky_relu")
"""Every activation that goes by its name alone."""
ACCURACY = 1e-8
LEAKY_SLOPE = 0.01
NODES = (16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256)
"""Nodes that are tried, one after the other, until the accuracy is reached."""
SHARES = (1.0, 0.96, 0.92, 0.88, 0.84)
"""Of the largest standard deviation: what a number of nodes fails at may be smaller fields."""
KINKED_NODES = 64
MOST_NODES = 512
"""Of a direction: their squares times the fields are held in memory."""
PROBES = (-3.1, -1.7, -0.6, -0.2, 0.1, 0.4, 1.3, 2.9)
"""Where a user's own functions are written down, to be known again."""


@dataclass(frozen=True, eq=False)
class Activation:
    """A nonlinearity g, given as plain functions; its Gaussian moments are found by quadrature.

    Parameters
    ----------
    name : str
        For labels and files; not one of those that odekit ships.
    function, derivative : callable
        g and g': an array in, an array of the same shape out. g must be smooth; for kinks there is
        ``leaky_relu``.
    nodes : int, optional
        Nodes of the quadrature in each direction. By default as many as the accuracy takes at the
        size that the overlaps have: they are counted by doubling.
    accuracy : float
        Largest relative error of a moment, estimated by doubling the nodes.

    Raises
    ------
    ProblemError
        If the functions do not return arrays of finite numbers, or the derivative is not that of
        the function.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> sine = ok.Activation("sine", np.sin, np.cos)
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=10.0, learning_rate=0.5)],
    ...     activation=sine,
    ... )
    >>> run = ok.solve(problem)
    >>> int(run.quadrature_nodes), bool(run.quadrature_error < 1e-8)
    (28, True)
    """

    name: str
    function: Callable[[Floats], Any]
    derivative: Callable[[Floats], Any]
    nodes: int | None = None
    accuracy: float = ACCURACY
    slope: float | None = field(default=None, init=False)
    parity: int = field(default=0, init=False)
    record: Mapping[str, Any] | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if (
            not isinstance(self.name, str)
            or not self.name.isidentifier()
            or not self.name.isascii()
        ):
            raise ProblemError("name", "must be a plain name", repr(self.name), "Rename it.")
        if self.name in NAMES and (self.function, self.derivative) != functions(self.name):
            raise ProblemError(
                "name",
                "must not be that of an activation that odekit ships",
                repr(self.name),
                f"Rename yours, or pass activation={self.name!r}.",
            )
        if self.nodes is not None:
            object.__setattr__(self, "nodes", count("nodes", self.nodes, most=MOST_NODES, least=4))
        positive("accuracy", number("accuracy", self.accuracy))
        object.__setattr__(self, "accuracy", float(self.accuracy))
        check_functions(self.function, self.derivative)
        object.__setattr__(self, "parity", parity_of(self.function))

    @classmethod
    def shipped(
        cls,
        name: str,
        *,
        nodes: int | None = None,
        accuracy: float = ACCURACY,
        slope: float | None = None,
    ) -> Activation:
        """One of those that odekit ships, with nodes, accuracy or slope of one's own.

        Parameters
        ----------
        name : {"tanh", "gelu", "softplus", "quadratic", "leaky_relu", "relu"}
            Quadratic is x²; GELU is x Φ(x).
        nodes, accuracy
            As for one's own.
        slope : float, optional
            Of leaky ReLU at x < 0: 0.01 by default.

        Examples
        --------
        >>> Activation.shipped("leaky_relu", slope=0.2).function(np.array([-1.0, 1.0]))
        array([-0.2,  1. ])
        """
        choice("activation", name, (*SMOOTH, *KINKED))
        if name == "relu":
            slope = 0.0
        elif name == "leaky_relu":
            slope = float(number("slope", LEAKY_SLOPE if slope is None else slope))
        elif slope is not None:
            raise ProblemError("slope", "is for 'leaky_relu' alone", repr(slope), "Leave it out.")
        made = cls.__new__(cls)
        function, derivative = functions(name) if slope is None else kinked(slope)
        values = {"name": name, "function": function, "derivative": derivative, "nodes": nodes,
                  "accuracy": accuracy, "slope": slope, "parity": 0, "record": None}  # fmt: skip
        for key, value in values.items():
            object.__setattr__(made, key, value)
        if slope is None:
            made.__post_init__()
        elif nodes is not None:
            count("nodes", nodes, most=MOST_NODES, least=4)
        return made

    @property
    def is_shipped(self) -> bool:
        """Whether a file that names it says all of it."""
        return self.name in NAMES

    @property
    def is_here(self) -> bool:
        """Whether its functions are at hand, or only their record."""
        return self.record is None

    def to_dict(self) -> dict[str, Any]:
        """Plain data: enough to make a shipped one again, and to know one's own again."""
        data: dict[str, Any] = {"name": self.name, "accuracy": self.accuracy}
        if self.nodes is not None:
            data["nodes"] = self.nodes
        if self.name == "leaky_relu":
            data["slope"] = self.slope
        if not self.is_shipped:
            data["values"] = dict(self.record) if self.record is not None else _sample(self)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], own: Activation | None = None) -> Activation:
        """The activation that `to_dict` wrote down.

        Parameters
        ----------
        data : mapping
        own : Activation, optional
            The user's own, whose functions no file holds. Without it the result knows its name
            alone: results can be read and drawn, but nothing can be computed.
        """
        given = {k: data[k] for k in ("nodes", "accuracy", "slope") if k in data}
        if data["name"] in NAMES:
            return cls.shipped(data["name"], **given)
        if own is not None:
            _check_same(own, data)
            return own
        made = cls.__new__(cls)
        values = {"name": data["name"], "function": _absent(data["name"]),
                  "derivative": _absent(data["name"]), "nodes": None, "accuracy": ACCURACY,
                  "slope": None, "parity": 0, "record": data["values"], **given}  # fmt: skip
        for key, value in values.items():
            object.__setattr__(made, key, value)
        return made

    def __reduce__(self) -> Any:
        """Those that ship are sent to other processes by name, one's own with its functions."""
        if self.is_shipped:
            return type(self).from_dict, (self.to_dict(),)
        return super().__reduce__()

    def __str__(self) -> str:
        """Its name."""
        return self.name


def check_activation(value: Any) -> str | Activation:
    """A name that odekit knows, or an `Activation`."""
    if isinstance(value, Activation):
        return value
    if not isinstance(value, str) or value not in NAMES:
        listed = ", ".join(repr(a) for a in NAMES)
        raise ProblemError(
            "activation", f"must be one of {listed}, or an odekit.Activation", repr(value)[:80], ""
        )
    return value


def on_quadrature(activation: str | Activation, gradient_flow: bool) -> Activation | None:
    """The activation as functions, or None where compiled closed forms serve.

    Parameters
    ----------
    activation : str or Activation
    gradient_flow : bool
        Whether no phase needs the η² term, which some closed forms lack.
    """
    if isinstance(activation, Activation):
        return activation
    row = row_of(activation)
    if row is not None and (row.online or gradient_flow):
        return None
    return Activation.shipped(activation)


def node_counts(activation: Activation, scale: float, diffusion: bool) -> tuple[int, int]:
    """Nodes in each direction, and inside, for fields of standard deviation up to `scale`.

    Those inside are for the moments of four fields, which the η² term (`diffusion`) needs.

    Raises
    ------
    ProblemError
        If the accuracy is out of reach.
    """
    if activation.slope is not None:
        m = activation.nodes or KINKED_NODES
        return m, m
    functions = activation.function, activation.derivative
    hashable = all(isinstance(f, Hashable) for f in functions)
    count = _counted if hashable else _counted.__wrapped__
    tried = NODES if activation.nodes is None else (activation.nodes,)
    counts, found = count(*functions, tried, activation.accuracy, scale, diffusion)
    if counts is None:
        raise ProblemError(
            "activation",
            f"must have Gaussian moments that {tried[-1]} nodes give to {activation.accuracy:g}",
            f"{activation.name!r} with an error of {found:.2g}, for fields of standard deviation "
            f"{scale:.3g}",
            "Loosen its `accuracy`, or raise its `nodes`; a g with kinks converges slowly.",
        )
    return counts


# Counted anew by every problem that is made of another: 20 ms of GELU at its 170 rules.
@lru_cache(maxsize=256)
def _counted(
    g: Any, dg: Any, tried: tuple[int, ...], accuracy: float, scale: float, diffusion: bool
) -> tuple[tuple[int, int] | None, float]:
    """Nodes in each direction and inside; None, and the error, where none suffice."""
    from odekit_kernels.committee.quadrature import hermite

    def across(m: int) -> float:
        return max(hermite.line_error(g, dg, share * scale, m) for share in SHARES)

    # Even steps that are too wide for an oscillation may miss it both times, once and doubled:
    # there must be no number of nodes above that fails.
    errors = np.array([across(m) for m in tried])
    wrong = np.flatnonzero(~(errors <= accuracy))
    least = 0 if not wrong.size else int(wrong[-1]) + 1
    if least == len(tried):
        return None, float(errors[-1])
    if not diffusion:
        return (tried[least], 4), 0.0
    found = np.inf
    for m in tried:
        found = hermite.inner_error(g, scale, m)
        if found <= accuracy:
            return (tried[least], m), found
    return None, found


# ------------------------------------------------------------------------- one's own, in a file


def _sample(activation: Activation) -> dict[str, list[float]]:
    x = np.array(PROBES)
    functions = {"function": activation.function, "derivative": activation.derivative}
    return {name: np.asarray(f(x), dtype=float).tolist() for name, f in functions.items()}


def _check_same(own: Activation, data: Mapping[str, Any]) -> None:
    written = data.get("values", {})
    same = own.name == data["name"] and all(
        np.allclose(values, written.get(name), rtol=1e-9, atol=1e-12)
        for name, values in _sample(own).items()
    )
    if not same:
        raise ProblemError(
            "activation",
            f"must be the one that the file was made with, {data['name']!r}",
            repr(own.name),
            "Its function and derivative must have the values written down there.",
        )


def _absent(name: str) -> Callable[[Floats], Any]:
    def missing(_x: Floats) -> Any:
        raise ProblemError(
            "activation",
            "must be given again: no file can hold the functions of one's own",
            f"the name {name!r} alone",
            "Pass problem.replace(activation=odekit.Activation(name, function, derivative)).",
        )

    return missing


def quadrature_of(problem: Problem) -> Activation | None:
    """The activation of a problem whose moments come from quadrature; None of any other."""
    flow = all(phase.gradient_flow for phase in problem.phases)
    return on_quadrature(problem.activation, flow)
