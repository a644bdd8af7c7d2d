"""The runs of a sweep, one after the other, on one time axis."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.checkpoint import Checkpoint
from odekit.checks import is_labelled
from odekit.dataset import REGISTRY
from odekit.interrupts import Interrupts
from odekit.options import SolverOptions, default_times
from odekit.run import Run
from odekit.status import Status
from odekit.stepper import Floats
from odekit.sweep import Axis, at, points

if TYPE_CHECKING:
    from odekit.problem import Problem


def run_grid(
    problem: Problem,
    found: dict[str, Axis],
    options: SolverOptions,
    times: Floats | None,
    saved: Checkpoint | None,
    interrupts: Interrupts,
    progress: bool,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Run every point of a sweep and put the results onto one time axis."""
    shape = tuple(size for size, _ in found.values())
    if times is None:
        times = common_times(problem, found)
    table = _Table(shape, times)
    bar = _bar(int(np.prod(shape))) if progress else None
    for i, (place, index) in enumerate(points(found)):
        if interrupts.asked and i:
            break
        own = None
        if saved is not None:
            Path(saved.folder).mkdir(parents=True, exist_ok=True)
            own = Checkpoint(Path(saved.folder) / f"point-{i:07d}", saved.seconds)
        table.put(place, Run(at(problem, index), options, times, own).integrate(interrupts))
        if bar is not None:
            bar.update(1)
    if bar is not None:
        bar.close()
    coords = {dim: coord for dim, (_, coord) in found.items() if coord is not None}
    return table.arrays, coords


def common_times(problem: Problem, found: dict[str, Axis]) -> Floats:
    """Default rows of a sweep: those of its longest phases, and where any run's phases may end."""
    longest = np.array([np.max(np.asarray(phase.duration)) for phase in problem.phases])
    begins = np.concatenate([[0.0], np.cumsum(longest)])
    parts = [np.zeros(1)]
    for begin, end, duration in zip(begins, begins[1:], longest, strict=False):
        parts.append(begin + default_times(float(duration)))
        parts[-1][-1] = end
    if any(is_labelled(phase.duration) for phase in problem.phases):
        parts.append(_ends(problem, found))
    return np.unique(np.concatenate(parts))


def _ends(problem: Problem, found: dict[str, Axis]) -> Floats:
    """Ends of the phases of every point, added up as a run adds them."""
    swept = {d for p in problem.phases if is_labelled(p.duration) for d in p.duration.dims}
    axes = {dim: axis for dim, axis in found.items() if dim in swept}
    ends = set()
    for _, index in points(axes):
        t = 0.0
        for phase in problem.phases:
            t += at(phase.duration, index)
            ends.add(t)
    return np.array(sorted(ends))


class _Table:
    """Arrays of all points; what a point has not reached stays NaN."""

    def __init__(self, shape: tuple[int, ...], times: Floats) -> None:
        self.shape, self.times = shape, times
        self.arrays: dict[str, Any] = {"time": times}

    def put(self, place: tuple[int, ...], arrays: dict[str, Any]) -> None:
        """Write the result of one point."""
        t = arrays.pop("time")
        rows = np.searchsorted(self.times, t)
        # A run that stopped early has one more row, at a time of its own.
        kept = self.times[np.minimum(rows, self.times.size - 1)] == t
        for name, value in arrays.items():
            array = np.asarray(value)
            timed = "time" in REGISTRY[name].dims
            target = self._target(name, array, timed)
            if timed:
                target[(*place, rows[kept])] = array[kept]
            else:
                target[place] = array

    def _target(self, name: str, array: Any, timed: bool) -> Any:
        if name not in self.arrays:
            core = (self.times.size, *array.shape[1:]) if timed else array.shape
            dtype = "U64" if array.dtype.kind == "U" else array.dtype
            empty: Any = np.nan if array.dtype.kind == "f" else UNREACHED.get(name, 0)
            self.arrays[name] = np.full((*self.shape, *core), empty, dtype=dtype)
        return self.arrays[name]


UNREACHED = {"status": int(Status.INTERRUPTED), "phase": -1, "method": "none"}
"""What integer and text variables hold for points, or rows, that were not reached."""


def _bar(total: int) -> Any:
    import tqdm

    return tqdm.tqdm(total=total, unit="run")
