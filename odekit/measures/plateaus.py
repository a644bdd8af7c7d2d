"""Plateaus of the error: stretches of a phase in which it stands almost still."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import number, positive
from odekit.base.errors import ProblemError
from odekit.measures.curves import index, trained_task

if TYPE_CHECKING:
    import xarray as xr

WINDOW = 1.25
"""Slopes compare the error at t·1.25 and t/1.25, so that neither the grid nor noise sets them."""
CONVERGED = 1e-12
"""Errors this far below the largest are rounding, not a plateau."""
NONE = (np.nan, np.nan, np.nan)


def plateau(
    ds: xr.Dataset,
    task: str | None = None,
    phase: int = 0,
    threshold: float = 0.1,
    shortest: float = 2.0,
) -> xr.Dataset:
    """The longest plateau of a task's error in a phase.

    A plateau is a stretch in which log ε changes by less than `threshold` per unit of log t, t the
    time since the phase began. The stretch at the start, before anything has been learned, is none.
    One that lasts to the end of the phase, where nothing tells a plateau from a floor, counts only
    if there is no other.

    Parameters
    ----------
    ds : Dataset
        With the sweep dims it has.
    task : str, optional
        By default the task that the phase trains.
    phase : int
    threshold : float
        Slope, in powers of time, below which the error stands still.
    shortest : float
        Least ratio of end to start (times since the phase began), > 1.

    Returns
    -------
    Dataset, dims (…)
        ``level``, the error where it changes least; ``start`` and ``end`` on the axis ``time``. All
        are NaN where there is no plateau; ``end`` is NaN where the phase ends on it.

    Raises
    ------
    ProblemError
        If the phase or the task does not exist, or the task is ambiguous.
    """
    import xarray as xr

    limit, ratio = float(np.asarray(positive("threshold", threshold))), _ratio(shortest)
    index("phase", phase, 0, int(ds.sizes.get("phase_index", int(ds["phase"].max()) + 1)) - 1)
    name = trained_task(ds, phase, "plateau") if task is None else task
    known = ds["task"].values.tolist()
    if name not in known:
        raise ProblemError(
            "task", f"must be a task of the run ({', '.join(map(repr, known))})", repr(name)
        )
    found = xr.apply_ufunc(
        lambda e, p, t: _longest(e, p, t, phase, limit, np.log(ratio)),
        ds["generalization_error"].sel(task=name),
        ds["phase"],
        ds["time"],
        input_core_dims=[["time"]] * 3,
        output_core_dims=[[], [], []],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64] * 3,
    )
    texts = ("error on the plateau", "start of the plateau", "end of the plateau")
    return xr.Dataset(
        {
            key: array.rename(None).drop_attrs().assign_attrs(long_name=text, units="1")
            for key, array, text in zip(("level", "start", "end"), found, texts, strict=True)
        }
    )


def _ratio(shortest: float) -> float:
    value = number("shortest", shortest, "be > 1", lambda x: x > 1, "It is a ratio of two times.")
    return float(np.asarray(value))


def _longest(
    error: Floats, phase: Any, time: Floats, index: int, threshold: float, shortest: float
) -> tuple[float, float, float]:
    """Level, start and end of the longest plateau of one trajectory."""
    own = np.flatnonzero(phase == index)
    if own.size < 3:
        return NONE
    before = max(own[0] - 1, 0)
    start, at_start = (time[before] if own[0] else 0.0), error[before]
    own = own[time[own] > start]
    error, time = error[own], time[own]
    x, y = np.log(time - start), _log(error)
    slope = _slopes(x, y)
    stretches = _stretches(np.abs(slope) < threshold)
    fell = abs(float(_log(at_start)) - y[0]) > threshold
    floor = CONVERGED * np.nanmax(np.append(error, at_start))
    ended: list[tuple[float, ...]] = []
    open_ended: list[tuple[float, ...]] = []
    for a, b in stretches:
        flattest = a + int(np.argmin(np.abs(slope[a : b + 1])))
        if x[b] - x[a] < shortest or (a == 0 and not fell) or not error[flattest] > floor:
            continue
        last = b == x.size - 1
        (open_ended if last else ended).append(
            (x[b] - x[a], float(error[flattest]), float(time[a]), np.nan if last else time[b])
        )
    best = max(ended or open_ended, default=None, key=lambda found: found[0])
    return NONE if best is None else (best[1], best[2], float(best[3]))


def _log(error: Any) -> Any:
    """Logarithm, NaN for errors that rounding has taken below zero."""
    return np.log(np.where(np.asarray(error) > 0, error, np.nan))


def _slopes(x: Floats, y: Floats) -> Floats:
    """dy/dx over a window about each point, one-sided at both ends."""
    low = np.maximum(x - np.log(WINDOW), x[0])
    high = np.minimum(x + np.log(WINDOW), x[-1])
    # Rows farther apart than the window: their neighbours.
    low = np.minimum(low, np.append(x[0], x[:-1]))
    high = np.maximum(high, np.append(x[1:], x[-1]))
    return np.asarray((np.interp(high, x, y) - np.interp(low, x, y)) / (high - low))


def _stretches(flat: Any) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat.astype(int), [0]])))
    return [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
