"""The numbers of a problem by name, as one writes them: ``phases[0].learning_rate``.

A name leads through attributes, ``.noise_std``, and entries, ``[main]`` of a mapping or ``[0, 1]``
of a sequence or an array. An array without an entry stands for all of it.
"""

from __future__ import annotations

import copy
import dataclasses
import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from odekit.base.checks import MAX_NUMBERS, is_labelled
from odekit.base.errors import ProblemError
from odekit.problem.base import AnyProblem
from odekit.problem.mixture import with_share
from odekit.problem.phase import Phase
from odekit.problem.schedule import Schedule

P = TypeVar("P", bound=AnyProblem)
Step = tuple[str, str]
"""How a part is reached: "." and an attribute, or "[" and a key."""

_STEP = re.compile(r"(?:^|\.)(\w+)|\[([^\[\]]*)\]")
MOST_LISTED = 24
SMALL = 64
"""Entries of an array that are listed one by one where a name is not known."""


def numbers(problem: AnyProblem) -> dict[str, float]:
    """Every single number of a problem by its name.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=20.0, learning_rate=0.5)],
    ... )
    >>> [name for name, value in numbers(problem).items() if value == 0.5]
    ['state.Q[0, 0]', 'phases[0].learning_rate']
    """
    return dict(_walk(problem, "", MAX_NUMBERS))


def get(problem: AnyProblem, name: str, argument: str = "name") -> Any:
    """The number, or array of numbers, of a name.

    Parameters
    ----------
    problem : AnyProblem
    name : str
        Such as ``"phases[0].weight_decay"``, ``"tasks[main].noise_std"`` or ``"state.T[0, 1]"``.
    argument : str
        What the caller calls the name, for the error.

    Raises
    ------
    ProblemError
        If it leads to no number; the message lists names that do.
    """
    item: Any = problem
    for step in steps_of(problem, name, argument):
        item = _inner(item, step, problem, name, argument)
    if not _is_number(item) and not _is_array(item):
        raise _unknown(problem, name, argument)
    return item


def replace(problem: P, name: str, value: Any, argument: str = "name") -> P:
    """A copy, checked again, with another number in a place.

    Parameters
    ----------
    problem : AnyProblem
    name : str
        As in `get`. An entry of a symmetric matrix takes its mirror along; with a probability of
        a mixture the others change in proportion, at every time, so that they still sum to 1; with
        a time of its table, those of the other tables of three tasks or more.
    value : float or array_like
        A number in place of an array fills it.

    Raises
    ------
    ProblemError
        If the name leads to no number, or the problem refuses the value.
    """
    get(problem, name, argument)
    changed: P = _replaced(problem, steps_of(problem, name, argument), value)
    return changed


# ------------------------------------------------------------------------------------------- names


def steps_of(problem: AnyProblem, name: str, argument: str) -> list[Step]:
    """How a name leads to its number, part by part; it need not be there."""
    steps: list[Step] = []
    end = 0
    if isinstance(name, str):
        for match in _STEP.finditer(name):
            if match.start() != end:
                break
            end = match.end()
            steps.append((".", match[1]) if match[1] is not None else ("[", _bare(match[2])))
    if not steps or end != len(name):
        raise _unknown(problem, name, argument)
    return steps


def _bare(key: str) -> str:
    """A key without the quotes that one may write around it."""
    key = key.strip()
    return key[1:-1] if len(key) > 1 and key[0] == key[-1] and key[0] in "'\"" else key


def _unknown(problem: AnyProblem, name: object, argument: str) -> ProblemError:
    every = dict(_walk(problem, "", SMALL))
    # What is trained on comes last in a problem, and is asked for first.
    tops = list(dict.fromkeys(re.split(r"[.\[]", n)[0] for n in every))[::-1]
    known = sorted(every, key=lambda n: tops.index(re.split(r"[.\[]", n)[0]))
    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    listed = ", ".join(known[:MOST_LISTED]) + (", …" if len(known) > MOST_LISTED else "")
    remedy = f"Did you mean {' or '.join(near)}? " if near else ""
    return ProblemError(
        argument, "must name a number of the problem", repr(name), f"{remedy}There are {listed}."
    )


