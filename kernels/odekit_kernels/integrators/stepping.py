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
    CRAWLS,
    DONE,
    HAND_OVER,
    HIT,
    INDEX,
    NONFINITE,
    QUIET,
    STALLED,
    STEP_BUDGET,
    THRESHOLD,
    WAITS,
)
from odekit_kernels.integrators.registry import at_corner
from odekit_kernels.integrators.runge_kutta import GREATEST, LEAST, SAFETY
from odekit_kernels.lanes.values import get, lanes, larger, pick, place, put, smaller
from odekit_kernels.normal import power
from odekit_kernels.simd import absolute, any_above, choose_at_most, choose_less, least, most, root

__all__ = ["Limits", "clip_steps", "commit", "judge", "parts_around", "refill", "set_driven"]

SHRINK_LIMIT = 40
LARGEST, LARGE = 1e100, 1e6
# h|λ| near where the pair of order 5 meets its stability limit of 3.3, and how often it must be
# seen there before the integrator is changed (Hairer & Wanner IV.2).
AT_LIMIT, SEEN, FORGET = 2.8, 15, 6.0
HELD = AT_LIMIT * AT_LIMIT
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
def refill(M: Any, I: Any, m: Any, b: Any, queue: Any, todo: Any) -> bool:
    """Give every idle lane a trajectory; return whether any lane has one."""
    if any_above(1.0 - get(M, m.busy), 0.0):
        for lane in range(lanes(M)):
            if I[INDEX, lane] < 0:
                i = claim(queue, todo)
                if i >= 0:
                    lane_of.enter(M, I, m, b, i, lane)
    return any_above(get(M, m.busy), 0.0)


@inner
def set_driven(M: Any, I: Any, m: Any, b: Any, node: float) -> None:
    """Constants that follow schedules at a node of the step of every lane."""
    for lane in range(lanes(M)):
        if I[INDEX, lane] >= 0:
            t = pick(M, m.time, lane) + node * pick(M, m.h, lane) - pick(M, m.begin, lane)
            lane_of.drive(M, b, I[INDEX, lane], lane, t)


@inner
def clip_steps(M: Any, m: Any, limits: Any) -> None:
    """Keep every step within its bound, and stretch it there where that takes little."""
    left, h = get(M, m.bound) - get(M, m.time), least(get(M, m.wish), limits.max_step)
    put(M, m.wish, h)
    within = choose_at_most(left, limits.max_step, left, h)
    put(M, m.h, choose_at_most(left, h * 1.01, within, h))


@inner
def is_stiff(M: Any, I: Any, m: Any, limits: Any, lane: int) -> bool:
    """Whether the step has been held down by stability for long, and much is still to come."""
    left = pick(M, m.end, lane) - pick(M, m.time, lane)
    if not (left > limits.worth * pick(M, m.h, lane) and pick(M, m.ratio, lane) > HELD):
        return False
    return pick(M, m.stiff, lane) >= SEEN << 2 * smaller(I[WAITS, lane], 8)


@inner
def count_held(M: Any, m: Any, limits: Any, accepted: Any) -> Any:
    """Count steps held down by stability, and those that were not; which lanes may be stiff."""
    left = get(M, m.end) - get(M, m.time)
    counts = choose_less(limits.worth * get(M, m.h), left, accepted, 0.0)
    held = choose_less(HELD, get(M, m.ratio), counts, 0.0)
    stiff, easy = get(M, m.stiff) + held, get(M, m.easy) + (counts - held)
    put(M, m.easy, choose_less(0.5, held, 0.0, easy))
    forgotten = choose_less(held, counts, choose_at_most(FORGET, easy, 0.0, stiff), stiff)
    put(M, m.stiff, forgotten)
    return choose_at_most(float(SEEN), stiff, held, 0.0)


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
    if int(pick(M, m.steps, lane)) % PACE != 0:
        return False
    t = pick(M, m.time, lane)
    left = (pick(M, m.end, lane) - t) / larger(t - pick(M, m.mark, lane), 1e-300) * PACE
    I[CRAWLS, lane] = I[CRAWLS, lane] + 1 if left > HOPELESS else 0
    place(M, m.mark, lane, t)
    return I[CRAWLS, lane] >= CRAWL_LIMIT


@outer
def refuse(M: Any, I: Any, m: Any, b: Any, lane: int) -> None:
    """After a step that failed: try a shorter one, or give up."""
    t, h = pick(M, m.time, lane), pick(M, m.h, lane)
    error, large = pick(M, m.norm, lane), pick(M, m.large, lane)
    if error <= 1.0 and large - large == 0.0:
        lane_of.leave(M, I, m, b, lane, BLOW_UP)
        return
    place(M, m.rejected, lane, 1.0)
    if error - error != 0.0 or large - large != 0.0:
        shrinks = pick(M, m.shrinks, lane) + 1.0
        place(M, m.shrinks, lane, shrinks)
        place(M, m.wish, lane, 0.1 * h)
        if shrinks > SHRINK_LIMIT or t + 0.1 * h <= t:
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
def longest(lean: Any, ratio: Any) -> Any:
    """Factor to the step at which the mode that moves most is still followed."""
    stable = STABLE / most(root(ratio), 1e-100)
    fast = FAST / choose_less(0.0, lean, lean, 1.0)
    return choose_less(0.0, lean, least(stable, fast), stable)


