"""Structured problems of activations whose moments come from quadrature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.committee.activations import KINKED_NODES, Activation
from odekit.systems.committee.generalphase import GeneralPhase
from odekit.systems.committee.quadrature import Moments
from odekit_kernels.committee.general import nodes
from odekit_kernels.committee.general.alone import law_alone
from odekit_kernels.committee.quadrature import means, rectified
from odekit_kernels.committee.quadrature.hermite import Nodes, line, make_nodes

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.general import GeneralPoints
    from odekit.systems.committee.generalstate import Frame

KINKED = "must be 'relu', erf, linear or a smooth one with outputs, labels, means, biases or masks"


class MeanMoments(Moments):
    """Moments of fields with means, with as many nodes as their size takes.

    Parameters
    ----------
    activation : Activation
    diffusion : bool
        Whether any phase needs moments of four fields.
    """

    def __init__(self, activation: Activation, diffusion: bool) -> None:
        super().__init__(activation, diffusion)
        if activation.slope not in (None, 0.0):
            raise ProblemError("activation", KINKED, repr(activation.name), "")

    def kernels(self, times: int = 1) -> nodes.Moments:
        """As the kernels take them, with so many times the nodes."""
        a = self.activation
        if a.slope is not None:
            return nodes.Rectified(times * KINKED_NODES)
        return nodes.Smooth(a.function, a.derivative, lambda M, C: self._rule(M, C, times))

    def _rule(self, M: Floats, C: Floats, times: int) -> Nodes:
        m, inner = self.nodes(enlarged(M, C))
        return make_nodes(times * m, times * inner, False)

    def change(self, M: Floats, C: Floats, K: int) -> float:
        """Largest relative change of any moment when the nodes are doubled."""
        one, two = self._each(M, C, K, 1), self._each(M, C, K, 2)
        return max(
            float(np.abs(x - y).max()) / max(float(np.abs(y).max()), 1e-300)
            for x, y in zip(one, two, strict=True)
        )

    def _each(self, M: Floats, C: Floats, K: int, times: int) -> list[Floats]:
        """E[g'_k g_a], E[g'_k g'_a], E[g_k g_a], and of the η² line those of four fields."""
        a = self.activation
        if a.slope is not None:
            return [*rectified.triples(M, C, K, times * KINKED_NODES)]
        rule = self._rule(M, C, times)
        found = means.pairs(M, C, K, a.function, a.derivative, rule)
        parts = [found.F + np.abs(found.J2).max(), found.J2, found.I2]
        if self.diffusion:
            parts.append(means.triples(M, C, K, a.function, a.derivative, rule)[1])
        return parts

    def of_units(self, M: Floats, C: Floats) -> tuple[Floats, Floats]:
        """E[g(φ)²] and E[g'(φ)²] of single fields, of the shape of their means."""
        m, _ = self.nodes(enlarged(M.ravel(), np.diag(C.ravel())))
        z, w = line(2 * m)
        x = M[..., np.newaxis] + np.sqrt(np.maximum(C, 0.0))[..., np.newaxis] * z
        g, dg = self.activation.function(x), self.activation.derivative(x)
        return np.asarray(np.asarray(g) ** 2 @ w), np.asarray(np.asarray(dg) ** 2 @ w)

    def report_fields(self, given: list[tuple[Floats, Floats]], K: int) -> dict[str, Any]:
        """Variables of the dataset: most nodes used, and the error found by doubling them."""
        found = max([self.worst, *(self.change(M, C, K) for M, C in given)])
        most = max(max(self.nodes(enlarged(M, C))) for M, C in given)
        return {"quadrature_nodes": most, "quadrature_error": found}


def enlarged(M: Floats, C: Floats) -> Floats:
    """A covariance whose fields reach as far as those with means: what nodes are counted for."""
    return np.diag((np.sqrt(np.maximum(np.diagonal(C), 0.0)) + np.abs(M) / 3.0) ** 2)


class GeneralQuadraturePhase(GeneralPhase):
    """Equations of a phase at nodes."""

    refused = False

    def __init__(self, points: GeneralPoints, phase: Phase, frame: Frame, begin: float) -> None:
        super().__init__(points, phase, frame, begin)
        assert points.moments is not None
        self.moments, self.K = points.moments, points.K
        self.kernels = self.moments.kernels()

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,); NaN where the moments are less accurate than was asked."""
        self._set_rates(t)
        if not np.isfinite(y).all():
            return np.full_like(y, np.nan)
        try:
            return nodes.rhs(self.memory, self.plan, self.wiring, y, self.kernels)
        except ProblemError:
            self.refused = True
            return np.full_like(y, np.nan)

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian by central differences, shape (n, n)."""
        h = 1e-5 * np.maximum(np.abs(y), 0.1)
        steps = np.diag(h)
        columns = [(self.rhs(t, y + s) - self.rhs(t, y - s)) / (2.0 * s.sum()) for s in steps]
        return np.array(columns).T

    def event(self, y: Floats) -> float:
        """Largest error of a watched task over its threshold, less one."""
        found = nodes.errors(self.memory, self.plan, self.wiring, y, self.kernels)
        return float((found / self.levels).max()) - 1.0

    def accurate(self, y: Floats) -> bool:
        """Whether the moments are as accurate as was asked for, under every law."""
        self.refused = False
        asked = self.moments.activation.accuracy
        try:
            for law, (M, C) in enumerate(fields_of(self.memory, self.plan, self.wiring, y)):
                wide = enlarged(M, C)
                if self.moments._is_near(self.moments.nodes(wide), wide, law):
                    continue
                found = self.moments.change(M, C, self.K)
                self.moments.measured[law] = (self.moments.nodes(wide), wide)
                self.moments.worst = max(self.moments.worst, found)
                if found > 10.0 * asked:
                    return False
        except ProblemError:
            return False
        return True


def fields_of(memory: Floats, plan: Any, wiring: Any, y: Floats) -> list[tuple[Floats, Floats]]:
    """Means and covariances of the fields under every law."""
    found = []
    for v in range(plan.V):
        law_alone(memory, plan, wiring, y, v)
        M, C = nodes.fields(memory, plan)
        found.append((M.copy(), C.copy()))
    return found
