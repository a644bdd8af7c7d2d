"""Linear networks as the integrators in lanes take them."""

# ruff: noqa: ARG001 - every system has the same functions, with all arguments

from __future__ import annotations

from typing import Any

from odekit_kernels.gated import flow
from odekit_kernels.gated.paths import GatedPlan
from odekit_kernels.integrators.registry import register
from odekit_kernels.lanes.values import pick

__all__ = ["errors", "jacobian", "rhs"]


def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any) -> None:
    """See `registry.rhs`."""
    flow.rhs(M, m, w, y, dy)


def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """See `registry.errors`."""
    flow.errors(M, m, w, y)


def jacobian(M: Any, m: Any, b: Any, row: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    """See `registry.jacobian`."""
    for j in range(m.T):
        work.memory[work.plan.table + j] = row[j]
    for e in range(m.E):
        work.memory[work.plan.rates + e] = pick(M, m.rates + e, lane)
        work.memory[work.plan.decays + e] = pick(M, m.decays + e, lane)
    flow.jacobian(work.memory, work.plan, b.wiring, y, pick(M, m.eta_w, lane), J)


def static_work(work: Any) -> Any:
    """Memory for Jacobians with a plan by which products take no BLAS, for a device."""
    return work._replace(plan=GatedPlan(*work.plan))


register(GatedPlan, rhs=rhs, errors=errors, jacobian=jacobian, static_work=static_work)
