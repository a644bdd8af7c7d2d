"""Memory of large results, used again once nobody holds them any more.

Pages that are new to a process cost more than what is written there: on a virtual machine that
gives idle memory back to its host a sweep after a pause took 1.3 to 1.6 times as long.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

__all__ = ["MOST_KEPT", "lent"]

LEAST = 2**17
"""Bytes below which the C library reuses memory itself."""
MOST_KEPT = 2**28
"""Bytes that are kept while nobody holds them."""


class _Store:
    """Blocks that are free, oldest first.

    Without a lock, by what a dict does in one piece: blocks come back whenever Python deletes
    their last array, even while this thread is looking for one.
    """

    def __init__(self) -> None:
        self._free: dict[int, Any] = {}

    def take(self, nbytes: int) -> Any:
        """A block of this size, the last that came back, whatever it holds."""
        for key, block in reversed(list(self._free.items())):
            if block.size == nbytes and self._free.pop(key, None) is not None:
                return block
        return np.empty(nbytes, np.uint8)

    def put(self, block: Any) -> None:
        """Take a block back, and give up the oldest if that makes too many."""
        if block.size > MOST_KEPT:
            return
        self._free[id(block)] = block
        excess = sum(b.size for b in list(self._free.values())) - MOST_KEPT
        for key, old in list(self._free.items()):
            if excess <= 0:
                break
            if self._free.pop(key, None) is not None:
                excess -= old.size


_store = _Store()


class _Loan:
    """What numpy's arrays of a block hold: with the last of them it is given back."""

    def __init__(self, block: Any, view: Any, back: Callable[[Any], None]) -> None:
        self.__array_interface__ = view.__array_interface__
        self._block, self._back = block, back

    def __del__(self) -> None:
        self._back(self._block)


def lent(shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
    """An array, whatever it holds, in memory that may have been another's.

    Examples
    --------
    >>> lent((1000, 50), float).shape
    (1000, 50)
    """
    kind = np.dtype(dtype)
    nbytes = math.prod(shape) * kind.itemsize
    if nbytes < LEAST or kind.hasobject:
        return np.empty(shape, kind)
    block = _store.take(nbytes)
    return np.asarray(_Loan(block, block.view(kind).reshape(shape), _store.put))
