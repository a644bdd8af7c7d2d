"""Moments of g(x) = max(x, 0), with g'(0) = 1/2.

Everything goes through the minor q = C_aa C_bb − C_ab² and √q instead of the correlation r, whose
last digit decides √(1 − r²) where fields coincide. There is no closed form of I4.
"""

# ruff: noqa: ARG001 - every activation has the same functions

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit_kernels._jit import inner, kernel
from odekit_kernels.arcsine import asin_given
from odekit_kernels.lanes.values import fill
from odekit_kernels.lanes.views import matrix, vector
from odekit_kernels.simd import WIDTH, choose_less, load, minor, root, splat, store, total

STRAIGHT, BENT = 0.25, 0.5 / math.pi
# Sine of the angle between two fields below which they count as one: the rounding of √q.
LEAST_SINE = 1e-8


# --------------------------------------------------------------------------------------- activation


@inner
def value(z: float) -> float:
    """g(z)."""
    return max(z, 0.0)


@inner
def slope(z: float) -> float:
    """g'(z), and 0 at z = 0."""
    return 1.0 if z > 0.0 else 0.0


# -------------------------------------------------------------------------- moments, one trajectory


@inner
def inverse(x: Any, smallest: Any) -> Any:
    """1/x, or 0 for x up to `smallest`."""
    return choose_less(smallest, x, 1.0 / choose_less(smallest, x, x, 1.0), x * 0.0)


@inner
def angle(C_aa: Any, C_bb: Any, C_ab: Any) -> Any:
    """√(C_aa C_bb − C_ab²), and asin of the correlation: 0 if a field vanishes."""
    q = minor(C_aa, C_bb, C_ab)
    q = choose_less(q, 0.0, 0.0, q)
    norms = C_aa * C_bb
    i_norms = inverse(norms, 0.0)
    return root(q), asin_given(C_ab * root(i_norms), q * i_norms)


@inner
def product(straight: float, bent: float, root_q: Any, theta: Any, C_ab: Any) -> Any:
    """E[g(x_a) g(x_b)] of g = p x + q |x|, of `angle`; straight = p², bent = 2 q²/π."""
    return bent * (root_q + C_ab * theta) + straight * C_ab


@inner
def product_of_slopes(straight: float, bent: float, theta: Any) -> Any:
    """E[g'(x_a) g'(x_b)] of the same."""
    return straight + bent * theta


@kernel(_nrt=False)
def kinked_second(C: Any, straight: float, bent: float, I2: Any, J2: Any, G2: Any) -> None:
    """I2, J2 and G2 = E[g''(x_k) g(x_a)] of the same, of the first fields with all: (K, D) each."""
    for k in range(I2.shape[0]):
        for a in range(C.shape[0]):
            root_q, theta = angle(C[k, k], C[a, a], C[k, a])
            I2[k, a] = product(straight, bent, root_q, theta, C[k, a])
            J2[k, a] = product_of_slopes(straight, bent, theta)
            G2[k, a] = bent * root_q * inverse(C[k, k], 0.0)


@inner
def second(work: Any, rows: int, D: int) -> None:
    """Fill I2(a, b) = [√q + C_ab (π/2 + asin r)] / 2π for a < rows."""
    C, diag, I2 = work.C, work.diag, work.I2
    X, L = C.shape[1], I2.shape[1]
    for a in range(rows):
        for b in range(0, D, WIDTH):
            C_ab = load(C, a * X + b)
            root_q, theta = angle(diag[a], load(diag, b), C_ab)
            store(I2, a * L + b, product(STRAIGHT, BENT, root_q, theta, C_ab))


@inner
def drive(work: Any, K: int, D: int) -> None:
    """Fill E_ka = cbar_ka (1/4 + asin(r_ka)/2π) and D_k = Σ_a cbar_ka √q_ka / (2π C_kk)."""
    C, diag, cbar, s, E, own = work.C, work.diag, work.cbar, work.s, work.E, work.own
    X, L = C.shape[1], E.shape[1]
    for k in range(K):
        C_kk = diag[k]
        # Where the unit vanishes its field has no sign: it stands still (see `zero`).
        alive = 0.0 if C_kk <= 0.0 else 1.0
        sums = splat(0.0)
        for a in range(0, D, WIDTH):
            c = alive * load(cbar, k * L + a)
            root_q, theta = angle(C_kk, load(diag, a), load(C, k * X + a))
            store(s, k * L + a, root_q)
            store(E, k * L + a, c * product_of_slopes(STRAIGHT, BENT, theta))
            sums = sums + c * root_q
        # √q ≤ √(C_kk C_aa) and C_kb ≤ √(C_kk C_bb): what it multiplies vanishes with the unit.
        own[k] = BENT * total(sums) / C_kk if C_kk > 0.0 else C_kk * 0.0


@inner
def diffusion(work: Any, p: Any, K: int, D: int) -> None:
    """Fill J2(k, l) = 1/4 + asin(r_kl)/2π, and NaN for the sums of I4, which this file lacks."""
    C, diag, S, J2 = work.C, work.diag, work.S, work.J2
    for k in range(K):
        for l in range(k, K):
            _, theta = angle(diag[k], diag[l], C[k, l])
            J2[k, l] = product_of_slopes(STRAIGHT, BENT, theta)
            S[k, l] = np.nan
        J2[k, k] = 0.5


