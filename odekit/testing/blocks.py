"""Right-hand sides as functions of labelled blocks: ours, and what yours must look like."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from odekit.systems.committee.points import CommitteePoints

if TYPE_CHECKING:
    from odekit.systems.committee.problem import Problem
    from odekit.testing.report import Floats


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


class Flow(Protocol):
    """A right-hand side: the equations that a law is tested on.

    Called as ``rhs(t, Q, R, T, v)``, or ``rhs(t, Q, R, T, v, u)`` at a point with `u`; returns
    ``(dQ, dR, dv)`` in the shapes of Q, R and v.
    """

    def __call__(self, t: float, /, *blocks: Any) -> tuple[Any, Any, Any]:
        """Time derivatives of Q, R and v."""


def derivative(rhs: Flow, t: float, at: Blocks) -> tuple[Floats, Floats, Floats]:
    """dQ, dR, dv at a point, as arrays in the shapes of the blocks."""
    arguments = at[:4] if at.u is None else at
    dQ, dR, dv = (np.asarray(d, dtype=float) for d in rhs(t, *arguments))
    for name, d, block in (("dQ", dQ, at.Q), ("dR", dR, at.R), ("dv", dv, at.v)):
        if d.shape != np.shape(block):
            raise ValueError(f"{name} must have the shape {np.shape(block)}, has {d.shape}")
    return dQ, dR, dv


class RightHandSide:
    """odekit's own equations of one phase of a problem, as a function of labelled blocks.

    Attributes
    ----------
    blocks : Blocks
        The point at which the phase would begin if nothing had moved before.
    """

    def __init__(self, problem: Problem, phase: int = 0) -> None:
        self.points = CommitteePoints(problem, {})
        frame, y = self.points.start()
        for index in range(phase + 1):
            frame, y = self.points.enter(index, frame, y)
        self.system = self.points.equations(phase, frame, 0.0)
        self.start = y[0]
        Q, R, v = self.points.unpack(self.start)
        self.blocks = Blocks(Q, R, np.array(frame.T[0]), v, np.array(self.system.committee.u))

    def __call__(self, t: float, /, *blocks: Any) -> tuple[Floats, Floats, Floats]:
        """DQ, dR, dv in the shapes of the blocks."""
        system, y = self._at(blocks)
        dQ, dR, dv = self.points.unpack(system.rhs(t, y))
        return dQ, dR, dv.reshape(np.shape(blocks[3]))

    def error(self, *blocks: Any) -> float:
        """Generalization error of the phase's mixture, Σ_τ p_τ ε_τ."""
        system, y = self._at(blocks)
        c = system.committee
        return float(c.p @ system.errors(y, c.u, c.head))

    def jacobian(self, t: float, *blocks: Any) -> Floats:
        """∂(flat derivative)/∂(flat state), of Q's upper triangle, R and v, shape (n, n)."""
        system, y = self._at(blocks)
        J: Floats = system.jac(t, y)
        return J

    def flat(self, t: float, y: Floats) -> Floats:
        """Derivative of the flat state, shape (n,), at the phase's own T and u."""
        return self.system.rhs(t, y)

    def flat_jacobian(self, t: float, y: Floats) -> Floats:
        """Jacobian of `flat`, shape (n, n)."""
        return self.system.jac(t, y)

    def _at(self, blocks: tuple[Any, ...]) -> tuple[Any, Floats]:
        """The system with the given T and u, and the flat state."""
        Q, R, T, v = (np.ascontiguousarray(b, dtype=float) for b in blocks[:4])
        u = self.blocks.u if len(blocks) < 5 or blocks[4] is None else blocks[4]
        rows = np.ascontiguousarray(np.atleast_2d(np.asarray(u, dtype=float)))
        system = self.system.with_teachers(T, rows)
        return system, self.points.pack(Q[None], R[None], np.atleast_2d(v)[None])[0]


def right_hand_side(problem: Problem, phase: int = 0) -> RightHandSide:
    """The equations of one phase of a problem as a function of labelled blocks.

    Parameters
    ----------
    problem : Problem
        With plain numbers (no sweep dims).
    phase : int
        Which phase. Copies that consolidations made until then are taken of the state at time 0,
        and count as fixed vectors after the original ones.

    Returns
    -------
    RightHandSide
        ``rhs(t, Q, R, T, v) -> (dQ, dR, dv)``, with t the time since the phase began; a fifth block
        u (tasks of the phase, P) stands for the teachers' readouts. Its `blocks` are the point at
        which the phase begins, and `error` is the mixture's generalization error.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[1.0]], R=[[1.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=1.0, learning_rate=1.0)],
    ... )
    >>> rhs = right_hand_side(problem)
    >>> rhs(0.0, *rhs.blocks)[1]                      # a student that equals its teacher
    array([[0.]])
    """
    return RightHandSide(problem, phase)
