"""Initial conditions: random draws of the overlaps, readouts in polar form, imbalance."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import agree, as_floats, count, is_labelled, positive
from odekit.base.errors import ProblemError

CORE = ("group", "student", "student_other", "teacher", "teacher_other")
"""Dims of a state that builders take whole."""


def factor(T: Floats) -> Floats:
    """Lower triangular L with L Lᵀ = T, of the shape of T, also where T is rank-deficient.

    A Cholesky factor whose vanishing pivots give columns of zeros. Unlike an eigenvector basis it
    is continuous in T, so that draws with one seed are comparable along a sweep of T.
    """
    P = len(T)
    rest, L = np.array(T, dtype=float), np.zeros((P, P))
    least = 1e-13 * max(float(np.trace(T)), 0.0)
    for n in range(P):
        if rest[n, n] > least:
            L[n:, n] = rest[n:, n] / np.sqrt(rest[n, n])
            rest -= np.outer(L[:, n], L[:, n])
    return L


def draw_overlaps(
    K: int, L: Floats, std: Floats, input_dim: int, draws: int | None, seed: Any
) -> tuple[Floats, Floats]:
    """Q and R of K random weight vectors of standard deviation `std`, without drawing them.

    The components of w_k along the span of the fixed vectors, whose overlaps are T = L Lᵀ, are
    normal; what is left is a Wishart matrix of the remaining degrees of freedom, drawn by
    Bartlett's decomposition. L has a column for each dimension of the span, and may have leading
    sweep axes, which R then has first too.
    """
    P, rank = L.shape[-2:]
    shape = () if draws is None else (draws,)
    rng = np.random.default_rng(seed)
    Z = rng.standard_normal((*shape, K, rank)) * (std[:, None] / np.sqrt(input_dim))
    A = _bartlett(K, input_dim - rank, shape, rng) * (std[:, None] / np.sqrt(input_dim))
    Q = Z @ np.swapaxes(Z, -1, -2) + A @ np.swapaxes(A, -1, -2)
    lead = L.reshape(*L.shape[:-2], *(1 for _ in shape), P, rank)
    R = Z @ np.swapaxes(lead, -1, -2)
    return 0.5 * (Q + np.swapaxes(Q, -1, -2)), R


def _bartlett(K: int, freedom: int, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
    """Rows whose Gram matrix is Wishart with `freedom` degrees of freedom."""
    if freedom < K:
        return rng.standard_normal((*shape, K, freedom))
    A = np.tril(rng.standard_normal((*shape, K, K)), -1)
    diagonal = np.arange(K)
    A[..., diagonal, diagonal] = np.sqrt(rng.chisquare(freedom - diagonal, size=(*shape, K)))
    return np.asarray(A)


def polar(radius: Any, angles: Any) -> Any:
    """Readout vector in (hyper)spherical coordinates.

    Parameters
    ----------
    radius : float or DataArray
        Length of the vector, > 0. Labelled arrays, here and among the angles, are swept over.
    angles : float, sequence of K − 1 floats, or DataArray
        One angle θ for two units: v = r (cos θ, sin θ); θ = π/4 is the even readout, θ = 0 puts all
        weight on unit 0. In general v_0 = r cos θ_0, v_1 = r sin θ_0 cos θ_1, ….

    Returns
    -------
    ndarray, shape (K,), or DataArray with the dim ``student`` after those of the sweep

    Examples
    --------
    >>> import odekit as ok
    >>> ok.polar(1.0, 0.0)
    array([1., 0.])
    """
    several = isinstance(angles, list | tuple) and any(is_labelled(a) for a in angles)
    if several or is_labelled(radius) or is_labelled(angles):
        return _swept_polar(radius, list(angles) if several else [angles])
    length = positive("radius", radius)
    theta = np.atleast_1d(as_floats("angles", angles, "one angle, or K − 1 of them"))
    if theta.ndim != 1:
        raise ProblemError("angles", "must be one axis of angles", f"shape {theta.shape}", "")
    sines = np.concatenate([[1.0], np.cumprod(np.sin(theta))])
    return np.asarray(length * sines * np.concatenate([np.cos(theta), [1.0]]))


def _swept_polar(radius: Any, angles: list[Any]) -> Any:
    """`polar` at every point of a sweep at once; an angle may be an array over ``student``."""
    import xarray as xr

    theta = [one for a in angles for one in _angles(a)]
    agree("radius, angles", [radius, *theta])
    length, *theta = xr.broadcast(xr.DataArray(positive("radius", radius)), *theta)
    v, rest = [], length
    for one in theta:
        v.append(rest * np.cos(one))
        rest = rest * np.sin(one)
    made = xr.concat([*v, rest], "student", coords="minimal", compat="override")
    return made.transpose(..., "student").drop_attrs().rename(None)


def _angles(given: Any) -> list[Any]:
    """An angle, or several, as labelled arrays without the dim ``student``."""
    import xarray as xr

    values = as_floats("angles", given, "one angle, or K − 1 of them")
    if not is_labelled(given):
        return [xr.DataArray(x) for x in np.atleast_1d(values)]
    if "student" not in given.dims:
        return [given]
    return [given.isel(student=i, drop=True) for i in range(given.sizes["student"])]


def even_angles(units: int) -> Floats:
    """The hyperspherical angles of the readout that weighs all units alike, shape (units − 1,)."""
    K = count("units", units, least=2)
    return np.arctan(np.sqrt(np.arange(K - 1, 0, -1)))


def imbalance(scale: Any, gain: Any) -> tuple[Any, Any]:
    """Weight scales of the two layers at a given layer imbalance.

    Parameters
    ----------
    scale : float or DataArray
        Geometric mean σ of the two scales. Labelled arrays are swept over.
    gain : float or DataArray
        υ: the first layer gets συ, the readout σ/υ. Their difference of squares is the quantity
        that gradient flow conserves for homogeneous activations.

    Returns
    -------
    weight_std, readout_scale : float or DataArray

    Examples
    --------
    >>> import odekit as ok
    >>> ok.imbalance(0.5, 2.0)
    (1.0, 0.25)
    """
    sigma, upsilon = positive("scale", scale), positive("gain", gain)
    agree("scale, gain", [sigma, upsilon])
    return sigma * upsilon, sigma / upsilon
