"""Forgetting of the first task once the second one is known as well."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.cores import cores
from odekit.base.status import Outcome
from odekit.dataset.common import sweep_dims
from odekit.dataset.variable import named
from odekit.measures.again import Again, NotAgain, Patient, again, from_rows
from odekit.measures.curves import at_switch, change, trained_task
from odekit.measures.logs import check_known, known_from
from odekit.problem.axes import axes
from odekit.sweeps.block import run_block

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats
    from odekit.problem.base import AnyProblem

BLOCK = 1024
"""Trajectories solved at once."""


def adjusted_forgetting(
    ds: xr.Dataset, task: str | None = None, other: str | None = None, switch: int = 1
) -> xr.DataArray:
    """Forgetting once the second task is known as well as the first one was.

    log₁₀ ε₁(t*) − log₁₀ ε₁(t_s), where t* is when ε₂ first falls to ε₁(t_s) after the switch at
    t_s: fast learners of the second task are not compared with slow ones.

    Parameters
    ----------
    ds : Dataset
    task, other : str, optional
        The tasks that the phases before and after the switch train.
    switch : int
        Index of the phase that begins at the switch.

    Returns
    -------
    DataArray, dims (…)
        With the coordinate ``time_since_switch``, t* − t_s. NaN where ε₂ does not fall so far in
        that phase, or the switch was never reached. Of a result of theory it is solved for, up to
        the event ε₂ = ε₁(t_s), and the rows do not matter; of simulations it is interpolated
        between rows.

    Raises
    ------
    ProblemError
        If there is no such switch, a task is ambiguous, or ε₁(t_s) is rounding.

    Warns
    -----
    UserWarning
        If a result of theory cannot be solved again: its rows decide.
    """
    return adjusted(ds, task, other, switch)


def adjusted(
    ds: xr.Dataset, task: str | None, other: str | None, switch: int, refuse: bool = True
) -> xr.DataArray:
    """The same; where ε₁(t_s) is rounding, an error, or else NaN."""
    import xarray as xr

    first = trained_task(ds, switch - 1, "adjusted_forgetting") if task is None else task
    second = trained_task(ds, switch, "adjusted_forgetting") if other is None else other
    change(ds, [first, second], switch, None)  # names what is wrong
    level = at_switch(ds, first, switch)
    unknown = level <= known_from(ds).sel(task=first, drop=True)
    if refuse:
        check_known(unknown.expand_dims("time"))
    level = level.where(~unknown)
    try:
        when, after = _of_problem(ds, first, second, switch, level)
    except NotAgain as reason:
        from_rows(reason, "adjusted_forgetting")
        when, after = _of_rows(ds, first, second, switch, level)
    lost = named(
        xr.apply_ufunc(np.log10, after / level),
        "adjusted_forgetting",
        "log10 of the error gained since the switch when the second task is known as well",
    )
    about = {"long_name": "time since the switch, steps / N"}
    return lost.assign_coords(time_since_switch=when.assign_attrs(about))


def _of_problem(
    ds: xr.Dataset, first: str, second: str, switch: int, level: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """Time since the switch and ε₁ when ε₂ = ε₁(t_s), by the event of a phase."""
    import xarray as xr

    whole = again(ds).phases(switch + 1)
    if second not in whole.problem.phases[switch].mixture:
        raise NotAgain(f"phase {switch} does not train {second!r}")
    until = {second: _of_sweep(level.where(level > 0, 1.0), whole)}
    parts = replace(whole, problem=whole.problem.replace_phase(switch, until=until))
    dims = sweep_dims(ds)
    empty = xr.DataArray(np.full([ds.sizes[d] for d in dims], np.nan), dims=dims)
    found = xr.Dataset({"when": empty, "after": empty.copy()})
    for problem, region in parts.blocks(BLOCK):
        block = _met(problem, parts, switch, list(whole.problem.tasks).index(first))
        for name, values in block.items():
            found[name][region] = values
    found = found.assign_coords({d: ds[d] for d in dims if d in ds.coords}).where(level.notnull())
    return found.when, found.after


def _of_sweep(level: xr.DataArray, whole: Again) -> xr.DataArray:
    """Numbers of a dataset's trajectories as those of its problem's points."""
    back = {name: d for d, name in whole.dims.items()}
    kept = level.reset_coords(drop=True).isel({d: 0 for d in level.dims if d not in back})
    kept = kept.drop_vars(list(kept.coords)).rename(back)
    found = axes(whole.problem)
    return kept.assign_coords({d: (d, c) for d, (_, c) in found.items() if d in kept.dims})


def _met(problem: AnyProblem, whole: Again, switch: int, first: int) -> dict[str, xr.DataArray]:
    """When phases of points of a sweep meet their thresholds, and a task's error then."""
    run = (problem, whole.options, np.zeros(1))
    found = run_block(*run, threads=cores(), interrupts=Patient())
    met = found["phase_outcome"][..., switch] == Outcome.THRESHOLD
    ends = found["phase_end"]
    since = ends[..., switch] - ends[..., switch - 1]
    error = found["phase_end_error"][..., switch, first]
    numbers = {"when": since, "after": error}
    return {n: whole.labelled(np.where(met, v, np.nan), problem) for n, v in numbers.items()}


def _of_rows(
    ds: xr.Dataset, first: str, second: str, switch: int, level: xr.DataArray
) -> tuple[xr.DataArray, xr.DataArray]:
    """The same, interpolated between rows, errors by their logarithms."""
    import xarray as xr

    moved = change(ds, [first, second], switch, switch)
    start = xr.concat([at_switch(ds, name, switch) for name in (first, second)], "task")
    errors = moved + start.assign_coords(task=[first, second])
    since = moved["time_since_switch"]
    times = xr.DataArray(since.values, dims=since.dims)
    when, after = xr.apply_ufunc(
        _crossed,
        errors.sel(task=first, drop=True).drop_vars(["time_since_switch", "time"]),
        errors.sel(task=second, drop=True).drop_vars(["time_since_switch", "time"]),
        times,
        level,
        input_core_dims=[["time"], ["time"], ["time"], []],
        output_core_dims=[[], []],
        vectorize=True,
        output_dtypes=[np.float64, np.float64],
    )
    return when, after


def _crossed(first: Floats, second: Floats, since: Floats, level: float) -> tuple[float, float]:
    # The row at the switch is before the head is copied.
    good = (first > 0) & (second > 0) & (since > 0)
    below: Any = np.flatnonzero(second[good] <= level)
    if not below.size or not level > 0:
        return float("nan"), float("nan")
    t, x, y = since[good], np.log(first[good]), np.log(second[good])
    i = int(below[0])
    if i == 0:
        return float(t[0]), float(np.exp(x[0]))
    share = (np.log(level) - y[i - 1]) / (y[i] - y[i - 1])
    return float(t[i - 1] + share * (t[i] - t[i - 1])), float(
        np.exp(x[i - 1] + share * (x[i] - x[i - 1]))
    )
