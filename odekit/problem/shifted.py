"""Problems with one number shifted a little, of a sweep at all points at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from odekit.base.checks import is_labelled
from odekit.problem.axes import replaced
from odekit.problem.base import AnyProblem
from odekit.problem.mixture import parts_of
from odekit.problem.names import Step, index_of, steps_of
from odekit.problem.phase import Phase

P = TypeVar("P", bound=AnyProblem)


def shifted(problem: P, name: str, by: Any, *, mirrored: bool = False) -> P:
    """The problem with another number in a place, which nothing checks.

    So it may be none: overlaps that no vectors have, or noise below zero. Differences take them.

    Parameters
    ----------
    problem : AnyProblem
        Perhaps with sweep dims.
    name : str
        Of one number, as `odekit.problem.names.get` takes it.
    by : float or DataArray
        What to add, with the sweep dims that the number has, in their order.
    mirrored : bool
        Whether the mirror of an entry is shifted too.
    """
    found: P = _shifted(problem, steps_of(problem, name, "name"), by, mirrored)
    return found


def value_of(problem: AnyProblem, name: str) -> Any:
    """One number of a problem, perhaps with sweep dims."""
    item: Any = problem
    for _, key in steps_of(problem, name, "name"):
        if isinstance(item, Phase) and key == "tasks":
            item = item.mixture
        elif is_labelled(item) or isinstance(item, np.ndarray):
            item = item[_whole(key)]
        elif isinstance(item, Mapping):
            item = item[key]
        else:
            item = item[int(key)] if isinstance(item, Sequence) else getattr(item, key)
    return item


def _shifted(item: Any, steps: Sequence[Step], by: Any, mirrored: bool) -> Any:
    if not steps:
        return item + by
    (_, key), rest = steps[0], steps[1:]
    if isinstance(item, Phase) and key == "tasks":
        return replaced(item, {"tasks": _with_share(item.mixture, rest[0][1], by)})
    if is_labelled(item) or isinstance(item, np.ndarray):
        return _with_entry(item, index_of(key), by, mirrored)
    if dataclasses.is_dataclass(item):
        return replaced(item, {key: _shifted(getattr(item, key), rest, by, mirrored)})
    if isinstance(item, Mapping):
        return {**item, key: _shifted(item[key], rest, by, mirrored)}
    changed = list(item)
    changed[int(key)] = _shifted(changed[int(key)], rest, by, mirrored)
    return tuple(changed)


def _whole(key: str) -> Any:
    """An entry, of an array with sweep dims before those of its core."""
    return (..., *index_of(key))


def _with_entry(array: Any, index: tuple[int, ...], by: Any, mirrored: bool) -> Any:
    values: Any = np.array(array)
    places = {index, (*index[:-2], index[-1], index[-2])} if mirrored else {index}
    for place in places:
        values[(..., *place)] += np.asarray(by)
    return array.copy(data=values) if is_labelled(array) else values


def _with_share(mixture: Mapping[str, Any], task: str, by: Any) -> dict[str, Any]:
    """The others make room in proportion; of tables it takes none."""
    parts = parts_of(mixture, task)
    return {n: p + by if n == task else p - by * parts[n] for n, p in mixture.items()}
