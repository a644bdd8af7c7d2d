"""Generalization errors of states, and moments of single units, of any activation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate.packing import Reading
from odekit.problem.points import rows_of
from odekit.systems.committee.activations import on_quadrature
from odekit.systems.committee.quadrature import Moments
from odekit_kernels.committee.activations import CODES, QUADRATURE
from odekit_kernels.committee.memory import First, Wiring, constants, make_plan
from odekit_kernels.committee.rows import (
    errors_of_groups_of_rows,
    errors_of_rows,
    moments_of_rows,
)
from odekit_kernels.committee.work import make_work
from odekit_kernels.lanes.memory import make_memory, places_of

if TYPE_CHECKING:
    from odekit.integrate.compiling import Call
    from odekit.systems.committee.activations import Activation
    from odekit.systems.committee.seen import Seen


def code_of(activation: str | Activation, *, closed: bool) -> int:
    """The kernels' code of an activation; `QUADRATURE` where its moments come from quadrature."""
    return CODES[str(activation)] if closed else QUADRATURE


def generalization_errors(
    rows: Floats, activation: str | Activation, T: Floats, u: Floats, head: Any, K: int
) -> Floats:
    """Generalization error of every task, shape (rows, tasks), from flat states (rows, n).

    Parameters
    ----------
    rows : ndarray, shape (rows, n)
        Q's upper triangle, R over the fixed vectors of T, heads.
    activation : str or Activation
    T : ndarray, shape (P, P)
    u : ndarray, shape (tasks, P)
        Readouts of the tasks.
    head : array_like of int, shape (tasks,)
        Head that answers each.
    K : int
        Number of student units.
    """
    asked = (rows, T[np.newaxis], u[np.newaxis], head, K, np.zeros(len(rows), dtype=np.int64))
    own = on_quadrature(activation, gradient_flow=True)
    if own is not None:
        return quadrature_errors(Moments(own, diffusion=False), *asked)
    return closed_errors(CODES[str(activation)], *asked)


def closed_errors(
    code: int, rows: Floats, T: Floats, u: Floats, head: Any, K: int, which: Any
) -> Floats:
    """Errors (rows, tasks) in closed form; `which` is the entry of T and u that each row has."""
    given = _given(code, rows, T, u, head, K, which)
    errors_of_rows(*given)
    return np.asarray(given[-1])


def _given(
    code: int, rows: Floats, T: Floats, u: Floats, head: Any, K: int, which: Any
) -> tuple[Any, ...]:
    """Arguments of `errors_of_rows`, the last of which receives the errors."""
    heads = np.ascontiguousarray(head, dtype=np.int64)
    plan = _plan_of_rows(code, rows.shape[1], T, u, K)
    arrays = (np.ascontiguousarray(x) for x in (rows, T, u))
    return make_memory(plan.size), plan, heads, *arrays, which, np.empty((len(rows), u.shape[1]))


def closed_call(code: int, n: int, T: Floats, u: Floats, head: Any, K: int) -> Call:
    """The kernel that finds errors of rows of n numbers, and its arguments for no row."""
    none = np.zeros(0, dtype=np.int64)
    return errors_of_rows, _given(code, np.empty((0, n)), T, u, head, K, none)


def _plan_of_rows(code: int, n: int, T: Floats, u: Floats, K: int) -> Any:
    """Memory for errors of flat states of n numbers."""
    H = (n - K * (K + 1) // 2 - K * T.shape[1]) // K
    return make_plan(K, T.shape[1], H, 1, 0, u.shape[1], code, False, 0)


def closed_reading(code: int, n: int, T: Floats, u: Floats, head: Any, K: int) -> Reading:
    """What gives the same errors where rows of n numbers are."""
    none = np.zeros(0, dtype=np.int64)
    return _reading(_plan_of_rows(code, n, T, u, K), {"T": T, "watched": u}, head, none)


def errors_by_law(
    code: int,
    rows: Floats,
    T: Floats,
    u: Floats,
    head: Any,
    K: int,
    which: Any,
    seen: Seen,
    law: Any,
) -> Floats:
    """The same with groups of inputs, T (points or 1, G, P, P); each task under its own law."""
    plan, *given = reading_by_law(code, rows.shape[1], T, u, head, K, seen, law)
    out = np.empty((len(rows), u.shape[1]))
    wiring, numbers, order = given
    memory = make_memory(plan.size)
    errors_of_groups_of_rows(memory, plan, wiring, rows, numbers, order, which, out)
    return out


def reading_by_law(
    code: int, n: int, T: Floats, u: Floats, head: Any, K: int, seen: Seen, law: Any
) -> Reading:
    """What gives the same errors where rows of n numbers are."""
    (G, V), P = seen.size, T.shape[-1]
    H = (n - G * (K * (K + 1) // 2 + K * P)) // K
    plan = make_plan(K, P, H, 0, 0, u.shape[1], code, False, 0, (G, V))
    named = {"T": T, "watched": u} | {n: getattr(seen, n) for n in ("share", "ss", "st", "tt")}
    return _reading(plan, named, head, law)


def _reading(plan: Any, named: Mapping[str, Floats], head: Any, law: Any) -> Reading:
    places = {name: x for name, x in constants(plan).items() if name in named}
    none, heads = np.zeros(0, dtype=np.int64), np.ascontiguousarray(head, dtype=np.int64)
    first, K = First(*(0,) * len(First._fields)), plan.K
    wiring = Wiring(none, np.ones(K), none.reshape(0, K), none, heads, first, none, law)
    return Reading(plan, wiring, rows_of(places, {n: named[n] for n in places}), places_of(places))


def quadrature_errors(
    moments: Moments,
    rows: Floats,
    T: Floats,
    u: Floats,
    head: Any,
    K: int,
    which: Any,
    seen: Seen | None = None,
    law: Any = None,
) -> Floats:
    """The same by quadrature, with groups of inputs or without."""
    out = np.empty((len(rows), u.shape[1]))
    heads = np.ascontiguousarray(head, dtype=np.int64)
    G = 0 if seen is None else seen.size[0]
    work = make_work(K, T.shape[-1], 0, 1, G)
    for row, i, errors in zip(rows, which, out, strict=True):
        one, readout = (np.ascontiguousarray(x[min(i, len(x) - 1)]) for x in (T, u))
        inputs = None if seen is None else seen.inputs(law, i)
        given = (one.reshape(-1, one.shape[-1]), inputs, readout, heads, work)
        errors[:] = moments.errors(np.ascontiguousarray(row), *given)
    return out


def unit_moments(Q: Floats, code: int, moments: Moments | None, C: Floats) -> tuple[Floats, Floats]:
    """I2(k, k) and J2(k, k) of every unit, shape (points, K) each; C is the whole covariance."""
    if moments is not None:
        K = Q.shape[-1]
        both = [moments.second(one, K)[:2] for one in C]
        I2, J2 = (np.array([np.diagonal(pair[i]) for pair in both]) for i in (0, 1))
        return I2, J2
    variances = np.ascontiguousarray(np.einsum("...kk->...k", Q)).ravel()
    plan = make_plan(1, 0, 0, 0, 0, 0, code, False, 0)
    I2, J2 = np.empty_like(variances), np.empty_like(variances)
    moments_of_rows(make_memory(plan.size), plan, variances, I2, J2)
    return I2.reshape(Q.shape[:-1]), J2.reshape(Q.shape[:-1])
