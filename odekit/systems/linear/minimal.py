"""The minimal model of feature learning, y = a w·x: one hidden unit, at any scales and rates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import as_floats
from odekit.base.errors import ProblemError
from odekit.systems.linear.broadcast import broadcast, check

EVEN = (1.0, 1.0)
NOTHING = 1e-150
"""Weights whose squares underflow do not grow, even for ever."""


def minimal(
    time: Any, a: Any, w: Any, beta: Any, rates: Sequence[Any] = EVEN, dim: str = "input"
) -> tuple[Any, Any]:
    """Weights of the network y = a w·x on white inputs.

    a' = η_a (β − a w)·w, w' = η_w a (β − a w). Rates are removed by a/√η_a, w/√η_w, β/√(η_a η_w)
    and η_a η_w t. Then with D = a² − |w|², which is conserved, s = |β| and w = p β/s + w_⊥,

        (a, p, w_⊥)(t) = (F, G, w_⊥(0)) / √(1 + 2 ∫₀ᵗ F²),   (F, G)' = [[D, s], [s, 0]] (F, G),

    one form for every D, and through a = 0.

    Parameters
    ----------
    time : array_like or DataArray
        Times since the beginning, >= 0; may be infinite.
    a : array_like or DataArray
        Readout at time 0. Weights below 1e-150 count as 0.
    w : array_like or DataArray, dims (…, input)
        First layer at time 0, over the inputs: the last axis of arrays, `dim` of labelled ones.
    beta : array_like or DataArray, dims (…, input)
        Target, the least-squares map.
    rates : two of array_like or DataArray
        Learning rates η_a and η_w, > 0.
    dim : str
        The inputs' dim.

    Returns
    -------
    a : ndarray or DataArray, dims (…)
    w : ndarray or DataArray, dims (…, input)

    Raises
    ------
    ProblemError
        If a rate is not positive, or the inputs of `w` and `beta` differ in number.

    Notes
    -----
    Kunin et al. (2024) give three cases, over complex numbers; this form is finite for
    D = ±1e6 and t = ∞ and agrees with integration to 1e-11.

    Examples
    --------
    >>> import numpy as np, odekit as ok
    >>> a, w = ok.linear.minimal([0.0, 1.0, np.inf], 1.0, [-1.0, 0.0], [0.0, 1.0])
    >>> (a[:, None] * w).round(4) + 0.0
    array([[-1.    ,  0.    ],
           [-0.4046,  0.4755],
           [ 0.    ,  1.    ]])
    """
    given = _given(a, w, beta, rates)
    core = {"w": (dim,), "beta": (dim,)}
    found = broadcast(_minimal, {"time": time, **given}, core, out=((), (dim,)))
    return found[0], found[1]


def minimal_basin(
    a: Any, w: Any, beta: Any, rates: Sequence[Any] = EVEN, dim: str = "input"
) -> Any:
    """Sign with which a network y = a w·x ends: where it starts decides.

    a ends positive iff l₊ a + w·β > 0, l₊ = ½ (D + √(D² + 4s²)) (rates removed as in `minimal`).
    On the surface between, w·β = −a (D + √(D² + 4s²))/2, it runs into the saddle at 0.

    Parameters
    ----------
    a, w, beta, rates, dim
        As of `minimal`.

    Returns
    -------
    ndarray or DataArray, dims (…)
        1, −1, or 0 on the surface.

    Raises
    ------
    ProblemError
        As of `minimal`.

    Examples
    --------
    >>> import odekit as ok
    >>> ok.linear.minimal_basin(0.6, [[1.3, -0.30], [1.3, -0.31]], [0.0, 1.0])
    array([ 1., -1.])
    """
    core = {"w": (dim,), "beta": (dim,)}
    return broadcast(_basin, _given(a, w, beta, rates), core)[0]


def _given(a: Any, w: Any, beta: Any, rates: Sequence[Any]) -> dict[str, Any]:
    if not isinstance(rates, Sequence) or len(rates) != 2:
        raise ProblemError("rates", "must be two, η_a and η_w", repr(rates)[:80], "Write (1, 1).")
    names = ("rates[0]", "rates[1]")
    for name, rate in zip(names, rates, strict=True):
        value = as_floats(name, rate, "a number or an array of numbers")
        check(name, value > 0, "must be > 0", value, "A layer of rate 0 is frozen.")
    return {"a": a, "w": w, "beta": beta, **dict(zip(names, rates, strict=True))}


def _even(a: Floats, w: Floats, beta: Floats, of_a: Floats, of_w: Floats) -> tuple[Floats, ...]:
    """The same network at equal rates: a, w, s and the direction of β; D."""
    if w.shape[-1] != beta.shape[-1]:
        shapes = f"{w.shape[-1]} and {beta.shape[-1]}"
        raise ProblemError("beta", "must have as many inputs as `w`", shapes, "They come last.")
    root_a, root_w = np.sqrt(of_a), np.sqrt(of_w)
    a, w = a / root_a, w / root_w[..., None]
    beta = beta / (root_a * root_w)[..., None]
    s = np.linalg.norm(beta, axis=-1)
    direction = beta / np.where(s > 0, s, 1.0)[..., None]
    size = np.linalg.norm(w, axis=-1)
    return a, w, s, direction, (a - size) * (a + size)


def _growing(D: Floats, s: Floats) -> tuple[Floats, ...]:
    """l₊, −l₋ and the unit eigenvector of l₊ of [[D, s], [s, 0]]."""
    large = 0.5 * (np.abs(D) + np.hypot(D, 2 * s))
    small = np.divide(s * s, large, out=np.zeros_like(large), where=large > 0)
    length = np.hypot(large, s)
    one = np.divide(large, length, out=np.ones_like(large), where=length > 0)
    other = np.divide(s, length, out=np.zeros_like(large), where=length > 0)
    up = D >= 0
    return (
        np.where(up, large, small),
        np.where(up, small, large),
        np.where(up, one, other),
        np.where(up, other, one),
    )


def _basin(**given: Floats) -> tuple[Floats, ...]:
    a, w, s, direction, D = _even(*given.values())
    _, _, cos, sin = _growing(*np.broadcast_arrays(D, s))
    return (np.sign(cos * a + sin * (w * direction).sum(-1)),)


def _minimal(time: Floats, **given: Floats) -> tuple[Floats, ...]:
    """In the eigenvectors of F and G, over the growing e^(l₊t) unless there is nothing of it."""
    _, _, _, of_a, of_w = given.values()
    a, w, s, direction, D = _even(*given.values())
    p = (w * direction).sum(-1)
    across = w - p[..., None] * direction
    t, a, p, s, D = np.broadcast_arrays(time * (of_a * of_w), a, p, s, D)
    up, down, cos, sin = _growing(D, s)
    alpha, gamma = cos * a + sin * p, cos * p - sin * a
    alpha = np.where(np.abs(alpha) > NOTHING, alpha, 0.0)
    grow = np.where(alpha != 0, up, 0.0)
    fall = _gone(grow + down, t)
    q = (
        _gone(2 * grow, t)
        + 2 * _times((cos * alpha) ** 2, _filled(2 * up, t))
        + 2 * _times((sin * gamma) ** 2, _filled(2 * down, t)) * _gone(2 * grow, t)
        - 4 * _times(cos * alpha * sin * gamma, _mixed(up, down, D, t))
    )
    with np.errstate(divide="ignore"):
        scale = 1 / np.sqrt(q)
    F = _times(np.where(alpha != 0, cos * alpha, 0.0) - sin * gamma * fall, scale)
    G = _times(sin * alpha + cos * gamma * fall, scale)
    rest = _times(_gone(grow, t), scale)
    w = G[..., None] * direction + rest[..., None] * across
    return F * np.sqrt(of_a), w * np.sqrt(of_w)[..., None]


def _times(factor: Floats, value: Floats) -> Floats:
    """A product in which nothing of an infinity is nothing."""
    return np.asarray(np.multiply(factor, value, out=np.zeros(np.shape(value)), where=factor != 0))


def _gone(rate: Floats, t: Floats) -> Floats:
    """e^(−rate t), 1 at rate 0 even for ever."""
    return np.asarray(np.exp(-np.multiply(rate, t, out=np.zeros(np.shape(t)), where=rate != 0)))


def _filled(rate: Floats, t: Floats) -> Floats:
    """(1 − e^(−rate t))/rate, t at rate 0."""
    full = -np.expm1(-np.multiply(rate, t, out=np.zeros(np.shape(t)), where=rate != 0))
    return np.asarray(np.divide(full, rate, out=np.array(t, dtype=float), where=rate != 0))


def _mixed(up: Floats, down: Floats, D: Floats, t: Floats) -> Floats:
    """e^(−2 l₊ t) ∫₀ᵗ e^(Dτ) dτ, D = l₊ + l₋."""
    late = np.where(D > 0, up + down, 2 * up)
    return _times(_gone(late, t), _filled(np.abs(D), t))
