"""Moments of g(x) = max(x, 0) in lanes; the formulas are those of `relu`."""

# ruff: noqa: ARG001 - every activation has the same functions

from __future__ import annotations

from typing import Any

import numpy as np

from odekit_kernels.committee.activations.relu import INVERSE_TWO_PI, angle, inverse
from odekit_kernels.committee.work import inner
from odekit_kernels.lanes.values import fill, get, put
from odekit_kernels.simd import choose_less

__all__ = ["drive", "norms", "power", "second", "self_slope"]


@inner
def norms(M: Any, m: Any) -> None:
    """Nothing: `second` needs none."""


@inner
def second(M: Any, m: Any, a: int, b: int) -> Any:
    """I2(a, b) = [√q + C_ab (π/2 + asin r)] / 2π."""
    D, C = m.D, m.C
    C_ab = get(M, C + a * D + b)
    root_q, theta = angle(get(M, C + a * D + a), get(M, C + b * D + b), C_ab)
    return INVERSE_TWO_PI * (root_q + C_ab * theta) + 0.25 * C_ab


@inner
def drive(M: Any, m: Any) -> None:
    """Fill A_kb = C_kb/(2π C_kk) Σ_a cbar_ka √q_ka + Σ_a cbar_ka C_ab (1/4 + asin(r_ka)/2π)."""
    K, D, C = m.K, m.D, m.C
    for k in range(K):
        C_kk = get(M, C + k * D + k)
        alive = choose_less(0.0, C_kk, fill(M, 1.0), 0.0)
        share = fill(M, 0.0)
        for a in range(D):
            c = alive * get(M, m.cbar + k * D + a)
            root_q, theta = angle(C_kk, get(M, C + a * D + a), get(M, C + k * D + a))
            put(M, m.t + a, c * (0.25 + INVERSE_TWO_PI * theta))
            share = share + c * root_q
        # √q ≤ √(C_kk C_aa) and C_kb ≤ √(C_kk C_bb): the ratio vanishes with the unit itself.
        share = INVERSE_TWO_PI * share * inverse(C_kk, 0.0)
        for b in range(D):
            A_kb = share * get(M, C + k * D + b)
            for a in range(D):
                A_kb = A_kb + get(M, m.t + a) * get(M, C + a * D + b)
            put(M, m.A + k * D + b, A_kb)


@inner
def power(M: Any, m: Any, k: int, l: int) -> Any:
    """NaN: this activation has no closed form of I4."""
    return fill(M, np.nan)


@inner
def self_slope(M: Any, m: Any, a: int) -> Any:
    """E[g'(a)²] = 1/2."""
    return fill(M, 0.5)
