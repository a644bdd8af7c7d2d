"""Gaussian moments of g(x) = p x + q |x|: ReLU, leaky ReLU, the modulus.

With p = (1 + α)/2, q = (1 − α)/2 for a slope α at x < 0, g' = p + q sgn. All moments but one have
closed forms, by E[x_a F] = Σ_b C_ab E[∂F/∂x_b] and sgn' = 2δ. What is left is E[sgn sgn sgn sgn]:
Plackett's identity (1954) makes it an integral in one dimension, of a smooth integrand, along the
path on which the correlations between the pairs (k, l) and (a, b) grow from 0 to what they are.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["fourth", "path_rule", "second"]

Array = NDArray[np.float64]

NO_WIDTH = 1e-14
"""Variance, relative to the whole one, below which a conditional field has none."""
TWO_OVER_PI = 2.0 / np.pi


@lru_cache(maxsize=16)
def path_rule(m: int) -> tuple[Array, Array, Array]:
    """Nodes t = sin φ of the path, its factor cos φ and the weights of dφ, shape (m,) each.

    φ = π/2 (1 − (1 − x)³) gathers Gauss-Legendre nodes x at the end, where pairs that nearly
    coincide make the integrand steep.
    """
    x, w = np.polynomial.legendre.leggauss(m)
    left = 0.5 * (1.0 - x)
    rest = 0.5 * np.pi * left**3
    return np.cos(rest), np.sin(rest), 0.5 * w * 1.5 * np.pi * left**2


def second(C: Array, K: int, slope: float) -> tuple[Array, Array, Array]:
    """I2, J2 and G2 = E[g''(x_k) g(x_a)], as in `hermite.second`."""
    p, q = 0.5 * (1.0 + slope), 0.5 * (1.0 - slope)
    diagonal = np.maximum(np.diagonal(C), 0.0)
    C, square = C[:K], np.outer(diagonal[:K], diagonal)
    root = np.sqrt(np.maximum(square - C * C, 0.0))
    angle = np.arctan2(C, root)
    I2 = p * p * C + q * q * TWO_OVER_PI * (root + C * angle)
    J2 = p * p + q * q * TWO_OVER_PI * angle
    inverse = np.divide(1.0, diagonal[:K], out=np.zeros(K), where=diagonal[:K] > 0)
    return I2, J2, q * q * TWO_OVER_PI * root * inverse[:, None]


def fourth(C: Array, K: int, slope: float, m: int) -> Array:
    """I4(k, l, a, b) for pairs k ≤ l row by row, shape (K (K + 1) / 2, D, D); m nodes."""
    D = len(C)
    k, l = np.triu_indices(K)
    a, b = np.triu_indices(D)
    index = np.empty((len(k), len(a), 4), dtype=np.int64)
    index[..., 0], index[..., 1] = k[:, None], l[:, None]
    index[..., 2], index[..., 3] = a, b
    S = C[index[..., :, None], index[..., None, :]]
    upper = _four(S, slope, m)
    I4 = np.empty((len(k), D, D))
    I4[:, a, b] = upper
    I4[:, b, a] = upper
    return I4


def _four(S: Array, slope: float, m: int) -> Array:
    """E[g'(k) g'(l) g(a) g(b)] of covariances (..., 4, 4) in the order k, l, a, b."""
    p2, q2 = (0.5 * (1.0 + slope)) ** 2, (0.5 * (1.0 - slope)) ** 2
    k, l, a, b = range(4)
    f = _fields(S)
    mixed = sum(_signs_and_fields(f, i, j, a, b) for i in (k, l) for j in (a, b))
    return (
        p2 * p2 * S[..., a, b]
        + p2 * q2 * _signs_and_fields(f, a, b, a, b)
        + p2 * q2 * (mixed + _signs_and_fields(f, k, l, a, b))
        + q2 * q2 * _signs_and_moduli(f, m)
    )


def _ratio(top: Any, bottom: Any) -> Array:
    """top / bottom, 0 where the bottom is."""
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0)


class Fields(NamedTuple):
    """Four fields: covariances, and the signs of those that vanished together.

    Where x_i and x_j both equal ±x_b, E[δ(x_b) sgn(x_i) sgn(x_j)] is a third of E[δ(x_b)], for
    sgn² δ is a third of the derivative of sgn³.
    """

    S: Array
    gone: Array


def _fields(S: Array) -> Fields:
    return Fields(S, np.zeros(S.shape))


def _agreement(f: Fields, i: int, j: int) -> Array:
    """E[sgn(x_i) sgn(x_j)] = (2/π) asin ρ."""
    S = f.S
    minor = S[..., i, i] * S[..., j, j] - S[..., i, j] ** 2
    angle = np.arctan2(S[..., i, j], np.sqrt(np.maximum(minor, 0.0)))
    return TWO_OVER_PI * angle + f.gone[..., i, j] / 3.0


def _given_zero(f: Fields, i: int) -> Fields:
    """Fields given x_i = 0; what is left of one that x_i determines is exactly 0."""
    S = f.S
    row = S[..., i, :]
    rest = S - _ratio(row[..., :, None] * row[..., None, :], S[..., i, i, None, None])
    before, after = (np.diagonal(x, axis1=-2, axis2=-1) for x in (S, rest))
    alive = (after > NO_WIDTH * before) & (np.arange(4) != i)
    went = np.where(~alive & (before > 0) & (np.arange(4) != i), np.sign(row), 0.0)
    rest = np.where(alive[..., :, None] & alive[..., None, :], rest, 0.0)
    return Fields(rest, f.gone + went[..., :, None] * went[..., None, :])


def _at_zero(f: Fields, i: int) -> Array:
    """Twice the density of x_i at 0, over √(2/π)."""
    return _ratio(1.0, np.sqrt(f.S[..., i, i]))


def _signs_and_fields(f: Fields, i: int, j: int, x: int, y: int) -> Array:
    """E[sgn(x_i) sgn(x_j) x y]."""

    def kick(i: int, j: int) -> Array:
        """C_xi E[2δ(x_i) sgn(x_j) y]."""
        T = _given_zero(f, i)
        return TWO_OVER_PI * f.S[..., x, i] * _at_zero(f, i) * T.S[..., j, y] * _at_zero(T, j)

    return f.S[..., x, y] * _agreement(f, i, j) + kick(i, j) + kick(j, i)


def _two_signs_and_modulus(f: Fields, b: int, i: int, j: int) -> Array:
    """E[sgn(x_i) sgn(x_j) |x_b|] / √(2/π)."""
    return (
        np.sqrt(f.S[..., b, b]) * _agreement(_given_zero(f, b), i, j)
        + f.S[..., b, i] * _at_zero(f, i) * _agreement(_given_zero(f, i), b, j)
        + f.S[..., b, j] * _at_zero(f, j) * _agreement(_given_zero(f, j), b, i)
    )


def _signs_and_moduli(f: Fields, m: int) -> Array:
    """E[sgn(x_k) sgn(x_l) |x_a| |x_b|]."""
    k, l, a, b = range(4)

    def kick(at: int, i: int, j: int) -> Array:
        """C_(a, at) E[2δ(x_at) |x_b| sgn(x_i) sgn(x_j)]."""
        T = _given_zero(f, at)
        return TWO_OVER_PI * f.S[..., a, at] * _at_zero(f, at) * _two_signs_and_modulus(T, b, i, j)

    return f.S[..., a, b] * _four_signs(f, m) + kick(a, k, l) + kick(k, a, l) + kick(l, a, k)


def _four_signs(f: Fields, m: int) -> Array:
    """E[sgn(x_k) sgn(x_l) sgn(x_a) sgn(x_b)]."""
    S = f.S
    s = np.sqrt(np.diagonal(S, axis1=-2, axis2=-1))
    r = np.clip(_ratio(S, s[..., :, None] * s[..., None, :]), -1.0, 1.0)
    t, cos, weight = path_rule(m)
    total = _agreement(f, 0, 1) * _agreement(f, 2, 3)
    for i, j in ((0, 1), (1, 0)):
        for a, b in ((2, 3), (3, 2)):
            total = total + _along_path(r, i, j, a, b, t, cos) @ weight
    return total


def _along_path(r: Array, i: int, j: int, a: int, b: int, t: Array, cos: Array) -> Array:
    """ρ_ia ∂/∂ρ_ia of the four signs along the path, times dt/dφ, shape (..., m).

    Determinants along the path are sums of two at its ends, of one sign: nothing cancels.
    """

    def entry(x: int, y: int) -> Array:
        return r[..., x, y, None]

    def pair(x: int, y: int) -> Array:
        return _wide((1.0 - entry(x, y)) * (1.0 + entry(x, y)))

    def triple(x: int, y: int, z: int) -> Array:
        xy, xz, yz = entry(x, y), entry(x, z), entry(y, z)
        return _wide(1.0 - xy * xy - xz * xz - yz * yz + 2.0 * xy * xz * yz)

    ia, ja, ib, jb, ij, ab = (
        entry(x, y) for x, y in ((i, a), (j, a), (i, b), (j, b), (i, j), (a, b))
    )
    q = cos * cos + t * t * pair(i, a)
    j_left = cos * cos * pair(i, j) + t * t * triple(i, j, a)
    b_left = cos * cos * pair(a, b) + t * t * triple(i, a, b)
    begin = jb - ij * ib - ja * ab + ia * ij * ab
    most = np.sqrt(triple(i, j, a) * triple(i, a, b))
    end = np.clip(begin + ia * (ja * ib - jb * ia), -most, most)
    top = t * (cos * cos * begin + t * t * end)
    angle = np.arcsin(np.clip(_ratio(top, np.sqrt(j_left * b_left)), -1.0, 1.0))
    return TWO_OVER_PI**2 * ia * cos * _ratio(angle, np.sqrt(q))


def _wide(determinant: Array) -> Array:
    """A determinant of correlations, 0 where it is rounding."""
    return np.where(determinant > NO_WIDTH, determinant, 0.0)
