"""Learning rates of the first layer that its own gradients set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from odekit.base.checks import choice, nonnegative, positive
from odekit.base.errors import ProblemError
from odekit.base.text import brief

__all__ = ["AdaGradNorm", "RMSNorm", "normalization_from"]


@dataclass(frozen=True, eq=False, repr=False)
class AdaGradNorm:
    """AdaGrad with one rate for all weights: η = η_0/√B, dB/dt = E|∇_w|².

    η_0 stands for each of the phase's learning rates, of weights, heads and biases; E|∇_w|² is the
    mean squared gradient of the first layer's units that move, penalties left out. A network has
    B += |∇_w|²/N after every step. B goes on from a phase with the same rule to the next; `initial`
    is where the first of them begins.

    Parameters
    ----------
    initial : float
        B at the beginning, > 0.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.Phase("main", 10.0, 0.5, normalization=ok.AdaGradNorm(initial=0.1)).normalization
    AdaGradNorm(initial=0.1)
    """

    kind: ClassVar[str] = "adagrad"
    initial: Any = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "initial", positive("initial", self.initial))

    def __repr__(self) -> str:
        return _words(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return _written(self)


@dataclass(frozen=True, eq=False, repr=False)
class RMSNorm:
    """RMSprop with one rate for all weights: η = η_0/√(B + ϵ), dB/dt = γ(E|∇_w|² − B).

    As `AdaGradNorm`, but B forgets at rate γ: B += γ(|∇_w|² − B)/N in a network.

    Parameters
    ----------
    decay : float
        γ > 0.
    initial : float
        B at the beginning, > 0.
    epsilon : float
        ϵ >= 0.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.RMSNorm(decay=2.0).epsilon
    0.0
    """

    kind: ClassVar[str] = "rms"
    decay: Any
    initial: Any = 1.0
    epsilon: Any = 0.0

    def __post_init__(self) -> None:
        for name, check in (
            ("decay", positive),
            ("initial", positive),
            ("epsilon", nonnegative),
        ):
            object.__setattr__(self, name, check(name, getattr(self, name)))

    def __repr__(self) -> str:
        return _words(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return _written(self)


KINDS: dict[str, type[AdaGradNorm] | type[RMSNorm]] = {
    rule.kind: rule for rule in (AdaGradNorm, RMSNorm)
}


def normalization_from(given: Mapping[str, Any], where: str = "") -> AdaGradNorm | RMSNorm:
    """The rule that plain data stand for: its kind and its numbers.

    Raises
    ------
    ProblemError
        If there is no such kind, or it has no such number.
    """
    kind = KINDS[choice(f"{where}kind", given.get("kind"), tuple(KINDS))]
    numbers = {name: x for name, x in given.items() if name != "kind"}
    known = {f.name for f in fields(kind)}
    for name in numbers.keys() - known:
        rule = f"must be left out of {given['kind']!r}, which has {', '.join(sorted(known))}"
        raise ProblemError(where + name, rule, str(numbers[name])[:80], "")
    if "decay" in known and "decay" not in numbers:
        remedy = "Give the rate at which B forgets."
        raise ProblemError(f"{where}decay", "must be given", "nothing", remedy)
    return kind(**numbers)


def _words(rule: Any) -> str:
    numbers = (f"{f.name}={brief(getattr(rule, f.name))}" for f in fields(rule))
    return f"{type(rule).__name__}({', '.join(numbers)})"


def _written(rule: Any) -> dict[str, Any]:
    from odekit.problem.plain import plain

    return {"kind": rule.kind, **{f.name: plain(getattr(rule, f.name)) for f in fields(rule)}}
