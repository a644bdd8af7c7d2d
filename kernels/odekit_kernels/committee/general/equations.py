"""The drive in full as the integrators in lanes take it."""

# ruff: noqa: ARG001 - every system has the same functions, with all arguments

from __future__ import annotations

from typing import Any

from odekit_kernels.committee.general import rhs as lanes
from odekit_kernels.committee.general.differences import differences
from odekit_kernels.committee.general.plan import GeneralPlan
from odekit_kernels.integrators.registry import register
from odekit_kernels.lanes.values import lanes as lanes_of
from odekit_kernels.lanes.values import pick, place

__all__ = ["errors", "jacobian", "rhs"]


def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any) -> None:
    """See `registry.rhs`."""
    lanes.rhs(M, m, w, y, dy, moves, trains)


def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """See `registry.errors`."""
    lanes.errors(M, m, w, y)


def jacobian(M: Any, m: Any, b: Any, row: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    """See `registry.jacobian`."""
    for j in range(b.places.shape[0]):
        x = pick(M, b.places[j], lane)
        for trial in range(lanes_of(work)):
            place(work, b.places[j], trial, x)
    differences(work, m, b.wiring, y, J)


def static_work(work: Any) -> Any:
    """Memory of one trajectory: a thread tries one state after the other."""
    return work[:, 0]


register(GeneralPlan, rhs=rhs, errors=errors, jacobian=jacobian, static_work=static_work)
