"""Errors along a phase as densely as they change: rows of their own, found in a few passes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.cores import cores
from odekit.dataset.common import sweep_dims
from odekit.measures.again import NotAgain, Patient, again
from odekit.measures.course import Course
from odekit.problem.axes import axes
from odekit.sweeps.block import run_block

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats
    from odekit.integrate.options import SolverOptions
    from odekit.problem.base import AnyProblem

BLOCK = 16
"""Trajectories solved at once: each has rows of its own, and all are computed for each."""
FIRST, LOG_ROWS, EVEN_ROWS = 1e-6, 600, 600
"""Rows of the first pass: from this fraction of the phase on in log time, and evenly."""
STEP = 0.05
"""Largest change of ln ε between two rows."""
AGREE = 0.9
"""Share of a dataset's rows that must be found again."""
RESOLVED = 10.0
"""Errors are accurate to about `rtol` of the largest one: those above ten times that are known."""
OTHERWISE = "solving its problem again does not give its rows"
PASSES, MOST_PARTS = 4, 64
"""Passes, and parts into which one divides an interval: 64³ parts of the first one's."""


def solved(
    ds: xr.Dataset, task: str, phase: int, threshold: float
) -> Iterator[tuple[dict[str, int], Course]]:
    """The course of a task's error in every trajectory of a dataset, from its problem.

    Parameters
    ----------
    ds : Dataset
    task : str
    phase : int
    threshold : float
        Relative difference from which an error is another than that of a row.

    Yields
    ------
    place : dict of str to int
        Where in the dataset it belongs; dims that do not matter for it are left out.
    course : Course

    Raises
    ------
    NotAgain
        If the problem cannot be solved again, or gives something else.
    """
    whole = again(ds)
    if phase >= len(whole.problem.phases):
        raise NotAgain(f"its problem has no phase {phase}")
    upto = whole.phases(phase + 1)
    which = list(upto.problem.tasks).index(task)
    rest = [d for d in sweep_dims(ds) if d not in upto.dims.values()]
    rows = ds[["generalization_error", "phase"]].sel(task=task).isel(dict.fromkeys(rest, 0))
    for problem, region in upto.blocks(BLOCK):
        block = _Block(problem, upto.options, phase, which).courses()
        some = rows.isel(region).load()
        sizes = [s.stop - s.start for s in region.values()]
        for at, course in zip(np.ndindex(*sizes), block, strict=True):
            _check_same(course, some.isel(dict(zip(region, at, strict=True))), phase, threshold)
            yield {d: s.start + i for (d, s), i in zip(region.items(), at, strict=True)}, course


def _check_same(course: Course, row: xr.Dataset, phase: int, threshold: float) -> None:
    """Refuse a course that is not that of the dataset's rows."""
    time, error = row["time"].values, row["generalization_error"].values
    # The row at time 0 is of the first phase, of no length too.
    own = (row["phase"].values == phase) & np.isfinite(error) & (time > course.begin)
    if not own.any():
        return
    if not course.t.size:
        raise NotAgain(OTHERWISE)
    within = own & (time >= course.t.min(initial=np.inf)) & (time <= course.t.max(initial=-np.inf))
    y = np.log(np.maximum(error[within], course.floor))
    other = np.interp(time[within], course.t, np.log(np.maximum(course.error, course.floor)))
    close: Any = np.abs(y - other) <= np.log1p(threshold)
    if close.size and close.mean() < AGREE:
        raise NotAgain(OTHERWISE)


