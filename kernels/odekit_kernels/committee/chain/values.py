"""g and g' of many fields at once: erf and the smooth ones eight at a time.

libm's functions take one number: half of a step. Those of `odekit_kernels.normal` have no branch,
and LLVM computes eight at a time.
"""

from __future__ import annotations

from typing import Any

from numba import extending, types

from odekit_kernels._jit import inner, kernel
from odekit_kernels.committee.activations.erf import ROOT_TWO_OVER_PI
from odekit_kernels.committee.chain.smooth import fill_gelu, fill_softplus, fill_tanh
from odekit_kernels.committee.sgd.units import CODES, GELU, SOFTPLUS, TANH, slope, value
from odekit_kernels.normal import balance_given, exp

__all__ = ["erf_and_slope", "fill", "values"]

_numba: Any = extending
_ERF = CODES["erf"]


@inner
def erf_and_slope(z: Any) -> Any:
    """erf(z/√2) and its derivative, in error by less than 1e-15."""
    gauss = exp(-0.5 * z * z)
    return balance_given(z, gauss), ROOT_TWO_OVER_PI * gauss


@inner
def fill_erf(z: Any, out: Any, out_slope: Any) -> None:
    """erf of flat arrays."""
    for i in range(z.shape[0]):
        out[i], out_slope[i] = erf_and_slope(z[i])


def has_code(g: Any, code: int) -> bool:
    """Whether an activation is the shipped one of this code."""
    return isinstance(g, int) and g == code


@_numba.overload(has_code, strict=False)
def _typed_has_code(g: Any, code: Any) -> Any:  # noqa: ARG001 - numba reads the names
    if isinstance(g, types.Integer):
        return lambda g, code: g == code
    return lambda g, code: False  # noqa: ARG005 - numba reads the names


@inner
def fill(g: Any, dg: Any, z: Any, out: Any, out_slope: Any) -> None:
    """g(z) and g'(z) of flat arrays, by an activation's code, leaky slope or compiled functions."""
    if has_code(g, _ERF):
        fill_erf(z, out, out_slope)
    elif has_code(g, TANH):
        fill_tanh(z, out, out_slope)
    elif has_code(g, GELU):
        fill_gelu(z, out, out_slope)
    elif has_code(g, SOFTPLUS):
        fill_softplus(z, out, out_slope)
    else:
        for i in range(z.shape[0]):
            out[i], out_slope[i] = value(g, z[i]), slope(dg, z[i])


@kernel(_nrt=False)
def values(g: Any, dg: Any, z: Any, out: Any, out_slope: Any) -> None:
    """`fill`, by itself."""
    fill(g, dg, z, out, out_slope)
