"""The rows of a run by the points of the problem that it solves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats, Indices
from odekit.base.checks import count
from odekit.base.errors import ProblemError
from odekit.measures.again import Again, NotAgain, again
from odekit.problem.axes import Axis, axes

if TYPE_CHECKING:
    import xarray as xr


class Rows:
    """A run whose problem can be solved again, as arrays over the m points of that problem.

    Attributes
    ----------
    ds : Dataset
    source : Again
    problem : AnyProblem
    axes : dict
        Its sweep dims.
    times : ndarray, shape (rows,)
    """

    def __init__(self, ds: xr.Dataset, source: Again) -> None:
        self.ds, self.source, self.problem = ds, source, source.problem
        self.axes: Mapping[str, Axis] = axes(source.problem)
        self.times: Floats = ds["time"].values

    def by_point(self, array: xr.DataArray, core: tuple[str, ...]) -> Any:
        """An array with sweep dims of the dataset as (m, *core)."""
        names = self.source.dims
        lead = [names[d] for d in self.axes if d in names and names[d] in array.dims]
        values = array.transpose(*lead, *core).values
        tail = values.shape[len(lead) :]
        shape = [n if names.get(d) in lead else 1 for d, (n, _) in self.axes.items()]
        sizes = [n for n, _ in self.axes.values()]
        whole = np.broadcast_to(values.reshape((*shape, *tail)), (*sizes, *tail))
        return whole.reshape((-1, *tail))

    def nearest(self, time: float | None) -> Indices:
        """Number of the row nearest to a time, or of the last, (m,); -1 where there is none."""
        error = self.by_point(self.ds["generalization_error"], ("time", "task"))
        known = np.isfinite(error).all(axis=2)
        if time is None:
            last = known.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
            return np.where(known.any(axis=1), last, -1)
        near = int(np.abs(self.times - time).argmin())
        return np.where(known[:, near], near, -1)

    def at(self, name: str, rows: Indices, core: tuple[str, ...]) -> Floats:
        """A variable at one row of each point, (m, *core)."""
        values = self.by_point(self.ds[name], ("time", *core))
        return np.asarray(values[np.arange(len(rows)), np.maximum(rows, 0)])

    def phase_of(self, rows: Indices, phase: Any) -> int:
        """The phase that is given, or else the one that the rows belong to."""
        if phase is not None:
            return count("phase", phase, most=len(self.problem.phases) - 1, least=0)
        found = np.unique(self.at("phase", rows, ())[rows >= 0])
        if found.size > 1:
            rule = "must be given where rows at one time are of several phases"
            raise ProblemError("phase", rule, found.tolist(), "")
        return int(max(found[0], 0)) if found.size else 0

    def begins(self, phase: int) -> Floats:
        """When a phase begins, (m,); NaN where it does not."""
        if phase == 0:
            return np.zeros(int(np.prod([n for n, _ in self.axes.values()], dtype=np.int64)))
        return np.asarray(self.by_point(self.ds["phase_end"], ("phase_index",))[:, phase - 1])

    def restored(self, ds: xr.Dataset) -> xr.Dataset:
        """A dataset over the points of the problem with the sweep dims of the run."""
        names = self.source.dims
        lost = [d for d in self.axes if d not in names]
        ds = ds.isel(dict.fromkeys(lost, 0)) if lost else ds
        renamed = {old: new for old, new in names.items() if old != new}
        return ds.rename(renamed) if renamed else ds


def rows_of_run(argument: str, ds: Any) -> Rows:
    """The rows of a run.

    Raises
    ------
    ProblemError
        If it is no run, or one that cannot be solved again.
    """
    import xarray as xr

    rule = "must be a problem or the dataset of a run"
    if not isinstance(ds, xr.Dataset):
        raise ProblemError(argument, rule, repr(ds)[:80], "")
    if "time" not in ds.coords or "phase" not in ds or "generalization_error" not in ds:
        raise ProblemError(argument, rule, f"variables {list(ds)[:6]}", "")
    run = ds if "time" in ds.dims else ds.expand_dims("time")
    try:
        return Rows(run, again(run))
    except NotAgain as reason:
        why = str(reason) or "it is no solution of the equations"
        remedy = "Give the problem, and a row of it as the guess."
        raise ProblemError(argument, "must be a run to solve again", why, remedy) from None
