"""One scipy integrator that is stepped, watched and restarted."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from scipy.integrate import BDF, LSODA, Radau
from scipy.linalg.lapack import dgetrf, dgetrs, zgetrf, zgetrs

from odekit.base.arrays import Floats
from odekit.base.interrupts import Asked
from odekit.base.status import Status
from odekit.integrate.compiling import stoppable
from odekit.integrate.explicit import EXPLICIT
from odekit.integrate.options import (
    MAX_STEPS,
    MULTISTEP,
    MULTISTEP_SAFETY,
    SolverOptions,
    step_tolerance,
)
from odekit.problem.system import Equations, Walk, Walked
from odekit_kernels.integrators.runge_kutta import Pair

Rhs = Callable[[float, Floats], Floats]

SOLVERS: dict[str, Any] = {**EXPLICIT, "Radau": Radau, "BDF": BDF, "LSODA": LSODA}

WINDOW, WINDOWS, HOPELESS = 1000, 20, 100 * MAX_STEPS
"""So many windows of steps in a row, at a pace that would take so many steps more, get nowhere: a
run that sits at a jump of its derivative."""
CALLS_PER_STEP = 20_000
"""A step of any method takes tens of evaluations; one that takes this many hangs."""
LARGEST = 1e100
"""A state beyond this has blown up: moments square it twice and would overflow."""
LARGE = 1e5
"""A state beyond this whose step size underflows runs to infinity in finite time; BDF, at a
thirtieth of rtol = 1e-6, gives up on dy/dt = y³ at 2.5e5."""
SHARE = 1e-3
"""Part of the tolerance that an interpolant may add to the error of the steps."""
SHRINKS = 40
"""Times a step is retried at a tenth when the derivative is not finite inside it."""


def _factors(A: Any) -> Any:
    """Factors of a matrix, as LAPACK has them: scipy's checks take longer than its work."""
    return (zgetrf if np.iscomplexobj(A) else dgetrf)(A)[:2]


def _solve(factors: Any, b: Any) -> Any:
    return (zgetrs if np.iscomplexobj(factors[0]) else dgetrs)(*factors, b)[0]


class Halt(Exception):
    """Integration cannot go on, for the reason in its status."""

    def __init__(self, status: Status) -> None:
        self.status = status
        super().__init__(status.name)


class NotFinite(Exception):
    """The derivative was not finite at a trial point."""


@dataclass
class Budget:
    """What a run has used and may still use, over all of its phases."""

    options: SolverOptions
    interrupts: Asked | None = None
    steps: int = 0
    calls: int = 0
    jacobians: int = 0
    deadline: float = field(init=False)
    mark: float = -np.inf
    crawls: int = 0

    def __post_init__(self) -> None:
        seconds = self.options.max_seconds
        self.deadline = np.inf if seconds is None else time.monotonic() + seconds

    def check(self) -> None:
        """Halt where another step is one too many."""
        if self.steps >= self.options.max_steps:
            raise Halt(Status.STEP_BUDGET)
        self.check_time()

    def check_time(self) -> None:
        """Halt where the user asks to, or the time is over."""
        if self.interrupts is not None and self.interrupts.asked:
            raise Halt(Status.INTERRUPTED)
        if time.monotonic() > self.deadline:
            raise Halt(Status.TIME_BUDGET)

    @property
    def ahead(self) -> int:
        """Steps that may be taken before they are counted."""
        return min(self.options.max_steps - self.steps, WINDOW - self.steps % WINDOW)

    def spend_steps(self, count: int, t: float, end: float) -> None:
        """Count accepted steps, which led to t, of a phase that ends at `end`."""
        self.steps += count
        if self.steps % WINDOW:
            return
        left = (end - t) / max(t - self.mark, 1e-300) * WINDOW
        self.crawls = self.crawls + 1 if left > HOPELESS else 0
        self.mark = t
        if self.crawls >= WINDOWS:
            raise Halt(Status.STALLED)


