"""Errors of rows on a CUDA device, where the rows are: one thread a row, the source of the host."""

from __future__ import annotations

from functools import cache
from typing import Any

from numba import cuda as _untyped
from numba import float64

from odekit_kernels._device_cache import cached
from odekit_kernels.integrators.batch import ROW
from odekit_kernels.integrators.registry import errors, static

__all__ = ["THREADS", "body", "errors_kernel"]

cuda: Any = _untyped

THREADS = 128
"""Threads in a block."""


@cache
def errors_kernel(m: Any) -> Any:
    """Kernel for rows of one plan.

    Parameters
    ----------
    m : named tuple
        Plan of a system that is registered, with as many watched tasks as errors are wanted.

    Returns
    -------
    numba.cuda kernel
        Takes ``(w, constants, places, rows, counts, out)``: the wiring of the watched tasks; rows
        of constants (B or 1, width) and `places` where each goes in memory; rows (B, rows, n) of
        which trajectory i has `counts[i, ROW]`; and receives the errors, (B, rows, W).
    """
    return cached(cuda.jit(body(m)), m)


def body(m: Any) -> Any:
    """The kernel as a Python function, for one plan."""
    m = static(m)
    size, n, W = m.size, m.n, m.W

    def errors_of_rows(
        w: Any, constants: Any, places: Any, rows: Any, counts: Any, out: Any
    ) -> None:
        memory = cuda.local.array(size, float64)
        for i in range(size):
            memory[i] = 0.0
        length = rows.shape[1]
        for place in range(cuda.grid(1), rows.shape[0] * length, cuda.gridsize(1)):
            i, row = place // length, place % length
            if row >= counts[i, ROW]:
                continue
            own = i if constants.shape[0] > 1 else 0
            for j in range(places.shape[0]):
                memory[places[j]] = constants[own, j]
            for j in range(n):
                memory[m.y + j] = rows[i, row, j]
            errors(memory, m, w, m.y)
            for s in range(W):
                out[i, row, s] = memory[m.error + s]

    return errors_of_rows
