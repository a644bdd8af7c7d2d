"""Rodas5P, a Rosenbrock method of order 5, in lanes: the partner for solutions that stand still.

Each step takes the analytic Jacobian of every lane, one inverse, and eight stages without any
iteration, so that all lanes do the same (Steinebach 2023, doi:10.1007/s10543-023-00967-x).

A method that is L-stable damps unstable modes under long steps and would sit on a plateau forever.
The spectrum of the Jacobian therefore bounds the steps: never long for the fastest growing mode.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from odekit_kernels._jit import inner, kernel, outer
from odekit_kernels._parts import Part, field, in_parts
from odekit_kernels.integrators import batch as lane_of
from odekit_kernels.integrators.batch import (
    HAND_OVER,
    INDEX,
    JACOBIANS,
    NONFINITE,
    SINCE,
    WAITS,
)
from odekit_kernels.integrators.inside import find_events, write_rows
from odekit_kernels.integrators.inverse import invert
from odekit_kernels.integrators.registry import jacobian, parts_of_rhs, rhs, tolerance
from odekit_kernels.integrators.spectrum import spectrum
from odekit_kernels.integrators.stepping import (
    clip_steps,
    commit,
    judge,
    parts_around,
    refill,
    set_driven,
)
from odekit_kernels.lanes.memory import make_memory
from odekit_kernels.lanes.values import fill, get, lanes, larger, pick, place, put, smaller
from odekit_kernels.simd import absolute, choose_less, root

__all__ = ["Scratch", "advance_implicit", "make_scratch"]

GROWTH_PER_STEP = 0.05
"""Largest λ₊·h: then 27 e-foldings out of rounding are followed to 1e-9."""
MOVED, STRETCHED = 0.02, 3.0
"""Change of the state, relative, and of the step, as a factor, at which to look at the spectrum."""
AGAIN = 10
"""Steps after which to look in any case where units may leave zero."""
WORTH = 20.0
"""Explicit steps that an implicit one must save."""
PART = 1e-5
"""Part of a step over which ∂f/∂t is taken."""
TRIAL = 12
"""Steps after a change of method in which the first, short one may grow."""


class Scratch(NamedTuple):
    """More memory that implicit steps need.

    Attributes
    ----------
    J, A, B : ndarray, shape (n n, 8)
        Jacobians of all lanes, W, and its inverses.
    f_t, looked : ndarray, shape (n, 8)
        ∂f/∂t, and the states at the last look at the spectrum.
    cap, stretch : ndarray, shape (1, 8)
        Longest step that the growing modes allow; step at the last look.
    y, dense : ndarray, shapes (n,) and (n, n)
        State and Jacobian of one lane.
    H, p : ndarray, shapes (n, n) and (3,)
        For its spectrum.
    row : ndarray, shape (width,)
        Its constants.
    """

    J: NDArray[np.float64]
    A: NDArray[np.float64]
    B: NDArray[np.float64]
    f_t: NDArray[np.float64]
    looked: NDArray[np.float64]
    cap: NDArray[np.float64]
    stretch: NDArray[np.float64]
    y: NDArray[np.float64]
    dense: NDArray[np.float64]
    H: NDArray[np.float64]
    p: NDArray[np.float64]
    row: NDArray[np.float64]


def make_scratch(n: int, width: int) -> Scratch:
    """Allocate the memory for states of n numbers, and rows of so many constants."""
    return Scratch(
        J=make_memory(n * n),
        A=make_memory(n * n),
        B=make_memory(n * n),
        f_t=make_memory(n),
        looked=make_memory(n),
        cap=make_memory(1),
        stretch=make_memory(1),
        y=np.zeros(n),
        dense=np.zeros((n, n)),
        H=np.zeros((n, n)),
        p=np.zeros(3),
        row=np.zeros(width),
    )


# ------------------------------------------------------------------------------ Jacobian, spectrum


@outer
def fill_jacobian(M: Any, I: Any, m: Any, b: Any, work: Any, scratch: Any, lane: int) -> None:
    """The analytic Jacobian of one lane, to `scratch.J` and `scratch.dense`."""
    for j in range(m.n):
        scratch.y[j] = pick(M, m.y + j, lane)
    lane_of.fill_row(M, b, I[INDEX, lane], lane, scratch.row)
    jacobian(M, m, b, scratch.row, lane, work, scratch.y, scratch.dense)
    for j in range(m.n):
        for l in range(m.n):
            place(scratch.J, j * m.n + l, lane, scratch.dense[j, l])
    I[JACOBIANS, lane] += 1


@inner
def due(M: Any, I: Any, m: Any, scratch: Any, limits: Any, lane: int) -> bool:
    """Whether state or step have changed so much that the spectrum must be looked at."""
    if pick(M, m.fresh, lane) == 1.0:
        return True
    if pick(M, m.wish, lane) > STRETCHED * pick(scratch.stretch, 0, lane):
        return True
    # A unit that leaves zero grows fast for its size, which is nothing beside the state.
    if limits.corner > 0.0 and I[SINCE, lane] % AGAIN == 0:
        return True
    size, moved = 0.0, 0.0
    for i in range(m.n):
        y = pick(M, m.y + i, lane)
        size = larger(abs(y), size)
        moved = larger(abs(y - pick(scratch.looked, i, lane)), moved)
    return moved > MOVED * size


@outer
def look(M: Any, I: Any, m: Any, b: Any, scratch: Any, limits: Any, lane: int) -> None:
    """Bound the steps by the growing modes; leave where implicit steps would not pay."""
    radius, growth = spectrum(scratch.dense, scratch.H, scratch.p)
    if radius - radius != 0.0:
        lane_of.leave(M, I, m, b, lane, NONFINITE)
        return
    cap = GROWTH_PER_STEP / growth if growth > 0.0 else np.inf
    place(scratch.cap, 0, lane, cap)
    place(scratch.stretch, 0, lane, pick(M, m.wish, lane))
    for i in range(m.n):
        place(scratch.looked, i, lane, pick(M, m.y + i, lane))
    if limits.worth == np.inf:
        return
    longest = smaller(cap, pick(M, m.end, lane) - pick(M, m.time, lane))
    if I[SINCE, lane] > TRIAL:
        longest = smaller(longest, pick(M, m.wish, lane))
    if longest * radius < WORTH:
        I[WAITS, lane] += 1
        lane_of.leave(M, I, m, b, lane, HAND_OVER)


@inner
def look_around(M: Any, I: Any, m: Any, b: Any, work: Any, scratch: Any, limits: Any) -> None:
    """Jacobians of the lanes that have moved, and what their spectra say."""
    for lane in range(lanes(M)):
        if I[INDEX, lane] < 0:
            place(scratch.cap, 0, lane, np.inf)
            continue
        fresh = pick(M, m.fresh, lane) == 1.0
        I[SINCE, lane] = 0 if fresh else I[SINCE, lane] + 1
        if fresh or pick(M, m.accepted, lane) == 1.0:
            fill_jacobian(M, I, m, b, work, scratch, lane)
            if due(M, I, m, scratch, limits, lane):
                look(M, I, m, b, scratch, limits, lane)
        if I[INDEX, lane] >= 0:
            wish = pick(M, m.wish, lane)
            if wish <= 0.0:
                wish = first_step(m, scratch, lane)
            place(M, m.wish, lane, smaller(wish, pick(scratch.cap, 0, lane)))


@inner
def first_step(m: Any, scratch: Any, lane: int) -> float:
    """A step for which no entry of h J is large."""
    largest = 0.0
    for i in range(m.n * m.n):
        largest = larger(abs(pick(scratch.J, i, lane)), largest)
    return 0.01 / largest if largest > 0.0 else 1e-6


# ------------------------------------------------------------------------------------------ a step


@inner
def fill_iteration_matrix(M: Any, m: Any, scratch: Any, gamma: float) -> None:
    """Write W = 1/(hγ) − J; idle lanes have h = 0 and get the unit matrix."""
    h = get(M, m.h)
    idle = choose_less(0.0, h, h, 1.0)
    diagonal = 1.0 / (gamma * idle)
    for i in range(m.n):
        for j in range(m.n):
            entry = -get(scratch.J, i * m.n + j)
            if i == j:
                entry = entry + diagonal
            zero = 1.0 if i == j else 0.0
            put(scratch.A, i * m.n + j, choose_less(0.0, h, entry, zero))


@inner
def increment(M: Any, m: Any, scratch: Any, method: Any, s: int) -> None:
    """Turn f at a stage, in its place, into u of this stage."""
    n, h, u = m.n, get(M, m.h), m.k + s * m.n
    inverse = 1.0 / choose_less(0.0, h, h, 1.0)
    for i in range(n):
        total = fill(M, 0.0)
        for j in range(s):
            total = total + method.c[s, j] * get(M, m.k + j * n + i)
        right = get(M, u + i) + inverse * total + (method.d[s] * h) * get(scratch.f_t, i)
        put(M, m.trial + i, right)
    for i in range(n):
        total = fill(M, 0.0)
        for j in range(n):
            total = total + get(scratch.B, i * n + j) * get(M, m.trial + j)
        put(M, u + i, total)


@inner
def combine(M: Any, m: Any, method: Any, s: int, out: int) -> None:
    """Write y + Σ_j a_sj u_j."""
    for i in range(m.n):
        total = get(M, m.y + i)
        for j in range(s):
            total = total + method.W[s, j] * get(M, m.k + j * m.n + i)
        put(M, out + i, total)


@inner
def keep_difference(M: Any, m: Any, scratch: Any) -> None:
    """Keep f a part of the step later, the first call, and count it."""
    put(M, m.calls, get(M, m.calls) + 1.0)
    for i in range(m.n):
        put(scratch.f_t, i, get(M, m.k + i))


@inner
def divide_difference(M: Any, m: Any, scratch: Any) -> None:
    """Make ∂f/∂t of it, after the second call, at the beginning of the step."""
    h = get(M, m.h)
    span = PART * choose_less(0.0, h, h, 1.0)
    for i in range(m.n):
        put(scratch.f_t, i, (get(scratch.f_t, i) - get(M, m.k + i)) / span)


# The only place of the equations: beside the inverses a call costs nothing, and to compile them
# twice took two seconds.
@outer
def derivative(M: Any, m: Any, b: Any, limits: Any, y: int, dy: int) -> None:
    """Write the time derivative of the states at `y` to `dy`."""
    rhs(M, m, b.wiring, y, dy, limits.moves, limits.trains, limits.decays)


@inner
def stages(M: Any, I: Any, m: Any, b: Any, scratch: Any, method: Any, limits: Any) -> None:
    """All stages of one step of every lane; with a schedule one more, for ∂f/∂t."""
    count = method.W.shape[1]
    for i in range(m.n):
        put(scratch.f_t, i, fill(M, 0.0))
    for s in range(-1 if limits.scheduled else 0, count):
        combine(M, m, method, larger(s, 0), m.new)
        if limits.scheduled:
            set_driven(M, I, m, b, PART if s < 0 else method.nodes[s])
        u = m.k + larger(s, 0) * m.n
        derivative(M, m, b, limits, m.new, u)
        if s < 0:
            keep_difference(M, m, scratch)
            continue
        if s == 0 and limits.scheduled:
            divide_difference(M, m, scratch)
        increment(M, m, scratch, method, s)
    combine(M, m, method, count, m.new)


@inner
def estimate(M: Any, m: Any, method: Any, limits: Any) -> None:
    """Fill the error in tolerances and the largest entry of the new state."""
    last = m.k + (method.W.shape[1] - 1) * m.n
    error, large = fill(M, 0.0), fill(M, 0.0)
    for i in range(m.n):
        new, old = absolute(get(M, m.new + i)), absolute(get(M, m.y + i))
        scale = tolerance(m, limits, i) + limits.rtol * choose_less(old, new, new, old)
        scaled = get(M, last + i) / scale
        error = error + scaled * scaled
        large = choose_less(large, new, new, large)
    put(M, m.norm, root(error / float(m.n)))
    put(M, m.large, large)


@outer
def differentiate(M: Any, m: Any, b: Any, method: Any, limits: Any) -> None:
    """The derivative at the ends of the steps, where `commit` looks for it."""
    last = m.k + method.W.shape[1] * m.n
    derivative(M, m, b, limits, m.new, last)
    put(M, m.calls, get(M, m.calls) + 1.0)


@kernel(_nrt=False)
def advance_implicit(
    M: Any,
    I: Any,
    m: Any,
    b: Any,
    method: Any,
    limits: Any,
    queue: Any,
    todo: Any,
    quota: int,
    scratch: Any,
    work: Any,
) -> bool:
    """As `explicit.advance_explicit`, with a Rosenbrock method.

    Parameters
    ----------
    scratch : Scratch
        More memory of the group.
    work : Work or GatedWork
        Scratch memory of one trajectory in this phase.
    """
    for _ in range(quota):
        if not refill(M, I, m, b, queue, todo):
            return True
        if limits.scheduled:
            set_driven(M, I, m, b, 0.0)
        look_around(M, I, m, b, work, scratch, limits)
        clip_steps(M, m, limits)
        fill_iteration_matrix(M, m, scratch, method.gamma)
        invert(scratch.A, scratch.B, m.n)
        stages(M, I, m, b, scratch, method, limits)
        estimate(M, m, method, limits)
        put(M, m.unit, 1.0)
        if not judge(M, I, m, b, method):
            continue
        if m.W > 0:
            find_events(M, I, m, b, method)
        write_rows(M, I, m, b, method)
        if limits.steady > 0.0:
            differentiate(M, m, b, method, limits)
        commit(M, I, m, b, method, limits)
    return False


@in_parts(advance_implicit)
def parts_of_implicit(
    M: Any, I: Any, m: Any, b: Any, method: Any, limits: Any, queue: Any, _todo: Any, _quota: Any,
    scratch: Any, work: Any,
) -> list[Part]:  # fmt: skip
    """The equations and their Jacobian last: as much as all else."""
    group = (M, I, m, b, method)
    matrix = field(scratch, "A")
    return [
        Part(find_events, group),
        *parts_around(*group, limits, queue),
        Part(write_rows, group),
        Part(invert, (matrix, matrix, types.int64)),
        Part(look, (M, I, m, b, scratch, limits, types.int64)),
        *parts_of_rhs(M, m, b),
        Part(fill_jacobian, (M, I, m, b, work, scratch, types.int64)),
    ]
