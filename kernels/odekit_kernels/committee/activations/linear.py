"""Moments of g(x) = x: I2 = C_ab, I3 = C_bc, I4 = C_cd, J2 = 1."""

# ruff: noqa: ARG001 - every activation has the same functions

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.lanes.values import fill
from odekit_kernels.lanes.views import matrix, vector
from odekit_kernels.simd import WIDTH, load, splat, store, total

# --------------------------------------------------------------------------------------- activation


@inner
def value(z: float) -> float:
    """g(z)."""
    return z


@inner
def slope(z: float) -> float:
    """g'(z)."""
    return 1.0


# -------------------------------------------------------------------------- moments, one trajectory


@inner
def second(work: Any, rows: int, D: int) -> None:
    """Fill I2(a, b) = C_ab for a < rows."""
    C, I2 = work.C, work.I2
    X, L = C.shape[1], I2.shape[1]
    for a in range(rows):
        for b in range(0, D, WIDTH):
            store(I2, a * L + b, load(C, a * X + b))


@inner
def drive(work: Any, K: int, D: int) -> None:
    """Fill E_ka = cbar_ka and D_k = 0."""
    for k in range(K):
        work.own[k] = 0.0
        for a in range(D):
            work.E[k, a] = work.cbar[k, a]


@inner
def error_power(work: Any, s: int, D: int) -> float:
    """Σ_ab c_a c_b C_ab of one task."""
    C, c = work.C, work.c
    X, L = C.shape[1], c.shape[1]
    sums = splat(0.0)
    for a in range(D):
        for b in range(0, D, WIDTH):
            sums = sums + c[s, a] * load(C, a * X + b) * load(c, s * L + b)
    return total(sums)


@inner
def diffusion(work: Any, p: Any, K: int, D: int) -> None:
    """Fill J2(k, l) and S_kl = Σ_s p_s v_k v_l Σ_ab c_a c_b C_ab."""
    c, S, J2 = work.c, work.S, work.J2
    for k in range(K):
        for l in range(k, K):
            S[k, l] = 0.0
            J2[k, l] = 1.0
    for s in range(p.shape[0]):
        power = p[s] * error_power(work, s, D)
        for k in range(K):
            for l in range(k, K):
                S[k, l] += c[s, k] * c[s, l] * power


@inner
def second_gradient(work: Any, k: int, D: int) -> None:
    """Fill the derivatives of Σ_a row_a I2(k, a): `work.by_k` and `work.by_a`."""
    for a in range(D):
        work.by_k[a] = work.row[a]
        work.by_a[a] = 0.0


@inner
def drive_gradient(work: Any, x: Any, b: int, k: int, D: int) -> None:
    """Fill the derivatives of Σ_a E_ka x_a, of row b of x."""
    for a in range(0, D, WIDTH):
        store(work.by_k, a, splat(0.0))
        store(work.by_a, a, splat(0.0))
        store(work.by_c, a, load(x, b * x.shape[1] + a))


@inner
def diffusion_gradient(work: Any, p: Any, sigma: Any, k: int, l: int, D: int) -> None:
    """Fill the derivatives of S_kl + noise J2: `work.B`, `work.m` and `work.e`."""
    C, c, B, m, e = work.C, work.c, work.B, work.m, work.e
    for a in range(D):
        for b in range(D):
            B[a, b] = 0.0
    for s in range(p.shape[0]):
        weight = p[s] * c[s, k] * c[s, l]
        e[s] = sigma[s] * sigma[s]
        for a in range(D):
            m[s, a] = 0.0
            for b in range(D):
                m[s, a] += C[a, b] * c[s, b]
                B[a, b] += weight * c[s, a] * c[s, b]
            e[s] += c[s, a] * m[s, a]


# -------------------------------------------------------------------------------- moments, in lanes


@inner
def norms_in_lanes(M: Any, m: Any) -> None:
    """Nothing: `second_in_lanes` needs none."""


@inner
def second_in_lanes(M: Any, m: Any, a: int, b: int) -> Any:
    """I2(a, b) = C_ab."""
    C = matrix(M, m.C, m.D, m.D)
    return C[a, b]


@inner
def drive_in_lanes(M: Any, m: Any) -> None:
    """Fill E_ka = cbar_ka and D_k = 0."""
    K, D = m.K, m.D
    cbar, E, own = matrix(M, m.cbar, K, D), matrix(M, m.E, K, D), vector(M, m.own, K)
    for k in range(K):
        own[k] = fill(M, 0.0)
        for a in range(D):
            E[k, a] = cbar[k, a]


@inner
def power_in_lanes(M: Any, m: Any, k: int, l: int) -> Any:
    """Σ_s p_s v_k v_l (Σ_ab c_a c_b C_ab + σ_s²)."""
    D, S = m.D, m.S
    C, c = matrix(M, m.C, D, D), matrix(M, m.coef, S, D)
    p, sigma = vector(M, m.prob, S), vector(M, m.sigma, S)
    whole = fill(M, 0.0)
    for s in range(S):
        power_s = sigma[s] * sigma[s]
        for a in range(D):
            row = fill(M, 0.0)
            for b in range(D):
                row = row + C[a, b] * c[s, b]
            power_s = power_s + c[s, a] * row
        whole = whole + p[s] * c[s, k] * c[s, l] * power_s
    return whole


@inner
def self_slope_in_lanes(M: Any, m: Any, a: int) -> Any:
    """E[g'(a)²] = 1."""
    return fill(M, 1.0)
