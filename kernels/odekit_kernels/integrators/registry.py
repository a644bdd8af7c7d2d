"""The equations that the integrators in lanes advance: chosen by the type of plan as they compile.

A new system has a plan of its own type with the fields `plan.MACHINERY`, a wiring, and the
functions below.
"""

# ruff: noqa: ARG001 - every system has the same functions, with all arguments

from __future__ import annotations

from typing import Any

from odekit_kernels.committee import lanes as committee
from odekit_kernels.committee.jacobian import jacobian as committee_jacobian
from odekit_kernels.committee.memory import committee_of
from odekit_kernels.committee.work import alternatives, upper_index
from odekit_kernels.gated import flow as gated
from odekit_kernels.lanes.values import pick
from odekit_kernels.outside import flow as outside

__all__ = ["at_corner", "errors", "jacobian", "rhs", "static", "tolerance"]


def _chosen(plan: Any, of_gated: Any, of_outside: Any, of_committee: Any) -> Any:
    if issubclass(plan, outside.Plan):
        return of_outside
    return of_gated if plan is gated.Plan else of_committee


def static(m: Any) -> Any:
    """The plan as a device needs it: without addresses of functions of the host."""
    return outside.static(m) if isinstance(m, outside.Plan) else m


def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any) -> None:
    """Write the time derivative of the state at `y` to `dy`; the flags are those of `Limits`."""
    _chosen(type(m), _gated_rhs, _outside_rhs, _committee_rhs)(
        M, m, w, y, dy, moves, trains, decays
    )


def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """Write the errors of the watched tasks, of the state at `y`, to `m.error`."""
    _chosen(type(m), _gated_errors, _outside_errors, _committee_errors)(M, m, w, y)


def jacobian(M: Any, m: Any, b: Any, i: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    """Jacobian of trajectory i, which is in a lane, with its state in `y`, to `J`."""
    _chosen(type(m), _gated_jacobian, _outside_jacobian, _committee_jacobian)(
        M, m, b, i, lane, work, y, J
    )


def at_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    """Whether an entry of the trajectory in a lane is so small that a corner may be near."""
    return _chosen(type(m), _gated_at_corner, _outside_at_corner, _committee_at_corner)(
        M, m, w, small, lane
    )


def tolerance(m: Any, limits: Any, i: Any) -> Any:
    """Absolute tolerance of entry i of the state."""
    return _chosen(type(m), _gated_tolerance, _outside_tolerance, _committee_tolerance)(
        m, limits, i
    )


@alternatives(rhs, strict=False)
def _rhs(M: Any, m: Any, *rest: Any) -> Any:
    return _chosen(m.instance_class, _gated_rhs, _outside_rhs, _committee_rhs)


@alternatives(errors, strict=False)
def _errors(M: Any, m: Any, *rest: Any) -> Any:
    return _chosen(m.instance_class, _gated_errors, _outside_errors, _committee_errors)


@alternatives(jacobian, strict=False)
def _jacobian(M: Any, m: Any, *rest: Any) -> Any:
    return _chosen(m.instance_class, _gated_jacobian, _outside_jacobian, _committee_jacobian)


@alternatives(at_corner, strict=False)
def _at_corner(M: Any, m: Any, *rest: Any) -> Any:
    return _chosen(m.instance_class, _gated_at_corner, _outside_at_corner, _committee_at_corner)


@alternatives(tolerance, strict=False)
def _tolerance(m: Any, *rest: Any) -> Any:
    return _chosen(m.instance_class, _gated_tolerance, _outside_tolerance, _committee_tolerance)


# --------------------------------------------------------------------------------------- committees


def _committee_rhs(
    M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any
) -> None:
    committee.rhs(M, m, w, y, dy, moves, trains, decays)


def _committee_errors(M: Any, m: Any, w: Any, y: Any) -> None:
    committee.errors(M, m, w.watched_head, y)


def _committee_jacobian(
    M: Any, m: Any, b: Any, i: Any, lane: Any, work: Any, y: Any, J: Any
) -> None:
    eta_w, eta_v = pick(M, m.eta_w, lane), pick(M, m.eta_v, lane)
    row = b.constants[i if b.constants.shape[0] > 1 else 0]
    committee_jacobian(y, eta_w, eta_v, committee_of(m, b.wiring, row), work, J)


def _committee_at_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    for k in range(m.K):
        if w.move[k] != 0.0 and pick(M, m.y + upper_index(k, k, m.K), lane) < small:
            return True
    return False


def _committee_tolerance(m: Any, limits: Any, i: Any) -> Any:
    if limits.corner > 0.0:
        for k in range(m.K):
            if i == upper_index(k, k, m.K):
                return limits.atol_corner
    return limits.atol


# ---------------------------------------------------------------------------------- linear networks


def _gated_rhs(
    M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any
) -> None:
    gated.rhs(M, m, w, y, dy)


def _gated_errors(M: Any, m: Any, w: Any, y: Any) -> None:
    gated.errors(M, m, w, y)


def _gated_at_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    return False


def _gated_tolerance(m: Any, limits: Any, i: Any) -> Any:
    return limits.atol


def _gated_jacobian(M: Any, m: Any, b: Any, i: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    row = b.constants[i if b.constants.shape[0] > 1 else 0]
    for j in range(m.T):
        work.memory[work.plan.table + j] = row[j]
    gated.jacobian(work.memory, work.plan, b.wiring, y, pick(M, m.eta_w, lane), J)


# ------------------------------------------------------------------------------- declared by a user


def _outside_rhs(
    M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any
) -> None:
    outside.rhs(M, m, y, dy)


def _outside_errors(M: Any, m: Any, w: Any, y: Any) -> None:
    outside.errors(M, m, y)


def _outside_jacobian(M: Any, m: Any, b: Any, i: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    outside.jacobian(M, m, lane, work, y, J)


def _outside_at_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    return False


def _outside_tolerance(m: Any, limits: Any, i: Any) -> Any:
    return limits.atol
