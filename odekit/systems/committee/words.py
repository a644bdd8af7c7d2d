"""A committee and its last row in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

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
    yield from _own(problem)
    if problem.groups is not None:
        yield f"groups of inputs: {say(problem.groups)}"
    for name, task in problem.tasks.items():
        noise = "" if np.all(np.asarray(task.noise_std) == 0) else f", noise {say(task.noise_std)}"
        head = "" if problem.head_of(name) == name else f", head {problem.head_of(name)!r}"
        readout = say(task.readout, core=("output", "teacher"))
        yield f"task {name!r}: readout {readout}{_cluster(task)}{noise}{head}{_views(task)}"


def _own(problem: Problem) -> Iterator[str]:
    """Outputs, biases and the scale at test, where there are any."""
    if problem.outputs is not None:
        yield f"outputs: {problem.outputs}"
    for name, words in (("biases", "biases"), ("teacher_biases", "biases of the fixed vectors")):
        if getattr(problem, name) is not None:
            yield f"{words}: {say(getattr(problem, name), core=('student', 'teacher'))}"
    if np.any(np.asarray(problem.test_scale) != 1.0):
        yield f"heads at test: times {say(problem.test_scale, core=('student',))}"


def _cluster(task: Task) -> str:
    """Label and mean of a cluster."""
    label = f", label {say(task.label, core=('output',))}" if np.any(np.asarray(task.label)) else ""
    mean = task.input_mean
    return label + ("" if mean is None else f", input mean {say(mean, core=('teacher',))}")


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
        yield from matrix(name, last[name].values)
    for head in ds["head"].values:
        values = last.readout.sel(head=head).values
        if values.ndim == 1:
            yield f"head {str(head)!r}: {say(values)}"
        else:
            yield from matrix(str(head), values)
    if "bias" in last:
        yield f"biases: {say(last.bias.values)}"
