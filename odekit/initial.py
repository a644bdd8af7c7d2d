"""Initial conditions: random draws of the overlaps, readouts in polar form, imbalance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from odekit.checks import as_floats, count, positive
from odekit.errors import ProblemError

Floats = np.ndarray[Any, np.dtype[np.float64]]


def factor(T: Floats) -> Floats:
    """A factor L with L Lᵀ = T that exists for rank-deficient T, shape (P, rank)."""
    eigenvalues, vectors = np.linalg.eigh(T)
    keep = eigenvalues > max(eigenvalues.max(initial=0.0), 0.0) * 1e-14 * len(T)
    return np.asarray(vectors[:, keep] * np.sqrt(eigenvalues[keep]))


def draw_overlaps(
    K: int, T: Floats, std: Floats, input_dim: int, draws: int | None, seed: int
) -> tuple[Floats, Floats]:
    """Q and R of K random weight vectors of standard deviation `std`, without drawing them.

    The components of w_k along the span of the fixed vectors are K × rank normals; the rest is a
    Wishart matrix of N − rank degrees of freedom, drawn by Bartlett's decomposition.
    """
    L = factor(T)
    rank = L.shape[1]
    shape = () if draws is None else (draws,)
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((*shape, K, rank))
    A = _bartlett(K, input_dim - rank, shape, rng)
    G = np.concatenate([Z, A], axis=-1) * (std[:, None] / np.sqrt(input_dim))
    Q = G @ np.swapaxes(G, -1, -2)
    R = G[..., :rank] @ L.T
    return 0.5 * (Q + np.swapaxes(Q, -1, -2)), R


def _bartlett(K: int, freedom: int, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Rows whose Gram matrix is Wishart with `freedom` degrees of freedom."""
    if freedom < K:
        return rng.standard_normal((*shape, K, freedom))
    A = np.tril(rng.standard_normal((*shape, K, K)), -1)
    diagonal = np.arange(K)
    A[..., diagonal, diagonal] = np.sqrt(rng.chisquare(freedom - diagonal, size=(*shape, K)))
    return np.asarray(A)


def polar(radius: float, angles: float | Sequence[float]) -> Floats:
    """Readout vector in (hyper)spherical coordinates.

    Parameters
    ----------
    radius : float
        Length of the vector, > 0.
    angles : float or sequence of K − 1 floats
        One angle θ for two units: v = r (cos θ, sin θ); θ = π/4 is the even readout, θ = 0 puts all
        weight on unit 0. In general v_0 = r cos θ_0, v_1 = r sin θ_0 cos θ_1, ….

    Returns
    -------
    ndarray, shape (K,)

    Examples
    --------
    >>> import odekit as ok
    >>> ok.polar(1.0, 0.0)
    array([1., 0.])
    """
    length = positive("radius", radius)
    theta = np.atleast_1d(as_floats("angles", angles, "one angle, or K − 1 of them"))
    if theta.ndim != 1:
        raise ProblemError("angles", "must be one axis of angles", f"shape {theta.shape}", "")
    sines = np.concatenate([[1.0], np.cumprod(np.sin(theta))])
    return np.asarray(length * sines * np.concatenate([np.cos(theta), [1.0]]))


def even_angles(units: int) -> Floats:
    """The hyperspherical angles of the readout that weighs all units alike, shape (units − 1,)."""
    K = count("units", units, least=2)
    return np.arctan(np.sqrt(np.arange(K - 1, 0, -1)))


def imbalance(scale: float, gain: float) -> tuple[float, float]:
    """Weight scales of the two layers at a given layer imbalance.

    Parameters
    ----------
    scale : float
        Geometric mean σ of the two scales.
    gain : float
        υ: the first layer gets συ, the readout σ/υ. Their difference of squares is the quantity
        that gradient flow conserves for homogeneous activations.

    Returns
    -------
    weight_std, readout_scale : float

    Examples
    --------
    >>> import odekit as ok
    >>> ok.imbalance(0.5, 2.0)
    (1.0, 0.25)
    """
    sigma, upsilon = float(positive("scale", scale)), float(positive("gain", gain))
    return sigma * upsilon, sigma / upsilon
