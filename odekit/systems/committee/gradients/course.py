"""A run that is to be differentiated: recorded steps, phase by phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.integrate import DOP853, RK45

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Interrupts
from odekit.base.status import Outcome, Status
from odekit.integrate.options import SolverOptions
from odekit.integrate.run import Run
from odekit.problem.schedule import Schedule
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.kernels import Kernels
from odekit.systems.committee.gradients.structured import kernels_of
from odekit_kernels.committee.replay import (
    FULL,
    REACHED,
    Course,
    Pair,
    Rate,
    record,
)

ROOM = 1024
"""Steps whose memory is had at once."""
FIRST_WISH = 1e-3
"""Step to try first; a step that is too long is tried again."""
ROUNDS = 4
"""Corrections of the time at which a phase ends by its threshold: Newton's method."""


@dataclass(frozen=True)
class Accuracy:
    """How steps are taken."""

    integrator: str = "DOP853"
    rtol: float = 1e-8
    atol: float = 1e-11
    cap: float = 2.0
    max_steps: int = 1_000_000

    @property
    def pair(self) -> Pair:
        """The tableau, scipy's."""
        if self.integrator == "RK45":
            zeros = np.zeros(RK45.n_stages + 1)
            return _pair(RK45, RK45.E, zeros, -1 / 5)
        return _pair(DOP853, DOP853.E5, DOP853.E3, -1 / 8)


def _pair(solver: Any, E: Any, E3: Any, exponent: float) -> Pair:
    s = solver.n_stages
    arrays = (solver.A[:s, :s], solver.B, solver.C[:s], E, E3)
    A, B, C, E, E3 = (np.ascontiguousarray(a, dtype=float) for a in arrays)
    return Pair(A, B, C, E, E3, exponent)


@dataclass
class Leg:
    """A phase as it was run.

    Attributes
    ----------
    before, after, frame : the frame of the phase before, and of this one
    y_before, y_start, y_end : ndarray, shape (n,)
        States before the phase made its copies, as it begins, and as it ends.
    duration : float
    ended_by : int or None
        Which of its thresholds ended it; None if it lasted its whole duration.
    moved : bool
        False where its thresholds were reached before it began.
    rows : ndarray of int
        Which of the times asked for lie in it.
    """

    index: int
    before: Any
    frame: Any
    y_before: Floats
    y_start: Floats
    y_end: Floats
    begin: float
    duration: float
    ended_by: int | None
    moved: bool
    rows: Any
    course: Course
    kernels: Kernels


