"""One chunk of a sweep as a piece of work that any process can do."""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.cores import cores
from odekit.base.interrupts import Asked, Interrupts
from odekit.base.status import Status
from odekit.sweeps.block import run_block
from odekit.sweeps.chunks import pilot

if TYPE_CHECKING:
    from odekit.base.arrays import Floats
    from odekit.integrate.options import SolverOptions
    from odekit.problem.base import AnyProblem
    from odekit.sweeps.chunks import Region

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """All that it takes to compute one chunk.

    Parameters
    ----------
    number : int
    region : dict of str to slice
        Where in the grid it is.
    problem : AnyProblem
        Cut to the region.
    options, times
        As for `run_block`.
    threads : int, optional
        By default those of the worker.
    write : callable, optional
        Puts the arrays where they belong: ``write(region, arrays)``. Without it they come back.
    """

    number: int
    region: Region
    problem: AnyProblem
    options: SolverOptions
    times: Floats
    threads: int | None = None
    write: Callable[[Region, Arrays], None] | None = None


@dataclass(frozen=True)
class Done:
    """What became of a job.

    Attributes
    ----------
    record : dict
        Counts by status, seconds, and where it ran: small, and plain data.
    arrays : dict of str to ndarray, or None
        The result, where nothing wrote it.
    interrupted : bool
        Whether it was stopped before its end.
    late : bool
        Whether the time allowed was over before its end.
    """

    record: dict[str, Any]
    arrays: Arrays | None
    interrupted: bool = False
    late: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether a resumed sweep has to compute it again."""
        return self.interrupted or self.late


_TURN = threading.Lock()


def run_job(job: Job) -> Done:
    """Compute a chunk on a worker."""
    # A Dask worker starts as many tasks as it has threads, but a chunk takes all of them.
    turn = contextlib.nullcontext() if _dask_threads() is None else _TURN
    with turn, Interrupts() as interrupts:
        return written(job, compute(job, interrupts))


def compute(job: Job, interrupts: Asked, into: Arrays | None = None) -> Done:
    """Compute a chunk, or as much of it as there is time for; `into` as for `run_block`."""
    begin = time.perf_counter()
    threads = job.threads or own_threads()
    given = (job.problem, job.options, job.times)
    arrays = run_block(*given, threads=threads, interrupts=interrupts, into=into)
    codes, counts = np.unique(arrays["status"], return_counts=True)
    words = [Status(int(code)).word for code in codes]
    record = {
        "status": dict(zip(words, counts.tolist(), strict=True)),
        "seconds": round(time.perf_counter() - begin, 3),
        "where": f"{socket.gethostname()}:{os.getpid()}",
        "threads": threads,
    }
    stopped, late = (s.word in words for s in (Status.INTERRUPTED, Status.TIME_BUDGET))
    return Done(record, arrays, stopped, late)


def written(job: Job, done: Done) -> Done:
    """Write a chunk to where it belongs, if that is for the worker to do, unless it is cut off."""
    if job.write is None:
        return done
    if not done.unfinished and done.arrays is not None:
        job.write(job.region, done.arrays)
    return replace(done, arrays=None)


def measure(some: AnyProblem, options: SolverOptions, times: Floats, threads: int | None) -> float:
    """Trajectories per second of a worker."""
    with Interrupts() as interrupts:
        return pilot(some, options, times, threads or own_threads(), interrupts)


def own_threads() -> int:
    """Threads of this worker: those that Dask gave it, or one for each core of this process."""
    return _dask_threads() or cores()


def _dask_threads() -> int | None:
    distributed = sys.modules.get("distributed")
    if distributed is None:
        return None
    try:
        return int(distributed.get_worker().state.nthreads)
    except ValueError:  # not in a task of a worker
        return None
