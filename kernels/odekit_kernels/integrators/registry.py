"""The equations that the integrators in lanes advance: those registered for the type of the plan.

The integrators know no system. Each registers its functions for its type of plan, in its own
folder, and the functions here become these as an integrator compiles: a plan that nobody registered
does not compile.
"""

# ruff: noqa: ARG001 - every system has the same functions, with all arguments

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from odekit_kernels._jit import alternatives
from odekit_kernels._parts import Part, field

__all__ = [
    "Equations",
    "at_corner",
    "equations_of",
    "errors",
    "fixed",
    "jacobian",
    "parts_of_rhs",
    "register",
    "rhs",
    "static",
    "static_work",
    "tolerance",
]


class Equations(NamedTuple):
    """The functions of a system; see `register`."""

    rhs: Callable[..., None]
    errors: Callable[..., None]
    jacobian: Callable[..., None]
    at_corner: Callable[..., Any]
    tolerance: Callable[..., Any]
    static: Callable[[Any], Any]
    static_work: Callable[[Any], Any]
    parts: Callable[..., Sequence[Part]]
    fixed: Callable[[Any], Any]


_known: dict[Any, Equations] = {}


def no_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    """`at_corner` of equations that are smooth everywhere."""
    return False


def one_tolerance(m: Any, limits: Any, i: Any) -> Any:
    """`tolerance` of states with one for all entries."""
    return limits.atol


def as_it_is(m: Any) -> Any:
    """`static` of plans of whole numbers, and `static_work` of what a device can have as it is."""
    return m


def no_parts(M: Any, m: Any, w: Any) -> Sequence[Part]:
    """`parts` of equations that are compiled in one piece."""
    return ()


def register(
    plan: type,
    *,
    rhs: Callable[..., None],
    errors: Callable[..., None],
    jacobian: Callable[..., None],
    at_corner: Callable[..., Any] = no_corner,
    tolerance: Callable[..., Any] = one_tolerance,
    static: Callable[[Any], Any] = as_it_is,
    static_work: Callable[[Any], Any] = as_it_is,
    parts: Callable[..., Sequence[Part]] = no_parts,
    fixed: Callable[[Any], Any] = as_it_is,
) -> None:
    """Say what the integrators advance where they are given a plan of this type.

    Parameters
    ----------
    plan : type
        A NamedTuple of its own of whole numbers, with the fields of `lanes.memory.MACHINERY`.
    rhs, errors, jacobian, at_corner, tolerance : callable
        With the arguments of the functions of this module. Plain functions of module level, which
        numba compiles into each integrator.
    static : callable
        The plan as a device needs it: without addresses of functions of the host.
    static_work : callable
        The memory for Jacobians as a device needs it: for one trajectory, without libraries of the
        host.
    parts : callable
        Parts of `rhs` that are compiled apart, by numba's types of the memory, the plan and what
        trajectories share.
    fixed : callable
        The plan with what all plans of the type have in common as constants.

    Raises
    ------
    TypeError
        If it is no named tuple, or has been registered already, with other functions.

    Examples
    --------
    >>> from odekit_kernels.committee.memory import CommitteePlan
    >>> equations_of(CommitteePlan).rhs.__module__
    'odekit_kernels.committee.equations'
    """
    if not (isinstance(plan, type) and issubclass(plan, tuple) and hasattr(plan, "_fields")):
        raise TypeError(f"`plan` must be a type of named tuples, got {plan!r}")
    given: tuple[Any, ...] = (
        rhs,
        errors,
        jacobian,
        at_corner,
        tolerance,
        static,
        static_work,
        parts,
        fixed,
    )
    found = Equations(*(getattr(f, "py_func", f) for f in given))
    if _known.setdefault(plan, found) != found:
        raise TypeError(f"plans of type {_name(plan)} have other equations already")


def equations_of(plan: Any) -> Equations:
    """The functions registered for a type of plan.

    Raises
    ------
    TypeError
        If there are none.
    """
    found = next((p for p in getattr(plan, "__mro__", ()) if p in _known), None)
    if found is None:
        raise TypeError(
            f"no equations are registered for plans of type {_name(plan)}; known are "
            f"{', '.join(map(_name, _known)) or 'none'}: call registry.register({_name(plan)}, ...)"
        )
    return _known[found]


def static(m: Any) -> Any:
    """A plan as a device needs it."""
    return equations_of(type(m)).static(m)


def static_work(m: Any, work: Any) -> Any:
    """The memory for Jacobians of a plan as a device needs it."""
    return equations_of(type(m)).static_work(work)


def fixed(m: Any) -> Any:
    """A plan with what all of its type have in common, in compiled kernels as constants."""
    return equations_of(type(m)).fixed(m)


def _name(plan: Any) -> str:
    return f"{plan.__module__}.{plan.__qualname__}" if isinstance(plan, type) else str(plan)


def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any) -> None:
    """Write the time derivative of the state at `y` to `dy`; the flags are those of `Limits`."""
    equations_of(type(m)).rhs(M, m, w, y, dy, moves, trains, decays)


def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """Write the errors of the watched tasks, of the state at `y`, to `m.error`."""
    equations_of(type(m)).errors(M, m, w, y)


def jacobian(M: Any, m: Any, b: Any, row: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    """Jacobian of the trajectory in a lane, of state `y` and with the constants `row`, to `J`."""
    equations_of(type(m)).jacobian(M, m, b, row, lane, work, y, J)


def _compiled(m: Any) -> Equations:
    """The same of numba's type of a plan."""
    return equations_of(getattr(m, "instance_class", m))


def at_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    """Whether an entry of the trajectory in a lane is so small that a corner may be near."""
    return equations_of(type(m)).at_corner(M, m, w, small, lane)


def tolerance(m: Any, limits: Any, i: Any) -> Any:
    """Absolute tolerance of entry i of the state."""
    return equations_of(type(m)).tolerance(m, limits, i)


def parts_of_rhs(M: Any, m: Any, b: Any) -> Sequence[Part]:
    """Parts of the right-hand side, by types of the memory, the plan and the batch."""
    return _compiled(m).parts(M, m, field(b, "wiring"))


@alternatives(rhs, strict=False)
def _rhs(M: Any, m: Any, *rest: Any) -> Any:
    return _compiled(m).rhs


@alternatives(errors, strict=False)
def _errors(M: Any, m: Any, *rest: Any) -> Any:
    return _compiled(m).errors


@alternatives(jacobian, strict=False)
def _jacobian(M: Any, m: Any, *rest: Any) -> Any:
    return _compiled(m).jacobian


@alternatives(at_corner, strict=False)
def _at_corner(M: Any, m: Any, *rest: Any) -> Any:
    return _compiled(m).at_corner


@alternatives(fixed, strict=False)
def _fixed(m: Any) -> Any:
    return _compiled(m).fixed


@alternatives(tolerance, strict=False)
def _tolerance(m: Any, *rest: Any) -> Any:
    return _compiled(m).tolerance