def _walk(item: Any, where: str, most: int) -> Iterator[tuple[str, float]]:
    """Names and numbers of a part; arrays of more than so many entries are left out."""
    if _is_number(item):
        yield where, float(item)
    elif _is_array(item) and item.size > most:
        return
    elif _is_array(item):
        values = np.asarray(item)
        for index in np.ndindex(values.shape):
            yield f"{where}[{', '.join(map(str, index))}]", float(values[index])
    elif is_labelled(item):
        return
    elif dataclasses.is_dataclass(item):
        for field in dataclasses.fields(item):
            if field.repr:
                inner = f"{where}.{field.name}" if where else field.name
                yield from _walk(getattr(item, field.name), inner, most)
    elif isinstance(item, Mapping):
        for key, value in item.items():
            yield from _walk(value, f"{where}[{key}]", most)
    elif isinstance(item, list | tuple):
        for i, value in enumerate(item):
            yield from _walk(value, f"{where}[{i}]", most)


def _is_number(item: Any) -> bool:
    """Whether it may take any value between two others: counts may not."""
    return isinstance(item, float | np.floating)


def _is_array(item: Any) -> bool:
    return isinstance(item, np.ndarray) and item.dtype.kind == "f" and item.size > 0


# ------------------------------------------------------------------------------------------- parts


def _inner(item: Any, step: Step, problem: AnyProblem, name: str, argument: str) -> Any:
    """A part of a part."""
    how, key = step
    try:
        if how == "." and dataclasses.is_dataclass(item):
            return getattr(item, key) if key in {f.name for f in dataclasses.fields(item)} else None
        if how == "[" and isinstance(item, Mapping):
            return item[key]
        if how == "[" and _is_array(item):
            return item[index_of(key)]
        if how == "[" and isinstance(item, Sequence) and not isinstance(item, str):
            return item[int(key)]
    except (KeyError, IndexError, ValueError):
        pass
    raise _unknown(problem, name, argument)


def index_of(key: str) -> tuple[int, ...]:
    """The entry of an array that a key names."""
    return tuple(int(k) for k in key.split(","))


def _replaced(item: Any, steps: Sequence[Step], value: Any) -> Any:
    """A copy of a part with the value where the steps lead; what is on the way is checked again."""
    if not steps:
        return np.full_like(item, value) if _is_array(item) else value
    (how, key), rest = steps[0], steps[1:]
    if isinstance(item, Phase) and key == "tasks" and rest:
        task = rest[0][1]
        share = _replaced(item.mixture[task], rest[1:], value)
        return dataclasses.replace(item, tasks=with_share(item.mixture, task, share))
    if how == ".":
        part = _replaced(getattr(item, key), rest, value)
        if isinstance(item, Schedule) and key == "times":
            return item.at_times(part)
        return dataclasses.replace(item, **{key: part})
    if isinstance(item, Mapping):
        return {**item, key: _replaced(item[key], rest, value)}
    if _is_array(item):
        return _with_entry(item, index_of(key), value)
    changed = list(item)
    changed[int(key)] = _replaced(changed[int(key)], rest, value)
    return tuple(changed) if isinstance(item, tuple) else changed


def _with_entry(array: Any, index: tuple[int, ...], value: Any) -> Any:
    changed = copy.copy(array)
    changed.setflags(write=True)
    square = len(index) > 1 and array.shape[-1] == array.shape[-2]
    if square and np.array_equal(array, array.swapaxes(-1, -2)):
        # Of groups of inputs the first axis tells which.
        changed[(*index[:-2], index[-1], index[-2])] = value
    changed[index] = value
    return changed
