"""The explicit integrator on a CUDA device: one thread a trajectory, the same source as the lanes.

A thread's memory is local to it, and its sizes are constants of the kernel, so that the compiler
may unroll loops and keep what is small in registers. The threads of a block wait for each other
after every step: then all fetch the same instructions, which small caches would not hold for each.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from numba import cuda as _untyped
from numba import float64, int64

from odekit_kernels.integrators.batch import COUNTERS, INDEX, RUNNING, leave
from odekit_kernels.integrators.explicit import advance_explicit
from odekit_kernels.integrators.registry import static

__all__ = ["THREADS", "explicit_kernel"]

cuda: Any = _untyped

THREADS = 256
"""Threads in a block, as many as always have registers: on an H100 they are 1.34 times as fast as
128, and 1.54 times as fast as 64 (erf, K = P = 2)."""


# Plans with the same numbers are equal as tuples, though their equations may differ.
@lru_cache(maxsize=None, typed=True)
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
    return cuda.jit(body(m))


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
        left, busy = quota, 1
        while cuda.syncthreads_or(busy):
            if busy != 0:
                left -= 1
                done = advance_explicit(memory, whole, m, b, tableau, limits, queue, todo, 1)
                busy = 0 if done or left == 0 else 1
        if whole[INDEX, 0] >= 0:
            leave(memory, whole, m, b, 0, RUNNING)

    return advance
