"""Advance one phase of any system of equations through scipy, and keep what was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import brentq

from odekit.base.arrays import Floats
from odekit.base.status import Outcome, Status, ended
from odekit.integrate.explicit import EXPLICIT
from odekit.integrate.options import SolverOptions
from odekit.integrate.policy import Policy, spectrum
from odekit.integrate.stepper import Budget, Guarded, Halt, NotFinite, Stepper
from odekit.problem.system import Equations

FIRST_WALK, LONG_WALK = 16, 0.02
"""Explicit steps that are taken at once first, and seconds that it may take to take more."""
LOOKS = 8
"""Parts of a step at whose ends thresholds are looked at: an error may dip and rise within one."""


@dataclass
class Position:
    """Where integration stands: enough to go on as if it had never stopped."""

    t: float
    y: Floats
    h: float | None = None
    f: Floats | None = None
    policy: Policy = field(default_factory=Policy)
    used: list[str] = field(default_factory=list)


@dataclass
class End:
    """How a phase ended."""

    status: Status
    outcome: Outcome


class Integrator:
    """Steps one phase from a `Position` to its end.

    Parameters
    ----------
    equations : Equations
    position : Position
        Changed in place; after an exception it holds the last accepted step.
    end : float
        Time at which the phase ends at the latest.
    targets : array
        Times after ``position.t`` at which rows are wanted, increasing.
    emit : callable
        Takes the times of some rows and their states, (rows,) and (rows, n).
    after_step : callable
        Called after every accepted step, rows included; may raise `Halt`.
    """

    def __init__(
        self,
        equations: Equations,
        position: Position,
        end: float,
        targets: Floats,
        options: SolverOptions,
        budget: Budget,
        emit: Callable[[Floats, Floats], None],
        after_step: Callable[[Position], None],
    ) -> None:
        self.equations, self.position, self.end = equations, position, end
        self.targets, self.next_target = targets, 0
        self.options, self.budget = options, budget
        self.emit, self.after_step = emit, after_step
        self.rhs = Guarded(equations.rhs, budget, equations)
        self.moved = False
        self.walks = not equations.has_event and options.steady_state is None
        self.patience = FIRST_WALK
        self.corners = equations.corners(options.atol, options.rtol)
        corners = self.corners
        self.atol = options.atol if corners is None else corners.tolerance(position.y.size)
        self.floor = None if corners is None else corners.floor(position.y.size)

    def run(self) -> End:
        """Integrate to the end of the phase, or to what stops it before."""
        try:
            outcome = self._advance()
        except Halt as halt:
            return End(halt.status, Outcome.FAILED)
        except NotFinite:
            return End(Status.NONFINITE, Outcome.FAILED)
        return End(Status.COMPLETED, outcome)

    def _jac(self, t: float, y: Floats) -> Floats:
        self.budget.jacobians += 1
        J = self.equations.jac(t, y)
        # LSODA swallows what its Jacobian raises, and fails on NaN as it should.
        if self.options.method != "LSODA" and not np.isfinite(J).all():
            raise NotFinite
        return J

    def _advance(self) -> Outcome:
        if self.equations.has_event and self.equations.event(self.position.y) <= 0:
            return Outcome.THRESHOLD
        settled = (
            None if self.corners is None else self.corners.settle(self.position.t, self.position.y)
        )
        if settled is not None:
            self._stand(self.position.t, settled)
        for bound in self._bounds():
            outcome = self._to_bound(bound)
            if outcome is not None:
                return outcome
        return ended(False, self.equations.has_event)

    def _bounds(self) -> Iterator[float]:
        """Times to land on: kinks of a schedule, then the end."""
        yield from (b for b in self.equations.breaks if self.position.t < b < self.end)
        if self.position.t < self.end:
            yield self.end

    def _to_bound(self, bound: float) -> Outcome | None:
        while self.position.t < bound:
            with self.rhs.stopping():
                stepper = self._stepper(bound)
            kind = stepper.kind
            while stepper.kind == kind and self.position.t < bound:
                outcome = None if self._walk(stepper) else self._one_step(stepper, bound)
                if outcome is not None:
                    return outcome
                kind = self._kind(stepper)
        return None

    def _stand(self, t: float, y: Floats) -> None:
        """Go on from another point than the last step's, with a step yet to be chosen."""
        p = self.position
        p.t, p.y, p.h, p.f = t, y, None, None
        self.moved = True

    def _stepper(self, bound: float) -> Stepper:
        p, self.moved = self.position, False
        kind = self.options.method or p.policy.kind
        if not p.used or p.used[-1] != kind:
            p.used.append(kind)
        landing = self._landing(kind, bound, smooth=False)
        h = self.options.first_step if p.h is None else p.h
        start = (p.t, p.y, landing)
        stepper = Stepper(kind, self.rhs, self._jac, *start, self.options, h, p.f, self.atol)
        if self.options.method is None:
            stepper.limit(p.policy.longest)
        return stepper

    def _landing(self, kind: str, bound: float, smooth: bool) -> float:
        """Radau steps onto every row, unless its interpolant is as accurate as its steps."""
        if kind != "Radau" or smooth or self.next_target >= len(self.targets):
            return bound
        return min(bound, float(self.targets[self.next_target]))

    def _aim(self, stepper: Stepper, bound: float) -> None:
        """Choose where Radau lands next."""
        if not stepper.smooth and stepper.bound < bound:
            stepper.look_inside()
        landing = self._landing(stepper.kind, bound, stepper.smooth)
        if landing != stepper.bound:
            stepper.extend(landing)

    def _walk(self, stepper: Stepper) -> bool:
        """Take many explicit steps in one call, if that can be had and nothing is to be watched."""
        if not self.walks or stepper.kind not in EXPLICIT:
            return False
        self.budget.check()
        own = self.options.method is not None
        most = min(self.patience, self.budget.ahead)
        most = most if own else min(most, self.position.policy.ahead)
        begun = time.monotonic()
        with self.rhs.stopping():
            found = stepper.walk(most, self.targets[self.next_target :], self.floor)
        if found is None or not found.steps:
            self.walks = found is not None or self.floor is not None
            return False
        self._be_patient(time.monotonic() - begun, found.steps)
        self.budget.spend_steps(found.steps, found.t, self.end)
        if not own:
            self.position.policy.since += found.steps - 1  # the last is counted where it is judged
        if len(found.rows):
            upto = self.next_target + len(found.rows)
            self.emit(self.targets[self.next_target : upto], found.rows)
            self.next_target = upto
        p = self.position
        p.t, p.y, p.h, p.f = found.t, found.y, found.h, found.f
        self.after_step(p)
        return True

    def _be_patient(self, seconds: float, steps: int) -> None:
        """Walks are such that Ctrl-C and the time allowed are looked at often enough."""
        if seconds < LONG_WALK:
            self.patience *= 2 if steps == self.patience else 1
        else:
            self.patience = max(self.patience // 2, 1)

    def _one_step(self, stepper: Stepper, bound: float) -> Outcome | None:
        self.budget.check()
        with self.rhs.stopping():
            t_old, y_old = stepper.step()
        self.budget.spend_steps(1, stepper.t, self.end)
        watched = self.equations.has_event
        bracket = self._threshold_within(stepper, t_old, y_old) if watched else None
        if bracket is not None:
            self._stop_at_event(stepper, t_old, y_old, bracket)
            return Outcome.THRESHOLD
        settled = None if self.corners is None else self.corners.settle(stepper.t, stepper.y)
        if settled is not None:
            self._settle(stepper, t_old, y_old, settled)
            self.after_step(self.position)
            return None
        self._emit_rows(stepper, t_old, y_old, stepper.t, stepper.y)
        p = self.position
        p.t, p.y, p.h, p.f = stepper.t, stepper.y.copy(), stepper.h, stepper.f
        if stepper.kind == "Radau":
            self._aim(stepper, bound)
            p.h = stepper.h
        # Before a checkpoint can be written: a run resumed from it would take another step.
        if self._is_steady(stepper):
            return Outcome.STEADY
        self.after_step(p)
        return None

    def _settle(self, stepper: Stepper, t_old: float, y_old: Floats, settled: Floats) -> None:
        """Stand where a unit fell to zero in the step just taken, or left it."""
        assert self.corners is not None
        t = stepper.t
        if self.corners.leaving(stepper.y, settled):
            solution = stepper.within_step(t_old, y_old)
            t, settled = self.corners.when(solution, t_old, t, settled)
        self._emit_rows(stepper, t_old, y_old, t, settled)
        self._stand(t, settled)

    def _emit_rows(
        self, stepper: Stepper, t_old: float, y_old: Floats, end: float, last: Floats
    ) -> None:
        """Emit the rows of the step just taken up to a time within it, at which y is `last`."""
        upto = int(np.searchsorted(self.targets, end, side="right"))
        due = self.targets[self.next_target : upto]
        inside = due[due < end]
        if inside.size:
            self.emit(inside, np.array(stepper.rows_within(t_old, y_old, inside)))
        if due.size > inside.size:
            self.emit(np.array([end]), last[np.newaxis])
        self.next_target = max(upto, self.next_target)

    def _threshold_within(
        self, stepper: Stepper, t_old: float, y_old: Floats
    ) -> tuple[float, float] | None:
        """Parts of the step just taken between which the threshold is first seen to be reached."""
        rough = stepper.rough_solution()
        exact = stepper.within_step(t_old, y_old)
        for look in range(1, LOOKS):
            x = look / LOOKS
            t = t_old + x * (stepper.t - t_old)
            if self.equations.event(rough(t)) <= 0 and self.equations.event(exact(t)) <= 0:
                return (look - 1) / LOOKS, x
        return (1.0 - 1.0 / LOOKS, 1.0) if self.equations.event(stepper.y) <= 0 else None

    def _stop_at_event(
        self, stepper: Stepper, t_old: float, y_old: Floats, bracket: tuple[float, float]
    ) -> None:
        """Find where in the step just taken the phase may end, and stand there."""
        solution = stepper.within_step(t_old, y_old)
        width = stepper.t - t_old
        low, high = bracket

        def error(x: float) -> float:
            return self.equations.event(solution(t_old + x * width))

        # At the ends of the step interpolant and step differ by rounding, or more (LSODA).
        if error(high) >= 0:
            x = high
        else:
            x = brentq(error, low, high, xtol=1e-14) if error(low) > 0 else low
        t = t_old + x * width
        # A row at the very end is the next phase's, or the last.
        before = int(np.searchsorted(self.targets, t))
        rows = np.append(self.targets[self.next_target : before], t)
        *inside, last = stepper.rows_within(t_old, y_old, rows)
        if inside:
            self.emit(rows[:-1], np.array(inside))
        self._stand(t, np.array(last))

    def _is_steady(self, stepper: Stepper) -> bool:
        rate = self.options.steady_state
        if rate is None:
            return False
        f = stepper.f if stepper.f is not None else self.rhs(stepper.t, stepper.y)
        if np.abs(f).max() > rate * np.abs(stepper.y).max():
            return False
        # On a plateau everything stands still too, but some mode grows.
        return spectrum(self._jac(stepper.t, stepper.y))[1] <= rate

    def _kind(self, stepper: Stepper) -> str:
        """The method for the next step; none, to start anew, if the run stands elsewhere."""
        if self.moved:
            return ""
        if self.options.method is not None:
            return stepper.kind
        policy, left = self.position.policy, self.end - stepper.t
        h = stepper.h or left
        if left > 0 and policy.due(stepper.y.size) and policy.worth_a_look(h, left):
            rows = len(self.targets) - self.next_target
            policy.judge(h, left, rows, self._jac(stepper.t, stepper.y))
            stepper.limit(policy.longest)
        return policy.kind
