"""The trajectories of a sweep, chunk by chunk, on one time axis."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from functools import partial
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import is_labelled
from odekit.base.cores import cores
from odekit.base.errors import ProblemError, SweepError
from odekit.base.interrupts import Asked
from odekit.base.progress import Bar
from odekit.integrate.device import at_once
from odekit.integrate.engine import on_device, suits
from odekit.integrate.options import SolverOptions, default_times
from odekit.integrate.station import follow
from odekit.problem.axes import Axis, part
from odekit.sweeps.chunks import (
    MOST_CHUNKS,
    PILOT_RUNS,
    SECONDS,
    Chunking,
    chunk_shape,
    most_runs,
    pilot,
    sample,
)
from odekit.sweeps.jobs import Done, Job, measure
from odekit.sweeps.targets import Target
from odekit.sweeps.workers import Workers, call, run_here, run_on

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem

FEW = 16
"""Grids of at most so many points need no pilot: each point is a chunk."""
DEFAULT_RATE = 10.0
"""Trajectories per second to be expected where there is no pilot's result."""
ROUNDED = 1e-14
"""Relative: rows as near as this to an end of a phase are meant to be it."""
MOST_ENDS = 10_000
"""Most rows that the ends of phases may add."""


TOO_MANY = 1_000_000
"""Chunks that no disk takes well: each is a dozen files."""
MOST_SUMS = 10_000_000
"""Most combinations of the durations of phases that are added up for default rows."""


