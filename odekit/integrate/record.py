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
    words : list of str
        What says how a phase was integrated, and `method`, ndarray of int64, shape
        (points, phases), which of these it is: texts for all would be most of a short result.
    """

    def __init__(self, points: int, phases: int, tasks: int) -> None:
        self.status = np.full(points, Status.COMPLETED, dtype=np.int8)
        self.t_last = np.zeros(points)
        self.steps, self.calls, self.jacobians = np.zeros((3, points), dtype=np.int64)
        self.ends = np.full((points, phases), np.nan)
        self.end_errors = np.full((points, phases, tasks), np.nan)
        self.outcomes = np.full((points, phases), Outcome.NOT_STARTED, dtype=np.int8)
        self.words, self.method = ["none"], np.zeros((points, phases), dtype=np.int64)

    def name(self, which: Any, index: int, words: str) -> None:
        """Write down how a phase was integrated for some trajectories."""
        if words not in self.words:
            self.words.append(words)
        self.method[which, index] = self.words.index(words)

    def uses(self, which: Any, index: int, method: str) -> None:
        """Write down that a method takes over some trajectories in a phase."""
        before = self.method[which, index]
        for i in np.flatnonzero(np.bincount(before)):
            self.name(which[before == i], index, _longer(self.words[i], method))

    def close(self, which: Any, index: int, t: Any, outcome: Any, errors: Any) -> None:
        """A phase is over for some trajectories: when, how, and with what errors of all tasks."""
        self.ends[which, index] = t
        self.outcomes[which, index] = outcome
        self.end_errors[which, index] = errors

    def phase_of_rows(self, times: Floats, filled: Any, part: slice = slice(None)) -> Any:
        """Phase of every row of some points, (points, rows), −1 where there is none.

        The row at a switch holds the state that the old phase ended with.
        """
        ends = self.ends[part]
        switches = np.where(np.isnan(ends), np.inf, ends)[:, :-1]
        phase = np.zeros((len(ends), times.size), dtype=np.int32)
        for switch in switches.T:
            phase += times > switch[:, np.newaxis]
        return np.where(filled, phase, np.int32(-1))

    def arrays(self) -> dict[str, Any]:
        """Variables of the dataset by name that have no rows, the points first."""
        return {
            "status": self.status,
            "t_last": self.t_last,
            "n_steps": self.steps,
            "n_rhs": self.calls,
            "n_jac": self.jacobians,
            "phase_end": self.ends,
            "phase_end_error": self.end_errors,
            "phase_outcome": self.outcomes,
            "method": np.array(self.words)[self.method],
        }


def _longer(before: str, method: str) -> str:
    """The methods that took turns, and one more."""
    if before == "none":
        return method
    if before.endswith((method, "...")):
        return before
    return f"{before} -> {'...' if len(before) > MOST_LETTERS else method}"
