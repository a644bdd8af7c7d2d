"""What every integrator in lanes does around its stages: queue, step lengths, verdicts, ends.

Every lane has its own time, step and verdict; a lane whose trajectory is over takes the next one.
What a trajectory does depends on nothing but itself, to the last bit: all sums run over one lane.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from numba import types

from odekit_kernels._jit import inner, outer
from odekit_kernels._parts import Part
from odekit_kernels.integrators import batch as lane_of
from odekit_kernels.integrators.batch import (
    AT_CORNER,
    AT_REST,
    BLOW_UP,
    CALLS,
    CRAWLS,
    DONE,
    EASY,
    FRESH,
    HAND_OVER,
    HIT,
    INDEX,
    NONFINITE,
    QUIET,
    REJECTED,
    ROW,
    SHRINKS,
    STALLED,
    STEP_BUDGET,
    STEPS,
    STIFF,
    THRESHOLD,
    WAITS,
)
from odekit_kernels.integrators.registry import at_corner
from odekit_kernels.integrators.runge_kutta import GREATEST, LEAST, SAFETY
from odekit_kernels.lanes.values import get, lanes, larger, pick, place, put, smaller
from odekit_kernels.normal import power
from odekit_kernels.simd import choose_less

__all__ = ["Limits", "clip_steps", "commit", "judge", "parts_around", "refill", "set_driven"]

SHRINK_LIMIT = 40
LARGEST, LARGE = 1e100, 1e6
# h|λ| near where the pair of order 5 meets its stability limit of 3.3, and how often it must be
# seen there before the integrator is changed (Hairer & Wanner IV.2).
AT_LIMIT, SEEN, FORGET = 2.8, 15, 6
# On a plateau errors see nothing of a mode that is still below the tolerance. At λ₊h = 5 the pair
# of order 5 makes it grow by a quarter too little, at 0.5 it is right to 1e-5; and beyond the
# stability limit other modes swell unseen. So steps whose error is so small, and the first, are
# judged by h|λ| too: taken again if far beyond, else followed by one at the limit at most.
UNSEEN = 0.05
FAST, TOO_FAST = 0.5, 1.0
STABLE, UNSTABLE = 3.3, 5.0
PACE, HOPELESS, CRAWL_LIMIT = 1000, 1e9, 20


class Limits(NamedTuple):
    """Tolerances and budgets.

    Attributes
    ----------
    rtol, atol, max_step, first_step : float
        As in scipy; a first step of 0 chooses one.
    corner : float
        Size below which entries of the state that may vanish, where the derivative jumps, are
        looked at between steps; 0: none may.
    atol_corner : float
        Absolute tolerance of these entries.
    max_steps : int
        Accepted steps of one trajectory.
    worth : float
        Steps still to come that make a change to the other integrator pay; infinite: never.
    steady : float
        Largest derivative, in the largest entry of the state, at which it may be at rest; 0: none.
    moves, trains, decays, scheduled : bool
        What of the equations any trajectory of the batch needs.
    """

    rtol: float
    atol: float
    max_step: float
    first_step: float
    corner: float
    atol_corner: float
    max_steps: int
    worth: float
    steady: float
    moves: bool
    trains: bool
    decays: bool
    scheduled: bool


@inner
def claim(queue: Any, todo: Any) -> int:
    """The next trajectory of the queue, (position, stride, end); −1 at its end."""
    position = queue[0]
    if position >= queue[2]:
        return -1
    queue[0] = position + queue[1]
    return todo[position]


@inner
def refill(M: Any, I: Any, m: Any, b: Any, queue: Any, todo: Any) -> int:
    """Give every idle lane a trajectory; return how many lanes have one."""
    busy = 0
    for lane in range(lanes(M)):
        if I[INDEX, lane] < 0:
            i = claim(queue, todo)
            if i >= 0:
                lane_of.enter(M, I, m, b, i, lane)
        if I[INDEX, lane] >= 0:
            busy += 1
    return busy


@inner
def set_driven(M: Any, I: Any, m: Any, b: Any, node: float) -> None:
    """Constants that follow schedules at a node of the step of every lane."""
    for lane in range(lanes(M)):
        if I[INDEX, lane] >= 0:
            t = pick(M, m.time, lane) + node * pick(M, m.h, lane) - pick(M, m.begin, lane)
            lane_of.drive(M, b, I[INDEX, lane], lane, t)


@inner
def clip_steps(M: Any, I: Any, m: Any, limits: Any) -> None:
    """Keep every step within its bound, and stretch it there where that takes little."""
    for lane in range(lanes(M)):
        if I[INDEX, lane] < 0:
            place(M, m.h, lane, 0.0)
            continue
        left = pick(M, m.bound, lane) - pick(M, m.time, lane)
        h = smaller(pick(M, m.wish, lane), limits.max_step)
        place(M, m.wish, lane, h)
        if h * 1.01 >= left and left <= limits.max_step:
            h = left
        place(M, m.h, lane, h)


@inner
def is_stiff(M: Any, I: Any, m: Any, limits: Any, lane: int) -> bool:
    """Whether the step has been held down by stability for long, and much is still to come."""
    h = pick(M, m.h, lane)
    left = pick(M, m.end, lane) - pick(M, m.time, lane)
    if not left > limits.worth * h:
        return False
    if pick(M, m.ratio, lane) > AT_LIMIT * AT_LIMIT:
        I[EASY, lane] = 0
        I[STIFF, lane] += 1
        return I[STIFF, lane] >= SEEN << 2 * smaller(I[WAITS, lane], 8)
    I[EASY, lane] += 1
    if I[EASY, lane] >= FORGET:
        I[STIFF, lane] = 0
    return False


@inner
def stands(M: Any, I: Any, m: Any, limits: Any, lane: int) -> bool:
    """Whether hardly anything moves, by the derivative at the end of the step, in `m.k`."""
    if I[QUIET, lane] > 0:
        I[QUIET, lane] -= 1
        return False
    pace, size = 0.0, 0.0
    for i in range(m.n):
        pace = larger(pace, abs(pick(M, m.k + i, lane)))
        size = larger(size, abs(pick(M, m.y + i, lane)))
    return pace <= limits.steady * size


@inner
def crawls(M: Any, I: Any, m: Any, lane: int) -> bool:
    """Whether the pace of the last thousands of steps would never get to the end."""
    if I[STEPS, lane] % PACE != 0:
        return False
    t = pick(M, m.time, lane)
    left = (pick(M, m.end, lane) - t) / larger(t - pick(M, m.mark, lane), 1e-300) * PACE
    I[CRAWLS, lane] = I[CRAWLS, lane] + 1 if left > HOPELESS else 0
    place(M, m.mark, lane, t)
    return I[CRAWLS, lane] >= CRAWL_LIMIT


@outer
def refuse(M: Any, I: Any, m: Any, b: Any, lane: int, error: float) -> None:
    """After a step that failed: try a shorter one, or give up."""
    t, h = pick(M, m.time, lane), pick(M, m.h, lane)
    I[REJECTED, lane] = 1
    if error - error != 0.0:
        I[SHRINKS, lane] += 1
        place(M, m.wish, lane, 0.1 * h)
        if I[SHRINKS, lane] > SHRINK_LIMIT or t + 0.1 * h <= t:
            lane_of.leave(M, I, m, b, lane, NONFINITE)
        return
    h *= larger(LEAST, pick(M, m.factor, lane))
    place(M, m.wish, lane, h)
    # Less than ten spacings of the numbers around t.
    if t + 0.1 * h <= t:
        size = 0.0
        for i in range(m.n):
            size = larger(size, abs(pick(M, m.y + i, lane)))
        lane_of.leave(M, I, m, b, lane, BLOW_UP if size > LARGE else STALLED)


@inner
def longest(M: Any, m: Any, lane: int) -> float:
    """Factor to the step at which the mode that moves most is still followed."""
    lean = pick(M, m.lean, lane)
    most = STABLE / larger(math.sqrt(pick(M, m.ratio, lane)), 1e-300)
    return smaller(most, FAST / lean) if lean > 0.0 else most


@inner
def is_blind(M: Any, m: Any, lane: int, error: float) -> bool:
    """Whether a step went where its error does not see what it does to modes below tolerance."""
    lean = pick(M, m.lean, lane)
    first = pick(M, m.time, lane) == pick(M, m.begin, lane)
    if lean == 0.0 or not (first or error < UNSEEN):
        return False
    return lean > TOO_FAST or pick(M, m.ratio, lane) > UNSTABLE * UNSTABLE


@inner
def next_step(M: Any, I: Any, m: Any, lane: int, error: float) -> float:
    """Length of the step after an accepted one."""
    factor = GREATEST if error == 0.0 else smaller(GREATEST, pick(M, m.factor, lane))
    if I[REJECTED, lane] == 1:
        factor = smaller(1.0, factor)
    h, wish = pick(M, m.h, lane), pick(M, m.wish, lane)
    if error < UNSEEN and pick(M, m.lean, lane) != 0.0:
        most = longest(M, m, lane)
        factor, wish = smaller(factor, most), smaller(wish, h * most)
    # A step that its bound cut short says little about the next: keep the one that was meant.
    return larger(h * factor, wish) if h < wish else h * factor


@inner
def judge(M: Any, I: Any, m: Any, b: Any, tableau: Any) -> int:
    """Accept or refuse the step of every lane; return how many are accepted."""
    accepted = 0
    put(M, m.factor, SAFETY * power(get(M, m.norm), tableau.exponent))
    for lane in range(lanes(M)):
        place(M, m.accepted, lane, 0.0)
        I[FRESH, lane] = 0
        if I[INDEX, lane] < 0:
            continue
        I[CALLS, lane] += tableau.W.shape[1]
        error, large = pick(M, m.norm, lane), pick(M, m.large, lane)
        if not (error <= 1.0 and large - large == 0.0):
            refuse(M, I, m, b, lane, error if large - large == 0.0 else large - large)
        elif large > LARGEST:
            lane_of.leave(M, I, m, b, lane, BLOW_UP)
        elif is_blind(M, m, lane, error):
            I[REJECTED, lane] = 1
            place(M, m.wish, lane, pick(M, m.h, lane) * longest(M, m, lane))
        else:
            place(M, m.accepted, lane, 1.0)
            place(M, m.high, lane, 1.0)
            place(M, m.wish, lane, next_step(M, I, m, lane, error))
            accepted += 1
    return accepted


@inner
def commit(M: Any, I: Any, m: Any, b: Any, tableau: Any, limits: Any) -> None:
    """Go to the new states, and let those leave that are over."""
    accepted, last = get(M, m.accepted), m.k + tableau.W.shape[1] * m.n
    for i in range(m.n):
        put(M, m.y + i, choose_less(0.5, accepted, get(M, m.new + i), get(M, m.y + i)))
        put(M, m.k + i, choose_less(0.5, accepted, get(M, last + i), get(M, m.k + i)))
    for lane in range(lanes(M)):
        if pick(M, m.accepted, lane) == 1.0:
            advance_lane(M, I, m, b, limits, lane)


@inner
def advance_lane(M: Any, I: Any, m: Any, b: Any, limits: Any, lane: int) -> None:
    """Time, counters and rows after an accepted step of one lane."""
    t = pick(M, m.after, lane)
    hit = m.W > 0 and I[HIT, lane] == 1
    place(M, m.time, lane, t)
    I[STEPS, lane] += 1
    I[SHRINKS, lane] = 0
    I[REJECTED, lane] = 0
    if I[ROW, lane] < b.times.shape[0] and b.times[I[ROW, lane]] == t:
        lane_of.write_row(M, I, b, m.y, lane)
    if hit or t >= pick(M, m.end, lane):
        lane_of.leave(M, I, m, b, lane, THRESHOLD if hit else DONE)
        return
    if t >= pick(M, m.bound, lane):
        lane_of.set_bound(M, I, m, b, lane)
    if limits.steady > 0.0 and stands(M, I, m, limits, lane):
        lane_of.leave(M, I, m, b, lane, AT_REST)
    elif is_stiff(M, I, m, limits, lane):
        lane_of.leave(M, I, m, b, lane, HAND_OVER)
    elif I[STEPS, lane] >= limits.max_steps:
        lane_of.leave(M, I, m, b, lane, STEP_BUDGET)
    elif crawls(M, I, m, lane):
        lane_of.leave(M, I, m, b, lane, STALLED)
    elif limits.corner > 0.0 and at_corner(M, m, b.wiring, limits.corner, lane):
        lane_of.leave(M, I, m, b, lane, AT_CORNER)


def parts_around(
    M: Any, I: Any, m: Any, b: Any, tableau: Any, limits: Any, todo: Any
) -> list[Part]:
    """What all integrators call between their stages, by types: parts of each."""
    group = (M, I, m, b)
    return [
        Part(judge, (*group, tableau)),
        Part(commit, (*group, tableau, limits)),
        Part(refill, (*group, todo, todo)),
        Part(set_driven, (*group, types.float64)),
    ]
