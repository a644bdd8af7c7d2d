"""Values of a scenario's tables: numbers, sweeps, schedules, and arrays of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import singledispatch
from typing import Any

import numpy as np

from odekit.base.checks import axis_name
from odekit.base.errors import ProblemError
from odekit.base.spread import spread
from odekit.problem.schedule import Schedule
from odekit.scenario import tables as schema

MAX_POINTS = 10_000_000
"""Most values on a sweep's axis."""

MOST_LABEL = 1e300
"""Largest number that names a value of an axis."""

Axes = dict[str, Any]


@singledispatch
def value(given: Any, axes: Axes) -> Any:
    """What a number, a table or a list of a scenario stands for.

    Parameters
    ----------
    given : object
        A validated value of the schema. A table that stands for a value registers what builds it:
        ``@value.register``.
    axes : dict
        The sweep axes met so far, by name; a new one is added.

    Raises
    ------
    ProblemError
        Naming the key below `given` that is at fault.
    """
    return _by_name(given, axes) if isinstance(given, Mapping) else given


def _by_name(given: Mapping[str, Any], axes: Axes) -> dict[str, Any]:
    found = {}
    for name, item in given.items():
        with within(f"[{name!r}]"):
            found[name] = value(item, axes)
    return found


def vector(given: Any, core: str, axes: Axes) -> Any:
    """A list whose entries may be swept, as an array over the dim `core`; or what builds it."""
    if not isinstance(given, list):
        return value(given, axes)
    named = {}
    for i, item in enumerate(given):
        with within(f"[{i}]"):
            named[f"entry{i}"] = value(item, axes)
    return spread(lambda **v: [np.array(list(v.values()), dtype=float)], [(core,)], **named)[0]


def output_times(given: list[float] | schema.Times) -> Any:
    """Output times of the solver."""
    if isinstance(given, list):
        return np.asarray(given)
    times = _points({"linspace": given.linspace, "geomspace": given.geomspace})
    return times if given.start is None else np.concatenate([[given.start], times])


@contextmanager
def within(key: str) -> Iterator[None]:
    """Put a key before the argument that an error names."""
    try:
        yield
    except ProblemError as error:
        raise ProblemError(
            join(key, error.argument), error.rule, error.given, error.remedy
        ) from None


def join(key: str, argument: str) -> str:
    """Two keys in a row.

    Examples
    --------
    >>> join("phases", "[0]"), join("state", "Q"), join("state", "")
    ('phases[0]', 'state.Q', 'state')
    """
    return f"{key}{'' if not argument or argument[0] == '[' or not key else '.'}{argument}"


@value.register(schema.Axis)
def _axis(table: schema.Axis, axes: Axes) -> Any:
    import xarray as xr

    axis_name("over", table.over)
    if table.over == "draw":
        raise ProblemError(
            "over", "must not be `draw`, the axis of `draws`", "'draw'", "Rename it."
        )
    points = _points({n: getattr(table, n) for n in ("values", "linspace", "geomspace")})
    if table.labels is None and np.unique(points).size < len(points):
        rule = "must hold different numbers"
        raise ProblemError("values", rule, str(points[:8]), "Or name them: labels = [...].")
    labels = points if table.labels is None else _labels(table.labels, len(points))
    if not np.array_equal(axes.setdefault(table.over, labels), labels):
        raise ProblemError(
            "over",
            f"must have the same values wherever it names the axis {table.over!r}",
            "other values",
            "Give them the same `labels`, or name another axis.",
        )
    return xr.DataArray(points, dims=(table.over,), coords={table.over: labels})


def _labels(given: list[Any], size: int) -> Any:
    """Names or numbers under which the values of an axis are known in the result."""
    text = all(isinstance(x, str) and x.isascii() and x.isprintable() and x for x in given)
    # As floats, which hold whole numbers up to 2^53.
    numeric = all(
        (type(x) is int and abs(x) <= 2**53) or (type(x) is float and np.isfinite(x)) for x in given
    )
    if not (text or numeric) or not len(set(given)) == len(given) == size:
        rule = f"must hold {size} different names in ASCII, or numbers (whole ones up to 2^53)"
        raise ProblemError("labels", rule, str(given)[:80], "One for each value.")
    return np.asarray(given, dtype=np.str_ if text else float)


def _points(forms: dict[str, list[float] | None]) -> Any:
    """The numbers of exactly one of values, linspace and geomspace."""
    used = {name: v for name, v in forms.items() if v is not None}
    if len(used) != 1:
        raise ProblemError("", f"must have exactly one of {', '.join(forms)}", str(len(used)), "")
    ((name, numbers),) = used.items()
    if name == "values":
        if not numbers:
            raise ProblemError(name, "must hold at least one number", "none", "")
        return np.asarray(numbers)
    good = len(numbers) == 3 and np.isfinite(numbers).all() and numbers[2] == int(numbers[2])
    if not good or not 1 <= numbers[2] <= MAX_POINTS:
        raise ProblemError(
            name,
            f"must be [first, last, count] with a whole count of 1 to {MAX_POINTS}",
            str(numbers),
            "",
        )
    first, last, count = numbers
    if name == "linspace":
        return np.linspace(first, last, int(count))
    if first <= 0 or last <= 0:
        raise ProblemError(name, "must go from one number > 0 to another", str(numbers), "")
    return np.geomspace(first, last, int(count))


def matrix(name: str, given: Any, core: tuple[str, str], axes: Axes) -> Any:
    """A list of rows whose entries may be swept."""
    lengths = [len(row) for row in given]
    if len(set(lengths)) != 1:
        raise ProblemError(name, "must have rows of one length", f"lengths {lengths}", "")
    with within(name):
        named = {
            f"entry{i}_{j}": value(v, axes)
            for i, row in enumerate(given)
            for j, v in enumerate(row)
        }

    def fill(**v: Any) -> list[Any]:
        return [np.array(list(v.values()), dtype=float).reshape(len(lengths), -1)]

    return spread(fill, [core], **named)[0]


@value.register(schema.ScheduleTable)
def _schedule(table: schema.ScheduleTable, _axes: Axes) -> Schedule:
    return Schedule(
        np.asarray(table.times),
        np.asarray(table.values),
        table.interpolation,
        np.asarray(table.kinks),
    )
