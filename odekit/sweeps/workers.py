"""Where the chunks of a sweep are computed: here, in a pool of processes, or on a Dask cluster.

Every chunk is tried some times, elsewhere if its worker dies, and is then given up with a reason;
no other chunk is harmed.
"""

from __future__ import annotations

import concurrent.futures as cf
import multiprocessing
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from odekit.base.cores import cores
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Asked
from odekit.sweeps.jobs import Done, Job, compute, run_job, written

TRIES = 3
POLL = 0.25
"""Seconds between two looks at whether the user asked to stop."""

Keep = Callable[[int, Done], None]
Lose = Callable[[int, str], None]


class Workers(Protocol):
    """Something that computes jobs, some at a time."""

    @property
    def threads(self) -> int | None:
        """Threads for each job; None: those of the worker."""

    def room(self, running: int, careful: bool) -> bool:
        """Whether one more job may start; careful: one of them may have killed its worker."""

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Start, and return a future."""

    def wait(self, futures: Collection[Any]) -> set[Any]:
        """Those that are done, at the latest after `POLL` seconds."""

    def size(self) -> int:
        """Number of workers, as far as it is known."""

    def close(self) -> None:
        """Give back what was made for the sweep."""


def workers_of(executor: object, threads: int | None) -> Workers | None:
    """What runs the chunks for solve's argument `executor`; None for this process."""
    if executor is None:
        return None
    distributed = sys.modules.get("distributed")
    if distributed is not None and isinstance(executor, distributed.Client):
        return DaskWorkers(executor, threads)
    if isinstance(executor, cf.Executor):
        return PoolWorkers(executor, threads)
    raise ProblemError(
        "executor",
        "must be a concurrent.futures.Executor or a dask.distributed.Client",
        repr(executor)[:80],
        "None computes in this process.",
    )


def run_here(
    jobs: Iterable[Job],
    keep: Keep,
    interrupts: Asked,
    room: Callable[[int], Any] = lambda _: None,
    at_once: int = 1,
    begin: Callable[[], None] | None = None,
) -> None:
    """Compute jobs one after the other, each while the last is written; errors are the caller's.

    Parameters
    ----------
    jobs : iterable of Job
    keep : callable
        Receives the number of each that is done, and what came of it.
    interrupts : Asked
    room : callable
        Where a job of some number may write its arrays at once, or None.
    at_once : int
        Jobs that are computed at the same time, where one waits for a device as another does not.
    begin : callable, optional
        Called first in each thread that computes.
    """
    with cf.ThreadPoolExecutor(1) as writer:
        last: tuple[int, cf.Future[Done]] | None = None
        for job, done in _computed(jobs, interrupts, room, at_once, begin):
            if last is not None:
                keep(last[0], last[1].result())
            last = job.number, writer.submit(written, job, done)
        if last is not None:
            keep(last[0], last[1].result())


def _computed(
    jobs: Iterable[Job],
    interrupts: Asked,
    room: Callable[[int], Any],
    at_once: int,
    begin: Callable[[], None] | None,
) -> Iterator[tuple[Job, Done]]:
    """Jobs and what came of them, in their order."""

    def go(job: Job) -> Done:
        return compute(job, interrupts, room(job.number))

    if at_once == 1:
        for job in jobs:
            if interrupts.asked:
                return
            yield job, go(job)
        return
    running: deque[tuple[Job, cf.Future[Done]]] = deque()
    with cf.ThreadPoolExecutor(at_once, initializer=begin) as pool:
        for job in jobs:
            if interrupts.asked:
                break
            running.append((job, pool.submit(go, job)))
            if len(running) == at_once:
                first, future = running.popleft()
                yield first, future.result()
        for first, future in running:
            yield first, future.result()


def run_on(
    workers: Workers,
    numbers: Iterable[int],
    make: Callable[[int], Job],
    keep: Keep,
    lose: Lose,
    interrupts: Asked,
    late: Callable[[], bool] = lambda: False,
) -> None:
    """Compute jobs on workers until all are done, given up, too late, or the user asks to stop."""
    todo, tries, running = deque(numbers), Counter[int](), dict[Any, int]()
    while (todo or running) and not interrupts.asked:
        if late():  # what runs knows itself when to end
            todo.clear()
        while todo:
            careful = any(tries[i] for i in (todo[0], *running.values()))
            if not workers.room(len(running), careful):
                break
            number = todo.popleft()
            running[workers.submit(run_job, make(number))] = number
        for future in list(workers.wait(running)):
            number = running.pop(future)
            reason, final = _failure(future)
            if reason is None:
                keep(number, future.result())
                continue
            tries[number] += 1
            if final or tries[number] >= TRIES:
                lose(number, reason)
            else:
                todo.append(number)
    for future in running:
        future.cancel()


