"""What is used of a CUDA device again and again: streams, memory there, page-locked memory here."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from odekit.integrate.shares import BYTES, Pool

__all__ = ["Station", "follow", "simulated", "staged", "station"]


def _cuda() -> Any:
    from numba import cuda

    return cuda


def simulated() -> bool:
    """Whether numba only simulates a device."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") == "1"


class Station:
    """What one batch at a time uses of the device: a stream, and memory that is used again.

    To free memory of a device waits for every kernel on it, those of other batches too.
    """

    def __init__(self) -> None:
        self.stream = _cuda().stream()
        self._held: dict[tuple[str, str], Any] = {}

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        return sum(int(held.nbytes) for held in self._held.values())

    def room(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """An array on the device, whatever it holds; the last of this name is given up."""
        size = math.prod(shape)
        if not size:
            return _cuda().device_array(shape, dtype)
        key = name, dtype.str
        if key not in self._held or self._held[key].size < size:
            self._held.pop(key, None)
            self._held[key] = _cuda().device_array(size, dtype)
        return self._held[key][:size].reshape(shape)

    def send(self, name: str, value: Any) -> Any:
        """A copy on the device of an array, or of all in a named tuple; numbers stay numbers."""
        if isinstance(value, tuple):
            fields = zip(value._fields, value, strict=True)  # type: ignore[attr-defined]
            return type(value)(*(self.send(f"{name}.{field}", x) for field, x in fields))
        if not isinstance(value, np.ndarray):
            return value
        there = self.room(name, value.shape, value.dtype)
        if value.size:
            there.copy_to_device(np.ascontiguousarray(value), self.stream)
        return there

    def fetch(self, there: Any, into: Any) -> None:
        """Copy an array from the device, once all is done that this station was told to do."""
        there.copy_to_host(into, self.stream)
        self.stream.synchronize()


class _Staging:
    """Page-locked memory, through which a device copies by itself, and a stream for that."""

    def __init__(self) -> None:
        self.stream = _cuda().stream()
        self.memory = _cuda().pinned_array(BYTES // 8, np.float64)

    def of(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """An array of numbers of eight bytes."""
        size = math.prod(shape)
        if self.memory.size < size:
            self.memory = _cuda().pinned_array(size, np.float64)
        return self.memory[:size].view(dtype).reshape(shape)


@cache
def _stations(device: int) -> Pool:
    """Those on a device."""
    del device
    return Pool(Station)


@cache
def _stagings(device: int) -> Pool:
    del device
    return Pool(_Staging)


def _number() -> int:
    """The device that this thread uses."""
    return 0 if simulated() else int(_cuda().get_current_device().id)


@contextlib.contextmanager
def station() -> Iterator[Station]:
    """A station for this thread alone."""
    with _stations(_number()).one() as here:
        yield here


@contextlib.contextmanager
def staged(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Iterator[tuple[Any, Any]]:
    """A page-locked array, and a stream to copy to it."""
    with _stagings(_number()).one() as found:
        yield found.of(shape, dtype), found.stream


def follow() -> Callable[[], None]:
    """What makes a new thread use the device of this one."""
    number = _number()
    return lambda: _cuda().select_device(number)
