"""Noise through the phases of a problem: what is copied, and phases that end at random times.

A consolidation freezes the units as they are, with the noise that they have: the state at that time
is remembered as numbers of its own, on which the later equations depend. After a threshold every
time of a phase is random too, and its shift τ is the last of these numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.status import Outcome
from odekit.dynamics.noise import Noise, follow
from odekit.problem.schedule import Schedule

STEP = 1e-5


class PhaseFlow:
    """Equations of a phase, and how they change with what is remembered.

    Parameters
    ----------
    points : Points
        Packing of a problem with plain numbers.
    noise : Any
        What its system says of jumps (`odekit.problem.system.System.noise`).
    index : int
        Which phase.
    memories : sequence of (int, ndarray)
        Phases that began with copies, and the states that were copied.
    begin : float
    """

    def __init__(
        self,
        points: Any,
        noise: Any,
        index: int,
        memories: Sequence[tuple[int, Floats]],
        begin: float,
    ) -> None:
        self.points, self.noise, self.index, self.begin = points, noise, index, begin
        self.phase = points.problem.phases[index]
        self.memories = memories
        self.frame = self._frame([s for _, s in memories])
        self.equations = points.equations(index, self.frame, begin)
        self.scatters = noise.scatter(points, index, self.frame)
        self.moving = bool(self.phase.schedules)
        self.end = begin
        self._near = [
            (self._displaced_equations(c, i, STEP), self._displaced_equations(c, i, -STEP))
            for c, (_, s) in enumerate(memories)
            for i in range(s.size)
        ]

    @property
    def remembered(self) -> int:
        """How many numbers are remembered, τ not among them."""
        return sum(s.size for _, s in self.memories)

    def _frame(self, states: Sequence[Floats]) -> Any:
        frame, _ = self.points.start()
        for (index, _), state in zip(self.memories, states, strict=True):
            frame, _ = self.points.enter(index, frame, state[np.newaxis])
        return frame

    def _displaced_equations(self, c: int, i: int, step: float) -> Any:
        states = [s.copy() for _, s in self.memories]
        states[c][i] += step
        return self.points.equations(self.index, self._frame(states), self.begin)

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative of the state."""
        return np.asarray(self.equations.rhs(t, y))

    def jac(self, t: float, y: Floats) -> Floats:
        """Its Jacobian."""
        return np.asarray(self.equations.jac(t, y))

    def whole(self, t: float, y: Floats) -> Floats:
        """Derivatives by the state, by what is remembered, and by τ."""
        columns = [
            (ahead.rhs(t, y) - behind.rhs(t, y)) / (2.0 * STEP) for ahead, behind in self._near
        ]
        return np.column_stack([self.jac(t, y), *columns, -self.by_time(t, y)])

    def displaced(self, t: float, y: Floats, step: Floats) -> Floats:
        """`rhs` with the state and what is remembered displaced."""
        n, equations = y.size, self.equations
        if self.memories and np.any(step[n:-1]):
            cuts = np.cumsum([s.size for _, s in self.memories])[:-1]
            parts = np.split(step[n:-1], cuts)
            states = [s + d for (_, s), d in zip(self.memories, parts, strict=True)]
            equations = self.points.equations(self.index, self._frame(states), self.begin)
        return np.asarray(equations.rhs(t - step[-1] if self.moving else t, y + step[:n]))

    def scatter(self, t: float, y: Floats) -> tuple[Floats, Floats]:
        """Covariance of a jump and its drift."""
        since = t - self.begin
        eta_w, eta_v = (
            float(rate(since) if isinstance(rate, Schedule) else rate) for rate in self.phase.rates
        )
        found = self.scatters(y, (eta_w, eta_v), since)
        return found.B, found.drift

    def by_time(self, t: float, y: Floats) -> Floats:
        """Partial derivative by time: of what follows schedules."""
        if not self.moving:
            return np.zeros_like(y)
        h = 1e-6 * max(self.end - self.begin, 1e-300)
        t = min(max(t, self.begin + h), self.end - h)
        return np.asarray((self.rhs(t + h, y) - self.rhs(t - h, y)) / (2.0 * h))


