"""Gradient descent in discrete steps, to be compared with the flow that `odekit.solve` follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.base.status import Status, ended
from odekit.dataset.ended import warn_unless_completed
from odekit.dataset.result import prepare
from odekit.integrate.options import SolverOptions, output_times
from odekit.integrate.record import Record
from odekit.problem.axes import at, axes, points
from odekit.problem.base import AnyProblem
from odekit.problem.system import kinds, system_of
from odekit.sweeps.block import blank, put

if TYPE_CHECKING:
    import xarray as xr

LARGEST = 1e100
MOST_ROWS = 501


def descend(problem: AnyProblem, *, steps_per_unit: int = 1, t_eval: Any = None) -> xr.Dataset:
    """Train a network by full-batch gradient descent.

    Parameters
    ----------
    problem : LinearProblem or DataProblem
        Phases last whole numbers of steps, the last one less. Schedules count at the beginning of
        each step. Labelled arrays are swept over, one point after the other.
    steps_per_unit : int
        Steps in a unit of time, each at the learning rate of its phase over this number: 1 is
        gradient descent as it is; with more steps it approaches the flow.
    t_eval : array_like, optional
        Times of the rows, each that of a step; by default all, or some 500 of them.

    Returns
    -------
    xarray.Dataset
        As of `odekit.solve`, with the same time, and its warning where descent diverges.

    Examples
    --------
    >>> import odekit as ok
    >>> net = ok.linear.deep([1, 1])
    >>> problem = ok.LinearProblem(
    ...     network=net, weights={"W1": [[0.0]]},
    ...     tasks=ok.linear.Correlations(yx=[[1.0]], xx=[[1.0]]),
    ...     phases=ok.Phase("main", duration=2, learning_rate=0.5))
    >>> ok.descend(problem).W1.values.ravel()
    array([0.  , 0.5 , 0.75])
    """
    if not isinstance(problem, AnyProblem):
        raise ProblemError("problem", "must be a problem", repr(problem)[:80], "")
    if not problem.system.descends:
        known = ", ".join(repr(kind) for kind in kinds() if system_of(kind).descends)
        rule = f"must be of a system that discrete steps are known for ({known})"
        raise ProblemError("problem", rule, repr(problem.kind), "`odekit.simulate` takes others.")
    fine = count("steps_per_unit", steps_per_unit, most=10**9)
    total = _longest(problem, fine)
    wanted = _rows(t_eval, total, fine)
    solver = {**SolverOptions().to_dict(), "t_eval": (wanted / fine).tolist()}
    source = "gradient descent in discrete steps"
    result = prepare(problem, ("odekit_solver", solver), source)
    train = _sweep if result.axes else _one
    arrays = train(problem, fine, wanted)
    ds = result.dataset(arrays, arrays.pop("time"))
    warn_unless_completed(ds)
    return ds


def _one(problem: AnyProblem, fine: int, wanted: Any) -> dict[str, Any]:
    return _Descent(problem, fine).run(wanted)


def _sweep(problem: AnyProblem, fine: int, wanted: Any) -> dict[str, Any]:
    """Variables of all points of a sweep by name."""
    times = wanted / fine
    found = axes(problem)
    arrays = blank(problem, [size for size, _ in found.values()], times.size)
    for place, index in points(found):
        put(problem, arrays, place, times, _Descent(at(problem, index), fine).run(wanted))
    return {**arrays, "time": times}


def _longest(problem: AnyProblem, fine: int) -> int:
    """Steps of all phases of the longest run, each checked to be whole."""
    total: Any = 0
    for i, phase in enumerate(problem.phases):
        length: Any = np.asarray(phase.duration) * fine
        steps = np.rint(length)
        if np.any(np.abs(steps - length) > 1e-9 * np.maximum(steps, 1)) or np.any(steps < 1):
            rule = "must last a whole number of steps"
            raise ProblemError(f"phases[{i}].duration", rule, f"{phase.duration} of 1/{fine}", "")
        total = total + phase.duration
    return round(float(np.max(np.asarray(total))) * fine)


def _rows(t_eval: Any, total: int, fine: int) -> Any:
    """Steps after which a row is wanted."""
    if t_eval is None:
        return np.unique(np.rint(np.linspace(0, total, min(total + 1, MOST_ROWS))).astype(int))
    times = output_times("t_eval", t_eval, total / fine)
    steps = np.rint(times * fine).astype(int)
    if np.any(np.abs(steps - times * fine) > 1e-9 * np.maximum(steps, 1)):
        raise ProblemError("t_eval", f"must be multiples of 1/{fine}", str(times[:4]), "")
    return steps


class _Descent:
    """Steps through the phases, and keeps rows."""

    def __init__(self, problem: AnyProblem, fine: int) -> None:
        self.problem, self.fine = problem, fine
        self.points = problem.system.points(problem, {})
        self.record = Record(1, len(problem.phases), len(self.points.tasks))
        self.t: list[int] = []
        self.y: list[Any] = []

    def run(self, wanted: Any) -> dict[str, Any]:
        """Variables of the dataset by name."""
        counts = [round(float(phase.duration) * self.fine) for phase in self.problem.phases]
        frame, y = self.points.start()
        record, at = self.record, 0
        self._keep(0, y[0], wanted)
        for index, steps in enumerate(counts):
            frame, y = self.points.enter(index, frame, y)
            state, taken, met = self._phase(index, frame, y[0], steps, at, wanted)
            y, at = state[np.newaxis], at + taken
            failed = not np.abs(y).max() <= LARGEST
            outcome = ended(met, bool(self.problem.phases[index].thresholds), failed)
            record.close(0, index, at / self.fine, outcome, self.points.errors(y)[0])
            record.name(0, index, "gradient descent")
            if failed:
                record.status[0] = Status.BLOW_UP
                break
        record.t_last[0], record.steps[0], record.calls[0] = at / self.fine, at, at
        times, rows = np.array(self.t) / self.fine, np.array(self.y)[np.newaxis]
        errors = self.points.errors(rows)
        found = {
            **self.points.arrays(rows),
            "generalization_error": errors,
            "phase": record.phase_of_rows(times, True),
            **record.arrays(),
        }
        return {**{name: value[0] for name, value in found.items()}, "time": times}

    def _phase(
        self, index: int, frame: Any, y: Any, steps: int, at: int, wanted: Any
    ) -> tuple[Any, int, bool]:
        """State after a phase, its steps, and whether it ended by threshold."""
        equations = self.points.equations(index, frame, at / self.fine)

        def met() -> bool:
            return bool(equations.has_event and equations.event(y) <= 0)

        for taken in range(steps):
            if met():
                return y, taken, True
            y = equations.descend((at + taken) / self.fine, y, self.fine)
            self._keep(at + taken + 1, y, wanted)
            if not np.abs(y).max() <= LARGEST:
                return y, taken + 1, False
        return y, steps, met()

    def _keep(self, at: int, y: Any, wanted: Any) -> None:
        place = np.searchsorted(wanted, at)
        if place < wanted.size and wanted[place] == at:
            self.t.append(at)
            self.y.append(y.copy())
