"""The solution inside accepted steps: rows, and the points where thresholds are reached."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, outer
from odekit_kernels.integrators import batch as lane_of
from odekit_kernels.integrators.batch import HIT
from odekit_kernels.integrators.registry import errors
from odekit_kernels.lanes.values import fill, get, lanes, larger, pick, place, put, smaller
from odekit_kernels.simd import any_above, choose_less, least

__all__ = ["find_events", "write_rows"]

LOOKS = 8
"""Parts of a step at whose ends thresholds are looked at: an error may dip and rise within one."""


@outer
def interpolate(M: Any, m: Any, tableau: Any) -> None:
    """Write the solution at θ of every lane's step to `m.trial`."""
    P, theta, unit = tableau.P, get(M, m.theta), get(M, m.unit)
    count, degree = P.shape
    for i in range(m.n):
        put(M, m.trial + i, get(M, m.y + i))
    for j in range(count):
        weight = fill(M, P[j, degree - 1])
        for q in range(degree - 2, -1, -1):
            weight = weight * theta + P[j, q]
        weight, stage = weight * theta * unit, m.k + j * m.n
        for i in range(m.n):
            put(M, m.trial + i, get(M, m.trial + i) + weight * get(M, stage + i))


@inner
def fix_ends(M: Any, I: Any, m: Any) -> None:
    """Write where accepted steps end to `m.after`: at a threshold, at the bound, or in between.

    Kept, not computed where it is needed: by another rounding a row would be before the end of one
    step for `write_rows`, and after it for `stepping.advance_lane`.
    """
    t, h, bound = get(M, m.time), get(M, m.h), get(M, m.bound)
    put(M, m.after, choose_less(h, bound - t, least(t + h, bound), bound))
    if m.W == 0:
        return
    for lane in range(lanes(M)):
        if pick(M, m.accepted, lane) == 1.0 and I[HIT, lane] == 1:
            end = pick(M, m.time, lane) + pick(M, m.high, lane) * pick(M, m.h, lane)
            end = smaller(end, pick(M, m.after, lane))
            place(M, m.after, lane, end)
            place(M, m.bound, lane, end)


@inner
def write_rows(M: Any, I: Any, m: Any, b: Any, tableau: Any) -> None:
    """Write the rows inside the accepted steps, one of every lane in each pass."""
    fix_ends(M, I, m)
    t, h = get(M, m.time), get(M, m.h)
    while True:
        due = get(M, m.due)
        within = choose_less(
            t, due, choose_less(due, get(M, m.after), get(M, m.accepted), 0.0), 0.0
        )
        if not any_above(within, 0.0):
            return
        put(M, m.theta, choose_less(0.0, within, due - t, 0.0) / choose_less(0.0, h, h, 1.0))
        interpolate(M, m, tableau)
        for lane in range(lanes(M)):
            if pick(M, m.theta, lane) > 0.0:
                lane_of.write_row(M, I, m, b, m.trial, lane)


@outer
def watched_errors(M: Any, m: Any, w: Any, y: int) -> None:
    """`registry.errors`, compiled once for its places."""
    errors(M, m, w, y)


@inner
def excess(M: Any, m: Any, lane: int) -> float:
    """Largest watched error over its threshold, less one."""
    worst = -1.0
    for s in range(m.W):
        worst = larger(worst, pick(M, m.error + s, lane) / pick(M, m.level + s, lane) - 1.0)
    return worst


@inner
def narrow(M: Any, m: Any, lane: int, value: float) -> None:
    """Replace one end of the bracket of an event by θ; halve the value at an end that stays."""
    theta = pick(M, m.theta, lane)
    if value <= 0.0:
        place(M, m.high, lane, theta)
        place(M, m.at_high, lane, value)
        place(M, m.at_low, lane, 0.5 * pick(M, m.at_low, lane))
    else:
        place(M, m.low, lane, theta)
        place(M, m.at_low, lane, value)
        place(M, m.at_high, lane, 0.5 * pick(M, m.at_high, lane))
    # The value at `high` may be 0 after a hit: from then on bisect.


@inner
def look_for_events(M: Any, I: Any, m: Any, b: Any, tableau: Any) -> int:
    """Bracket the first point of each accepted step, of `LOOKS`, where thresholds are reached."""
    hits = 0
    watched_errors(M, m, b.wiring, m.y)
    for lane in range(lanes(M)):
        I[HIT, lane] = 0
        if pick(M, m.accepted, lane) == 1.0:
            place(M, m.low, lane, 0.0)
            place(M, m.at_low, lane, excess(M, m, lane))
    for look in range(1, LOOKS + 1):
        x = look / LOOKS
        if look < LOOKS:
            put(M, m.theta, x)
            interpolate(M, m, tableau)
            watched_errors(M, m, b.wiring, m.trial)
        else:
            watched_errors(M, m, b.wiring, m.new)
        for lane in range(lanes(M)):
            if pick(M, m.accepted, lane) == 0.0 or I[HIT, lane] == 1:
                continue
            value = excess(M, m, lane)
            if value <= 0.0:
                I[HIT, lane] = 1
                hits += 1
                place(M, m.high, lane, x)
                place(M, m.at_high, lane, value)
            else:
                place(M, m.low, lane, x)
                place(M, m.at_low, lane, value)
    return hits


@outer
def find_events(M: Any, I: Any, m: Any, b: Any, tableau: Any) -> None:
    """Where thresholds are reached in accepted steps: θ to `m.high`, the state there to `m.new`.

    The Illinois variant of regula falsi, all lanes at once; those without an event stand still.
    """
    if look_for_events(M, I, m, b, tableau) == 0:
        return
    for lane in range(lanes(M)):
        if I[HIT, lane] == 1 and not pick(M, m.at_low, lane) > 0.0:
            place(M, m.high, lane, pick(M, m.low, lane))
    for _ in range(100):
        active = 0
        for lane in range(lanes(M)):
            low, high = pick(M, m.low, lane), pick(M, m.high, lane)
            place(M, m.theta, lane, high)
            if I[HIT, lane] == 1 and high - low > 1e-14:
                f, g = pick(M, m.at_low, lane), pick(M, m.at_high, lane)
                theta = low + (high - low) * f / (f - g)
                if not low < theta < high:
                    theta = 0.5 * (low + high)
                place(M, m.theta, lane, theta)
                active += 1
        if active == 0:
            break
        interpolate(M, m, tableau)
        watched_errors(M, m, b.wiring, m.trial)
        for lane in range(lanes(M)):
            if I[HIT, lane] == 1 and pick(M, m.high, lane) - pick(M, m.low, lane) > 1e-14:
                narrow(M, m, lane, excess(M, m, lane))
    for lane in range(lanes(M)):
        place(M, m.theta, lane, pick(M, m.high, lane))
    interpolate(M, m, tableau)
    for lane in range(lanes(M)):
        if I[HIT, lane] == 1:
            for i in range(m.n):
                place(M, m.new + i, lane, pick(M, m.trial + i, lane))
