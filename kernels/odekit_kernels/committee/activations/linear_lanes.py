"""Moments of g(x) = x in lanes: I2 = C_ab, I3 = C_bc, I4 = C_cd, J2 = 1."""

# ruff: noqa: ARG001 - every activation has the same functions

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.lanes.values import fill, get, put

__all__ = ["drive", "norms", "power", "second", "self_slope"]


@inner
def norms(M: Any, m: Any) -> None:
    """Nothing: `second` needs none."""


@inner
def second(M: Any, m: Any, a: int, b: int) -> Any:
    """I2(a, b) = C_ab."""
    return get(M, m.C + a * m.D + b)


@inner
def drive(M: Any, m: Any) -> None:
    """Fill A_kb = Σ_a cbar_ka C_ab."""
    D = m.D
    for k in range(m.K):
        for b in range(D):
            A_kb = fill(M, 0.0)
            for a in range(D):
                A_kb = A_kb + get(M, m.cbar + k * D + a) * get(M, m.C + a * D + b)
            put(M, m.A + k * D + b, A_kb)


@inner
def power(M: Any, m: Any, k: int, l: int) -> Any:
    """Σ_s p_s v_k v_l (Σ_ab c_a c_b C_ab + σ_s²)."""
    D = m.D
    whole = fill(M, 0.0)
    for s in range(m.S):
        c = m.coef + s * D
        sigma = get(M, m.sigma + s)
        power_s = sigma * sigma
        for a in range(D):
            row = fill(M, 0.0)
            for b in range(D):
                row = row + get(M, m.C + a * D + b) * get(M, c + b)
            power_s = power_s + get(M, c + a) * row
        whole = whole + get(M, m.prob + s) * get(M, c + k) * get(M, c + l) * power_s
    return whole


@inner
def self_slope(M: Any, m: Any, a: int) -> Any:
    """E[g'(a)²] = 1."""
    return fill(M, 1.0)
