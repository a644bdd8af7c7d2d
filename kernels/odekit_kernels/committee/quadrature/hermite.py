"""Gaussian moments of any smooth g, by quadrature over fixed nodes.

Two fields: x_k = s_k z_1 and x_a = s_a (r z_1 + √(1 − r²) z_2) over a grid of the plane. Steps are
even: where g is analytic in a strip, as tanh is, the trapezoidal rule converges like exp(−2πd/h),
and 64 nodes a direction do for tanh at unit norm what takes 200 of Gauss and Hermite's.

Four fields: E[g'(x_k) g'(x_l) g(x_a) g(x_b)] is a quadrature over x_k and x_l and, given these,
over what is left of x_a and x_b. With ĝ_n = E[g(m + s z) h_n(z)] over orthonormal Hermite
polynomials h_n the inner one is Mehler's sum, E[g(x_a) g(x_b)] = Σ_n ρ^n ĝ_n(a) ĝ_n(b): its cost
grows with the number of fields, not of their pairs, and at ρ = ±1 it is a quadrature in one
dimension to the last bit.

Nodes are symmetric, so that only the squares of conditional widths matter. These are smooth in C
where the widths are not: coinciding, specialised and redundant units are no special case, and a
factor of the whole of C is never taken.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Nodes",
    "fourth",
    "given_pair",
    "inner_error",
    "line_error",
    "make_nodes",
    "pairs_of",
    "regress",
    "second",
    "variance",
]

Array = NDArray[np.float64]
Function = Callable[[Array], Any]

REACH = 8.0
"""Last node of the grid: a standard normal variable beyond it has a weight of 1e-15."""
LEAST_WEIGHT = 1e-20
"""Nodes of the plane lighter than this are left out."""
NO_WIDTH = 1e-8
"""Standard deviation, relative to the whole one, below which a conditional field has none: what
it adds is of the order of its square."""
OFF_CENTRE = 0.7
ONE_THREAD = 2**18
"""Multiplications of a matrix product that OpenBLAS does not share among threads."""
MOST_VALUES = 2**20
"""Values of g computed at a time, 8 MiB."""


class Nodes(NamedTuple):
    """Nodes and weights.

    Attributes
    ----------
    z, w : ndarray, shape (m,)
        Of a line: even steps, weights of sum 1.
    plane, weight : ndarray, shape (2, n) and (n,)
        Of the plane; of one half of it if the products do not change under z → −z.
    x, A : ndarray, shape (i,) and (i, i)
        Gauss and Hermite's, for what is inside: w_q h_n(x_q), so that values times A are
        coefficients.
    """

    z: Array
    w: Array
    plane: Array
    weight: Array
    x: Array
    A: Array


@lru_cache(maxsize=32)
def make_nodes(m: int, inner: int, half: bool) -> Nodes:
    """A rule of m nodes a direction, and `inner` ones inside."""
    z, w = line(m)
    x, y = np.meshgrid(z, z, indexing="ij")
    weight = np.outer(w, w)
    kept = weight > LEAST_WEIGHT
    if half:
        kept &= (x > 0) | ((x == 0) & (y > 0))
        weight = 2.0 * weight
        middle = (x == 0) & (y == 0)
        weight[middle] *= 0.5
        kept |= middle
    return Nodes(z, w, np.array([x[kept], y[kept]]), weight[kept], *gauss_hermite(inner))


def line(m: int, reach: float = REACH) -> tuple[Array, Array]:
    """Even steps under a standard normal weight, symmetric to the last bit."""
    z = np.linspace(-reach, reach, m)
    z = 0.5 * (z - z[::-1])
    w = np.exp(-0.5 * z * z)
    return z, w / w.sum()


@lru_cache(maxsize=32)
def gauss_hermite(m: int) -> tuple[Array, Array]:
    """Nodes, and w_q h_n(x_q), for a standard normal variable (Golub & Welsch 1969)."""
    off = np.sqrt(np.arange(1.0, m))
    x, V = np.linalg.eigh(np.diag(off, 1) + np.diag(off, -1))
    x = 0.5 * (x - x[::-1])
    V = V * np.where(V[0] < 0, -1.0, 1.0)
    parity = np.where(np.arange(m) % 2, -1.0, 1.0)[:, None]
    V = 0.5 * (V + parity * V[:, ::-1])
    return x, V[0][:, None] * V.T


def second(
    C: Array, rows: int, g: Function, dg: Function, rule: Nodes
) -> tuple[Array, Array, Array]:
    """Moments of two fields.

    Parameters
    ----------
    C : ndarray, shape (D, D)
        Covariance of the fields.
    rows : int
        Of so many first fields with all of them.
    g, dg : callable
        Activation and its derivative, of arrays.

    Returns
    -------
    I2 : ndarray, shape (rows, D)
        E[g(x_k) g(x_a)].
    J2 : ndarray, shape (rows, D)
        E[g'(x_k) g'(x_a)].
    G2 : ndarray, shape (rows, D)
        E[g''(x_k) g(x_a)], so that I3(k, b, a) = C_kb G2(k, a) + C_ab J2(k, a).
    """
    s, r, rest = pairs_of(C, rows)
    (z, other), weight = rule.plane, rule.weight
    shape = (rows, len(C))
    I2, J2, M2 = np.empty(shape), np.empty(shape), np.empty(shape)
    for k in range(rows):
        own = s[k] * z
        f, d = np.asarray(g(own)) * weight, np.asarray(dg(own)) * weight
        X = r[k, :, None] * z + rest[k, :, None] * other
        values = np.asarray(g(X))
        I2[k], M2[k] = values @ f, values @ (d * own)
        J2[k] = np.asarray(dg(X)) @ d
    # E[g'(x_k) x_k g(x_a)] = C_kk G2 + C_ka J2, by parts.
    square = s[:rows, None] ** 2
    top = M2 - C[:rows] * J2
    return I2, J2, np.divide(top, square, out=np.zeros(shape), where=square > 0)


def variance(C: Array, g: Function, rule: Nodes) -> Array:
    """E[g(x_a) g(x_b)] of all fields, shape (D, D)."""
    s, r, rest = pairs_of(C, len(C))
    (z, other), weight = rule.plane, rule.weight
    I2 = np.empty_like(C)
    for a in range(len(C)):
        X = r[a, a:, None] * z + rest[a, a:, None] * other
        I2[a, a:] = I2[a:, a] = np.asarray(g(X)) @ (np.asarray(g(s[a] * z)) * weight)
    return I2


def pairs_of(C: Array, rows: int) -> tuple[Array, Array, Array]:
    """Norms s (D,), and the parts of field a along field k and besides it, (rows, D) each."""
    diagonal = np.maximum(np.diagonal(C), 0.0)
    s = np.sqrt(diagonal)
    along = np.divide(
        C[:rows], s[:rows, None], out=np.zeros_like(C[:rows]), where=s[:rows, None] > 0
    )
    return s, along, np.sqrt(np.maximum(diagonal - along * along, 0.0))


def fourth(C: Array, K: int, g: Function, dg: Function, rule: Nodes) -> Array:
    """Moments of four fields, shape (K (K + 1) / 2, D, D): E[g'(x_k) g'(x_l) g(x_a) g(x_b)].

    The first axis counts pairs k ≤ l row by row.
    """
    pairs = np.transpose(np.triu_indices(K)).tolist()
    M = np.zeros(len(C))
    return np.array([given_pair(M, C, k, l, g, dg, rule)[1] for k, l in pairs])


def given_pair(
    M: Array, C: Array, k: int, l: int, g: Function, dg: Function, rule: Nodes
) -> tuple[Array, Array]:
    """E[g'_k g'_l g_a] and I4(k, l, a, b) of all fields, shape (D,) and (D, D), at means M."""
    loads, rest = regress(C, k, l)
    nodes, weight = (rule.z[None, :], rule.w) if k == l else (rule.plane, rule.weight)
    width = np.sqrt(np.maximum(np.diagonal(rest), 0.0))
    wide = np.flatnonzero(width > NO_WIDTH * np.sqrt(np.maximum(np.diagonal(C), 0.0)))
    rho = np.clip(rest[np.ix_(wide, wide)] / np.outer(width[wide], width[wide]), -1.0, 1.0)
    powers = rho ** np.arange(1, rule.x.size)[:, None, None]
    spread = width[wide, None] * rule.x
    I3, I4 = np.zeros(len(C)), np.zeros_like(C)
    step = max(1, MOST_VALUES // (max(wide.size, 1) * rule.x.size))
    for first in range(0, weight.size, step):
        part = slice(first, first + step)
        mean = M[:, None] + loads @ nodes[:, part]
        tilt = weight[part] * np.asarray(dg(mean[k])) * np.asarray(dg(mean[l]))
        given = np.array(g(mean))
        if wide.size:
            c = _coefficients(g, mean[wide], spread, rule.A)
            given[wide] = c[:, 0]
            later = c[:, 1:]
            sums = np.einsum("ani,bni->nab", later * tilt, later)
            I4[np.ix_(wide, wide)] += (powers * sums).sum(axis=0)
        I3 += given @ tilt
        I4 += (given * tilt) @ given.T
    return I3, I4


def _coefficients(g: Function, mean: Array, spread: Array, A: Array) -> Array:
    """Σ_q A_qn g(mean_ai + spread_aq), shape (fields, n, nodes).

    In blocks too small for BLAS to share among threads: on two busy cores its threads waited 60 ms
    for what one of them does in 0.6 ms.
    """
    inner = len(A)
    block = max(8, ONE_THREAD // inner**2)
    c = np.empty((len(mean), inner, mean.shape[1]))
    for first in range(0, mean.shape[1], block):
        part = slice(first, first + block)
        c[:, :, part] = A.T @ np.asarray(g(mean[:, None, part] + spread[:, :, None]))
    return c


def regress(C: Array, k: int, l: int) -> tuple[Array, Array]:
    """Fields as combinations of one or two standard normal ones, (D, 1 or 2), and what is left.

    The second is x_l less its part along x_k. Where that has hardly any width its loads are
    rounding, and what they change is undone in the rest: covariances stay what they are.
    """
    D = len(C)
    first = C[k] / np.sqrt(C[k, k]) if C[k, k] > 0 else np.zeros(D)
    rest = C - np.outer(first, first)
    rest[k] = rest[:, k] = 0.0
    if k == l:
        return first[:, None], rest
    second = np.zeros(D)
    if rest[l, l] > 0:
        most = np.sqrt(np.maximum(np.diagonal(rest), 0.0))
        second = np.clip(rest[l] / np.sqrt(rest[l, l]), -most, most)
        rest = rest - np.outer(second, second)
    rest[l] = rest[:, l] = 0.0
    return np.stack([first, second], axis=1), rest


# ---------------------------------------------------------------------------------- how many nodes


def line_error(g: Function, dg: Function, scale: float, m: int) -> float:
    """Largest relative change of one field's moments when m nodes become twice as many.

    These are the hardest of all with fields of standard deviation `scale`: averages over further
    fields smooth, products of four functions of one field do not.
    """
    found = []
    for z, w in (line(m), line(2 * m, 1.25 * REACH)):
        X = scale * z
        with np.errstate(all="ignore"):
            f, d = np.asarray(g(X)), np.asarray(dg(X))
            moments = [f * f, d * d, d * z * f, d * d * f * f]
            # Off its centre: products may hide a kink at 0 that g has.
            aside = scale * (z + OFF_CENTRE)
            with np.errstate(all="ignore"):
                moments += [np.asarray(g(aside)), z * np.asarray(dg(aside))]
        found.append(np.array(moments) @ w)
    return _change(*found)


def inner_error(g: Function, scale: float, m: int) -> float:
    """The same for the nodes inside, about several means and at several correlations."""
    found = []
    for n in (m, 2 * m):
        x, A = gauss_hermite(n)
        with np.errstate(all="ignore"):
            f = np.array([np.asarray(g(scale * (x + shift))) for shift in (0.0, OFF_CENTRE, 2.0)])
        squares = (f @ A) ** 2
        rho = np.array([0.0, 0.6, 1.0])[:, None] ** np.arange(n)
        found.append((squares @ rho.T).ravel())
    return _change(*found)


def _change(one: Array, two: Array) -> float:
    if not (np.isfinite(one).all() and np.isfinite(two).all()):
        return np.inf
    size = np.maximum(np.abs(two), 1e-3 * np.abs(two).max())
    return float((np.abs(one - two) / np.maximum(size, np.finfo(float).tiny)).max())
