"""J and ∂f/∂θ of plans without a reverse pass of their own: with groups of inputs.

The Jacobian is there already. Derivatives by a phase's numbers are differences along directions in
its row of constants, and exact but for rounding where f is quadratic in them: probabilities, noise,
readouts, decays, strengths and learning rates. By variances and overlaps of fixed vectors they are
of fourth order. Errors have a reverse pass.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee import groups
from odekit_kernels.committee.driven import drive_row, drive_shifted
from odekit_kernels.committee.equations import committee_with_groups
from odekit_kernels.committee.inputs import fill_groups, fill_law
from odekit_kernels.committee.pairs import second_pair
from odekit_kernels.integrators.runge_kutta import reach
from odekit_kernels.integrators.spectrum import radius_beyond

__all__ = [
    "GroupsTape",
    "fill_stages",
    "flow",
    "pull_error",
    "radius",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


class GroupsTape(NamedTuple):
    """A phase with groups of inputs, and scratch memory.

    Attributes
    ----------
    plan, wiring, whole_plan, whole_wiring : as the kernels in lanes take them
        Of the phase, and of one that samples all tasks of the problem.
    row : ndarray, shape (size,)
        Constants of the phase, at the time that it was driven to.
    driven : Driven
        Which of them follow schedules.
    rows, weight, entry : ndarray, shapes (r, size), (r,) and (r,) of int64
        Shifted constants of the phase; Σ weight f(row) over those of an entry is its derivative.
        Entries after θ are those of what moves in time.
    offset : ndarray, shape (r, driven)
        By how much rows are shifted in what is driven.
    whole : ndarray, shape (size,)
        Constants of the phase of all tasks.
    along : ndarray, shape (d, size)
        Directions in them.
    wants : ndarray, shape (2,)
        1.0 where the derivative by a layer's learning rate is wanted.
    J : ndarray, shape (n, n)
    dy : ndarray, shape (n,)
    C_bar : ndarray, shape (D, D)
    c, by_c, out : ndarray, shapes (D,), (D,) and (4,)
    by_row : ndarray, shape (size,)
    work : Work
    """

    plan: Any
    wiring: Any
    whole_plan: Any
    whole_wiring: Any
    row: Array
    driven: Any
    rows: Array
    weight: Array
    entry: Indices
    offset: Array
    whole: Array
    along: Array
    wants: Array
    J: Array
    dy: Array
    C_bar: Array
    c: Array
    by_c: Array
    out: Array
    by_row: Array
    work: Any


RATE_STEP = 0.25
"""By which learning rates are shifted: f is quadratic in them."""


@kernel(_nrt=False)
def flow(y: Any, eta_w: float, eta_v: float, work: Any, tape: Any, dy: Any) -> None:
    """Right-hand side at these rates, and what the row says."""
    system = committee_with_groups(tape.plan, tape.wiring, tape.row)
    groups.derivative(y, eta_w, eta_v, system, work, dy)


@kernel(_nrt=False)
def fill_numbers(
    y: Any, eta_w: float, eta_v: float, system: Any, tape: Any, f: Any, by_rate: Any
) -> None:
    """Write the derivatives of the right-hand side by θ, (n, d), and by what moves in time.

    The latter are the rates of both layers, and what a phase has of `rows` beyond d.
    """
    f[:] = 0.0
    by_rate[:] = 0.0
    dy = tape.dy
    for r in range(tape.rows.shape[0]):
        shifted = committee_with_groups(tape.plan, tape.wiring, tape.rows[r])
        groups.derivative(y, eta_w, eta_v, shifted, tape.work, dy)
        entry = tape.entry[r]
        for i in range(dy.shape[0]):
            if entry < f.shape[1]:
                f[i, entry] += tape.weight[r] * dy[i]
            else:
                by_rate[i, 2 + entry - f.shape[1]] += tape.weight[r] * dy[i]
    for layer in range(2):
        if tape.wants[layer] == 0.0:
            continue
        for sign in (1.0, -1.0):
            step = sign * RATE_STEP
            rate_w = eta_w + step if layer == 0 else eta_w
            rate_v = eta_v + step if layer == 1 else eta_v
            groups.derivative(y, rate_w, rate_v, system, tape.work, dy)
            for i in range(dy.shape[0]):
                by_rate[i, layer] += 0.5 / step * dy[i]


@kernel(_nrt=False)
def radius(
    y: Any, eta_w: float, eta_v: float, enough: float, tape: Any, scratch: Any, three: Any
) -> Any:
    """Spectral radius of the Jacobian, see `radius_beyond`."""
    system = committee_with_groups(tape.plan, tape.wiring, tape.row)
    groups.jacobian(y, eta_w, eta_v, system, tape.work, tape.J)
    return radius_beyond(tape.J, enough, scratch, three)


# ------------------------------------------------------------------------------------------ errors


@inner
def fill_second(activation: int, system: Any, task: int, y: Any, start: int, tape: Any) -> float:
    """ε of a task from C; its derivatives by C and by c = (−v, u) to `C_bar` and `by_c`."""
    C, C_bar, c, by_c, out = tape.work.C, tape.C_bar, tape.c, tape.by_c, tape.out
    K, D, twice = system.move.shape[0], C_bar.shape[0], 0.0
    for a in range(D):
        c[a] = -y[start + system.head[task] * K + a] if a < K else system.u[task, a - K]
    C_bar[:] = 0.0
    for a in range(D):
        by_c[a] = 0.0
        for b in range(D):
            second_pair(activation, C[a, a], C[b, b], C[a, b], out)
            by_c[a] += c[b] * out[0]
            g = 0.5 * c[a] * c[b]
            C_bar[a, a] += g * out[1]
            C_bar[b, b] += g * out[2]
            C_bar[a, b] += g * out[3]
        twice += c[a] * by_c[a]
    return 0.5 * twice


@inner
def gather_state(system: Any, v: int, tape: Any, by_y: Any) -> int:
    """From C̄ to the derivatives by the overlaps of every group; returns where the heads begin."""
    inputs, C_bar, K, i = system.inputs, tape.C_bar, system.move.shape[0], 0
    for g in range(inputs.share.shape[0]):
        ss, st = inputs.share[g] * inputs.ss[v, g], inputs.share[g] * inputs.st[v, g]
        for k in range(K):
            for l in range(k, K):
                both = C_bar[k, l] if k == l else C_bar[k, l] + C_bar[l, k]
                by_y[i] = ss * both
                i += 1
        for k in range(K):
            for n in range(K, C_bar.shape[0]):
                by_y[i] = st * (C_bar[k, n] + C_bar[n, k])
                i += 1
    return i


@inner
def fill_by_row(system: Any, task: int, v: int, tape: Any) -> None:
    """From C̄ and the derivatives by u to those by the constants of a phase of all tasks."""
    inputs, C_bar, at, row = system.inputs, tape.C_bar, tape.whole_wiring.first, tape.by_row
    G, K, D = inputs.share.shape[0], system.move.shape[0], C_bar.shape[0]
    P, overlaps = D - K, tape.work.of_groups.G
    row[:] = 0.0
    for g in range(G):
        for a in range(D):
            for b in range(D):
                whole = inputs.share[g] * C_bar[a, b]
                if a >= K and b >= K:
                    row[at.T + (g * P + a - K) * P + b - K] += inputs.tt[v, g] * whole
                    row[at.tt + v * G + g] += whole * overlaps[g, a, b]
                elif a < K and b < K:
                    row[at.ss + v * G + g] += whole * overlaps[g, a, b]
                else:
                    row[at.st + v * G + g] += whole * overlaps[g, a, b]
    for n in range(P):
        row[at.u + task * P + n] += tape.by_c[K + n]


@kernel(_nrt=False)
def pull_error(y: Any, task: int, tape: Any, by_y: Any, by_theta: Any) -> float:
    """Error of a task of the problem; writes its derivatives by the state, (n,), and by θ, (d,)."""
    every = committee_with_groups(tape.whole_plan, tape.whole_wiring, tape.whole)
    K, D, v = every.move.shape[0], tape.C_bar.shape[0], every.inputs.law[task]
    fill_groups(y, every.T, K, D - K, tape.work)
    fill_law(every.inputs, v, K, D, tape.work)
    start = every.inputs.share.shape[0] * (K * (K + 1) // 2 + K * (D - K))
    value = fill_second(every.activation, every, task, y, start, tape)
    by_y[:] = 0.0
    head = gather_state(every, v, tape, by_y) + every.head[task] * K
    for k in range(K):
        by_y[head + k] -= tape.by_c[k]
    fill_by_row(every, task, v, tape)
    for d in range(tape.along.shape[0]):
        by_theta[d] = 0.0
        for j in range(tape.by_row.shape[0]):
            by_theta[d] += tape.by_row[j] * tape.along[d, j]
    return value


@kernel(_nrt=False)
def fill_stage(
    y: Any, eta_w: float, eta_v: float, work: Any, tape: Any, dy: Any, J: Any, f: Any, by_rate: Any
) -> None:
    """Write the right-hand side at a state, and its derivatives."""
    # Views of the row count no references: no kernel that counts them may make one.
    system = committee_with_groups(tape.plan, tape.wiring, tape.row)
    groups.derivative(y, eta_w, eta_v, system, work, dy)
    groups.jacobian(y, eta_w, eta_v, system, work, J)
    fill_numbers(y, eta_w, eta_v, system, tape, f, by_rate)


@kernel
def fill_stages(course: Any, pair: Any, work: Any, tape: Any, W: int, out: Any) -> None:
    """Derivatives at the stages of recorded steps of a phase with groups of inputs.

    Parameters
    ----------
    course : replay.Course
    pair : runge_kutta.Pair
    work, tape : as in `passes.flow`
    W : int
        0, or the number of tasks: whether their errors are wanted.
    out : variations.Stages
        Receives them.
    """
    n, s = course.y.shape[1], pair.B.shape[0]
    k, at = np.zeros((s, n)), np.zeros(n)
    for step in range(course.h.shape[0]):
        for i in range(s):
            eta_w, eta_v = course.eta[step, i, 0], course.eta[step, i, 1]
            reach(course.y[step], course.h[step], pair.A[i], k, i, at)
            drive_row(course.t[step] + course.h[step] * pair.C[i], tape.driven, tape.row)
            drive_shifted(tape.driven, tape.row, tape.offset, tape.rows)
            fill_stage(
                at, eta_w, eta_v, work, tape, k[i], out.J[step, i], out.f[step, i],
                out.by_rate[step, i],
            )  # fmt: skip
            for w in range(W):
                out.e[step, i, w] = pull_error(
                    at, w, tape, out.e_y[step, i, w], out.e_theta[step, i, w]
                )
