"""Moments of g(x) = erf(x/√2).

I4(k, l, a, b) = J2(k, l) Ĩ2(a, b), where Ĩ2 is I2 under the covariance tilted by g'(λ_k) g'(λ_l),
C̃ = C − C_(·,kl) (1 + C_(kl,kl))⁻¹ C_(kl,·): one asin for each pair a ≤ b, and no Λ per quadruple.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.arcsine import asin
from odekit_kernels.committee.work import upper_index
from odekit_kernels.lanes.values import asin as asin_in_lanes
from odekit_kernels.lanes.values import fill, get, put
from odekit_kernels.lanes.views import matrix, vector
from odekit_kernels.simd import (
    WIDTH,
    choose_less,
    load,
    minor,
    over_root,
    root,
    splat,
    store,
    total,
)

TWO_OVER_PI = 2.0 / math.pi
ROOT_TWO_OVER_PI, ROOT_HALF = math.sqrt(2.0 / math.pi), math.sqrt(0.5)
SMALLEST_REST = 1e-16
LEAST = 1e-3
"""Of what is at least 1 for every covariance: trial stages far from them get numbers, not NaN."""


# --------------------------------------------------------------------------------------- activation


@inner
def value(z: float) -> float:
    """g(z)."""
    return math.erf(z * ROOT_HALF)


@inner
def slope(z: float) -> float:
    """g'(z)."""
    return ROOT_TWO_OVER_PI * math.exp(-0.5 * z * z)


# -------------------------------------------------------------------------- moments, one trajectory


@inner
def inverse_root(C_aa: Any, C_bb: Any, C_ab: Any) -> Any:
    """Λ^(-1/2), Λ = (1 + C_aa)(1 + C_bb) − C_ab².

    It goes on smoothly beyond covariances, to minors below 0: their derivatives are two-sided.
    """
    rest = (1.0 + C_aa) + (C_bb + minor(C_aa, C_bb, C_ab))
    return over_root(choose_less(rest, LEAST, LEAST, rest))


@inner
def second(work: Any, rows: int, D: int) -> None:
    """Fill I2(a, b) = (2/π) asin(C_ab / √((1+C_aa)(1+C_bb))) for a < rows."""
    C, diag, I2 = work.C, work.diag, work.I2
    X, L = C.shape[1], I2.shape[1]
    for a in range(rows):
        C_aa = diag[a]
        for b in range(0, D, WIDTH):
            n = over_root((1.0 + C_aa) * (1.0 + load(diag, b)))
            store(I2, a * L + b, TWO_OVER_PI * asin(load(C, a * X + b) * n))


@inner
def drive(work: Any, K: int, D: int) -> None:
    """Fill E_ka = cbar_ka J2(k, a) and D_k = −Σ_a E_ka C_ka / (1 + C_kk)."""
    C, diag, cbar, s, E, own = work.C, work.diag, work.cbar, work.s, work.E, work.own
    X, L = C.shape[1], E.shape[1]
    for k in range(K):
        C_kk = diag[k]
        sums = splat(0.0)
        for a in range(0, D, WIDTH):
            C_ka = load(C, k * X + a)
            s_ka = inverse_root(C_kk, load(diag, a), C_ka)
            E_ka = TWO_OVER_PI * load(cbar, k * L + a) * s_ka
            store(s, k * L + a, s_ka)
            store(E, k * L + a, E_ka)
            sums = sums + E_ka * C_ka
        own[k] = total(sums) * (-1.0 / (1.0 + C_kk))


@inner
def inverse_block(C_kk: Any, C_ll: Any, C_kl: Any, s_kl: Any, same: bool) -> Any:
    """(1 + C_(kl,kl))⁻¹ as its entries kk, ll, kl; for k = l their sum in the first."""
    s2 = s_kl * s_kl
    if same:
        return 2.0 * s2, 0.0 * s2, 0.0 * s2
    return (1.0 + C_ll) * s2, (1.0 + C_kk) * s2, -C_kl * s2


@inner
def tilted_norm(C_aa: Any) -> Any:
    """1/√(1 + C̃_aa)."""
    return over_root(choose_less(C_aa, LEAST - 1.0, LEAST, 1.0 + C_aa))


