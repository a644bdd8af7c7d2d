"""How trajectories went: what a dataset says of each besides its state."""

from __future__ import annotations

from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.status import Outcome, Status

MOST_LETTERS = 40
"""Length at which the names of the methods that took turns are cut."""


class Record:
    """Status, work, ends and outcomes of the phases of many trajectories, or of one.

    Attributes
    ----------
    status : ndarray of int8, shape (points,)
    t_last : ndarray, shape (points,)
    steps, calls, jacobians : ndarray of int64, shape (points,)
    ends : ndarray, shape (points, phases)
        NaN for phases that never began.
    end_errors : ndarray, shape (points, phases, tasks)
    outcomes : ndarray of int8, shape (points, phases)
    methods : ndarray of str, shape (points, phases)
    """

    def __init__(self, points: int, phases: int, tasks: int) -> None:
        self.status = np.full(points, Status.COMPLETED, dtype=np.int8)
        self.t_last = np.zeros(points)
        self.steps, self.calls, self.jacobians = np.zeros((3, points), dtype=np.int64)
        self.ends = np.full((points, phases), np.nan)
        self.end_errors = np.full((points, phases, tasks), np.nan)
        self.outcomes = np.full((points, phases), Outcome.NOT_STARTED, dtype=np.int8)
        self.methods = np.full((points, phases), "none", dtype="U64")

    def uses(self, which: Any, index: int, method: str) -> None:
        """Write down that a method takes over some trajectories in a phase."""
        before = self.methods[which, index]
        first = before == "none"
        if np.all(first):
            self.methods[which, index] = method
            return
        last = np.strings.endswith(before, method)
        full = np.strings.str_len(before) > MOST_LETTERS
        longer = np.strings.add(np.strings.add(before, " -> "), np.where(full, "...", method))
        closed = np.strings.endswith(before, "...")
        taken = np.where(first, method, np.where(last | closed, before, longer))
        self.methods[which, index] = taken

    def close(self, which: Any, index: int, t: Any, outcome: Any, errors: Any) -> None:
        """A phase is over for some trajectories: when, how, and with what errors of all tasks."""
        self.ends[which, index] = t
        self.outcomes[which, index] = outcome
        self.end_errors[which, index] = errors

    def phase_of_rows(self, times: Floats, filled: Any) -> Any:
        """Phase of every row, (points, rows), −1 where there is none.

        The row at a switch holds the state that the old phase ended with.
        """
        switches = np.where(np.isnan(self.ends), np.inf, self.ends)[:, :-1]
        phase = np.zeros((len(self.ends), times.size), dtype=np.int32)
        for switch in switches.T:
            phase += times > switch[:, np.newaxis]
        return np.where(filled, phase, -1).astype(np.int32)

    def arrays(self, times: Floats, filled: Any = True) -> dict[str, Any]:
        """Variables of the dataset by name, the points first."""
        return {
            "phase": self.phase_of_rows(times, filled),
            "status": self.status,
            "t_last": self.t_last,
            "n_steps": self.steps,
            "n_rhs": self.calls,
            "n_jac": self.jacobians,
            "phase_end": self.ends,
            "phase_end_error": self.end_errors,
            "phase_outcome": self.outcomes,
            "method": self.methods,
        }
