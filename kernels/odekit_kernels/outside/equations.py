"""The equations of declared systems, as the integrators take them."""

# ruff: noqa: ARG001 - every system has the same functions, with all arguments

from __future__ import annotations

from typing import Any

from odekit_kernels.integrators.registry import register
from odekit_kernels.outside import flow
from odekit_kernels.outside.plan import DeclaredPlan, static


def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any) -> None:
    """Write the time derivative of the state at `y` to `dy`."""
    flow.rhs(M, m, y, dy)


def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """Write the errors of the watched tasks to `m.error`."""
    flow.errors(M, m, y)


def jacobian(M: Any, m: Any, b: Any, row: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    """Jacobian of the trajectory in a lane, with its state in `y`, to `J`."""
    flow.jacobian(M, m, lane, work, y, J)


register(DeclaredPlan, rhs=rhs, errors=errors, jacobian=jacobian, static=static)
