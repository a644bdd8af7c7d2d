"""A batch of trajectories, and how one gets into a lane and out of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner, kernel, outer
from odekit_kernels.integrators.tables import table_at
from odekit_kernels.lanes.values import lanes, pick, place, smaller

__all__ = [
    "NUMBERS",
    "OUTCOMES",
    "Batch",
    "Driven",
    "drive",
    "enter",
    "fill_row",
    "leave",
    "make_counters",
    "put_back",
    "set_bound",
    "write_row",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# What became of a trajectory in a phase: `CODE` of `Batch.counts`.
RUNNING, DONE, THRESHOLD, NONFINITE, BLOW_UP, STALLED, STEP_BUDGET = range(7)
HAND_OVER, AT_CORNER, AT_REST = range(7, 10)
OUTCOMES = {
    "running": RUNNING,
    "done": DONE,
    "threshold": THRESHOLD,
    "nonfinite": NONFINITE,
    "blow_up": BLOW_UP,
    "stalled": STALLED,
    "step_budget": STEP_BUDGET,
    "hand_over": HAND_OVER,
    "at_corner": AT_CORNER,
    "at_rest": AT_REST,
}
"""Codes of `CODE` of `Batch.counts`; "hand_over" asks for the other integrator, "at_corner" for
`odekit_kernels.committee.zero.settle`, "at_rest" for `rest.growths`."""

# Columns of `Batch.numbers`, which lie in this order in a group's memory, from `m.time` on.
TIME, BEGIN, END, WISH, MARK = range(5)
NUMBERS = 5
# Columns of `Batch.counts`, and rows of the whole numbers of a lane, which has more of them.
# Those that change in every step are values in a group's memory instead: `m.steps` to `m.easy`.
CODE, ROW, STEPS, CALLS, JACOBIANS, WAITS, CRAWLS, STIFF, EASY, QUIET = range(10)
KEPT = 10
INDEX, STOP, HIT, SINCE = range(10, 14)
COUNTERS = 14


class Driven(NamedTuple):
    """Constants of a phase that follow tables of time, piecewise cubic: base + scale · table.

    Attributes
    ----------
    entry : ndarray of int64, shape (driven,)
        Which entries of a row of constants they are, those of one table side by side.
    table : ndarray of int64, shape (driven,)
        The table that each follows.
    base, scale : ndarray, shape (B or 1, driven)
    first : ndarray of int64, shape (tables + 1,)
        Where the pieces of each table begin in `start` and `coefficients`.
    start : ndarray, shape (pieces of all,)
        Where each piece begins, in time since the phase did.
    coefficients : ndarray, shape (pieces of all, 4)
        Of the powers 3, 2, 1, 0 of the time since then.
    last, final : ndarray, shape (tables,)
        End of the last piece of each; the value there holds on.
    """

    entry: Indices
    table: Indices
    base: Array
    scale: Array
    first: Indices
    start: Array
    coefficients: Array
    last: Array
    final: Array


class Batch(NamedTuple):
    """One phase of B trajectories; arrays are C-contiguous.

    Attributes
    ----------
    y : ndarray, shape (B, n)
        State; in the end that which the phase ended with, or the last one that was reached.
    numbers : ndarray, shape (B, 5)
        Current time, start and end of the phase, next step to try (0: choose), and the time at the
        last look at the pace: columns TIME to MARK.
    counts : ndarray of int64, shape (B, 10)
        What became of it, next row to fill, steps, right-hand sides and Jacobians so far, how often
        the implicit integrator has sent it back, looks in a row at which it got nowhere, steps
        at the stability limit and below it, and steps in which not to ask whether it is at rest:
        columns CODE to QUIET.
    constants : ndarray, shape (B or 1, width)
        What is constant in the phase, for each trajectory or for all, in the order of
        `plan.constant_places`, but for those that are driven.
    places : ndarray of int64, shape (width,)
        Where each constant goes in the memory of a group.
    times : ndarray, shape (rows,)
        Output times.
    rows : ndarray, shape (B, rows, n_visible)
        Receives the states at these times; other entries are left as they are.
    shown : ndarray of int64, shape (n_visible,)
        Which entries of the state a row shows.
    stops : ndarray, shape (stops,)
        Times since the phase began that no step may straddle.
    wiring : Wiring or gated.Paths
    driven : Driven
        Which of the constants follow schedules; in `constants` they are as the phase begins.
    lands : bool
        Whether steps end at rows, for methods whose dense output is less accurate than they are.
    """

    y: Array
    numbers: Array
    counts: Indices
    constants: Array
    places: Indices
    times: Array
    rows: Any
    shown: Indices
    stops: Array
    wiring: Any
    driven: Driven
    lands: bool = False


def make_counters(lanes: int) -> Indices:
    """Whole numbers of a group of idle lanes."""
    counters = np.zeros((COUNTERS, lanes), dtype=np.int64)
    counters[INDEX] = -1
    return counters


@outer
def enter(M: Any, I: Any, m: Any, b: Any, i: int, lane: int) -> None:
    """Put trajectory i into a lane.

    In a group's memory are besides: whether a lane is busy, its trajectory new, and its last step
    rejected, all as 1 or 0; the counts that change in every step; steps in a row that were not
    finite; the time of the next row, and the number of steps at which to look up; and which lanes
    need something of their own (`m.busy` to `m.odd`).
    """
    row = i if b.constants.shape[0] > 1 else 0
    for j in range(b.places.shape[0]):
        place(M, b.places[j], lane, b.constants[row, j])
    for j in range(m.n):
        place(M, m.y + j, lane, b.y[i, j])
    for j in range(NUMBERS):
        place(M, m.time + j, lane, b.numbers[i, j])
    for j in range(COUNTERS):
        I[j, lane] = b.counts[i, j] if j < KEPT else 0
    I[INDEX, lane] = i
    place(M, m.steps, lane, float(b.counts[i, STEPS]))
    place(M, m.calls, lane, float(b.counts[i, CALLS]))
    place(M, m.stiff, lane, float(b.counts[i, STIFF]))
    place(M, m.easy, lane, float(b.counts[i, EASY]))
    place(M, m.busy, lane, 1.0)
    place(M, m.fresh, lane, 1.0)
    place(M, m.rejected, lane, 0.0)
    place(M, m.shrinks, lane, 0.0)
    place(M, m.look, lane, 0.0)
    set_due(M, I, m, b, lane)
    set_bound(M, I, m, b, lane)


@inner
def set_due(M: Any, I: Any, m: Any, b: Any, lane: int) -> None:
    """The time of the next row; infinite after the last."""
    row = I[ROW, lane]
    place(M, m.due, lane, b.times[row] if row < b.times.shape[0] else np.inf)


@inner
def set_bound(M: Any, I: Any, m: Any, b: Any, lane: int) -> None:
    """The next time that no step may straddle: a stop, the end of the phase, perhaps a row."""
    t, begin, bound = pick(M, m.time, lane), pick(M, m.begin, lane), pick(M, m.end, lane)
    while I[STOP, lane] < b.stops.shape[0] and begin + b.stops[I[STOP, lane]] <= t:
        I[STOP, lane] += 1
    if I[STOP, lane] < b.stops.shape[0]:
        bound = smaller(bound, begin + b.stops[I[STOP, lane]])
    due = pick(M, m.due, lane)
    if b.lands and due > t:
        bound = smaller(bound, due)
    place(M, m.bound, lane, bound)


@outer
def leave(M: Any, I: Any, m: Any, b: Any, lane: int, code: int) -> None:
    """Write a lane back into the batch, and leave it idle: at its bound, with no step to take."""
    i = I[INDEX, lane]
    for j in range(m.n):
        b.y[i, j] = pick(M, m.y + j, lane)
    for j in range(NUMBERS):
        b.numbers[i, j] = pick(M, m.time + j, lane)
    for j in range(KEPT):
        b.counts[i, j] = I[j, lane]
    b.counts[i, CODE] = code
    b.counts[i, STEPS] = int(pick(M, m.steps, lane))
    b.counts[i, CALLS] = int(pick(M, m.calls, lane))
    b.counts[i, STIFF] = int(pick(M, m.stiff, lane))
    b.counts[i, EASY] = int(pick(M, m.easy, lane))
    I[INDEX, lane] = -1
    place(M, m.busy, lane, 0.0)
    place(M, m.fresh, lane, 0.0)
    place(M, m.wish, lane, 0.0)
    place(M, m.bound, lane, pick(M, m.time, lane))


@outer
def write_row(M: Any, I: Any, m: Any, b: Any, state: int, lane: int) -> None:
    """Write the state at `state` as the next row."""
    i, row = I[INDEX, lane], I[ROW, lane]
    for j in range(b.shown.shape[0]):
        b.rows[i, row, j] = pick(M, state + b.shown[j], lane)
    I[ROW, lane] = row + 1
    set_due(M, I, m, b, lane)


@inner
def drive(M: Any, b: Any, i: int, lane: int, t: float) -> None:
    """Put the driven constants of trajectory i where they are at a time since the phase began."""
    d = b.driven
    base, scale = i if d.base.shape[0] > 1 else 0, i if d.scale.shape[0] > 1 else 0
    value = 0.0
    for j in range(d.entry.shape[0]):
        if j == 0 or d.table[j] != d.table[j - 1]:
            value = table_at(d, d.table[j], t)
        place(M, b.places[d.entry[j]], lane, d.base[base, j] + d.scale[scale, j] * value)


@inner
def fill_row(M: Any, b: Any, i: int, lane: int, row: Any) -> None:
    """The constants of the trajectory in a lane, as they are now."""
    own = i if b.constants.shape[0] > 1 else 0
    for j in range(b.places.shape[0]):
        row[j] = b.constants[own, j]
    for j in range(b.driven.entry.shape[0]):
        entry = b.driven.entry[j]
        row[entry] = pick(M, b.places[entry], lane)


@kernel(_nrt=False)
def put_back(M: Any, I: Any, m: Any, b: Any) -> None:
    """Write all lanes back into the batch, where their trajectories stand."""
    for lane in range(lanes(M)):
        if I[INDEX, lane] >= 0:
            leave(M, I, m, b, lane, RUNNING)
