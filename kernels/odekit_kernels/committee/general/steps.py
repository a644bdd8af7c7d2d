"""Steps of units, heads and biases, summed over laws, and from them the derivative of the state.

A_kb is the step of w_k along a passive vector b, penalties included, without its rate. Velocities
of a heavy ball are passive vectors like all others (theory-inputs section 14).
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee.general.law import (
    block,
    first_bias,
    first_head,
    group,
    projections,
    velocities,
)
from odekit_kernels.committee.general.plan import ADAGRAD, RMS
from odekit_kernels.lanes.values import fill, get, put
from odekit_kernels.lanes.views import matrix, vector
from odekit_kernels.simd import root

__all__ = ["add_heads", "add_law", "clear", "finish", "pull_back", "pull_heads"]


@inner
def steps(M: Any, m: Any, g: int) -> Any:
    """A of a group."""
    return matrix(M, m.A + g * m.K * m.L, m.K, m.L)


@inner
def clear(M: Any, m: Any, dy: int) -> None:
    """No steps yet; those of the heads are summed in the derivative itself."""
    for i in range(m.G * m.K * m.L):
        put(M, m.A + i, fill(M, 0.0))
    for i in range(m.G * (m.K * (m.K + 1) // 2)):
        put(M, m.power + i, fill(M, 0.0))
    for i in range(m.K):
        put(M, m.drift + i, fill(M, 0.0))
    for i in range(m.n):
        put(M, dy + i, fill(M, 0.0))


@inner
def add_law(M: Any, m: Any, v: int, online: bool) -> None:
    """Add what the tasks of law v do to units and biases, from h, D, E and S."""
    K, D, h, own = m.K, m.D, vector(M, m.h_k, m.K), vector(M, m.own, m.K)
    E, drift = matrix(M, m.E, K, D), vector(M, m.drift, K)
    S, pairs = vector(M, m.S_kl, K * (K + 1) // 2), K * (K + 1) // 2
    for k in range(K):
        drift[k] = drift[k] + h[k]
    for g in range(m.G):
        at, G, A = v * m.G + g, group(M, m, g), steps(M, m, g)
        ss, st, gain = get(M, m.ss + at), get(M, m.st + at), get(M, m.gain + at)
        for b in range(m.L):
            along = gain * projections(M, m, v, g, b)
            for k in range(K):
                units, fixed = own[k] * G[k, b], fill(M, 0.0)
                for a in range(K):
                    units = units + E[k, a] * G[a, b]
                for a in range(K, D):
                    fixed = fixed + E[k, a] * G[a, b]
                A[k, b] = A[k, b] + (ss * units + st * fixed + h[k] * along)
        if online:
            power = vector(M, m.power + g * pairs, pairs)
            for i in range(pairs):
                power[i] = power[i] + ss * S[i]


@inner
def add_heads(M: Any, m: Any, w: Any, v: int, dy: int) -> None:
    """Add what the tasks of law v do to their heads, from e and I2."""
    K, D, O = m.K, m.D, m.O
    e, I2, keep = vector(M, m.e, D), matrix(M, m.I2, D, D), vector(M, m.keep, K)
    for s in range(m.S):
        if w.law[s] != v:
            continue
        p, first = get(M, m.p + s), dy + first_head(m) + w.head[s] * O * K
        c, step = matrix(M, m.coef + s * O * D, O, D), matrix(M, first, O, K)
        for o in range(O):
            for k in range(K):
                force = get(M, m.label + s * O + o) * e[k]
                for a in range(D):
                    if a < K and a != k:
                        force = force + keep[a] * c[o, a] * I2[k, a]
                    else:
                        force = force + c[o, a] * I2[k, a]
                step[o, k] = step[o, k] + p * keep[k] * force


@inner
def pull_back(M: Any, m: Any, w: Any) -> None:
    """Take decay and consolidations from the steps of the units."""
    K, kappa, anchor = m.K, get(M, m.kappa_w), w.anchor
    for g in range(m.G):
        G, A = group(M, m, g), steps(M, m, g)
        for k in range(K):
            for b in range(m.L):
                A[k, b] = A[k, b] - kappa * G[k, b]
            for j in range(m.c):
                F = get(M, m.F + (j * m.G + g) * K + k)
                for b in range(m.L):
                    A[k, b] = A[k, b] - F * (G[k, b] - G[K + anchor[j, k], b])


@inner
def pull_heads(M: Any, m: Any, w: Any, y: int, dy: int) -> None:
    """Take decay and readout penalties from the steps of the heads, by what is sampled of them."""
    K, O, kappa = m.K, m.O, get(M, m.kappa_v)
    for s in range(m.S):
        p, at = get(M, m.p + s), first_head(m) + w.head[s] * O * K
        V, step = matrix(M, y + at, O, K), matrix(M, dy + at, O, K)
        for o in range(O):
            for k in range(K):
                pull = kappa * V[o, k]
                for j in range(m.c):
                    if w.v_head[j] == w.head[s]:
                        held = get(M, m.v_anchor + (j * O + o) * K + k)
                        pull = pull + get(M, m.F_v + j * K + k) * (V[o, k] - held)
                step[o, k] = step[o, k] - p * pull


# ----------------------------------------------------------------------------- the derivative


@inner
def slowdown(M: Any, m: Any, y: int) -> Any:
    """1/√B or 1/√(B + ϵ), the factor of all rates."""
    accumulated = get(M, y + m.n - 1)
    if m.adaptive == RMS:
        accumulated = accumulated + get(M, m.floor)
    return 1.0 / root(accumulated)


@inner
def gather(M: Any, m: Any, w: Any, y: int, dy: int) -> None:
    """DB/dt from E|∇_w|² of the units that move."""
    whole, pairs = fill(M, 0.0), m.K * (m.K + 1) // 2
    for g in range(m.G):
        part, i = fill(M, 0.0), m.power + g * pairs
        for k in range(m.K):
            part = part + w.move[k] * get(M, i)
            i += m.K - k
        whole = whole + get(M, m.share + g) * part
    whole = whole * get(M, m.inverse_batch)
    if m.adaptive == RMS:
        whole = get(M, m.forget) * (whole - get(M, y + m.n - 1))
    put(M, dy + m.n - 1, whole)


@inner
def move_at_once(M: Any, m: Any, w: Any, g: int, rate: Any, dy: int) -> None:
    """DQ and dR of a group from the steps."""
    K, A, move, i = m.K, steps(M, m, g), w.move, 0
    out, pairs = vector(M, dy + g * block(m), block(m)), K * (K + 1) // 2
    square, power = rate * rate * get(M, m.inverse_batch), vector(M, m.power + g * pairs, pairs)
    for k in range(K):
        for l in range(k, K):
            out[i] = rate * (move[k] * A[k, l] + move[l] * A[l, k])
            out[i] = out[i] + square * (move[k] * move[l]) * power[i]
            i += 1
    for k in range(K):
        for n in range(K, m.D):
            out[i] = rate * move[k] * A[k, n]
            i += 1


@inner
def move_by_velocities(M: Any, m: Any, w: Any, g: int, rate: Any, y: int, dy: int) -> None:
    """DQ, dR and the derivatives of the velocities' overlaps of a group."""
    K, P, D, A, move, i = m.K, m.P, m.D, steps(M, m, g), w.move, 0
    G, gamma, at = group(M, m, g), get(M, m.friction), velocities(m, g)
    out, pairs = vector(M, dy + g * block(m), block(m)), K * (K + 1) // 2
    with_units, with_fixed = matrix(M, dy + at, K, K), matrix(M, dy + at + K * K, K, P)
    own, d_own = y + at + K * D, vector(M, dy + at + K * D, pairs)
    square, power = rate * rate * get(M, m.inverse_batch), vector(M, m.power + g * pairs, pairs)
    for j in range(K):
        for l in range(K):
            with_units[j, l] = move[j] * (rate * A[j, l] - gamma * G[l, D + j])
        for n in range(K, D):
            with_fixed[j, n - K] = move[j] * (rate * A[j, n] - gamma * G[n, D + j])
    for k in range(K):
        for l in range(k, K):
            Z = get(M, own + i)
            with_units[k, l] = with_units[k, l] + move[l] * Z
            if l != k:
                with_units[l, k] = with_units[l, k] + move[k] * Z
            step = move[k] * A[k, D + l] + move[l] * A[l, D + k]
            d_own[i] = rate * step - (move[k] + move[l]) * gamma * Z
            d_own[i] = d_own[i] + square * (move[k] * move[l]) * power[i]
            out[i] = move[k] * G[l, D + k] + move[l] * G[k, D + l]
            i += 1
    for k in range(K):
        for n in range(K, D):
            out[i] = move[k] * G[n, D + k]
            i += 1


