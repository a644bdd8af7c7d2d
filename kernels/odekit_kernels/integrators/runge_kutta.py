"""What explicit steps of one trajectory are made of: the method, its stages, and verdicts."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner

__all__ = ["GREATEST", "LEAST", "SAFETY", "Pair", "judged", "reach"]

Array = NDArray[np.float64]

LEAST, GREATEST, SAFETY = 0.2, 10.0, 0.9
"""By which a step may shrink and grow at once, and how much shorter it is than its error allows:
scipy's."""


class Pair(NamedTuple):
    """An explicit Runge–Kutta pair with scipy's coefficients.

    Attributes
    ----------
    A : ndarray, shape (s, s)
    B, C : ndarray, shape (s,)
    E, E3 : ndarray, shape (s + 1,)
        Weights of the error estimate, and of the second one of DOP853 (else 0).
    exponent : float
        −1/(order of the error estimate + 1).
    """

    A: Array
    B: Array
    C: Array
    E: Array
    E3: Array
    exponent: float


@inner
def reach(y: Any, h: float, weights: Any, K: Any, count: int, out: Any) -> None:
    """y + h Σ_j weights_j K_j over the first stages."""
    for i in range(y.shape[0]):
        slope = 0.0
        for j in range(count):
            slope += weights[j] * K[j, i]
        out[i] = y[i] + h * slope


@inner
def judged(y: Any, new: Any, h: float, k: Any, pair: Any, rtol: float, atol: Any) -> float:
    """Norm of the estimated error in units of the tolerances (atol of shape (n,)), as scipy's."""
    n, five, three = y.shape[0], 0.0, 0.0
    for l in range(n):
        scale = atol[l] + rtol * max(abs(y[l]), abs(new[l]))
        a, b = 0.0, 0.0
        for j in range(pair.E.shape[0]):
            a += pair.E[j] * k[j, l]
            b += pair.E3[j] * k[j, l]
        five += (a / scale) ** 2
        three += (b / scale) ** 2
    if five == 0.0:
        return 0.0
    return abs(h) * five / math.sqrt((five + 0.01 * three) * n)
