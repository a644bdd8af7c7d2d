"""A batch of trajectories, and how one gets into a lane and out of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .._jit import kernel
from ..work import inner
from .plan import Wiring
from .values import lanes, pick, place

__all__ = ["OUTCOMES", "Batch", "Rates", "enter", "finish", "own", "put_back", "rate_at"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# What became of a trajectory in a phase: `Batch.code`.
RUNNING, DONE, THRESHOLD, NONFINITE, BLOW_UP, STALLED, STEP_BUDGET, HAND_OVER = range(8)
OUTCOMES = {
    "running": RUNNING,
    "done": DONE,
    "threshold": THRESHOLD,
    "nonfinite": NONFINITE,
    "blow_up": BLOW_UP,
    "stalled": STALLED,
    "step_budget": STEP_BUDGET,
    "hand_over": HAND_OVER,
}
"""Codes of `Batch.code`; "hand_over" asks for the other integrator."""

# Rows of the whole numbers of a lane.
INDEX, ROW, STEPS, CALLS, JACOBIANS, WAITS = range(6)
FRESH, SHRINKS, REJECTED, STIFF, EASY, STOP, CRAWLS, HIT, SINCE = range(6, 15)
COUNTERS = 15


class Rates(NamedTuple):
    """Piecewise cubic learning rate of time since the phase began; no pieces: a constant.

    Attributes
    ----------
    start : ndarray, shape (pieces,)
        Where each piece begins.
    coefficients : ndarray, shape (pieces, 4)
        Of the powers 3, 2, 1, 0 of the time since then.
    last : float
        End of the last piece; the value there holds on.
    final : float
        That value.
    """

    start: Array
    coefficients: Array
    last: float
    final: float


class Batch(NamedTuple):
    """One phase of B trajectories; arrays are C-contiguous, and of B or (if shared) of 1 entries.

    Attributes
    ----------
    y : ndarray, shape (B, n)
        State; in the end that which the phase ended with, or the last one that was reached.
    time, begin, end, h : ndarray, shape (B,)
        Current time; start and end of the phase; next step to try (0: choose).
    code, steps, calls, jacobians, row, waits : ndarray of int64, shape (B,)
        What became of it; accepted steps, right-hand sides and Jacobians so far; next row to fill;
        how often the implicit integrator has sent it back.
    crawl : ndarray, shape (B, 2)
        Time at the last look at its pace, and looks in a row at which it got nowhere.
    times : ndarray, shape (rows,)
        Output times.
    rows : ndarray, shape (B, rows, n_visible)
        Receives the states at these times; other entries are left as they are.
    shown : ndarray of int64, shape (n_visible,)
        Which entries of the state a row shows.
    stops : ndarray, shape (stops,)
        Times since the phase began that no step may straddle.
    T, u, sigma, p : ndarray, shapes (B, P, P), (B, S, P), (B, S), (B, S)
    inverse_batch, kappa_w, kappa_v, eta_w, eta_v : ndarray, shape (B,)
    F, F_v, v_anchor : ndarray, shape (B, c, K)
        As in `odekit_kernels.committee.Committee`, for each trajectory.
    watched, level : ndarray, shapes (B, W, P) and (B, W)
        Readouts of the watched tasks, and the errors that end the phase.
    rate_w, rate_v : Rates
        Schedules of the learning rates, shared.
    wiring : Wiring
    """

    y: Array
    time: Array
    begin: Array
    end: Array
    h: Array
    code: Indices
    steps: Indices
    calls: Indices
    jacobians: Indices
    waits: Indices
    row: Indices
    crawl: Array
    times: Array
    rows: Any
    shown: Indices
    stops: Array
    T: Any
    u: Any
    sigma: Array
    p: Array
    inverse_batch: Array
    kappa_w: Array
    kappa_v: Array
    eta_w: Array
    eta_v: Array
    F: Any
    F_v: Any
    v_anchor: Any
    watched: Any
    level: Array
    rate_w: Rates
    rate_v: Rates
    wiring: Wiring


def make_counters(lanes: int) -> Indices:
    """Whole numbers of a group of idle lanes."""
    counters = np.zeros((COUNTERS, lanes), dtype=np.int64)
    counters[INDEX] = -1
    return counters


@inner
def own(array: Any, i: int) -> int:
    """Which entry of an array is that of trajectory i."""
    return i if array.shape[0] > 1 else 0


@inner
def enter_numbers(M: Any, m: Any, b: Any, i: int, lane: int) -> None:
    """Write the constants of trajectory i into a lane."""
    K, D = m.K, m.D
    j = own(b.T, i)
    for n in range(m.P):
        for o in range(m.P):
            place(M, m.C + (K + n) * D + K + o, lane, b.T[j, n, o])
    j = own(b.u, i)
    for s in range(m.S):
        for n in range(m.P):
            place(M, m.coef + s * D + K + n, lane, b.u[j, s, n])
    j, l = own(b.p, i), own(b.sigma, i)
    for s in range(m.S):
        place(M, m.prob + s, lane, b.p[j, s])
        place(M, m.sigma2 + s, lane, b.sigma[l, s] * b.sigma[l, s])
    place(M, m.inverse_batch, lane, b.inverse_batch[own(b.inverse_batch, i)])
    place(M, m.kappa_w, lane, b.kappa_w[own(b.kappa_w, i)])
    place(M, m.kappa_v, lane, b.kappa_v[own(b.kappa_v, i)])
    place(M, m.eta_w, lane, b.eta_w[own(b.eta_w, i)])
    place(M, m.eta_v, lane, b.eta_v[own(b.eta_v, i)])
    for j in range(m.c):
        for k in range(K):
            place(M, m.F + j * K + k, lane, b.F[own(b.F, i), j, k])
            place(M, m.F_v + j * K + k, lane, b.F_v[own(b.F_v, i), j, k])
            place(M, m.v_anchor + j * K + k, lane, b.v_anchor[own(b.v_anchor, i), j, k])
    j, l = own(b.watched, i), own(b.level, i)
    for s in range(m.W):
        for n in range(m.P):
            place(M, m.watched + s * D + K + n, lane, b.watched[j, s, n])
        place(M, m.level + s, lane, b.level[l, s])


@inner
def enter(M: Any, I: Any, m: Any, b: Any, i: int, lane: int) -> None:
    """Put trajectory i into a lane."""
    enter_numbers(M, m, b, i, lane)
    for j in range(m.n):
        place(M, m.y + j, lane, b.y[i, j])
    place(M, m.time, lane, b.time[i])
    place(M, m.begin, lane, b.begin[i])
    place(M, m.end, lane, b.end[i])
    place(M, m.h, lane, 0.0)
    place(M, m.wish, lane, b.h[i])
    place(M, m.mark, lane, b.crawl[i, 0])
    I[INDEX, lane] = i
    I[ROW, lane] = b.row[i]
    I[STEPS, lane] = b.steps[i]
    I[CALLS, lane] = b.calls[i]
    I[JACOBIANS, lane] = b.jacobians[i]
    I[WAITS, lane] = b.waits[i]
    I[CRAWLS, lane] = int(b.crawl[i, 1])
    I[FRESH, lane] = 1
    I[SHRINKS, lane] = 0
    I[REJECTED, lane] = 0
    I[STIFF, lane] = 0
    I[EASY, lane] = 0
    I[STOP, lane] = 0
    while I[STOP, lane] < b.stops.shape[0] and b.begin[i] + b.stops[I[STOP, lane]] <= b.time[i]:
        I[STOP, lane] += 1
    set_bound(M, I, m, b, lane)


@inner
def set_bound(M: Any, I: Any, m: Any, b: Any, lane: int) -> None:
    """The next time that no step may straddle: a stop, or the end of the phase."""
    end = pick(M, m.end, lane)
    if I[STOP, lane] < b.stops.shape[0]:
        end = min(end, pick(M, m.begin, lane) + b.stops[I[STOP, lane]])
    place(M, m.bound, lane, end)


@inner
def leave(M: Any, I: Any, m: Any, b: Any, lane: int) -> int:
    """Write a lane back into the batch; it stays where it is."""
    i = I[INDEX, lane]
    for j in range(m.n):
        b.y[i, j] = pick(M, m.y + j, lane)
    b.time[i] = pick(M, m.time, lane)
    b.h[i] = pick(M, m.wish, lane)
    b.crawl[i, 0] = pick(M, m.mark, lane)
    b.crawl[i, 1] = I[CRAWLS, lane]
    b.row[i] = I[ROW, lane]
    b.steps[i] = I[STEPS, lane]
    b.calls[i] = I[CALLS, lane]
    b.jacobians[i] = I[JACOBIANS, lane]
    b.waits[i] = I[WAITS, lane]
    return i


@inner
def finish(M: Any, I: Any, m: Any, b: Any, lane: int, code: int) -> None:
    """Take a trajectory out of its lane, for the reason `code`."""
    b.code[leave(M, I, m, b, lane)] = code
    I[INDEX, lane] = -1


@inner
def write_row(M: Any, I: Any, b: Any, state: int, lane: int) -> None:
    """Write the state at `state` as the next row."""
    i, row = I[INDEX, lane], I[ROW, lane]
    for j in range(b.shown.shape[0]):
        b.rows[i, row, j] = pick(M, state + b.shown[j], lane)
    I[ROW, lane] = row + 1


@inner
def rate_at(rates: Any, t: float) -> float:
    """Learning rate at a time since the phase began; see `odekit.schedule.Schedule`."""
    count = rates.start.shape[0]
    if t >= rates.last:
        return rates.final
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        if rates.start[middle] <= t:
            low = middle
        else:
            high = middle
    x = max(t - rates.start[low], 0.0)
    c = rates.coefficients
    return max(((c[low, 0] * x + c[low, 1]) * x + c[low, 2]) * x + c[low, 3], 0.0)


@kernel(_nrt=False)
def put_back(M: Any, I: Any, m: Any, b: Any) -> None:
    """Write all lanes back into the batch, where their trajectories stand."""
    for lane in range(lanes(M)):
        if I[INDEX, lane] >= 0:
            leave(M, I, m, b, lane)
