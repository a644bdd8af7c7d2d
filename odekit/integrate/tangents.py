"""Derivatives at all points of a sweep by a few numbers, carried along in lanes.

The state and its tangents, the derivatives of the state by every number, are one larger system,
which the engine advances like any other, with the tangents in the error norm. What is not its flow
is differentiated by `differences`: the start, switches, constants of phases, their ends, and what
is read. Points at which anything is in doubt are left out: nothing is said of them here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Flags, Floats, Indices
from odekit.base.interrupts import Asked
from odekit.integrate.differences import Function, Ghosts, slope
from odekit.integrate.endings import Ending, Ends
from odekit.integrate.engine import DONE, RUNNING, WORTH_STEPS, Engine
from odekit.integrate.extended import Extended, Packing, extended
from odekit.integrate.options import SolverOptions
from odekit.integrate.shares import shares, spread
from odekit.problem.axes import Axis
from odekit.problem.points import of_some
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
)


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
        B, m, phases, tasks = self.points.size, self.m, *self.record.end_errors.shape[1:]
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

    def _flow(self, index: int) -> Extended:
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
        state = {"numbers": self.numbers, "counts": self.counts, "times": self.times}
        flow = extended(self.packing, self.ghosts, index, self.at, self.along, state)
        self.left_out |= flow.doubt
        self._integrate_all(index, flow)
        return flow

    def _integrate_all(self, index: int, flow: Extended) -> None:
        """Advance all points by explicit steps; those that ask for anything else are left out."""
        over: Any = self.numbers[:, END] <= flow.begin
        self.counts[over, CODE] = DONE
        worth = WORTH_STEPS * self.points.patience(flow.base)
        limits = self._limits(index, flow.base, flow.batch, worth)
        moves, trains, decays = flow.flags
        corner = max(limits.corner, self.corner) if limits.corner else 0.0
        limits = limits._replace(moves=moves, trains=trains, decays=decays, corner=corner)
        todo = np.flatnonzero(~self.left_out & ~over)
        if corner:
            own = (self.options.atol, self.options.rtol)
            near = self.points.corners(flow.base, flow.batch, *own).near(todo, corner)
            todo = todo[~near]
        fixed = (self._explicit, flow.plan, flow.batch, limits)
        if todo.size:
            self._spread(todo, lambda part: self._advance(*fixed, part))
        if not self._stopped():
            self.left_out |= self.counts[:, CODE] != DONE

    def _durations(self, index: int) -> Floats:
        own = self.points.values(self.problem.phases[index].duration)
        if self.planned is None:
            return np.asarray(own)
        times, hit = self.planned
        begin = times[:, index - 1] if index else 0.0
        return np.asarray(np.where(hit[:, index], times[:, index] - begin, own))

    # ------------------------------------------------------------------------------------- the end

    def _leave(self, index: int, flow: Extended) -> None:
        """Read the rows of a phase, and move its end."""
        frame, whole = self.at[0], flow.batch.y
        n = whole.shape[1] // (1 + self.m)
        self.at = (frame, whole[:, :n])
        self._read_rows(flow)
        tangents = whole[:, n:].reshape(len(whole), self.m, n)
        self._set_tangents(tangents)
        ending = Ending(
            self.packing, self.ghosts, index, flow, self.numbers, self.at, self.along,
            self.planned, self.threads,
        )  # fmt: skip
        if ending.hit.any():
            ending.correct()
        paces = ending.paces()
        if paces.any():
            self._set_tangents(tangents + paces[:, :, np.newaxis] * ending.rates()[:, np.newaxis])
        self.left_out |= ending.doubt
        self.shift = self.shift + paces
        found = self.found
        found.ends[:, index], found.by_end[:, index] = self.numbers[:, TIME], self.shift
        if self.closes:
            self._close_errors(index)

    def _set_tangents(self, tangents: Floats) -> None:
        self.along = [[*along[:-1], tangents[:, j]] for j, along in enumerate(self.along)]

    # ------------------------------------------------------------------------------------- reading

    def _read_rows(self, flow: Extended) -> None:
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
            f = flow.rates(blocks[:, 0], which, since, self.threads)
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

        with np.errstate(all="ignore"):  # threads have their own
            self.found.values[which, row] = read(self.packing, states)
            for j, ghosts in enumerate(self.ghosts):
                own = ghosts._replace(step=of_some(ghosts.step, which))
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
