"""Problems in which some numbers are labelled arrays: one run for each point of their grid."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import is_labelled
from odekit.base.errors import ProblemError

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem

Axis = tuple[int, Any]
"""Length and coordinate values (or None) of a sweep dim."""


PLAIN = frozenset({float, int, str, bool, type(None), np.ndarray})
"""Types of most values: asked for first, they have no labels."""


def numbers(item: Any, where: str) -> Iterator[tuple[str, Any]]:
    """Every value of a problem that may be labelled, with its place in words."""
    if type(item) in PLAIN:
        return
    if is_labelled(item):
        yield where, item
    elif dataclasses.is_dataclass(item):
        for field in dataclasses.fields(item):
            inner = f"{where}.{field.name}" if where else field.name
            yield from numbers(getattr(item, field.name), inner)
    elif isinstance(item, Mapping):
        for name, value in item.items():
            yield from numbers(value, f"{where}[{name!r}]")
    elif isinstance(item, list | tuple):
        for i, value in enumerate(item):
            yield from numbers(value, f"{where}[{i}]")


def axes(problem: AnyProblem) -> dict[str, Axis]:
    """Sweep dims of a problem, in the order in which they first appear.

    Raises
    ------
    ProblemError
        If two labelled arrays give one dim different lengths or coordinates.
    """
    found: dict[str, Axis] = {}
    for where, value in numbers(problem, ""):
        for dim in value.dims:
            if dim in problem.core_dims:
                continue
            coord = value.coords[dim].values if dim in value.coords else None
            found[dim] = _merge(where, dim, found.get(dim), (value.sizes[dim], coord))
    return found


def _merge(where: str, dim: str, old: Axis | None, new: Axis) -> Axis:
    if old is None:
        return new
    if old[0] != new[0]:
        raise ProblemError(
            where,
            f"must have as many entries along {dim!r} as the other arrays, {old[0]}",
            str(new[0]),
            "Rename the dim if it is another axis.",
        )
    if old[1] is not None and new[1] is not None and not np.array_equal(old[1], new[1]):
        raise ProblemError(
            where,
            f"must have the same coordinate along {dim!r} as the other arrays",
            str(new[1][:3]),
            "Align the arrays, or rename the dim.",
        )
    return old if old[1] is not None else new


def at(item: Any, index: Mapping[str, int]) -> Any:
    """A problem, or a part of one, at one point of the grid."""
    return _rebuild(item, lambda value: _pick(value, index))


def part(problem: AnyProblem, region: Mapping[str, slice]) -> AnyProblem:
    """The problem of a part of the grid: every labelled array cut to it, dims of one entry kept."""

    def cut(value: Any) -> Any:
        return value.isel({d: s for d, s in region.items() if d in value.dims})

    cut_out: AnyProblem = _rebuild(problem, cut)
    return cut_out


def _rebuild(item: Any, pick: Callable[[Any], Any]) -> Any:
    """Copy with every labelled value replaced; parts without one are kept as they are.

    Nothing is checked again: a part of what passed the checks passes them too.
    """
    if is_labelled(item):
        return pick(item)
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        before = {field.name: getattr(item, field.name) for field in dataclasses.fields(item)}
        after = {name: _rebuild(value, pick) for name, value in before.items()}
        changed = {name: value for name, value in after.items() if value is not before[name]}
        return replaced(item, changed) if changed else item
    if isinstance(item, Mapping):
        mapped = {name: _rebuild(value, pick) for name, value in item.items()}
        return mapped if any(mapped[n] is not item[n] for n in item) else item
    if isinstance(item, tuple):
        parts = tuple(_rebuild(value, pick) for value in item)
        return parts if any(a is not b for a, b in zip(parts, item, strict=True)) else item
    return item


def replaced(item: Any, changed: Mapping[str, Any]) -> Any:
    """A copy of a part of a problem with other fields, which nothing checks."""
    twin = copy.copy(item)
    for name, value in changed.items():
        object.__setattr__(twin, name, value)
    return twin


def _pick(value: Any, index: Mapping[str, int]) -> Any:
    """Plain number or core array; core dims were put last when the problem was checked."""
    lead = tuple(index[d] for d in value.dims if d in index)
    picked = value.values[lead]
    return np.array(picked) if picked.ndim else float(picked)


def points(found: Mapping[str, Axis]) -> Iterator[tuple[tuple[int, ...], dict[str, int]]]:
    """Every index of the grid, as a tuple and by dim."""
    for place in np.ndindex(*(size for size, _ in found.values())):
        yield place, dict(zip(found, place, strict=True))
