"""The variables in which a search without budgets is made: rates by their logarithm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from odekit.base.arrays import Floats
from odekit.control.pieces import Controls

NEAR = 0.01
"""Distance from a lower bound, in units of what a rate begins with, where logarithms end."""


@dataclass(frozen=True)
class Variables:
    """z = ln(1 + (x − low)/s) for controls that may be any positive number, x itself for others.

    What a run depends on is a rate's factor: curvatures go as 1/η², and the best rates of one
    schedule may differ a hundredfold. L-BFGS-B, which assumes one scale for all, takes hundreds of
    gradients in η where it takes twenty in z. Far from the bound z is a logarithm; at the bound it
    is 0, and dx/dz = s there, so that a bound is reached and left again.

    Attributes
    ----------
    low : ndarray, shape (names,)
    scale : ndarray, shape (names,)
        s; NaN where z = x.

    Examples
    --------
    >>> one = Variables(np.array([0.0, 0.0]), np.array([0.01, np.nan]))
    >>> one.of(np.array([0.0, 0.5]))
    array([0. , 0.5])
    >>> one.back(one.of(np.array([1.0, 0.5])))
    array([1. , 0.5])
    """

    low: Floats
    scale: Floats

    def of(self, x: Floats) -> Floats:
        """From controls."""
        with np.errstate(invalid="ignore"):
            return np.where(np.isnan(self.scale), x, np.log1p((x - self.low) / self.scale))

    def back(self, z: Floats) -> Floats:
        """To controls."""
        curved = ~np.isnan(self.scale)
        x = np.array(z)
        x[curved] = self.low[curved] + self.scale[curved] * np.expm1(z[curved])
        return x

    def pace(self, x: Floats) -> Floats:
        """dx/dz."""
        return np.where(np.isnan(self.scale), 1.0, x - self.low + self.scale)


def variables_of(controls: Controls) -> Variables:
    """Logarithms for rates, penalties and durations: numbers with no natural upper bound.

    s is a hundredth of the largest value that a control begins with (of its range, or of 1, where
    it begins with 0), but not less than its lower bound: above that a pure logarithm will do.
    Probabilities, which the equations are linear in, and numbers of either sign stay as they are.
    """
    scale = np.full(controls.own.size, np.nan)
    for place, unbounded in enumerate(controls.positive):
        own = controls.of == place
        low, high = controls.low[own][0], controls.high[own][0]
        if not unbounded or not np.isfinite(low):
            continue
        size = np.abs(controls.own[own]).max() or (high if np.isfinite(high) else 1.0)
        scale[own] = max(low, NEAR * size)
    return Variables(controls.low, scale)
