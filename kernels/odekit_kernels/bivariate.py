"""The normal distribution of two variables, of doubles and of eight of them.

Φ₂(h, k; r) = Φ(h) Φ(k) + arc(h, k; r)/2π with arc = ∫ exp(−(h² + k² − 2hk sin θ)/2cos²θ) dθ from 0
to asin r. Up to |r| = 0.9 the arc is Gauss and Legendre's sum over t = tan θ/2, which needs neither
a sine nor, so far from t = 1, many nodes. Beyond, it is taken from the other end, r = 1, where two
terms of the integrand's expansion are integrated exactly (Drezner & Wesolowsky 1990; Genz 2004).
Within |h|, |k| ≤ 9 and for every r the arc is right to 5e-15.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit_kernels._jit import inner, outer
from odekit_kernels.normal import distribution, exp
from odekit_kernels.simd import absolute, any_above, choose_less, root, with_sign

__all__ = ["arc", "orthant", "orthant_given"]

TWO_PI, ROOT_TWO_PI = 2.0 * math.pi, math.sqrt(2.0 * math.pi)
FAR = 26.0
"""Bounds beyond it are as good as infinite: Φ(−26) is 2e-149."""
LEAST_COSINE2 = 1e-200
NEAR, MIDDLE = 0.6, 0.9


def _half_rule(m: int) -> Any:
    """Nodes and weights on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(m)
    return 0.5 * (x + 1.0), 0.5 * w


# So many nodes give 1e-15 up to |r| = NEAR, 2e-15 up to MIDDLE, and 3e-15 from there to 1.
NEAR_X, NEAR_W = _half_rule(10)
MIDDLE_X, MIDDLE_W = _half_rule(16)
CLOSE_X, CLOSE_W = _half_rule(20)


@inner
def _node(h2: Any, hk: Any, t: Any) -> Any:
    """The integrand at tan θ/2 = t, over 2; h2 = h² + k²."""
    t2 = t * t
    up, down = 1.0 + t2, (1.0 - t2) * (1.0 - t2)
    inverse = 1.0 / (up * down)
    return exp(-0.5 * (h2 * up - 4.0 * hk * t) * up * up * inverse) * (down * inverse)


@outer
def _near(h2: Any, hk: Any, end: Any) -> Any:
    whole = 0.0 * end
    for i in range(NEAR_X.shape[0]):
        whole = whole + NEAR_W[i] * _node(h2, hk, end * NEAR_X[i])
    return 2.0 * end * whole


@outer
def _middle(h2: Any, hk: Any, end: Any) -> Any:
    whole = 0.0 * end
    for i in range(MIDDLE_X.shape[0]):
        whole = whole + MIDDLE_W[i] * _node(h2, hk, end * MIDDLE_X[i])
    return 2.0 * end * whole


@outer
def _close(h: Any, k: Any, cosine2: Any) -> Any:
    """The arc from r = 1: 2π Φ(−max) Φ(min) less what is between asin r and π/2."""
    cosine2 = choose_less(cosine2, LEAST_COSINE2, LEAST_COSINE2, cosine2)
    a, b2, hk = root(cosine2), (h - k) * (h - k), h * k
    b = absolute(h - k)
    c, d = 0.125 * (4.0 - hk), 0.0625 * (12.0 - hk)
    head = 1.0 - c * (b2 - cosine2) * (1.0 - 0.2 * d * b2) * (1.0 / 3.0)
    rest = a * exp(-0.5 * (b2 / cosine2 + hk)) * (head + 0.2 * c * d * cosine2 * cosine2)
    flat = 1.0 - c * b2 * (1.0 - 0.2 * d * b2) * (1.0 / 3.0)
    rest = rest - exp(-0.5 * hk) * ROOT_TWO_PI * distribution(-b / a) * b * flat
    for i in range(CLOSE_X.shape[0]):
        x = a * CLOSE_X[i]
        x2 = x * x
        cosine = root(1.0 - x2)
        up = 1.0 + cosine
        whole = exp(-0.5 * hk * x2 / (up * up)) / cosine
        left = whole - (1.0 + c * x2 * (1.0 + d * x2))
        rest = rest + a * CLOSE_W[i] * exp(-0.5 * (b2 / x2 + hk)) * left
    most, least = choose_less(h, k, k, h), choose_less(h, k, h, k)
    return TWO_PI * distribution(-most) * distribution(least) - rest


@inner
def _within(h: Any) -> Any:
    """h between ±`FAR`."""
    size = absolute(h)
    return with_sign(choose_less(FAR, size, FAR, size), h)


@outer
def arc(h: Any, k: Any, r: Any, cosine2: Any) -> Any:
    """2π [Φ₂(h, k; r) − Φ(h) Φ(k)], asin r where h = k = 0.

    Parameters
    ----------
    h, k : float or Vec8
        Upper bounds of two normal variables of variance 1.
    r : float or Vec8
        Their correlation.
    cosine2 : float or Vec8
        1 − r², which may be known to more digits than r gives near ±1.
    """
    h, k = _within(h), _within(k) * with_sign(1.0, r)
    size = absolute(r)
    size = choose_less(1.0, size, 1.0, size)
    cosine2 = choose_less(cosine2, 0.0, 0.0, choose_less(1.0, cosine2, 1.0, cosine2))
    h2, hk = h * h + k * k, h * k
    end = size / (1.0 + root(cosine2))
    found = _near(h2, hk, end)
    # Lanes keep what their own correlation asks for, whatever their neighbours' is.
    if any_above(size, NEAR):
        found = choose_less(NEAR, size, _middle(h2, hk, end), found)
    if any_above(size, MIDDLE):
        found = choose_less(MIDDLE, size, _close(h, k, cosine2), found)
    return with_sign(1.0, r) * found


@inner
def orthant_given(h: Any, k: Any, r: Any, cosine2: Any) -> Any:
    """Φ₂(h, k; r), of 1 − r² too."""
    return distribution(h) * distribution(k) + arc(h, k, r, cosine2) * (1.0 / TWO_PI)


@inner
def orthant(h: Any, k: Any, r: Any) -> Any:
    """Φ₂(h, k; r): the chance that two normal variables lie below h and k."""
    return orthant_given(h, k, r, (1.0 - r) * (1.0 + r))
