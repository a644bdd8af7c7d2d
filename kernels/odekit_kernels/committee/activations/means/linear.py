"""g(x) = x of the student's units; fixed vectors may have the g of `means.erf` instead."""

# ruff: noqa: ARG001 - every activation has the same functions

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee.activations.means import Tilt, erf


@inner
def alone(M_a: Any, C_aa: Any, s_a: float) -> Any:
    """e = M, p = 1, d = 0."""
    if s_a >= 0.0:
        return erf.alone(M_a, C_aa, s_a)
    zero = 0.0 * M_a
    return M_a, 1.0 + zero, zero


@inner
def pair(M_k: Any, M_a: Any, C_kk: Any, C_aa: Any, C_ka: Any, s_k: float, s_a: float) -> Any:
    """F = e_a, J2 = p_a, D = 0."""
    e, p, _ = alone(M_a, C_aa, s_a)
    return e, p, 0.0 * e


@inner
def mixed(M_k: Any, M_a: Any, C_aa: Any, C_ka: Any, s_a: float) -> Any:
    """E[φ_k g_a] = C_ka p_a + M_k e_a."""
    e, p, _ = alone(M_a, C_aa, s_a)
    return C_ka * p + M_k * e


@inner
def product(M_a: Any, M_b: Any, C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float) -> Any:
    """I2 = C_ab + M_a M_b, or `mixed`, or that of erf."""
    if s_a < 0.0:
        return mixed(M_a, M_b, C_bb, C_ab, s_b)
    if s_b < 0.0:
        return mixed(M_b, M_a, C_aa, C_ab, s_a)
    return erf.product(M_a, M_b, C_aa, C_bb, C_ab, s_a, s_b)


@inner
def centred(C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float) -> Any:
    """I2 without means: C_ab, times p of a field that is not linear, or that of erf."""
    if s_a >= 0.0 and s_b >= 0.0:
        return erf.centred(C_aa, C_bb, C_ab, s_a, s_b)
    _, p_a, _ = alone(0.0 * C_aa, C_aa, s_a)
    _, p_b, _ = alone(0.0 * C_aa, C_bb, s_b)
    return C_ab * p_a * p_b


@inner
def tilt(M_k: Any, M_l: Any, C_kk: Any, C_ll: Any, C_kl: Any, s: float, same: bool) -> Any:
    """J2 = 1: no weight, no tilt."""
    zero = 0.0 * M_k
    return Tilt(1.0 + zero, zero, zero, zero, zero, zero)
