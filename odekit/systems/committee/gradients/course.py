"""A run that is to be differentiated: recorded steps, phase by phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import Unreached
from odekit.base.interrupts import Interrupts
from odekit.base.status import Outcome, Status
from odekit.integrate.options import SolverOptions
from odekit.integrate.run import Run
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.kernels import Kernels
from odekit.systems.committee.gradients.steps import FIRST_WISH, Accuracy, Steps
from odekit.systems.committee.gradients.stretches import Stretch
from odekit.systems.committee.gradients.structured import kernels_of

ROUNDS = 4
"""Corrections of the time at which a phase ends by its threshold: Newton's method."""


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
    stretches: list[Stretch]
    kernels: Kernels

    @property
    def states(self) -> Floats:
        """Where steps begin, and the end."""
        return np.vstack([*(one.course.y for one in self.stretches), self.y_end])

    @property
    def ends(self) -> tuple[Floats, Any]:
        """When steps end, since the phase began, and which row that is, or −1."""
        t = np.concatenate([one.course.t for one in self.stretches] or [np.zeros(0)])
        row = [one.course.row for one in self.stretches] or [np.zeros(0, dtype=np.int64)]
        return np.append(t, self.duration)[1:], np.concatenate(row)


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

    def _leg(self, i: int, before: Any, y: Floats, begin: float) -> Leg:
        phase, points = self.problem.phases[i], self.points
        frame, started = points.enter(i, before, y)
        kernels = kernels_of(points, i, phase, frame, self.columns)
        duration, ended_by, moved = float(phase.duration), None, True
        by_threshold = self.ends is not None and self.ends[i][1]
        if by_threshold:
            # From the end of the phase before in the same run: `begin` is better by a correction.
            duration = self.ends[i][0] - (self.ends[i - 1][0] if i else 0.0)
            moved = duration > 0.0
        steps, rows = self._record(i, kernels, started[0], begin, duration)
        if by_threshold:
            for _ in range(ROUNDS if moved else 0):
                ended_by, late = self._late(i, kernels, steps.y, duration)
                if not abs(late) > 1e-14 * (begin + duration):
                    break
                duration -= late
                steps, rows = self._record(i, kernels, started[0], begin, duration)
        self.steps, self.wish = steps.count, steps.wish
        stretches = steps.stretches(rows[1])
        return Leg(
            i, before, frame, y[0], started[0], steps.y, begin, duration, ended_by, moved, rows[0],
            stretches, kernels,
        )  # fmt: skip

    def _late(self, i: int, kernels: Kernels, y: Floats, since: float) -> tuple[int, float]:
        """Which threshold is the last to be reached, and how long before."""
        watched = self.points.watched(self.problem.phases[i])
        levels = self.points.levels(self.problem.phases[i])[0]
        found, by = kernels.errors(y)
        last = int(np.argmax(found[watched] / levels))
        f = kernels.derivative(y, since)
        slope = float(by.y[watched[last]] @ f)
        return last, (found[watched[last]] - levels[last]) / slope if slope else 0.0

    def _record(
        self, i: int, kernels: Kernels, y: Floats, begin: float, duration: float
    ) -> tuple[Steps, tuple[Any, Floats]]:
        """Steps of a phase, and which rows lie in it, with their times since it began."""
        phase = self.problem.phases[i]
        since = self.times - begin
        near = np.abs(since - duration) <= 1e-13 * (max(begin, 1.0) + duration)
        inside = (since > 0) & ((since <= duration) | near)
        rows = np.flatnonzero(inside)
        at_rows = np.where(near[rows], duration, since[rows])
        kinks = np.append(self.points.stops(phase), self.columns.phases[i].knots)
        kinks = kinks[(kinks > 0) & (kinks < duration)]
        stops = np.unique(np.concatenate([at_rows, kinks, [duration]]))
        steps = Steps(self.how, kernels, y, self.wish, self.steps)
        steps.run(stops[stops > 0])
        return steps, (rows, at_rows)


def ends_of(problem: Any, rtol: float, atol: float) -> list[tuple[float, bool]] | None:
    """When phases end, and whether by their thresholds; None where none has any."""
    if not any(phase.thresholds for phase in problem.phases):
        return None
    run = Run(problem, SolverOptions(rtol=rtol, atol=atol), np.array([0.0]), None)
    with Interrupts() as interrupts:
        run.integrate(interrupts)
    if run.status != Status.COMPLETED:
        raise Unreached(run.status, f"the status {run.status.name}", "See that of odekit.solve.")
    return [
        (end, outcome == Outcome.THRESHOLD)
        for end, outcome in zip(run.end_times, run.outcomes, strict=True)
    ]
