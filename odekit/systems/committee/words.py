"""A committee and its last row in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from odekit.problem.words import matrix, say

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.committee.problem import Problem


def words(problem: Problem) -> Iterator[str]:
    """The problem in a few lines."""
    K, P = problem.state.student, problem.state.teacher
    yield (
        f"{problem.activation}, K = {K} student unit{'s' * (K > 1)}, "
        f"P = {P} fixed vector{'s' * (P > 1)}"
    )
    for name, task in problem.tasks.items():
        noise = "" if np.all(np.asarray(task.noise_std) == 0) else f", noise {say(task.noise_std)}"
        head = "" if problem.head_of(name) == name else f", head {problem.head_of(name)!r}"
        readout = say(task.readout, core=("teacher",))
        yield f"task {name!r}: readout {readout}{noise}{head}"


def final_words(ds: xr.Dataset) -> Iterator[str]:
    """The overlaps and readouts of the last row."""
    last = ds.isel(time=-1)
    for name in ("R", "Q"):
        yield from matrix(name, last[name].values)
    for head in ds["head"].values:
        yield f"head {str(head)!r}: {say(last.readout.sel(head=head).values)}"
