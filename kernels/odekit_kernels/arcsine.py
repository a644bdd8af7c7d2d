"""The inverse sine of doubles and of eight of them, by one polynomial."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.simd import absolute, choose_less, root, with_sign

__all__ = ["SERIES", "asin", "asin_given", "asin_of_one", "asin_within_half"]

SERIES = (
    0.028169218060881414, -0.010749050339697811, 0.016035514349148825, 0.007802949477353317,
    0.011875494382636924, 0.013929652902326633, 0.017355259955786323, 0.02237204763174451,
    0.03038194736709848, 0.044642857103423646, 0.07500000000020764, 0.1666666666666665,
)  # fmt: skip
"""Chebyshev interpolation of (asin √z − √z)/z^(3/2) up to z = 1/4, from the highest power on."""


@inner
def _series(s: Any, z: Any, c: Any) -> Any:
    """asin s from z = s² ≤ 1/4 and c = SERIES, in error by 3e-17 after the factor z^(3/2)."""
    # By twos and fours (Estrin): nested, each product would wait for the last.
    z2 = z * z
    z4 = z2 * z2
    p = (c[0] * z + c[1]) * z2 + (c[2] * z + c[3])
    q = (c[4] * z + c[5]) * z2 + (c[6] * z + c[7])
    r = (c[8] * z + c[9]) * z2 + (c[10] * z + c[11])
    p = (p * z4 + q) * z4 + r
    return s + s * z * p


@inner
def _asin(x: Any, size: Any, rest: Any) -> Any:
    """asin x from size = |x| and rest = (1 − |x|)/2.

    For |x| > 1/2, asin |x| = π/2 − 2 asin √rest, so that one polynomial serves.
    """
    rest = choose_less(rest, 0.0, 0.0, rest)
    z = choose_less(0.5, size, rest, size * size)
    s = choose_less(0.5, size, root(rest), size)
    w = _series(s, z, SERIES)
    return with_sign(choose_less(0.5, size, 1.5707963267948966 - 2.0 * w, w), x)


@inner
def asin(x: Any) -> Any:
    """Inverse sine of a double or a Vec8, to 3e-16; beyond ±1 it stays at ±π/2, NaN stays NaN."""
    size = absolute(x)
    return _asin(x, size, 0.5 - 0.5 * size)


@inner
def asin_within_half(x: Any) -> Any:
    """`asin` of |x| ≤ 1/2, to the same bits, without its root."""
    return _series(x, x * x, SERIES)


@inner
def asin_given(x: Any, cosine2: Any) -> Any:
    """asin x where cosine2 = 1 − x² is known to more digits than x gives near ±1."""
    size = absolute(x)
    return _asin(x, size, 0.5 * cosine2 / (1.0 + size))


@inner
def asin_of_one(x: Any, c: Any) -> Any:
    """`asin` of one double, to the same bits, with c = SERIES: one polynomial and few branches."""
    beyond = absolute(x) > 0.5
    s, z = x, x * x
    if beyond:
        z = 0.5 - 0.5 * absolute(x)
        z = choose_less(z, 0.0, 0.0, z)
        s = with_sign(root(z), x)
    w = _series(s, z, c)
    return with_sign(1.5707963267948966, x) - 2.0 * w if beyond else w