class Taken:
    """All phases of a run, recorded.

    Parameters
    ----------
    problem : Problem
        Without sweep dims.
    columns : Columns
        Of its parameters.
    times : ndarray or None
        Times of rows.
    how : Accuracy
    ends : list or None
        What `ends_of` found, for phases that may end by a threshold.
    """

    def __init__(
        self, problem: Any, columns: Columns, times: Floats | None, how: Accuracy, ends: Any
    ) -> None:
        self.problem, self.how, self.ends, self.columns = problem, how, ends, columns
        self.times = np.zeros(0) if times is None else times
        self.points = columns.points
        self.pair, self.steps, self.wish = how.pair, 0, FIRST_WISH
        self.legs: list[Leg] = []
        frame, y = self.points.start()
        begin = 0.0
        for i in range(len(problem.phases)):
            leg = self._leg(i, frame, y, begin)
            self.legs.append(leg)
            begin, frame, y = begin + leg.duration, leg.frame, leg.y_end[np.newaxis]
        self.end = begin

    def kernels(self, leg: Leg) -> Kernels:
        """What kernels are given in a phase."""
        return leg.kernels

    def rates(self, index: int, since: Any) -> Floats:
        """Learning rates of both layers at times since a phase began, (…, 2)."""
        times = np.asarray(since, dtype=float)
        found = [
            r.at(times.ravel()).reshape(times.shape) if isinstance(r, Schedule) else
            np.full(times.shape, float(r))
            for r in self.problem.phases[index].common_rates
        ]  # fmt: skip
        return np.ascontiguousarray(np.stack(found, axis=-1))

    def _leg(self, i: int, before: Any, y: Floats, begin: float) -> Leg:
        phase, points = self.problem.phases[i], self.points
        frame, started = points.enter(i, before, y)
        kernels = kernels_of(points, i, phase, frame, self.columns)
        duration, ended_by, moved = float(phase.duration), None, True
        by_threshold = self.ends is not None and self.ends[i][1]
        if by_threshold:
            duration = self.ends[i][0] - begin
            moved = duration > 0.0
            if not moved:
                duration = 0.0
        course, y_end, rows = self._record(i, kernels, started[0], begin, duration)
        if by_threshold:
            for _ in range(ROUNDS if moved else 0):
                ended_by, late = self._late(i, kernels, y_end, duration)
                if not abs(late) > 1e-14 * (begin + duration):
                    break
                duration -= late
                course, y_end, rows = self._record(i, kernels, started[0], begin, duration)
        self.steps += course.h.size
        return Leg(
            i, before, frame, y[0], started[0], y_end, begin, duration, ended_by, moved, rows,
            course, kernels,
        )  # fmt: skip

    def _late(self, i: int, kernels: Kernels, y: Floats, since: float) -> tuple[int, float]:
        """Which threshold is the last to be reached, and how long before."""
        watched = self.points.watched(self.problem.phases[i])
        levels = self.points.levels(self.problem.phases[i])[0]
        found, by = kernels.errors(y)
        last = int(np.argmax(found[watched] / levels))
        f = kernels.derivative(y, tuple(self.rates(i, since)))
        slope = float(by.y[watched[last]] @ f)
        return last, (found[watched[last]] - levels[last]) / slope if slope else 0.0

    def _record(
        self, i: int, kernels: Kernels, y: Floats, begin: float, duration: float
    ) -> tuple[Course, Floats, Any]:
        """Steps of a phase, its last state, and which rows lie in it."""
        phase = self.problem.phases[i]
        since = self.times - begin
        near = np.isclose(since, duration, rtol=1e-13, atol=1e-13 * max(begin, 1.0))
        inside = (since > 0) & ((since <= duration) | near)
        rows = np.flatnonzero(inside)
        at_rows = np.where(near[rows], duration, since[rows])
        kinks = self.points.stops(phase)
        stops = np.unique([*at_rows, *kinks[(kinks > 0) & (kinks < duration)], duration])
        parts, y_end = self._steps(kernels, phase, y, stops[stops > 0])
        t, h, states = (np.concatenate([p[j] for p in parts]) for j in range(3))
        s = self.pair.B.size
        eta = self.rates(i, t[:, np.newaxis] + h[:, np.newaxis] * self.pair.C[:s])
        row = np.full(h.size, -1, dtype=np.int64)
        ends = np.append(t[1:], duration)
        for place, at in enumerate(at_rows):
            row[np.flatnonzero(ends == at)] = place
        return Course(t, h, states, eta, row), y_end, rows

    def _steps(
        self, kernels: Kernels, phase: Any, y: Floats, stops: Floats
    ) -> tuple[list[Any], Floats]:
        state, n = y.copy(), y.size
        by, flat = kernels.slopes(n)
        rates = [_rate(rate) for rate in phase.common_rates]
        t, wish = 0.0, self.wish
        parts: list[Any] = [(np.zeros(0), np.zeros(0), np.zeros((0, n)))]
        total = self.steps
        while stops.size:
            room = (np.zeros(ROOM), np.zeros(ROOM), np.zeros((ROOM, n)))
            how, done, t, wish = record(
                t, wish, state, stops, *rates, kernels.committee, kernels.work, kernels.watch,
                kernels.tape, by, flat, self.pair, self.how.rtol, self.how.atol, self.how.cap,
                *room,
            )  # fmt: skip
            parts.append(tuple(part[:done].copy() for part in room))
            total += done
            self.wish = wish
            if total > self.how.max_steps:
                remedy = "It is stiff: end it earlier, or raise `max_steps`."
                _refuse(f"more than {self.how.max_steps} of them", remedy)
            if how == REACHED:
                break
            if how != FULL or not np.isfinite(state).all():
                _refuse(f"a step of no length at t = {t:.6g}", "See the status of odekit.solve.")
        return parts, state


def _refuse(given: str, remedy: str) -> None:
    raise ProblemError("problem", "must run to its end in explicit steps", given, remedy)


def _rate(rate: Any) -> Rate:
    if not isinstance(rate, Schedule):
        return Rate(np.zeros(0), np.zeros((0, 4)), float(rate), 0.0, float(rate))
    start, coefficients = rate.pieces
    first, final = float(rate.values[0]), float(rate.values[-1])
    return Rate(np.array(start), np.array(coefficients), first, float(rate.times[-1]), final)


def ends_of(problem: Any, rtol: float, atol: float) -> list[tuple[float, bool]] | None:
    """When phases end, and whether by their thresholds; None where none has any."""
    if not any(phase.thresholds for phase in problem.phases):
        return None
    run = Run(problem, SolverOptions(rtol=rtol, atol=atol), np.array([0.0]), None)
    with Interrupts() as interrupts:
        run.integrate(interrupts)
    if run.status != Status.COMPLETED:
        _refuse(f"the status {run.status.name}", "See that of odekit.solve.")
    return [
        (end, outcome == Outcome.THRESHOLD)
        for end, outcome in zip(run.end_times, run.outcomes, strict=True)
    ]
