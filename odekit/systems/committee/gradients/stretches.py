"""Recorded steps of one method, and how derivatives go through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.integrate import collocation
from odekit.systems.committee.gradients.stages import MOST_AT_ONCE
from odekit.systems.committee.gradients.tables import Basis, against, together
from odekit_kernels.committee.replay import Course
from odekit_kernels.integrators.runge_kutta import Pair
from odekit_kernels.integrators.variations import Stages

NOTHING = np.zeros(4)
RADAU = Pair(collocation.A, collocation.B, collocation.C, NOTHING, NOTHING, -1 / 5)
Rates = Sequence[tuple[int, int, Basis]]
"""See `PhaseColumns.rates`."""


@dataclass
class Stretch:
    """Explicit steps of a phase.

    Attributes
    ----------
    course : Course
    pair : Pair
    """

    course: Course
    pair: Pair

    @property
    def _times(self) -> tuple[Floats, Floats]:
        """Times of all stages (steps, s), and of the middles of the steps (steps, 1)."""
        t, h = self.course.t[:, np.newaxis], self.course.h[:, np.newaxis]
        return t + h * self.pair.C, t + 0.5 * h

    def integrals(self, kernels: Any, Z: Floats, rows: int) -> Floats:
        """Move integrals of the errors (W,) along; what they are at the rows, (rows, W)."""
        found: Floats = kernels.integrals(self.course, self.pair, Z, rows)
        return found

    def forward(
        self, kernels: Any, S: Floats, Z: Floats, theta: Floats, rates: Rates, rows: int
    ) -> tuple[Floats, Floats]:
        """Move sensitivities of state and integrals along; what they are at the rows."""
        along = np.array([(layer, j) for layer, j, _ in rates], dtype=np.int64).reshape(-1, 2)
        by_rate = together([basis for *_, basis in rates], *self._times)
        return self._forward(kernels, S, Z, theta, along, by_rate, rows)

    def backward(
        self, kernels: Any, lam: Floats, zeta: Floats, bump: Floats, bump_zeta: Floats,
        rates: Rates, alpha: Floats,
    ) -> Floats:  # fmt: skip
        """Move derivatives by state and integrals back, add those by rates to `alpha` (q, m).

        Returns those by the frame and the phase's numbers, (q, …).
        """
        q, times = len(lam), self._times
        by_rate = np.zeros((q, *times[0].shape, 2 + kernels.more))
        found = self._backward(kernels, lam, zeta, bump, bump_zeta, by_rate)
        for layer in sorted({layer for layer, *_ in rates}):
            own = [(j, basis) for which, j, basis in rates if which == layer]
            sums = against([basis for _, basis in own], *times, by_rate[..., layer])
            np.add.at(alpha.T, [j for j, _ in own], sums.T)
        return found

    def _forward(
        self, kernels: Any, S: Floats, Z: Floats, theta: Floats, along: Any, by_rate: Floats,
        rows: int,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        found: tuple[Floats, Floats] = kernels.forward(
            self.course, self.pair, S, Z, theta, along, by_rate, rows
        )
        return found

    def _backward(
        self, kernels: Any, lam: Floats, zeta: Floats, bump: Floats, bump_zeta: Floats,
        by_rate: Floats,
    ) -> Floats:  # fmt: skip
        found: Floats = kernels.backward(
            self.course, self.pair, lam, zeta, bump, bump_zeta, by_rate
        )
        return found


@dataclass
class Stiff(Stretch):
    """Steps of Radau IIA.

    Attributes
    ----------
    states : ndarray, shape (steps, 3, n)
        At the stages.
    """

    states: Floats

    def integrals(self, kernels: Any, Z: Floats, rows: int) -> Floats:
        """See `Stretch`."""
        out = np.zeros((rows, Z.size))
        for part, stages in self._blocks(kernels, Z.size) if Z.size else ():
            pieces = self.course.h[part, np.newaxis] * (collocation.B @ stages.e)
            whole, row = Z + np.cumsum(pieces, axis=0), self.course.row[part]
            out[row[row >= 0]], Z[:] = whole[row >= 0], whole[-1]
        return out

    def _forward(
        self, kernels: Any, S: Floats, Z: Floats, theta: Floats, along: Any, by_rate: Floats,
        rows: int,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        out_S, out_Z = np.zeros((rows, *S.shape)), np.zeros((rows, *Z.shape))
        for part, stages in self._blocks(kernels, len(Z)):
            h, row = self.course.h[part], self.course.row[part]
            given = (S, theta, along, by_rate[:, part], Z)
            collocation.forward(stages, h, row, *given, out_S, out_Z)
        return out_S, out_Z

    def _backward(
        self, kernels: Any, lam: Floats, zeta: Floats, bump: Floats, bump_zeta: Floats,
        by_rate: Floats,
    ) -> Floats:  # fmt: skip
        found = np.zeros((len(lam), kernels.d))
        for part, stages in self._blocks(kernels, zeta.shape[1], back=True):
            h, row = self.course.h[part], self.course.row[part]
            given = (lam, zeta, bump, bump_zeta, found, by_rate[:, part])
            collocation.backward(stages, h, row, *given)
        return found

    def _blocks(
        self, kernels: Any, W: int, *, back: bool = False
    ) -> Iterator[tuple[slice, Stages]]:
        """Some steps at a time, and derivatives at their stages."""
        count, s, n = self.states.shape
        most = max(MOST_AT_ONCE // (s * (n * (n + kernels.d + 2) + W * (n + kernels.d + 1))), 1)
        begins = range(0, count, most)
        for begin in reversed(begins) if back else begins:
            part = slice(begin, begin + most)
            states, times = self.states[part], self._times[0][part]
            found = kernels.linearised(states.reshape(-1, n), times.ravel(), W)
            yield part, Stages(*(a.reshape(len(states), s, *a.shape[2:]) for a in found))
