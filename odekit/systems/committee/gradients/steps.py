"""Steps of a phase that is to be differentiated, explicit or implicit, as they are taken."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import Unreached
from odekit.base.status import Status
from odekit.integrate import collocation
from odekit.integrate.explicit import EXPLICIT
from odekit.integrate.options import SolverOptions
from odekit.integrate.policy import EXPLICIT_KIND, IMPLICIT_KIND, Policy
from odekit.integrate.stepper import Budget, Guarded, Halt, NotFinite, Stepper
from odekit.systems.committee.gradients.kernels import Kernels
from odekit.systems.committee.gradients.stretches import RADAU, Stiff, Stretch
from odekit.systems.committee.rates import as_rate
from odekit_kernels.committee.replay import FULL, REACHED, Course, record
from odekit_kernels.integrators.runge_kutta import Pair

ROOM = 1024
"""Steps whose memory is had at once."""
FIRST_WISH = 1e-3
"""Step to try first; a step that is too long is tried again."""
NEAR_LIMIT = 0.75
"""Explicit steps longer than this part of the cap are held down by it."""
MOST_KEPT = 2**24
"""Numbers (128 MiB) of derivatives at stages that are kept of a phase; found again beyond."""
FEW = 8
"""Steps of which the longest tells: one that lands on a row is cut short."""
SEE = "See the status of odekit.solve."


@dataclass(frozen=True)
class Accuracy:
    """How steps are taken.

    Attributes
    ----------
    integrator : str or None
        None changes between DOP853 and Radau as `odekit.solve` does.
    rtol, atol : float
    cap : float
        Explicit steps are no longer than cap/ρ(J).
    max_steps : int
    """

    integrator: str | None = "DOP853"
    rtol: float = 1e-8
    atol: float = 1e-11
    cap: float = 2.0
    max_steps: int = 1_000_000

    @property
    def pair(self) -> Pair:
        """The tableau of explicit steps, scipy's."""
        name = "RK45" if self.integrator == "RK45" else EXPLICIT_KIND
        pair: Pair = EXPLICIT[name].pair
        return pair

    @property
    def kind(self) -> str:
        """Which kind of steps a run begins with."""
        return IMPLICIT_KIND if self.integrator == IMPLICIT_KIND else EXPLICIT_KIND


@dataclass
class Pieces:
    """Steps of one kind: where they begin, how long they are, and states at their stages."""

    implicit: bool
    t: list[Floats] = field(default_factory=list)
    h: list[Floats] = field(default_factory=list)
    y: list[Floats] = field(default_factory=list)
    k: list[Floats] = field(default_factory=list)
    states: list[Floats] = field(default_factory=list)


