"""Compile ahead of the first answer, on all cores."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, NamedTuple

from odekit.base.cores import cores
from odekit.base.errors import NotCompletedWarning
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.problem.system import FIRST, system_of

__all__ = ["Job", "Warmed", "runs_of", "usual", "warm"]

STEPS = 2
"""Accepted steps that make a run compile all that it takes."""


class Job(NamedTuple):
    """What is run for the sake of its kernels."""

    words: str
    verb: str
    problem: AnyProblem
    options: dict[str, Any]


class Warmed(NamedTuple):
    """What was run, the seconds that it took, and what it could not do."""

    words: str
    seconds: float
    complaint: str


def usual() -> list[Job]:
    """What most take: runs, sweeps and networks of the plainest problems of every activation.

    Examples
    --------
    >>> [job.words for job in usual()][-1]
    'finite networks'
    """
    problems = list(system_of(FIRST).usual())
    networks = {"input_dim": 8, "seed": 0, "t_eval": [0.0, 0.25]}
    found = [job for name, problem in problems for job in runs_of(problem, f"{name}: ")]
    return [*found, Job("finite networks", "simulate", problems[0][1], networks)]


def runs_of(problem: AnyProblem, name: str = "") -> list[Job]:
    """Runs of a problem by both kinds of method that the case may call for."""
    swept = bool(axes(problem))
    what, implicit = ("sweeps", "Rodas5P") if swept else ("single runs", "Radau")
    what, few = f"{name}{what}", {"max_steps": STEPS}
    return [
        Job(f"{what}, explicit steps", "solve", problem, few),
        Job(f"{what}, implicit steps", "solve", problem, {**few, "method": implicit}),
    ]


def warm(jobs: Sequence[Job], processes: int | None = None) -> Iterator[Warmed]:
    """Do jobs side by side, each in a process of its own; their kernels stay in the cache.

    Numba compiles one function at a time in a process.

    Parameters
    ----------
    jobs : sequence of Job
    processes : int, optional
        Most at a time; by default one for each core.

    Yields
    ------
    Warmed
        In the order of the jobs.
    """
    count = min(len(jobs), processes or cores())
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield from pool.map(do, jobs)


def do(job: Job) -> Warmed:
    """Do one job in this process."""
    begin, complaint = time.monotonic(), ""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotCompletedWarning)
        try:
            _run(job)
        except Exception as error:
            complaint = f"{error}"
    return Warmed(job.words, time.monotonic() - begin, complaint)


def _run(job: Job) -> None:
    if job.verb == "simulate":
        from odekit.verbs.simulate import simulate

        simulate(job.problem, **job.options)
        return
    from odekit.verbs.solve import solve

    solve(job.problem, **job.options)
