"""A network on data and its last row in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from odekit.problem.words import say

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.data.problem import DataProblem


def words(problem: DataProblem) -> Iterator[str]:
    """The problem in a few lines."""
    yield f"network of {'-'.join(map(str, problem.widths))} units, {problem.activation}"
    for name, task in problem.tasks.items():
        size = float(np.mean(np.sum(task.targets**2, axis=1)))
        yield f"task {name!r}: {task.count} samples, mean |y|^2 {say(size)}"


def final_words(ds: xr.Dataset) -> Iterator[str]:
    """Norms of the layers in the last row."""
    last = ds.layer_norm.isel(time=-1)
    norms = ", ".join(
        f"|{name}| {float(x):.4g}" for name, x in zip(ds.layer.values, last, strict=True)
    )
    yield f"norms of the layers: {norms}"
