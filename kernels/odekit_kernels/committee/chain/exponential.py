"""What erf, tanh and their like are made of, for many numbers at once.

libm's erf and exp take one number at a time: half of a step. These are polynomials without a
branch, which LLVM computes eight at a time.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit_kernels._jit import inner
from odekit_kernels.committee.activations.erf import ROOT_TWO_OVER_PI
from odekit_kernels.committee.sgd.stream import bits, from_bits

__all__ = ["exp", "near_zero", "scaled_complement"]

_LOG2_E = 1.0 / math.log(2.0)
_LN2_HIGH = 0.693147180369123816490  # ln 2 in two parts: n times the first is exact
_LN2_LOW = 1.90821492927058770002e-10
_ROUND = 6755399441055744.0  # 1.5 * 2**52: what is added to it is rounded to an integer
_S52 = np.uint64(52)
_ONE = np.uint64(0x3FF0000000000000)
_LEAST = -708.0
_MIDDLE = 3.75


def _taylor(power: int) -> float:
    """Coefficient of z^(2 power + 1) in erf(z/√2)."""
    bottom = 2.0**power * math.factorial(power) * (2 * power + 1)
    return ROOT_TWO_OVER_PI * (-1.0) ** power / bottom


_T0, _T1, _T2, _T3, _T4, _T5, _T6, _T7, _T8, _T9, _T10, _T11, _T12, _T13 = map(_taylor, range(14))


@inner
def exp(y: Any) -> Any:
    """e^y for y <= 0, to 2e-16; below −708 it stays there."""
    y = max(y, _LEAST)
    shifted = y * _LOG2_E + _ROUND
    n = shifted - _ROUND
    r = (y - n * _LN2_HIGH) - n * _LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    return p * from_bits((bits(shifted) << _S52) + _ONE)


@inner
def scaled_complement(x: Any) -> Any:
    """e^(x²) erfc(x) for x >= 0: Shepherd & Laframboise 1981, in (x − a)/(x + a)."""
    q = (x - _MIDDLE) / (x + _MIDDLE)
    p = -2.154003903935826e-09
    p = p * q - 1.7681031120188612e-09
    p = p * q + 2.948155852052038e-08
    p = p * q + 1.7830476349416345e-08
    p = p * q - 2.428532714399001e-07
    p = p * q - 4.8728069929433196e-08
    p = p * q + 1.7346312620965518e-06
    p = p * q - 9.818800739425972e-07
    p = p * q - 1.143223485763271e-05
    p = p * q + 2.2389557977500337e-05
    p = p * q + 5.164361812454634e-05
    p = p * q - 0.00029015631496486286
    p = p * q + 0.00029371529451674834
    p = p * q + 0.0017556264583603281
    p = p * q - 0.00974657985711322
    p = p * q + 0.028362277318310546
    p = p * q - 0.05869339855845654
    p = p * q + 0.09230432116960277
    p = p * q - 0.10880393014332052
    p = p * q + 0.08227673848978753
    p = p * q + 0.003585415485491475
    p = p * q - 0.140240598585546
    p = p * q + 1.237512630837828
    return p / (1.0 + 2.0 * x)


@inner
def near_zero(z: Any) -> Any:
    """erf(z/√2) for |z| < 1."""
    w = z * z
    p = _T12 + w * _T13
    p = _T8 + w * (_T9 + w * (_T10 + w * (_T11 + w * p)))
    p = _T4 + w * (_T5 + w * (_T6 + w * (_T7 + w * p)))
    return z * (_T0 + w * (_T1 + w * (_T2 + w * (_T3 + w * p))))
