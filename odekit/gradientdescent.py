"""Gradient descent in discrete steps, to be compared with the flow that `odekit.solve` follows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit import __version__
from odekit.checks import count
from odekit.errors import ProblemError
from odekit.linear import LinearProblem
from odekit.linearlayout import LinearLayout
from odekit.options import SolverOptions, output_times
from odekit.result import prepare
from odekit.schedule import Schedule
from odekit.status import Outcome, Status
from odekit.sweep import axes

if TYPE_CHECKING:
    import xarray as xr

LARGEST = 1e100
MOST_ROWS = 501


def descend(problem: LinearProblem, *, steps_per_unit: int = 1, t_eval: Any = None) -> xr.Dataset:
    """Train a linear network by full-batch gradient descent.

    Parameters
    ----------
    problem : LinearProblem
        Without sweep dims and schedules. Phases last whole numbers of steps, the last one less.
    steps_per_unit : int
        Steps in a unit of time, each at the learning rate of its phase over this number: 1 is
        gradient descent as it is; with more steps it approaches the flow.
    t_eval : array_like, optional
        Times of the rows, each that of a step; by default all, or some 500 of them.

    Returns
    -------
    xarray.Dataset
        As of `odekit.solve`, with the same time.

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
    if not isinstance(problem, LinearProblem) or axes(problem):
        raise ProblemError("problem", "must be a LinearProblem without sweep dims", "another", "")
    if any(isinstance(phase.learning_rate, Schedule) for phase in problem.phases):
        raise ProblemError("phases", "must have constant learning rates", "a schedule", "")
    fine = count("steps_per_unit", steps_per_unit, most=10**9)
    counts = [round(float(phase.duration) * fine) for phase in problem.phases]
    for i, (steps, phase) in enumerate(zip(counts, problem.phases, strict=True)):
        if abs(steps - float(phase.duration) * fine) > 1e-9 * max(steps, 1) or steps < 1:
            rule = "must last a whole number of steps"
            raise ProblemError(f"phases[{i}].duration", rule, f"{phase.duration} of 1/{fine}", "")
    total = sum(counts)
    wanted = _rows(t_eval, total, fine)
    result = prepare(problem, SolverOptions(), wanted / fine)
    arrays = _Descent(problem, fine).run(counts, wanted)
    ds = result.dataset(arrays, arrays.pop("time"))
    return ds.assign_attrs(source=f"odekit {__version__}, gradient descent in discrete steps")


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

    def __init__(self, problem: LinearProblem, fine: int) -> None:
        self.problem, self.fine = problem, fine
        self.layout = LinearLayout(problem)
        self.t: list[int] = []
        self.y: list[Any] = []
        self.phase: list[int] = []

    def run(self, counts: list[int], wanted: Any) -> dict[str, Any]:
        """Variables of the dataset by name."""
        _, y = self.layout.start()
        at, ends, outcomes, status = 0, [], [], Status.COMPLETED
        last = []
        self._keep(0, y, 0, wanted)
        for index, steps in enumerate(counts):
            system = self.layout.system(index, None, 0.0)
            system.rate = float(system.rate) / self.fine
            outcome = Outcome.DURATION
            for _ in range(steps):
                if system.has_event and system.event(y) <= 0:
                    outcome = Outcome.THRESHOLD
                    break
                y, at = system.descend(y, 1), at + 1
                self._keep(at, y, index, wanted)
                if not np.abs(y).max() <= LARGEST:
                    status, outcome = Status.BLOW_UP, Outcome.FAILED
                    break
            ends.append(at / self.fine)
            outcomes.append(outcome)
            last.append(y)
            if status != Status.COMPLETED:
                break
        missing = len(counts) - len(ends)
        errors = self.layout.errors(np.array(last))
        never = np.full((missing, errors.shape[1]), np.nan)
        names = ["gradient descent"] * len(ends) + ["none"] * missing
        return {
            **self.layout.arrays(np.array(self.y)),
            "time": np.array(self.t) / self.fine,
            "phase": np.array(self.phase),
            "status": np.int8(status),
            "t_last": at / self.fine,
            "n_steps": at,
            "n_rhs": at,
            "n_jac": 0,
            "phase_end": np.array([*ends, *[np.nan] * missing]),
            "phase_end_error": np.concatenate([errors, never]),
            "phase_outcome": np.array([*outcomes, *[Outcome.NOT_STARTED] * missing]),
            "method": np.array(names),
        }

    def _keep(self, at: int, y: Any, index: int, wanted: Any) -> None:
        place = np.searchsorted(wanted, at)
        if place < wanted.size and wanted[place] == at:
            self.t.append(at)
            self.y.append(y.copy())
            self.phase.append(index)
