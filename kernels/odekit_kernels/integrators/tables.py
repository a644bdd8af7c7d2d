"""Numbers that follow tables of time, piecewise cubic: see `odekit.problem.schedule.Schedule`."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from odekit_kernels._jit import inner
from odekit_kernels.lanes.values import larger

__all__ = ["Rate", "rate_at", "table_at"]

Array = NDArray[np.float64]


class Rate(NamedTuple):
    """A learning rate as a function of the time since its phase began.

    Attributes
    ----------
    start : ndarray, shape (pieces,)
    coefficients : ndarray, shape (pieces, 4)
        Of cubics, the highest power first.
    first, last, final : float
        The value before the first piece; the time from which on the value is `final`.
    """

    start: Array
    coefficients: Array
    first: float
    last: float
    final: float


@inner
def rate_at(rate: Any, t: float) -> float:
    """Value of a `Rate`."""
    if rate.start.shape[0] == 0 or t >= rate.last:
        return float(rate.final)
    if t <= rate.start[0]:
        return float(rate.first)
    return piece_at(rate, 0, rate.start.shape[0], t)


@inner
def table_at(tables: Any, j: int, t: float) -> float:
    """Value of one of the tables of `batch.Driven`."""
    if t >= tables.last[j]:
        return tables.final[j]
    return piece_at(tables, tables.first[j], tables.first[j + 1], t)


# By halves: numba's own search is of any kind of numbers, and took a third of a second to compile.
@inner
def piece_at(tables: Any, low: int, high: int, t: float) -> float:
    """Value at a time by the pieces from `low` to `high`."""
    while high - low > 1:
        middle = (low + high) // 2
        if tables.start[middle] <= t:
            low = middle
        else:
            high = middle
    x = larger(t - tables.start[low], 0.0)
    c = tables.coefficients
    return larger(((c[low, 0] * x + c[low, 1]) * x + c[low, 2]) * x + c[low, 3], 0.0)
