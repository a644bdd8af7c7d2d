"""g(x) = max(x, 0), and no closed I4.

With n_k the density of φ_k at 0, D(k, a) = n_k E[g_a | φ_k = 0] and J2 = Φ₂; the rest follows by
parts. What is left of one field given another comes from the minor C_kk C_aa − C_ka², as without
means: √(1 − r²) of a correlation near ±1 would be rounding.
"""

# ruff: noqa: ARG001 - every activation has the same functions

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit_kernels._jit import inner
from odekit_kernels.arcsine import asin_given
from odekit_kernels.bivariate import orthant_given
from odekit_kernels.committee.activations.means import Tilt
from odekit_kernels.normal import bell, distribution, distribution_given
from odekit_kernels.simd import absolute, choose_less, minor, root, with_sign

DENSITY = 1.0 / math.sqrt(2.0 * math.pi)
TINY = 1e-280
"""Least variance of a field: one of less is where its mean is."""


@inner
def length(C_aa: Any) -> Any:
    """√C_aa, at least √`TINY`."""
    return root(choose_less(C_aa, TINY, TINY, C_aa))


@inner
def density(C_aa: Any, s_a: Any, weight: Any) -> Any:
    """Of a field at 0; a field without variance has none."""
    return choose_less(TINY, C_aa, DENSITY * weight / s_a, 0.0)


@inner
def alone(M_a: Any, C_aa: Any, s_a: float) -> Any:
    """e = M Φ(h) + √C φ(h), p = Φ(h) and d = φ(h)/√C, with h = M/√C."""
    size = length(C_aa)
    h = M_a / size
    weight = bell(h)
    p = distribution_given(h, weight)
    return M_a * p + size * DENSITY * weight, p, density(C_aa, size, weight)


@inner
def given(h_k: Any, h_a: Any, r: Any, cosine2: Any) -> Any:
    """(h_k − r h_a)/c and (h_a − r h_k)/c with c = √(1 − r²), and c.

    Where c is small their sum or difference is small too. It is kept so, for then what they lose
    to rounding cancels in F: to this end both are made from one difference.
    """
    cosine2 = choose_less(cosine2, TINY, TINY, cosine2)
    c, sign = root(cosine2), with_sign(1.0, r)
    rest = cosine2 / (1.0 + absolute(r))
    apart = h_k - sign * h_a
    i_c = 1.0 / c
    return (apart + rest * (sign * h_a)) * i_c, sign * (rest * h_k - apart) * i_c, c


@inner
def all_of_two(M_k: Any, M_a: Any, C_kk: Any, C_aa: Any, C_ka: Any) -> Any:
    """F(k, a), J2 and D(k, a)."""
    q = minor(C_kk, C_aa, C_ka)
    q = choose_less(q, 0.0, 0.0, q)
    s_k, s_a = length(C_kk), length(C_aa)
    h_k, h_a = M_k / s_k, M_a / s_a
    along = C_ka / s_k
    r, cosine2 = along / s_a, q / (C_kk * C_aa + TINY)
    w_k, w_a = bell(h_k), bell(h_a)
    x_k, x_a, c = given(h_k, h_a, r, cosine2)
    w_x = bell(x_a)
    above_k, above_a = distribution(x_k), distribution_given(x_a, w_x)
    J2 = orthant_given(h_k, h_a, r, cosine2)
    F = M_a * J2 + DENSITY * (s_a * w_a * above_k + along * w_k * above_a)
    e_a = s_a * c * (x_a * above_a + DENSITY * w_x)
    return F, J2, density(C_kk, s_k, w_k) * e_a


@inner
def pair(M_k: Any, M_a: Any, C_kk: Any, C_aa: Any, C_ka: Any, s_k: float, s_a: float) -> Any:
    """F = M_a J2 + C_aa n_a P(φ_k > 0 | φ_a = 0) + C_ka n_k P(φ_a > 0 | φ_k = 0), J2 and D."""
    return all_of_two(M_k, M_a, C_kk, C_aa, C_ka)


@inner
def product(M_a: Any, M_b: Any, C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float) -> Any:
    """I2 = M_a F(a, b) + C_aa D(a, b) + C_ab J2."""
    F, J2, D = all_of_two(M_a, M_b, C_aa, C_bb, C_ab)
    return M_a * F + C_aa * D + C_ab * J2


@inner
def centred(C_aa: Any, C_bb: Any, C_ab: Any, s_a: float, s_b: float) -> Any:
    """I2 without means, (√q + C_ab (π/2 + asin r))/2π with q = C_aa C_bb − C_ab²."""
    q = minor(C_aa, C_bb, C_ab)
    q = choose_less(q, 0.0, 0.0, q)
    r = C_ab / (length(C_aa) * length(C_bb))
    angle = 0.5 * math.pi + asin_given(r, q / (C_aa * C_bb + TINY))
    return (root(q) + C_ab * angle) * (0.5 / math.pi)


@inner
def tilt(M_k: Any, M_l: Any, C_kk: Any, C_ll: Any, C_kl: Any, s: float, same: bool) -> Any:
    """NaN."""
    nan = np.nan * M_k
    return Tilt(nan, nan, nan, nan, nan, nan)
