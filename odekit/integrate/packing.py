"""Schedules in the kernels' form: which constants of a phase they drive."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit_kernels.integrators.batch import Batch, Driven
from odekit_kernels.lanes.memory import firsts


class Reading(NamedTuple):
    """What `registry.errors` takes for the errors of all tasks in the rows of a sweep.

    Attributes
    ----------
    plan : named tuple
        With as many watched tasks; its state is what rows show.
    wiring : named tuple
    constants : ndarray, shape (points or 1, width)
    places : ndarray of int64, shape (width,)
        Where each constant goes in memory.
    """

    plan: Any
    wiring: Any
    constants: Floats
    places: Any


class Drive(NamedTuple):
    """A constant that follows a schedule: base + scale · schedule(t).

    Attributes
    ----------
    entry : int
        Where it stands in a row of constants.
    schedule : Schedule
    scale, base : ndarray, shape (points or 1,)
    """

    entry: int
    schedule: Schedule
    scale: Floats = np.ones(1)
    base: Floats = np.zeros(1)

    def begun(self) -> Floats:
        """Its values as the phase begins, (points or 1,)."""
        return np.asarray(self.base + self.scale * self.schedule(0.0))


def drives_of(places: Mapping[str, Any], given: Mapping[str, Sequence[Any]]) -> list[Drive]:
    """Those that follow schedules among the values of constants.

    Parameters
    ----------
    places : mapping
        Every constant of a phase, in the order of a row (`constants` of the kernels).
    given : mapping
        Values by name, one for each entry of the constant; numbers are passed over.
    """
    first = firsts(places)
    return [
        Drive(first[name] + i, value)
        for name, values in given.items()
        for i, value in enumerate(values)
        if isinstance(value, Schedule)
    ]


def driven(drives: Sequence[Drive]) -> Driven:
    """Constants that follow schedules, as the integrators in lanes take them."""
    if not drives:
        return NOTHING
    tables = list({id(d.schedule): d.schedule for d in drives}.values())
    number = {id(schedule): i for i, schedule in enumerate(tables)}
    drives = sorted(drives, key=lambda d: number[id(d.schedule)])
    pieces = [schedule.pieces for schedule in tables]
    sizes = [len(start) for start, _ in pieces]
    return Driven(
        entry=np.array([d.entry for d in drives], dtype=np.int64),
        table=np.array([number[id(d.schedule)] for d in drives], dtype=np.int64),
        base=_columns([d.base for d in drives]),
        scale=_columns([d.scale for d in drives]),
        first=np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)]).astype(np.int64),
        start=np.concatenate([np.zeros(0), *(start for start, _ in pieces)]),
        coefficients=np.concatenate([np.zeros((0, 4)), *(np.array(c) for _, c in pieces)]),
        last=np.array([schedule.times[-1] for schedule in tables], dtype=float),
        final=np.array([schedule.values[-1] for schedule in tables], dtype=float),
    )


_NONE, _WHICH = np.zeros((1, 0)), np.zeros(0, dtype=np.int64)
NOTHING = Driven(
    entry=_WHICH, table=_WHICH, base=_NONE, scale=_NONE, first=np.zeros(1, dtype=np.int64),
    start=np.zeros(0), coefficients=np.zeros((0, 4)), last=np.zeros(0), final=np.zeros(0),
)  # fmt: skip
"""Of phases in which nothing moves: most phases."""


def begun(rows: Floats, drives: Sequence[Drive]) -> Floats:
    """Rows of constants with those that are driven as the phase begins."""
    if not drives:
        return rows
    first = [drive.begun() for drive in drives]
    many = max([len(rows), *map(len, first)])
    rows = np.array(np.broadcast_to(rows, (many, rows.shape[1])))
    for drive, values in zip(drives, first, strict=True):
        rows[:, drive.entry] = values
    return rows


def row_at(batch: Batch, i: int, since: float) -> Floats:
    """Constants of a trajectory at a time since the phase began, as its lane has them then."""
    row: Floats = rows_at(batch, np.array([i]), np.array([since]))[0]
    return row


def rows_at(batch: Batch, which: Any, since: Floats) -> Floats:
    """The same of trajectories `which`, each at a time of its own, (times, width)."""
    d, rows = batch.driven, np.array(_some(batch.constants, which))
    rows = np.array(np.broadcast_to(rows, (len(which), rows.shape[1])))
    base, scale = _some(d.base, which), _some(d.scale, which)
    for k in range(len(d.last)):
        value = _table_at(d, k, since)
        for j in np.flatnonzero(d.table == k):
            rows[:, d.entry[j]] = base[:, j] + scale[:, j] * value
    return rows


def _some(rows: Floats, which: Any) -> Floats:
    return rows[which] if len(rows) > 1 else rows


def _table_at(d: Driven, k: int, since: Floats) -> Floats:
    """Values of a table at times since the phase began."""
    own = slice(d.first[k], d.first[k + 1])
    piece = np.maximum(np.searchsorted(d.start[own], since, side="right") - 1, 0)
    x = np.maximum(since - d.start[own][piece], 0.0)
    value = np.maximum(np.polyval(d.coefficients[own][piece].T, x), 0.0)
    return np.asarray(np.where(since < d.last[k], value, d.final[k]))


def _columns(columns: Sequence[Floats]) -> Floats:
    """Values (points or 1,) side by side: a row for each point, or one for all."""
    size = max((len(x) for x in columns), default=1)
    found = np.zeros((size, len(columns)))
    for j, column in enumerate(columns):
        found[:, j] = column
    return found
