"""A committee as the integrators in lanes take it."""

# ruff: noqa: ARG001 - every system has the same functions, with all arguments

from __future__ import annotations

from typing import Any

from numba import types

from odekit_kernels._jit import inner
from odekit_kernels._parts import Part
from odekit_kernels.committee import groups_in_lanes, lanes
from odekit_kernels.committee.jacobian import fill as jacobian_of_one
from odekit_kernels.committee.jacobian import fill_with_groups as jacobian_of_one_with_groups
from odekit_kernels.committee.one import Committee, Inputs
from odekit_kernels.committee.sized import with_places, with_sizes
from odekit_kernels.committee.work import upper_index
from odekit_kernels.lanes.values import pick, shaped

__all__ = [
    "at_corner",
    "committee_of",
    "decode",
    "decode_with_groups",
    "errors",
    "errors_of_groups",
    "fixed",
    "jacobian",
    "jacobian_of_groups",
    "parts",
    "parts_of_groups",
    "rhs",
    "rhs_of_groups",
    "rhs_with_sizes",
    "tolerance",
]


def decode(m: Any, w: Any, row: Any) -> Any:
    """The constants of one trajectory as the kernels of a single one take them."""
    P, S, c, K, at = m.P, m.S, m.c, m.K, w.first
    return Committee(
        m.activation,
        shaped(row, at.T, (P, P)),
        shaped(row, at.u, (S, P)),
        row[at.sigma : at.sigma + S],
        row[at.p : at.p + S],
        w.head,
        w.move,
        row[at.inverse_batch] * m.online,
        row[at.kappa_w],
        row[at.kappa_v],
        shaped(row, at.F, (c, K)),
        w.anchor,
        shaped(row, at.F_v, (c, K)),
        shaped(row, at.v_anchor, (c, K)),
        w.v_head,
        None,
    )


def decode_with_groups(m: Any, w: Any, row: Any) -> Any:
    """The same with groups of inputs."""
    P, G, V, S, c, K, at = m.P, m.G, m.V, m.S, m.c, m.K, w.first
    return Committee(
        m.activation,
        shaped(row, at.T, (G * P, P)),
        shaped(row, at.u, (S, P)),
        row[at.sigma : at.sigma + S],
        row[at.p : at.p + S],
        w.head,
        w.move,
        row[at.inverse_batch] * m.online,
        row[at.kappa_w],
        row[at.kappa_v],
        shaped(row, at.F, (c * G, K)),
        w.anchor,
        shaped(row, at.F_v, (c, K)),
        shaped(row, at.v_anchor, (c, K)),
        w.v_head,
        Inputs(
            row[at.share : at.share + G],
            row[at.pace : at.pace + G],
            shaped(row, at.ss, (V, G)),
            shaped(row, at.st, (V, G)),
            shaped(row, at.tt, (V, G)),
            w.law,
        ),
    )


committee_of = inner(decode)
committee_with_groups = inner(decode_with_groups)


def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any) -> None:
    """See `registry.rhs`."""
    lanes.rhs(M, m, w, y, dy, moves, trains, decays)


def rhs_with_sizes(
    M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any
) -> None:
    """See `registry.rhs`: of a `SizedPlan`."""
    lanes.rhs(M, with_sizes(m), w, y, dy, moves, trains, decays)


def parts(M: Any, m: Any, w: Any) -> list[Part]:
    """See `registry.register`."""
    return [Part(lanes.rhs, (M, m, w, *(types.int64,) * 2, *(types.boolean,) * 3))]


def parts_of_groups(M: Any, m: Any, w: Any) -> list[Part]:
    """See `registry.register`."""
    return [Part(groups_in_lanes.rhs, (M, m, w, *(types.int64,) * 2, *(types.boolean,) * 3))]


def fixed(m: Any) -> Any:
    """See `registry.fixed`: of a `SizedPlan`."""
    return with_places(m)


def errors(M: Any, m: Any, w: Any, y: Any) -> None:
    """See `registry.errors`."""
    lanes.errors(M, m, w.watched_head, y)


def jacobian(M: Any, m: Any, b: Any, row: Any, lane: Any, work: Any, y: Any, J: Any) -> None:
    """See `registry.jacobian`."""
    eta_w, eta_v = row[b.wiring.first.eta_w], row[b.wiring.first.eta_v]
    jacobian_of_one(y, eta_w, eta_v, committee_of(m, b.wiring, row), work, J)


def rhs_of_groups(
    M: Any, m: Any, w: Any, y: Any, dy: Any, moves: Any, trains: Any, decays: Any
) -> None:
    """See `registry.rhs`."""
    groups_in_lanes.rhs(M, m, w, y, dy, moves, trains, decays)


def errors_of_groups(M: Any, m: Any, w: Any, y: Any) -> None:
    """See `registry.errors`."""
    groups_in_lanes.errors(M, m, w.watched_head, w.watched_law, y)


def jacobian_of_groups(
    M: Any, m: Any, b: Any, row: Any, lane: Any, work: Any, y: Any, J: Any
) -> None:
    """See `registry.jacobian`."""
    eta_w, eta_v = row[b.wiring.first.eta_w], row[b.wiring.first.eta_v]
    system = committee_with_groups(m, b.wiring, row)
    jacobian_of_one_with_groups(y, eta_w, eta_v, system, work, J)


def at_corner(M: Any, m: Any, w: Any, small: Any, lane: Any) -> Any:
    """See `registry.at_corner`: a unit that moves has all but vanished."""
    for k in range(m.K):
        if w.move[k] != 0.0 and pick(M, m.y + upper_index(k, k, m.K), lane) < small:
            return True
    return False


def tolerance(m: Any, limits: Any, i: Any) -> Any:
    """See `registry.tolerance`."""
    if limits.corner > 0.0:
        for k in range(m.K):
            if i == upper_index(k, k, m.K):
                return limits.atol_corner
    return limits.atol
