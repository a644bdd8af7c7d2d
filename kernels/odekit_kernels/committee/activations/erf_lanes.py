"""Moments of g(x) = erf(x/√2) in lanes; the formulas are those of `erf`."""

from __future__ import annotations

from typing import Any

from odekit_kernels.committee.activations.erf import (
    TWO_OVER_PI,
    inverse_block,
    inverse_root,
    tilted_norm,
)
from odekit_kernels.committee.work import inner
from odekit_kernels.lanes.values import asin, fill, get, put
from odekit_kernels.simd import root

__all__ = ["drive", "norms", "power", "second", "self_slope"]


@inner
def norms(M: Any, m: Any) -> None:
    """Fill d_a = 1/√(1 + C_aa), for `second`."""
    for a in range(m.D):
        put(M, m.d + a, 1.0 / root(1.0 + get(M, m.C + a * m.D + a)))


@inner
def second(M: Any, m: Any, a: int, b: int) -> Any:
    """I2(a, b), after `norms`."""
    C_ab = get(M, m.C + a * m.D + b)
    return TWO_OVER_PI * asin(C_ab * get(M, m.d + a) * get(M, m.d + b))


@inner
def drive(M: Any, m: Any) -> None:
    """Fill A_kb = Σ_a cbar_ka I3(k, b, a)."""
    K, D, C = m.K, m.D, m.C
    for k in range(K):
        C_kk = get(M, C + k * D + k)
        share = fill(M, 0.0)
        for a in range(D):
            C_ka = get(M, C + k * D + a)
            s_ka = inverse_root(C_kk, get(M, C + a * D + a), C_ka)
            t_ka = get(M, m.cbar + k * D + a) * s_ka
            put(M, m.s + k * D + a, s_ka)
            put(M, m.t + a, t_ka)
            share = share + t_ka * C_ka
        share = share * (TWO_OVER_PI / (1.0 + C_kk))
        for b in range(D):
            A_kb = fill(M, 0.0)
            for a in range(D):
                A_kb = A_kb + get(M, m.t + a) * get(M, C + a * D + b)
            put(M, m.A + k * D + b, TWO_OVER_PI * A_kb - share * get(M, C + k * D + b))


@inner
def tilt(M: Any, m: Any, k: int, l: int) -> None:
    """Fill p, q and d of one pair: C̃ = C − x pᵀ − y qᵀ with x, y the columns k, l of C."""
    D, C = m.D, m.C
    C_kk, C_ll, C_kl = get(M, C + k * D + k), get(M, C + l * D + l), get(M, C + k * D + l)
    kk, ll, kl = inverse_block(C_kk, C_ll, C_kl, get(M, m.s + k * D + l), k == l)
    for a in range(D):
        x, y = get(M, C + k * D + a), get(M, C + l * D + a)
        p, q = kk * x + kl * y, kl * x + ll * y
        C_aa = get(M, C + a * D + a) - p * x - q * y
        put(M, m.p + a, p)
        put(M, m.q + a, q)
        put(M, m.d + a, tilted_norm(C_aa))


@inner
def angle(M: Any, m: Any, k: int, l: int, a: int, b: int) -> Any:
    """(π/2) Ĩ2(a, b) under the tilt of the pair (k, l)."""
    D, C = m.D, m.C
    C_ab = get(M, C + a * D + b)
    C_ab = C_ab - get(M, m.p + a) * get(M, C + k * D + b)
    C_ab = C_ab - get(M, m.q + a) * get(M, C + l * D + b)
    return asin(C_ab * (get(M, m.d + a) * get(M, m.d + b)))


@inner
def form(M: Any, m: Any, k: int, l: int, c: int) -> Any:
    """Σ_ab c_a c_b asin under the tilt, of one vector of coefficients."""
    D, whole = m.D, fill(M, 0.0)
    for a in range(D):
        c_a, row = get(M, c + a), fill(M, 0.0)
        for b in range(a + 1, D):
            row = row + get(M, c + b) * angle(M, m, k, l, a, b)
        whole = whole + c_a * (c_a * angle(M, m, k, l, a, a) + 2.0 * row)
    return whole


@inner
def mixed_form(M: Any, m: Any, k: int, l: int) -> Any:
    """The same, averaged over tasks with the weights at `m.row`: one asin a pair for all."""
    D, whole = m.D, fill(M, 0.0)
    for a in range(D):
        for b in range(a, D):
            weight = fill(M, 0.0)
            for s in range(m.S):
                c = m.coef + s * D
                weight = weight + get(M, m.row + s) * get(M, c + a) * get(M, c + b)
            if a != b:
                weight = weight + weight
            whole = whole + weight * angle(M, m, k, l, a, b)
    return whole


@inner
def power(M: Any, m: Any, k: int, l: int) -> Any:
    """Σ_s p_s v_k v_l (Σ_ab c_a c_b I4(k, l, a, b) + σ_s² J2(k, l)), after `drive`."""
    tilt(M, m, k, l)
    J2 = TWO_OVER_PI * get(M, m.s + k * m.D + l)
    noise, share = fill(M, 0.0), fill(M, 0.0)
    for s in range(m.S):
        c = m.coef + s * m.D
        share = get(M, m.prob + s) * get(M, c + k) * get(M, c + l)
        sigma = get(M, m.sigma + s)
        noise = noise + share * sigma * sigma
        put(M, m.row + s, share)
    if m.S == 1:
        return J2 * (TWO_OVER_PI * share * form(M, m, k, l, m.coef) + noise)
    return J2 * (TWO_OVER_PI * mixed_form(M, m, k, l) + noise)


@inner
def self_slope(M: Any, m: Any, a: int) -> Any:
    """E[g'(a)²] = (2/π)/√(1 + 2 C_aa)."""
    C_aa = get(M, m.C + a * m.D + a)
    return TWO_OVER_PI * inverse_root(C_aa, C_aa, C_aa)
