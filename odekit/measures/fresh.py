"""Transfer over a student that has learnt nothing before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from odekit.base.cores import cores
from odekit.base.errors import ProblemError
from odekit.dataset.common import sweep_dims
from odekit.dataset.variable import named
from odekit.measures.again import NotAgain, Patient, again
from odekit.measures.curves import at_switch, change, trained_task
from odekit.sweeps.block import run_block

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats

BLOCK = 1024
"""Trajectories solved at once."""
MOST_ROWS = 2000
"""Rows of a fresh student that is solved for a run."""


def tabula_rasa(
    ds: xr.Dataset,
    fresh: xr.Dataset | None = None,
    task: str | None = None,
    switch: int = 1,
    through: int | None = None,
) -> xr.DataArray:
    """Transfer over a fresh student: ε_fresh(t) − ε_task(t_s + t) after the switch at t_s.

    How much better a student knows the second task, at the same time since it began, than one that
    has learnt nothing before it: above 0 if the first task helps.

    Parameters
    ----------
    ds : Dataset
    fresh : Dataset, optional
        A student that learns the same from time 0. By default the problem of the dataset itself,
        its state at time 0, with the phases from the switch on.
    task, switch, through
        As of `transfer`.

    Returns
    -------
    DataArray, dims (…, time)
        As of `transfer`; NaN after the end of the fresh student's rows. A given one is
        interpolated linearly between its rows.

    Raises
    ------
    ProblemError
        If there is no such switch, a task is ambiguous, or no fresh student is given and the
        problem of the dataset cannot be solved again.
    """
    chosen = trained_task(ds, switch, "tabula_rasa") if task is None else task
    moved = change(ds, chosen, switch, through)
    own = moved + at_switch(ds, chosen, switch)
    if fresh is None:
        fresh = _fresh(ds, switch, moved["time_since_switch"].values)
    elif chosen not in fresh["task"].values.tolist():
        raise ProblemError("fresh", f"must have the task {chosen!r}", list(fresh.task.values), "")
    error = fresh["generalization_error"].sel(task=chosen, drop=True)
    curve = _interpolated(error, own["time_since_switch"]) - own
    curve = curve.assign_coords(time=moved["time"], time_since_switch=moved["time_since_switch"])
    text = "error less than a fresh student's, eps_fresh(t) - eps(t_s + t)"
    return named(curve.transpose(..., "time"), "tabula_rasa", text)


def _interpolated(error: xr.DataArray, since: xr.DataArray) -> xr.DataArray:
    """Errors of one dataset at the times of another."""
    import xarray as xr

    found: xr.DataArray = xr.apply_ufunc(
        lambda t, y, new: np.interp(new, t[np.isfinite(y)], y[np.isfinite(y)], right=np.nan),
        xr.DataArray(error["time"].values, dims="fresh_time"),
        error.drop_vars("time").rename(time="fresh_time"),
        xr.DataArray(since.values, dims=since.dims),
        input_core_dims=[["fresh_time"], ["fresh_time"], ["time"]],
        output_core_dims=[["time"]],
        vectorize=True,
        output_dtypes=[np.float64],
    )
    return found


def _fresh(ds: xr.Dataset, switch: int, since: Floats) -> xr.Dataset:
    """The student of a dataset's problem that begins at the switch, in rows at these times."""
    try:
        whole = again(ds)
    except NotAgain as reason:
        rule = "must be given where the result's problem cannot be solved again"
        raise ProblemError("fresh", rule, str(reason) or "a simulation", "") from None
    left = whole.phases(slice(switch, None))
    times = np.unique(since[np.isfinite(since)])
    if times.size > MOST_ROWS:
        times = np.quantile(times, np.linspace(0.0, 1.0, MOST_ROWS))
    rest = {d: 0 for d in sweep_dims(ds) if d not in left.dims.values()}
    one = ds["generalization_error"].isel({**rest, "time": 0}, drop=True)
    error = one.expand_dims(time=times, axis=-2).copy(deep=True)
    for block, region in left.blocks(BLOCK):
        run = (block, whole.options, times)
        found = run_block(*run, threads=cores(), interrupts=Patient())["generalization_error"]
        error[region] = left.labelled(found, block, ("time", "task"))
    return error.to_dataset(name="generalization_error")
