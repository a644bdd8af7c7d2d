"""Right-hand side and errors of a committee in lanes (theory section 2).

The equations are those of `one`, which advances one trajectory; tests hold the two together.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee import moments
from odekit_kernels.lanes.values import fill, get, put

__all__ = ["errors", "norms", "rhs", "second", "self_slope"]


# ---------------------------------------------------------------------------------------- moments


@inner
def norms(M: Any, m: Any) -> None:
    """What `second` needs of the single fields."""
    moments.norms_in_lanes(m.activation, M, m)


@inner
def second(M: Any, m: Any, a: int, b: int) -> Any:
    """I2(a, b), after `norms`."""
    return moments.second_in_lanes(m.activation, M, m, a, b)


@inner
def self_slope(M: Any, m: Any, a: int) -> Any:
    """J2(a, a)."""
    return moments.self_slope_in_lanes(m.activation, M, m, a)


# ------------------------------------------------------------------------------------- preparation


@inner
def covariance(M: Any, m: Any, y: int) -> None:
    """Write Q and R of the state at `y` into C; T lies there already."""
    K, P, D, i = m.K, m.P, m.D, y
    for k in range(K):
        for l in range(k, K):
            x = get(M, i)
            put(M, m.C + k * D + l, x)
            put(M, m.C + l * D + k, x)
            i += 1
    for k in range(K):
        for n in range(P):
            x = get(M, i)
            put(M, m.C + k * D + K + n, x)
            put(M, m.C + (K + n) * D + k, x)
            i += 1


@inner
def readouts(M: Any, m: Any, y: int, heads: Any, c: int) -> None:
    """Write −v of the head of each task into its coefficients at `c`; u lies there already."""
    first = y + m.n - m.H * m.K
    for s in range(heads.shape[0]):
        for k in range(m.K):
            put(M, c + s * m.D + k, -get(M, first + heads[s] * m.K + k))


@inner
def averages(M: Any, m: Any) -> None:
    """Write cbar_ka = Σ_s p_s v_k c_a."""
    D = m.D
    for k in range(m.K):
        for a in range(D):
            total = fill(M, 0.0)
            for s in range(m.S):
                c = m.coef + s * D
                total = total - get(M, m.prob + s) * get(M, c + k) * get(M, c + a)
            put(M, m.cbar + k * D + a, total)


# ------------------------------------------------------------------------------------- derivatives


@inner
def first_layer(M: Any, m: Any, move: Any, eta_w: Any, dy: int) -> None:
    """Write dQ and dR: drive and η² term."""
    K, P, D, i = m.K, m.P, m.D, dy
    rate = eta_w * eta_w * get(M, m.inverse_batch)
    for k in range(K):
        for l in range(k, K):
            A_kl, A_lk = get(M, m.A + k * D + l), get(M, m.A + l * D + k)
            dQ = eta_w * (move[k] * A_kl + move[l] * A_lk)
            if m.online != 0:
                dQ = dQ + rate * (move[k] * move[l]) * moments.power_in_lanes(
                    m.activation, M, m, k, l
                )
            put(M, i, dQ)
            i += 1
    for k in range(K):
        for n in range(P):
            put(M, i, eta_w * move[k] * get(M, m.A + k * D + K + n))
            i += 1


@inner
def decay(M: Any, m: Any, move: Any, eta_w: Any, y: int, dy: int) -> None:
    """Add weight decay of the first layer."""
    rate = eta_w * get(M, m.kappa_w)
    i = 0
    for k in range(m.K):
        for l in range(k, m.K):
            put(M, dy + i, get(M, dy + i) - rate * (move[k] + move[l]) * get(M, y + i))
            i += 1
    for k in range(m.K):
        for _ in range(m.P):
            put(M, dy + i, get(M, dy + i) - rate * move[k] * get(M, y + i))
            i += 1


@inner
def consolidation(M: Any, m: Any, w: Any, eta_w: Any, j: int, dy: int) -> None:
    """Add the pull of consolidation j towards its anchors."""
    K, D, C, F, move, i = m.K, m.D, m.C, m.F + j * m.K, w.move, dy
    for k in range(K):
        for l in range(k, K):
            C_kl = get(M, C + k * D + l)
            P_lk = get(M, C + l * D + K + w.anchor[j, k])
            P_kl = get(M, C + k * D + K + w.anchor[j, l])
            pull = move[k] * get(M, F + k) * (C_kl - P_lk)
            pull = pull + move[l] * get(M, F + l) * (C_kl - P_kl)
            put(M, i, get(M, i) - eta_w * pull)
            i += 1
    for k in range(K):
        a_k = K + w.anchor[j, k]
        for n in range(K, D):
            distance = get(M, C + k * D + n) - get(M, C + a_k * D + n)
            put(M, i, get(M, i) - eta_w * move[k] * get(M, F + k) * distance)
            i += 1


@inner
def second_layer(M: Any, m: Any, w: Any, eta_v: Any, y: int, dy: int) -> None:
    """Add dv of every head."""
    K, D, S = m.K, m.D, m.S
    heads = m.n - m.H * K
    norms(M, m)
    for k in range(K):
        for s in range(S):
            v = heads + w.head[s] * K + k
            force = -get(M, m.kappa_v) * get(M, y + v)
            for j in range(m.c):
                if w.v_head[j] == w.head[s]:
                    distance = get(M, y + v) - get(M, m.v_anchor + j * K + k)
                    force = force - get(M, m.F_v + j * K + k) * distance
            put(M, m.row + s, force)
        for a in range(D):
            I2 = second(M, m, k, a)
            for s in range(S):
                put(M, m.row + s, get(M, m.row + s) + get(M, m.coef + s * D + a) * I2)
        for s in range(S):
            i = dy + heads + w.head[s] * K + k
            put(M, i, get(M, i) + eta_v * get(M, m.prob + s) * get(M, m.row + s))


@inner
def rhs(M: Any, m: Any, w: Any, y: int, dy: int, moves: bool, trains: bool, decays: bool) -> None:
    """Derivative of the state at `y`, written to `dy`, of every trajectory of a group.

    Parameters
    ----------
    M : ndarray, shape (size, 8) or (size,)
        Memory of the group; learning rates are at `m.eta_w` and `m.eta_v`.
    m : CommitteePlan
    w : Wiring
    y, dy : int
        Places of the state and of its derivative.
    moves, trains, decays : bool
        Whether any trajectory of the batch moves its first layer, its heads, or has weight decay.
    """
    eta_w, eta_v = get(M, m.eta_w), get(M, m.eta_v)
    covariance(M, m, y)
    readouts(M, m, y, w.head, m.coef)
    for i in range(0 if not moves else m.n - m.H * m.K, m.n):
        put(M, dy + i, fill(M, 0.0))
    if moves:
        averages(M, m)
        moments.drive_in_lanes(m.activation, M, m)
        first_layer(M, m, w.move, eta_w, dy)
        if decays:
            decay(M, m, w.move, eta_w, y, dy)
        for j in range(m.c):
            consolidation(M, m, w, eta_w, j, dy)
    if trains:
        second_layer(M, m, w, eta_v, y, dy)


@inner
def errors(M: Any, m: Any, heads: Any, y: int) -> None:
    """Fill `m.error` with ε_g of the watched tasks at the state at `y`."""
    D, W = m.D, m.W
    covariance(M, m, y)
    readouts(M, m, y, heads, m.watched)
    norms(M, m)
    for s in range(W):
        put(M, m.error + s, fill(M, 0.0))
    for a in range(D):
        for b in range(a, D):
            I2 = second(M, m, a, b)
            if a == b:
                I2 = 0.5 * I2
            for s in range(W):
                c = m.watched + s * D
                error = get(M, m.error + s) + get(M, c + a) * get(M, c + b) * I2
                put(M, m.error + s, error)
