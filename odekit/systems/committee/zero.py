"""Units that fall to zero and leave it, in the gradient flow of ReLU (docs/equations.md).

The derivative jumps where a unit vanishes, and no step crosses that well. So integrators stop
there: between steps they ask here about the units that are all but zero.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit_kernels.committee.work import upper_index
from odekit_kernels.committee.zero import settle

if TYPE_CHECKING:
    from odekit_kernels.committee.one import Committee
    from odekit_kernels.committee.work import Work

Floats = np.ndarray[Any, np.dtype[np.float64]]

NORM_SHARE = 1e-4
"""Absolute tolerance of squared norms, in that of everything else: cosines of a unit of length
√atol are then still good to a part in 10⁴."""
SMALL = 100.0
"""Squared norm at which to ask about a unit, in the absolute tolerance of squared norms: what is
lost by putting it to zero there is its effect on others for so long, of this order."""
BISECTIONS = 60


class UnitsAtZero:
    """What happens to the units of one phase of one trajectory when they vanish.

    Parameters
    ----------
    at : callable
        The committee at a time.
    begin : float
        When the phase begins.
    work : Work
    atol, rtol : float
    """

    def __init__(
        self, at: Callable[[float], Committee], begin: float, work: Work, atol: float, rtol: float
    ) -> None:
        self.at, self.work, self.rtol = at, work, rtol
        committee = at(begin)
        self.atol, self.atol_norm, self.small = atol, *norm_limits(atol)
        K, P = committee.move.size, committee.T.shape[1]
        self.norms = np.array([upper_index(k, k, K) for k in range(K)])
        self.moving = self.norms[committee.move != 0.0]
        self.least_width = K + P

    def tolerance(self, size: int) -> Floats:
        """Absolute tolerance of every entry of a state."""
        out = np.full(size, self.atol)
        out[self.norms] = self.atol_norm
        return out

    def floor(self, size: int) -> Floats:
        """Entries of a state from which on `settle` has nothing to do."""
        out = np.full(size, -np.inf)
        out[self.moving] = self.small
        return out

    def settle(self, t: float, y: Floats) -> Floats | None:
        """The state at a time with units put to zero, or on their way from it; None if none was."""
        if not (y[self.moving] < self.small).any():
            return None
        settled = np.array(y)
        scratch = np.empty((6, max(y.size, self.least_width)))
        changed = settle(
            settled, self.at(t), self.work, self.small, self.atol_norm, self.rtol, scratch
        )
        return settled if changed else None

    def leaving(self, y: Floats, settled: Floats) -> bool:
        """Whether a unit that was at zero in y has left it."""
        return bool(((y[self.norms] <= 0.0) & (settled[self.norms] > 0.0)).any())

    def when(self, solution: Any, t: float, end: float, found: Floats) -> tuple[float, Floats]:
        """When in (t, end] a unit leaves zero, and the settled state; `found` is that at end."""
        low, high = t, end
        for _ in range(BISECTIONS):
            if high - low <= self.rtol * (end - t):
                break
            middle = 0.5 * (low + high)
            y = solution(middle)
            settled = self.settle(middle, y)
            if settled is not None and self.leaving(y, settled):
                high, found = middle, settled
            else:
                low = middle
        return high, found


def norm_limits(atol: float) -> tuple[float, float]:
    """Absolute tolerance of squared norms, and the squared norm at which to ask about a unit."""
    return NORM_SHARE * atol, SMALL * NORM_SHARE * atol
