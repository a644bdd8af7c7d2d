"""One trajectory: the same functions on a memory of shape (size,)."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee import means
from odekit_kernels.committee.activations import RELU
from odekit_kernels.committee.general import rhs as lanes
from odekit_kernels.committee.general.law import enter_law, fill_law, overlaps
from odekit_kernels.committee.general.moments import averages, combine, drive, seconds
from odekit_kernels.committee.general.steps import add_heads, add_law

__all__ = [
    "add_law_alone",
    "begin_alone",
    "combine_alone",
    "drive_alone",
    "end_alone",
    "enter_law_alone",
    "errors",
    "errors_under_law_alone",
    "law_alone",
    "rhs",
    "seconds_alone",
    "slopes_alone",
    "wrong",
]


@inner
def load(M: Any, first: int, values: Any) -> None:
    """Copy numbers into the memory."""
    for i in range(values.shape[0]):
        M[first + i] = values[i]


@inner
def unload(M: Any, first: int, values: Any) -> None:
    """Copy numbers out of it."""
    for i in range(values.shape[0]):
        values[i] = M[first + i]


@kernel(_nrt=False)
def rhs(M: Any, m: Any, w: Any, y: Any, dy: Any) -> None:
    """Right-hand side of the order parameters' equations, averaged over the tasks of the phase.

    Parameters
    ----------
    M : ndarray, shape (size,)
        Memory with the constants of the phase, learning rates among them.
    m : GeneralPlan
    w : Wiring
    y, dy : ndarray, shape (n,)
        State; receives its derivative.
    """
    load(M, m.y, y)
    lanes.rhs(M, m, w, m.y, m.new, M[m.eta_w] != 0.0, M[m.eta_v] != 0.0)
    unload(M, m.new, dy)


@kernel(_nrt=False)
def errors(M: Any, m: Any, w: Any, y: Any, out: Any) -> None:
    """Noise-free generalisation errors of the watched tasks, shape (W,), each under its own law."""
    load(M, m.y, y)
    lanes.errors(M, m, w, m.y)
    unload(M, m.error, out)


# For moments that no kernel computes: what comes before them, and what comes after.


@kernel(_nrt=False)
def begin_alone(M: Any, m: Any, w: Any, y: Any) -> None:
    """From the state to what all laws share."""
    load(M, m.y, y)
    lanes.begin(M, m, w, m.y, m.new)


@kernel(_nrt=False)
def enter_law_alone(M: Any, m: Any, w: Any, v: int) -> bool:
    """Fill C, the means and `cbar` under law v; whether the phase has tasks of it."""
    has = enter_law(M, m, w, v)
    averages(M, m, w, v)
    return has


@kernel(_nrt=False)
def drive_alone(M: Any, m: Any, w: Any) -> None:
    """Fill h, D and E from closed moments."""
    drive(M, m, w)


@kernel(_nrt=False)
def seconds_alone(M: Any, m: Any, w: Any, rows: int) -> None:
    """Fill e and I2 from closed moments."""
    seconds(M, m, w, rows)


@kernel(_nrt=False)
def slopes_alone(M: Any, m: Any, w: Any, out: Any) -> None:
    """J2 of the students' fields from closed moments, shape (K, K)."""
    for k in range(m.K):
        for l in range(m.K):
            C_kk, C_ll, C_kl = M[m.C + k * (m.D + 1)], M[m.C + l * (m.D + 1)], M[m.C + k * m.D + l]
            M_k, M_l, s = M[m.M + k], M[m.M + l], w.width[k]
            found = means.pair(m.activation, M_k, M_l, C_kk, C_ll, C_kl, s, s)
            out[k, l] = found[1]


@kernel(_nrt=False)
def combine_alone(M: Any, m: Any, w: Any, v: int, J2: Any, I3: Any, I4: Any) -> None:
    """Fill S of law v from J2 (K, K) and, of the pairs k ≤ l, I3 (…, D) and I4 (…, D, D)."""
    combine(M, m, w, v, J2, I3, I4)


