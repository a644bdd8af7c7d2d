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

from odekit_kernels.committee.activations.relu import kinked_second

__all__ = ["fourth", "path_rule", "second"]

Array = NDArray[np.float64]

NO_WIDTH = 4e-15
"""Variance, relative to the whole one, below which a conditional field has none."""
CLOSE = 1e-11
"""The same, below which three fields or more count as parallel."""
TWO_OVER_PI = 2.0 / np.pi


class Fields(NamedTuple):
    """Four fields: covariances, and the signs of those that vanished together.

    Where x_i and x_j both equal ±x_b, E[δ(x_b) sgn(x_i) sgn(x_j)] is a third of E[δ(x_b)], for
    sgn² δ is a third of the derivative of sgn³.
    """

    S: Array
    gone: Array


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
    I2, J2, G2 = (np.empty((K, len(C))) for _ in range(3))
    C = C + np.diag(np.maximum(-np.diagonal(C), 0.0))
    kinked_second(C, p * p, TWO_OVER_PI * q * q, I2, J2, G2)
    return I2, J2, G2


def fourth(C: Array, K: int, slope: float, m: int) -> Array:
    """I4(k, l, a, b) for pairs k ≤ l row by row, shape (K (K + 1) / 2, D, D); m nodes."""
    D = len(C)
    k, l = np.triu_indices(K)
    a, b = np.triu_indices(D)
    index = np.empty((len(k), len(a), 4), dtype=np.int64)
    index[..., 0], index[..., 1] = k[:, None], l[:, None]
    index[..., 2], index[..., 3] = a, b
    f = _fields(C[index[..., :, None], index[..., None, :]])
    upper = _four(f, _signs_and_moduli(f, index, m), slope)
    I4 = np.empty((len(k), D, D))
    I4[:, a, b] = upper
    I4[:, b, a] = upper
    return I4


def _four(f: Fields, moduli: Array, slope: float) -> Array:
    """E[g'(k) g'(l) g(a) g(b)] of four fields, in the order k, l, a, b."""
    p2, q2 = (0.5 * (1.0 + slope)) ** 2, (0.5 * (1.0 - slope)) ** 2
    k, l, a, b = range(4)
    mixed = sum(_signs_and_fields(f, i, j, a, b) for i in (k, l) for j in (a, b))
    return (
        p2 * p2 * f.S[..., a, b]
        + p2 * q2 * _signs_and_fields(f, a, b, a, b)
        + p2 * q2 * (mixed + _signs_and_fields(f, k, l, a, b))
        + q2 * q2 * moduli
    )


def _signs_and_moduli(f: Fields, index: Any, m: int) -> Array:
    """E[sgn(x_k) sgn(x_l) |x_a| |x_b|]: fields that come twice leave two signs of the four."""
    k, l, a, b = range(4)
    found = np.zeros(index.shape[:2])
    left = np.ones(found.shape, dtype=bool)
    twice = {(k, l): (a, b), (a, b): (k, l), (a, k): (l, b), (a, l): (k, b), (b, k): (l, a)}
    for (i, j), signs in {**twice, (b, l): (k, a)}.items():
        same = left & (index[..., i] == index[..., j])
        found[same] = _signs_and_fields(_pick(f, same), *signs, a, b)
        left &= ~same
    if left.any():
        found[left] = _four_different(_pick(f, left), m)
    return found


def _pick(f: Fields, mask: Any) -> Fields:
    return Fields(f.S[mask], f.gone[mask])


def _ratio(top: Any, bottom: Any) -> Array:
    """top / bottom, 0 where the bottom is."""
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0)


def _fields(S: Array) -> Fields:
    return Fields(S, np.zeros(S.shape))


def _agreement(f: Fields, i: int, j: int) -> Array:
    """E[sgn(x_i) sgn(x_j)] = (2/π) asin ρ."""
    S = f.S
    minor = S[..., i, i] * S[..., j, j] - S[..., i, j] ** 2
    angle = TWO_OVER_PI * np.arctan2(S[..., i, j], np.sqrt(np.maximum(minor, 0.0)))
    return np.where(f.gone[..., i, j] != 0.0, f.gone[..., i, j] / 3.0, angle)


def _given_zero(f: Fields, i: int) -> Fields:
    """Fields given x_i = 0; what is left of one that x_i determines is exactly 0.

    Where x_j is close to x_i the variance left is rounding in part. It is taken from the minor,
    which is the same number for x_i given x_j, so that terms that cancel go on doing so.
    """
    S = f.S
    row, own = S[..., i, :], S[..., i, i, None]
    diagonal = np.diagonal(S, axis1=-2, axis2=-1)
    minor = own * diagonal - row * row
    other = np.arange(4) != i
    alive = (minor > NO_WIDTH * own * diagonal) & other
    rest = S - _ratio(row[..., :, None] * row[..., None, :], own[..., None])
    rest[..., np.arange(4), np.arange(4)] = _ratio(minor, own)
    rest = np.where(alive[..., :, None] & alive[..., None, :], rest, 0.0)
    went = np.where(~alive & other & (own * diagonal > 0), np.sign(row), 0.0)
    both = went[..., :, None] * went[..., None, :]
    return Fields(rest, np.where(f.gone != 0.0, f.gone, both))


def _join_close(S: Array) -> Array:
    """Covariances in which three or more fields that are all but parallel are parallel.

    What such fields do to each other's signs are angles of tiny triangles, which rounding spoils;
    their sum is known.
    """
    diagonal = np.diagonal(S, axis1=-2, axis2=-1)
    norms = diagonal[..., :, None] * diagonal[..., None, :]
    near: NDArray[np.bool_] = np.asarray((norms - S * S <= CLOSE * norms) & (norms > 0))
    for _ in range(2):
        near = np.asarray((near[..., :, :, None] & near[..., None, :, :]).any(axis=-2))
    joined = near.sum(axis=-1) > 2
    first = np.where(joined, near.argmax(axis=-1), np.arange(4))
    own = np.take_along_axis(S, first[..., None], axis=-2)
    along = np.take_along_axis(own, first[..., None, :], axis=-1)
    # x_j becomes its length times the unit vector of the first of them.
    length = np.sqrt(_ratio(diagonal, np.take_along_axis(diagonal, first, axis=-1)))
    sign = np.sign(np.take_along_axis(S, first[..., None], axis=-1)[..., 0])
    scale = np.where(joined, length * sign, 1.0)
    return np.where(
        joined.any(axis=-1)[..., None, None], along * scale[..., :, None] * scale[..., None, :], S
    )


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


def _four_different(f: Fields, m: int) -> Array:
    """E[sgn(x_k) sgn(x_l) |x_a| |x_b|] of four fields, of which some may still coincide."""
    f = _fields(_join_close(f.S))
    k, l, a, b = range(4)

    def kick(at: int, i: int, j: int) -> Array:
        """C_(a, at) E[2δ(x_at) |x_b| sgn(x_i) sgn(x_j)]."""
        T = _given_zero(f, at)
        # Fields of rank two are parallel once one of them is given.
        T = T._replace(S=_join_close(T.S))
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

    def triple(*fields: int) -> Array:
        # In one order, so that rounding is the same in terms that cancel.
        x, y, z = sorted(fields)
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
