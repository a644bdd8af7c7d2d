"""A function of every point of a sweep, in threads, until the user asks to stop."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any

from odekit.base.interrupts import Interrupts

POLL = 0.1
"""Seconds between two looks at whether there was a signal."""


def each_point(work: Callable[[int], Any], points: int, threads: int) -> list[Any]:
    """What `work` makes of every number below `points`, in order; None where it never began.

    Ctrl-C lets the points that are being worked at come to their end, and keeps all that are done.
    Kernels release Python's lock, so that threads go side by side there. An error ends all.

    Examples
    --------
    >>> each_point(lambda i: i * i, 4, threads=2)
    [0, 1, 4, 9]
    """
    with Interrupts() as interrupts, ThreadPoolExecutor(min(threads, points)) as pool:

        def job(i: int) -> Any:
            return None if interrupts.asked else work(i)

        jobs: list[Future[Any]] = [pool.submit(job, i) for i in range(points)]
        left: Any = jobs
        # Signals reach the main thread, between two waits.
        while left:
            _, left = wait(left, POLL, FIRST_EXCEPTION)
            if any(f.done() and f.exception() for f in jobs):
                interrupts.asked = True
    return [f.result() for f in jobs]
