"""Learning rates as the kernels of one trajectory take them."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.problem.schedule import Schedule
from odekit_kernels.integrators.tables import Rate


def as_rate(rate: Any) -> Rate:
    """A number, or a schedule, as a function of the time since the phase began."""
    if not isinstance(rate, Schedule):
        return Rate(np.zeros(0), np.zeros((0, 4)), float(rate), 0.0, float(rate))
    start, coefficients = rate.pieces
    first, final = float(rate.values[0]), float(rate.values[-1])
    return Rate(np.array(start), np.array(coefficients), first, float(rate.times[-1]), final)
