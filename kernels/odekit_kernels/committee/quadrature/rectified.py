"""E[g'_k g'_l g_a] and I4 of max(x, 0), of fields with means.

Both slopes are 1 where φ_k, φ_l > 0 and 0 elsewhere: a quadrature over that quadrant, in which all
is smooth, of the closed moments of two fields given φ_k and φ_l. Where a third field all but
coincides with the two, what is left of it is a kink again, across a strip as wide as itself.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.activations.means import relu
from odekit_kernels.committee.quadrature.hermite import regress

__all__ = ["triples"]

Array = NDArray[np.float64]

REACH = 8.5
"""Standard deviations on either side of a mean that are not left out."""
DENSITY = 1.0 / math.sqrt(2.0 * math.pi)


@lru_cache(maxsize=16)
def _half_rule(m: int) -> tuple[Array, Array]:
    """Gauss and Legendre's on [0, 1]."""
    x, w = np.polynomial.legendre.leggauss(m)
    return 0.5 * (x + 1.0), 0.5 * w


@inner
def interval(M: float, s: float) -> Any:
    """Bounds of z in which M + s z > 0; the first is the second where there is none."""
    least = -REACH
    if s > 0.0:
        least = max(-REACH, -M / s)
    elif M <= 0.0:
        least = REACH
    return min(least, REACH), REACH


@kernel(_nrt=False)
def add(M: Any, rest: Any, weight: float, I3: Any, I4: Any) -> None:
    """Add the moments of fields of these conditional means and covariances."""
    for a in range(M.shape[0]):
        e, _, _ = relu.alone(M[a], rest[a, a], 1.0)
        I3[a] += weight * e
        for b in range(a, M.shape[0]):
            I2 = relu.product(M[a], M[b], rest[a, a], rest[b, b], rest[a, b], 1.0, 1.0)
            I4[a, b] += weight * I2


@kernel(_nrt=False)
def quadrant(
    M: Any, loads: Any, rest: Any, k: int, l: int, x: Any, w: Any, given: Any, I3: Any, I4: Any
) -> None:
    """Sum over nodes of the quadrant; loads has two columns, the second 0 for k = l."""
    D, n, two = M.shape[0], x.shape[0], k != l
    low, high = interval(M[k], loads[k, 0])
    for i in range(n):
        z = low + (high - low) * x[i]
        weight = w[i] * (high - low) * DENSITY * math.exp(-0.5 * z * z)
        for a in range(D):
            given[a] = M[a] + loads[a, 0] * z
        if not two:
            add(given, rest, weight, I3, I4)
            continue
        start, end = interval(given[l], loads[l, 1])
        for j in range(n):
            y = start + (end - start) * x[j]
            for a in range(D):
                given[D + a] = given[a] + loads[a, 1] * y
            part = w[j] * (end - start) * DENSITY * math.exp(-0.5 * y * y)
            add(given[D:], rest, weight * part, I3, I4)


def triples(M: Array, C: Array, K: int, m: int) -> tuple[Array, Array]:
    """E[g'_k g'_l g_a] and I4(k, l, a, b) of the pairs k ≤ l row by row.

    Parameters
    ----------
    M, C : ndarray, shape (D,) and (D, D)
        Means and covariance.
    K : int
        The students.
    m : int
        Nodes a direction.

    Returns
    -------
    I3 : ndarray, shape (K (K + 1) / 2, D)
    I4 : ndarray, shape (K (K + 1) / 2, D, D)
    """
    D = len(M)
    x, w = _half_rule(m)
    upper = np.transpose(np.triu_indices(K))
    I3, I4 = np.zeros((len(upper), D)), np.zeros((len(upper), D, D))
    for i, (k, l) in enumerate(upper):
        loads, rest = regress(C, k, l)
        both = np.zeros((D, 2))
        both[:, : loads.shape[1]] = loads
        given = np.empty(2 * D if k != l else D)
        quadrant(M, both, rest, k, l, x, w, given, I3[i], I4[i])
        I4[i] = np.triu(I4[i]) + np.triu(I4[i], 1).T
    return I3, I4
