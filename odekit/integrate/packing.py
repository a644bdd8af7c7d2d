"""Schedules in the kernels' form."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from odekit.problem.schedule import Schedule
from odekit_kernels.integrators.batch import ManyRates, Rates

NO_RATES = Rates(np.zeros(0), np.zeros((0, 4)), 0.0, 0.0)


def rates_of(rate: Any) -> Rates:
    """A schedule's table; that of no pieces for a constant."""
    if not isinstance(rate, Schedule):
        return NO_RATES
    start, coefficients = rate.pieces
    last, final = float(rate.times[-1]), float(rate.values[-1])
    return Rates(np.array(start), np.array(coefficients), last, final)


def many_rates(schedules: Mapping[int, Schedule]) -> ManyRates:
    """Several schedules, by their places in the memory of a group."""
    found = [rates_of(schedule) for schedule in schedules.values()]
    sizes = [rates.start.size for rates in found]
    return ManyRates(
        place=np.array(list(schedules), dtype=np.int64),
        first=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        start=np.concatenate([np.zeros(0), *(rates.start for rates in found)]),
        coefficients=np.concatenate([np.zeros((0, 4)), *(rates.coefficients for rates in found)]),
        last=np.array([rates.last for rates in found], dtype=float),
        final=np.array([rates.final for rates in found], dtype=float),
    )
