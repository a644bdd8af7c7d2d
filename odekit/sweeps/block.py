"""A block of a sweep's grid: all its trajectories, in compiled code or one after the other."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.memory import lent
from odekit.base.status import Status
from odekit.dataset.assemble import variables_of
from odekit.dataset.common import SWEPT_TEXT
from odekit.dataset.variable import Variable
from odekit.integrate.engine import Engine, suits
from odekit.integrate.run import Run
from odekit.problem.axes import at, axes, points

if TYPE_CHECKING:
    from odekit.base.arrays import Floats
    from odekit.base.interrupts import Asked
    from odekit.integrate.options import SolverOptions
    from odekit.problem.base import AnyProblem

UNREACHED: dict[str, Any] = {"status": int(Status.INTERRUPTED), "phase": -1, "method": "none"}
"""What integer and text variables hold for points, or rows, that were not reached."""


def run_block(
    problem: AnyProblem,
    options: SolverOptions,
    times: Floats,
    *,
    threads: int,
    interrupts: Asked,
    into: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Run every point of a sweep, or of a part of one.

    Parameters
    ----------
    problem : AnyProblem
        With labelled numbers.
    options : SolverOptions
    times : ndarray, shape (rows,)
        Times of the rows, those of the whole grid: a trajectory is the same, bit by bit, in
        whatever block it is computed.
    threads : int
        Threads that may be busy at once.
    interrupts : Interrupts
        Where `asked` turns true, what is not yet computed is left as `blank` makes it.
    into : mapping of str to ndarray, optional
        Arrays of variables, the sweep dims in one, in which they may be written; what is returned
        under these names is then a view of them.

    Returns
    -------
    dict of str to ndarray
        Variables of the dataset by name; the sweep dims, in the order of `sweep.axes`, come first.
    """
    found = axes(problem)
    if suits(problem, options):
        return Engine(problem, found, options, times, threads, interrupts).run(into)
    arrays = blank(problem, [size for size, _ in found.values()], times.size)
    begin = time.monotonic()
    for place, index in points(found):
        if interrupts.asked:
            break
        if options.late(begin):
            status = arrays["status"]
            status[status == Status.INTERRUPTED] = Status.TIME_BUDGET
            break
        run = Run(at(problem, index), options.since(begin), times, None)
        put(problem, arrays, place, times, run.integrate(interrupts))
    return arrays


def end_states(
    problem: AnyProblem, options: SolverOptions, *, threads: int, interrupts: Asked
) -> list[list[tuple[float, Floats]]]:
    """When, and with what states, the phases of every point of a sweep ended.

    Returns
    -------
    list of list of tuple
        For each point, of each phase; overlaps that the dataset does not show are among the
        numbers of a state. Empty for points that did not come to the end of the last one.
    """
    found, start = axes(problem), np.zeros(1)
    if suits(problem, options):
        engine = Engine(problem, found, options, start, threads, interrupts)
        engine.run()
        times, done = engine.record.ends, engine.record.status == Status.COMPLETED
        return [
            [(float(t), y[i]) for t, y in zip(times[i], engine.ends, strict=True)] * bool(done[i])
            for i in range(len(times))
        ]
    runs = [Run(at(problem, index), options, start, None) for _, index in points(found)]
    for run in runs:
        run.integrate(interrupts)
    return [
        list(zip(run.end_times, run.ends, strict=True)) * (run.status == Status.COMPLETED)
        for run in runs
    ]


@dataclass(frozen=True)
class Spec:
    """What one variable of a sweep is, before there is any of it."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: str
    unreached: Any

    @property
    def nbytes(self) -> int:
        """Bytes for each trajectory."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize


def specs(problem: AnyProblem, rows: int) -> dict[str, Spec]:
    """Variables of a sweep by name, with their core dims."""
    system = problem.system
    length = {"time": rows, "phase_index": len(problem.phases), **system.sizes(problem)}
    left_out = {*system.constants(problem), *system.absent(problem)}
    return {
        v.name: Spec(v.dims, tuple(length[d] for d in v.dims), *_kind(v))
        for v in variables_of(problem).values()
        if not v.coordinate and v.name not in left_out
    }


def _kind(v: Variable) -> tuple[str, Any]:
    number: Any = np.nan if v.dtype.startswith("float") else 0
    return SWEPT_TEXT if v.dtype == "str" else v.dtype, UNREACHED.get(v.name, number)


def blank(problem: AnyProblem, shape: Sequence[int], rows: int) -> dict[str, Any]:
    """Arrays of trajectories of which none has been reached."""
    return {
        name: np.full((*shape, *spec.shape), spec.unreached, dtype=spec.dtype)
        for name, spec in specs(problem, rows).items()
    }


def empty(problem: AnyProblem, shape: Sequence[int], rows: int) -> dict[str, Any]:
    """Arrays of the same types whatever they hold, texts as short as can be."""
    found = {name: ((*shape, *s.shape), s.dtype) for name, s in specs(problem, rows).items()}
    return {
        name: np.zeros(size, "U1") if kind[0] == "U" else lent(size, kind)
        for name, (size, kind) in found.items()
    }


def put(
    problem: AnyProblem,
    arrays: dict[str, Any],
    place: tuple[int, ...],
    times: Floats,
    run: dict[str, Any],
) -> None:
    """Write the result of one point; what it has not reached stays as it is."""
    t = run.pop("time")
    over_time = {name for name, spec in specs(problem, times.size).items() if "time" in spec.dims}
    rows = np.searchsorted(times, t)
    # A run that stopped early has one more row, at a time of its own.
    kept = times[np.minimum(rows, times.size - 1)] == t
    for name, value in run.items():
        if name in over_time:
            arrays[name][(*place, rows[kept])] = np.asarray(value)[kept]
        else:
            arrays[name][place] = value
