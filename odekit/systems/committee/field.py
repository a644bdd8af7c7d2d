"""The equations of a phase of a committee for users: of flat states and of labelled blocks."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.dynamics.field import VectorField
from odekit.problem.phase import Phase
from odekit.problem.system import Block
from odekit.systems.committee.seen import refuse_views

if TYPE_CHECKING:
    from odekit.systems.committee.committeestate import Frame
    from odekit.systems.committee.points import CommitteePoints
    from odekit.systems.committee.problem import Problem


class Blocks(NamedTuple):
    """A point at which a right-hand side is tested.

    Attributes
    ----------
    Q : ndarray, shape (K, K)
        Overlaps of the student's units.
    R : ndarray, shape (K, P)
        Overlaps of the student's units with the fixed vectors.
    T : ndarray, shape (P, P)
        Overlaps of the fixed vectors.
    v : ndarray, shape (K,) or (heads, K)
        Readouts.
    u : ndarray, shape (P,) or (tasks, P), optional
        Readouts of the teachers. Where it is given the right-hand side takes it as its last
        argument; laws that reorder or turn the fixed vectors need it.
    """

    Q: Any
    R: Any
    T: Any
    v: Any
    u: Any = None

    @property
    def joint(self) -> Floats:
        """The joint covariance [[Q, R], [Rᵀ, T]], shape (K + P, K + P)."""
        return np.block([[self.Q, self.R], [np.transpose(self.R), self.T]])

    @classmethod
    def of(cls, covariance: Any, student: int, v: Any, u: Any = None) -> Blocks:
        """Blocks of a joint covariance whose first `student` fields are the student's."""
        C, K = np.asarray(covariance, dtype=float), student
        return cls(C[:K, :K], C[:K, K:], C[K:, K:], np.asarray(v, dtype=float), u)


def layout(points: CommitteePoints, frame: Frame) -> dict[str, Block]:
    """Where Q, R and the readouts stand in a flat state; copies of units have overlaps too."""
    refuse_views(points, "blocks of its equations")
    P, heads = frame.T.shape[1], len(points.heads)
    n = len(points.upper[0]) + points.K * (P + heads)
    Q, R, v = (block.astype(np.int64) for block in points.unpack(np.arange(n, dtype=float)))
    found = {
        "Q": Block(("student", "student_other"), Q),
        "R": Block(("student", "teacher"), R[:, : points.P]),
    }
    if points.P < P:
        found["R_copies"] = Block(("student", "copy"), R[:, points.P :])
    return {**found, "readout": Block(("head", "student"), v)}


class CommitteeField(VectorField):
    """The equations of one phase of a committee.

    Attributes
    ----------
    blocks : Blocks
        The point at which the phase would begin if nothing had moved before. Copies that
        consolidations made count as fixed vectors after the original ones.
    """

    def __init__(self, problem: Problem, phase: int = 0) -> None:
        super().__init__(problem, phase)
        Q, R, v = self.points.unpack(self.start)
        self.blocks = Blocks(Q, R, np.array(self.frame.T[0]), v, np.array(self._committee.u))

    @property
    def _committee(self) -> Any:
        return self.equations.committee

    def __call__(self, t: float, /, *blocks: Any) -> tuple[Floats, Floats, Floats]:
        """DQ, dR, dv in the shapes of the blocks Q, R, T, v and, if given, u."""
        system, y = self._at(blocks)
        dQ, dR, dv = self.points.unpack(system.rhs(t, y))
        return dQ, dR, dv.reshape(np.shape(blocks[3]))

    def error(self, *blocks: Any) -> float:
        """Generalization error of the phase's mixture, Σ_τ p_τ ε_τ, of blocks Q, R, T, v, u."""
        system, y = self._at(blocks)
        c = system.committee
        return float(c.p @ system.errors(y, c.u, c.head))

    def vjp(self, t: float, y: Any, w: Any) -> Floats:
        """Jᵀ w for vectors w (n,) or (n, m): the gradient of w·f; without J where inputs are white.

        A reverse pass takes about two right-hand sides, J as many as there are rows.
        """
        by_pass = getattr(self.equations, "vjp", None)
        found = by_pass(t, self.state(y), self._vectors("w", w)) if by_pass else None
        return super().vjp(t, y, w) if found is None else np.asarray(found)

    def errors_gradient(self, y: Any) -> Floats:
        """Gradients of the errors of all tasks at a state (n,), shape (tasks, n).

        ε = E_vv + E_vu + E_uu of readouts v and u, and v·∂ε/∂v = 2 E_vv + E_vu: with 2u in place of
        u half of it is ε without E_uu, the only part that Q and R do not change. Its derivative
        is in the Jacobian of dv/dt = −∂ε/∂v.
        """
        row = self.state(y)
        found = np.zeros((len(self.tasks), self.size))
        for i, task in enumerate(self.tasks):
            quiet = self._descent(task)
            (head,) = quiet.head
            places = self.layout["readout"].places
            doubled = self.equations.at_point(quiet._replace(u=2.0 * quiet.u), (0.0, 1.0))
            found[i] = -0.5 * row[places[head]] @ doubled.jac(0.0, row)[places[head]]
            found[i, places] = 0.0
            plain = self.equations.at_point(quiet, (0.0, 1.0))
            found[i, places[head]] = -plain.rhs(0.0, row)[places[head]]
        return found

    def _descent(self, task: str) -> Any:
        """A committee that follows dv/dt = −∂ε/∂v of one task, and nothing else."""
        phase = Phase(task, 1.0, 0.0, 1.0, gradient_flow=True)
        frame = replace(self.frame, F_v=np.zeros_like(self.frame.F_v))
        return self.points.committee(phase, frame)

    def _at(self, blocks: tuple[Any, ...]) -> tuple[Any, Floats]:
        """The equations with the given T and u, and the flat state."""
        Q, R, T, v = (np.ascontiguousarray(b, dtype=float) for b in blocks[:4])
        u = self.blocks.u if len(blocks) < 5 or blocks[4] is None else blocks[4]
        rows = np.ascontiguousarray(np.atleast_2d(np.asarray(u, dtype=float)))
        system = self.equations.with_teachers(T, rows)
        return system, self.points.pack(Q[None], R[None], np.atleast_2d(v)[None])[0]
