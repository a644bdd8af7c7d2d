"""Explicit steps of one trajectory in one call: from Python a call costs a hundred stages."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from odekit_kernels._jit import alternatives, inner, kernel, outer
from odekit_kernels._parts import Part, field, in_parts
from odekit_kernels.committee import groups, one
from odekit_kernels.committee.state import fill_state
from odekit_kernels.integrators.runge_kutta import GREATEST, LEAST, SAFETY, judged, reach
from odekit_kernels.integrators.tables import rate_at

__all__ = ["Walk", "advance"]

Array = NDArray[np.float64]

ROWS = 1000
"""Rows after which a walk comes back for a look at the clock."""


class Walk(NamedTuple):
    """How far steps that control their errors go, and where they are.

    Attributes
    ----------
    clock : ndarray, shape (2,)
        Time, and the length of the step to try; both are moved along.
    tally : ndarray of int64, shape (4,)
        Steps to take at most, then steps taken, right-hand sides and rows filled, which are added
        to. With none to take the walk is no walk: `advance` takes the spans that it is given.
    begin, bound, longest, rtol : float
        When the phase began, time not to step over, longest step, tolerance.
    atol, floor, ceiling : ndarray, shapes (n,), (n,) and float
        Tolerances; a step that ends with an entry below its floor, or above the ceiling in
        modulus, is left to the caller.
    targets : ndarray, shape (rows,)
        Times at which rows are wanted, increasing.
    """

    clock: Array
    tally: NDArray[np.int64]
    begin: float
    bound: float
    longest: float
    rtol: float
    atol: Array
    floor: Array
    ceiling: float
    targets: Array


def rhs_of(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """The right-hand side for the kind of system that it is given."""
    of = one.derivative if system.inputs is None else groups.derivative
    of(y, eta_w, eta_v, system, work, dy)


def without_groups(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`rhs_of` where all inputs are alike."""
    one.derivative(y, eta_w, eta_v, system, work, dy)


def with_groups(y: Any, eta_w: float, eta_v: float, system: Any, work: Any, dy: Any) -> None:
    """`rhs_of` with groups of inputs."""
    groups.derivative(y, eta_w, eta_v, system, work, dy)


@alternatives(rhs_of, strict=False)
def choose_rhs(y: Any, eta_w: Any, eta_v: Any, system: Any, *rest: Any) -> Any:  # noqa: ARG001
    """Choose by whether the system's type has groups."""
    inputs = system.types[system.fields.index("inputs")]
    return with_groups if hasattr(inputs, "fields") else without_groups


# The only place from which stages are evaluated: each takes seconds to compile.
@outer
def stages(
    y: Any, t: float, h: float, pair: Any, rates: Any, system: Any, work: Any, K: Any, out: Any
) -> None:
    """Stages of a step of length h and its end; without any, the derivative at y.

    Times are since the phase began, as rates are functions of these.
    """
    S = pair.B.shape[0]
    for s in range(min(S, 1), S + 1):
        reach(y, h, pair.A[s] if s < S else pair.B, K, s, out)
        if s < K.shape[0]:
            time = t + h * (pair.C[s] if s < S else 1.0)
            rhs_of(out, rate_at(rates[0], time), rate_at(rates[1], time), system, work, K[s])


@inner
def copied(source: Any, out: Any) -> None:
    """Copy an array of one axis: numba's own assignment wants memory."""
    for i in range(source.shape[0]):
        out[i] = source[i]


@inner
def is_plain(new: Any, slope: Any, walk: Any) -> bool:
    """Whether the end of a step asks for nothing: finite, not below a floor, not too large."""
    good = True
    for i in range(new.shape[0]):
        good &= abs(new[i]) <= walk.ceiling and new[i] >= walk.floor[i] and abs(slope[i]) < np.inf
    return good


@inner
def fill_rows(
    y: Any, end: float, last: Any, pair: Any, rates: Any, system: Any, work: Any, walk: Any,
    within: Any, rows: Any,
) -> int:  # fmt: skip
    """Rows of a step, up to its end, at which y is `last`; −1 if any is not finite."""
    t, filled = walk.clock[0], walk.tally[3]
    while filled < rows.shape[0] and walk.targets[filled] <= end:
        if walk.targets[filled] == end:
            copied(last, rows[filled])
        else:
            h = walk.targets[filled] - t
            stages(y, t - walk.begin, h, pair, rates, system, work, within, rows[filled])
            for i in range(y.shape[0]):
                if not abs(rows[filled, i]) < np.inf:
                    return -1
        filled += 1
    return int(filled)


