"""What happens to a task's error after a switch of phases: forgetting and transfer."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.dataset.provenance import problem_of
from odekit.dataset.variable import named
from odekit.measures.logs import check_known, logarithms

if TYPE_CHECKING:
    import xarray as xr


def forgetting(
    ds: xr.Dataset,
    task: str | Sequence[str] | None = None,
    switch: int = 1,
    through: int | None = None,
    *,
    log: bool = False,
    floor: float | None = None,
) -> xr.DataArray:
    """Forgetting F(t) = ε_task(t_s + t) − ε_task(t_s) after the switch at t_s.

    Parameters
    ----------
    ds : Dataset
        With the sweep dims it has.
    task : str or sequence of str, optional
        By default the task trained in the phase before the switch; "all" for every task that was
        trained before it (unless a task has that name). Several make the dim ``task``. Of all
        tasks and phases at once: `forgetting_matrix`.
    switch : int
        Index of the phase that begins at the switch, 1 for the second one.
    through : int, optional
        Last phase that the curve follows; by default the run's last.
    log : bool
        Of the logarithms: log₁₀ ε(t_s + t) − log₁₀ ε(t_s).
    floor : float, optional
        With `log`, smaller errors count as this one. By default errors that are rounding are
        refused: those below the run's `rtol` of the largest, as after convergence without noise.

    Returns
    -------
    DataArray, dims (…, time) or (…, task, time)
        From the switch, where it is 0, on; coordinate ``time_since_switch`` beside ``time``. Where
        the switches of a sweep differ, this coordinate has the sweep's dims and the rows before
        each switch are NaN, as are trajectories that never reached theirs.

    Raises
    ------
    ProblemError
        If there is no such switch, nothing has reached it, the task is ambiguous or no phase before
        the switch trains it; with `log`, if an error is rounding.

    Notes
    -----
    ε(t_s) is the row at the switch, the state with which the old phase ended: a head copied there
    changes the error by a jump. Where no row stands at the switch (other `t_eval`; phases of a
    sweep that end by threshold) ε(t_s) is the dataset's `phase_end_error`, and the last row before
    the switch stands for it. In the same way the first row after the end of a trajectory, or of the
    phase `through`, stands for that end, with the time since the switch and the error there.
    """
    known = ds["task"].values.tolist()
    if isinstance(task, str) and task == "all" and task not in known:
        task = _trained_before(ds, switch, known)
    chosen = trained_task(ds, switch - 1, "forgetting") if task is None else task
    _check_learnt(ds, chosen, switch)
    if not log:
        lost = change(ds, chosen, switch, through)
        return named(lost, "forgetting", "error gained since the switch, eps(t_s + t) - eps(t_s)")
    text = "log10 of the error gained since the switch, log10 eps(t_s + t) / eps(t_s)"
    return named(log_change(ds, chosen, switch, through, floor), "log_forgetting", text)


def forgetting_matrix(ds: xr.Dataset) -> xr.DataArray:
    """Forgetting of every task at the end of every phase.

    F[task, j] = ε_task at the end of phase j less ε_task at the end of the last phase before j that
    trained it; 0 at the end of a phase that trains it itself.

    Parameters
    ----------
    ds : Dataset
        With the sweep dims it has.

    Returns
    -------
    DataArray, dims (…, task, phase_index)
        NaN for phases that were not reached, and for a task before it was first trained: there is
        nothing to forget yet (`forgetting` refuses to follow such a task).

    Raises
    ------
    ProblemError
        If the dataset has no errors at ends of phases, or does not hold its problem.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.2, 0.0]], T=[[1.0, 0.0], [0.0, 1.0]]),
    ...     heads={"a": [1.0], "b": [1.0]},
    ...     tasks={"a": ok.Task(readout=[1.0, 0.0]), "b": ok.Task(readout=[0.0, 1.0])},
    ...     phases=[ok.Phase("a", 20.0, 0.5), ok.Phase("b", 20.0, 0.5)],
    ... )
    >>> ok.measures.forgetting_matrix(ok.solve(problem)).values.round(3)
    array([[0.  , 0.31],
           [ nan, 0.  ]])
    """
    import xarray as xr

    trained = [_trained(ds, phase) for phase in range(ds.sizes.get("phase_index", 0))]
    if "phase_end_error" not in ds or None in trained:
        rule = "must hold its problem and the errors at the ends of its phases"
        raise ProblemError("ds", rule, list(ds.data_vars)[:4], "Give what `solve` returned.")
    ends, rows = ds["phase_end_error"], []
    for task in ds["task"].values.tolist():
        errors, known, found = ends.sel(task=task, drop=True), None, []
        for j, names in enumerate(trained):
            now = errors.isel(phase_index=j, drop=True)
            known = now if task in (names or ()) else known
            found.append(xr.full_like(now, np.nan) if known is None else now - known)
        rows.append(xr.concat(found, ds["phase_index"], coords="minimal", compat="override"))
    made = xr.concat(rows, ds["task"], coords="minimal", compat="override")
    text = "error gained since the task was last trained"
    return named(made.transpose(..., "task", "phase_index"), "forgetting_matrix", text)


def transfer(
    ds: xr.Dataset,
    task: str | Sequence[str] | None = None,
    switch: int = 1,
    through: int | None = None,
    *,
    log: bool = False,
    floor: float | None = None,
) -> xr.DataArray:
    """Transfer ε_task(t_s) − ε_task(t_s + t) after the switch at t_s: what learning has gained.

    Parameters
    ----------
    ds, switch, through, log, floor
        As in `forgetting`.
    task : str or sequence of str, optional
        By default the task trained in the phase after the switch.

    Returns
    -------
    DataArray, dims (…, time)
        As of `forgetting`.
    """
    chosen = trained_task(ds, switch, "transfer") if task is None else task
    if not log:
        gained = -change(ds, chosen, switch, through)
        return named(gained, "transfer", "error lost since the switch, eps(t_s) - eps(t_s + t)")
    text = "log10 of the error lost since the switch, log10 eps(t_s) / eps(t_s + t)"
    return named(-log_change(ds, chosen, switch, through, floor), "log_transfer", text)


def log_change(
    ds: xr.Dataset,
    task: str | Sequence[str],
    switch: int,
    through: int | None,
    floor: float | None,
    refuse: bool = True,
) -> xr.DataArray:
    """log₁₀ ε(t)/ε(t_s) as `change`; where it is rounding, an error, or else NaN all along."""
    plain = change(ds, task, switch, through)
    curve = change(logarithms(ds, floor), task, switch, through)
    # Ends of phases that are rounding have no row.
    curve = curve.reindex(time=plain["time"]).assign_coords(plain.coords)
    lost = plain.notnull() & curve.isnull()
    if refuse:
        check_known(lost)
    return curve.where(~lost.any("time"))


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
        −1 for trajectories that never reached it. Where phases end between rows (by threshold, in
        a sweep) the state in it is one shortly before the switch.

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
        raise _unreached(ds, switch)
    row = row.drop_vars("time", errors="ignore").astype("int64")
    return row.rename("switch_row").assign_attrs(long_name="row at the switch")


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
    names = _trained(ds, phase) or []
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


def _unreached(ds: xr.Dataset, switch: int) -> ProblemError:
    return ProblemError(
        "switch",
        "must have been reached, with rows on both sides of it",
        f"switch {switch} of a run to t = {float(ds.time[-1]):g} from {float(ds.time[0]):g}",
        "See the dataset's `status` and the times of its rows.",
    )


def _check_switch(ds: xr.Dataset, switch: int) -> None:
    phases = int(ds.sizes.get("phase_index", int(ds["phase"].max()) + 1))
    if phases < 2:
        raise ProblemError(
            "switch", "needs a run of at least two phases", "one phase", "A switch is between two."
        )
    index("switch", switch, 1, phases - 1)


def _trained(ds: xr.Dataset, phase: int) -> list[str] | None:
    """Tasks that a phase trains; None if the dataset does not say."""
    try:
        written = problem_of(ds)["phases"][phase]["tasks"]
        if isinstance(written, str):
            return [written]
        return [str(name) for name, share in written.items() if share != 0]
    except (ProblemError, LookupError, TypeError, AttributeError):
        return None


def _trained_before(ds: xr.Dataset, switch: int, known: Sequence[str]) -> list[str]:
    """All tasks that the phases before a switch train."""
    _check_switch(ds, switch)
    found = [_trained(ds, phase) for phase in range(switch)]
    if any(names is None for names in found):
        raise ProblemError(
            "task",
            "must be named where the dataset does not hold its problem",
            "'all'",
            f"Name some of {', '.join(map(repr, known))}.",
        )
    return [name for name in known if any(name in (names or ()) for names in found)]


def _check_learnt(ds: xr.Dataset, task: str | Sequence[str], switch: int) -> None:
    """Refuse the forgetting of what no phase before the switch trains."""
    _check_switch(ds, switch)
    found = [_trained(ds, phase) for phase in range(switch)]
    for name in [task] if isinstance(task, str) else task:
        # That it is no task at all is said elsewhere.
        never = all(names is not None and name not in names for names in found)
        if never and name in ds["task"].values.tolist():
            raise ProblemError(
                "task",
                f"must be one that a phase before the switch, {switch}, trains",
                repr(name),
                "There is nothing to forget yet: its error is followed by `transfer`.",
            )


def change(
    ds: xr.Dataset, task: str | Sequence[str], switch: int, through: int | None
) -> xr.DataArray:
    """ε(t) − ε(t_s) over the rows from the switch to the end of the phase `through`."""
    import xarray as xr

    _check_switch(ds, switch)
    last = _last_phase(ds, switch, through)
    error = _errors(ds, task)
    unknown = xr.DataArray(np.full(last + 1, np.nan), dims="phase_index")
    followed = {"phase_index": slice(0, last + 1)}
    ends = ds["phase_end"].isel(followed) if "phase_end" in ds else unknown
    known = "phase_end_error" in ds
    end_errors = _errors(ds, task, "phase_end_error").isel(followed) if known else unknown
    moved, since = xr.apply_ufunc(
        partial(_since_switch, switch, last),
        error,
        ds["phase"],
        ds["time"],
        ends,
        end_errors,
        input_core_dims=[["time"], ["time"], ["time"], ["phase_index"], ["phase_index"]],
        output_core_dims=[["time"], ["time"]],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64, np.float64],
    )
    if "task" in since.dims:
        since = since.isel(task=0, drop=True)
    since = _common(since.drop_vars("task", errors="ignore"))
    rows = np.flatnonzero(since.notnull().any([d for d in since.dims if d != "time"]).values)
    if not rows.size:
        raise _unreached(ds, switch)
    since = since.assign_attrs(long_name="time since the switch, steps / N")
    curve: xr.DataArray = moved.assign_coords(
        time=ds["time"], time_since_switch=since.drop_vars("time")
    ).isel(time=slice(rows[0], rows[-1] + 1))
    return curve.transpose(..., "time")


def at_switch(ds: xr.Dataset, task: str, switch: int) -> xr.DataArray:
    """ε(t_s) of a task."""
    if "phase_end_error" in ds:
        ends = ds["phase_end_error"].isel(phase_index=switch - 1)
        return ends.sel(task=task, drop=True).drop_vars("phase_index", errors="ignore")
    error = ds["generalization_error"].sel(task=task, drop=True)
    before = (ds["phase"] >= 0) & (ds["phase"] < switch)
    row = before.cumsum("time").argmax("time")
    return error.isel(time=row).drop_vars("time")


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
    switch: int,
    last: int,
    error: Floats,
    phase: Any,
    time: Floats,
    ends: Floats,
    end_errors: Floats,
) -> tuple[Floats, Floats]:
    """Change of the error and time since the switch, NaN outside the rows of the curve."""
    moved, since = np.full(time.size, np.nan), np.full(time.size, np.nan)
    rows = np.flatnonzero(phase >= 0)
    after = rows[phase[rows] >= switch]
    before = rows[phase[rows] < switch]
    row = int(before[-1]) if before.size else -1
    between = np.isfinite(ends[switch]) and row + 1 < time.size
    if row < 0 or not (after.size or between):
        return moved, since
    begin = ends[switch - 1] if np.isfinite(ends[switch - 1]) else time[row]
    known = end_errors[switch - 1]
    if time[row] == begin or not np.isfinite(known):
        known = error[row] if phase[row] == switch - 1 else np.nan
    followed = after[phase[after] <= last]
    moved[row], since[row] = 0.0, 0.0
    moved[followed], since[followed] = error[followed] - known, time[followed] - begin
    _put_end(moved, since, time, ends[switch:] - begin, end_errors[switch:] - known, begin)
    return moved, since


def _put_end(
    moved: Floats, since: Floats, time: Floats, ends: Floats, changes: Floats, begin: float
) -> None:
    """The end of the last phase, in the row after it where no row stands there."""
    known = np.flatnonzero(np.isfinite(ends) & np.isfinite(changes))
    if not known.size or known[-1] != np.isfinite(ends).sum() - 1:
        return
    end = ends[known[-1]]
    row = int(np.searchsorted(time - begin, end))
    if row < time.size and np.isnan(since[row]):
        moved[row], since[row] = changes[known[-1]], end
