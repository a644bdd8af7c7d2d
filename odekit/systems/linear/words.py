"""A linear network and its last row in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from odekit.problem.words import MAX_UNITS, say

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.linear.problem import LinearProblem


def words(problem: LinearProblem) -> Iterator[str]:
    """The problem in a few lines."""
    network = problem.network
    nodes = ", ".join(f"{name} ({size})" for name, size in network.nodes.items())
    yield f"linear network of {len(network.edges)} edges between {nodes}"
    for path, steps in list(network.paths.items())[:MAX_UNITS]:
        start, end = network.ends(path)
        yield f"path {path!r}: {start} -> {' '.join(steps)} -> {end}"
    if len(network.paths) > MAX_UNITS:
        yield f"and {len(network.paths) - MAX_UNITS} paths more"
    for name, task in problem.tasks.items():
        yield f"task {name!r}: E|y|^2 {say(task.yy)}"


def final_words(ds: xr.Dataset) -> Iterator[str]:
    """The strengths of the modes in the last row."""
    last = ds.isel(time=-1)
    for path in ds.path.values:
        learnt, there = (
            x.sel(path=path)[0].values for x in (last.mode_strength, ds.target_strength)
        )
        yield f"modes along {str(path)!r}: {say(learnt)} of {say(there)}"
