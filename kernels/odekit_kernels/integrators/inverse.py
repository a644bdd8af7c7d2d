"""Inverse of a small matrix in every lane."""

from __future__ import annotations

from typing import Any

from odekit_kernels._jit import inner
from odekit_kernels.lanes.values import fill, get, put
from odekit_kernels.simd import absolute, choose_less

__all__ = ["invert"]


@inner
def exchange(A: Any, B: Any, n: int, j: int, i: int) -> None:
    """Exchange rows i > j of both in the lanes where row i has the larger entry in column j."""
    larger, pivot = absolute(get(A, i * n + j)), absolute(get(A, j * n + j))
    for l in range(n):
        x, y = get(A, j * n + l), get(A, i * n + l)
        put(A, j * n + l, choose_less(pivot, larger, y, x))
        put(A, i * n + l, choose_less(pivot, larger, x, y))
        x, y = get(B, j * n + l), get(B, i * n + l)
        put(B, j * n + l, choose_less(pivot, larger, y, x))
        put(B, i * n + l, choose_less(pivot, larger, x, y))


@inner
def invert(A: Any, B: Any, n: int) -> None:
    """Write the inverses of the matrices A (n, n) to B, by Gauss–Jordan with row exchanges.

    Every lane has exchanges of its own; a singular matrix gives infinities or NaN in its lane.
    """
    for i in range(n):
        for j in range(n):
            put(B, i * n + j, fill(B, 1.0 if i == j else 0.0))
    for j in range(n):
        for i in range(j + 1, n):
            exchange(A, B, n, j, i)
        scale = 1.0 / get(A, j * n + j)
        for l in range(n):
            put(A, j * n + l, get(A, j * n + l) * scale)
            put(B, j * n + l, get(B, j * n + l) * scale)
        for i in range(n):
            if i != j:
                factor = get(A, i * n + j)
                for l in range(j, n):
                    put(A, i * n + l, get(A, i * n + l) - factor * get(A, j * n + l))
                for l in range(n):
                    put(B, i * n + l, get(B, i * n + l) - factor * get(B, j * n + l))
