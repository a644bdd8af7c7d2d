"""The equations of one phase of one committee, as functions of time and state."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.points import one_of
from odekit.problem.schedule import Schedule
from odekit.problem.system import Exact, Walk, Walked
from odekit.systems.committee.rates import as_rate
from odekit.systems.committee.zero import UnitsAtZero
from odekit_kernels.committee import explicit, groups
from odekit_kernels.committee.activations import RELU
from odekit_kernels.committee.codes import code_of
from odekit_kernels.committee.inputs import Inputs
from odekit_kernels.committee.one import errors, jacobian, make_work
from odekit_kernels.committee.quadrature.nodes import covariances
from odekit_kernels.committee.quadrature.nodes import jacobian as differences
from odekit_kernels.committee.reverse import prepare, pull
from odekit_kernels.committee.tape import Watch, make_slopes, make_tape
from odekit_kernels.integrators.runge_kutta import Pair
from odekit_kernels.integrators.tables import Rate

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.committeestate import Frame
    from odekit.systems.committee.points import CommitteePoints
    from odekit_kernels.committee.one import Committee

LARGE = 500
"""A state of more numbers takes so long that steps are to be stopped between their stages."""

NONE = np.zeros(0)
NO_STAGES = Pair(np.zeros((0, 0)), NONE, NONE, NONE, NONE, -1.0)
"""A step without stages: what is left of it is the derivative. To compile both would take twice as
long."""
STANDING = explicit.Walk(
    np.zeros(2), np.zeros(4, dtype=np.int64), 0.0, 0.0, 0.0, 0.0, NONE, NONE, 0.0, NONE
)
"""No walk."""


class Now:
    """The constants of a phase at one point, as its schedules have them at a time.

    Parameters
    ----------
    decode : callable
        Makes a committee of a row of constants.
    row : ndarray
        As the phase begins.
    drives : sequence of Drive
        What changes, but for the learning rates, which the kernels take apart.
    point : int
        Which of the drives' points it is.
    """

    def __init__(
        self, decode: Callable[[Floats], Committee], row: Floats, drives: Any, point: int = 0
    ) -> None:
        self.decode, self.row = decode, np.array(row)
        self.drives = [
            (d.entry, d.schedule, float(one_of(d.base, point)), float(one_of(d.scale, point)))
            for d in drives
        ]
        self.committee = decode(self.row)

    def at(self, since: float) -> Committee:
        """The committee at a time since the phase began."""
        if not self.drives:
            return self.committee
        for entry, schedule, base, scale in self.drives:
            self.row[entry] = base + scale * schedule(since)
        return self.decode(self.row)


class CommitteePhase(Exact):
    """Equations of a phase of the first point of a sweep (`odekit.problem.system.Equations`)."""

    def __init__(self, points: CommitteePoints, phase: Phase, frame: Frame, begin: float) -> None:
        self.begin, self.points, self.rates = begin, points, phase.common_rates
        self._compiled_rates: tuple[Any, Any] = (None, None)
        self.now: Now | None = points.now(phase, frame)
        self.committee = self.now.committee
        P, tasks = frame.T.shape[-1], max(len(points.tasks), len(self.committee.p))
        self.work = make_work(points.K, P, len(points.heads), tasks, points.G)
        self.breaks = [begin + float(stop) for stop in points.stops(phase)]
        self._prepare_event(phase, P)

    def _prepare_event(self, phase: Phase, P: int) -> None:
        places = self.points.watched(phase)
        self.has_event = bool(places.size)
        self.levels = self.points.levels(phase)[0]
        u = self.points.u[0, places]
        self.watched = np.ascontiguousarray(np.pad(u, ((0, 0), (0, P - u.shape[1]))))
        self.watched_heads = self.points.head_index[places]
        self.watched_inputs = self.points.seen.inputs(self.points.seen.law[places])

    def _at(self, t: float) -> tuple[float, float]:
        eta_w, eta_v = self.rates
        since = t - self.begin
        return (
            eta_w(since) if isinstance(eta_w, Schedule) else eta_w,
            eta_v(since) if isinstance(eta_v, Schedule) else eta_v,
        )

    def _at_time(self, t: float) -> Committee:
        return self.committee if self.now is None else self.now.at(t - self.begin)

    def corners(self, atol: float, rtol: float) -> UnitsAtZero | None:
        """Units that vanish; None if none can, or where noise keeps them alive."""
        c = self.committee
        if code_of(c.activation) != RELU or c.inverse_batch != 0.0 or self.rates[0] == 0.0:
            return None
        if c.inputs is not None:
            return None
        return UnitsAtZero(self._at_time, self.begin, self.work, atol, rtol)

    def with_teachers(self, T: Floats, u: Floats) -> Self:
        """The same phase with other fixed vectors and readouts of theirs."""
        other, now = copy.copy(self), self.now
        other.committee = self.committee._replace(T=T, u=u)
        if now is not None and now.drives:
            other.now = copy.copy(now)
            other.now.decode = lambda row: now.decode(row)._replace(T=T, u=u)
        else:
            other.now = None
        return other

    def at_point(
        self, committee: Committee, rates: tuple[Any, Any], now: Now | None = None
    ) -> Self:
        """The same phase with the numbers of another point of the sweep."""
        other = copy.copy(self)
        other.committee, other.rates, other.now = committee, rates, now
        return other

    def errors(self, y: Floats, u: Floats, head: Any, inputs: Inputs | None = None) -> Floats:
        """Generalization errors of tasks with the readouts u (tasks, P), shape (tasks,).

        With groups of inputs, `inputs` has the law of each task.
        """
        c, out = self.committee, np.empty(len(u))
        if inputs is not None:
            groups.errors(y, c.activation, c.T, inputs, u, head, self.work, out)
        else:
            errors(y, c.activation, c.T, u, head, self.work, out)
        return out

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,)."""
        found = self._derivatives(np.array([t]), y[np.newaxis], self._at_time(t))
        return np.asarray(found[0])

    def rhs_at(self, t: Floats, y: Floats) -> Floats | None:
        """See `odekit.problem.system.Equations.rhs_at`."""
        return self._derivatives(t, y, self.committee) if self._at_once(y[0]) else None

    def _derivatives(self, t: Floats, y: Floats, committee: Committee) -> Floats:
        K, out = np.empty(y.shape), np.empty((1, y.shape[1]))
        self._advance(y, t, NONE, NO_STAGES, committee, K, out, STANDING)
        return K

    def _advance(
        self, y: Floats, t: Floats, spans: Floats, pair: Pair, committee: Committee, K: Floats,
        out: Floats, walk: explicit.Walk,
    ) -> None:  # fmt: skip
        since, rates = t - self.begin, self.compiled_rates
        explicit.advance(y, since, spans, pair, rates, committee, self.work, K, out, walk)

    def steps(self, t: float, y: Floats, spans: Floats, pair: Any, K: Floats) -> Floats | None:
        """See `odekit.problem.system.Equations.steps`."""
        if not self._at_once(y):
            return None
        out = np.empty((spans.size, y.size))
        at = (y[np.newaxis], np.array([t]))
        self._advance(*at, spans, pair, self.committee, K, out, STANDING)
        return out

    def walk(self, t: float, y: Floats, f: Floats, h: float, pair: Any, how: Walk) -> Walked | None:
        """See `odekit.problem.system.Equations.walk`."""
        if not self._at_once(y):
            return None
        n, S, y = y.size, pair.B.size, y[np.newaxis].copy()
        K, rows = np.empty((2 * S + 2, n)), np.empty((how.targets.size, n))
        K[0] = f
        clock, tally = np.array([t, h]), np.array([how.most, 0, 0, 0])
        every = (how.bound, how.longest, how.rtol, how.atol, how.floor, how.ceiling, how.targets)
        walk = explicit.Walk(clock, tally, self.begin, *every)
        self._advance(y, np.array([t]), NONE, pair, self.committee, K, rows, walk)
        taken, calls, filled = tally[1:].tolist()
        t, h = clock.tolist()
        return Walked(t, y[0], K[0].copy(), h, taken, calls, rows[:filled])

    def _at_once(self, y: Floats) -> bool:
        """Whether compiled code takes all stages of a step, and many steps, in one call."""
        return y.size <= LARGE and not (self.now is not None and self.now.drives)

    @property
    def compiled_rates(self) -> tuple[Rate, Rate]:
        """Both learning rates as the kernels take them."""
        if self._compiled_rates[0] is not self.rates:
            self._compiled_rates = (self.rates, (as_rate(self.rates[0]), as_rate(self.rates[1])))
        found: tuple[Rate, Rate] = self._compiled_rates[1]
        return found

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian, shape (n, n)."""
        J = np.empty((y.size, y.size))
        of = jacobian if self.committee.inputs is None else groups.jacobian
        of(y, *self._at(t), self._at_time(t), self.work, J)
        return J

    def vjp(self, t: float, y: Floats, w: Floats) -> Floats | None:
        """Jᵀ w for vectors (n,) or (n, m), by a reverse pass each; None with groups of inputs."""
        c = self._at_time(t)
        if c.inputs is not None:
            return None
        rows, sizes = np.ascontiguousarray(np.atleast_2d(w.T)), (len(c.move), len(c.T), len(c.p))
        tape, watch = make_tape(*sizes), Watch(c.u, c.head, np.arange(len(c.p)))
        # One row is of another type, for which kernels would compile again.
        by, _ = make_slopes(max(len(rows), 2), y.size, *sizes, len(c.p), len(c.F))
        prepare(y, c, tape)
        for q, row in enumerate(rows):
            pull(q, y, *self._at(t), c, row, watch, tape, by)
        return by.y[: len(rows)].T.reshape(w.shape)

    def event(self, y: Floats) -> float:
        """Largest error of a watched task over its threshold, less one."""
        found = self.errors(y, self.watched, self.watched_heads, self.watched_inputs)
        return float((found / self.levels).max()) - 1.0


class QuadraturePhase(CommitteePhase):
    """Equations of one phase for an activation whose moments come from quadrature."""

    def rhs(self, t: float, y: Floats) -> Floats:
        """Time derivative, shape (n,); NaN where the moments are less accurate than was asked."""
        assert self.points.moments is not None
        return self.points.moments.rhs(y, *self._at(t), self._at_time(t), self.work)

    def _at_once(self, y: Floats) -> bool:
        """Never: moments are found outside of compiled code."""
        del y
        return False

    def accurate(self, y: Floats) -> bool:
        """Whether the moments are as accurate as was asked for."""
        found = self.points.moments
        assert found is not None
        found.refused = False
        c, K = self.committee, self.points.K
        under = covariances(y, c.T, c.inputs, K)
        return all(found.accurate(C, K, law) for law, C in enumerate(under))

    @property
    def refused(self) -> bool:  # type: ignore[override]
        """Whether moments were out of reach at a trial point since then."""
        return self.points.moments is not None and self.points.moments.refused

    def jac(self, t: float, y: Floats) -> Floats:
        """Jacobian by central differences, shape (n, n)."""
        return differences(lambda x: self.rhs(t, x), y, self.committee.T, self.points.K)

    def vjp(self, t: float, y: Floats, w: Floats) -> None:
        """Nothing: there is no reverse pass."""

    def errors(self, y: Floats, u: Floats, head: Any, inputs: Inputs | None = None) -> Floats:
        """Generalization errors of tasks with the readouts u (tasks, P), shape (tasks,)."""
        assert self.points.moments is not None
        return self.points.moments.errors(y, self.committee.T, inputs, u, head, self.work)
