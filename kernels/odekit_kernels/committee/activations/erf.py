"""Moments of g(x) = erf(x/√2).

I4(k, l, a, b) = J2(k, l) Ĩ2(a, b), where Ĩ2 is I2 under the covariance tilted by g'(λ_k) g'(λ_l),
C̃ = C − C_(·,kl) (1 + C_(kl,kl))⁻¹ C_(kl,·): one asin for each pair a ≤ b, and no Λ per quadruple.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import kernel
from odekit_kernels.committee.work import inner, upper_index
from odekit_kernels.simd import WIDTH, asin, choose_less, load, minor, root, splat, store, total

__all__ = [
    "diffusion",
    "diffusion_gradient",
    "drive",
    "drive_gradient",
    "second",
    "second_gradient",
]

TWO_OVER_PI = 2.0 / math.pi
SMALLEST_REST = 1e-16
LEAST = 1e-3
"""Of what is at least 1 for every covariance: trial stages far from them get numbers, not NaN."""


@kernel(forceinline=True)
def inverse_root(C_aa: Any, C_bb: Any, C_ab: Any) -> Any:
    """Λ^(-1/2), Λ = (1 + C_aa)(1 + C_bb) − C_ab².

    It goes on smoothly beyond covariances, to minors below 0: their derivatives are two-sided.
    """
    rest = (1.0 + C_aa) + (C_bb + minor(C_aa, C_bb, C_ab))
    return 1.0 / root(choose_less(rest, LEAST, LEAST, rest))


@inner
def second(work: Any, rows: int, D: int) -> None:
    """Fill I2(a, b) = (2/π) asin(C_ab / √((1+C_aa)(1+C_bb))) for a < rows."""
    C, diag, I2 = work.C, work.diag, work.I2
    X, L = C.shape[1], I2.shape[1]
    for a in range(rows):
        C_aa = diag[a]
        for b in range(0, D, WIDTH):
            n = 1.0 / root((1.0 + C_aa) * (1.0 + load(diag, b)))
            store(I2, a * L + b, TWO_OVER_PI * asin(load(C, a * X + b) * n))


@inner
def drive(work: Any, K: int, D: int) -> None:
    """Fill A_kb = Σ_a cbar_ka I3(k, b, a)."""
    C, diag, cbar, s, t, A = work.C, work.diag, work.cbar, work.s, work.t, work.A
    X, L = C.shape[1], A.shape[1]
    for k in range(K):
        C_kk = diag[k]
        sums = splat(0.0)
        for a in range(0, D, WIDTH):
            C_ka = load(C, k * X + a)
            s_ka = inverse_root(C_kk, load(diag, a), C_ka)
            t_ka = load(cbar, k * L + a) * s_ka
            store(s, k * L + a, s_ka)
            store(t, k * L + a, t_ka)
            sums = sums + t_ka * C_ka
        share = total(sums) * (TWO_OVER_PI / (1.0 + C_kk))
        for b in range(0, D, WIDTH):
            A_kb = splat(0.0)
            for a in range(D):
                A_kb = A_kb + t[k, a] * load(C, a * X + b)
            store(A, k * L + b, TWO_OVER_PI * A_kb - share * load(C, k * X + b))


@kernel(forceinline=True)
def inverse_block(C_kk: Any, C_ll: Any, C_kl: Any, s_kl: Any, same: bool) -> Any:
    """(1 + C_(kl,kl))⁻¹ as its entries kk, ll, kl; for k = l their sum in the first."""
    s2 = s_kl * s_kl
    if same:
        return 2.0 * s2, 0.0 * s2, 0.0 * s2
    return (1.0 + C_ll) * s2, (1.0 + C_kk) * s2, -C_kl * s2


@kernel(forceinline=True)
def tilted_norm(C_aa: Any) -> Any:
    """1/√(1 + C̃_aa)."""
    return 1.0 / root(choose_less(C_aa, LEAST - 1.0, LEAST, 1.0 + C_aa))


@inner
def tilted_norms(work: Any, K: int, D: int) -> None:
    """Fill d_a = 1/√(1 + C̃_aa) of every pair k ≤ l."""
    C, diag, s, d = work.C, work.diag, work.s, work.d
    X = C.shape[1]
    for k in range(K):
        for l in range(k, K):
            pair = upper_index(k, l, K)
            kk, ll, kl = inverse_block(diag[k], diag[l], C[k, l], s[k, l], k == l)
            for a in range(0, D + D // 2, WIDTH):
                x, y = load(C, k * X + a), load(C, l * X + a)
                C_aa = load(diag, a) - (kk * x + kl * y) * x - (kl * x + ll * y) * y
                store(d, pair * X + a, tilted_norm(C_aa))


@kernel(forceinline=True)
def tilted_form(work: Any, weights: Any, k: int, l: int, pair: int, D: int) -> float:
    """Σ weights asin(C̃_ab d_a d_b) over all pairs of fields."""
    C, diag, ring, d = work.C, work.diag, work.ring, work.d
    X, L = C.shape[1], ring.shape[1]
    kk, ll, kl = inverse_block(diag[k], diag[l], C[k, l], work.s[k, l], k == l)
    sums = splat(0.0)
    for a in range(0, D, WIDTH):
        x, y, d_a = load(C, k * X + a), load(C, l * X + a), load(d, pair * X + a)
        p, q = kk * x + kl * y, kl * x + ll * y
        for j in range(ring.shape[0]):
            b = a + j
            C_ab = load(ring, j * L + a) - p * load(C, k * X + b) - q * load(C, l * X + b)
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
    """Fill J2(k, l) and E_kl = Σ_s p_s v_k v_l Σ_ab c_a c_b I4(k, l, a, b), after `drive`."""
    c, s, E, J2 = work.c, work.s, work.E, work.J2
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
            E[k, l] = scale * tilted_form(work, weights, k, l, pair, D)


# -------------------------------------------------------------------------------------- derivatives


@kernel(forceinline=True)
def slope(r: Any) -> Any:
    """Derivative of asin, finite at ±1 too."""
    rest = (1.0 - r) * (1.0 + r)
    return 1.0 / root(choose_less(rest, SMALLEST_REST, SMALLEST_REST, rest))


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
        f = TWO_OVER_PI * load(row, a) * slope(r)
        store(by_k, a, f * n)
        store(by_a, a, -0.5 * f * r * n_a)
        sums = sums + f * r
    by_a[k] -= 0.5 * n_k * total(sums)


@inner
def drive_gradient(work: Any, k: int, b: int, D: int) -> None:
    """Fill the derivatives of A_kb: `work.by_k`, `work.by_b`, `work.by_a`, `work.by_c`."""
    C, diag, s, t = work.C, work.diag, work.s, work.t
    by_k, by_b, by_a, by_c = work.by_k, work.by_b, work.by_a, work.by_c
    X, L = C.shape[1], s.shape[1]
    inverse = 1.0 / (1.0 + diag[k])
    share = inverse * C[k, b]
    kk, sums = splat(0.0), splat(0.0)
    for a in range(0, D, WIDTH):
        C_ka, s_a, t_a = load(C, k * X + a), load(s, k * L + a), TWO_OVER_PI * load(t, k * L + a)
        rest = load(C, b * X + a) - share * C_ka
        h = 0.5 * t_a * s_a * s_a * rest
        kk = kk + h * (1.0 + load(diag, a))
        sums = sums + t_a * C_ka
        store(by_k, a, 2.0 * h * C_ka - share * t_a)
        store(by_b, a, t_a)
        store(by_a, a, h * -(1.0 + diag[k]))
        store(by_c, a, TWO_OVER_PI * s_a * rest)
    through_b = inverse * total(sums)
    by_k[b] -= through_b
    by_a[k] += share * through_b - total(kk)


@inner
def tilt(work: Any, k: int, l: int, D: int) -> None:
    """Fill p, q and d of one pair, C̃ = C − x pᵀ − y qᵀ with x, y the columns k, l of C."""
    C, diag, pqd = work.C, work.diag, work.pqd
    X, L = C.shape[1], pqd.shape[1]
    kk, ll, kl = inverse_block(diag[k], diag[l], C[k, l], work.s[k, l], k == l)
    for a in range(0, D, WIDTH):
        x, y = load(C, k * X + a), load(C, l * X + a)
        p, q = kk * x + kl * y, kl * x + ll * y
        C_aa = load(diag, a) - p * x - q * y
        store(pqd, a, p)
        store(pqd, L + a, q)
        store(pqd, 2 * L + a, tilted_norm(C_aa))


@inner
def tilted_derivatives(work: Any, probability: Any, k: int, l: int, D: int) -> None:
    """Fill F_ab = asin C̃_ab d_a d_b, and B = derivatives of E_kl by C̃."""
    C, c, pqd, F, B = work.C, work.c, work.pqd, work.F, work.B
    X, L = C.shape[1], F.shape[1]
    scale = TWO_OVER_PI * TWO_OVER_PI * work.s[k, l]
    for a in range(D):
        sums = splat(0.0)
        for b in range(0, D, WIDTH):
            n = pqd[2, a] * load(pqd, 2 * L + b)
            C_ab = load(C, a * X + b) - C[k, a] * load(pqd, b) - C[l, a] * load(pqd, L + b)
            weight = splat(0.0)
            for s in range(probability.shape[0]):
                factor = scale * probability[s] * c[s, k] * c[s, l] * c[s, a]
                weight = weight + factor * load(c, s * L + b)
            r = C_ab * n
            f = weight * slope(r)
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
    """Fill the derivatives of E_kl + noise J2: `work.B`, `work.m` and `work.e`."""
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
