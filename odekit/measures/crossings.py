"""When curves first pass a level: between rows of a dataset, or by solving its problem again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import is_labelled
from odekit.base.cores import cores
from odekit.dataset.result import prepare
from odekit.measures.again import Again, NotAgain, Patient, again
from odekit.measures.summaries import clock
from odekit.sweeps.block import run_block

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem

Crossing: TypeAlias = Callable[..., tuple[Floats, float]]
"""From values, without NaN, and what was given, to numbers and the level that they pass upwards."""

BLOCK = 32
"""Trajectories solved at once: each has rows of its own, and all are computed for each."""
FIRST, ROWS = 1e-6, 400
"""Rows of the first pass: so many in log time, from this fraction of the run on, and evenly."""
PARTS, PASSES = 64, 2
"""Parts into which a pass divides the interval in which a level is passed."""
AGREE, ALIKE = 0.9, 1e-2
"""Share of a dataset's rows that must be found again, to what part of the largest."""


def first_in_rows(
    crossing: Crossing, curve: xr.DataArray, given: Mapping[str, Any]
) -> xr.DataArray:
    """Time of the first passage in each trajectory, interpolated between its rows."""

    def time(values: Floats, times: Floats, *numbers: float) -> float:
        return _passage(crossing, values, times, numbers)[0]

    return _apply(time, curve, clock(curve), given)


def first_of_problem(
    crossing: Crossing,
    ds: xr.Dataset,
    read: Callable[[xr.Dataset], xr.DataArray],
    given: Mapping[str, Any],
) -> xr.DataArray:
    """Time of the first passage in each trajectory of a dataset, from its problem.

    Raises
    ------
    NotAgain
        If the problem cannot be solved again, or gives something else.
    """
    whole = again(ds)
    found = first_in_rows(crossing, read(ds), given)
    for problem, region in whole.blocks(BLOCK):
        numbers = {name: _part(value, region) for name, value in given.items()}
        block = _Block(problem, whole, ds.isel(region))
        there = {d: s for d, s in region.items() if d in found.dims}
        part = block.passages(crossing, read, numbers)
        found[there] = part.transpose(*found.dims).values
    return found


def _part(value: Any, region: Mapping[str, slice]) -> Any:
    if not is_labelled(value):
        return value
    return value.isel({d: s for d, s in region.items() if d in value.dims})


class _Block:
    """Trajectories that are solved together, again and again with more rows."""

    def __init__(self, problem: AnyProblem, whole: Again, rows: xr.Dataset) -> None:
        self.problem, self.whole, self.rows = problem, whole, rows
        self.result = prepare(problem, ("odekit_solver", whole.options.to_dict()))

    def passages(
        self,
        crossing: Crossing,
        read: Callable[[xr.Dataset], xr.DataArray],
        given: Mapping[str, Any],
    ) -> xr.DataArray:
        """Times in the end."""
        times = self._first_rows()
        curve = read(self._solve(times))
        self._check_same(curve, read(self.rows))
        for _ in range(PASSES):
            times = np.union1d(times, self._inside(crossing, curve, given))
            curve = read(self._solve(times))
        return first_in_rows(crossing, curve, given)

    def _first_rows(self) -> Floats:
        """Those of the dataset, and more in every phase."""
        own = self.rows["time"].values
        lengths = [float(np.max(np.asarray(p.duration))) for p in self.problem.phases]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        if "phase_end" in self.rows and self.rows["phase_end"].notnull().all():
            met = self.rows["phase_end"].values.reshape(-1, len(ends))
            ends, begins = met.max(axis=0), np.append(0.0, met.min(axis=0)[:-1])
        grid = np.union1d(np.geomspace(FIRST, 1.0, ROWS), np.linspace(0.0, 1.0, ROWS))
        every = [a + (b - a) * grid for a, b in zip(begins, ends, strict=True)]
        times = np.unique(np.concatenate([own, *every]))
        return np.asarray(times[times <= ends[-1]])

    def _solve(self, times: Floats) -> xr.Dataset:
        """The dataset of these rows, with the dims of the one that was given."""
        options = self.whole.options
        run = (self.problem, options, times)
        arrays = run_block(*run, threads=cores(), interrupts=Patient())
        ds = self.whole.renamed(self.result.dataset(arrays, times))
        named = [d for d in self.whole.dims.values() if d in self.rows.coords]
        return ds.assign_coords({d: self.rows[d] for d in named})

    def _check_same(self, curve: xr.DataArray, rows: xr.DataArray) -> None:
        """Refuse a curve that is not that of the dataset's rows."""
        common = np.intersect1d(curve["time"], rows["time"])
        known = rows.sel(time=common).values
        found = curve.sel(time=common).transpose(*rows.dims).values
        both = np.isfinite(found) & np.isfinite(known)
        size = np.abs(known[both]).max(initial=0.0)
        if both.any() and np.mean(np.abs(found - known)[both] <= ALIKE * size) < AGREE:
            raise NotAgain("solving its problem again does not give its rows")

    @staticmethod
    def _inside(crossing: Crossing, curve: xr.DataArray, given: Mapping[str, Any]) -> Floats:
        """Rows within the intervals in which levels are passed."""

        def end(which: int) -> Callable[..., float]:
            return lambda y, t, *numbers: _passage(crossing, y, t, numbers)[which]

        begin, last = (_apply(end(i), curve, "time", given).values.ravel() for i in (1, 2))
        known = np.isfinite(begin)
        edges = np.unique(np.column_stack([begin[known], last[known]]), axis=0)
        return np.linspace(edges[:, :1], edges[:, 1:], PARTS + 1, axis=-1).ravel()


def _apply(
    function: Callable[..., float], curve: xr.DataArray, when: str, given: Mapping[str, Any]
) -> xr.DataArray:
    """A number from each trajectory's values and times."""
    import xarray as xr

    found: xr.DataArray = xr.apply_ufunc(
        function,
        curve.drop_vars(["time_since_switch", "time"], errors="ignore"),
        xr.DataArray(curve[when].values, dims=curve[when].dims),
        *given.values(),
        input_core_dims=[["time"], ["time"], *([] for _ in given)],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return found


def _passage(
    crossing: Crossing, values: Floats, times: Floats, numbers: tuple[float, ...]
) -> tuple[float, float, float]:
    """When a level is first passed, and the rows before and after; NaN for rows if none is."""
    nan, good = float("nan"), np.isfinite(values) & np.isfinite(times)
    if not good.any():
        return nan, nan, nan
    times = times[good]
    y, level = crossing(values[good], *numbers)
    over: Any = np.flatnonzero(y > level)
    if not over.size:
        return float("inf"), nan, nan
    i = int(over[0])
    if i == 0:
        return float(times[0]), nan, nan
    share = (level - y[i - 1]) / (y[i] - y[i - 1])
    before, after = float(times[i - 1]), float(times[i])
    return before + float(share) * (after - before), before, after
