"""What the fields of one law drive: h, D and E, the η² line, and what heads learn from.

With π_a the probability that unit a answers, 1 for fixed vectors (theory-inputs 8 and 12):

    h_k = π_k [H⁰_k p_k + Σ_a π_a^({k}) H_ka F(k, a)], and D_k and E_ka alike,
    S_kl = π_k π_l J2 { Σ_ab π_a π_b H_ka H_lb I2~(a, b) + … } under the weight g'_k g'_l.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, outer
from odekit_kernels.committee import means
from odekit_kernels.lanes.values import fill, get, put
from odekit_kernels.lanes.views import matrix, vector

__all__ = ["averages", "combine", "drive", "powers", "seconds"]


# Calls of their own: copied to where each is asked for they took three times as long to compile.


@outer
def alone(activation: int, M_a: Any, C_aa: Any, s_a: float) -> Any:
    """`means.alone`."""
    return means.alone(activation, M_a, C_aa, s_a)


@outer
def pair(
    activation: int, M_k: Any, M_a: Any, C_kk: Any, C_aa: Any, C_ka: Any, s_k: float, s_a: float
) -> Any:
    """`means.pair`."""
    return means.pair(activation, M_k, M_a, C_kk, C_aa, C_ka, s_k, s_a)


@outer
def product(
    kind: Any, M_a: Any, M_b: Any, C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float
) -> Any:
    """I2 of two fields; `kind` is the activation, and whether fields have means."""
    if kind[1] == 0:
        return means.centred(kind[0], C_aa, C_bb, C_ab, s_a, s_b)
    return means.product(kind[0], M_a, M_b, C_aa, C_bb, C_ab, s_a, s_b)


@inner
def answers(M: Any, m: Any, a: int, k: int, l: int) -> Any:
    """π_a of a student other than k and l, 1 of all other fields."""
    if a < m.K and a != k and a != l:
        return get(M, m.keep + a)
    return fill(M, 1.0)


@inner
def averages(M: Any, m: Any, w: Any, v: int) -> None:
    """Write H_ka and H⁰_k of what answers, averaged over the tasks of law v."""
    K, D, p = m.K, m.D, vector(M, m.p, m.S)
    cbar, c0 = matrix(M, m.cbar, K, D), vector(M, m.c0, K)
    for k in range(K):
        keep, whole = get(M, m.keep + k), fill(M, 0.0)
        for s in range(m.S):
            if w.law[s] == v:
                whole = whole + p[s] * get(M, m.H0 + s * K + k)
        c0[k] = keep * whole
        for a in range(D):
            whole = fill(M, 0.0)
            for s in range(m.S):
                if w.law[s] == v:
                    whole = whole + p[s] * get(M, m.H_ka + (s * K + k) * D + a)
            cbar[k, a] = keep * answers(M, m, a, k, k) * whole


@inner
def drive(M: Any, m: Any, w: Any) -> None:
    """Write h_k, D_k and E_ka, after `averages`."""
    K, D, s = m.K, m.D, w.width
    C, mean = matrix(M, m.C, D, D), vector(M, m.M, D)
    cbar, c0 = matrix(M, m.cbar, K, D), vector(M, m.c0, K)
    h, own, E = vector(M, m.h_k, K), vector(M, m.own, K), matrix(M, m.E, K, D)
    for k in range(K):
        _, p, d = alone(m.activation, mean[k], C[k, k], s[k])
        push, drift = c0[k] * p, c0[k] * d
        for a in range(D):
            F, J2, bend = pair(
                m.activation, mean[k], mean[a], C[k, k], C[a, a], C[k, a], s[k], s[a]
            )
            push = push + cbar[k, a] * F
            drift = drift + cbar[k, a] * bend
            E[k, a] = cbar[k, a] * J2
        h[k] = push
        own[k] = drift


@inner
def seconds(M: Any, m: Any, w: Any, rows: int) -> None:
    """Write e of the first `rows` fields, and I2 of them with all."""
    D, s, kind = m.D, w.width, (m.activation, m.means)
    C, mean = matrix(M, m.C, D, D), vector(M, m.M, D)
    e, I2 = vector(M, m.e, D), matrix(M, m.I2, D, D)
    for a in range(rows):
        e[a], _, _ = alone(m.activation, mean[a], C[a, a], s[a])
        for b in range(a, D):
            found = product(kind, mean[a], mean[b], C[a, a], C[b, b], C[a, b], s[a], s[b])
            I2[a, b] = I2[b, a] = found


# ------------------------------------------------------------------------------------ the η² line


@inner
def constant(M: Any, m: Any, w: Any, v: int, k: int, l: int) -> Any:
    """H⁰_k H⁰_l + Σ_o V_ok σ_o² V_ol, averaged over the tasks of law v."""
    whole, p = fill(M, 0.0), vector(M, m.p, m.S)
    for s in range(m.S):
        if w.law[s] != v:
            continue
        part = get(M, m.H0 + s * m.K + k) * get(M, m.H0 + s * m.K + l)
        c, sigma = matrix(M, m.coef + s * m.O * m.D, m.O, m.D), vector(M, m.sigma + s * m.O, m.O)
        for o in range(m.O):
            part = part + c[o, k] * c[o, l] * (sigma[o] * sigma[o])
        whole = whole + p[s] * part
    return whole


@inner
def cross(M: Any, m: Any, w: Any, v: int, k: int, l: int, a: int) -> Any:
    """π_a (H_ka H⁰_l + H⁰_k H_la), averaged over the tasks of law v."""
    whole, p = fill(M, 0.0), vector(M, m.p, m.S)
    for s in range(m.S):
        if w.law[s] != v:
            continue
        H, H0 = matrix(M, m.H_ka + s * m.K * m.D, m.K, m.D), vector(M, m.H0 + s * m.K, m.K)
        whole = whole + p[s] * (H[k, a] * H0[l] + H0[k] * H[l, a])
    return answers(M, m, a, k, l) * whole


@inner
def both(M: Any, m: Any, w: Any, v: int, k: int, l: int, a: int, b: int) -> Any:
    """The factor of I4(k, l, a, b), of a ≤ b for both orders; a mask is its own square."""
    whole, p = fill(M, 0.0), vector(M, m.p, m.S)
    for s in range(m.S):
        if w.law[s] != v:
            continue
        H = matrix(M, m.H_ka + s * m.K * m.D, m.K, m.D)
        part = H[k, a] * H[l, b]
        if a != b:
            part = part + H[k, b] * H[l, a]
        whole = whole + p[s] * part
    whole = answers(M, m, a, k, l) * whole
    return whole if a == b else answers(M, m, b, k, l) * whole


@inner
def last(M: Any, m: Any, k: int, l: int) -> Any:
    """π_k π_l, or π_k."""
    keep = get(M, m.keep + k)
    return keep if k == l else keep * get(M, m.keep + l)


@inner
def power(M: Any, m: Any, w: Any, v: int, k: int, l: int) -> Any:
    """S_kl."""
    D, s, kind = m.D, w.width, (m.activation, m.means)
    C, mean = matrix(M, m.C, D, D), vector(M, m.M, D)
    T_a, T_aa = vector(M, m.T_a, D), vector(M, m.T_aa, D)
    tilt = means.tilt(m.activation, mean[k], mean[l], C[k, k], C[l, l], C[k, l], s[k], k == l)
    whole = constant(M, m, w, v, k, l)
    for a in range(D):
        T_a[a] = means.tilted_mean(mean[a], C[k, a], C[l, a], tilt)
        T_aa[a] = means.tilted_covariance(C[a, a], C[k, a], C[l, a], C[k, a], C[l, a], tilt)
        e, _, _ = alone(m.activation, T_a[a], T_aa[a], s[a])
        whole = whole + cross(M, m, w, v, k, l, a) * e
    for a in range(D):
        for b in range(a, D):
            T_ab = means.tilted_covariance(C[a, b], C[k, a], C[l, a], C[k, b], C[l, b], tilt)
            I2 = product(kind, T_a[a], T_a[b], T_aa[a], T_aa[b], T_ab, s[a], s[b])
            whole = whole + both(M, m, w, v, k, l, a, b) * I2
    return last(M, m, k, l) * tilt.J2 * whole


@inner
def powers(M: Any, m: Any, w: Any, v: int) -> None:
    """Write S of all pairs of units."""
    S, i = vector(M, m.S_kl, m.K * (m.K + 1) // 2), 0
    for k in range(m.K):
        for l in range(k, m.K):
            S[i] = power(M, m, w, v, k, l)
            i += 1


@inner
def combine(M: Any, m: Any, w: Any, v: int, J2: Any, I3: Any, I4: Any) -> None:
    """Write S from moments that were found elsewhere, of the pairs k ≤ l."""
    i = 0
    for k in range(m.K):
        for l in range(k, m.K):
            whole = constant(M, m, w, v, k, l) * J2[k, l]
            for a in range(m.D):
                whole = whole + cross(M, m, w, v, k, l, a) * I3[i, a]
                for b in range(a, m.D):
                    whole = whole + both(M, m, w, v, k, l, a, b) * I4[i, a, b]
            put(M, m.S_kl + i, last(M, m, k, l) * whole)
            i += 1
