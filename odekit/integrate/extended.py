"""A phase of a sweep as one larger system: the state and its tangents, as the kernels take them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Flags, Floats, Indices
from odekit.integrate.differences import STEP, Ghosts, slope
from odekit.integrate.engine import needs
from odekit.integrate.packing import rows_at
from odekit.integrate.shares import shares, spread
from odekit.integrate.tableaus import most_stages
from odekit.problem.points import side_by_side
from odekit_kernels.integrators.batch import BEGIN, ROW, Batch, Driven
from odekit_kernels.integrators.rows import rates_of_rows
from odekit_kernels.integrators.tangents import with_tangents
from odekit_kernels.lanes.memory import make_memory

if TYPE_CHECKING:
    from odekit.problem.phase import Phase

METHOD = "DOP853"
_NONE = np.zeros((0, 0))


class OutOfReach(Exception):
    """Equations that cannot be written out, or ghosts that are packed in another way."""


class Packing(NamedTuple):
    """A sweep, or a ghost of it, whose phases end by their durations alone.

    Attributes
    ----------
    points : Points
    phases : sequence of Phase
        Those with the thresholds.
    """

    points: Any
    phases: Sequence[Phase]


class Extended(NamedTuple):
    """The larger system of a phase.

    Attributes
    ----------
    base, plan : named tuples
        Plans without tangents and with them.
    wiring : named tuple
        That of the plan without.
    width : int
        Constants of it.
    batch : Batch
    flags : tuple of bool
        What the equations have: see `needs`.
    begin : ndarray, shape (points,)
    first : ndarray of int64, shape (points,)
        Rows that were there as it began.
    doubt : ndarray of bool, shape (points or 1,)
        Where derivatives of constants are in doubt.
    """

    base: Any
    plan: Any
    wiring: Any
    width: int
    batch: Batch
    flags: tuple[bool, bool, bool]
    begin: Floats
    first: Indices
    doubt: Flags

    def constants(self, which: Indices, since: Floats) -> tuple[Floats, Indices]:
        """Rows of constants at times since the phase began, and which is each point's."""
        if not self.batch.driven.entry.size:
            return self.batch.constants, which
        return rows_at(self.batch, which, since), np.arange(len(which))

    def rates(self, y: Floats, which: Indices, since: Floats, threads: int) -> Floats:
        """Time derivatives of states (N, n) of points `which`, without tangents."""
        constants, own = self.constants(which, since)
        return self._rates(y, constants[:, : self.width], own, threads)

    def rates_along(
        self, y: Floats, tangents: Floats, j: int, since: Floats, threads: int
    ) -> Floats:
        """Those of the tangents (points, n) by number j, good to some 1e-6."""
        which, width = np.arange(len(y)), self.width
        constants = rows_at(self.batch, which, since)
        own, by = constants[:, :width], constants[:, (1 + j) * width : (2 + j) * width]
        step = STEP / np.maximum(1.0, np.abs(tangents).max(axis=1, keepdims=True))
        above, below = (
            self._rates(y + h * tangents, own + h * by, which, threads) for h in (step, -step)
        )
        return np.asarray((above - below) / (2.0 * step))

    def _rates(self, y: Floats, constants: Floats, which: Indices, threads: int) -> Floats:
        out, own = np.empty(y.shape), np.ascontiguousarray(constants)
        places = self.batch.places[: self.width]

        def fill(part: slice) -> None:
            memory, some = make_memory(self.base.size), np.ascontiguousarray(y[part])
            fixed = (memory, self.base, self.wiring, some, own, places, which[part])
            rates_of_rows(*fixed, *self.flags, out[part])

        spread(fill, shares(len(y), 8 * y.shape[1], threads), threads)
        return out


def extended(
    packing: Packing,
    ghosts: Sequence[Ghosts],
    index: int,
    at: tuple[Any, Floats],
    along: Sequence[Sequence[Floats]],
    state: Mapping[str, Any],
) -> Extended:
    """The larger system of a phase.

    Parameters
    ----------
    at : tuple
        Frame and states (points, n) as it begins.
    along : sequence
        Derivatives of their arrays, for each number.
    state : mapping
        Numbers, counts and times of the batch.

    Raises
    ------
    OutOfReach
    """
    (frame, y), points, m = at, packing.points, len(ghosts)
    plan = points.plan(points.problem.phases[index], frame)
    tangents = [np.broadcast_to(part[-1], y.shape) for part in along]
    whole = np.ascontiguousarray(np.concatenate([y, *tangents], axis=1))
    rows = np.empty((len(y), state["times"].size, whole.shape[1]))
    given = {**state, "y": whole, "rows": rows}
    own: Batch = points.batch(index, frame, plan, **given)

    def constants(p: Packing, nest: Any) -> Any:
        ghost = p.points.batch(index, nest[0], plan, **given)
        same = p.points.plan(p.points.problem.phases[index], nest[0]) == plan
        # Tables themselves must not move: only what they are multiplied by is differentiated.
        tables = (_tables(batch.driven) for batch in (ghost, own))
        if not same or not _alike(ghost.wiring, own.wiring) or not _alike(*tables):
            raise OutOfReach
        return ghost.constants, ghost.driven.base, ghost.driven.scale

    slopes = [
        slope(constants, packing, (frame,), ghosts=of, along=parts[:-1])
        for of, parts in zip(ghosts, along, strict=True)
    ]
    flags = _needs(packing, ghosts, index)
    made = with_tangents(plan, own.wiring, own.places, m, most_stages(METHOD), *flags)
    if made is None:
        raise OutOfReach
    by_number, bases, scales = zip(*(found.parts for found in slopes), strict=True)
    batch = own._replace(
        constants=side_by_side([own.constants, *by_number]),
        places=np.concatenate([own.places, made.places.ravel()]),
        shown=np.arange(whole.shape[1]),
        wiring=made.wire(own.wiring),
        driven=_driven(own.driven, bases, scales, own.places.size),
        lands=True,
    )
    doubt = np.logical_or.reduce([np.broadcast_to(f.doubt, len(y)) for f in slopes])
    begin, first = state["numbers"][:, BEGIN].copy(), state["counts"][:, ROW].copy()
    fixed = (plan, made.plan, own.wiring, own.places.size)
    return Extended(*fixed, batch, flags, begin, first, doubt)


def _needs(packing: Packing, ghosts: Sequence[Ghosts], index: int) -> tuple[bool, bool, bool]:
    """What the equations have, with what a number that is 0 here would bring in."""
    every = [packing, *(p for one in ghosts for p in one.points.values())]
    found = [any(flag) for flag in zip(*(needs(p.phases[index]) for p in every), strict=True)]
    return found[0], found[1], found[2]


def _driven(own: Driven, bases: Sequence[Floats], scales: Sequence[Floats], width: int) -> Driven:
    """Constants that follow tables, with their derivatives after them."""
    count = 1 + len(bases)
    entry = np.concatenate([own.entry + j * width for j in range(count)])
    table = np.tile(own.table, count)
    order = np.argsort(table, kind="stable")
    base, scale = (
        np.ascontiguousarray(side_by_side([first, *rest])[:, order])
        for first, rest in ((own.base, bases), (own.scale, scales))
    )
    return own._replace(entry=entry[order], table=table[order], base=base, scale=scale)


def _tables(driven: Driven) -> tuple[Any, ...]:
    """All of them but the numbers that each trajectory has of its own."""
    return tuple(driven._replace(base=_NONE, scale=_NONE))


def _alike(one: Any, other: Any) -> bool:
    """Whether what trajectories share is the same."""
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
