"""Right-hand side and errors of a committee with groups of inputs, in lanes: see `inputs`.

Everything but the loops over laws and groups is that of `lanes`; tests hold them to `groups`, which
advances one trajectory.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee import moments
from odekit_kernels.committee.lanes import (
    averages,
    consolidation,
    decay,
    norms,
    overlaps,
    readouts,
    second,
    second_layer,
)
from odekit_kernels.lanes.values import fill, get
from odekit_kernels.lanes.views import matrix, vector

__all__ = ["errors", "rhs"]


@inner
def block(m: Any) -> Any:
    """Numbers of the state that belong to one group."""
    return m.K * (m.K + 1) // 2 + m.K * m.P


@inner
def seen(m: Any, v: int, a: int, b: int) -> Any:
    """Where the second moments lie under which fields a ≤ b see the inputs."""
    if a >= m.K:
        return m.tt + v * m.G
    return (m.ss if b < m.K else m.st) + v * m.G


@inner
def covariance(M: Any, m: Any, v: int) -> None:
    """Write C under law v."""
    D, G = m.D, m.G
    C, share = matrix(M, m.C, D, D), vector(M, m.share, G)
    for a in range(D):
        for b in range(a, D):
            moment, whole = vector(M, seen(m, v, a, b), G), fill(M, 0.0)
            for g in range(G):
                whole = whole + share[g] * moment[g] * get(M, m.overlaps + (g * D + a) * D + b)
            C[a, b] = C[b, a] = whole


@inner
def enter_law(M: Any, m: Any, laws: Any, v: int) -> bool:
    """Write C under law v, and the probabilities of its tasks; whether there are any."""
    has = False
    weight, p = vector(M, m.weight, m.S), vector(M, m.prob, m.S)
    for s in range(m.S):
        if laws[s] == v:
            p[s] = weight[s]
            has = True
        else:
            p[s] = fill(M, 0.0)
    if has:
        covariance(M, m, v)
    return has


@inner
def drive(M: Any, m: Any, v: int) -> None:
    """Fill A of every group: units weighed by what the student sees, fixed vectors by both."""
    K, D = m.K, m.D
    own, E = vector(M, m.own, K), matrix(M, m.E, K, D)
    for g in range(m.G):
        C, A = matrix(M, m.overlaps + g * D * D, D, D), matrix(M, m.A + g * K * D, K, D)
        ss, st = get(M, m.ss + v * m.G + g), get(M, m.st + v * m.G + g)
        for k in range(K):
            for b in range(D):
                units, fixed = own[k] * C[k, b], fill(M, 0.0)
                for a in range(K):
                    units = units + E[k, a] * C[a, b]
                for a in range(K, D):
                    fixed = fixed + E[k, a] * C[a, b]
                A[k, b] = ss * units + st * fixed


@inner
def powers(M: Any, m: Any) -> None:
    """Fill the η² terms of all pairs of units; 0 in gradient flow."""
    power, i = vector(M, m.power, m.K * (m.K + 1) // 2), 0
    for k in range(m.K):
        for l in range(k, m.K):
            if m.online != 0:
                power[i] = moments.power_in_lanes(m.activation, M, m, k, l)
            else:
                power[i] = fill(M, 0.0)
            i += 1


@inner
def first_layer(M: Any, m: Any, move: Any, eta_w: Any, v: int, dy: int) -> None:
    """Add dQ and dR of every group, under law v."""
    K, P, D, i = m.K, m.P, m.D, 0
    derivative, power = vector(M, dy, m.n), vector(M, m.power, K * (K + 1) // 2)
    for g in range(m.G):
        A, pair = matrix(M, m.A + g * K * D, K, D), 0
        rate = eta_w * get(M, m.pace + g)
        square = rate * rate * get(M, m.inverse_batch) * get(M, m.ss + v * m.G + g)
        for k in range(K):
            for l in range(k, K):
                dQ = rate * (move[k] * A[k, l] + move[l] * A[l, k])
                dQ = dQ + square * (move[k] * move[l]) * power[pair]
                derivative[i] = derivative[i] + dQ
                i += 1
                pair += 1
        for k in range(K):
            for n in range(K, K + P):
                derivative[i] = derivative[i] + rate * move[k] * A[k, n]
                i += 1


@inner
def fill_overlaps(M: Any, m: Any, y: int) -> None:
    """Write Q and R of the state at `y` into the overlaps of every group."""
    for g in range(m.G):
        overlaps(M, m, y + g * block(m), m.overlaps + g * m.D * m.D)


@inner
def rhs(M: Any, m: Any, w: Any, y: int, dy: int, moves: bool, trains: bool, decays: bool) -> None:
    """`lanes.rhs` with groups of inputs: the moments once for each law of the inputs."""
    eta_w, eta_v = get(M, m.eta_w), get(M, m.eta_v)
    derivative = vector(M, dy, m.n)
    fill_overlaps(M, m, y)
    readouts(M, m, y, w.head, m.coef)
    for i in range(m.n):
        derivative[i] = fill(M, 0.0)
    for v in range(m.V):
        if enter_law(M, m, w.law, v):
            if moves:
                averages(M, m)
                moments.drive_in_lanes(m.activation, M, m)
                drive(M, m, v)
                powers(M, m)
                first_layer(M, m, w.move, eta_w, v, dy)
            if trains:
                second_layer(M, m, w, eta_v, y, dy)
    if moves:
        penalties(M, m, w, eta_w, y, dy, decays)


@inner
def penalties(M: Any, m: Any, w: Any, eta_w: Any, y: int, dy: int, decays: bool) -> None:
    """Add decay and consolidations of the first layer in every group."""
    for g in range(m.G):
        rate, first = eta_w * get(M, m.pace + g), g * block(m)
        if decays:
            decay(M, m, w.move, rate, y + first, dy + first)
        for j in range(m.c):
            places = (m.overlaps + g * m.D * m.D, m.F + (j * m.G + g) * m.K)
            consolidation(M, m, w, rate, j, places, dy + first)


@inner
def errors(M: Any, m: Any, heads: Any, laws: Any, y: int) -> None:
    """Fill `m.error` with ε_g of the watched tasks at the state at `y`, each under its own law."""
    D, W = m.D, m.W
    c, epsilon = matrix(M, m.watched, W, D), vector(M, m.error, W)
    fill_overlaps(M, m, y)
    readouts(M, m, y, heads, m.watched)
    for s in range(W):
        epsilon[s] = fill(M, 0.0)
    for v in range(m.V):
        covariance(M, m, v)
        norms(M, m)
        for a in range(D):
            for b in range(a, D):
                I2 = second(M, m, a, b)
                if a == b:
                    I2 = 0.5 * I2
                for s in range(W):
                    if laws[s] == v:
                        epsilon[s] = epsilon[s] + c[s, a] * c[s, b] * I2