@dataclass
class Grid:
    """A sweep to be computed.

    Parameters
    ----------
    problem : AnyProblem
    sizes : dict of str to int
        Its sweep dims.
    options : SolverOptions
    times : ndarray
        Rows of all trajectories.
    target : Target
    workers : Workers, optional
        None computes in this process.
    threads : int, optional
    chunk_size : int, optional
        Trajectories in a chunk.
    progress : bool
    """

    problem: AnyProblem
    sizes: dict[str, int]
    options: SolverOptions
    times: Floats
    target: Target
    workers: Workers | None = None
    threads: int | None = None
    chunk_size: int | None = None
    progress: bool = False
    begin: float = field(default_factory=time.monotonic)

    def run(self, interrupts: Asked) -> xr.Dataset:
        """Compute every chunk that is not yet there."""
        try:
            return self._run(interrupts)
        finally:
            self.target.release()
            if self.workers is not None:
                self.workers.close()

    def _run(self, interrupts: Asked) -> xr.Dataset:
        cut = Chunking(self.sizes, self._shape(interrupts))
        if len(cut) > TOO_MANY:
            rule = f"must leave at most {TOO_MANY} chunks"
            raise ProblemError("chunk_size", rule, str(len(cut)), "Leave it out, or ask for more.")
        finished = set(self.target.start(cut))
        todo = [i for i in range(len(cut)) if i not in finished]
        with _Progress(self.progress, cut, finished) as shown:
            tally = _Tally(self.target, shown, finished)
            if self.workers is None:
                on_time = takewhile(lambda _: not self._late, todo)
                jobs = (self._job(cut, i) for i in on_time)
                run_here(jobs, tally.keep, interrupts, self.target.room, *self._at_once(cut))
            else:
                make = partial(self._job, cut)
                keep, lose = tally.keep, tally.lose
                run_on(self.workers, todo, make, keep, lose, interrupts, lambda: self._late)
        tally.check()
        late = self._late and not interrupts.asked
        return self.target.close(tally.settled == len(cut), late)

    def _at_once(self, cut: Chunking) -> tuple[Any, ...]:
        """Chunks to be computed at the same time, and how threads for that begin."""
        if suits(self.problem, self.options) and on_device(self.options, cut.runs(0)):
            return at_once(), follow()
        return (1,)

    @property
    def _late(self) -> bool:
        """Whether the seconds allowed are over."""
        return self.options.late(self.begin)

    def _job(self, cut: Chunking, number: int) -> Job:
        region = cut.region(number)
        threads = self.threads if self.workers is None else self.workers.threads
        some = part(self.problem, region)
        options = self.options.since(self.begin)
        return Job(number, region, some, options, self.times, threads, self.target.write)

    def _shape(self, interrupts: Asked) -> dict[str, int]:
        """Chunks as an earlier run cut them, or as asked for, or that take some seconds each."""
        before = self.target.shape()
        if before is not None:
            return before
        if self.chunk_size is not None:
            return chunk_shape(self.sizes, self.chunk_size)
        return self._measured_shape(interrupts)

    def _measured_shape(self, interrupts: Asked) -> dict[str, int]:
        """Chunks that take some seconds each, as a pilot finds, and fit into memory."""
        total = math.prod(self.sizes.values())
        runs = most_runs(self.problem, self.times.size)
        if self.workers is None and self.target.folder is None and not self.progress:
            pass  # nobody sees a chunk end: only their size matters
        elif total <= FEW:
            runs = 1
        else:
            rate = self._rate(interrupts)
            # What is decided now must do for a resumed run too, even if this one was cut short.
            wanted = int((DEFAULT_RATE if interrupts.asked else rate) * SECONDS)
            runs = min(runs, max(wanted, -(-total // MOST_CHUNKS)))
        if self.workers is not None:  # some for each, so that none waits long for the last
            runs = min(runs, -(-total // (4 * max(self.workers.size(), 1))))
        return chunk_shape(self.sizes, runs)

    def _rate(self, interrupts: Asked) -> float:
        some = sample(self.problem, PILOT_RUNS)
        if self.workers is None:
            threads = self.threads or cores()
            return pilot(some, self.options, self.times, threads, interrupts)
        arguments = (some, self.options, self.times, self.workers.threads)
        rate = call(self.workers, measure, *arguments, interrupts=interrupts)
        return DEFAULT_RATE if rate is None else float(rate)


class _Tally:
    """Counts chunks as they come in."""

    def __init__(self, target: Target, shown: _Progress, finished: set[int]) -> None:
        self.target, self.shown = target, shown
        self.done, self.settled = len(finished), len(finished)
        self.reason = ""

    def keep(self, number: int, done: Done) -> None:
        """One is done, or was interrupted."""
        self.target.keep(number, done)
        if not done.unfinished:
            self.done += 1
            self.settled += 1
            self.shown.step(number)

    def lose(self, number: int, reason: str) -> None:
        """One is given up."""
        self.target.lose(number, reason)
        self.settled += 1
        self.reason = reason
        self.shown.step(number)

    def check(self) -> None:
        """Where every chunk failed there is no result to return."""
        if self.settled and not self.done:
            raise SweepError(
                f"Every chunk of the sweep failed, the last because {self.reason}. "
                "Do the workers see the same files, and have they the same odekit installed?"
            )


class _Progress:
    """A bar on stderr that counts trajectories."""

    def __init__(self, wanted: bool, cut: Chunking, finished: set[int]) -> None:
        self.cut = cut
        total, before = math.prod(cut.sizes.values()), sum(cut.runs(i) for i in finished)
        self.bar = Bar(wanted, total=total, initial=before, unit="run")

    def __enter__(self) -> _Progress:
        return self

    def step(self, number: int) -> None:
        """A chunk is settled."""
        self.bar.update(self.cut.runs(number))

    def __exit__(self, *_error: object) -> None:
        self.bar.close()


def common_times(problem: AnyProblem, found: dict[str, Axis]) -> Floats:
    """Default rows of a sweep: those of its longest phases, and where any run's phases may end."""
    longest = np.array([np.max(np.asarray(phase.duration)) for phase in problem.phases])
    begins = np.concatenate([[0.0], np.cumsum(longest)])
    parts = [np.zeros(1)]
    for begin, end, duration in zip(begins, begins[1:], longest, strict=False):
        parts.append(begin + default_times(float(duration)))
        parts[-1][-1] = end
    rows = np.unique(np.concatenate(parts))
    if not any(is_labelled(phase.duration) for phase in problem.phases):
        return rows
    ends = _ends(problem, found)
    after = np.minimum(np.searchsorted(ends, rows), ends.size - 1)
    near = np.minimum(abs(rows - ends[after]), abs(rows - ends[np.maximum(after - 1, 0)]))
    return np.union1d(rows[near >= ROUNDED * rows], ends)


def _ends(problem: AnyProblem, found: dict[str, Axis]) -> Floats:
    """Ends of the phases of every point, added up as a run adds them."""
    swept = {d for p in problem.phases if is_labelled(p.duration) for d in p.duration.dims}
    dims = [d for d in found if d in swept]
    many = math.prod(found[d][0] for d in dims)
    if many > MOST_SUMS:
        raise _too_many_ends(many)
    t: Any = np.zeros([found[d][0] for d in dims])
    ends = []
    for phase in problem.phases:
        t = t + _aligned(phase.duration, dims)
        ends.append(np.unique(t))
    every = np.unique(np.concatenate(ends))
    if every.size > MOST_ENDS:
        raise _too_many_ends(every.size)
    return every


def _too_many_ends(times: int) -> ProblemError:
    return ProblemError(
        "t_eval",
        f"must be given where phases end at more than {MOST_ENDS} different times",
        f"{times} times",
        "All trajectories have the same rows: choose some.",
    )


def _aligned(value: Any, dims: list[str]) -> Any:
    """A number, or an array with all dims, of length one where it has none."""
    if not is_labelled(value):
        return value
    missing = [d for d in dims if d not in value.dims]
    return value.expand_dims(missing).transpose(*dims).values