@inner
def turn(M: Any, m: Any, first: int, moving: int, count: int, rate: Any, y: int, dy: int) -> None:
    """From the steps of heads or biases to their derivative, and that of their velocities."""
    for i in range(count):
        step = rate * get(M, dy + first + i)
        if m.heavy != 0:
            velocity = get(M, y + moving + i)
            put(M, dy + moving + i, step - get(M, m.friction) * velocity)
            step = velocity
        put(M, dy + first + i, step)


@inner
def finish(M: Any, m: Any, w: Any, y: int, dy: int) -> None:
    """From all steps to the derivative of the state."""
    eta_w, eta_v, eta_b = get(M, m.eta_w), get(M, m.eta_v), get(M, m.eta_b)
    if m.adaptive == ADAGRAD or m.adaptive == RMS:
        factor = slowdown(M, m, y)
        eta_w, eta_v, eta_b = factor * eta_w, factor * eta_v, factor * eta_b
        gather(M, m, w, y, dy)
    for g in range(m.G):
        rate = eta_w * get(M, m.pace + g)
        if m.heavy != 0:
            move_by_velocities(M, m, w, g, rate, y, dy)
        else:
            move_at_once(M, m, w, g, rate, dy)
    heads, rest = m.H * m.O * m.K, velocities(m, m.G)
    turn(M, m, first_head(m), rest, heads, eta_v, y, dy)
    if m.biases != 0:
        for k in range(m.K):
            put(M, dy + first_bias(m) + k, get(M, m.drift + k))
        turn(M, m, first_bias(m), rest + heads, m.K, eta_b, y, dy)
