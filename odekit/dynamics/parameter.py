"""The equations of a phase for every value of one number of the problem."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from odekit.base.arrays import Floats, Indices
from odekit.base.errors import ProblemError
from odekit.base.status import Convergence
from odekit.dynamics.field import VectorField, checked
from odekit.dynamics.newton import newton, still_entries
from odekit.dynamics.rest import PHYSICAL
from odekit.problem.base import AnyProblem
from odekit.problem.system import Resting

KEPT = 32
"""Fields kept: a Newton step asks for a few neighbouring values again and again."""
NUDGE = 1e-4
"""Relative change of a state that shows which entries never move."""


class OneParameter:
    """Flat equations f(y, μ) of the entries that move, in units of the learning rate.

    Entries whose derivative vanishes whatever the state (readouts at rate 0, frozen units) are
    numbers of the problem rather than of the state: they stay what they are. Dividing by the
    learning rate leaves fixed points as they are, and equations that stay regular as it goes to 0.

    Parameters
    ----------
    problem_of : callable
        The problem for a value of the number.
    phase : int
    between : tuple of float
        The range of values.
    """

    def __init__(
        self, problem_of: Callable[[float], AnyProblem], phase: int, between: tuple[float, float]
    ) -> None:
        self.problem_of, self.phase, self.between = problem_of, phase, between
        self._fields: OrderedDict[float, VectorField] = OrderedDict()
        self.evaluations = 0
        self.moving = np.zeros(0, dtype=bool)
        self.whole = np.zeros(0)

    def hold(self, y: Floats) -> None:
        """Take from a state the entries that never move.

        Raises
        ------
        ProblemError
            If nothing moves at an end of the range.
        """
        self.whole = np.array(y)
        lo, hi = self.between
        moves = [self._moves(y, mu) for mu in (lo, 0.5 * (lo + hi), hi)]
        self.moving = np.logical_or.reduce(moves)
        for mu, there in zip((lo, hi), (moves[0], moves[-1]), strict=True):
            if not there.any():
                rule = "must leave out values at which nothing moves"
                remedy = "With learning rates of 0 every state is a fixed point."
                raise ProblemError("between", rule, f"{mu:g}", remedy)

    def _moves(self, y: Floats, mu: float) -> Any:
        """Which entries of the derivative do not vanish at and around a state."""
        try:
            field = self.field(mu)
        except ProblemError:
            return np.zeros(y.size, dtype=bool)
        nudged = y * (1.0 + NUDGE * np.cos(np.arange(y.size))) + NUDGE * np.sin(np.arange(y.size))
        moves = np.zeros(y.size, dtype=bool)
        for state in (y, nudged):
            f, J = field.rhs(0.0, state), field.jac(0.0, state)
            moves |= ~still_entries(f[np.newaxis], J[np.newaxis])[0]
        return moves

    def field(self, mu: float) -> VectorField:
        """The equations at a value of the number."""
        if mu not in self._fields:
            problem = self.problem_of(mu)
            checked(problem, self.phase)
            make = problem.system.field() or VectorField
            self._fields[mu] = make(problem, self.phase)
            if len(self._fields) > KEPT:
                self._fields.popitem(last=False)
        self._fields.move_to_end(mu)
        return self._fields[mu]

    def rate(self, mu: float) -> float:
        """The unit of the derivative: the largest learning rate, if one is not 0."""
        rates = self.field(mu).problem.phases[self.phase].every_rate
        return max(float(rate) for rate in rates) or 1.0

    def full(self, y: Floats) -> Floats:
        """The whole state of the entries that move."""
        whole = self.whole.copy()
        whole[self.moving] = y
        return whole

    def f(self, y: Floats, mu: float) -> Floats:
        """Derivative of the entries that move, over the learning rate."""
        self.evaluations += 1
        return np.asarray(self.field(mu).rhs(0.0, self.full(y))[self.moving] / self.rate(mu))

    def jac(self, y: Floats, mu: float) -> Floats:
        """Its Jacobian."""
        J = self.field(mu).jac(0.0, self.full(y))
        return np.asarray(J[np.ix_(self.moving, self.moving)] / self.rate(mu))

    def near(self, y: Floats, mu: float) -> tuple[Floats, Convergence]:
        """The fixed point that Newton's method finds from a state, both of the entries that move.

        Returns
        -------
        tuple of ndarray, shape (n,), and Convergence
        """

        def derivatives(states: Floats, _which: Indices) -> tuple[Floats, Floats]:
            return self.f(states[0], mu)[np.newaxis], self.jac(states[0], mu)[np.newaxis]

        found = newton(derivatives, y[np.newaxis])
        return found.y[0], Convergence(int(found.status[0]))

    def physical(self, y: Floats, mu: float) -> int:
        """Whether a fixed point is one of real vectors, 1 or 0."""
        field, whole = self.field(mu), self.full(y)
        none = np.zeros((whole.size, 0))
        resting = Resting(
            y=whole[np.newaxis],
            which=np.zeros(1, dtype=np.int64),
            errors=field.errors(whole)[np.newaxis],
            free=np.zeros(1, dtype=np.int64),
            still=~self.moving[np.newaxis],
            space=lambda _: none,
        )
        system = field.problem.system
        lowest = system.judged(field.points, self.phase, field.frame, resting).lowest
        return int(lowest is None or lowest[0] >= PHYSICAL)
