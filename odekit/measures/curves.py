"""What happens to a task's error after a switch of phases: forgetting and transfer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.dataset.provenance import problem_of
from odekit.dataset.variable import named

if TYPE_CHECKING:
    import xarray as xr


def forgetting(
    ds: xr.Dataset,
    task: str | Sequence[str] | None = None,
    switch: int = 1,
    through: int | None = None,
) -> xr.DataArray:
    """Forgetting F(t) = ε_task(t_s + t) − ε_task(t_s) after the switch at t_s.

    Parameters
    ----------
    ds : Dataset
        With the sweep dims it has.
    task : str or sequence of str, optional
        By default the task trained in the phase before the switch.
    switch : int
        Index of the phase that begins at the switch, 1 for the second one.
    through : int, optional
        Last phase that the curve follows; by default the run's last.

    Returns
    -------
    DataArray, dims (…, time)
        From the switch, where it is 0, on; coordinate ``time_since_switch`` beside ``time``. Where
        the switches of a sweep differ, this coordinate has the sweep's dims and the rows before
        each switch are NaN, as are trajectories that never reached theirs.

    Raises
    ------
    ProblemError
        If there is no such switch, nothing has reached it, or the task is ambiguous.

    Notes
    -----
    ε(t_s) is the row at the switch, the state with which the old phase ended: a head copied there
    changes the error by a jump. Where no row stands at the switch (other `t_eval`; phases of a
    sweep that end by threshold) ε(t_s) is the dataset's `phase_end_error`.
    """
    chosen = trained_task(ds, switch - 1, "forgetting") if task is None else task
    change = _change(ds, chosen, switch, through)
    return named(change, "forgetting", "error gained since the switch, eps(t_s + t) - eps(t_s)")


def transfer(
    ds: xr.Dataset,
    task: str | Sequence[str] | None = None,
    switch: int = 1,
    through: int | None = None,
) -> xr.DataArray:
    """Transfer ε_task(t_s) − ε_task(t_s + t) after the switch at t_s: what learning has gained.

    Parameters
    ----------
    ds, switch, through
        As in `forgetting`.
    task : str or sequence of str, optional
        By default the task trained in the phase after the switch.

    Returns
    -------
    DataArray, dims (…, time)
        As of `forgetting`.
    """
    chosen = trained_task(ds, switch, "transfer") if task is None else task
    change = -_change(ds, chosen, switch, through)
    return named(change, "transfer", "error lost since the switch, eps(t_s) - eps(t_s + t)")


def switch_row(ds: xr.Dataset, switch: int = 1) -> xr.DataArray:
    """Index of the row at a switch: the last one of the phase before.

    Parameters
    ----------
    ds : Dataset
    switch : int
        Index of the phase that begins there.

    Returns
    -------
    DataArray of int64, dims (…)
        −1 for trajectories that never reached it.

    Raises
    ------
    ProblemError
        If there is no such switch or no trajectory has reached it.
    """
    phase = ds["phase"]
    _check_switch(ds, switch)
    after = phase >= switch
    row = after.argmax("time").where(after.any("time"), 0) - 1
    if int(row.max()) < 0:
        raise ProblemError(
            "switch",
            "must have been reached, with rows on both sides of it",
            f"switch {switch} of a run to t = {float(ds.time[-1]):g} from {float(ds.time[0]):g}",
            "See the dataset's `status` and the times of its rows.",
        )
    row = row.drop_vars("time", errors="ignore").astype("int64")
    return row.rename("switch_row").assign_attrs(long_name="row at the switch", units="1")


def trained_task(ds: xr.Dataset, phase: int, measure: str = "this measure") -> str:
    """The task that a phase trains.

    Parameters
    ----------
    ds : Dataset
        Its attributes hold the problem.
    phase : int
    measure : str
        What needs to know, for the error.

    Raises
    ------
    ProblemError
        If the phase trains several tasks, or the dataset does not say.
    """
    known = ds["task"].values.tolist()
    if len(known) == 1:
        return str(known[0])
    try:
        written = problem_of(ds)["phases"][phase]["tasks"]
        names = [written] if isinstance(written, str) else list(written)
    except (ProblemError, LookupError, TypeError):
        names = []
    if len(names) != 1:
        raise ProblemError(
            "task",
            f"must be named for {measure} unless phase {phase} is known to train exactly one",
            f"None, with tasks {names or 'unknown'}",
            f"Name one of {', '.join(map(repr, known))}.",
        )
    return str(names[0])


def index(argument: str, value: object, least: int, most: int) -> int:
    """A phase of the run, given by its index."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise ProblemError(argument, "must be the index of a phase", repr(value))
    if not least <= value <= most:
        raise ProblemError(
            argument,
            f"must be a phase of the run, {least} to {most}",
            value,
            "Phases count from 0; a switch is named by the phase that begins there.",
        )
    return int(value)