class Guarded:
    """A right-hand side that counts its calls and refuses to hand on NaN or to hang."""

    def __init__(self, rhs: Rhs, budget: Budget, at_once: Equations | None = None) -> None:
        self.rhs = rhs
        self.budget = budget
        self.at_once = at_once
        self.calls_in_step = 0
        self.stoppable = False

    @contextmanager
    def stopping(self) -> Iterator[None]:
        """Let Ctrl-C and the time allowed end what is computed within, and compilation.

        Only where nothing has been counted or kept of a step: a resumed run takes it once more.
        """
        self.stoppable = True
        try:
            with stoppable(self.budget.check_time):
                yield
        finally:
            self.stoppable = False

    def __call__(self, t: float, y: Floats) -> Floats:
        """Time derivative at a trial point."""
        self.budget.calls += 1
        self.calls_in_step += 1
        if self.calls_in_step > CALLS_PER_STEP:
            raise Halt(Status.STALLED)
        # At every one: a right-hand side of many units takes seconds.
        if self.stoppable:
            self.budget.check_time()
        dy = self.rhs(t, y)
        # |dy|² is finite only if every entry is: four times cheaper than isfinite().all(), and a
        # product, unlike a sum, warns of nothing.
        if not isfinite(dy @ dy) and not np.isfinite(dy).all():
            raise NotFinite
        return dy

    def at(self, t: Floats, y: Floats) -> Floats:
        """Time derivatives at times (m,) and states (m, n), in one call where that can be had."""
        if self.stoppable:
            self.budget.check_time()
        found = None if self.at_once is None else self.at_once.rhs_at(t, y)
        if found is None:
            return np.array([self(*at) for at in zip(t.tolist(), y, strict=True)])
        self.budget.calls += t.size
        flat = found.ravel()
        if not isfinite(flat @ flat) and not np.isfinite(flat).all():
            raise NotFinite
        return found

    def steps(self, t: float, y: Floats, spans: Floats, pair: Pair, K: Floats) -> Floats:
        """Where explicit steps of these lengths end: see `problem.system.Equations.steps`."""
        if self.stoppable:
            self.budget.check_time()
        found = None if self.at_once is None else self.at_once.steps(t, y, spans, pair, K)
        if found is None:
            return np.array([self._step(t, y, h, pair, K) for h in spans])
        self.budget.calls += (len(K) - 1) * len(spans)
        # What is not finite at any stage is not at the end: 0 · NaN is NaN.
        if not np.isfinite(found).all() or not np.isfinite(K[-1]).all():
            raise NotFinite
        return found

    def walk(
        self, t: float, y: Floats, f: Floats, h: float, pair: Pair, how: Walk
    ) -> Walked | None:
        """Many explicit steps: see `problem.system.Equations.walk`."""
        self.calls_in_step = 0
        if self.stoppable:
            self.budget.check_time()
        found = None if self.at_once is None else self.at_once.walk(t, y, f, h, pair, how)
        self.budget.calls += 0 if found is None else found.calls
        return found

    def _step(self, t: float, y: Floats, h: float, pair: Pair, K: Floats) -> Floats:
        """The same, of one step, stage by stage."""
        A, B, C = pair.A, pair.B, pair.C
        for s in range(1, B.size):
            K[s] = self(t + C[s] * h, y + h * (A[s, :s] @ K[:s]))
        end = np.asarray(y + h * (B @ K[: B.size]))
        if len(K) > B.size:
            K[-1] = self(t + h, end)
        return end


