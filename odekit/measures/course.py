"""The error of a task along a phase of one trajectory, and what rows show of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.dataset.common import sweep_dims
from odekit.measures.again import SIMULATION

if TYPE_CHECKING:
    import xarray as xr

ROUNDING = 1e-12
"""Errors this far below the largest are rounding, not a plateau."""
WINDOW = 5
"""Rows of the running median that takes single rows of a simulation out of the way."""


@dataclass(frozen=True)
class Course:
    """The error of a task along a phase of one trajectory.

    Attributes
    ----------
    t : ndarray, shape (rows,)
        Times, the last one at the end of the phase.
    error : ndarray, shape (rows,)
    begin : float
        When the phase began.
    before : float
        Error as the phase before ended; NaN in the first.
    floor : float
        Errors below it are rounding, or less than was asked for.
    """

    t: Floats
    error: Floats
    begin: float
    before: float
    floor: float


def read(ds: xr.Dataset, task: str, phase: int) -> Iterator[tuple[dict[str, int], Course]]:
    """Courses as far as the rows of a dataset show them, and where they belong."""
    noisy = SIMULATION in ds.attrs
    dims = sweep_dims(ds)
    names = [name for name in ("generalization_error", "phase", "phase_end") if name in ds]
    some = ds[names].sel(task=task)
    for at in np.ndindex(*(ds.sizes[d] for d in dims)):
        place = dict(zip(dims, at, strict=True))
        yield place, _course(some.isel(place), phase, noisy)


def _course(run: xr.Dataset, phase: int, noisy: bool) -> Course:
    """The rows of a phase as a course."""
    time, error = run["time"].values, run["generalization_error"].values
    own: Any = np.flatnonzero((run["phase"].values == phase) & np.isfinite(error))
    first = int(own[0]) if own.size else 0
    begin, before = (float(time[first - 1]), float(error[first - 1])) if first else (0.0, np.nan)
    if phase and "phase_end" in run:
        end = float(run["phase_end"].isel(phase_index=phase - 1))
        begin = end if np.isfinite(end) else begin
    values = _median(error[own]) if noisy else error[own]
    floor = max(ROUNDING * np.fmax.reduce(values, initial=before), np.finfo(float).tiny)
    return Course(time[own], values, begin, before, float(floor))


def _median(values: Floats) -> Floats:
    """Running median, over fewer rows at the ends."""
    half = WINDOW // 2
    return np.array(
        [np.median(values[max(i - half, 0) : i + half + 1]) for i in range(values.size)]
    )