@kernel(_nrt=False)
def add_law_alone(M: Any, m: Any, w: Any, v: int, online: bool) -> None:
    """Add what the tasks of law v do, after h, D, E, e, I2 and, if `online`, S were filled."""
    add_law(M, m, v, online)
    add_heads(M, m, w, v, m.new)


@kernel(_nrt=False)
def end_alone(M: Any, m: Any, w: Any, dy: Any) -> None:
    """From what all laws have added to the derivative, shape (n,)."""
    lanes.end(M, m, w, m.y, m.new)
    unload(M, m.new, dy)


@kernel(_nrt=False)
def law_alone(M: Any, m: Any, w: Any, y: Any, v: int) -> None:
    """Fill C and means under law v at a state, and the watched tasks' coefficients."""
    load(M, m.y, y)
    overlaps(M, m, m.y)
    lanes.outputs(M, m, w, m.y)
    fill_law(M, m, v)


@kernel(_nrt=False)
def errors_under_law_alone(M: Any, m: Any, w: Any, v: int) -> None:
    """Fill `m.error` of the watched tasks of law v, after e and I2 were filled."""
    lanes.errors_under_law(M, m, w, v)


# ------------------------------------------------------------------------------ misclassification


@inner
def only(M: Any, m: Any, w: Any, s: int, first: int, last: int) -> bool:
    """Whether the sign of Σ_a c_a g(φ_a) over these fields is that of Σ_a c_a φ_a."""
    count, straight = 0, True
    for a in range(first, last):
        if M[m.watched + s * m.D + a] != 0.0:
            count += 1
            straight = straight and w.width[a] < 0.0
    return count == 1 or (count > 1 and straight)


@inner
def joint(M: Any, m: Any, s: int, first: Any, last: Any) -> float:
    """Covariance of Σ_a c_a φ_a over two ranges of fields."""
    whole, c = 0.0, m.watched + s * m.D
    for a in range(first[0], first[1]):
        for b in range(last[0], last[1]):
            whole += M[c + a] * M[c + b] * M[m.C + a * m.D + b]
    return whole


@inner
def middle(M: Any, m: Any, s: int, first: int, last: int) -> float:
    """Mean of Σ_a c_a φ_a."""
    whole = 0.0
    for a in range(first, last):
        whole += M[m.watched + s * m.D + a] * M[m.M + a]
    return whole


@inner
def wrong_of(M: Any, m: Any, w: Any, s: int) -> float:
    """The chance of one task under the law that was filled; NaN if it is not closed."""
    K, D, y = m.K, m.D, M[m.watched_label + s]
    students, fixed = (0, K), (K, D)
    if m.activation == RELU or m.O > 1 or not only(M, m, w, s, 0, K):
        return np.nan
    # c = (−V, u): the output is minus the sum over the students' fields.
    M_k, C_kk = -middle(M, m, s, 0, K), joint(M, m, s, students, students)
    labelled = True
    for a in range(K, D):
        labelled = labelled and M[m.watched + s * D + a] == 0.0
    if labelled and y != 0.0:
        return float(means.wrong_label(1.0 if y > 0.0 else -1.0, M_k, C_kk))
    if y != 0.0 or not only(M, m, w, s, K, D):
        return np.nan
    M_n, C_nn = middle(M, m, s, K, D), joint(M, m, s, fixed, fixed)
    return float(means.wrong_sign(M_k, M_n, C_kk, C_nn, -joint(M, m, s, students, fixed)))


@kernel(_nrt=False)
def wrong(M: Any, m: Any, w: Any, y: Any, out: Any) -> None:
    """Chances that outputs have another sign than the targets of the watched tasks, shape (W,).

    Closed where the output has the sign of one Gaussian field, a single unit of erf or linear ones,
    and the target too, or is a label; NaN elsewhere, which is for `nodes.wrong`.
    """
    load(M, m.y, y)
    overlaps(M, m, m.y)
    lanes.outputs(M, m, w, m.y)
    for v in range(m.V):
        if lanes.is_watched(w, v):
            fill_law(M, m, v)
            for s in range(m.W):
                if w.watched_law[s] == v:
                    out[s] = wrong_of(M, m, w, s)
