"""Numbers in words, for the terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from odekit.base.checks import is_labelled
from odekit.problem.schedule import Schedule

MAX_UNITS = 6
"""Largest matrix that is printed entry by entry."""


def matrix(name: str, values: Any) -> Iterator[str]:
    """A matrix entry by entry, or its extent where it is large."""
    if max(values.shape) > MAX_UNITS:
        yield f"{name}: {values.shape[0]} x {values.shape[1]}, {extent(values)}"
        return
    tiny = 1e-9 * np.abs(values).max(initial=0.0)
    rows = ["  ".join(f"{0.0 if abs(x) < tiny else x:10.4g}" for x in row) for row in values]
    yield "\n".join(f"{name if i == 0 else '':<2}{row}" for i, row in enumerate(rows))


def say(value: Any, core: Collection[str] = ()) -> str:
    """A value of the problem in a few characters; `core` names the dims that no sweep has."""
    if isinstance(value, Schedule):
        return f"from {value.values[0]:g} to {value.values[-1]:g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {say(x, core)}" for name, x in value.items())
    if is_labelled(value):
        swept = [str(d) for d in value.dims if d not in core]
        return f"{extent(value.values)} over {', '.join(swept)}" if swept else say(value.values)
    array = np.asarray(value, dtype=float)
    if array.ndim == 0:
        return f"{float(array):g}"
    if array.size > MAX_UNITS:
        return f"of {array.size}, {extent(array)}"
    return "(" + ", ".join(f"{x:.4g}" for x in array) + ")"


def extent(values: Any) -> str:
    """Smallest and largest value."""
    return f"{np.nanmin(values):.4g} to {np.nanmax(values):.4g}"