@inner
def tilting(block: Any, x: Any, y: Any) -> Any:
    """p and q of C̃ = C − x pᵀ − y qᵀ, with x, y the columns k, l of C, and an `inverse_block`."""
    kk, ll, kl = block
    return kk * x + kl * y, kl * x + ll * y


@inner
def tilted(C_ab: Any, p: Any, q: Any, x: Any, y: Any) -> Any:
    """C̃_ab: p and q of one field, x and y of the other."""
    return C_ab - p * x - q * y


@inner
def tilted_norms(work: Any, K: int, D: int) -> None:
    """Fill d_a = 1/√(1 + C̃_aa) of every pair k ≤ l."""
    C, diag, s, d = work.C, work.diag, work.s, work.d
    X = C.shape[1]
    for k in range(K):
        for l in range(k, K):
            pair = upper_index(k, l, K)
            block = inverse_block(diag[k], diag[l], C[k, l], s[k, l], k == l)
            for a in range(0, D + D // 2, WIDTH):
                x, y = load(C, k * X + a), load(C, l * X + a)
                p, q = tilting(block, x, y)
                store(d, pair * X + a, tilted_norm(tilted(load(diag, a), p, q, x, y)))


@inner
def tilted_form(work: Any, weights: Any, k: int, l: int, pair: int, D: int) -> float:
    """Σ weights asin(C̃_ab d_a d_b) over all pairs of fields."""
    C, diag, ring, d = work.C, work.diag, work.ring, work.d
    X, L = C.shape[1], ring.shape[1]
    block = inverse_block(diag[k], diag[l], C[k, l], work.s[k, l], k == l)
    sums = splat(0.0)
    for a in range(0, D, WIDTH):
        d_a = load(d, pair * X + a)
        p, q = tilting(block, load(C, k * X + a), load(C, l * X + a))
        for j in range(ring.shape[0]):
            b = a + j
            C_ab = load(ring, j * L + a)
            C_ab = tilted(C_ab, p, q, load(C, k * X + b), load(C, l * X + b))
            angle = asin(C_ab * d_a * load(d, pair * X + b))
            sums = sums + load(weights, j * L + a) * angle
    return total(sums)


@inner
def mix(work: Any, p: Any, k: int, l: int) -> None:
    """Average c_a c_b over tasks with the weights p_s v_k v_l of one pair of units."""
    c, cc, mixed = work.c, work.cc, work.mixed
    size = mixed.shape[1]
    for i in range(0, size, WIDTH):
        sums = splat(0.0)
        for s in range(p.shape[0]):
            sums = sums + (p[s] * c[s, k] * c[s, l]) * load(cc, s * size + i)
        store(mixed, i, sums)


@inner
def diffusion(work: Any, p: Any, K: int, D: int) -> None:
    """Fill J2(k, l) and S_kl = Σ_s p_s v_k v_l Σ_ab c_a c_b I4(k, l, a, b), after `drive`."""
    c, s, S, J2 = work.c, work.s, work.S, work.J2
    tilted_norms(work, K, D)
    for k in range(K):
        for l in range(k, K):
            pair = upper_index(k, l, K)
            J2[k, l] = TWO_OVER_PI * s[k, l]
            scale = TWO_OVER_PI * J2[k, l]
            weights = work.cc
            if p.shape[0] == 1:
                scale *= p[0] * c[0, k] * c[0, l]
            else:
                mix(work, p, k, l)
                weights = work.mixed
            S[k, l] = scale * tilted_form(work, weights, k, l, pair, D)


# -------------------------------------------------------------------------------------- derivatives


@inner
def asin_slope(r: Any) -> Any:
    """Derivative of asin, finite at ±1 too."""
    rest = (1.0 - r) * (1.0 + r)
    return over_root(choose_less(rest, SMALLEST_REST, SMALLEST_REST, rest))


@inner
def second_gradient(work: Any, k: int, D: int) -> None:
    """Fill the derivatives of Σ_a row_a I2(k, a): `work.by_k` and `work.by_a`."""
    C, diag, by_k, by_a, row = work.C, work.diag, work.by_k, work.by_a, work.row
    X = C.shape[1]
    n_k = 1.0 / (1.0 + diag[k])
    sums = splat(0.0)
    for a in range(0, D, WIDTH):
        n_a = 1.0 / (1.0 + load(diag, a))
        n = root(n_k * n_a)
        r = load(C, k * X + a) * n
        f = TWO_OVER_PI * load(row, a) * asin_slope(r)
        store(by_k, a, f * n)
        store(by_a, a, -0.5 * f * r * n_a)
        sums = sums + f * r
    by_a[k] -= 0.5 * n_k * total(sums)


@inner
def drive_gradient(work: Any, x: Any, b: int, k: int, D: int) -> None:
    """Fill the derivatives of D_k x_k + Σ_a E_ka x_a, of row b of x."""
    C, diag, s, E = work.C, work.diag, work.s, work.E
    by_k, by_a, by_c = work.by_k, work.by_a, work.by_c
    X, L = C.shape[1], s.shape[1]
    inverse = 1.0 / (1.0 + diag[k])
    share = inverse * x[b, k]
    kk, sums = splat(0.0), splat(0.0)
    for a in range(0, D, WIDTH):
        C_ka, s_a, E_a = load(C, k * X + a), load(s, k * L + a), load(E, k * L + a)
        rest = load(x, b * x.shape[1] + a) - share * C_ka
        h = 0.5 * E_a * s_a * s_a * rest
        kk = kk + h * (1.0 + load(diag, a))
        sums = sums + E_a * C_ka
        store(by_k, a, 2.0 * h * C_ka - share * E_a)
        store(by_a, a, h * -(1.0 + diag[k]))
        store(by_c, a, TWO_OVER_PI * s_a * rest)
    by_a[k] += share * inverse * total(sums) - total(kk)


@inner
def tilt(work: Any, k: int, l: int, D: int) -> None:
    """Fill p, q and d of one pair."""
    C, diag, pqd = work.C, work.diag, work.pqd
    X, L = C.shape[1], pqd.shape[1]
    block = inverse_block(diag[k], diag[l], C[k, l], work.s[k, l], k == l)
    for a in range(0, D, WIDTH):
        x, y = load(C, k * X + a), load(C, l * X + a)
        p, q = tilting(block, x, y)
        store(pqd, a, p)
        store(pqd, L + a, q)
        store(pqd, 2 * L + a, tilted_norm(tilted(load(diag, a), p, q, x, y)))


@inner
def tilted_derivatives(work: Any, probability: Any, k: int, l: int, D: int) -> None:
    """Fill F_ab = asin C̃_ab d_a d_b, and B = derivatives of S_kl by C̃."""
    C, c, pqd, F, B = work.C, work.c, work.pqd, work.F, work.B
    X, L = C.shape[1], F.shape[1]
    scale = TWO_OVER_PI * TWO_OVER_PI * work.s[k, l]
    for a in range(D):
        sums = splat(0.0)
        for b in range(0, D, WIDTH):
            n = pqd[2, a] * load(pqd, 2 * L + b)
            C_ab = tilted(load(C, a * X + b), C[k, a], C[l, a], load(pqd, b), load(pqd, L + b))
            weight = splat(0.0)
            for s in range(probability.shape[0]):
                factor = scale * probability[s] * c[s, k] * c[s, l] * c[s, a]
                weight = weight + factor * load(c, s * L + b)
            r = C_ab * n
            f = weight * asin_slope(r)
            sums = sums + f * r
            store(F, a * L + b, asin(r))
            store(B, a * L + b, f * n)
        B[a, a] -= pqd[2, a] * pqd[2, a] * total(sums)


@inner
def untilt(work: Any, k: int, l: int, K: int, D: int) -> None:
    """Turn `work.B` from derivatives by C̃ into derivatives by C: dC̃ = W dC Wᵀ."""
    pqd, B, Bp = work.pqd, work.B, work.Bp
    L = B.shape[1]
    pp, pq, qq = splat(0.0), splat(0.0), splat(0.0)
    for b in range(0, D, WIDTH):
        p_b, q_b = splat(0.0), splat(0.0)
        for a in range(D):
            row = load(B, a * L + b)
            p_b, q_b = p_b + pqd[0, a] * row, q_b + pqd[1, a] * row
        store(Bp, b, p_b)
        store(Bp, L + b, q_b)
        pp = pp + p_b * load(pqd, b)
        pq = pq + p_b * load(pqd, L + b)
        qq = qq + q_b * load(pqd, L + b)
    for b in range(0, D, WIDTH):
        store(B, k * L + b, load(B, k * L + b) - load(Bp, b))
        store(B, l * L + b, load(B, l * L + b) - load(Bp, L + b))
    # Only rows of units are entries of the state.
    for a in range(K):
        B[a, k] -= Bp[0, a]
        B[a, l] -= Bp[1, a]
    B[k, k] += total(pp)
    B[k, l] += total(pq)
    B[l, k] += total(pq)
    B[l, l] += total(qq)


@inner
def task_powers(work: Any, sigma: Any, k: int, l: int, D: int) -> None:
    """Fill m_a = Σ_b c_b I4(k, l, a, b) and e = Σ_ab c_a c_b I4 + σ² J2 of each task."""
    c, F, m, e = work.c, work.F, work.m, work.e
    L = F.shape[1]
    J2 = TWO_OVER_PI * work.s[k, l]
    for s in range(sigma.shape[0]):
        sums = splat(0.0)
        for b in range(0, D, WIDTH):
            m_b = splat(0.0)
            for a in range(D):
                m_b = m_b + c[s, a] * load(F, a * L + b)
            m_b = (TWO_OVER_PI * J2) * m_b
            store(m, s * L + b, m_b)
            sums = sums + m_b * load(c, s * L + b)
        e[s] = total(sums) + sigma[s] * sigma[s] * J2


@inner
def diffusion_gradient(work: Any, p: Any, sigma: Any, k: int, l: int, D: int) -> None:
    """Fill the derivatives of S_kl + noise J2: `work.B`, `work.m` and `work.e`."""
    C, diag, c, s, B, e = work.C, work.diag, work.c, work.s, work.B, work.e
    tilt(work, k, l, D)
    tilted_derivatives(work, p, k, l, D)
    untilt(work, k, l, s.shape[0], D)
    task_powers(work, sigma, k, l, D)
    power = 0.0
    for i in range(p.shape[0]):
        power += p[i] * c[i, k] * c[i, l] * e[i]
    kk, ll, kl = inverse_block(diag[k], diag[l], C[k, l], s[k, l], k == l)
    B[k, k] -= 0.5 * power * kk
    B[l, l] -= 0.5 * power * ll
    B[k, l] -= 0.5 * power * kl
    B[l, k] -= 0.5 * power * kl


# -------------------------------------------------------------------------------- moments, in lanes


@inner
def norms_in_lanes(M: Any, m: Any) -> None:
    """Fill d_a = 1/√(1 + C_aa), for `second_in_lanes`."""
    C, d = matrix(M, m.C, m.D, m.D), vector(M, m.d, m.D)
    for a in range(m.D):
        d[a] = over_root(1.0 + C[a, a])


@inner
def second_in_lanes(M: Any, m: Any, a: int, b: int) -> Any:
    """I2(a, b), after `norms_in_lanes`."""
    C, d = matrix(M, m.C, m.D, m.D), vector(M, m.d, m.D)
    return TWO_OVER_PI * asin_in_lanes(C[a, b] * d[a] * d[b])


@inner
def drive_in_lanes(M: Any, m: Any) -> None:
    """Fill E_ka = cbar_ka J2(k, a) and D_k = −Σ_a E_ka C_ka / (1 + C_kk)."""
    K, D = m.K, m.D
    C, cbar = matrix(M, m.C, D, D), matrix(M, m.cbar, K, D)
    s, E, own = matrix(M, m.s, K, D), matrix(M, m.E, K, D), vector(M, m.own, K)
    if m.S == 1 and m.online != 0:
        fill_weights(M, m, vector(M, m.row, 1))
    for k in range(K):
        C_kk, share = C[k, k], fill(M, 0.0)
        for a in range(D):
            C_ka = C[k, a]
            s_ka = inverse_root(C_kk, C[a, a], C_ka)
            E_ka = TWO_OVER_PI * cbar[k, a] * s_ka
            s[k, a], E[k, a] = s_ka, E_ka
            share = share + E_ka * C_ka
        own[k] = share * (-1.0 / (1.0 + C_kk))


@inner
def tilt_in_lanes(M: Any, m: Any, k: int, l: int) -> None:
    """Fill p, q and d of one pair."""
    D = m.D
    C, s = matrix(M, m.C, D, D), matrix(M, m.s, m.K, D)
    p, q, d = vector(M, m.p, D), vector(M, m.q, D), vector(M, m.d, D)
    block = inverse_block(C[k, k], C[l, l], C[k, l], s[k, l], k == l)
    for a in range(D):
        x, y = C[k, a], C[l, a]
        p_a, q_a = tilting(block, x, y)
        p[a], q[a] = p_a, q_a
        d[a] = tilted_norm(tilted(C[a, a], p_a, q_a, x, y))


@inner
def fill_sines(M: Any, m: Any, k: int, l: int) -> None:
    """Fill the sine of (π/2) Ĩ2(a, b) under the tilt of the pair (k, l), for a ≤ b."""
    D, i = m.D, m.sine
    C, d = matrix(M, m.C, D, D), vector(M, m.d, D)
    p, q = vector(M, m.p, D), vector(M, m.q, D)
    for a in range(D):
        p_a, q_a, d_a = p[a], q[a], d[a]
        for b in range(a, D):
            put(M, i, tilted(C[a, b], p_a, q_a, C[k, b], C[l, b]) * (d_a * d[b]))
            i += 1


@inner
def fill_weights(M: Any, m: Any, shares: Any) -> None:
    """Fill Σ_s share_s c_a c_b for a ≤ b, twice where a ≠ b; one task has a share of 1."""
    D, S, i = m.D, m.S, m.weight_of_pair
    c = matrix(M, m.coef, S, D)
    for a in range(D):
        for b in range(a, D):
            weight = c[0, a] * c[0, b]
            if S > 1:
                weight = shares[0] * weight
            for s in range(1, S):
                weight = weight + shares[s] * c[s, a] * c[s, b]
            if a != b:
                weight = weight + weight
            put(M, i, weight)
            i += 1


@inner
def form(M: Any, m: Any) -> Any:
    """Σ_ab c_a c_b asin: in a loop of its own, whose constants stay in registers."""
    whole = fill(M, 0.0)
    for i in range(m.D * (m.D + 1) // 2):
        angle = asin_in_lanes(get(M, m.sine + i))
        whole = whole + get(M, m.weight_of_pair + i) * angle
    return whole


@inner
def power_in_lanes(M: Any, m: Any, k: int, l: int) -> Any:
    """Σ_s p_s v_k v_l (Σ_ab c_a c_b I4(k, l, a, b) + σ_s² J2(k, l)), after `drive_in_lanes`."""
    D, S = m.D, m.S
    c, p, sigma = matrix(M, m.coef, S, D), vector(M, m.prob, S), vector(M, m.sigma, S)
    inverse_roots, shares = matrix(M, m.s, m.K, D), vector(M, m.row, S)
    tilt_in_lanes(M, m, k, l)
    fill_sines(M, m, k, l)
    J2 = TWO_OVER_PI * inverse_roots[k, l]
    noise, share = fill(M, 0.0), fill(M, 0.0)
    for s in range(S):
        share = p[s] * c[s, k] * c[s, l]
        noise = noise + share * sigma[s] * sigma[s]
        shares[s] = share
    if S > 1:
        fill_weights(M, m, shares)
        share = fill(M, 1.0)
    return J2 * (TWO_OVER_PI * share * form(M, m) + noise)


@inner
def self_slope_in_lanes(M: Any, m: Any, a: int) -> Any:
    """E[g'(a)²] = (2/π)/√(1 + 2 C_aa)."""
    C = matrix(M, m.C, m.D, m.D)
    return TWO_OVER_PI * inverse_root(C[a, a], C[a, a], C[a, a])
