"""The explicit integrator on a CUDA device: one thread a trajectory, the same source as the lanes.

A thread's memory is local to it, and its sizes are constants of the kernel, so that the compiler
may unroll loops and keep what is small in registers. Finished threads take the next trajectory.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda as _untyped
from numba import float64, int64

from odekit_kernels._device_cache import cached
from odekit_kernels.integrators.batch import COUNTERS, INDEX, RUNNING, leave
from odekit_kernels.integrators.explicit import advance_explicit
from odekit_kernels.integrators.registry import static

__all__ = ["THREADS", "explicit_kernel"]

cuda: Any = _untyped

THREADS = 64
"""Threads in a block: local memory, not threads, is what a multiprocessor runs out of."""


@cache
def explicit_kernel(m: Any) -> Any:
    """Kernel for batches of one plan.

    Parameters
    ----------
    m : named tuple
        Plan of a system that is registered.

    Returns
    -------
    numba.cuda kernel
        Takes ``(b, tableau, limits, todo, quota)`` as `lanes.explicit.advance_explicit` does; each
        thread makes at most `quota` steps. Trajectories that are not done by then go back to the
        batch where they stand, with the code "running".
    """
    return cached(cuda.jit(body(m)), m)


def body(m: Any) -> Any:
    """The kernel as a Python function, for one plan."""
    m = static(m)
    size, counters = m.size, COUNTERS

    def advance(b: Any, tableau: Any, limits: Any, todo: Any, quota: int) -> None:
        memory = cuda.local.array(size, float64)
        whole = cuda.local.array((counters, 1), int64)
        queue = cuda.local.array(3, int64)
        for i in range(counters):
            whole[i, 0] = 0
        whole[INDEX, 0] = -1
        for i in range(size):
            memory[i] = 0.0
        queue[0] = cuda.grid(1)
        queue[1] = cuda.gridsize(1)
        queue[2] = todo.shape[0]
        advance_explicit(memory, whole, m, b, tableau, limits, queue, todo, quota)
        if whole[INDEX, 0] >= 0:
            leave(memory, whole, m, b, 0, RUNNING)

    return advance
