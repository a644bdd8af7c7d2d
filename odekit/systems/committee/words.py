"""A committee and its last row in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from odekit.integrate.options import tolerance_of
from odekit.problem.words import matrix, say
from odekit.systems.committee.problem import WHITE

if TYPE_CHECKING:
    import xarray as xr

    from odekit.systems.committee.problem import Problem, Task


def words(problem: Problem) -> Iterator[str]:
    """The problem in a few lines."""
    K, P = problem.state.student, problem.state.teacher
    teacher = f", teachers {problem.teacher_activation}" if problem.teacher_activation else ""
    yield (
        f"{problem.activation}{teacher}, K = {K} student unit{'s' * (K > 1)}, "
        f"P = {P} fixed vector{'s' * (P > 1)}"
    )
    if problem.groups is not None:
        yield f"groups of inputs: {say(problem.groups)}"
    for name, task in problem.tasks.items():
        noise = "" if np.all(np.asarray(task.noise_std) == 0) else f", noise {say(task.noise_std)}"
        head = "" if problem.head_of(name) == name else f", head {problem.head_of(name)!r}"
        readout = say(task.readout, core=("teacher",))
        yield f"task {name!r}: readout {readout}{noise}{head}{_views(task)}"


def _views(task: Task) -> str:
    """What a task says of its inputs, where that is not what is usual."""
    words = {
        "input_variance": "variance",
        "student_gain": "gain",
        "student_noise_std": "input noise",
    }
    found = ""
    for name, word in words.items():
        value = getattr(task, name)
        if isinstance(value, Mapping) or np.any(np.asarray(value) != WHITE[name]):
            found += f", {word} {say(value)}"
    return found


def final_words(ds: xr.Dataset) -> Iterator[str]:
    """The overlaps and readouts of the last row."""
    last = ds.isel(time=-1)
    for name in ("R", "Q"):
        yield from matrix(name, last[name].values, tolerance_of(ds.attrs))
    for head in ds["head"].values:
        yield f"head {str(head)!r}: {say(last.readout.sel(head=head).values)}"
