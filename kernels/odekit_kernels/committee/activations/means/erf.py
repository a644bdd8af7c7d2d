"""g_a(x) = erf(x/√(2 s_a)): s = 1 is the library's, s = 0 the sign, of fixed vectors alone.

The weight g'_k is a Gaussian one: it moves the law of all fields, and F(k, a) = p_k e_a of that.
"""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.arcsine import asin_given
from odekit_kernels.bivariate import arc
from odekit_kernels.committee.activations.erf import LEAST, ROOT_TWO_OVER_PI, TWO_OVER_PI
from odekit_kernels.committee.activations.means import Tilt
from odekit_kernels.normal import balance, balance_given, bell
from odekit_kernels.simd import choose_less, minor, root

TINY = 1e-140
"""Least variance of a field whose sign is asked for."""


@inner
def at_least(x: Any, smallest: float) -> Any:
    """x, where a trial stage leaves what x can be for a covariance `smallest`."""
    return choose_less(x, smallest, smallest, x)


@inner
def floor(s: float) -> float:
    """Of what is at least s."""
    return LEAST * s + TINY


@inner
def determinant(C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float) -> Any:
    """Λ = q_a q_b − C_ab² with q = s + C: without a difference of what is nearly equal."""
    rest = s_a * (s_b + C_bb) + (s_b * C_aa + minor(C_aa, C_bb, C_ab))
    return at_least(rest, floor(s_a * s_b))


@inner
def alone(M_a: Any, C_aa: Any, s_a: float) -> Any:
    """e = erf(h/√2), p = √(2/πq) exp(−h²/2) and d = −M p/q, with q = s + C_aa, h = M/√q."""
    i_q = 1.0 / at_least(s_a + C_aa, floor(s_a))
    i_root = root(i_q)
    h = M_a * i_root
    weight = bell(h)
    p = ROOT_TWO_OVER_PI * i_root * weight
    return balance_given(h, weight), p, -M_a * p * i_q


@inner
def pair(M_k: Any, M_a: Any, C_kk: Any, C_aa: Any, C_ka: Any, s_k: float, s_a: float) -> Any:
    """F = p_k ẽ_a, J2 = p_k p̃_a under the weight g'_k, and D = −(M_k F + C_ka J2)/q_k."""
    i_q = 1.0 / at_least(s_k + C_kk, floor(s_k))
    left = determinant(C_kk, C_aa, C_ka, s_k, s_a)
    root_q = root(i_q)
    i_left = 1.0 / root(left)
    ratio = M_k * i_q
    # The moved mean over the root of the moved variance Λ/q_k.
    h = (M_a - C_ka * ratio) * (i_left / root_q)
    weight_k, weight_a = bell(M_k * root_q), bell(h)
    F = ROOT_TWO_OVER_PI * root_q * weight_k * balance_given(h, weight_a)
    J2 = TWO_OVER_PI * i_left * weight_k * weight_a
    return F, J2, -(ratio * F + C_ka * i_q * J2)


@inner
def product(M_a: Any, M_b: Any, C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float) -> Any:
    """I2 = e_a e_b + (2/π) arc, the arc being asin r without means."""
    i_a = 1.0 / at_least(s_a + C_aa, floor(s_a))
    i_b = 1.0 / at_least(s_b + C_bb, floor(s_b))
    root_a, root_b = root(i_a), root(i_b)
    h_a, h_b = M_a * root_a, M_b * root_b
    left = determinant(C_aa, C_bb, C_ab, s_a, s_b) * (i_a * i_b)
    whole = arc(h_a, h_b, C_ab * root_a * root_b, left)
    return balance(h_a) * balance(h_b) + TWO_OVER_PI * whole


@inner
def centred(C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float) -> Any:
    """I2 without means, (2/π) asin r: `product` knows of no shorter way."""
    i_a = 1.0 / at_least(s_a + C_aa, floor(s_a))
    i_b = 1.0 / at_least(s_b + C_bb, floor(s_b))
    left = determinant(C_aa, C_bb, C_ab, s_a, s_b) * (i_a * i_b)
    return TWO_OVER_PI * asin_given(C_ab * root(i_a) * root(i_b), left)


@inner
def tilt(M_k: Any, M_l: Any, C_kk: Any, C_ll: Any, C_kl: Any, s: float, same: bool) -> Any:
    """J2(k, l), u = (s + C)⁻¹ M and B = (s + C)⁻¹ of the two fields; for one field, of s/2."""
    i_left = 1.0 / determinant(C_kk, C_ll, C_kl, s, s)
    if same:
        kk = 2.0 * s * i_left
        u = kk * M_k
        J2 = TWO_OVER_PI * root(i_left) * bell(M_k * root(kk))
        return Tilt(J2, u, 0.0 * u, kk, 0.0 * kk, 0.0 * kk)
    kk, ll, kl = (s + C_ll) * i_left, (s + C_kk) * i_left, -C_kl * i_left
    u_k, u_l = kk * M_k + kl * M_l, kl * M_k + ll * M_l
    power = M_k * u_k + M_l * u_l
    power = choose_less(power, 0.0, 0.0, power)
    return Tilt(TWO_OVER_PI * root(i_left) * bell(root(power)), u_k, u_l, kk, ll, kl)
