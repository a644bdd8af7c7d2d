"""How often the sign of an output is not that of its label: of Gaussian fields of several units."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri, owens_t

from odekit.base.arrays import Floats
from odekit.base.checks import count
from odekit.systems.committee.activations import Activation

FAR, HALVINGS = 12.0, 36
"""Standard deviations within which the output changes sign, and steps to where it does."""
MOST = 4096
"""Nodes in all; beyond them a net of so many points stands for the Gaussian."""
LEAST = 1e-12
"""Part of the largest variance that is added to all, so that equal units do no harm."""


class Fields(NamedTuple):
    """Fields of the units, and of the one fixed vector that gives the label's sign, if one does.

    Attributes
    ----------
    M, C : ndarray, shapes (rows, K + t) and (rows, K + t, K + t)
        Means and covariances, t = 0 or 1.
    v : ndarray, shape (rows, K)
        Readouts.
    label : float
        +1 or −1, or 0 where the fixed vector's sign is the label.
    """

    M: Floats
    C: Floats
    v: Floats
    label: float


def wrong(given: Fields, activation: str | Activation, nodes: int) -> Floats:
    """Probability that signs differ, (rows,); outputs of zero count for one half."""
    count("nodes", nodes, most=64, least=2)
    if given.v.shape[1] == 1:
        return _wrong_of_one_unit(given)
    g = _function(activation)
    out = np.full(len(given.M), np.nan)
    sound = np.isfinite(given.C).all(axis=(1, 2)) & np.isfinite(given.v).all(axis=1)
    for i in np.flatnonzero(sound):
        out[i] = _wrong_of_one(given.M[i], given.C[i], given.v[i], given.label, g, nodes)
    return out


def _wrong_of_one_unit(given: Fields) -> Floats:
    """The same in closed form, of any rising unit that vanishes at 0 alone."""
    sign, length = np.sign(given.v[:, 0]), np.sqrt(np.maximum(given.C[:, 0, 0], 1e-300))
    x = -sign * given.M[:, 0] / length
    if given.label:
        falls = ndtr(x)
        found = falls if given.label > 0 else 1.0 - falls
    else:
        other = np.sqrt(np.maximum(given.C[:, 1, 1], 1e-300))
        h, r = given.M[:, 1] / other, -sign * given.C[:, 0, 1] / (length * other)
        found = 2.0 * _both(x, h, r) + ndtr(-h) - ndtr(x)
    return np.where(sign == 0.0, 0.5, found)


def _wrong_of_one(
    M: Floats, C: Floats, v: Floats, label: float, g: Callable[[Floats], Any], nodes: int
) -> float:
    """Along one direction the output rises, and crosses zero once; the others have nodes."""
    K = len(v)
    if not v.any():
        return 0.5
    units = C[:K, :K] + LEAST * max(np.trace(C[:K, :K]), 1e-300) * np.eye(K)
    d = np.sign(v)
    along = np.linalg.solve(units, d)
    step = d / np.sqrt(d @ along)
    z, w = _nodes(units - np.outer(step, step), nodes)
    low, high = (_crossing(M[:K] + z, step, v, g, above) for above in (True, False))
    if label:
        falls = 0.5 * (ndtr(low) + ndtr(high))
        return float(w @ (falls if label > 0 else 1.0 - falls))
    slope = np.linalg.solve(units, C[:K, K])
    mean, b = M[K] + z @ slope, float(step @ slope)
    spread = np.sqrt(max(C[K, K] - C[:K, K] @ slope, 0.0) + b * b)
    h = mean / max(spread, 1e-300)
    r = -b / max(spread, 1e-300)
    parts = [2.0 * _both(x, h, r) + ndtr(-h) - ndtr(x) for x in (low, high)]
    return float(w @ (0.5 * (parts[0] + parts[1])))


def _nodes(C: Floats, nodes: int) -> tuple[Floats, Floats]:
    """Nodes (m, K) and weights of a Gaussian of a rank below K."""
    values, vectors = np.linalg.eigh(C)
    grid, weights = _grid(len(values) - 1, nodes)
    return grid @ (vectors[:, 1:] * np.sqrt(np.maximum(values[1:], 0.0))).T, weights


@lru_cache(maxsize=8)
def _grid(dims: int, nodes: int) -> tuple[Floats, Floats]:
    """Gauss's nodes and weights of so many standard normals, or a net of points where too many."""
    if nodes**dims > MOST:
        from scipy.stats import qmc  # a fifth of a second

        points = qmc.Sobol(dims, scramble=True, seed=0).random(MOST)
        return ndtri(points), np.full(MOST, 1.0 / MOST)
    x, w = np.polynomial.hermite_e.hermegauss(nodes)
    grid = np.stack(np.meshgrid(*[x] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
    weights = np.ones(1)
    for _ in range(dims):
        weights = np.multiply.outer(weights, w / w.sum()).ravel()
    return grid, weights


def _crossing(
    start: Floats, step: Floats, v: Floats, g: Callable[[Floats], Any], above: bool
) -> Floats:
    """Where along the step the output is no longer below zero, or is above it."""
    low, high = np.full(len(start), -FAR), np.full(len(start), FAR)
    for _ in range(HALVINGS):
        middle = 0.5 * (low + high)
        f = np.asarray(g(start + middle[:, np.newaxis] * step)) @ v
        there = f >= 0.0 if above else f > 0.0
        low, high = np.where(there, low, middle), np.where(there, middle, high)
    return np.asarray(0.5 * (low + high))


def _both(h: Floats, k: Floats, r: Any) -> Floats:
    """Φ₂(h, k; r) by Owen's T."""
    r = np.clip(r, -1.0 + 1e-15, 1.0 - 1e-15)
    h, k = (np.where(np.abs(x) < 1e-14, 1e-14, x) for x in (h, k))
    root = np.sqrt(1.0 - r * r)
    apart = np.where(h * k < 0.0, 0.5, 0.0)
    first = owens_t(h, (k - r * h) / (h * root)) + owens_t(k, (h - r * k) / (k * root))
    return np.asarray(0.5 * (ndtr(h) + ndtr(k)) - first - apart)


def _function(activation: str | Activation) -> Callable[[Floats], Any]:
    from scipy.special import erf

    known: dict[str, Callable[[Floats], Any]] = {
        "erf": lambda x: erf(x / np.sqrt(2.0)),
        "linear": lambda x: x,
    }
    if isinstance(activation, str) and activation in known:
        return known[activation]
    own = Activation.shipped(activation) if isinstance(activation, str) else activation
    return own.function
