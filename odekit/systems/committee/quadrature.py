"""Moments of an activation that no compiled kernel knows, and the equations made of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.committee.activations import NODES, Activation, node_counts
from odekit_kernels.committee.quadrature import hermite, kinked
from odekit_kernels.committee.quadrature import nodes as quadrature

LEVEL = 1.1
"""The sizes of fields at which the number of nodes may change are 1.1 · 2^(i/4): not at 1, where
specialised units sit."""
SMALLEST = -16
MOVED = 0.1
"""Change of a covariance, relative to the largest norm, after which the error is measured anew."""
SLIGHT = 10.0
"""Times the accuracy: an error up to this is mended by more nodes, a larger one ends the run."""
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
        self.measured: dict[int, tuple[tuple[int, int], Floats]] = {}
        self.worst = 0.0
        self.refused = False

    def nodes(self, C: Floats) -> tuple[int, int]:
        """Nodes in each direction, and inside, at a covariance."""
        if self.activation.slope is not None:
            return node_counts(self.activation, 1.0, self.diffusion)
        level = level_of(C)
        if level not in self.counts:
            scale = LEVEL * 2.0 ** (level / 4)
            self.counts[level] = node_counts(self.activation, scale, self.diffusion)
        return self.counts[level]

    def rule(self, C: Floats, times: int = 1) -> hermite.Nodes:
        """The rule at a covariance, with so many times its nodes."""
        m, inner = self.nodes(C)
        return hermite.make_nodes(times * m, times * inner, self.activation.parity != 0)

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
        """Largest relative change of any moment when the nodes are doubled.

        Relative to the largest moment of its kind; I3 to the terms that it is a difference of,
        which cancel where fields are large.
        """
        one, two = self._all(C, K, 1), self._all(C, K, 2)
        return max(
            float(np.abs(x - y).max()) / max(float(size.max()), 1e-300)
            for (x, _), (y, size) in zip(one, two, strict=True)
        )

    def _all(self, C: Floats, K: int, times: int) -> list[tuple[Floats, Floats]]:
        """I2, J2, I3 and, where they are needed, I4, each with the size of its terms."""
        I2, J2, G2 = self.second(C, K, times)
        one, two = C[:K, :, None] * G2[:, None], C * J2[:, None]
        found = [(I2, np.abs(I2)), (J2, np.abs(J2)), (one + two, np.abs(one) + np.abs(two))]
        if self.diffusion:
            I4 = self.fourth(C, K, times)
            found.append((I4, np.abs(I4)))
        return found

    def accurate(self, C: Floats, K: int, law: int = 0) -> bool:
        """Whether the accuracy is kept at a covariance, measured where it has moved by much.

        An error slightly too large takes more nodes from then on.
        """
        try:
            nodes = self.nodes(C)
        except ProblemError:
            return False
        if self._is_near(nodes, C, law):
            return True
        asked = self.activation.accuracy
        found = self.error(C, K)
        while asked < found <= SLIGHT * asked and self._add_nodes(C):
            found = self.error(C, K)
        self.measured[law] = (self.nodes(C), C.copy())
        self.worst = max(self.worst, found)
        return found <= asked

    def _is_near(self, nodes: tuple[int, int], C: Floats, law: int) -> bool:
        """Whether the error was measured about there, under this law of the inputs."""
        if law not in self.measured:
            return False
        then, there = self.measured[law]
        if then != nodes or there.shape != C.shape:
            return False
        return bool(np.abs(C - there).max() <= MOVED * np.diagonal(C).max())

    def _add_nodes(self, C: Floats) -> bool:
        """Take more at fields of this size, if there are more to be had."""
        more = tuple(next((m for m in NODES if m > n), n) for n in self.nodes(C))
        if self.activation.nodes is not None or self.activation.slope is not None:
            return False
        grown = more != self.nodes(C)
        self.counts[level_of(C)] = (more[0], more[1])
        return grown

    # ------------------------------------------------------------------------------- the equations

    def rhs(self, y: Floats, eta_w: float, eta_v: float, system: Any, work: Any) -> Floats:
        """Time derivative; NaN where the accuracy is out of reach, which ends a run."""
        if not np.isfinite(y).all():
            return np.full_like(y, np.nan)
        try:
            return quadrature.rhs(y, eta_w, eta_v, system, work, self.second, self.fourth)
        except ProblemError:
            self.refused = True
            return np.full_like(y, np.nan)

    def errors(self, y: Floats, T: Floats, inputs: Any, u: Floats, head: Any, work: Any) -> Floats:
        """Generalization errors of tasks, shape (tasks,); NaN where they are out of reach."""
        try:
            if inputs is not None:
                given = (inputs, u, head, work, self.variance)
                return quadrature.errors_of_groups(y, T, *given)
            return quadrature.errors(y, T, u, head, work, self.variance)
        except ProblemError:
            return np.full(len(u), np.nan)

    def report(self, rows: Floats, T: Floats, K: int, inputs: Any) -> dict[str, Any]:
        """Variables of the dataset: most nodes used, and the error found by doubling them."""
        sound = [y for y in rows if np.isfinite(y).all()]
        C = [c for y in sound for c in quadrature.covariances(y, T, inputs, K)]
        if not C:
            return {"quadrature_nodes": 0, "quadrature_error": np.nan}
        picked = np.unique(np.linspace(0, len(C) - 1, CHECKED_ROWS).round().astype(int))
        try:
            most = max(max(self.nodes(c)) for c in C)
            found = max(self.worst, *(self.error(C[i], K) for i in picked))
        except ProblemError:
            most, found = max((max(n) for n in self.counts.values()), default=0), np.inf
        return {"quadrature_nodes": most, "quadrature_error": found}


def level_of(C: Floats) -> int:
    """Index of the smallest level that no field exceeds."""
    largest = float(np.diagonal(C).max(initial=0.0))
    if largest <= 0.0:
        return SMALLEST
    return max(int(np.ceil(2.0 * np.log2(largest / LEVEL**2))), SMALLEST)
