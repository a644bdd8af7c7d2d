"""Many single states at once: put into lanes, and their time derivatives."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner, kernel
from odekit_kernels.integrators.registry import rhs
from odekit_kernels.lanes.values import lanes, pick, place
from odekit_kernels.simd import WIDTH

__all__ = ["load_constants", "load_rows", "rates_of_rows"]


@inner
def load_rows(M: Any, m: Any, rows: Any, first: int) -> int:
    """Put up to eight states into the lanes; lanes without one repeat the last."""
    count = min(lanes(M), rows.shape[0] - first)
    for lane in range(lanes(M)):
        row = first + min(lane, count - 1)
        for j in range(m.n):
            place(M, m.y + j, lane, rows[row, j])
    return count


@inner
def load_constants(M: Any, constants: Any, places: Any, which: Any, first: int) -> None:
    """Put the constants of their trajectories there too."""
    for lane in range(lanes(M)):
        i = min(which[min(first + lane, which.shape[0] - 1)], constants.shape[0] - 1)
        for j in range(places.shape[0]):
            place(M, places[j], lane, constants[i, j])


@kernel(_nrt=False)
def rates_of_rows(
    M: Any, m: Any, w: Any, rows: Any, constants: Any, places: Any, which: Any,
    moves: bool, trains: bool, decays: bool, out: Any,
) -> None:  # fmt: skip
    """Time derivatives at many states.

    Parameters
    ----------
    M : ndarray, shape (size, 8)
    m : named tuple
        Plan of a registered system.
    w : named tuple
        Its wiring.
    rows : ndarray, shape (rows, n)
    constants : ndarray, shape (B or 1, width)
        Rows of constants, those that follow schedules as they are then.
    places : ndarray of int64, shape (width,)
        Where each goes in M.
    which : ndarray of int64, shape (rows,)
        Row of constants of each state, where there are several.
    moves, trains, decays : bool
        As for `registry.rhs`.
    out : ndarray, shape (rows, n)
        Receives the derivatives.
    """
    for first in range(0, rows.shape[0], WIDTH):
        count = load_rows(M, m, rows, first)
        load_constants(M, constants, places, which, first)
        rhs(M, m, w, m.y, m.k, moves, trains, decays)
        for lane in range(count):
            for j in range(m.n):
                out[first + lane, j] = pick(M, m.k + j, lane)
