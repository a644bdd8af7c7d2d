"""What is asked of single states, of many at once: errors, and moments of single units."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.lanes import errors, norms, second, self_slope
from odekit_kernels.integrators.registry import errors as errors_by_plan
from odekit_kernels.integrators.rows import load_constants, load_rows
from odekit_kernels.lanes.values import lanes, pick, place, put
from odekit_kernels.simd import WIDTH

__all__ = ["errors_of_groups_of_rows", "errors_of_rows", "moments_of_rows"]


@inner
def load_tasks(M: Any, m: Any, T: Any, u: Any, which: Any, first: int) -> None:
    """Fixed vectors and readouts of the tasks, of the trajectory of each row."""
    for lane in range(lanes(M)):
        i = which[min(first + lane, which.shape[0] - 1)]
        j, l = min(i, T.shape[0] - 1), min(i, u.shape[0] - 1)
        for n in range(m.P):
            for o in range(m.P):
                place(M, m.C + (m.K + n) * m.D + m.K + o, lane, T[j, n, o])
        for s in range(m.W):
            for n in range(m.P):
                place(M, m.watched + s * m.D + m.K + n, lane, u[l, s, n])


@kernel(_nrt=False)
def errors_of_rows(
    M: Any, m: Any, heads: Any, rows: Any, T: Any, u: Any, which: Any, out: Any
) -> None:
    """Generalisation errors, ε_g = ½ Σ_ab c_a c_b I2(a, b), of many states.

    Parameters
    ----------
    M : ndarray, shape (size, 8)
        Memory of a group.
    m : CommitteePlan
        With as many watched tasks as `u`.
    heads : ndarray of int64, shape (tasks,)
    rows : ndarray, shape (rows, n)
    T, u : ndarray, shapes (B or 1, P, P) and (B or 1, tasks, P)
    which : ndarray of int64, shape (rows,)
        Trajectory of each row.
    out : ndarray, shape (rows, tasks)
        Receives the errors.
    """
    alike = T.shape[0] == 1 and u.shape[0] == 1
    for first in range(0, rows.shape[0], WIDTH):
        count = load_rows(M, m, rows, first)
        if first == 0 or not alike:
            load_tasks(M, m, T, u, which, first)
        errors(M, m, heads, m.y)
        for lane in range(count):
            for s in range(m.W):
                out[first + lane, s] = pick(M, m.error + s, lane)


@kernel(_nrt=False)
def errors_of_groups_of_rows(
    M: Any, m: Any, w: Any, rows: Any, constants: Any, places: Any, which: Any, out: Any
) -> None:
    """`errors_of_rows` of the equations registered for the plan: with groups of inputs, or in full.

    Parameters
    ----------
    M : ndarray, shape (size, 8)
    m : GroupsPlan or GeneralPlan
    w : Wiring
        Of the watched tasks.
    rows : ndarray, shape (rows, n)
    constants : ndarray, shape (B or 1, width)
        Rows of constants, and `places` where each goes in M.
    which : ndarray of int64, shape (rows,)
        Trajectory of each row.
    out : ndarray, shape (rows, tasks)
        Receives the errors.
    """
    for first in range(0, rows.shape[0], WIDTH):
        count = load_rows(M, m, rows, first)
        load_constants(M, constants, places, which, first)
        errors_by_plan(M, m, w, m.y)
        for lane in range(count):
            for s in range(m.W):
                out[first + lane, s] = pick(M, m.error + s, lane)


@kernel(_nrt=False)
def moments_of_rows(M: Any, m: Any, variances: Any, I2: Any, J2: Any) -> None:
    """E[g(λ)²] and E[g'(λ)²] of single fields of given variances.

    Parameters
    ----------
    M : ndarray, shape (size, 8)
    m : CommitteePlan
        Of any size.
    variances : ndarray, shape (rows,)
    I2, J2 : ndarray, shape (rows,)
        Receive the moments.
    """
    for first in range(0, variances.shape[0], WIDTH):
        for a in range(m.D):
            for lane in range(WIDTH):
                row = min(first + lane, variances.shape[0] - 1)
                place(M, m.C + a * m.D + a, lane, variances[row])
        norms(M, m)
        place_moments(M, m, first, min(WIDTH, variances.shape[0] - first), I2, J2)


@inner
def place_moments(M: Any, m: Any, first: int, count: int, I2: Any, J2: Any) -> None:
    """Copy the moments of the first field out of the lanes."""
    put(M, m.norm, second(M, m, 0, 0))
    put(M, m.ratio, self_slope(M, m, 0))
    for lane in range(count):
        I2[first + lane] = pick(M, m.norm, lane)
        J2[first + lane] = pick(M, m.ratio, lane)
