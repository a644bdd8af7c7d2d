"""Why the mean answer is learnt first: modes of networks with biases."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count, flag
from odekit.base.errors import ProblemError
from odekit.systems.linear.broadcast import broadcast, check

DIMS = ("output", "item")
APART = 1e-9
"""Relative overlap of the mean with the contrasts above which they do not learn apart."""


def bias_modes(targets: Any, bias: bool = True, dims: Sequence[str] = DIMS) -> tuple[Any, Any]:
    """Modes of a two-layer network on n one-hot items, with a bias in the hidden layer.

    The bias makes the variance of the constant input 1 + 1/n, that of all contrasts between items
    stays 1/n. Each mode follows u' = 2u (s − d u), with

        (s, d) = (|ȳ| √(1 + 1/n), 1 + 1/n)  for the mean answer ȳ,
        (s, d) = (σ/n, 1/n)                 for the singular values σ of the targets less ȳ,

    so that u(t) = `balanced_mode(t, s, d u₀)`/d, which ends at s/d.

    Parameters
    ----------
    targets : array_like or DataArray, dims (…, output, item)
        Y, a column for each item; all items are equally likely.
    bias : bool
        Without one the mean has d = 1/n as well, s = |ȳ|/√n.
    dims : two of str
        Names of the outputs' and items' dims in labelled targets.

    Returns
    -------
    strength, variance : ndarray or DataArray, dims (…, mode)
        s and d; the mean answer first, then the contrasts, the strongest first.

    Raises
    ------
    ProblemError
        If there are fewer than two items, or the mean answer overlaps with the contrasts, with
        which it would not learn apart.

    Notes
    -----
    Rubruck et al. (2024): the optimal constant solution. In hierarchical data the mean without bias
    is as strong as the first contrast, so that the bias alone makes the phase.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> s, d = ok.linear.bias_modes(np.vstack([np.kron(np.eye(2), [1, 1]), np.eye(4)]))
    >>> s.round(4), d
    (array([0.9682, 0.433 , 0.25  , 0.25  ]), array([1.25, 0.25, 0.25, 0.25]))
    >>> u = ok.linear.balanced_mode(4.0, s, d * 1e-3) / d
    >>> (d * u / s).round(3)
    array([0.749, 0.018, 0.007, 0.007])
    """
    if isinstance(dims, str) or len(dims) != 2:
        raise ProblemError("dims", "must be two names", repr(dims), f"Write {DIMS}.")
    flag("bias", bias)

    def solve(targets: Floats) -> tuple[Floats, ...]:
        return _modes(targets, bias)

    s, d = broadcast(solve, {"targets": targets}, {"targets": dims}, out=(("mode",), ("mode",)))
    return s, d


def output_bias(mean: Any, items: int, start: Any) -> Any:
    """Output bias at which a network with a bias in both layers ends.

    Both learn the constant: β' = e, u' = 2 √(1 + 1/n) u e, e = |ȳ| − β − √(1 + 1/n) u, so that
    with g = √(1 + 1/n) the end is at

        β + g u₀ e^{2gβ} = |ȳ|,   β = |ȳ| − ω(2g|ȳ| + log 2g²u₀)/(2g),

    ω being Wright's omega function, ω + log ω = its argument.

    Parameters
    ----------
    mean : array_like or DataArray
        |ȳ|, the length of the mean answer, >= 0.
    items : int
        Number n of one-hot items.
    start : array_like or DataArray
        u₀ > 0, the strength of the hidden layer's constant at time 0, where β = 0.

    Returns
    -------
    ndarray or DataArray
        β; the rest of |ȳ| is the hidden layer's. Below 0 where g u₀ > |ȳ|.

    Raises
    ------
    ProblemError
        If `mean` is negative, or `start` not positive.

    Examples
    --------
    >>> import odekit as ok
    >>> (ok.linear.output_bias(1.0, 8, [1e-3, 1e-1])).round(4)
    array([0.9913, 0.6117])
    """
    n = count("items", items, most=10**9)

    def solve(mean: Floats, start: Floats) -> tuple[Floats, ...]:
        from scipy.special import wrightomega

        check("mean", mean >= 0, "must be >= 0", mean, "It is a length.")
        check("start", start > 0, "must be > 0", start)
        g = np.sqrt(1 + 1 / n)
        return (mean - wrightomega(2 * g * mean + np.log(2 * g * g * start)) / (2 * g),)

    return broadcast(solve, {"mean": mean, "start": start})[0]


def _modes(targets: Floats, bias: bool) -> tuple[Floats, ...]:
    n = targets.shape[-1]
    if n < 2:
        raise ProblemError("targets", "must have at least two items", n, "One has no contrasts.")
    mean = targets.mean(-1)
    contrasts = targets - mean[..., None]
    overlap = np.abs(np.einsum("...oi,...o->...i", contrasts, mean)).max()
    if overlap > APART * np.square(targets).sum((-2, -1)).max():
        rule = "must have a mean that is orthogonal to all differences between items"
        remedy = "Otherwise modes do not learn apart: integrate by `solve`."
        raise ProblemError("targets", rule, f"an overlap of {overlap:.2g}", remedy)
    values = np.linalg.svd(contrasts, compute_uv=False)[..., : n - 1] / n
    length = np.linalg.norm(mean, axis=-1)[..., None]
    of_mean = 1 + 1 / n if bias else 1 / n
    s = np.concatenate([length * np.sqrt(of_mean), values], axis=-1)
    d = np.full(s.shape, 1 / n)
    d[..., 0] = of_mean
    return s, d