class Stops:
    """When the phases of a run ended, and by what.

    Parameters
    ----------
    ends : ndarray, shape (phases,)
        Times; NaN where the run did not come.
    outcomes : ndarray of int, shape (phases,)
    """

    def __init__(self, ends: Floats, outcomes: Any) -> None:
        self.ends = np.asarray(ends, dtype=float)
        self.by_threshold = np.asarray(outcomes) == Outcome.THRESHOLD


def noise_of(
    points: Any, noise: Any, stops: Stops, rows: Floats, gradient: Callable[..., Floats]
) -> Iterator[tuple[int, PhaseFlow, Noise]]:
    """Noise at every row that a run reached: the row's index, the phase's flow, and the noise.

    `gradient` is that, by the state, of the error which ended a phase by its threshold.
    """
    _, y = points.start()
    at = Noise(y[0], np.zeros((y.shape[1] + 1,) * 2), np.zeros(y.shape[1] + 1))
    memories: list[tuple[int, Floats]] = []
    begin, last, clock = 0.0, None, None
    for index, phase in enumerate(points.problem.phases):
        end = stops.ends[index]
        if not np.isfinite(end):
            return
        copied = getattr(phase, "consolidation", None) is not None
        if copied:
            memories = [*memories, (index, at.y.copy())]
        flow = PhaseFlow(points, noise, index, memories, begin)
        flow.end = end
        at = _enter(at, flow, copied, (last, clock, begin))
        if index == 0 and rows.size and rows[0] == 0.0:
            yield 0, flow, at
        where = np.flatnonzero((rows > begin) & (rows <= end))
        for span in _pieces(flow.equations.breaks, begin, end):
            inside = where[(rows[where] > span[0]) & (rows[where] <= span[1])]
            found, at = follow(flow, span, at, rows[inside])
            yield from ((int(i), flow, one) for i, one in zip(inside, found, strict=True))
        last, clock = flow, _clock(flow, at, end, gradient) if stops.by_threshold[index] else None
        begin = end


def _pieces(breaks: Sequence[float], begin: float, end: float) -> list[tuple[float, float]]:
    """Smooth pieces of a phase."""
    cuts = [begin, *(b for b in breaks if begin < b < end), end]
    return [(a, b) for a, b in pairwise(cuts) if b > a]


def _clock(flow: PhaseFlow, at: Noise, end: float, gradient: Callable[..., Floats]) -> Floats:
    """How the end of a phase moves with all that its noise depends on."""
    slope = gradient(flow, at.y)
    found = np.zeros(len(at.m))
    found[: at.y.size] = -slope / (slope @ flow.rhs(end, at.y))
    return found


def _enter(at: Noise, flow: PhaseFlow, copied: bool, before: Any) -> Noise:
    """State and noise as a phase begins.

    The clock says by how much the switch comes later; meanwhile the old equations go on, and the
    new ones do not.
    """
    last, clock, begin = before  # of the phase before; None in the first
    n, size = at.y.size, len(at.m)
    places = flow.noise.places(flow.points, flow.index, n)
    y = at.y[places]
    # What was remembered first stands first, τ last.
    order = [*places, *range(n, size - 1), *(range(n) if copied else ()), size - 1]
    G = np.eye(size)
    late = np.eye(size)[-1] if clock is None else clock
    if last is not None:
        G[:n] += np.outer(last.rhs(begin, at.y), late)
        G[-1] = late
    E = G[order]
    if last is not None:
        E[: y.size] -= np.outer(flow.rhs(begin, y), late)
    m = E @ at.m if clock is None else np.full(len(E), np.nan)
    return Noise(y, E @ at.S @ E.T, m)
