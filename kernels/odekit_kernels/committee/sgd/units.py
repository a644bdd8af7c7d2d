"""The activations of SGD: g and g' at one field, of a code, a leaky slope or a function."""

from __future__ import annotations

import math
from typing import Any

from numba import extending, types

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.activations import CODES as COMPILED
from odekit_kernels.committee.activations.erf import ROOT_HALF, ROOT_TWO_OVER_PI
from odekit_kernels.committee.moments import chain

__all__ = ["CODES", "GELU", "QUADRATIC", "SOFTPLUS", "TANH", "sign", "slope", "value", "values"]

TANH, GELU, SOFTPLUS, QUADRATIC = range(len(COMPILED), len(COMPILED) + 4)
CODES = {
    **COMPILED,
    "tanh": TANH,
    "gelu": GELU,
    "softplus": SOFTPLUS,
    "quadratic": QUADRATIC,
}
"""By name, those beyond the ones with compiled moments too; a float is leaky ReLU's slope."""

_numba: Any = extending


def value(g: Any, z: float) -> Any:
    """g(z), of an activation's code, a leaky slope or a function."""
    if callable(g):
        return g(z)
    return _leaky(g, z) if isinstance(g, float) else _value(g, z)


def slope(dg: Any, z: float) -> Any:
    """g'(z), of an activation's code, a leaky slope or a function."""
    if callable(dg):
        return dg(z)
    return _leaky_slope(dg, z) if isinstance(dg, float) else _slope(dg, z)


@inner
def _smooth_value(code: int, z: float) -> float:
    if code == TANH:
        return math.tanh(z)
    if code == GELU:
        return 0.5 * z * math.erfc(-z * ROOT_HALF)
    if code == SOFTPLUS:
        return max(z, 0.0) + math.log1p(math.exp(-abs(z)))
    return z * z if code == QUADRATIC else math.nan


@inner
def _smooth_slope(code: int, z: float) -> float:
    if code == TANH:
        e = math.exp(-2.0 * abs(z))
        return 4.0 * e / ((1.0 + e) * (1.0 + e))
    if code == GELU:
        return 0.5 * math.erfc(-z * ROOT_HALF) + 0.5 * ROOT_TWO_OVER_PI * z * math.exp(-0.5 * z * z)
    if code == SOFTPLUS:
        return 0.5 * (1.0 + math.tanh(0.5 * z))
    return 2.0 * z if code == QUADRATIC else math.nan


_value = chain("value", _smooth_value)
_slope = chain("slope", _smooth_slope)


@inner
def _leaky(below: float, z: float) -> float:
    return z if z > 0.0 else below * z


@inner
def _leaky_slope(below: float, z: float) -> float:
    if z == 0.0:
        return 0.5 * (1.0 + below)
    return 1.0 if z > 0.0 else below


@_numba.overload(value, inline="always", strict=False)
def _typed_value(g: Any, z: Any) -> Any:  # noqa: ARG001 - numba reads the names
    if isinstance(g, types.Integer):
        return lambda g, z: _value(g, z)
    if isinstance(g, types.Float):
        return lambda g, z: _leaky(g, z)
    return lambda g, z: g(z)


@_numba.overload(slope, inline="always", strict=False)
def _typed_slope(dg: Any, z: Any) -> Any:  # noqa: ARG001 - numba reads the names
    if isinstance(dg, types.Integer):
        return lambda dg, z: _slope(dg, z)
    if isinstance(dg, types.Float):
        return lambda dg, z: _leaky_slope(dg, z)
    return lambda dg, z: dg(z)


@kernel(_nrt=False)
def values(g: Any, dg: Any, z: Any, out: Any, out_slope: Any) -> None:
    """g(z) and g'(z) of many numbers, shape (n,) each."""
    for i in range(z.shape[0]):
        out[i], out_slope[i] = value(g, z[i]), slope(dg, z[i])


@inner
def sign(z: float) -> float:
    """−1, 0 or 1."""
    return math.copysign(1.0, z) if z != 0.0 else 0.0
