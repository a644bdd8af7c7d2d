"""Hidden units of networks on data: g, its slope and its curvature."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from odekit.base.arrays import Floats

Function = Callable[[Floats], Floats]


class Unit(NamedTuple):
    """A nonlinearity.

    Attributes
    ----------
    g, slope, bend : callable
        The function and its two derivatives, of arrays of fields.
    homogeneous : bool
        Whether g(cx) = c g(x) for c > 0: then flow conserves what each unit's layers differ by.
    kinked : bool
        Whether the slope jumps.
    """

    g: Function
    slope: Function
    bend: Function
    homogeneous: bool = False
    kinked: bool = False


def _erf(x: Floats) -> Floats:
    from scipy.special import erf

    return np.asarray(erf(x / np.sqrt(2.0)))


def _erf_slope(x: Floats) -> Floats:
    return np.asarray(np.sqrt(2.0 / np.pi) * np.exp(-0.5 * x * x))


def _erf_bend(x: Floats) -> Floats:
    return -x * _erf_slope(x)


def _tanh_slope(x: Floats) -> Floats:
    return 1.0 - np.tanh(x) ** 2


def _tanh_bend(x: Floats) -> Floats:
    return -2.0 * np.tanh(x) * _tanh_slope(x)


def _relu(x: Floats) -> Floats:
    return np.maximum(x, 0.0)


def _step(x: Floats) -> Floats:
    # 0 at a field of exactly 0: a unit without weights stays without.
    return np.asarray((x > 0).astype(np.float64))


def _same(x: Floats) -> Floats:
    return x


UNITS = {
    "relu": Unit(_relu, _step, np.zeros_like, homogeneous=True, kinked=True),
    "erf": Unit(_erf, _erf_slope, _erf_bend),
    "tanh": Unit(np.tanh, _tanh_slope, _tanh_bend),
    "linear": Unit(_same, np.ones_like, np.zeros_like, homogeneous=True),
}
"""By name; erf is erf(x/√2), as in committees."""
