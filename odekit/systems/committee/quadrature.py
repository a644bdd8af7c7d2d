"""Moments of an activation that no compiled kernel knows, and the equations made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.committee.activations import Activation, node_counts
from odekit_kernels.committee.quadrature import hermite, kinked
from odekit_kernels.committee.quadrature import nodes as quadrature

LEVEL = 1.1
"""The sizes of fields at which the number of nodes may change are 1.1 · 2^(i/4): not at 1, where
specialised units sit."""
SMALLEST = -16
CHECKED_ROWS = 5
"""Rows at which the error is estimated: it costs some eight right-hand sides each."""


class Moments:
    """Gaussian moments by quadrature, with as many nodes as the size of the fields takes.

    Nodes are fixed while the largest norm stays between two levels, so that the right-hand side is
    smooth there; where they change it jumps by no more than the accuracy.

    Parameters
    ----------
    activation : Activation
    diffusion : bool
        Whether any phase needs moments of four fields.
    """

    def __init__(self, activation: Activation, diffusion: bool) -> None:
        self.activation, self.diffusion = activation, diffusion
        if not activation.is_here:
            activation.function(np.zeros(1))
        self.counts: dict[int, tuple[int, int]] = {}

    def nodes(self, C: Floats) -> tuple[int, int]:
        """Nodes in each direction, and inside, at a covariance."""
        if self.activation.slope is not None:
            return node_counts(self.activation, 1.0, self.diffusion)
        level = level_of(C)
        if level not in self.counts:
            scale = LEVEL * 2.0 ** (level / 4)
            self.counts[level] = node_counts(self.activation, scale, self.diffusion)
        return self.counts[level]

    def rule(self, C: Floats, times: int = 1) -> hermite.Rule:
        """The rule at a covariance, with so many times its nodes."""
        m, inner = self.nodes(C)
        return hermite.make_rule(times * m, times * inner, self.activation.parity != 0)

    def second(self, C: Floats, K: int, times: int = 1) -> tuple[Floats, Floats, Floats]:
        """I2, J2 and G2 of the student's fields with all, shape (K, D) each."""
        a = self.activation
        if a.slope is not None:
            return kinked.second(C, K, a.slope)
        return hermite.second(C, K, a.function, a.derivative, self.rule(C, times))

    def fourth(self, C: Floats, K: int, times: int = 1) -> Floats:
        """I4, shape (K (K + 1) / 2, D, D)."""
        a = self.activation
        if a.slope is not None:
            return kinked.fourth(C, K, a.slope, times * self.nodes(C)[0])
        return hermite.fourth(C, K, a.function, a.derivative, self.rule(C, times))

    def variance(self, C: Floats) -> Floats:
        """I2 of all fields, shape (D, D)."""
        a = self.activation
        if a.slope is not None:
            return kinked.second(C, len(C), a.slope)[0]
        return hermite.variance(C, a.function, self.rule(C))

    def error(self, C: Floats, K: int) -> float:
        """Largest relative change of any moment when the nodes are doubled."""
        one, two = self._all(C, K, 1), self._all(C, K, 2)
        sizes = (max(float(np.abs(x).max()), 1e-300) for x in two)
        off = (float(np.abs(x - y).max()) for x, y in zip(one, two, strict=True))
        return max(x / size for x, size in zip(off, sizes, strict=True))

    def _all(self, C: Floats, K: int, times: int) -> list[Floats]:
        """I2, J2, I3 and, where they are needed, I4."""
        I2, J2, G2 = self.second(C, K, times)
        I3 = C[:K, :, None] * G2[:, None] + C * J2[:, None]
        return [I2, J2, I3, *([self.fourth(C, K, times)] if self.diffusion else [])]

    # ------------------------------------------------------------------------------- the equations

    def rhs(self, y: Floats, eta_w: float, eta_v: float, system: Any, work: Any) -> Floats:
        """Time derivative; NaN where the accuracy is out of reach, which ends a run."""
        if not np.isfinite(y).all():
            return np.full_like(y, np.nan)
        try:
            return quadrature.rhs(y, eta_w, eta_v, system, work, self.second, self.fourth)
        except ProblemError:
            return np.full_like(y, np.nan)

    def errors(self, y: Floats, T: Floats, u: Floats, head: Any, work: Any) -> Floats:
        """Generalization errors of tasks, shape (tasks,)."""
        return quadrature.errors(y, T, u, head, work, self.variance)

    def report(self, rows: Floats, T: Floats, K: int) -> dict[str, Any]:
        """Variables of the dataset: most nodes used, and the error found by doubling them."""
        C = [quadrature.covariance(y, T, K) for y in rows if np.isfinite(y).all()]
        if not C:
            return {"quadrature_nodes": 0, "quadrature_error": np.nan}
        picked = np.unique(np.linspace(0, len(C) - 1, CHECKED_ROWS).round().astype(int))
        return {
            "quadrature_nodes": max(max(self.nodes(c)) for c in C),
            "quadrature_error": max(self.error(C[i], K) for i in picked),
        }


def level_of(C: Floats) -> int:
    """Index of the smallest level that no field exceeds."""
    largest = float(np.diagonal(C).max(initial=0.0))
    if largest <= 0.0:
        return SMALLEST
    return max(int(np.ceil(2.0 * np.log2(largest / LEVEL**2))), SMALLEST)