@inner
def judge(M: Any, I: Any, m: Any, b: Any, tableau: Any) -> bool:
    """Accept or refuse the step of every lane; return whether any is accepted."""
    error, busy, h, wish = get(M, m.norm), get(M, m.busy), get(M, m.h), get(M, m.wish)
    factor = SAFETY * power(error, tableau.exponent)
    put(M, m.factor, factor)
    put(M, m.fresh, 0.0)
    put(M, m.calls, get(M, m.calls) + float(tableau.W.shape[1]))
    sound = choose_at_most(get(M, m.large), LARGEST, busy, 0.0)
    sound = choose_at_most(error, 1.0, sound, 0.0)
    # Steps whose error does not see what they do to modes below the tolerance.
    lean, ratio = get(M, m.lean), get(M, m.ratio)
    unseen = choose_less(error, UNSEEN, absolute(lean), 0.0)
    doubted = choose_at_most(get(M, m.time), get(M, m.begin), absolute(lean), unseen)
    blind = choose_less(TOO_FAST, lean, sound, choose_less(UNSTABLE * UNSTABLE, ratio, sound, 0.0))
    blind = choose_less(0.0, doubted, blind, 0.0)
    accepted = sound - blind
    put(M, m.accepted, accepted)
    put(M, m.high, 1.0)
    # The steps after those that are accepted.
    rejected, followed = get(M, m.rejected), longest(lean, ratio)
    put(M, m.rejected, choose_less(0.5, blind, 1.0, rejected))
    factor = choose_less(0.0, error, least(GREATEST, factor), GREATEST)
    factor = choose_less(0.5, rejected, least(1.0, factor), factor)
    factor = choose_less(0.0, unseen, least(factor, followed), factor)
    meant = choose_less(0.0, unseen, least(wish, h * followed), wish)
    # A step that its bound cut short says little about the next: keep the one that was meant.
    following = choose_less(h, meant, most(h * factor, meant), h * factor)
    wish = choose_less(0.5, blind, h * followed, wish)
    put(M, m.wish, choose_less(0.5, accepted, following, wish))
    put(M, m.odd, busy - sound)
    if any_above(busy - sound, 0.0):
        for lane in range(lanes(M)):
            if pick(M, m.odd, lane) > 0.0:
                refuse(M, I, m, b, lane)
    return any_above(accepted, 0.0)


@inner
def commit(M: Any, I: Any, m: Any, b: Any, tableau: Any, limits: Any) -> None:
    """Go to the new states, and let those leave that are over."""
    accepted, last = get(M, m.accepted), m.k + tableau.W.shape[1] * m.n
    for i in range(m.n):
        put(M, m.y + i, choose_less(0.5, accepted, get(M, m.new + i), get(M, m.y + i)))
        put(M, m.k + i, choose_less(0.5, accepted, get(M, last + i), get(M, m.k + i)))
    t = choose_less(0.5, accepted, get(M, m.after), get(M, m.time))
    put(M, m.time, t)
    put(M, m.steps, get(M, m.steps) + accepted)
    put(M, m.shrinks, choose_less(0.5, accepted, 0.0, get(M, m.shrinks)))
    put(M, m.rejected, choose_less(0.5, accepted, 0.0, get(M, m.rejected)))
    there = choose_at_most(least(get(M, m.bound), get(M, m.due)), t, accepted, 0.0)
    put(M, m.odd, there)
    if any_above(there, 0.0):
        for lane in range(lanes(M)):
            if pick(M, m.odd, lane) > 0.0:
                arrive(M, I, m, b, lane)
    if limits.steady > 0.0:
        for lane in range(lanes(M)):
            if is_on_its_way(M, I, m, lane) and stands(M, I, m, limits, lane):
                lane_of.leave(M, I, m, b, lane, AT_REST)
    accepted = choose_less(0.5, accepted, get(M, m.busy), 0.0)
    doubtful = choose_at_most(get(M, m.look), get(M, m.steps), accepted, 0.0)
    if limits.worth < math.inf:
        doubtful = most(doubtful, count_held(M, m, limits, accepted))
    put(M, m.odd, doubtful)
    if any_above(doubtful, 0.0):
        for lane in range(lanes(M)):
            if pick(M, m.odd, lane) > 0.0:
                look_up(M, I, m, b, limits, lane)
    if limits.corner > 0.0:
        for lane in range(lanes(M)):
            if is_on_its_way(M, I, m, lane) and at_corner(M, m, b.wiring, limits.corner, lane):
                lane_of.leave(M, I, m, b, lane, AT_CORNER)


@inner
def is_on_its_way(M: Any, I: Any, m: Any, lane: int) -> bool:
    """Whether the step of a lane was accepted and its trajectory is not over."""
    return pick(M, m.accepted, lane) == 1.0 and I[INDEX, lane] >= 0


@outer
def arrive(M: Any, I: Any, m: Any, b: Any, lane: int) -> None:
    """At a row, at the bound, or at the end of the phase."""
    t, hit = pick(M, m.time, lane), m.W > 0 and I[HIT, lane] == 1
    if pick(M, m.due, lane) == t:
        lane_of.write_row(M, I, m, b, m.y, lane)
    if hit or t >= pick(M, m.end, lane):
        lane_of.leave(M, I, m, b, lane, THRESHOLD if hit else DONE)
    elif t >= pick(M, m.bound, lane):
        lane_of.set_bound(M, I, m, b, lane)


@outer
def look_up(M: Any, I: Any, m: Any, b: Any, limits: Any, lane: int) -> None:
    """Give up what takes too many steps, for good or to the other integrator."""
    steps = int(pick(M, m.steps, lane))
    if is_stiff(M, I, m, limits, lane):
        lane_of.leave(M, I, m, b, lane, HAND_OVER)
    elif steps >= limits.max_steps:
        lane_of.leave(M, I, m, b, lane, STEP_BUDGET)
    elif crawls(M, I, m, lane):
        lane_of.leave(M, I, m, b, lane, STALLED)
    else:
        place(M, m.look, lane, float(smaller((steps // PACE + 1) * PACE, limits.max_steps)))


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
