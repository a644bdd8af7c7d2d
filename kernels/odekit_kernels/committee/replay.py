"""Steps of one trajectory: taken and recorded, and replayed with derivatives.

An explicit step is a function of the state and of the numbers of a phase. What is differentiated
are the recorded steps, their lengths frozen: forward with the state's sensitivities S, or backward
(discrete adjoint) with derivatives of scalars. Steps of groups of inputs are recorded here, too,
and differentiated by `stencil.fill_stages` and `integrators.variations`. Error control does not see
S, so that steps at the stability limit lose it: h ≤ cap/ρ(J) keeps the derivative as good as the
state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.one import derivative
from odekit_kernels.committee.passes import drive, flow, radius
from odekit_kernels.committee.reverse import prepare, pull, pull_error
from odekit_kernels.integrators.runge_kutta import judged, reach
from odekit_kernels.integrators.tables import rate_at

__all__ = [
    "FAILED",
    "FULL",
    "REACHED",
    "Course",
    "backward",
    "forward",
    "integrals",
    "record",
]

Array = NDArray[np.float64]

REACHED, FULL, FAILED = 0, 1, 2
"""How `record` ended: at the last stop; out of memory for steps; with a step that has no length."""
LOOK = 8
"""Steps from one look at the spectrum to the next."""
SAFETY, LEAST, MOST = 0.9, 0.2, 10.0


class Course(NamedTuple):
    """Recorded steps of a phase.

    Attributes
    ----------
    t, h : ndarray, shape (steps,)
        Where each begins, since the phase began, and its length.
    y : ndarray, shape (steps, n)
        Where it begins.
    eta : ndarray, shape (steps, s, 2)
        Learning rates at its stages.
    row : ndarray of int64, shape (steps,)
        Which row its end is, or −1.
    k : ndarray, shape (steps, s, n) or (0, s, n)
        Derivatives at its stages, where they were kept.
    """

    t: Array
    h: Array
    y: Array
    eta: Array
    row: NDArray[np.int64]
    k: Array


@kernel
def record(
    t: float, wish: float, y: Any, stops: Any, rate_w: Any, rate_v: Any, system: Any, work: Any,
    watch: Any, tape: Any, by: Any, flat: Any, pair: Any, rtol: float, atol: Any, cap: float,
    times: Any, lengths: Any, states: Any, slopes: Any,
) -> Any:  # fmt: skip
    """Step to the last stop, landing on each, and write down where every accepted step begins.

    Parameters
    ----------
    t, wish : float
        Time since the phase began, and the step to try first.
    y : ndarray, shape (n,)
        State, which is moved along.
    stops : ndarray
        Times to land on, increasing; those up to `t` are past.
    rate_w, rate_v : Rate
    system, work, watch, tape
        As in `passes.flow`, of white inputs or of groups of them.
    by, flat : Slopes and ndarray
        For n scalars.
    pair : Pair
    rtol, cap : float
        Relative tolerance; steps are no longer than cap/ρ(J).
    atol : ndarray, shape (n,)
    times, lengths, states : ndarray, shapes (room,), (room,) and (room, n)
        Receive the steps.
    slopes : ndarray, shape (kept, s, n)
        Receives the derivatives at the stages of the first of them.

    Returns
    -------
    how, steps, t, wish : int, int, float, float
        `REACHED`, `FULL` or `FAILED`; how many steps were written, and where to go on.
    """
    n, s = y.shape[0], pair.B.shape[0]
    k, at, new = np.zeros((s + 1, n)), np.zeros(n), np.zeros(n)
    unit, scratch, three = np.zeros(n), np.zeros((n, n)), np.zeros(3)
    done, next_stop, longest, looked, exact = 0, 0, np.inf, LOOK, True
    while next_stop < stops.shape[0] and stops[next_stop] <= t:
        next_stop += 1
    drive(t, tape)
    flow(y, rate_at(rate_w, t), rate_at(rate_v, t), system, work, tape, k[0])
    while next_stop < stops.shape[0]:
        if done == times.shape[0]:
            return FULL, done, t, wish
        left = stops[next_stop] - t
        wanted = min(wish, left)
        if cap < np.inf and (looked >= LOOK or (wanted > longest and not exact)):
            drive(t, tape)
            size, exact = radius(
                y, rate_at(rate_w, t), rate_at(rate_v, t), cap / wanted, system, watch, tape, by,
                flat, unit, scratch, three,
            )  # fmt: skip
            longest, looked = cap / size if size > 0.0 else np.inf, 0
        h = min(wish, longest)
        lands = h >= left * (1.0 - 1e-12)
        h = left if lands else h
        if not lands and 2.0 * h > left:
            h = 0.5 * left
        if not t + h > t:
            return FAILED, done, t, wish
        for i in range(1, s + 1):
            time = t + h * pair.C[i] if i < s else (stops[next_stop] if lands else t + h)
            if i < s:
                reach(y, h, pair.A[i], k, i, at)
            else:
                for l in range(n):
                    total = 0.0
                    for j in range(s):
                        total += pair.B[j] * k[j, l]
                    new[l] = y[l] + h * total
                    at[l] = new[l]
            drive(time, tape)
            flow(at, rate_at(rate_w, time), rate_at(rate_v, time), system, work, tape, k[i])
        norm = judged(y, new, h, k, pair, rtol, atol)
        if not norm < 1.0:
            factor = SAFETY * norm**pair.exponent if norm >= 1.0 else LEAST
            wish = h * max(LEAST, factor)
            if not wish > 0.0:
                return FAILED, done, t, wish
            continue
        times[done], lengths[done] = t, h
        if done < slopes.shape[0]:
            slopes[done] = k[:s]
        for l in range(n):
            states[done, l] = y[l]
            y[l] = new[l]
            k[0, l] = k[s, l]
        factor = MOST if norm == 0.0 else min(MOST, SAFETY * norm**pair.exponent)
        wish = max(wish, h * factor) if lands else h * factor
        done += 1
        looked += 1
        t = time
        next_stop += lands
    return REACHED, done, t, wish


@inner
def take_stages(course: Any, step: int, system: Any, work: Any, pair: Any, k: Any, at: Any) -> None:
    """States and derivatives at the stages of a recorded step."""
    y, h = course.y[step], course.h[step]
    kept = course.k.shape[0] > 0
    for i in range(pair.B.shape[0]):
        reach(y, h, pair.A[i], k, i, at[i])
        if kept:
            for l in range(y.shape[0]):
                k[i, l] = course.k[step, i, l]
            continue
        eta_w, eta_v = course.eta[step, i, 0], course.eta[step, i, 1]
        derivative(at[i], eta_w, eta_v, system, work, k[i])


@inner
def add_product(first: int, left: Any, i: int, rows: Any, right: Any, out: Any) -> None:
    """Add row i of `left`, from its entry `first` on, times the listed rows of `right`."""
    for r in range(rows.shape[0]):
        factor = left[i, first + rows[r]]
        if factor != 0.0:
            for j in range(out.shape[0]):
                out[j] += factor * right[rows[r], j]


@kernel
def forward(
    course: Any, S: Any, theta: Any, rows_of_theta: Any, along: Any, by_rate: Any, Z: Any,
    system: Any, work: Any, watch: Any, tape: Any, by: Any, flat: Any, pair: Any, out_S: Any,
    out_Z: Any,
) -> None:  # fmt: skip
    """Carry sensitivities along recorded steps.

    Parameters
    ----------
    course : Course
    S : ndarray, shape (n, m)
        ∂y/∂α of m parameters, which is moved along.
    theta : ndarray, shape (…, m)
        ∂θ/∂α of the phase's numbers, in the order of `reverse.Slopes` after y and without eta.
    rows_of_theta : ndarray of int64
        Those of its rows that are not 0.
    along : ndarray of int64, shape (r, 2)
        Of parameters that learning rates depend on: layer and parameter.
    by_rate : ndarray, shape (r, steps, s)
        Derivatives of the rates by them at the stages.
    Z : ndarray, shape (W, m)
        ∂/∂α of the errors' integrals, moved along; W = 0 leaves them out.
    by, flat : Slopes and ndarray
        For n + W scalars.
    out_S, out_Z : ndarray, shapes (rows, n, m), (rows, W, m)
        Receive what there is at the rows.
    """
    n, m, s, W = S.shape[0], S.shape[1], pair.B.shape[0], Z.shape[0]
    k, at, unit = np.zeros((s, n)), np.zeros((s, n)), np.zeros(n)
    K, T = np.zeros((s, n, m)), np.zeros((n, m))
    whole, last = np.arange(n), flat.shape[1] - 2
    for step in range(course.h.shape[0]):
        h = course.h[step]
        take_stages(course, step, system, work, pair, k, at)
        for i in range(s):
            for r in range(n):
                for j in range(m):
                    total = 0.0
                    for b in range(i):
                        total += pair.A[i, b] * K[b, r, j]
                    T[r, j] = S[r, j] + h * total
            flat[:] = 0.0
            eta_w, eta_v = course.eta[step, i, 0], course.eta[step, i, 1]
            prepare(at[i], system, tape)
            for r in range(n):
                unit[r] = 1.0
                pull(r, at[i], eta_w, eta_v, system, unit, watch, tape, by)
                unit[r] = 0.0
            for r in range(n):
                row = K[i, r]
                row[:] = 0.0
                add_product(0, flat, r, whole, T, row)
                add_product(n, flat, r, rows_of_theta, theta, row)
                for p in range(along.shape[0]):
                    row[along[p, 1]] += flat[r, last + along[p, 0]] * by_rate[p, step, i]
            if pair.B[i] != 0.0:
                for w in range(W):
                    weight = h * pair.B[i]
                    pull_error(n + w, at[i], system, w, weight, watch, tape, by)
                    add_product(0, flat, n + w, whole, T, Z[w])
                    add_product(n, flat, n + w, rows_of_theta, theta, Z[w])
        for r in range(n):
            for j in range(m):
                for i in range(s):
                    S[r, j] += h * pair.B[i] * K[i, r, j]
        if course.row[step] >= 0:
            out_S[course.row[step]] = S
            out_Z[course.row[step]] = Z


@kernel
def integrals(
    course: Any, values: Any, system: Any, work: Any, watch: Any, tape: Any, by: Any, pair: Any,
    out: Any,
) -> None:  # fmt: skip
    """Time integrals of the errors of all tasks along recorded steps.

    Parameters
    ----------
    course : Course
    values : ndarray, shape (W,)
        Those so far, moved along.
    by : Slopes
        For one scalar; scratch.
    out : ndarray, shape (rows, W)
        Receives what there is at the rows.
    """
    n, s = course.y.shape[1], pair.B.shape[0]
    k, at = np.zeros((s, n)), np.zeros((s, n))
    for step in range(course.h.shape[0]):
        take_stages(course, step, system, work, pair, k, at)
        for i in range(s):
            for w in range(values.shape[0]):
                weight = course.h[step] * pair.B[i]
                if weight != 0.0:
                    values[w] += weight * pull_error(0, at[i], system, w, 0.0, watch, tape, by)
        if course.row[step] >= 0:
            out[course.row[step]] = values


@kernel
def backward(
    course: Any, lam: Any, zeta: Any, bump: Any, bump_zeta: Any, system: Any, work: Any, watch: Any,
    tape: Any, by: Any, pair: Any, by_rate: Any,
) -> None:  # fmt: skip
    """Carry derivatives of q scalars back along recorded steps.

    Parameters
    ----------
    course : Course
    lam : ndarray, shape (q, n)
        Derivatives by the state at the end, moved back to the beginning.
    zeta : ndarray, shape (q, W)
        Derivatives by the errors' integrals up to the end; W = 0 leaves them out.
    bump, bump_zeta : ndarray, shapes (rows, q, n) and (rows, q, W)
        What the rows add to them.
    by : Slopes
        For q scalars or more; receives the derivatives by the numbers of the phase, summed over the
        steps. Its parts `y` and `eta` are scratch.
    by_rate : ndarray, shape (q, steps, s, 2)
        Receives the derivatives by the learning rates at the stages.
    """
    q, n, s, W = lam.shape[0], lam.shape[1], pair.B.shape[0], zeta.shape[1]
    k, at, w = np.zeros((s, n)), np.zeros((s, n)), np.zeros(n)
    back = np.zeros((s, q, n))
    for step in range(course.h.shape[0] - 1, -1, -1):
        h, row = course.h[step], course.row[step]
        if row >= 0:
            lam += bump[row]
            zeta += bump_zeta[row]
        take_stages(course, step, system, work, pair, k, at)
        for i in range(s - 1, -1, -1):
            eta_w, eta_v = course.eta[step, i, 0], course.eta[step, i, 1]
            prepare(at[i], system, tape)
            by.y[:] = 0.0
            by.eta[:] = 0.0
            for x in range(q):
                for l in range(n):
                    total = pair.B[i] * lam[x, l]
                    for j in range(i + 1, s):
                        total += pair.A[j, i] * back[j, x, l]
                    w[l] = h * total
                pull(x, at[i], eta_w, eta_v, system, w, watch, tape, by)
                by_rate[x, step, i, 0] = by.eta[x, 0]
                by_rate[x, step, i, 1] = by.eta[x, 1]
            if pair.B[i] != 0.0:
                for x in range(q):
                    for task in range(W):
                        weight = h * pair.B[i] * zeta[x, task]
                        if weight != 0.0:
                            pull_error(x, at[i], system, task, weight, watch, tape, by)
            back[i] = by.y[:q]
        for i in range(s):
            lam += back[i]
