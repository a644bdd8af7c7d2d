"""Schedules in the kernels' form."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.problem.schedule import Schedule
from odekit_kernels.integrators.batch import Rates

NO_RATES = Rates(np.zeros(0), np.zeros((0, 4)), 0.0, 0.0)


def rates_of(rate: Any) -> Rates:
    """A schedule's table; that of no pieces for a constant."""
    if not isinstance(rate, Schedule):
        return NO_RATES
    start, coefficients = rate.pieces
    last, final = float(rate.times[-1]), float(rate.values[-1])
    return Rates(np.array(start), np.array(coefficients), last, final)
