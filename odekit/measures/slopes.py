"""The rate at which errors change just after a switch, from the equations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.differentiate import derivative

from odekit.base.cores import cores
from odekit.dataset.common import sweep_dims
from odekit.measures.again import Patient, again
from odekit.problem.axes import at, axes, points
from odekit.sweeps.block import end_states

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats
    from odekit.integrate.options import SolverOptions
    from odekit.problem.base import AnyProblem

BLOCK = 1024
"""Trajectories solved at once."""
FIRST_STEP = 1e-2
"""Step along the flow with which its derivative begins, as the share of the state that it moves."""
ACCURACY = 1e-6
"""Relative error of a derivative above which it is none."""


def slopes(ds: xr.Dataset, switch: int) -> xr.DataArray:
    """dε/dt of every task as a phase begins, after copies of heads are made.

    Parameters
    ----------
    ds : Dataset
    switch : int
        Index of the phase.

    Returns
    -------
    DataArray, dims (…, task)
        NaN for trajectories that did not come to the switch.

    Raises
    ------
    NotAgain
        If the problem of the dataset cannot be solved again.
    """
    import xarray as xr

    upto = again(ds).phases(switch + 1)
    dims, tasks = sweep_dims(ds), list(upto.problem.tasks)
    empty = np.full((*(ds.sizes[d] for d in dims), len(tasks)), np.nan)
    found = xr.DataArray(empty, dims=[*dims, "task"])
    for problem, region in upto.blocks(BLOCK):
        values = _block(problem, switch, upto.options)
        shape = [s.stop - s.start for s in region.values()]
        there = values.reshape(*shape, len(tasks))
        found[region] = xr.DataArray(there, dims=[*region, "task"])
    named = found.assign_coords({d: ds[d] for d in dims if d in ds.coords})
    return named.assign_coords(task=tasks).sel(task=ds["task"].values.tolist())


def _block(problem: AnyProblem, switch: int, options: SolverOptions) -> Floats:
    """Slopes of every task (points, tasks)."""
    before = problem.replace(phases=problem.phases[:switch])
    ends = end_states(before, options, threads=cores(), interrupts=Patient())
    own = axes(before)  # what only the phase after the switch has is no dim of theirs
    numbers = np.arange(len(ends)).reshape([size for size, _ in own.values()])
    found = [
        _slope(at(problem, index), switch, ends[numbers[tuple(index[d] for d in own)]])
        for _, index in points(axes(problem))
    ]
    return np.array(found)


def _slope(problem: AnyProblem, switch: int, ends: list[tuple[float, Floats]]) -> Floats:
    """Slopes of every task of one trajectory whose phases ended so."""
    if not ends:
        return np.full(len(problem.tasks), np.nan)
    packing = problem.system.points(problem, {})
    frame, y = packing.start()
    for i, (_, end) in enumerate(ends):
        frame, _ = packing.enter(i, frame, y)
        y = end[np.newaxis]
    frame, y = packing.enter(switch, frame, y)
    begin = ends[-1][0]
    flow = packing.equations(switch, frame, begin).rhs(begin, y[0])
    if not flow.any():
        return np.zeros(len(problem.tasks))

    def errors(h: Any, task: Any) -> Any:
        states = y[0] + h.reshape(-1, 1) * flow
        every = packing.errors(states[np.newaxis], frame=frame)[0].reshape(*h.shape, -1)
        return np.take_along_axis(every, np.broadcast_to(task, h.shape)[..., None], -1)[..., 0]

    return _derivatives(
        errors, len(problem.tasks), FIRST_STEP * np.abs(y).max() / np.abs(flow).max()
    )


def _derivatives(errors: Any, tasks: int, step: float) -> Floats:
    """Derivatives at 0, NaN where differences of high order do not settle."""
    which = np.arange(tasks)
    zero = np.zeros(tasks)
    rounding = 1e-13 * np.abs(errors(zero, which)).max() / step
    options: Any = {"initial_step": step, "tolerances": {"rtol": 1e-10, "atol": rounding}}
    found = derivative(errors, zero, args=(which,), **options)
    settled = found.error <= ACCURACY * np.abs(found.df) + 1e4 * rounding
    return np.where(settled, found.df, np.nan)