class _Block:
    """Trajectories that are solved together."""

    def __init__(self, problem: AnyProblem, options: SolverOptions, phase: int, task: int) -> None:
        self.problem, self.options = problem, options
        self.phase, self.task = phase, task

    def courses(self) -> list[Course]:
        """Courses of all points."""
        ends = self._expected_ends()
        begins = ends[:, -2] if self.phase else np.zeros(len(ends))
        first = np.union1d(np.geomspace(FIRST, 1.0, LOG_ROWS), np.linspace(0.0, 1.0, EVEN_ROWS))
        spans = zip(begins, ends[:, -1], strict=True)
        rows = [_inside(a, b, a + (b - a) * first) for a, b in spans]
        times = [np.zeros(0)] * len(rows)
        errors = list(times)
        for _ in range(PASSES):
            new = self._errors(rows)
            order = [np.argsort(np.append(t, r)) for t, r in zip(times, rows, strict=True)]
            errors = [np.append(*pair)[o] for *pair, o in zip(errors, new, order, strict=True)]
            times = [np.append(*pair)[o] for *pair, o in zip(times, rows, order, strict=True)]
            floors = [self._floor(i, e) for i, e in enumerate(errors)]
            rows = [_between(t, e, f) for t, e, f in zip(times, errors, floors, strict=True)]
            if not any(r.size for r in rows):
                break
        return [self._course(i, t, e) for i, (t, e) in enumerate(zip(times, errors, strict=True))]

    def _expected_ends(self) -> Floats:
        """Times at which the phases end for each point: to be found first, unless they are set."""
        phases = self.problem.phases
        free = any(phase.thresholds for phase in phases) or self.options.steady_state is not None
        if free:
            self._solve(np.zeros(1))
            return np.asarray(self.ends)
        points = self.problem.system.points(self.problem, axes(self.problem))
        lengths = [np.broadcast_to(points.values(p.duration), points.size) for p in phases]
        return np.cumsum(np.column_stack(lengths), axis=1)

    def _solve(self, times: Floats) -> Floats:
        """Errors in rows, shape (points, rows); how the phases went is kept."""
        run = (self.problem, self.options, times)
        found = run_block(*run, threads=cores(), interrupts=Patient())
        self.ends = found["phase_end"].reshape(-1, self.phase + 1)
        self.end_errors = found["phase_end_error"].reshape(*self.ends.shape, -1)[..., self.task]
        errors = found["generalization_error"][..., self.task]
        return np.asarray(errors.reshape(-1, times.size))

    def _floor(self, i: int, errors: Floats) -> float:
        largest = np.fmax.reduce(np.append(errors, self.end_errors[i]), initial=0.0)
        return float(max(RESOLVED * self.options.rtol * largest, np.finfo(float).tiny))

    def _errors(self, rows: list[Floats]) -> list[Floats]:
        """Errors of every point in rows of its own."""
        every = np.unique(np.concatenate(rows)) if any(r.size for r in rows) else np.zeros(1)
        found = self._solve(every)
        return [e[np.searchsorted(every, r)] for e, r in zip(found, rows, strict=True)]

    def _course(self, i: int, t: Floats, error: Floats) -> Course:
        begin, before = (self.ends[i, -2], self.end_errors[i, -2]) if self.phase else (0.0, np.nan)
        end, at_end = self.ends[i, -1], self.end_errors[i, -1]
        known = np.isfinite(error) & (t < end)
        if end > begin:
            t, error = np.append(t[known], end), np.append(error[known], at_end)
        else:
            t, error = t[:0], error[:0]
        known = np.isfinite(error)
        floor = self._floor(i, error)
        return Course(t[known], error[known], float(begin), float(before), floor)


def _inside(begin: float, end: float, times: Floats) -> Floats:
    """Times within a phase; none of one that never began or has no length."""
    return times[(times > begin) & (times < end)]


def _between(t: Floats, error: Floats, floor: float) -> Floats:
    """Rows that are missing where ln ε changes much from one to the next."""
    change = np.abs(np.diff(np.log(np.maximum(error, floor))))
    parts = np.where(np.isfinite(change), np.ceil(change / STEP), 1.0)
    parts = np.clip(parts, 1.0, MOST_PARTS).astype(int)
    left = np.repeat(np.arange(parts.size), parts - 1)
    part = np.arange(left.size) - np.repeat(np.cumsum(parts - 1) - (parts - 1), parts - 1) + 1
    new = t[left] + (t[left + 1] - t[left]) * part / parts[left]
    return np.setdiff1d(new, t)
