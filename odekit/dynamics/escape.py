"""How a trajectory leaves a fixed point that it passes: as predicted, and as it did."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from odekit.base.arrays import Floats
from odekit.dynamics.directions import Directions, growing, reader
from odekit.problem.system import Equations

RTOL, ATOL = 1e-9, 1e-12
PATIENCE = 10.0
"""Times the predicted time after which an escape that has not happened is given up."""


class Escape(NamedTuple):
    """When the part of the deviation that grows reaches a size; NaN where it does not.

    Attributes
    ----------
    deviation : float
        Largest entry of that part at the row.
    predicted, happened : float
        Times since the row.
    """

    deviation: float
    predicted: float
    happened: float


NONE = Escape(np.nan, np.nan, np.nan)


def escape(
    equations: Equations,
    J: Floats,
    found: Directions,
    fixed: Floats,
    row: tuple[float, Floats],
    end: float,
    size: float,
) -> Escape:
    """The escape from a fixed point.

    Parameters
    ----------
    equations : Equations
        Of the phase, with times since it began.
    J : ndarray, shape (n, n)
    found : Directions
        Of that one fixed point.
    fixed : ndarray, shape (n,)
    row : tuple of float and ndarray
        Time since the phase began, and state, from which on the trajectory is followed.
    end : float
        End of the phase.
    size : float
        Largest entry of the growing part with which the trajectory has escaped.
    """
    if not found.unstable[0]:
        return NONE
    begin, state = row
    values, parts = growing(J, found, 0, state - fixed)

    def linear(t: float) -> float:
        return float(np.abs((parts * np.exp(values * t)).sum(axis=1).real).max())

    deviation = linear(0.0)
    if not deviation > 0.0:
        return Escape(deviation, np.nan, np.nan)
    predicted = _reaches(linear, size, 1.0 / values.real.max())
    left = reader(J, found, 0).T
    vectors = found.vectors[0][:, (found.values[0].real > 0) & ~found.zero[0]]
    project = (vectors @ np.linalg.solve(left @ vectors, left.astype(complex))).real
    last = min(end, begin + PATIENCE * predicted) if np.isfinite(predicted) else end
    return Escape(deviation, predicted, _happens(equations, project, fixed, row, last, size))


def _reaches(linear: Any, size: float, step: float) -> float:
    """When a growing size is reached."""
    if linear(0.0) >= size:
        return 0.0
    low, high = 0.0, step
    while linear(high) < size:
        low, high = high, 2.0 * high
    return float(brentq(lambda t: linear(t) - size, low, high, xtol=1e-10 * high))


def _happens(
    equations: Equations,
    project: Floats,
    fixed: Floats,
    row: tuple[float, Floats],
    last: float,
    size: float,
) -> float:
    """When the growing part of a trajectory's deviation reaches a size."""

    def away(t: float, y: Floats) -> float:
        del t
        return float(np.abs(project @ (y - fixed)).max()) - size

    begin, state = row
    if away(begin, state) >= 0.0:
        return 0.0
    if not last > begin:
        return float("nan")
    away.terminal = True  # type: ignore[attr-defined]
    solution = solve_ivp(
        equations.rhs, (begin, last), state, "DOP853", events=away, rtol=RTOL, atol=ATOL
    )
    times = (solution.t_events or [np.zeros(0)])[0]
    return float(times[0]) - begin if len(times) else float("nan")
