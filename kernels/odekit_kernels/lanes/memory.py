"""The memory of a group of trajectories: what the integrators need, and how it is laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from odekit_kernels.simd import WIDTH

__all__ = [
    "MACHINERY",
    "firsts",
    "lay_out",
    "machinery",
    "make_memory",
    "places_of",
]

MACHINERY = [
    "n",
    "W",
    "y",
    "new",
    "trial",
    "k",
    "eta_w",
    "eta_v",
    "level",
    "error",
    "time",
    "begin",
    "end",
    "wish",
    "mark",
    "bound",
    "h",
    "after",
    "norm",
    "large",
    "ratio",
    "lean",
    "accepted",
    "unit",
    "theta",
    "low",
    "high",
    "at_low",
    "at_high",
    "factor",
    "busy",
    "fresh",
    "rejected",
    "shrinks",
    "steps",
    "calls",
    "stiff",
    "easy",
    "due",
    "look",
    "odd",
    "size",
]
"""Fields that the integrators use: the plan of every system has them."""


def machinery(n: int, W: int, stages: int) -> dict[str, int]:
    """Sizes of the integrators' own blocks; all others of `MACHINERY` are single values."""
    blocks = {"y": n, "new": n, "trial": n, "k": (stages + 1) * n}
    return {**blocks, "level": W, "error": W}


def lay_out(fields: Iterable[str], sizes: Mapping[str, int]) -> dict[str, int]:
    """First index of each block, one after the other, and the ``size`` of them all."""
    places, end = {}, 0
    for name in fields:
        places[name] = end
        end += sizes.get(name, 1)
    return {**places, "size": end}


def make_memory(size: int) -> NDArray[np.float64]:
    """Memory of one group on the CPU, shape (size, 8), from a cache line on."""
    block = np.zeros(size * WIDTH + WIDTH - 1)
    first = -(block.ctypes.data // 8) % WIDTH
    return block[first : first + size * WIDTH].reshape(size, WIDTH)


def firsts(constants: Mapping[str, NDArray[np.int64]]) -> dict[str, int]:
    """First index of each constant in a row, of the places of their numbers by name."""
    sizes = {name: places.size for name, places in constants.items()}
    found = lay_out(constants, sizes)
    del found["size"]
    return found


def places_of(constants: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """Where each number of a row of constants goes in the memory of a group."""
    return np.concatenate([np.ravel(places) for places in constants.values()]).astype(np.int64)
