"""Rows of many trajectories, and what a dataset has of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.integrate import device as gpu
from odekit.integrate.shares import shares, spread

if TYPE_CHECKING:
    from odekit.base.arrays import Floats
    from odekit.integrate.record import Record
    from odekit.integrate.results import Results


class Rows:
    """What is read of the rows of a batch, once all are there.

    Parameters
    ----------
    points : Points
    times : ndarray, shape (rows,)
    rows : ndarray, shape (B, rows, n)
    results : Results
        Where it goes.
    on_device : bool
        Whether a device may find errors of the rows that it makes.

    Attributes
    ----------
    there : device.Errors or None
        Where a device puts them.
    on_host : ndarray of bool, shape (B,)
        Whether the host made any row of a trajectory: then it finds the errors of all.
    """

    def __init__(
        self, points: Any, times: Floats, rows: Floats, results: Results, on_device: bool
    ) -> None:
        self.points, self.times, self.rows, self.results = points, times, rows, results
        reading = points.reading() if on_device else None
        self.on_host, self.there = np.full(len(rows), reading is None), None
        if reading is not None:
            shape = (times.size, len(points.tasks))
            found = results.array("generalization_error", shape, np.dtype(float))
            self.there = gpu.Errors(reading, found)

    def finish(self, reached: Any, record: Record, threads: int) -> None:
        """Write all, a share of the trajectories at a time; `reached` rows of each are there."""

        def read(part: slice) -> None:
            self._read(part, np.arange(self.times.size) < reached[part, np.newaxis], record)

        each = 8 * self.rows.shape[1] * self.rows.shape[2]
        spread(read, shares(len(self.rows), each, threads), threads)

    def _read(self, part: slice, filled: Any, record: Record) -> None:
        rows, which = self.rows[part], np.arange(part.start, part.stop)
        if not filled.all():
            rows[~filled] = np.nan
        self.results.put(part, self.points.arrays(rows, which))
        self.results.put(part, {"phase": record.phase_of_rows(self.times, filled, part)})
        if self.on_host[part].all():
            errors = self.points.errors(rows, points=which)
            self.results.put(part, {"generalization_error": errors})
        else:
            self._errors_besides(part, rows, filled)

    def _errors_besides(self, part: slice, rows: Floats, filled: Any) -> None:
        """Errors of the rows that the device has not made: the first, and whole trajectories.

        By trajectory, so that none depends on what becomes of its neighbours.
        """
        assert self.there is not None
        errors, which = self.there.found[part], np.arange(part.start, part.stop)
        if not filled.all():
            errors[~filled] = np.nan
        if self.times[0] == 0.0:
            errors[:, :1] = self.points.errors(rows[:, :1], points=which)
        own = self.on_host[part]
        if own.any():
            errors[own] = self.points.errors(rows[own], points=which[own])
