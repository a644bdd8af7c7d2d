"""Where the variables of many trajectories are written, some trajectories at a time."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import numpy as np

from odekit.base.memory import lent


class Results:
    """Variables of a dataset by name, of many trajectories.

    Parameters
    ----------
    size : int
        Trajectories.
    into : mapping of str to ndarray, optional
        Arrays in which variables end up, (size, ...); others are made as they come.

    Attributes
    ----------
    arrays : dict of str to ndarray
        Those of which something was written, (size, ...).
    """

    def __init__(self, size: int, into: Mapping[str, Any] | None = None) -> None:
        self.size, self._into, self._lock = size, into or {}, threading.Lock()
        self.arrays: dict[str, Any] = {}

    def array(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Any:
        """That of a variable, of so many numbers for each trajectory."""
        with self._lock:
            if name not in self.arrays:
                there = self._into.get(name)
                fits = there is not None and there.shape[1:] == shape
                self.arrays[name] = there if fits else lent((self.size, *shape), dtype)
            return self.arrays[name]

    def put(self, part: slice, found: Mapping[str, Any]) -> None:
        """Write some trajectories' values."""
        for name, values in found.items():
            self.array(name, values.shape[1:], values.dtype)[part] = values

    def take(self, found: Mapping[str, Any]) -> None:
        """Take over arrays of all trajectories; nothing else may write to them."""
        for name, values in found.items():
            if name in self._into:
                self.put(slice(None), {name: values})
            else:
                self.arrays[name] = values