@inner
def second_gradient(work: Any, k: int, D: int) -> None:
    """Fill the derivatives of Σ_a row_a I2(k, a): `work.by_k` and `work.by_a`."""
    C, diag, by_k, by_a, row = work.C, work.diag, work.by_k, work.by_a, work.row
    X = C.shape[1]
    sums = splat(0.0)
    for a in range(0, D, WIDTH):
        C_aa, w = load(diag, a), load(row, a)
        root_q, theta = angle(diag[k], C_aa, load(C, k * X + a))
        store(by_k, a, w * product_of_slopes(STRAIGHT, BENT, theta))
        w = (0.5 * BENT) * w * root_q
        store(by_a, a, w * inverse(C_aa, 0.0))
        sums = sums + w
    by_a[k] += total(sums) * inverse(diag[k], 0.0)


@inner
def drive_gradient(work: Any, x: Any, b: int, k: int, D: int) -> None:
    """Fill the derivatives of D_k x_k + Σ_a E_ka x_a, of row b of x.

    Where a field coincides with the unit, √q has none: its term is left out, which is right where
    the two are the same variable.
    """
    C, diag, cbar, s = work.C, work.diag, work.cbar, work.s
    by_k, by_a, by_c = work.by_k, work.by_a, work.by_c
    X, L = C.shape[1], s.shape[1]
    C_kk, i_kk = diag[k], inverse(diag[k], 0.0)
    alive = 0.0 if C_kk <= 0.0 else 1.0
    h = BENT * x[b, k] * i_kk
    kk, sums = splat(0.0), splat(0.0)
    for a in range(0, D, WIDTH):
        C_ka, C_aa, x_a = load(C, k * X + a), load(diag, a), load(x, b * x.shape[1] + a)
        c, root_q = load(cbar, k * L + a), load(s, k * L + a)
        _, theta = angle(C_kk, C_aa, C_ka)
        i_q = c * inverse(root_q, LEAST_SINE * root(C_kk * C_aa))
        by_root = (0.5 * h) * i_q
        by_angle = BENT * x_a * i_q
        half = 0.5 * by_angle * C_ka
        kk = kk + by_root * C_aa - half * i_kk
        sums = sums + c * root_q
        store(by_k, a, by_angle - 2.0 * by_root * C_ka)
        store(by_a, a, by_root * C_kk - half * inverse(C_aa, 0.0))
        store(by_c, a, alive * (h * root_q + x_a * product_of_slopes(STRAIGHT, BENT, theta)))
    by_a[k] += total(kk) - h * i_kk * total(sums)


@inner
def diffusion_gradient(work: Any, p: Any, sigma: Any, k: int, l: int, D: int) -> None:
    """Fill `work.B`, `work.m` and `work.e` with NaN, for want of I4."""
    work.B[:] = np.nan
    work.m[:] = np.nan
    work.e[:] = np.nan


# -------------------------------------------------------------------------------- moments, in lanes


@inner
def norms_in_lanes(M: Any, m: Any) -> None:
    """Nothing: `second_in_lanes` needs none."""


@inner
def second_in_lanes(M: Any, m: Any, a: int, b: int) -> Any:
    """I2(a, b) = [√q + C_ab (π/2 + asin r)] / 2π."""
    C = matrix(M, m.C, m.D, m.D)
    root_q, theta = angle(C[a, a], C[b, b], C[a, b])
    return product(STRAIGHT, BENT, root_q, theta, C[a, b])


@inner
def drive_in_lanes(M: Any, m: Any) -> None:
    """Fill E_ka = cbar_ka (1/4 + asin(r_ka)/2π) and D_k = Σ_a cbar_ka √q_ka / (2π C_kk)."""
    K, D = m.K, m.D
    C, cbar = matrix(M, m.C, D, D), matrix(M, m.cbar, K, D)
    E, own = matrix(M, m.E, K, D), vector(M, m.own, K)
    for k in range(K):
        C_kk = C[k, k]
        alive = choose_less(0.0, C_kk, fill(M, 1.0), 0.0)
        share = fill(M, 0.0)
        for a in range(D):
            c = alive * cbar[k, a]
            root_q, theta = angle(C_kk, C[a, a], C[k, a])
            E[k, a] = c * product_of_slopes(STRAIGHT, BENT, theta)
            share = share + c * root_q
        # √q ≤ √(C_kk C_aa) and C_kb ≤ √(C_kk C_bb): what it multiplies vanishes with the unit.
        own[k] = BENT * share * inverse(C_kk, 0.0)


@inner
def power_in_lanes(M: Any, m: Any, k: int, l: int) -> Any:
    """NaN: this activation has no closed form of I4."""
    return fill(M, np.nan)


@inner
def self_slope_in_lanes(M: Any, m: Any, a: int) -> Any:
    """E[g'(a)²] = 1/2."""
    return fill(M, 0.5)
