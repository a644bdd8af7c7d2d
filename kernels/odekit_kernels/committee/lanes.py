"""Right-hand side and errors of a committee in lanes (theory section 2).

The equations are those of `one`, which advances one trajectory; tests hold the two together.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee import moments
from odekit_kernels.lanes.values import fill, get
from odekit_kernels.lanes.views import matrix, vector

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
def overlaps(M: Any, m: Any, y: int, to: int) -> None:
    """Write Q and R of a block that begins at `y` into the overlaps at `to`; T lies there."""
    K, P, D, i = m.K, m.P, m.D, 0
    C, state = matrix(M, to, D, D), vector(M, y, K * (K + 1) // 2 + K * P)
    for k in range(K):
        for l in range(k, K):
            C[k, l] = C[l, k] = state[i]
            i += 1
    for k in range(K):
        for n in range(K, K + P):
            C[k, n] = C[n, k] = state[i]
            i += 1


@inner
def readouts(M: Any, m: Any, y: int, heads: Any, coefficients: int) -> None:
    """Write −v of the head of each task into its coefficients; u lies there already."""
    v = matrix(M, y + m.n - m.H * m.K, m.H, m.K)
    c = matrix(M, coefficients, heads.shape[0], m.D)
    for s in range(heads.shape[0]):
        for k in range(m.K):
            c[s, k] = -v[heads[s], k]


@inner
def averages(M: Any, m: Any) -> None:
    """Write cbar_ka = Σ_s p_s v_k c_a."""
    K, D, S = m.K, m.D, m.S
    cbar, c, p = matrix(M, m.cbar, K, D), matrix(M, m.coef, S, D), vector(M, m.prob, S)
    for k in range(K):
        for a in range(D):
            total = fill(M, 0.0)
            for s in range(S):
                total = total - p[s] * c[s, k] * c[s, a]
            cbar[k, a] = total


# ------------------------------------------------------------------------------------- derivatives


@inner
def drive(M: Any, m: Any) -> None:
    """Fill A_kb = D_k C_kb + Σ_a E_ka C_ab, for every passive vector b."""
    K, D = m.K, m.D
    C, A = matrix(M, m.C, D, D), matrix(M, m.A, K, D)
    own, E = vector(M, m.own, K), matrix(M, m.E, K, D)
    for k in range(K):
        for b in range(D):
            A_kb = own[k] * C[k, b]
            for a in range(D):
                A_kb = A_kb + E[k, a] * C[a, b]
            A[k, b] = A_kb


@inner
def first_layer(M: Any, m: Any, move: Any, eta_w: Any, dy: int) -> None:
    """Write dQ and dR: drive and η² term."""
    K, P, D, i = m.K, m.P, m.D, 0
    A, derivative = matrix(M, m.A, K, D), vector(M, dy, m.n)
    rate = eta_w * eta_w * get(M, m.inverse_batch)
    for k in range(K):
        for l in range(k, K):
            dQ = eta_w * (move[k] * A[k, l] + move[l] * A[l, k])
            if m.online != 0:
                dQ = dQ + rate * (move[k] * move[l]) * moments.power_in_lanes(
                    m.activation, M, m, k, l
                )
            derivative[i] = dQ
            i += 1
    for k in range(K):
        for n in range(K, K + P):
            derivative[i] = eta_w * move[k] * A[k, n]
            i += 1


@inner
def decay(M: Any, m: Any, move: Any, eta_w: Any, y: int, dy: int) -> None:
    """Add weight decay of the first layer to the block that begins at `dy`."""
    state, derivative = vector(M, y, m.n), vector(M, dy, m.n)
    rate = eta_w * get(M, m.kappa_w)
    i = 0
    for k in range(m.K):
        for l in range(k, m.K):
            derivative[i] = derivative[i] - rate * (move[k] + move[l]) * state[i]
            i += 1
    for k in range(m.K):
        for _ in range(m.P):
            derivative[i] = derivative[i] - rate * move[k] * state[i]
            i += 1


@inner
def consolidation(M: Any, m: Any, w: Any, eta_w: Any, j: int, places: Any, dy: int) -> None:
    """Add the pull of consolidation j towards its anchors to the block that begins at `dy`.

    `places` are those of the block's overlaps and of λ F_k.
    """
    K, D, move, a, i = m.K, m.D, w.move, w.anchor, 0
    C, F, derivative = matrix(M, places[0], D, D), vector(M, places[1], K), vector(M, dy, m.n)
    for k in range(K):
        for l in range(k, K):
            pull = move[k] * F[k] * (C[k, l] - C[l, K + a[j, k]])
            pull = pull + move[l] * F[l] * (C[k, l] - C[k, K + a[j, l]])
            derivative[i] = derivative[i] - eta_w * pull
            i += 1
    for k in range(K):
        for n in range(K, D):
            distance = C[k, n] - C[K + a[j, k], n]
            derivative[i] = derivative[i] - eta_w * move[k] * F[k] * distance
            i += 1


@inner
def second_layer(M: Any, m: Any, w: Any, eta_v: Any, y: int, dy: int) -> None:
    """Add dv of every head."""
    K, D, S, heads = m.K, m.D, m.S, m.n - m.H * m.K
    v, dv = matrix(M, y + heads, m.H, K), matrix(M, dy + heads, m.H, K)
    c, p, force = matrix(M, m.coef, S, D), vector(M, m.prob, S), vector(M, m.row, S)
    F_v, held = matrix(M, m.F_v, m.c, K), matrix(M, m.v_anchor, m.c, K)
    kappa_v = get(M, m.kappa_v)
    norms(M, m)
    for k in range(K):
        for s in range(S):
            h = w.head[s]
            total = -kappa_v * v[h, k]
            for j in range(m.c):
                if w.v_head[j] == h:
                    total = total - F_v[j, k] * (v[h, k] - held[j, k])
            force[s] = total
        for a in range(D):
            I2 = second(M, m, k, a)
            for s in range(S):
                force[s] = force[s] + c[s, a] * I2
        for s in range(S):
            dv[w.head[s], k] = dv[w.head[s], k] + eta_v * p[s] * force[s]


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
    derivative = vector(M, dy, m.n)
    overlaps(M, m, y, m.C)
    readouts(M, m, y, w.head, m.coef)
    for i in range(0 if not moves else m.n - m.H * m.K, m.n):
        derivative[i] = fill(M, 0.0)
    if moves:
        averages(M, m)
        moments.drive_in_lanes(m.activation, M, m)
        drive(M, m)
        first_layer(M, m, w.move, eta_w, dy)
        if decays:
            decay(M, m, w.move, eta_w, y, dy)
        for j in range(m.c):
            consolidation(M, m, w, eta_w, j, (m.C, m.F + j * m.K), dy)
    if trains:
        second_layer(M, m, w, eta_v, y, dy)


@inner
def errors(M: Any, m: Any, heads: Any, y: int) -> None:
    """Fill `m.error` with ε_g of the watched tasks at the state at `y`."""
    D, W = m.D, m.W
    c, epsilon = matrix(M, m.watched, W, D), vector(M, m.error, W)
    overlaps(M, m, y, m.C)
    readouts(M, m, y, heads, m.watched)
    norms(M, m)
    for s in range(W):
        epsilon[s] = fill(M, 0.0)
    for a in range(D):
        for b in range(a, D):
            I2 = second(M, m, a, b)
            if a == b:
                I2 = 0.5 * I2
            for s in range(W):
                epsilon[s] = epsilon[s] + c[s, a] * c[s, b] * I2
