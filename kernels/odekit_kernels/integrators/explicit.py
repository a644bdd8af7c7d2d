"""Adaptive explicit Runge–Kutta in lanes: methods whose last stage is the derivative at the end."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner, kernel
from odekit_kernels._parts import Part, in_parts
from odekit_kernels.integrators.inside import find_events, write_rows
from odekit_kernels.integrators.registry import fixed, parts_of_rhs, rhs, tolerance
from odekit_kernels.integrators.stepping import (
    clip_steps,
    commit,
    judge,
    parts_around,
    refill,
    set_driven,
)
from odekit_kernels.lanes.values import fill, get, lanes, larger, pick, place, put, smaller
from odekit_kernels.simd import absolute, any_above, choose_less, root

__all__ = ["Tableau", "advance_explicit"]

ROUNDING = 3e-14
"""Difference of two stages, in the largest entry, below which it is rounding."""


class Tableau(NamedTuple):
    """An explicit method, its coefficients as scipy has them.

    Attributes
    ----------
    W : ndarray, shape (stages + 1, stages)
        Weights of the stages, the last row those of the solution.
    nodes : ndarray, shape (stages + 1,)
    E : ndarray, shape (1 or 2, stages + 1)
        Weights of the error estimate; a second one, of lower order, weakens it (DOP853).
    P : ndarray, shape (stages + 1 + more, degree)
        Weights of the dense output by power of θ, from θ on.
    X : ndarray, shape (more, stages + 1 + more)
        Weights of further stages, which the dense output alone needs.
    more_nodes : ndarray, shape (more,)
    exponent : float
        −1/(order of the error estimate + 1).
    """

    W: NDArray[np.float64]
    nodes: NDArray[np.float64]
    E: NDArray[np.float64]
    P: NDArray[np.float64]
    X: NDArray[np.float64]
    more_nodes: NDArray[np.float64]
    exponent: float


@inner
def choose_first_steps(M: Any, m: Any, limits: Any) -> None:
    """Begin with a step that changes the state by a hundredth, measured in tolerances."""
    size, pace = fill(M, 0.0), fill(M, 0.0)
    for i in range(m.n):
        y, f = get(M, m.y + i), get(M, m.k + i)
        scale = tolerance(m, limits, i) + limits.rtol * absolute(y)
        size = size + (y / scale) * (y / scale)
        pace = pace + (f / scale) * (f / scale)
    put(M, m.norm, root(size))
    put(M, m.ratio, root(pace))
    for lane in range(lanes(M)):
        if pick(M, m.fresh, lane) == 1.0 and pick(M, m.wish, lane) <= 0.0:
            d0, d1 = pick(M, m.norm, lane), pick(M, m.ratio, lane)
            h = 0.01 * d0 / d1 if d0 > 1e-5 and d1 > 1e-5 else 1e-6
            # NaN and infinity fail both comparisons: the step itself will tell.
            h = h if h > 1e-12 else 1e-12
            place(M, m.wish, lane, limits.first_step if limits.first_step > 0.0 else h)


@inner
def take_fresh(M: Any, m: Any, last: int) -> None:
    """Move f(y) of new trajectories, computed for all lanes, to the first stage of theirs."""
    fresh = get(M, m.fresh)
    put(M, m.calls, get(M, m.calls) + fresh)
    for i in range(m.n):
        put(M, m.k + i, choose_less(0.5, fresh, get(M, last + i), get(M, m.k + i)))


@inner
def weighted(M: Any, m: Any, W: Any, s: int, terms: int, i: int) -> Any:
    """Σ_j W_sj k_j of entry i."""
    total = W[s, 0] * get(M, m.k + i)
    for j in range(1, terms):
        if W[s, j] != 0.0:
            total = total + W[s, j] * get(M, m.k + j * m.n + i)
    return total


@inner
def combine(M: Any, m: Any, W: Any, s: int, terms: int, out: int) -> None:
    """Write y + h Σ_j W_sj k_j: three entries side by side, for a sum alone waits for itself."""
    h, whole = get(M, m.h), m.n - m.n % 3
    for i in range(0, whole, 3):
        at = m.k + i
        a, b, c = W[s, 0] * get(M, at), W[s, 0] * get(M, at + 1), W[s, 0] * get(M, at + 2)
        for j in range(1, terms):
            at += m.n
            w = W[s, j]
            if w != 0.0:
                a, b, c = a + w * get(M, at), b + w * get(M, at + 1), c + w * get(M, at + 2)
        put(M, out + i, get(M, m.y + i) + h * a)
        put(M, out + i + 1, get(M, m.y + i + 1) + h * b)
        put(M, out + i + 2, get(M, m.y + i + 2) + h * c)
    for i in range(whole, m.n):
        put(M, out + i, get(M, m.y + i) + h * weighted(M, m, W, s, terms, i))


# The only place of the equations: they are most of what there is to compile.
@inner
def stages(M: Any, I: Any, m: Any, b: Any, tableau: Any, limits: Any, more: bool) -> None:
    """All stages of one step of every lane; lanes with a new trajectory have one more, f(y).

    With `more`, after them, those that only the dense output needs.
    """
    count, fresh = tableau.W.shape[1], not more and any_above(get(M, m.fresh), 0.0)
    W, nodes, first, last = tableau.W, tableau.nodes, 0, count + 1
    if more:
        W, nodes, first, last = tableau.X, tableau.more_nodes, last, last + tableau.X.shape[0]
    for s in range(0 if fresh else larger(first, 1), last):
        if s == 1:
            if fresh:
                choose_first_steps(M, m, limits)
            clip_steps(M, m, limits)
        source, target = m.trial, m.k + s * m.n
        if s == 0:
            source, target = m.y, m.k + count * m.n
        else:
            if s == count:
                source = m.new
            combine(M, m, W, s - first, s if more else smaller(s, count), source)
        if limits.scheduled:
            set_driven(M, I, m, b, nodes[s - first])
        rhs(M, m, b.wiring, source, target, limits.moves, limits.trains, limits.decays)
        if s == 0:
            take_fresh(M, m, target)


@inner
def count_more(M: Any, m: Any, tableau: Any) -> None:
    """Count the stages that only the dense output needs, of accepted steps."""
    put(M, m.calls, get(M, m.calls) + float(tableau.X.shape[0]) * get(M, m.accepted))


@inner
def estimate(M: Any, m: Any, tableau: Any, limits: Any) -> None:
    """Fill the error in tolerances, the largest entry of the new state, h|λ| (squared) and hλ₊.

    Two stages at the end of the step differ along the mode that moves most there, λ its rate.
    """
    h, count, E = get(M, m.h), tableau.W.shape[1], tableau.E
    error, large, rise, run = fill(M, 0.0), fill(M, 0.0), fill(M, 0.0), fill(M, 0.0)
    lean, rough = fill(M, 0.0), fill(M, 0.0)
    for i in range(m.n):
        new, old = absolute(get(M, m.new + i)), absolute(get(M, m.y + i))
        atol = tolerance(m, limits, i)
        scale = atol + limits.rtol * choose_less(old, new, new, old)
        scaled = h * weighted(M, m, E, 0, count + 1, i) / scale
        error = error + scaled * scaled
        if E.shape[0] > 1:
            lower = h * weighted(M, m, E, 1, count + 1, i) / scale
            rough = rough + lower * lower
        large = choose_less(large, new, new, large)
        d = get(M, m.k + count * m.n + i) - get(M, m.k + (count - 1) * m.n + i)
        rise = rise + d * d
        way = get(M, m.new + i) - get(M, m.trial + i)
        run = run + way * way
        lean = lean + d * way
    norm = root(error / float(m.n))
    if E.shape[0] > 1:
        both = error + 0.01 * rough
        norm = norm * root(error / choose_less(both, 1e-300, 1e-300, both))
    put(M, m.norm, norm)
    put(M, m.large, large)
    put(M, m.ratio, h * h * rise / choose_less(run, 1e-300, 1e-300, run))
    clear = (ROUNDING * ROUNDING) * large * large
    put(M, m.lean, choose_less(clear, run, h * lean / choose_less(run, 1e-300, 1e-300, run), 0.0))


@kernel(_nrt=False)
def advance_explicit(
    M: Any, I: Any, m: Any, b: Any, tableau: Any, limits: Any, queue: Any, todo: Any, quota: int
) -> bool:
    """Advance trajectories of a batch until the queue is empty or the quota of steps is spent.

    Parameters
    ----------
    M, I : ndarray
        Memory of the group and its whole numbers, `I[INDEX]` −1 in idle lanes. Both keep all there
        is to know between two calls.
    m : named tuple
        Plan of a registered system.
    b : Batch
    tableau : Tableau
    limits : Limits
    queue : ndarray of int64, shape (3,)
        Next position in `todo`, stride, end.
    todo : ndarray of int64
        Trajectories to advance.
    quota : int
        Steps of the group after which to return.

    Returns
    -------
    bool
        Whether all is done.
    """
    m = fixed(m)
    left, more = quota, False
    while left > 0 or more:
        if not more:
            if not refill(M, I, m, b, queue, todo):
                return True
            left -= 1
        stages(M, I, m, b, tableau, limits, more)
        if not more:
            estimate(M, m, tableau, limits)
            put(M, m.unit, get(M, m.h))
            if not judge(M, I, m, b, tableau):
                continue
            if m.W > 0 and tableau.X.shape[0] > 0:
                count_more(M, m, tableau)
                more = True
                continue
        more = False
        if m.W > 0:
            find_events(M, I, m, b, tableau)
        write_rows(M, I, m, b, tableau)
        commit(M, I, m, b, tableau, limits)
    return False


@in_parts(advance_explicit)
def parts_of_explicit(
    M: Any, I: Any, m: Any, b: Any, tableau: Any, limits: Any, queue: Any, *_: Any
) -> list[Part]:
    """The equations last: as much as all else."""
    group = (M, I, m, b, tableau)
    return [
        Part(find_events, group),
        *parts_around(*group, limits, queue),
        Part(choose_first_steps, (M, m, limits)),
        Part(estimate, (M, m, tableau, limits)),
        Part(write_rows, group),
        *parts_of_rhs(M, m, b),
    ]
