"""Derivatives at all points of a sweep by a few numbers, carried along in lanes.

The state and its tangents, the derivatives of the state by every number, are one larger system,
which the engine advances like any other, with the tangents in the error norm. What is not its flow
is differentiated by `differences`: the start, switches, constants of phases, their ends, and what
is read. Points at which anything is in doubt are left out: nothing is said of them here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Flags, Floats, Indices
from odekit.base.interrupts import Asked
from odekit.integrate.differences import STEP, Function, Ghosts, parts_of, slope
from odekit.integrate.engine import DONE, RUNNING, WORTH_STEPS, Engine, needs
from odekit.integrate.options import SolverOptions
from odekit.integrate.packing import rows_at
from odekit.integrate.shares import shares, spread
from odekit.integrate.tableaus import most_stages
from odekit.problem.axes import Axis
from odekit.problem.points import side_by_side
from odekit_kernels.integrators.batch import (
    CODE,
    CRAWLS,
    EASY,
    END,
    QUIET,
    ROW,
    STEPS,
    STIFF,
    TIME,
    WAITS,
    Batch,
    Driven,
)
from odekit_kernels.integrators.rows import rates_of_rows
from odekit_kernels.integrators.stepping import Limits
from odekit_kernels.integrators.tangents import with_tangents
from odekit_kernels.lanes.memory import make_memory

if TYPE_CHECKING:
    from odekit.problem.phase import Phase

METHOD = "DOP853"
LATE = 1e-5
"""Distance of the state, from the threshold at which a phase ends, that one step of a Taylor series
may bridge: it leaves the square of that."""


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


class Ends(NamedTuple):
    """When phases end that may do so by a threshold.

    Attributes
    ----------
    times : ndarray, shape (points, phases)
        NaN of points that do not reach their end. Good to what dense output is; they are
        corrected.
    hit : ndarray of bool, shape (points, phases)
        Whether by the threshold.
    """

    times: Floats
    hit: Flags


@dataclass
class Carried:
    """What was found; of points that were left out, anything.

    Attributes
    ----------
    values, slopes : ndarray, shapes (points, rows or 1, q) and (points, rows or 1, q, m)
        Of what is read at the times of rows, or at the end.
    ends, by_end : ndarray, shapes (points, phases) and (points, phases, m)
    end_errors, by_end_error : ndarray, shapes (points, phases, W) and (points, phases, W, m)
        Where they were asked for, else 0.
    steps : ndarray of int64, shape (points,)
    left_out, stopped : ndarray of bool, shape (points,)
        Of no derivative here, and not reached since all was to stop.
    """

    values: Floats
    slopes: Floats
    ends: Floats
    by_end: Floats
    end_errors: Floats
    by_end_error: Floats
    steps: Indices
    left_out: Flags
    stopped: Flags


class Flow(NamedTuple):
    """A phase of the larger system.

    Attributes
    ----------
    base, plan : named tuples
        Plans without tangents and with them.
    wiring : named tuple
        That of the plan without.
    width : int
        Constants of it.
    batch : Batch
    limits : Limits
    begin : ndarray, shape (points,)
    first : ndarray of int64, shape (points,)
        Rows that were there as it began.
    """

    base: Any
    plan: Any
    wiring: Any
    width: int
    batch: Batch
    limits: Limits
    begin: Floats
    first: Indices


class Tangents(Engine):
    """All points of a sweep with their derivatives, advanced phase by phase.

    Parameters
    ----------
    packing : Packing
    ghosts : sequence of Ghosts
        Of packings, for every number.
    found, options, times, threads, interrupts
        As of `Engine`; without times all is read at the end, wherever that moves.
    read : callable
        What is read of visible states (N, n) of points `which` (N,): `read(points, states, which)`,
        (N, q).
    closes : bool
        Whether errors at the ends of phases are asked for.
    ends : Ends, optional
    corner : float
        Size of entries at which derivatives may jump, below which points are left out.

    Raises
    ------
    OutOfReach
    """

    def __init__(
        self,
        packing: Packing,
        ghosts: Sequence[Ghosts],
        found: dict[str, Axis],
        options: SolverOptions,
        times: Floats,
        threads: int,
        interrupts: Asked,
        *,
        read: Callable[[Any, Floats, Indices], Floats],
        closes: bool,
        ends: Ends | None = None,
        corner: float = 0.0,
    ) -> None:
        problem = packing.points.problem
        super().__init__(problem, found, options, times, threads, interrupts, packing.points)
        self.packing, self.ghosts, self.reading_of, self.closes = packing, ghosts, read, closes
        self.planned, self.corner = ends, corner
        self.m = len(ghosts)

    def carried(self) -> Carried:
        """Go through all phases."""
        with np.errstate(all="ignore"):  # points that were left out may hold anything
            return self._carried()

    def _carried(self) -> Carried:
        B, phases, tasks, m = (
            self.points.size,
            len(self.problem.phases),
            len(self.points.tasks),
            self.m,
        )
        self.left_out = np.zeros(B, dtype=bool)
        if self.planned is not None:
            self.left_out |= ~np.isfinite(self.planned.times).all(axis=1)
        self.at = self.points.start()
        self.along = [self._slope(lambda p, _: p.points.start(), (), j) for j in range(m)]
        self.shift = np.zeros((B, m))
        everyone = np.arange(B)
        shown = self._visible(everyone)
        q = self.reading_of(self.points, shown[0][:1], everyone[:1]).shape[1]
        rows = max(self.times.size, 1)
        self.found = Carried(
            np.full((B, rows, q), np.nan), np.full((B, rows, q, m), np.nan),
            np.zeros((B, phases)), np.zeros((B, phases, m)),
            np.zeros((B, phases, tasks)), np.zeros((B, phases, tasks, m)),
            np.zeros(B, dtype=np.int64), self.left_out, np.zeros(B, dtype=bool),
        )  # fmt: skip
        if self.times.size and self.times[0] == 0.0:
            self._read(everyone, np.zeros_like(everyone), *shown)
            self.counts[:, ROW] = 1
        for index in range(phases):
            flow = self._flow(index)
            if self._stopped():
                self.found.stopped[:] = True
                return self.found
            self._leave(index, flow)
        if not self.times.size:
            self._read(everyone, np.zeros_like(everyone), *self._visible(everyone))
        self.found.steps[:] = self.counts[:, STEPS]
        return self.found

    def _slope(
        self, function: Function, given: Any, j: int | None, along: Any = None, used: Any = True
    ) -> list[Floats]:
        """Derivatives by number j, or by none; points in doubt that use them are left out."""
        ghosts = None if j is None else self.ghosts[j]
        found = slope(function, self.packing, given, ghosts=ghosts, along=along)
        self.left_out |= found.doubt & used
        return found.parts

    def _visible(self, which: Indices) -> tuple[Floats, Floats]:
        """What rows show of the state that all are in, and of its tangents (points, m, n)."""
        (frame, y), B = self.at, self.points.size
        shown = self.points.shown(frame)
        tangents = [np.broadcast_to(along[-1], (B, y.shape[1])) for along in self.along]
        return y[which][:, shown], np.stack(tangents, axis=1)[which][:, :, shown]

    # ------------------------------------------------------------------------------------ the flow

    def _flow(self, index: int) -> Flow:
        """Begin a phase, and integrate it."""

        def enter(p: Packing, at: Any) -> Any:
            return p.points.enter(index, *at)

        entered = enter(self.packing, self.at)
        self.along = [self._slope(enter, self.at, j, self.along[j]) for j in range(self.m)]
        self.at = entered
        begin = self.numbers[:, TIME].copy()
        first = np.zeros_like(begin)
        ends = begin + self._durations(index)
        self.numbers = np.stack([begin, begin, ends, first, first - np.inf], axis=1)
        self.counts[:, CODE] = RUNNING
        self.counts[:, [WAITS, CRAWLS, STIFF, EASY, QUIET]] = 0
        flow = self._built(index, begin)
        over: Any = self.numbers[:, END] <= begin
        self.counts[over, CODE] = DONE
        todo = np.flatnonzero(~self.left_out & ~over)
        todo = todo[~self._near_corner(flow, todo)]
        self._spread(
            todo,
            lambda part: self._advance(self._explicit, flow.plan, flow.batch, flow.limits, part),
        )
        if not self._stopped():
            self.left_out |= self.counts[:, CODE] != DONE
        return flow

    def _durations(self, index: int) -> Floats:
        own = self.points.values(self.problem.phases[index].duration)
        if self.planned is None:
            return own
        times, hit = self.planned
        begin = times[:, index - 1] if index else 0.0
        return np.where(hit[:, index], times[:, index] - begin, own)

    def _built(self, index: int, begin: Floats) -> Flow:
        """The larger system of a phase."""
        (frame, y), phase, m = self.at, self.problem.phases[index], self.m
        plan = self.points.plan(phase, frame)
        tangents = [np.broadcast_to(along[-1], y.shape) for along in self.along]
        whole = np.ascontiguousarray(np.concatenate([y, *tangents], axis=1))
        rows = np.empty((len(y), self.times.size, whole.shape[1]))
        state = {"y": whole, "numbers": self.numbers, "counts": self.counts,
                 "times": self.times, "rows": rows}  # fmt: skip
        own: Batch = self.points.batch(index, frame, plan, **state)

        def constants(p: Packing, at: Any) -> Any:
            ghost = p.points.batch(index, at[0], plan, **state)
            same = p.points.plan(p.points.problem.phases[index], at[0]) == plan
            if not same or not _alike(ghost.wiring, own.wiring):
                raise OutOfReach
            return ghost.constants, ghost.driven.base, ghost.driven.scale

        slopes = [self._slope(constants, (frame,), j, self.along[j][:-1]) for j in range(m)]
        flags = self._needs(index)
        stages = most_stages(METHOD)
        made = with_tangents(plan, own.wiring, own.places, m, stages, *flags)
        if made is None:
            raise OutOfReach
        by_number, bases, scales = zip(*slopes, strict=True)
        batch = own._replace(
            constants=side_by_side([own.constants, *by_number]),
            places=np.concatenate([own.places, made.places.ravel()]),
            shown=np.arange(whole.shape[1]),
            wiring=made.wire(own.wiring),
            driven=_driven(own.driven, bases, scales, own.places.size),
            lands=True,
        )
        worth = WORTH_STEPS * self.points.patience(plan)
        limits = self._limits(index, plan, batch, worth)
        moves, trains, decays = flags
        limits = limits._replace(
            moves=moves, trains=trains, decays=decays,
            corner=max(limits.corner, self.corner) if limits.corner else 0.0,
        )  # fmt: skip
        fixed = (plan, made.plan, own.wiring, own.places.size)
        return Flow(*fixed, batch, limits, begin, self.counts[:, ROW].copy())

    def _needs(self, index: int) -> tuple[bool, bool, bool]:
        """What the equations have, with what a number that is 0 here would bring in."""
        every = [self.packing, *(p for ghosts in self.ghosts for p in ghosts.points.values())]
        moves, trains, decays = (
            any(f) for f in zip(*(needs(p.phases[index]) for p in every), strict=True)
        )
        return moves, trains, decays

    def _near_corner(self, flow: Flow, todo: Indices) -> Any:
        if not flow.limits.corner:
            return np.zeros(todo.size, dtype=bool)
        corners = self.points.corners(flow.base, flow.batch, self.options.atol, self.options.rtol)
        return corners.near(todo, flow.limits.corner)

    # ------------------------------------------------------------------------------------- the end

    def _leave(self, index: int, flow: Flow) -> None:
        """Read the rows of a phase, and move its end."""
        (frame, _), B, m = self.at, self.points.size, self.m
        whole = flow.batch.y
        n = whole.shape[1] // (1 + m)
        self.at = (frame, whole[:, :n])
        self._read_rows(flow)
        if self.packing.phases[index].thresholds:
            self._correct(index, flow)
        tangents = whole[:, n:].reshape(B, m, n)
        self._set_tangents(tangents)
        paces = self._paces(index, flow)
        if paces.any():
            f = self._rates(flow)
            tangents = tangents + paces[:, :, np.newaxis] * f[:, np.newaxis]
            self._set_tangents(tangents)
        self.shift = self.shift + paces
        found = self.found
        found.ends[:, index], found.by_end[:, index] = self.numbers[:, TIME], self.shift
        if self.closes:
            self._close_errors(index)

    def _set_tangents(self, tangents: Floats) -> None:
        self.along = [[*along[:-1], tangents[:, j]] for j, along in enumerate(self.along)]

    def _watched(self, index: int) -> Function:
        """Errors and thresholds of a phase."""
        tasks = self.points.watched(self.packing.phases[index])

        def watched(p: Packing, at: Any) -> Any:
            return p.points.errors(at[1], tasks, at[0]), p.points.levels(p.phases[index])

        return watched

    def _hit(self, index: int) -> Any:
        """Which points end a phase by its threshold, after it began."""
        assert self.planned is not None
        begin = self.numbers[:, 1]
        return self.planned.hit[:, index] & (self.numbers[:, END] > begin) & ~self.left_out

    def _falls(self, index: int, flow: Flow) -> tuple[Floats, Indices, Floats]:
        """How far off the last threshold to be reached is, which it is, and its pace."""
        watched = self._watched(index)
        errors, levels = watched(self.packing, self.at)
        last = np.argmax(errors / levels, axis=1)
        still = [np.zeros_like(part) for part in parts_of(self.at)[:-1]]
        rates = self._rates(flow)
        slopes, _ = self._slope(watched, self.at, None, [*still, rates], self._hit(index))
        slopes = np.broadcast_to(slopes, errors.shape)
        off = np.broadcast_to(errors - levels, errors.shape)
        return _picked(off, last), last, _picked(slopes, last)

    def _correct(self, index: int, flow: Flow) -> None:
        """Go to the threshold, from where the dense output of another run saw it."""
        hit, (off, _, falls), rates = self._hit(index), self._falls(index, flow), self._rates(flow)
        late = off / falls
        far = np.abs(late) * np.abs(rates).max(axis=1)
        near = far <= LATE * (1.0 + np.abs(self.at[1]).max(axis=1))
        self.left_out |= hit & ~near
        late = np.where(hit & near, late, 0.0)
        tangents = [self._tangent_rates(flow, j) for j in range(self.m)]
        moved = late[:, np.newaxis] * np.concatenate([rates, *tangents], axis=1)
        flow.batch.y[:] -= np.where(late[:, np.newaxis] != 0.0, moved, 0.0)
        self.numbers[:, TIME] -= late

    def _paces(self, index: int, flow: Flow) -> Floats:
        """Derivatives of a phase's length, (points, m)."""
        B = self.points.size
        thresholds = bool(self.packing.phases[index].thresholds)
        hit = self.planned.hit[:, index] if thresholds and self.planned else np.zeros(B, dtype=bool)

        def duration(p: Packing, _: Any) -> Any:
            return p.points.values(p.phases[index].duration)

        found = np.zeros((B, self.m))
        for j in range(self.m):
            found[:, j] = self._slope(duration, (), j, used=~hit)[0]
        found[hit] = 0.0
        moved = self._hit(index) if hit.any() else hit
        if moved.any():
            watched, (_, last, falls) = self._watched(index), self._falls(index, flow)
            for j in range(self.m):
                errors, levels = self._slope(watched, self.at, j, self.along[j], moved)
                off = np.broadcast_to(levels - errors, (B, errors.shape[1]))
                found[moved, j] = (_picked(off, last) / falls)[moved]
            self.left_out |= ~np.isfinite(found).all(axis=1)
        return found

    def _rates(self, flow: Flow, which: Any = None, since: Any = None, y: Any = None) -> Floats:
        """Time derivatives of the state where a phase ends, or at states y of points `which`."""
        if which is None:
            which, since, y = np.arange(len(flow.batch.y)), self._since(flow), self.at[1]
        constants = flow.batch.constants
        if flow.batch.driven.entry.size:
            constants, which = rows_at(flow.batch, which, since), np.arange(len(which))
        return self._rates_of(flow, y, constants[:, : flow.width], which)

    def _tangent_rates(self, flow: Flow, j: int) -> Floats:
        """Those of the tangents by number j where a phase ends, good to some 1e-6."""
        y, tangents = self.at[1], self.along[j][-1]
        which, width = np.arange(len(y)), flow.width
        constants = rows_at(flow.batch, which, self._since(flow))
        own, by = constants[:, :width], constants[:, (1 + j) * width : (2 + j) * width]
        step = STEP / np.maximum(1.0, np.abs(tangents).max(axis=1, keepdims=True))
        above, below = (
            self._rates_of(flow, y + h * tangents, own + h * by, which) for h in (step, -step)
        )
        return (above - below) / (2.0 * step)

    def _since(self, flow: Flow) -> Floats:
        found: Floats = self.numbers[:, TIME] - flow.begin
        return found

    def _rates_of(self, flow: Flow, y: Floats, constants: Floats, which: Indices) -> Floats:
        plan, out, own = flow.base, np.empty(y.shape), np.ascontiguousarray(constants)
        flags = (flow.limits.moves, flow.limits.trains, flow.limits.decays)
        places = flow.batch.places[: flow.width]

        def fill(part: slice) -> None:
            some = np.ascontiguousarray(y[part])
            fixed = (make_memory(plan.size), plan, flow.wiring, some, own, places, which[part])
            rates_of_rows(*fixed, *flags, out[part])

        spread(fill, shares(len(y), 8 * y.shape[1], self.threads), self.threads)
        return out

    # ------------------------------------------------------------------------------------- reading

    def _read_rows(self, flow: Flow) -> None:
        """Rows that a phase has written, at fixed times of the run."""
        every, reached = np.arange(self.times.size), self.counts[:, ROW]
        inside = (every >= flow.first[:, np.newaxis]) & (every < reached[:, np.newaxis])
        which, row = np.nonzero(inside & ~self.left_out[:, np.newaxis])
        if not which.size:
            return
        n = self.at[1].shape[1]
        states, shown = flow.batch.rows[which, row], self.points.shown(self.at[0])
        blocks = states.reshape(len(states), 1 + self.m, n)
        if self.shift[which].any():
            since = self.times[row] - flow.begin[which]
            f = self._rates(flow, which, since, blocks[:, 0])
            blocks[:, 1:] -= self.shift[which][:, :, np.newaxis] * f[:, np.newaxis]
        self._read(which, row, blocks[:, 0, shown], blocks[:, 1:, shown])

    def _read(self, which: Indices, row: Indices, states: Floats, tangents: Floats) -> None:
        """Values and slopes of visible states (N, n) and tangents (N, m, n), on all threads."""

        def fill(part: slice) -> None:
            self._read_some(which[part], row[part], states[part], tangents[part])

        each = 8 * states.shape[1] * (1 + self.m)
        spread(fill, shares(len(states), each, self.threads), self.threads)

    def _read_some(self, which: Indices, row: Indices, states: Floats, tangents: Floats) -> None:
        def read(p: Packing, given: Any) -> Any:
            return self.reading_of(p.points, given, which)

        self.found.values[which, row] = read(self.packing, states)
        for j, ghosts in enumerate(self.ghosts):
            own = ghosts._replace(step=ghosts.step[which] if len(ghosts.step) > 1 else ghosts.step)
            found = slope(read, self.packing, states, ghosts=own, along=[tangents[:, j]])
            self.found.slopes[which, row, :, j] = found.parts[0]
            self.left_out[which[np.broadcast_to(found.doubt, which.shape)]] = True

    def _close_errors(self, index: int) -> None:
        """Errors of all tasks at the end of a phase, wherever that moves."""
        shown = self.points.shown(self.at[0])

        def errors(p: Packing, y: Any) -> Any:
            return p.points.errors(np.ascontiguousarray(y[:, shown]))

        y = self.at[1]
        self.found.end_errors[:, index] = errors(self.packing, y)
        for j, along in enumerate(self.along):
            self.found.by_end_error[:, index, :, j] = self._slope(errors, y, j, along[-1:])[0]


def _picked(values: Floats, which: Indices) -> Floats:
    return np.take_along_axis(values, which[:, np.newaxis], axis=1)[:, 0]


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


def _alike(one: Any, other: Any) -> bool:
    """Whether what trajectories share is the same."""
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