class Steps:
    """Takes the steps of one phase.

    Parameters
    ----------
    how : Accuracy
    kernels : Kernels
    y : ndarray, shape (n,)
    wish : float
        Step to try first.
    before : int
        Steps of the phases before.
    """

    def __init__(
        self, how: Accuracy, kernels: Kernels, y: Floats, wish: float, before: int
    ) -> None:
        self.how, self.kernels = how, kernels
        self.schedules = [as_rate(rate) for rate in kernels.own.phase.common_rates]
        self.t, self.y, self.wish, self.count = 0.0, y.copy(), wish, before
        self.policy = Policy(how.kind)
        self.pieces: list[Pieces] = []
        # Groups and structured problems go through their steps by Jacobians, all stages at once.
        self.left = MOST_KEPT if kernels.replays else 0

    def run(self, stops: Floats) -> None:
        """Step to the last stop, landing on each."""
        while stops.size:
            explicit = self.policy.kind == EXPLICIT_KIND
            self.pieces.append(Pieces(not explicit))
            (self._explicit if explicit else self._implicit)(stops)
            stops = stops[stops > self.t]

    def stretches(self, rows: Floats) -> list[Stretch]:
        """The steps, method by method; row i is where a step ends at `rows[i]`."""
        parts = [piece for piece in self.pieces if piece.t]
        found: list[Stretch] = []
        # None of a phase that ends as it begins.
        lasts = [*(piece.t[0][0] for piece in parts), self.t][1:]
        for piece, last in zip(parts, lasts, strict=True):
            t, h, y = (np.concatenate(one) for one in (piece.t, piece.h, piece.y))
            pair = RADAU if piece.implicit else self.how.pair
            s, row = pair.B.size, np.full(h.size, -1, dtype=np.int64)
            ends = np.append(t[1:], last)
            place = np.minimum(np.searchsorted(ends, rows), ends.size - 1)
            here = np.flatnonzero(ends[place] == rows)
            row[place[here]] = here
            k = np.concatenate([np.zeros((0, s, self.y.size)), *piece.k])
            rates = self.kernels.rates(t[:, None] + h[:, None] * pair.C[:s])
            course = Course(t, h, y, rates, row, k if len(k) == h.size else k[:0])
            found.append(
                Stiff(course, pair, np.stack(piece.states))
                if piece.implicit
                else Stretch(course, pair)
            )
        return found

    # ------------------------------------------------------------------------------------ explicit

    def _explicit(self, stops: Floats) -> None:
        """Steps to the last stop, or up to where implicit ones pay."""
        n, how, kernels = self.y.size, self.how, self.kernels
        by, flat = kernels.slopes(n)
        atol = np.full(n, how.atol)
        some = ROOM if how.integrator is not None else self.policy.wait
        while True:
            room = (np.zeros(some), np.zeros(some), np.zeros((some, n)))
            slopes = np.zeros((some if self.left > 0 else 0, how.pair.B.size, n))
            ended, done, self.t, self.wish = record(
                self.t, self.wish, self.y, stops, *self.schedules, kernels.committee, kernels.work,
                kernels.watch, kernels.tape, by, flat, how.pair, how.rtol, atol, how.cap, *room,
                slopes,
            )  # fmt: skip
            self._keep(*(part[:done].copy() for part in room))
            self.pieces[-1].k.append(slopes[:done].copy())
            self.left -= slopes[:done].size
            if ended == REACHED:
                return
            if ended != FULL or not np.isfinite(self.y).all():
                given = f"a step of no length at t = {self.t:.6g}"
                raise Unreached(Status.STALLED, given, SEE)
            if how.integrator is None:
                h, left = float(room[1][-FEW:].max()), float(stops[-1] - self.t)
                worth = self.policy.worth_a_look(h, left)
                if worth and self._stiff(h, left, stops):
                    return
                some = self.policy.wait if worth else ROOM

    def _stiff(self, h: float, left: float, stops: Floats) -> bool:
        """Whether explicit steps are held down by their cap, and implicit ones pay."""
        rows = int((stops > self.t).sum())
        J = self.kernels.jacobian(self.y, self.t)
        self.policy.judge(h, left, rows, J, limit=NEAR_LIMIT * self.how.cap)
        return self.policy.kind == IMPLICIT_KIND

    # ------------------------------------------------------------------------------------ implicit

    def _implicit(self, stops: Floats) -> None:
        """Steps to the last stop, or up to where explicit ones do."""
        options = SolverOptions(rtol=self.how.rtol, atol=self.how.atol)
        rhs = Guarded(lambda t, y: self.kernels.derivative(y, t), Budget(options))
        left = True
        for stop in stops[stops > self.t]:
            h = min(self.wish, stop - self.t)
            try:
                stepper = Stepper("Radau", rhs, self._jac, self.t, self.y, stop, options, h)
                stepper.limit(self._longest(stops))
                while not stepper.finished and left:
                    left = self._one(stepper, rhs, stops)
            except (Halt, NotFinite) as error:
                status = error.status if isinstance(error, Halt) else Status.NONFINITE
                raise Unreached(status, f"{status.word} at t = {self.t:.6g}", SEE) from None
            if not left:
                return

    def _one(self, stepper: Stepper, rhs: Guarded, stops: Floats) -> bool:
        """One step with its stages solved to rounding; whether the next is implicit, too."""
        t, y = stepper.step()
        solver = stepper.solver
        h = float(solver.t - t)
        times, kernels = t + h * collocation.C, self.kernels
        states = collocation.solved(
            y, h, y + solver.Z,
            lambda i, at: kernels.derivative(at, times[i]),
            lambda i, at: kernels.jacobian(at, times[i]),
        )  # fmt: skip
        if states is None:
            given = f"stages that Newton's method misses at t = {t:.6g}"
            raise Unreached(Status.SOLVER_FAILED, given, "Make `rtol` smaller.")
        self.pieces[-1].states.append(states)
        solver.y, solver.f = states[-1].copy(), rhs(solver.t, states[-1])
        self.t, self.y = float(solver.t), states[-1].copy()
        self._keep(np.array([t]), np.array([h]), y[np.newaxis])
        self.wish = float(max(solver.h_abs, stepper.unclipped))
        stepper.limit(self._longest(stops))
        return self.policy.kind == IMPLICIT_KIND

    def _longest(self, stops: Floats) -> float:
        """Longest step that growing modes allow; says besides which method is next."""
        left, rows = float(stops[-1] - self.t), int((stops > self.t).sum())
        if left > 0 and self.policy.due(self.y.size):
            self.policy.judge(self.wish, left, rows, self._jac(self.t, self.y))
        if self.how.integrator is not None:
            self.policy.kind = IMPLICIT_KIND
        return self.policy.longest

    def _jac(self, t: float, y: Floats) -> Floats:
        found = self.kernels.jacobian(y, t)
        if not np.isfinite(found).all():
            raise NotFinite
        return found

    def _keep(self, t: Floats, h: Floats, y: Floats) -> None:
        piece = self.pieces[-1]
        for there, part in ((piece.t, t), (piece.h, h), (piece.y, y)):
            if part.size:
                there.append(part)
        self.count += t.size
        if self.count > self.how.max_steps:
            stiff = self.how.integrator in ("DOP853", "RK45")
            remedy = 'Take `integrator=None` or "Radau"' if stiff else "End it earlier"
            given = f"more than {self.how.max_steps} steps"
            raise Unreached(Status.STEP_BUDGET, given, f"{remedy}, or raise `max_steps`.")
