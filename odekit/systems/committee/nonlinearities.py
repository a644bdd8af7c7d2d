"""The nonlinearities that come with odekit, and what a user's own are checked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError


def _gelu(x: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(x * ndtr(x))


def _gelu_slope(x: Floats) -> Floats:
    from scipy.special import ndtr

    return np.asarray(ndtr(x) + x * np.exp(-0.5 * x * x) / np.sqrt(2.0 * np.pi))


def _tanh_slope(x: Floats) -> Floats:
    # 1 − tanh² loses digits where tanh is near 1; cosh overflows far beyond.
    e = np.exp(-2.0 * np.abs(x))
    return np.asarray(4.0 * e / (1.0 + e) ** 2)


def _softplus(x: Floats) -> Floats:
    return np.asarray(np.logaddexp(0.0, x))


def _softplus_slope(x: Floats) -> Floats:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * x)))


def _square(x: Floats) -> Floats:
    return np.asarray(x * x)


def _square_slope(x: Floats) -> Floats:
    return np.asarray(2.0 * x)


_SHIPPED: dict[str, tuple[Any, Any]] = {
    "tanh": (np.tanh, _tanh_slope),
    "gelu": (_gelu, _gelu_slope),
    "softplus": (_softplus, _softplus_slope),
    "quadratic": (_square, _square_slope),
}


def functions(name: str) -> tuple[Any, Any]:
    """g and g' of a smooth one by its name, or a pair of None."""
    return _SHIPPED.get(name, (None, None))


def kinked(slope: float) -> tuple[Any, Any]:
    """x for x > 0 and slope · x below, and its derivative."""

    def function(x: Floats) -> Floats:
        return np.where(x > 0, x, slope * x)

    def derivative(x: Floats) -> Floats:
        return np.where(x > 0, 1.0, np.where(x < 0, slope, 0.5 * (1.0 + slope)))

    return function, derivative


def parity_of(g: Callable[[Floats], Any]) -> int:
    """1 for even g, −1 for odd, 0 for neither: with a parity half of the plane is enough."""
    x = np.linspace(0.03, 7.9, 64)
    one, two = np.asarray(g(x)), np.asarray(g(-x))
    if np.array_equal(one, two):
        return 1
    return -1 if np.array_equal(one, -two) else 0


def check_functions(g: Callable[[Floats], Any], dg: Callable[[Floats], Any]) -> None:
    """Values are finite arrays, and ∫ g' between two points is the difference of g."""
    node, weight = np.polynomial.legendre.leggauss(12)
    edges = np.linspace(-4.0, 4.0, 33)
    half = 0.5 * np.diff(edges)
    x = edges[:-1, None] + half[:, None] * (1.0 + node)
    for argument, f in (("function", g), ("derivative", dg)):
        try:
            values = np.asarray(f(x), dtype=float)
        except ProblemError:
            raise
        except Exception as error:
            raise ProblemError(
                argument, "must take an array", f"{type(error).__name__}: {error}"[:120], ""
            ) from error
        if values.shape != x.shape or not np.isfinite(values).all():
            raise ProblemError(
                argument,
                "must return finite numbers in the shape of its argument",
                f"shape {values.shape} for {x.shape}",
                "Use numpy's functions.",
            )
    steps = np.diff(np.asarray(g(edges), dtype=float))
    off = np.abs((np.asarray(dg(x)) @ weight) * half - steps)
    if off.max() > 1e-2 * max(np.abs(steps).max(), 1e-300):
        place = edges[off.argmax()]
        raise ProblemError(
            "derivative",
            "must be the derivative of `function`",
            f"an integral between {place:g} and {place + 0.25:g} that is off by {off.max():.3g}",
            "Check factors and signs.",
        )
