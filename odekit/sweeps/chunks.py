"""A sweep's grid cut into blocks, and how large these should be."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.integrate.engine import suits
from odekit.problem.axes import axes, part
from odekit.sweeps.block import run_block, specs
from odekit.sweeps.workload import JACOBIAN, seconds_per_call

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
PILOT_RUNS = 16
"""Trajectories of a pilot where they go in lanes: two for each lane."""
PILOT_SECONDS = 0.2
"""Work of a pilot in each trajectory, at most; one that takes longer is known to be slow."""
CALLS_PER_STEP = 7
PILOT_STEPS = 50
"""Steps that a pilot takes at least."""
PILOT_LIMIT = 60.0
"""Seconds after which a pilot ends whatever it has counted."""


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
    start = 8 * problem.system.start_size(problem)
    return max(1, min(MOST_RUNS, MOST_BYTES // each, MOST_SENT // start))


def sample(problem: AnyProblem, runs: int) -> AnyProblem:
    """About so many points, spread evenly over the grid."""
    sizes = {dim: size for dim, (size, _) in axes(problem).items()}
    step = max(1.0, (math.prod(sizes.values()) / max(runs, 1)) ** (1 / len(sizes)))
    strides = {d: math.ceil(min(step, n)) for d, n in sizes.items()}
    return part(problem, {d: slice(stride // 2, None, stride) for d, stride in strides.items()})


def pilot(
    problem: AnyProblem, options: SolverOptions, times: Floats, threads: int, interrupts: Asked
) -> float:
    """Trajectories per second to be expected, from the right-hand sides that a sample takes.

    The work is counted, not timed: neither compilation nor a busy machine can make chunks small.
    """
    lanes = suits(problem, options)
    cost = seconds_per_call(problem, lanes)
    some = sample(problem, PILOT_RUNS if lanes else 1)
    steps = max(PILOT_STEPS, int(PILOT_SECONDS / (CALLS_PER_STEP * cost)))
    limits = replace(options, max_steps=min(options.max_steps, steps), max_seconds=PILOT_LIMIT)
    count = partial(run_block, some, limits, times, threads=threads, interrupts=interrupts)
    arrays: dict[str, Any] = count()
    work = cost * (int(arrays["n_rhs"].sum()) + JACOBIAN * int(arrays["n_jac"].sum()))
    if not problem.system.in_lanes(problem):
        work = max(work, _processor_seconds(count))
    return 0.0 if interrupts.asked else threads * arrays["n_rhs"].size / max(work, 1e-9)


def _processor_seconds(function: Callable[[], object]) -> float:
    """Of this thread alone; what by now is compiled takes whatever nodes its moments need."""
    begin = time.thread_time()
    function()
    return time.thread_time() - begin
