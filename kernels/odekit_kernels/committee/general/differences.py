"""The Jacobian, by differences of fourth order: eight trial states at a time, in lanes; on a
device one after the other, to the same bits.

A step changes the covariances and means of the fields by about `STEP` of the scale on which their
moments change. Heads enter as polynomials of degree four and passive vectors linearly, of which
these differences are exact. What is left is rounding, some 1e-12 of the largest entry; of ReLU, of
which moments have a root where two fields coincide, it is more near there.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.activations import RELU
from odekit_kernels.committee.general.law import (
    block,
    fill_law,
    first_bias,
    first_head,
    overlaps,
)
from odekit_kernels.committee.general.rhs import rhs
from odekit_kernels.lanes.values import lanes, larger, pick, place, put, smaller
from odekit_kernels.lanes.views import alone, matrix, vector
from odekit_kernels.simd import WIDTH

__all__ = ["differences", "jacobian"]

STEP, STEP_OF_RELU = 5e-4, 1e-4
LEAST = 1e-12
POINTS = WIDTH // 2
"""Trial states of a column."""


@inner
def square_root(x: float) -> float:
    """√x, at least √`LEAST`."""
    return larger(x, LEAST) ** 0.5


@inner
def fill_scales(M: Any, m: Any, w: Any) -> None:
    """Write the variances on which the moments of every field depend, to `m.T_aa`."""
    scale, C = alone(vector(M, m.T_aa, m.D), 0), alone(matrix(M, m.C, m.D, m.D), 0)
    for a in range(m.D):
        scale[a] = 0.0
    for v in range(m.V):
        fill_law(M, m, v)
        for a in range(m.D):
            scale[a] = larger(scale[a], C[a, a])
    if m.activation != RELU:
        for a in range(m.D):
            scale[a] = scale[a] + (w.width[a] if w.width[a] >= 0.0 else 1.0)


@inner
def most(M: Any, m: Any, first: int, g: int) -> float:
    """Largest number of a group under any law, times its fraction."""
    found = LEAST
    for v in range(m.V):
        found = larger(found, abs(pick(M, first + v * m.G + g, 0)))
    return found * pick(M, m.share + g, 0)


@inner
def furthest(M: Any, m: Any, g: int) -> float:
    """Largest coefficient with which an overlap of a group enters a mean."""
    found = LEAST
    for v in range(m.V):
        gain = abs(pick(M, m.gain + v * m.G + g, 0)) * pick(M, m.share + g, 0)
        for n in range(m.P):
            found = larger(found, gain * abs(pick(M, m.mean + v * m.P + n, 0)))
    return found


@inner
def steps_of_overlaps(M: Any, m: Any, g: int, step: float, J: Any) -> None:
    """Steps of Q and R of a group, into the first row of J."""
    K, i = m.K, g * block(m)
    scale = alone(vector(M, m.T_aa, m.D), 0)
    ss, st, along = most(M, m, m.ss, g), most(M, m, m.st, g), furthest(M, m, g)
    for k in range(K):
        for l in range(k, K):
            J[0, i] = step * square_root(scale[k]) * square_root(scale[l]) / ss
            i += 1
    for k in range(K):
        for n in range(K, m.D):
            h = square_root(scale[k]) * square_root(scale[n]) / st
            J[0, i] = step * smaller(h, square_root(scale[k]) / along)
            i += 1


@inner
def fill_steps(M: Any, m: Any, w: Any, y: Any, J: Any) -> None:
    """The step of every entry of the state, into the first row of J."""
    step, heads, scale = STEP, 0.1, alone(vector(M, m.T_aa, m.D), 0)
    if m.activation == RELU:
        step = STEP_OF_RELU
    fill_scales(M, m, w)
    for i in range(first_head(m), first_bias(m)):
        heads = larger(heads, abs(y[i]))
    for i in range(m.n):
        # Velocities: of these the derivatives are linear.
        J[0, i] = larger(1.0, abs(y[i]))
    for g in range(m.G):
        steps_of_overlaps(M, m, g, step, J)
    for i in range(first_head(m), first_bias(m)):
        J[0, i] = 0.1 * heads
    for k in range(m.biases * m.K):
        J[0, first_bias(m) + k] = step * square_root(scale[k])
    if m.adaptive != 0:
        J[0, m.n - 1] = STEP * larger(y[m.n - 1], LEAST)


@inner
def put_trials(M: Any, m: Any, y: Any, j: int, J: Any) -> None:
    """The states −2h, −h, h and 2h from y in entries j and j + 1, each in four lanes."""
    for lane in range(WIDTH):
        for i in range(m.n):
            place(M, m.y + i, lane, y[i])
    for lane in range(WIDTH):
        column, at = j + lane // POINTS, lane % POINTS
        if column < m.n:
            # Multiples −2, −1, 1 and 2.
            times = at - 2 if at < 2 else at - 1
            place(M, m.y + column, lane, y[column] + times * J[0, column])


@inner
def slopes_in_lanes(
    M: Any, m: Any, w: Any, y: Any, j: int, moves: bool, trains: bool, J: Any
) -> None:
    """Columns j and j + 1, from eight states at once."""
    put_trials(M, m, y, j, J)
    rhs(M, m, w, m.y, m.new, moves, trains)
    for column in range(j, smaller(j + 2, m.n)):
        first, h = (column - j) * POINTS, J[0, column]
        for i in range(m.n):
            slope = 8.0 * (pick(M, m.new + i, first + 2) - pick(M, m.new + i, first + 1))
            slope += pick(M, m.new + i, first) - pick(M, m.new + i, first + 3)
            J[i, column] = slope / (12.0 * h)


@inner
def slopes_of_one(
    M: Any, m: Any, w: Any, y: Any, j: int, moves: bool, trains: bool, J: Any
) -> None:
    """Columns j and j + 1, from one state after the other."""
    for column in range(j, smaller(j + 2, m.n)):
        h = J[0, column]
        for at in range(POINTS):
            # First −h and h, then −2h and 2h: two values at a time are kept.
            times = 2 * (at % 2) - 1
            times = times if at < 2 else 2 * times
            put(M, m.y + column, y[column] + times * h)
            rhs(M, m, w, m.y, m.new if at % 2 == 0 else m.trial, moves, trains)
            for i in range(m.n if at % 2 == 1 else 0):
                # Numbers of a lane, for this is compiled, though never run, for eight of them too.
                low, high = pick(M, m.new + i, 0), pick(M, m.trial + i, 0)
                if at == 1:
                    put(M, m.k + i, 8.0 * (high - low))
                else:
                    J[i, column] = (pick(M, m.k + i, 0) + (low - high)) / (12.0 * h)
        put(M, m.y + column, y[column])


@inner
def differences(M: Any, m: Any, w: Any, y: Any, J: Any) -> None:
    """Jacobian of `rhs` at y, with what all lanes of M have as constants of the phase.

    Parameters
    ----------
    M : ndarray, shape (size, 8) or (size,)
    m : GeneralPlan
    w : Wiring
    y : ndarray, shape (n,)
    J : ndarray, shape (n, n)
        Receives ∂(dy_i/dt)/∂y_j.
    """
    moves, trains = pick(M, m.eta_w, 0) != 0.0, pick(M, m.eta_v, 0) != 0.0
    for lane in range(lanes(M)):
        for i in range(m.n):
            place(M, m.y + i, lane, y[i])
    overlaps(M, m, m.y)
    fill_steps(M, m, w, y, J)
    # From the last columns on: the first row of J, with the steps, is overwritten last of all.
    for j in range((m.n - 1) // 2 * 2, -1, -2):
        if lanes(M) > 1:
            slopes_in_lanes(M, m, w, y, j, moves, trains, J)
        else:
            slopes_of_one(M, m, w, y, j, moves, trains, J)


@kernel(_nrt=False)
def jacobian(M: Any, m: Any, w: Any, y: Any, J: Any) -> None:
    """`differences`, of one trajectory whose constants are in all eight lanes."""
    differences(M, m, w, y, J)
