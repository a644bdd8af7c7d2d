"""Units at zero of the trajectories of a sweep: what `zero` is to one trajectory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.integrate.packing import row_at
from odekit.systems.committee.zero import UnitsAtZero, norm_limits
from odekit_kernels.committee.activations import QUADRATURE, RELU
from odekit_kernels.committee.codes import code_of
from odekit_kernels.committee.equations import decode
from odekit_kernels.committee.work import upper_index
from odekit_kernels.integrators.batch import BEGIN, CODE, OUTCOMES, ROW, TIME, WISH, Batch

if TYPE_CHECKING:
    from odekit_kernels.committee.one import Committee

RUNNING = OUTCOMES["running"]


def can_vanish(plan: Any, moves: bool) -> bool:
    """Whether units of a phase may fall to zero: ReLU in gradient flow."""
    return bool(
        moves
        and code_of(getattr(plan, "activation", QUADRATURE)) == RELU
        and not plan.online
        and not plan.G
    )


class UnitsOfBatch:
    """Settles the trajectories that the lanes leave with a unit near zero, between steps.

    Parameters
    ----------
    plan : CommitteePlan
    batch : Batch
    work : Work
    atol, rtol : float
    """

    def __init__(self, plan: Any, batch: Batch, work: Any, atol: float, rtol: float) -> None:
        self.plan, self.batch, self.work = plan, batch, work
        self.atol, self.rtol, self.small = atol, rtol, norm_limits(atol)[1]
        self.norms = [upper_index(k, k, plan.K) for k in range(plan.K)]
        # The step before, to go back to: a unit may have left zero within the last one.
        size = len(batch.y)
        self.y, self.numbers = np.zeros_like(batch.y), np.zeros_like(batch.numbers)
        self.row = np.zeros(size, dtype=np.int64)
        self.known = np.zeros(size, dtype=bool)
        self.high, self.width = np.full(size, np.inf), np.zeros(size)

    def settle_all(self, todo: Any) -> None:
        """Settle trajectories, before their first step or after any."""
        self.batch.counts[todo, CODE] = RUNNING
        for i in todo[self.near(todo, self.small)]:
            self._settle(int(i))

    def near(self, todo: Any, small: float) -> Any:
        """Which of some trajectories have a unit of a squared norm below `small`."""
        return (self.batch.y[np.ix_(todo, self.norms)] < small).any(axis=1)

    def _settle(self, i: int) -> None:
        b, t = self.batch, float(self.batch.numbers[i, TIME])
        units = UnitsAtZero(lambda t: self._committee(i, t), t, self.work, self.atol, self.rtol)
        settled = units.settle(t, b.y[i])
        if settled is not None:
            leaves = units.leaving(b.y[i], settled)
            if leaves and self.known[i] and self._go_back(i):
                return
            b.y[i], b.numbers[i, WISH] = settled, 0.0
            self.high[i] = np.inf
        elif np.isfinite(self.high[i]):
            self._aim(i)
        self._keep(i)

    def _committee(self, i: int, t: float) -> Committee:
        """A trajectory's constants at a time."""
        row = row_at(self.batch, i, t - self.batch.numbers[i, BEGIN])
        found: Committee = decode(self.plan, self.batch.wiring, row)
        return found

    def _keep(self, i: int) -> None:
        b = self.batch
        self.y[i], self.numbers[i], self.row[i] = b.y[i], b.numbers[i], b.counts[i, ROW]
        self.known[i] = bool((b.y[i, self.norms] <= 0.0).any())

    def _go_back(self, i: int) -> bool:
        """Halve the step in which a unit left zero; False once it is short enough."""
        b, t = self.batch, self.batch.numbers[i, TIME]
        if not np.isfinite(self.high[i]):
            self.width[i] = t - self.numbers[i, TIME]
        if t - self.numbers[i, TIME] <= self.rtol * self.width[i]:
            return False
        self.high[i] = t
        b.y[i], b.numbers[i], b.counts[i, ROW] = self.y[i], self.numbers[i], self.row[i]
        self._aim(i)
        return True

    def _aim(self, i: int) -> None:
        """Step half the way to the point at which a unit is known to have left."""
        numbers = self.batch.numbers[i]
        half = 0.5 * (self.high[i] - numbers[TIME])
        wish = numbers[WISH]
        numbers[WISH] = min(wish, half) if wish > 0.0 else half