def call(workers: Workers, function: Callable[..., Any], *arguments: Any, interrupts: Asked) -> Any:
    """Result of a function on a worker; None if it failed or the user asked to stop."""
    future = workers.submit(function, *arguments)
    while not interrupts.asked:
        if future in workers.wait([future]):
            return future.result() if _error(future) is None else None
    future.cancel()
    return None


def _error(future: Any) -> BaseException | None:
    cancelled: tuple[type[BaseException], ...] = (cf.CancelledError, *_dask_cancelled())
    try:
        error: BaseException | None = future.exception()
    except cancelled as stopped:
        return stopped
    return error


def _failure(future: Any) -> tuple[str | None, bool]:
    """Why a job failed, or None; and whether another try is in vain."""
    error = _error(future)
    if error is None:
        stopped = future.result().interrupted
        return ("its worker was told to stop" if stopped else None), False
    if isinstance(error, BrokenProcessPool):
        return f"its worker died, {TRIES} times", False
    # Dask itself has tried often before it says so.
    return f"{type(error).__name__}: {error}"[:500], type(error).__name__ == "KilledWorker"


def _dask_cancelled() -> tuple[type[BaseException], ...]:
    module = sys.modules.get("distributed.client")
    return () if module is None else (module.FutureCancelledError,)


class PoolWorkers:
    """A `concurrent.futures.Executor`.

    A process that dies breaks its whole pool. What was running is then tried again in a pool of
    one's own, one job at a time, so that only the one at fault is given up.
    """

    def __init__(self, executor: cf.Executor, threads: int | None) -> None:
        context = getattr(executor, "_mp_context", None)
        if context is not None and context.get_start_method() == "fork":
            raise ProblemError(
                "executor",
                "must not fork its processes, which hang where threads ran before",
                "a pool that forks",
                'Make it with `mp_context=multiprocessing.get_context("spawn")`.',
            )
        self.executor, self.own = executor, False
        self.many = int(getattr(executor, "_max_workers", 0) or cores())
        self.threads = threads or max(1, cores() // self.many)

    def room(self, running: int, careful: bool) -> bool:
        """One job for each worker, and one alone after a failure."""
        return running < (1 if careful else self.many)

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Start, in a new pool if the last one broke."""
        try:
            return self.executor.submit(function, *arguments)
        except BrokenProcessPool:
            self._replace()
            return self.executor.submit(function, *arguments)

    def _replace(self) -> None:
        self.close()
        self.executor = cf.ProcessPoolExecutor(
            self.many, mp_context=multiprocessing.get_context("spawn")
        )
        self.own = True

    def wait(self, futures: Collection[Any]) -> set[Any]:
        """Those that are done."""
        done = cf.wait(futures, timeout=POLL, return_when=cf.FIRST_COMPLETED).done
        return set(done)

    def size(self) -> int:
        """Number of workers."""
        return self.many

    def close(self) -> None:
        """End the pool that replaced one."""
        if self.own:
            self.executor.shutdown(wait=False, cancel_futures=True)


class DaskWorkers:
    """A `dask.distributed.Client`: one job at a time for each of its workers, with all its threads.

    Dask itself moves the job of a worker that died to another, and gives up after some deaths.
    """

    def __init__(self, client: Any, threads: int | None) -> None:
        if client.asynchronous:
            raise ProblemError("executor", "must be a synchronous Client", "another", "")
        self.client, self.threads = client, threads

    def room(self, running: int, careful: bool) -> bool:
        """One job for each worker that there is now."""
        del careful
        return running < self.size()

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Start where Dask finds least to do.

        No worker is asked for by name: where all that were there have died, such a job never
        starts, even if it was free to go elsewhere.
        """
        return self.client.submit(function, *arguments, pure=False)

    def wait(self, futures: Collection[Any]) -> set[Any]:
        """Those that are done."""
        distributed: Any = sys.modules["distributed"]
        if not futures:  # no worker yet: one may come
            time.sleep(POLL)
            return set()
        try:
            with self.client.as_current():  # it need not be the default one
                found = distributed.wait(list(futures), timeout=POLL, return_when="FIRST_COMPLETED")
            done = found.done
        except TimeoutError:
            return set()
        except distributed.client.FutureCancelledError:
            done = {future for future in futures if future.cancelled()}
        return set(done)

    def size(self) -> int:
        """Number of workers now."""
        return len(self.client.nthreads())

    def close(self) -> None:
        """The client is the user's."""
