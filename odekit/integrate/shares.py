"""Work on many trajectories, a share at a time, on threads; and memory that is used again."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from odekit.base.arrays import Floats

BYTES = 2**22
"""Rows in one share: few enough to stay in a processor's cache until they are unpacked."""
MOST_KEPT = 2**28
"""Bytes of rows that stay mapped between two batches. Fresh pages cost more than what is written
there."""


def shares(size: int, each: int, threads: int) -> list[slice]:
    """Trajectories of so many bytes each, side by side, in shares that keep all threads busy."""
    most = max(1, min(BYTES // max(each, 1), -(-size // threads)))
    return [slice(i, min(i + most, size)) for i in range(0, max(size, 1), most)]


def spread(
    work: Callable[[Any], None],
    parts: Sequence[Any],
    threads: int,
    begin: Callable[[], None] | None = None,
) -> None:
    """Do some work on every part, on threads that call `begin` first."""
    if threads == 1 or len(parts) == 1:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(min(threads, len(parts)), initializer=begin) as pool:
        list(pool.map(work, parts))


class Pool:
    """Things that are made where none is free, and used again.

    Parameters
    ----------
    make : callable
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make, self._free, self._lock = make, list[Any](), threading.Lock()

    @contextlib.contextmanager
    def one(self) -> Iterator[Any]:
        """One of them, for this thread alone."""
        with self._lock:
            found = self._free.pop() if self._free else None
        found = self._make() if found is None else found
        try:
            yield found
        finally:
            with self._lock:
                self._free.append(found)


class _Rows:
    """Memory of the rows of one batch."""

    def __init__(self) -> None:
        self.memory = np.empty(0)

    def of(self, shape: tuple[int, ...]) -> Floats:
        """An array, whatever it holds."""
        size = int(np.prod(shape, dtype=np.int64))
        if self.memory.size < size:
            self.memory = np.empty(size)
        return self.memory[:size].reshape(shape)


_rows = Pool(_Rows)


@contextlib.contextmanager
def room(shape: tuple[int, ...]) -> Iterator[Floats]:
    """An array for the rows of a batch, whatever it holds; nothing may refer to it afterwards."""
    with _rows.one() as held:
        try:
            yield held.of(shape)
        finally:
            if 8 * held.memory.size > MOST_KEPT:
                held.memory = np.empty(0)