class Stepper:
    """A solver of one kind, at (t, y), that is advanced one accepted step at a time.

    Parameters
    ----------
    kind : str
        Key of `SOLVERS`.
    rhs : Guarded
    jac : callable
        Jacobian (t, y) -> (n, n), used by the implicit methods.
    t, y : float and array
        Where to start.
    bound : float
        Time not to step over.
    h : float or None
        First step to try; None lets scipy choose.
    f : array or None
        Derivative at (t, y) if it is known: with it a restarted Runge–Kutta run is bitwise the
        uninterrupted one.
    atol : float or array, optional
        Absolute tolerance of each entry; that of the options by default.
    """

    def __init__(
        self,
        kind: str,
        rhs: Guarded,
        jac: Rhs,
        t: float,
        y: Floats,
        bound: float,
        options: SolverOptions,
        h: float | None = None,
        f: Floats | None = None,
        atol: float | Floats | None = None,
    ) -> None:
        self.atol = options.atol if atol is None else atol
        self.kind, self.rhs, self.jac, self.bound, self.options = kind, rhs, jac, bound, options
        self.unclipped = 0.0
        self.smooth = False
        self.f_before: Floats | None = None
        self._start(t, y, h, f)

    def _start(self, t: float, y: Floats, h: float | None, f: Floats | None = None) -> None:
        self.rhs.calls_in_step = 0
        span = self.bound - t
        keywords: dict[str, Any] = {} if self.kind in EXPLICIT else {"jac": self.jac}
        self.solver = SOLVERS[self.kind](
            self.rhs,
            t,
            y,
            self.bound,
            first_step=None if h is None else min(h, span),
            max_step=self.options.max_step,
            rtol=step_tolerance(self.kind, self.options.rtol),
            atol=self.atol * MULTISTEP_SAFETY if self.kind in MULTISTEP else self.atol,
            **keywords,
        )
        if self.kind == "Radau":
            self.solver.lu, self.solver.solve_lu = _factors, _solve
        if self.kind in EXPLICIT:
            if h is not None:
                self.solver.h_abs = h
            if f is not None:
                self.solver.f = f

    @property
    def t(self) -> float:
        """Current time."""
        return float(self.solver.t)

    @property
    def y(self) -> Floats:
        """Current state."""
        return np.asarray(self.solver.y)

    @property
    def h(self) -> float | None:
        """Step to try next; None where the method keeps it to itself."""
        h = getattr(self.solver, "h_abs", None)
        return None if h is None else float(h)

    @property
    def f(self) -> Floats | None:
        """Derivative at the current point where the method keeps it."""
        return self.solver.f if self.kind in EXPLICIT else None

    @property
    def finished(self) -> bool:
        """Whether the bound is reached."""
        return self.t >= self.bound

    def step(self) -> tuple[float, Floats]:
        """Advance by one accepted step; return the point that it started from.

        A derivative that is not finite at a trial point means that the step was too long: it is
        tried again from the same point at a tenth, and only then given up.
        """
        t, y, f = self.t, self.y.copy(), self.f
        self.f_before = f
        h = self.h or (self.bound - t)
        for _ in range(SHRINKS):
            self.rhs.calls_in_step = 0
            try:
                self._clip()
                message = self._take_step()
            except NotFinite:
                h *= 0.1
                if t + h <= t:
                    raise Halt(Status.NONFINITE) from None
                try:
                    self._start(t, y, h, f)
                except NotFinite:
                    raise Halt(Status.NONFINITE) from None
                continue
            if self.solver.status == "failed":
                raise Halt(self._reason(y, message))
            self._check(t, y)
            return t, y
        raise Halt(Status.NONFINITE)

    def _take_step(self) -> str:
        if self.kind != "LSODA":
            return str(self.solver.step() or "")
        with warnings.catch_warnings():  # it fails besides, which the status tells
            warnings.filterwarnings("ignore", "lsoda:", UserWarning)
            return str(self.solver.step() or "")

    def _clip(self) -> None:
        """Radau keeps the factors of a step that the bound cuts short: drop them."""
        self.unclipped = 0.0
        if self.kind == "Radau" and self.t + self.solver.h_abs > self.bound:
            self.unclipped = self.solver.h_abs
            self.solver.h_abs = self.bound - self.t
            self.solver.LU_real = self.solver.LU_complex = None

    def extend(self, bound: float) -> None:
        """Go on beyond a bound that was reached, with the step that it had cut short."""
        self.bound = self.solver.t_bound = bound
        self.solver.status = "running"
        if self.unclipped:
            self.solver.h_abs = max(self.solver.h_abs, self.unclipped)
            self.solver.LU_real = self.solver.LU_complex = None

    def _reason(self, y: Floats, message: str) -> Status:
        if message and "spacing" not in message:
            return Status.SOLVER_FAILED
        return Status.BLOW_UP if np.abs(y).max() > LARGE else Status.STALLED

    def _check(self, t: float, y: Floats) -> None:
        if self.t <= t:
            raise Halt(self._reason(y, ""))
        size = np.abs(self.solver.y).max()
        if not np.isfinite(size):
            raise Halt(Status.NONFINITE)
        if size > LARGEST:
            raise Halt(Status.BLOW_UP)

    def walk(self, most: int, targets: Floats, floor: Floats | None) -> Walked | None:
        """Many steps at once as far as nothing happens; None where it cannot be had."""
        solver, y = self.solver, self.solver.y
        if self.kind not in EXPLICIT or (floor is not None and (y < floor).any()):
            return None
        atol = np.array(np.broadcast_to(self.atol, y.shape), dtype=float)
        low = np.full(y.size, -np.inf) if floor is None else floor
        how = Walk(
            most, self.bound, self.options.max_step, float(solver.rtol), atol, low, LARGEST, targets
        )
        found = self.rhs.walk(self.t, y, solver.f, float(solver.h_abs), solver.pair, how)
        if found is not None and found.steps:
            solver.t, solver.y, solver.f, solver.h_abs = found.t, found.y, found.f, found.h
            if self.finished:
                solver.status = "finished"
        return found

    def limit(self, longest: float) -> None:
        """Take no implicit step longer than this; explicit ones stability keeps short enough."""
        if self.kind not in EXPLICIT:
            self.solver.max_step = min(longest, self.options.max_step)

    def rough_solution(self) -> Callable[[float], Floats]:
        """The method's own interpolant of the step just taken: cheap, and less accurate."""
        self.rhs.calls_in_step = 0
        return self.solver.dense_output()  # type: ignore[no-any-return]

    def within_step(self, t: float, y: Floats) -> Callable[[float], Floats]:
        """The solution inside the step just taken, which started from (t, y)."""
        if self.kind not in (*EXPLICIT, "Radau"):
            return self.solver.dense_output()  # type: ignore[no-any-return]
        return lambda time: self.rows_within(t, y, [time])[0]

    def rows_within(self, t: float, y: Floats, times: Any) -> Any:
        """The solution at times inside the step just taken, which started from (t, y).

        Interpolants are less accurate than steps: Radau's is a cubic, and those of the explicit
        methods were off by 10⁴ tolerances where stability limits the step. So these methods take a
        shorter step to each time instead.
        """
        if self.kind in EXPLICIT:
            self.rhs.calls_in_step = 0
            K = np.empty((self.solver.n_stages, y.size))
            K[0] = self.f_before
            return self.rhs.steps(t, y, np.asarray(times) - t, self.solver.pair, K)
        solution = self.solver.dense_output()
        if self.kind != "Radau":
            return [solution(time) for time in times]
        found, good = self._interpolated(solution, np.asarray(times))
        self.smooth = bool(good.all())
        for i in np.flatnonzero(~good):
            found[i] = self._land(t, y, float(times[i]))
        return found

    def look_inside(self) -> None:
        """Whether Radau's interpolant of the step just taken is as accurate as the step."""
        solver = self.solver
        middle = np.array([0.5 * (solver.t_old + solver.t)])
        self.smooth = bool(self._interpolated(solver.dense_output(), middle)[1].all())

    def _interpolated(self, solution: Any, times: Floats) -> tuple[Floats, Any]:
        """Radau's interpolant at times (rows,), and where it is within the tolerance.

        By how far it is from solving the equations: a defect d that lasts as long as the step h
        moves the solution by about (1/h − J)⁻¹ d.
        """
        h, Q = solution.h, solution.Q
        x, order = (times - solution.t_old) / h, np.arange(Q.shape[1])
        y = solution(times).T
        slopes = (Q * (order + 1.0) / h) @ x ** order[:, np.newaxis]
        self.rhs.calls_in_step = 0
        rates = self.rhs.at(times, np.ascontiguousarray(y))
        system = np.eye(y.shape[1]) / h - self.solver.J
        error = np.linalg.solve(system, np.transpose(rates) - slopes).T
        return y, (np.abs(error) <= SHARE * (self.atol + self.options.rtol * np.abs(y))).all(axis=1)

    def _land(self, t: float, y: Floats, time: float) -> Floats:
        """Radau's steps to a time inside the step just taken."""
        if time <= t:
            return y
        span = (t, y, time)
        probe = Stepper("Radau", self.rhs, self.jac, *span, self.options, time - t, atol=self.atol)
        while not probe.finished:
            probe.step()
        return probe.y