# ------------------------------------------------------------------------------------------ helpers


def _check_switch(ds: xr.Dataset, switch: int) -> None:
    phases = int(ds.sizes.get("phase_index", int(ds["phase"].max()) + 1))
    if phases < 2:
        raise ProblemError(
            "switch", "needs a run of at least two phases", "one phase", "A switch is between two."
        )
    index("switch", switch, 1, phases - 1)


def _change(
    ds: xr.Dataset, task: str | Sequence[str], switch: int, through: int | None
) -> xr.DataArray:
    """ε(t) − ε(t_s) over the rows from the switch to the end of the phase `through`."""
    import xarray as xr

    switch_row(ds, switch)
    last = _last_phase(ds, switch, through)
    error = _errors(ds, task)
    before = {"phase_index": switch - 1}
    end: Any = np.nan
    known: Any = np.nan
    if "phase_end" in ds:
        end = ds["phase_end"].isel(before, drop=True)
    if "phase_end_error" in ds:
        known = _errors(ds, task, "phase_end_error").isel(before, drop=True)
    change, since = xr.apply_ufunc(
        lambda e, p, t, s, k: _since_switch(e, p, t, s, k, switch, last),
        error,
        ds["phase"],
        ds["time"],
        end,
        known,
        input_core_dims=[["time"], ["time"], ["time"], [], []],
        output_core_dims=[["time"], ["time"]],
        vectorize=True,
        dask="parallelized",
    )
    if "task" in since.dims:
        since = since.isel(task=0, drop=True)
    since = _common(since.drop_vars("task", errors="ignore"))
    rows = np.flatnonzero(since.notnull().any([d for d in since.dims if d != "time"]).values)
    since = since.assign_attrs(long_name="time since the switch, steps / N", units="1")
    curve: xr.DataArray = change.assign_coords(
        time=ds["time"], time_since_switch=since.drop_vars("time")
    ).isel(time=slice(rows[0], rows[-1] + 1))
    return curve.transpose(..., "time")


def _common(since: xr.DataArray) -> xr.DataArray:
    """One axis of times where all trajectories that have any have the same."""
    others = [d for d in since.dims if d != "time"]
    if not others:
        return since
    latest = since.max(others)
    same = bool((since.isnull() | (since == latest)).all())
    increasing = bool((latest.dropna("time").diff("time") > 0).all())
    return latest if same and increasing else since


def _last_phase(ds: xr.Dataset, switch: int, through: int | None) -> int:
    highest = int(ds.sizes.get("phase_index", int(ds["phase"].max()) + 1)) - 1
    return highest if through is None else index("through", through, switch, highest)


def _errors(
    ds: xr.Dataset, task: str | Sequence[str], variable: str = "generalization_error"
) -> xr.DataArray:
    known = ds["task"].values.tolist()
    wanted = [task] if isinstance(task, str) else list(task)
    for name in wanted:
        if name not in known:
            raise ProblemError(
                "task", f"must be a task of the run ({', '.join(map(repr, known))})", repr(name)
            )
    return ds[variable].sel(task=task if isinstance(task, str) else wanted)


def _since_switch(
    error: Floats, phase: Any, time: Floats, end: float, known: float, switch: int, last: int
) -> tuple[Floats, Floats]:
    """Change of the error and time since the switch, NaN outside the rows of the curve."""
    change, since = np.full(time.size, np.nan), np.full(time.size, np.nan)
    after = phase >= switch
    row = int(after.argmax()) - 1
    if row < 0 or not after.any():
        return change, since
    begin = end if np.isfinite(end) else time[row]
    if not np.isfinite(known):
        known = error[row] if phase[row] == switch - 1 else np.nan
    rows = np.flatnonzero(after & (phase <= last))
    change[row], since[row] = 0.0, 0.0
    change[rows] = error[rows] - known
    since[rows] = time[rows] - begin
    return change, since
