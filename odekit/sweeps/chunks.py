"""A sweep's grid cut into blocks, and how large these should be."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.status import Status
from odekit.problem.axes import axes, part
from odekit.sweeps.block import run_block, specs

if TYPE_CHECKING:
    from odekit.base.arrays import Floats
    from odekit.base.interrupts import Asked
    from odekit.integrate.options import SolverOptions
    from odekit.problem.base import AnyProblem

Region = dict[str, slice]

SECONDS = 5.0
"""Work in one chunk, as far as a pilot can tell: enough to hide what a chunk costs besides."""
MOST_BYTES = 128 * 2**20
"""Largest result of one chunk."""
MOST_SENT = 8 * 2**20
"""Largest problem of one chunk: Dask warns of larger messages."""
MOST_RUNS = 2**17
"""Most trajectories in one chunk."""
MOST_CHUNKS = 10_000
"""Each leaves some files: so many are no burden."""
PILOT_RUNS = 4096
PILOT_SECONDS = 0.3
PILOT_LIMIT = 2.0
FIRST_LIMIT = 60.0
"""Seconds that a pilot may take after, and for, its first trajectory, which may have to compile."""


@dataclass(frozen=True)
class Chunking:
    """A grid cut along its axes into blocks of one shape, those at the far ends cut short.

    Parameters
    ----------
    sizes : dict of str to int
        The sweep dims, in order.
    shape : dict of str to int
        Entries of one block along each.

    Examples
    --------
    >>> cut = Chunking({"eta": 3, "draw": 5}, {"eta": 1, "draw": 4})
    >>> len(cut), cut.region(1), cut.runs(1)
    (6, {'eta': slice(0, 1, None), 'draw': slice(4, 5, None)}, 1)
    """

    sizes: Mapping[str, int]
    shape: Mapping[str, int]

    def _counts(self) -> tuple[int, ...]:
        return tuple(-(-n // self.shape[d]) for d, n in self.sizes.items())

    def __len__(self) -> int:
        return math.prod(self._counts())

    def region(self, number: int) -> Region:
        """Where in the grid a chunk is."""
        place = np.unravel_index(number, self._counts())
        return {
            d: slice(int(i) * self.shape[d], min((int(i) + 1) * self.shape[d], n))
            for i, (d, n) in zip(place, self.sizes.items(), strict=True)
        }

    def runs(self, number: int) -> int:
        """Trajectories in a chunk."""
        return math.prod(s.stop - s.start for s in self.region(number).values())


def chunk_shape(sizes: Mapping[str, int], runs: int) -> dict[str, int]:
    """Shape of at most `runs` points: the last dims whole, one cut evenly, those before single.

    Examples
    --------
    >>> chunk_shape({"eta": 100, "sigma": 10, "draw": 8}, 25)
    {'eta': 1, 'sigma': 3, 'draw': 8}
    """
    shape, left = dict.fromkeys(sizes, 1), max(runs, 1)
    for dim, size in reversed(list(sizes.items())):
        shape[dim] = -(-size // math.ceil(size / left)) if left < size else size
        left //= size
        if left < 1:
            break
    return shape


def most_runs(problem: AnyProblem, rows: int) -> int:
    """Trajectories whose results fit into one chunk, and whose starts into one message."""
    each = sum(spec.nbytes for spec in specs(problem, rows).values())
    start = 8 * problem.system.numbers(problem)
    return max(1, min(MOST_RUNS, MOST_BYTES // each, MOST_SENT // start))


def sample(problem: AnyProblem, runs: int) -> AnyProblem:
    """About so many points, spread evenly over the grid."""
    sizes = {dim: size for dim, (size, _) in axes(problem).items()}
    step = max(1.0, (math.prod(sizes.values()) / max(runs, 1)) ** (1 / len(sizes)))
    strides = {d: math.ceil(min(step, n)) for d, n in sizes.items()}
    return part(problem, {d: slice(stride // 2, None, stride) for d, stride in strides.items()})


class _Deadline:
    """Stops what runs at a time, or when a user asks."""

    def __init__(self, seconds: float, interrupts: Asked) -> None:
        self.end, self.interrupts = time.monotonic() + seconds, interrupts

    @property
    def asked(self) -> bool:
        return self.interrupts.asked or time.monotonic() > self.end


def pilot(
    problem: AnyProblem, options: SolverOptions, times: Floats, threads: int, interrupts: Asked
) -> float:
    """Trajectories per second, measured on ever larger parts of a sample.

    What a first call costs, as that of compilation, is not counted: a part that takes long only
    for it is followed by another.
    """
    sizes = {dim: size for dim, (size, _) in axes(problem).items()}
    total, runs, end = math.prod(sizes.values()), 1, math.inf
    while True:
        some = part(problem, {d: slice(0, n) for d, n in chunk_shape(sizes, runs).items()})
        left = _Deadline(min(end - time.monotonic(), FIRST_LIMIT), interrupts)
        begin = time.monotonic()
        arrays: dict[str, Any] = run_block(some, options, times, threads=threads, interrupts=left)
        seconds = max(time.monotonic() - begin, 1e-6)
        rate = int((arrays["status"] != int(Status.INTERRUPTED)).sum()) / seconds
        enough = runs > 1 and seconds > PILOT_SECONDS
        end = min(end, time.monotonic() + PILOT_LIMIT)
        if enough or runs >= total or left.asked or time.monotonic() > end:
            return rate
        runs = min(8 * runs, total)
