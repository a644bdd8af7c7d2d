"""Moments of single units whose fields have means."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import kernel
from odekit_kernels.committee.means import pair, product

__all__ = ["moments_of_units"]


@kernel(_nrt=False)
def moments_of_units(activation: int, M: Any, C: Any, width: float, I2: Any, J2: Any) -> None:
    """E[g(φ)²] and E[g'(φ)²] of fields of given means and variances.

    Parameters
    ----------
    activation : int
    M, C : ndarray, shape (units,)
        Means and variances.
    width : float
        As `activations.means` takes it.
    I2, J2 : ndarray, shape (units,)
        Receive the moments.
    """
    for i in range(M.shape[0]):
        m, c = M[i], C[i]
        I2[i] = product(activation, m, m, c, c, c, width, width)
        _, J2[i], _ = pair(activation, m, m, c, c, c, width, width)
