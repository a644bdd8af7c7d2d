"""tanh, GELU and softplus with their slopes, of many fields at once.

As in `odekit_kernels.committee.chain.values`: without a branch, so that LLVM computes eight at a
time, where libm takes one. NaN stays NaN.
"""

from __future__ import annotations

import math
from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.committee.activations.erf import ROOT_TWO_OVER_PI
from odekit_kernels.normal import distribution_given, exp

__all__ = ["fill_gelu", "fill_softplus", "fill_tanh"]

_SMALL = 0.625
"""Below it 1 − e^(−2z) loses digits, and tanh is z + z³ P(z²)/S(z²) (Moshier's Cephes)."""


@inner
def tanh_and_slope(z: Any) -> Any:
    """tanh(z) and 1/cosh²(z), to three units of the last place."""
    size, w = abs(z), z * z
    e = exp(-2.0 * size)
    far = math.copysign((1.0 - e) / (1.0 + e), z)
    p = (-9.64399179425052238628e-1 * w - 9.92877231001918586564e1) * w - 1.61468768441708447952e3
    s = ((w + 1.12811678491632931402e2) * w + 2.23548839060100448583e3) * w
    near = z + z * w * (p / (s + 4.84406305325125486048e3))
    return (far if size > _SMALL else near), 4.0 * e / ((1.0 + e) * (1.0 + e))


@inner
def gelu_and_slope(z: Any) -> Any:
    """z Φ(z) and its derivative."""
    gauss = exp(-0.5 * z * z)
    normal = distribution_given(z, gauss)
    return z * normal, normal + 0.5 * ROOT_TWO_OVER_PI * z * gauss


@inner
def softplus_and_slope(z: Any) -> Any:
    """ln(1 + e^z) and its derivative; the logarithm is 2 artanh(e/(2 + e)), e = e^(−|z|)."""
    size = abs(z)
    e = exp(-size)
    t = e / (2.0 + e)
    w = t * t
    p = 1.0 / 31.0
    p = p * w + 1.0 / 29.0
    p = p * w + 1.0 / 27.0
    p = p * w + 1.0 / 25.0
    p = p * w + 1.0 / 23.0
    p = p * w + 1.0 / 21.0
    p = p * w + 1.0 / 19.0
    p = p * w + 1.0 / 17.0
    p = p * w + 1.0 / 15.0
    p = p * w + 1.0 / 13.0
    p = p * w + 1.0 / 11.0
    p = p * w + 1.0 / 9.0
    p = p * w + 1.0 / 7.0
    p = p * w + 1.0 / 5.0
    p = p * w + 1.0 / 3.0
    p = p * w + 1.0
    return 0.5 * (z + size) + 2.0 * t * p, (e if z < 0.0 else 1.0) / (1.0 + e)


@inner
def fill_tanh(z: Any, out: Any, out_slope: Any) -> None:
    """tanh of flat arrays."""
    for i in range(z.shape[0]):
        out[i], out_slope[i] = tanh_and_slope(z[i])


@inner
def fill_gelu(z: Any, out: Any, out_slope: Any) -> None:
    """GELU of flat arrays."""
    for i in range(z.shape[0]):
        out[i], out_slope[i] = gelu_and_slope(z[i])


@inner
def fill_softplus(z: Any, out: Any, out_slope: Any) -> None:
    """Softplus of flat arrays."""
    for i in range(z.shape[0]):
        out[i], out_slope[i] = softplus_and_slope(z[i])