@inner
def step_along(
    y: Any, pair: Any, rates: Any, system: Any, work: Any, K: Any, walk: Any, rows: Any
) -> bool:
    """One step as scipy takes it, with its rows; False leaves it, untouched, to the caller."""
    S, clock, tally = pair.B.shape[0], walk.clock, walk.tally
    within, new = K[S + 1 : 2 * S + 1], K[2 * S + 1]
    t, tries, h = clock[0], 0, 0.0
    shortest = 10.0 * (np.nextafter(t, np.inf) - t)
    wish = min(max(clock[1], shortest), walk.longest)
    norm = 2.0
    while not norm < 1.0:
        if tries > 0:
            wish = h * max(LEAST, SAFETY * norm**pair.exponent)
        if wish < shortest:
            return False
        end = min(t + wish, walk.bound)
        h = end - t
        stages(y, t - walk.begin, h, pair, rates, system, work, K[: S + 1], new)
        if not is_plain(new, K[S], walk):
            return False
        norm = judged(y, new, h, K, pair, walk.rtol, walk.atol)
        tries += 1
    copied(K[0], within[0])
    filled = fill_rows(y, end, new, pair, rates, system, work, walk, within, rows)
    if filled < 0:
        return False
    inside = filled - tally[3]
    if inside > 0 and walk.targets[filled - 1] == end:
        inside -= 1
    factor = GREATEST if norm == 0.0 else SAFETY * norm**pair.exponent
    clock[0], clock[1] = end, h * min(1.0 if tries > 1 else GREATEST, factor)
    tally[1] += 1
    tally[2] += tries * S + inside * (S - 1)
    tally[3] = filled
    copied(new, y)
    copied(K[S], K[0])
    return True


@kernel(_nrt=False)
def advance(
    y: Any, t: Any, spans: Any, pair: Any, rates: Any, system: Any, work: Any, K: Any, out: Any,
    walk: Any,
) -> None:  # fmt: skip
    """Steps of several lengths from one point, steps one after the other, or derivatives.

    All in one function, for stages are most of what there is to compile.

    Parameters
    ----------
    y : ndarray, shape (1, n) or (states, n)
        The point to start from, which a walk moves along; or where derivatives are wanted.
    t : ndarray, shape (1,) or (states,)
        Times of them, since the phase began.
    spans : ndarray, shape (steps,)
        Lengths of the steps; none for a walk or derivatives.
    pair : Pair
        The method; without stages, derivatives are what is found.
    rates : tuple of Rate
        Of both layers.
    system : Committee
    work : Work
    K : ndarray, shape (S, n), (S + 1, n), (2 S + 2, n) of a walk, or (states, n) of derivatives
        The first row holds the derivative at y; the others receive those of the last step's stages,
        and at its end if there is a row for it. The other rows of a walk are scratch. Receives
        derivatives.
    out : ndarray, shape (steps or rows or 1, n)
        Receives the ends, or the rows of a walk.
    walk : Walk
    """
    derive = pair.B.shape[0] == 0
    for i in range(t.shape[0] if derive else spans.shape[0]):
        at, to, h = (i, 0, 0.0) if derive else (0, i, spans[i])
        stages(y[at], t[at], h, pair, rates, system, work, K[at:], out[to])
    tally = walk.tally
    while tally[1] < tally[0] and tally[3] < ROWS and walk.clock[0] < walk.bound:
        if not step_along(y[0], pair, rates, system, work, K, walk, out):
            break


@in_parts(advance)
def parts_of_advance(
    y: Any, _t: Any, _spans: Any, pair: Any, rates: Any, system: Any, work: Any, K: Any, _out: Any,
    walk: Any,
) -> list[Part]:  # fmt: skip
    """The steps of the right-hand side, the longest last; none with groups of inputs."""
    if hasattr(field(system, "inputs"), "fields"):
        return []
    state, number, count = y.copy(ndim=1), types.float64, types.int64
    given = (field(system, "p"), system, count, count, work)
    return [
        Part(one.assemble, (state, number, number, system, work, state)),
        Part(fill_state, (state, system, count, count, work)),
        Part(is_plain, (state, state, walk)),
        Part(judged, (state, state, number, K, pair, number, state)),
        Part(rate_at, (rates[0], number)),
        Part(one.fill_moments, (number, number, *given)),
    ]
