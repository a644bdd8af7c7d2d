"""Two layers of any widths from a balanced start: the whole map at any time, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.linear.broadcast import broadcast

DIMS = ("input", "hidden", "output")
BALANCED = 1e-9
"""Relative deviation of W₂ᵀW₂ − W₁W₁ᵀ from λI above which a start is refused."""
EVER = 1e40
"""Times, in those of the fastest mode, after which nothing moves."""
NOISE = 1e-14
"""Of the largest eigenvalue: below it they are 0, or equal, which matters at late times."""


class BalancedMap(NamedTuple):
    """What two layers compute, at given times, and what their kernel is made of.

    Attributes
    ----------
    map : ndarray or DataArray, dims (…, output, input)
        W₂W₁.
    below : ndarray or DataArray, dims (…, input, input_other)
        W₁ᵀW₁, the similarity of inputs in the hidden layer.
    above : ndarray or DataArray, dims (…, output, output_other)
        W₂W₂ᵀ.
    """

    map: Any
    below: Any
    above: Any


def balanced_map(
    time: Any, first: Any, second: Any, target: Any, dims: Sequence[str] = DIMS
) -> BalancedMap:
    """The map of two layers from a balanced start, white inputs, any target and widths.

    With W₂ᵀW₂ − W₁W₁ᵀ = λI, Q = [W₁ᵀ; W₂] and F = [[−λ/2, Σᵀ], [Σ, λ/2]] = V x Vᵀ,

        QQᵀ(t) = e^{Ft} Q₀ [1 + Q₀ᵀ J Q₀]⁻¹ Q₀ᵀ e^{Ft},  J = ∫₀ᵗ e^{2Fτ} dτ,

    whose blocks are W₁ᵀW₁, W₂W₁ and W₂W₂ᵀ; W₁ and W₂ themselves are known up to a rotation of the
    hidden layer. It is computed without F⁻¹ (F is singular where widths differ at λ = 0) and any
    other inverse: with q = VᵀQ₀ and U the lower block of the orthonormal columns of [1; J^½ q],
    QQᵀ = V g UUᵀ g Vᵀ, g = √(2x/(1 − e^{−2xt})). Columns first turn so that q is triangular, from
    the fastest mode down, and are scaled: no power of e^{xt} is formed but in ratios.

    Parameters
    ----------
    time : array_like or DataArray
        Times since the beginning, times the learning rate, >= 0; may be infinite.
    first : array_like or DataArray, dims (…, hidden, input)
        W₁ at time 0.
    second : array_like or DataArray, dims (…, output, hidden)
        W₂ at time 0.
    target : array_like or DataArray, dims (…, output, input)
        Σ, the correlation of outputs and white inputs.
    dims : three of str
        Names of the layers in labelled arguments.

    Returns
    -------
    BalancedMap
        Broadcast over all other dims.

    Raises
    ------
    ProblemError
        If widths do not fit, or the start is not balanced to 1e-9.

    Notes
    -----
    Fukumizu (1998), Braun et al. (2022), Dominé et al. (2025); the stable form is new: within 3e-14
    of 100-digit arithmetic for weights of one size; of others, what one rounding of the largest is
    to the smallest. The tangent kernel is K(x, x') = xᵀW₁ᵀW₁x' I + x·x' W₂W₂ᵀ.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> W = ok.linear.balanced(ok.linear.deep([3, 2, 2]), 0.1, seed=0, imbalance=1.0)
    >>> found = ok.linear.balanced_map([0.0, np.inf], W["W1"], W["W2"], [[2, 0, 0], [0, 1, 0]])
    >>> found.map[1].round(6) + 0.0
    array([[2., 0., 0.],
           [0., 1., 0.]])
    """
    below, hidden, above = _three(dims)
    given = {"time": time, "first": first, "second": second, "target": target}
    core = {"first": (hidden, below), "second": (above, hidden), "target": (above, below)}
    out = ((above, below), (below, f"{below}_other"), (above, f"{above}_other"))
    return BalancedMap(*broadcast(_map, given, core, out))


def _three(dims: Sequence[str]) -> Sequence[str]:
    if isinstance(dims, str) or len(dims) != 3 or len(set(dims)) != 3:
        raise ProblemError("dims", "must be three names", repr(dims), f"Write {DIMS}.")
    return dims


def _map(time: Floats, first: Floats, second: Floats, target: Floats) -> tuple[Floats, ...]:
    lam = _imbalance(first, second, target)
    inputs = target.shape[-1]
    x, V = _modes(lam, target)
    lead = np.broadcast_shapes(time.shape, lam.shape, x.shape[:-1])
    Q = _stacked(np.swapaxes(first, -1, -2), second)
    q = _turned(np.swapaxes(V, -1, -2) @ Q)
    q = np.broadcast_to(q, (*lead, *q.shape[-2:]))
    q = V @ _followed(q, np.broadcast_to(x, (*lead, x.shape[-1])), np.broadcast_to(time, lead))
    W1, W2 = np.swapaxes(q[..., :inputs, :], -1, -2), q[..., inputs:, :]
    return W2 @ W1, np.swapaxes(W1, -1, -2) @ W1, W2 @ np.swapaxes(W2, -1, -2)


def _imbalance(first: Floats, second: Floats, target: Floats) -> Floats:
    """λ, of weights that have one."""
    wanted = (second.shape[-2], first.shape[-1])
    if first.shape[-2] != second.shape[-1] or target.shape[-2:] != wanted:
        shapes = f"{first.shape[-2:]}, {second.shape[-2:]} and {target.shape[-2:]}"
        rule = "must be (output, input) of `second` (output, hidden) after `first` (hidden, input)"
        raise ProblemError("target", rule, shapes, "Did you pass one transposed?")
    one, two = first @ np.swapaxes(first, -1, -2), np.swapaxes(second, -1, -2) @ second
    n = one.shape[-1]
    lam = np.einsum("...ii->...", two - one) / n
    off = np.abs(two - one - lam[..., None, None] * np.eye(n)).max()
    if off > BALANCED * max(np.abs(one).max(), np.abs(two).max()):
        rule = "must make W₂ᵀW₂ − W₁W₁ᵀ = λI with `first`"
        remedy = "Take weights of `linear.balanced`, or integrate by `solve`."
        raise ProblemError("second", rule, f"{off:.2g} beside it", remedy)
    return np.asarray(lam)


def _modes(lam: Floats, target: Floats) -> tuple[Floats, Floats]:
    """Eigenvalues of F, largest first, and its eigenvectors."""
    lead = np.broadcast_shapes(lam.shape, target.shape[:-2])
    outputs, inputs = target.shape[-2:]
    F = np.zeros((*lead, inputs + outputs, inputs + outputs))
    F[..., inputs:, :inputs] = target
    F[..., :inputs, inputs:] = np.swapaxes(target, -1, -2)
    diagonal = np.repeat([-0.5, 0.5], [inputs, outputs])
    F += diagonal * lam[..., None, None] * np.eye(inputs + outputs)
    x, V = np.linalg.eigh(F)
    x, V = x[..., ::-1], V[..., ::-1]
    noise = NOISE * np.abs(x).max(-1, keepdims=True)
    x = np.where(np.abs(x) > noise, x, 0.0)
    for i in range(1, x.shape[-1]):
        x[..., i] = np.where(x[..., i - 1] - x[..., i] > noise[..., 0], x[..., i], x[..., i - 1])
    return x, V


def _stacked(*parts: Floats) -> Floats:
    """Arrays one above the other, whose leading dims are broadcast."""
    lead = np.broadcast_shapes(*(part.shape[:-2] for part in parts))
    whole = [np.broadcast_to(part, (*lead, *part.shape[-2:])) for part in parts]
    return np.concatenate(whole, axis=-2)


def _turned(q: Floats) -> Floats:
    """The same qqᵀ with zeros above the diagonal: columns by the speed of their first row."""
    return np.swapaxes(np.linalg.qr(np.swapaxes(q, -1, -2), mode="r"), -1, -2)


def _followed(q: Floats, x: Floats, time: Floats) -> Floats:
    """g U; each column of [1; J^½ q] over the growth of the row that is its largest."""
    fastest = np.abs(x).max(-1)
    ever = EVER / np.where(fastest > 0, fastest, 1.0)
    # At time 0, where J is 0, any other time stands in.
    t = np.where(time > 0, np.minimum(time, ever), 1.0)[..., None]
    rate, up = np.abs(x), np.maximum(x, 0.0)
    some = rate > 0
    filled = np.where(some, -np.expm1(-2 * rate * t) / np.where(some, 2 * rate, 1.0), t)
    root = np.sqrt(filled)
    with np.errstate(divide="ignore"):
        size = np.log(np.abs(q) * root[..., None]) + (up * t)[..., None]
    pace = np.take_along_axis(up, size.argmax(-2), axis=-1)
    pace = np.where((q != 0).any(-2), pace, 0.0)
    gap = np.where(q != 0, up[..., :, None] - pace[..., None, :], 0.0)
    lower = q * root[..., None] * np.exp(gap * t[..., None])
    upper = np.exp(-pace * t)
    most = np.maximum(np.abs(lower).max(-2), upper)
    upper = (upper / most)[..., None] * np.eye(q.shape[-1])
    # Of falling modes g has the e^{xt} that J has of growing ones.
    g = np.exp(np.minimum(x, 0.0) * t) / root
    moved = g[..., None] * _span(lower / most[..., None, :], upper)
    return np.where((time > 0)[..., None, None], moved, q)


def _span(lower: Floats, upper: Floats) -> Floats:
    """Lower block of an orthonormal basis; rows sorted by size, as rounding goes down the rows."""
    whole = np.concatenate([lower, upper], axis=-2)
    order = np.argsort(-np.abs(whole).max(-1), axis=-1, kind="stable")[..., None]
    basis = np.linalg.qr(np.take_along_axis(whole, order, axis=-2))[0]
    place = np.argsort(order, axis=-2)
    return np.asarray(np.take_along_axis(basis, place, axis=-2)[..., : lower.shape[-2], :])
