"""A declared system and its last row in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from odekit.problem.words import MAX_UNITS, say

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.outside.problem import DeclaredProblem

MOST_NUMBERS = 9


def words(problem: DeclaredProblem) -> Iterator[str]:
    """The problem in a few lines."""
    own, lengths = problem.declaration, problem.lengths
    here = "" if own.has_code else " (its functions are not declared here)"
    yield f"{own.name}{here}"
    for name, dims in list(own.state.items())[:MAX_UNITS]:
        sizes = ", ".join(f"{d} ({lengths[d]})" for d in dims)
        yield f"{name}: {sizes or 'a number'}, {own.long_names.get(name, 'state')}"
    for name, value in list(problem.parameters.items())[:MAX_UNITS]:
        yield f"{name} = {say(value)}"
    for task, given in list(problem.tasks.items())[:MAX_UNITS]:
        if given:
            yield f"task {task!r}: " + ", ".join(f"{n} = {say(v)}" for n, v in given.items())


def final_words(ds: xr.Dataset) -> Iterator[str]:
    """State variables of few numbers in the last row."""
    last = ds.isel(time=-1)
    for name in ds.data_vars:
        own = "time" in ds[name].dims and ds[name].dtype.kind == "f"
        if own and name != "generalization_error" and last[name].size <= MOST_NUMBERS:
            yield f"{name}: {say(last[name].values)}"
