"""Eigenvalues of one small real matrix.

LAPACK takes three to five times as long here: numba reaches only its complex routines where
eigenvalues may be complex. Reduction to Hessenberg form by elimination, then Francis' double shifts
with deflation (Golub & Van Loan, 7.5; EISPACK's elmhes and hqr).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from odekit_kernels._jit import inner, outer
from odekit_kernels.lanes.values import larger, smaller

__all__ = ["radius_beyond", "spectrum"]

EPSILON = 2.220446049250313e-16
MOST_SWEEPS = 90
"""Of one eigenvalue; ten are usual, and after thirty that fail the shift is changed."""


@inner
def eliminate(H: Any, n: int, j: int) -> None:
    """Clear column j below its subdiagonal by a similarity, with the largest entry as pivot."""
    pivot = j + 1
    for i in range(j + 2, n):
        if abs(H[i, j]) > abs(H[pivot, j]):
            pivot = i
    if H[pivot, j] == 0.0:
        return
    if pivot != j + 1:
        for l in range(j, n):
            H[pivot, l], H[j + 1, l] = H[j + 1, l], H[pivot, l]
        for i in range(n):
            H[i, pivot], H[i, j + 1] = H[i, j + 1], H[i, pivot]
    for i in range(j + 2, n):
        factor = H[i, j] / H[j + 1, j]
        H[i, j] = 0.0
        if factor != 0.0:
            for l in range(j + 1, n):
                H[i, l] -= factor * H[j + 1, l]
            for l in range(n):
                H[l, j + 1] += factor * H[l, i]


@inner
def start_of_block(H: Any, last: int, small: float) -> int:
    """First row of the trailing block that is not yet split; small subdiagonals become zero.

    Small against the whole matrix: against their neighbours, the many modes of rate zero on a
    symmetric plateau would never split.
    """
    i = last
    while i > 0:
        if abs(H[i, i - 1]) <= small:
            H[i, i - 1] = 0.0
            return i
        i -= 1
    return 0


@inner
def reflect(H: Any, k: int, size: int, first: int, last: int, p: Any) -> None:
    """Apply the Householder similarity that maps the vector p[:size] to a multiple of e_1."""
    norm = 0.0
    for i in range(size):
        norm += p[i] * p[i]
    norm = math.copysign(math.sqrt(norm), p[0])
    if norm == 0.0:
        return
    p[0] += norm
    scale = 1.0 / (norm * p[0])
    for l in range(larger(k - 1, first), last + 1):
        total = 0.0
        for i in range(size):
            total += p[i] * H[k + i, l]
        for i in range(size):
            H[k + i, l] -= scale * total * p[i]
    for l in range(first, smaller(k + size, last) + 1):
        total = 0.0
        for i in range(size):
            total += p[i] * H[l, k + i]
        for i in range(size):
            H[l, k + i] -= scale * total * p[i]


@inner
def sweep(H: Any, first: int, last: int, x: float, y: float, w: float, p: Any) -> None:
    """One double-shift QR step on the block first … last, by chasing a bulge.

    The shifts are the eigenvalues of a 2 × 2 matrix with the diagonal x, y and the product w of its
    other entries. They enter by differences alone: in a cluster of eigenvalues sums would be noise.
    """
    a, b, c = H[first, first], H[first, first + 1], H[first + 1, first]
    p[0] = ((x - a) * (y - a) - w) / c + b
    p[1] = (H[first + 1, first + 1] - a) - (x - a) - (y - a)
    p[2] = H[first + 2, first + 1]
    for k in range(first, last):
        size = smaller(3, last - k + 1)
        if k > first:
            for i in range(size):
                p[i] = H[k + i, k - 1]
        reflect(H, k, size, first, last, p)
        if k > first:
            for i in range(1, size):
                H[k + i, k - 1] = 0.0


@inner
def pair(a: float, b: float, c: float, d: float) -> Any:
    """Largest modulus and largest real part of the eigenvalues of [[a, b], [c, d]]."""
    mean, det = 0.5 * (a + d), a * d - b * c
    half = 0.5 * (a - d)
    square = half * half + b * c
    if square < 0.0:
        return math.sqrt(abs(det)), mean
    root = math.sqrt(square)
    return abs(mean) + root, mean + root


@outer
def spectrum(J: Any, H: Any, p: Any) -> Any:
    """Largest modulus of the eigenvalues, and largest real part where positive.

    Parameters
    ----------
    J : ndarray, shape (n, n)
        Left as it is.
    H : ndarray, shape (n, n)
        Scratch memory.
    p : ndarray, shape (3,)
        Scratch memory.

    Returns
    -------
    radius, growth : float
        Both NaN if J is not finite. Where sweeps do not converge, which has not been seen, both are
        the norm of J, which bounds them.
    """
    n, norm = J.shape[0], 0.0
    for i in range(n):
        for j in range(n):
            H[i, j] = J[i, j]
            norm += J[i, j] * J[i, j]
    norm = math.sqrt(norm)
    if not norm < np.inf:
        return np.nan, np.nan
    for j in range(n - 2):
        eliminate(H, n, j)
    radius, growth, last, sweeps = 0.0, 0.0, n - 1, 0
    while last >= 0:
        first = start_of_block(H, last, EPSILON * norm)
        if first == last:
            size, real = abs(H[last, last]), H[last, last]
        elif first == last - 1:
            size, real = pair(H[first, first], H[first, last], H[last, first], H[last, last])
        else:
            sweeps += 1
            if sweeps > MOST_SWEEPS:
                return norm, norm
            x, y = H[last, last], H[last - 1, last - 1]
            w = H[last, last - 1] * H[last - 1, last]
            if sweeps % 15 == 0:
                step = abs(H[last, last - 1]) + abs(H[last - 1, last - 2])
                x, y, w = x + 0.75 * step, x + 0.75 * step, -0.4375 * step * step
            sweep(H, first, last, x, y, w, p)
            continue
        radius, growth = larger(radius, size), larger(growth, real)
        last, sweeps = first - 1, 0
    return radius, growth


@inner
def radius_beyond(J: Any, enough: float, H: Any, p: Any) -> Any:
    """Spectral radius of J and True, or a bound on it, no more than `enough`, and False.

    The least of the norms of rows, of columns and of all takes a tenth of the time.
    """
    n, rows, columns, squares = J.shape[0], 0.0, 0.0, 0.0
    for i in range(n):
        row, column = 0.0, 0.0
        for j in range(n):
            row += abs(J[i, j])
            column += abs(J[j, i])
            squares += J[i, j] * J[i, j]
        rows, columns = larger(rows, row), larger(columns, column)
    bound = smaller(smaller(rows, columns), math.sqrt(squares))
    if bound <= enough:
        return bound, False
    radius, _ = spectrum(J, H, p)
    return radius, True
