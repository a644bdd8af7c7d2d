"""Exponentials, powers and the normal distribution of doubles and of eight of them, written once.

Polynomials interpolate at Chebyshev nodes; what follows them costs the same in every lane, and a
number gives the same bits alone as among any neighbours. Against 40 digits, with FMAs: `exp` 1.1
units of the last place, `power` 2e-12 of itself, `balance` 4e-16, `distribution` 3e-16 and its
lower tail 1e-15 of itself down to x = −37, below which it is 0. Without FMAs the tail loses
x² ε/2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from llvmlite import ir  # type: ignore[import-untyped]

from odekit_kernels._jit import inner
from odekit_kernels.simd import (
    WIDTH,
    _wide,
    absolute,
    choose_less,
    minor,
    native,
    with_sign,
)

__all__ = [
    "ROOT_HALF",
    "balance",
    "balance_given",
    "bell",
    "distribution",
    "distribution_given",
    "exp",
    "power",
]

LOG2_E = 1.0 / math.log(2.0)
LN2_HIGH, LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10
EXPONENTS = 1.5 * 2.0**52 + 1023.0
"""Added to a number it leaves the nearest integer, with the bias of exponents, in the last bits."""
LEAST, MOST = -708.0, 709.0
ROOT_HALF = math.sqrt(0.5)
FAR = 40.0
TINY, HUGE = 1e-300, 1e300
LN2 = math.log(2.0)
ONE_BITS = 1023 << 52
MIDDLE_BITS = 0x3FE6A09E667F3BCD
"""Of the root of a half, where the exponents of `split` change."""
WHOLE = 2.0**52
"""Its last bits hold a small whole number that is put there."""


def power_of_two(x: Any) -> Any:
    """2ⁿ of x = n + `EXPONENTS`, −1023 < n < 1024."""
    bits = np.asarray(x, dtype=np.float64).reshape(-1).view(np.uint64) << np.uint64(52)
    powers = bits.view(np.float64)
    return powers.reshape(np.shape(x)) if np.ndim(x) else float(powers[0])


def _whole(value: Any) -> tuple[Any, Any]:
    """Whole numbers in place of a double, or of eight: their type, and what makes one of them."""
    single, whole = isinstance(value.type, ir.DoubleType), ir.IntType(64)
    kind = whole if single else ir.VectorType(whole, WIDTH)
    return kind, lambda number: ir.Constant(kind, number if single else [number] * WIDTH)


@native(power_of_two, lambda x: _wide(x))
def _power_of_two(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    value = arguments[0]
    kind, constant = _whole(value)
    return builder.bitcast(builder.shl(builder.bitcast(value, kind), constant(52)), value.type)


def split(x: Any) -> Any:
    """n + 1023 + `WHOLE` of positive x = 2ⁿ m, √½ ≤ m < √2."""
    bits = np.asarray(x, dtype=np.float64).reshape(-1).view(np.uint64)
    biased = (bits + np.uint64(ONE_BITS - MIDDLE_BITS)) >> np.uint64(52)
    found = (biased | np.float64(WHOLE).view(np.uint64)).view(np.float64)
    return found.reshape(np.shape(x)) if np.ndim(x) else float(found[0])


@native(split, lambda x: _wide(x))
def _split(_context: Any, builder: Any, _kinds: Any, arguments: Any) -> Any:
    value = arguments[0]
    kind, constant = _whole(value)
    bits = builder.add(builder.bitcast(value, kind), constant(ONE_BITS - MIDDLE_BITS))
    biased = builder.lshr(bits, constant(52))
    held = builder.or_(biased, constant((1023 + 52) << 52))
    return builder.bitcast(held, value.type)


@inner
def power(x: Any, exponent: float) -> Any:
    """x to a power, of positive x and a result both within 1e±300; to 2e-12 of itself."""
    x = choose_less(x, TINY, TINY, x)
    x = choose_less(HUGE, x, HUGE, x)
    n = split(x) - (WHOLE + 1023.0)
    m = x * power_of_two(EXPONENTS - n)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    p = (1.0 / 13.0) * z + 1.0 / 11.0
    p = p * z + 1.0 / 9.0
    p = p * z + 1.0 / 7.0
    p = p * z + 1.0 / 5.0
    p = p * z + 1.0 / 3.0
    return exp(exponent * (n * LN2 + (2.0 * s + 2.0 * s * z * p)))


@inner
def exp(x: Any) -> Any:
    """eˣ, 0 below −708 and e⁷⁰⁹ above 709; NaN stays NaN."""
    z = choose_less(x, LEAST, LEAST, x)
    z = choose_less(MOST, z, MOST, z)
    n = z * LOG2_E + EXPONENTS
    whole = n - EXPONENTS
    r = (z - whole * LN2_HIGH) - whole * LN2_LOW
    p = 2.0914679376583935e-09 * r + 2.510520637395701e-08
    p = p * r + 2.7557273661348637e-07
    p = p * r + 2.7557255425746435e-06
    p = p * r + 2.4801587325533363e-05
    p = p * r + 0.00019841269874800493
    p = p * r + 0.0013888888888883752
    p = p * r + 0.008333333333326141
    p = p * r + 0.04166666666666667
    p = p * r + 0.1666666666666667
    p = p * r + 0.5
    y = (1.0 + (r + r * r * p)) * power_of_two(n)
    return choose_less(x, LEAST, 0.0, y)


@inner
def bell(x: Any) -> Any:
    """exp(−x²/2), with what rounding takes from x²."""
    size = absolute(x)
    size = choose_less(FAR, size, FAR, size)
    square = size * size
    return exp(-0.5 * square) * (1.0 + 0.5 * minor(square, 1.0, size))


@inner
def _centre(y: Any) -> Any:
    """erf(y) of |y| ≤ 1: in error by 2e-19 before rounding."""
    z = y * y
    p = 5.957176147748911e-11 * z + -1.1372848856791674e-09
    p = p * z + 1.4659775274047436e-08
    p = p * z + -1.6350312701054695e-07
    p = p * z + 1.6461000484121368e-06
    p = p * z + -1.4925595266831182e-05
    p = p * z + 0.0001205533111164271
    p = p * z + -0.000854832698083379
    p = p * z + 0.0052239776248180145
    p = p * z + -0.026866170645076792
    p = p * z + 0.11283791670954879
    p = p * z + -0.3761263890318375
    p = p * z + 1.1283791670955126
    return y * p


@inner
def _tail(y: Any) -> Any:
    """exp(y²) erfc(y) of y ≥ 1: (1 + 2y) times it is a polynomial of (y − 3)/(y + 3), to 2e-17."""
    t = (y - 3.0) / (y + 3.0)
    p = -4.520964519539401e-08 * t + 2.1159864593666886e-07
    p = p * t + -1.4247477511728202e-07
    p = p * t + -7.144620295722057e-07
    p = p * t + 4.112434498812321e-07
    p = p * t + 3.4993019532879996e-06
    p = p * t + -7.621548574406344e-07
    p = p * t + -2.010098568573293e-05
    p = p * t + 4.957208622870267e-06
    p = p * t + 0.0001250981640724874
    p = p * t + -0.0001051608456435926
    p = p * t + -0.0007798320215481393
    p = p * t + 0.0018886904367616043
    p = p * t + 0.0025293917936656156
    p = p * t + -0.023770514921552247
    p = p * t + 0.0683080273449022
    p = p * t + -0.11927366341526784
    p = p * t + 0.1296451587027457
    p = p * t + -0.04756229435345069
    p = p * t + -0.13562110612458111
    p = p * t + 1.2530080582697296
    return p / (1.0 + 2.0 * y)


@inner
def balance_given(x: Any, bell_x: Any) -> Any:
    """`balance` of what `bell` is known of."""
    y = absolute(x) * ROOT_HALF
    y = choose_less(FAR, y, FAR, y)
    outside = 1.0 - bell_x * _tail(choose_less(y, 1.0, 1.0, y))
    return with_sign(choose_less(y, 1.0, _centre(y), outside), x)


@inner
def balance(x: Any) -> Any:
    """Φ(x) − Φ(−x) = erf(x/√2): the mean sign of a normal variable of mean x and variance 1."""
    return balance_given(x, bell(x))


@inner
def distribution_given(x: Any, bell_x: Any) -> Any:
    """`distribution` of what `bell` is known of."""
    y = absolute(x) * ROOT_HALF
    y = choose_less(FAR, y, FAR, y)
    below = 0.5 * bell_x * _tail(choose_less(y, 1.0, 1.0, y))
    outside = choose_less(x, 0.0, below, 1.0 - below)
    return choose_less(y, 1.0, 0.5 + 0.5 * with_sign(_centre(y), x), outside)


@inner
def distribution(x: Any) -> Any:
    """Φ(x), the normal distribution."""
    return distribution_given(x, bell(x))
