"""What kernels are given in one phase: its constants, scratch memory, and what θ depends on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.problem.schedule import Schedule
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.places import Places, of_frame
from odekit.systems.committee.points import widened
from odekit_kernels.committee.jacobian import jacobian
from odekit_kernels.committee.one import make_work
from odekit_kernels.committee.passes import drive, flow
from odekit_kernels.committee.replay import Course, backward, forward, integrals
from odekit_kernels.committee.reverse import pull_error
from odekit_kernels.committee.tangent import fill_points
from odekit_kernels.committee.tape import Watch, make_slopes, make_tape
from odekit_kernels.integrators.variations import Stages, make_stages

_OF_THREAD = threading.local()
MOST_KINDS, MOST_BYTES = 64, 2**20
"""Pieces of scratch memory that a thread keeps, and of what size each."""


def scratch(make: Callable[..., Any], *sizes: int) -> Any:
    """Memory for calls of one thread that follow each other: small pieces are made once."""
    known: dict[Any, Any] = _OF_THREAD.__dict__.setdefault("known", {})
    found = known.get((make, sizes))
    if found is None:
        found = make(*sizes)
        if len(known) >= MOST_KINDS:
            known.clear()
        if _bytes(found) <= MOST_BYTES:
            known[make, sizes] = found
    return found


def _bytes(made: Any) -> int:
    return sum(_bytes(x) if isinstance(x, tuple) else getattr(x, "nbytes", 0) for x in made)


@dataclass
class ErrorSlopes:
    """Derivatives of the errors of all tasks, by state, by the frame, and directly by parameters.

    Attributes
    ----------
    y, frame, direct : ndarray, shapes (W, n), (W, frame) and (W, m)
    """

    y: Floats
    frame: Floats
    direct: Floats


class Kernels:
    """White inputs.

    Attributes
    ----------
    theta : ndarray, shape (…, m)
        Derivatives of the phase's numbers by the parameters, in the order of the slopes after the
        frame.
    replays : bool
        Whether stages are gone through one by one, and so need their derivatives again.
    """

    theta: Floats
    replays = True
    more = 0
    """How much moves in time besides the learning rates of whole layers."""

    def __init__(self, points: Any, index: int, phase: Any, frame: Any, columns: Columns) -> None:
        self.points, self.columns, self.own = points, columns, columns.phases[index]
        self.places: Places = of_frame(points, frame, 0)
        self.committee = self._committee(phase, frame)
        P, K, S, W = self.places.P, points.K, len(self.committee.p), len(points.tasks)
        task = np.array([points.tasks.index(name) for name in phase.mixture], dtype=np.int64)
        u = np.ascontiguousarray(widened(points.u, P - points.P)[0])
        self.watch = Watch(u, points.head_index, task)
        self.work = scratch(make_work, K, P, len(points.heads), max(S, W), points.G)
        self._prepare(phase, frame)

    def _committee(self, phase: Any, frame: Any) -> Any:
        return self.points.committee(phase, frame)

    def _prepare(self, phase: Any, frame: Any) -> None:
        del phase, frame
        columns, P = self.columns, self.places.P
        self.tape: Any = scratch(make_tape, self.points.K, P, len(self.committee.p))
        u = columns.u
        if u.shape[1] < P:
            u = np.pad(u, ((0, 0), (0, P - u.shape[1]), (0, 0)))
        sigma = columns.sigma[self.watch.task]
        parts = [u.reshape(-1, columns.m), self.own.p, sigma, self.own.kappa]
        self.theta = np.ascontiguousarray(np.concatenate(parts))

    def slopes(self, q: int) -> Any:
        """Zeros for the derivatives of q scalars, or more, and the same as one array.

        They are scratch memory.
        """
        places, S, W = self.places, len(self.committee.p), len(self.points.tasks)
        # One row is of another type, for which kernels would compile again.
        found = scratch(make_slopes, max(q, 2), places.n, places.K, places.P, S, W, places.c)
        found[1][:] = 0.0
        return found

    def rates(self, since: Any) -> Floats:
        """Learning rates of both layers at times since the phase began, (…, 2)."""
        times = np.asarray(since, dtype=float)
        found = [
            r.at(times.ravel()).reshape(times.shape) if isinstance(r, Schedule) else
            np.full(times.shape, float(r))
            for r in self.own.phase.common_rates
        ]  # fmt: skip
        return np.ascontiguousarray(np.stack(found, axis=-1))

    def derivative(self, y: Floats, since: float) -> Floats:
        """dy/dt at a time since the phase began."""
        dy, (eta_w, eta_v) = np.empty_like(y), self.rates(since).tolist()
        drive(float(since), self.tape)
        flow(y, eta_w, eta_v, self.committee, self.work, self.tape, dy)
        return dy

    def jacobian(self, y: Floats, since: float) -> Floats:
        """∂(dy/dt)/∂y."""
        J, (eta_w, eta_v) = np.empty((y.size, y.size)), self.rates(since).tolist()
        drive(float(since), self.tape)
        self._fill_jacobian(y, eta_w, eta_v, J)
        return J

    def _fill_jacobian(self, y: Floats, eta_w: float, eta_v: float, J: Floats) -> None:
        jacobian(y, eta_w, eta_v, self.committee, self.work, J)

    @property
    def d(self) -> int:
        """Numbers θ: what is carried of the frame, and those of the phase."""
        return self.places.frame + len(self.theta)

    def linearised(self, states: Floats, times: Floats, W: int) -> Stages:
        """Derivatives at states (points, n) and times (points,), and of W errors."""
        n, eta = states.shape[1], self.rates(times)[:, np.newaxis]
        by, flat = self.slopes(n + W)
        found = make_stages(len(states), 1, n, self.d, W)
        fill_points(
            np.ascontiguousarray(states), eta, self.committee, self.watch,
            self.tape, by, flat, W, found,
        )  # fmt: skip
        return found

    def errors(self, y: Floats) -> tuple[Floats, ErrorSlopes]:
        """Errors of all tasks, and their derivatives."""
        W, n, frame = len(self.points.tasks), self.places.n, self.places.frame
        by, flat = self.slopes(W)
        found = [
            pull_error(w, y, self.committee, w, 1.0, self.watch, self.tape, by) for w in range(W)
        ]
        direct = flat[:, n + frame : -2] @ self.theta
        by_y, by_frame = by.y.copy(), flat[:, n : n + frame].copy()
        return np.array(found), ErrorSlopes(by_y, by_frame, direct)

    def integrals(self, course: Course, pair: Any, Z: Floats, rows: int) -> Floats:
        """Move integrals of the errors (W,) along steps; what they are at the rows, (rows, W)."""
        out = np.zeros((rows, Z.size))
        if Z.size:
            by, _ = self.slopes(1)
            given = (self.committee, self.work, self.watch, self.tape, by, pair)
            integrals(course, Z, *given, out)
        return out

    def forward(
        self, course: Course, pair: Any, S: Floats, Z: Floats, theta: Floats, along: Any,
        by_rate: Floats, rows: int,
    ) -> tuple[Floats, Floats]:  # fmt: skip
        """Move sensitivities of state and integrals along steps; what they are at the rows."""
        out_S, out_Z = np.zeros((rows, *S.shape)), np.zeros((rows, *Z.shape))
        used = np.flatnonzero(np.any(theta != 0.0, axis=1))
        forward(
            course, S, theta, used, along, by_rate, Z, self.committee, self.work, self.watch,
            self.tape, *self.slopes(len(S) + len(Z)), pair, out_S, out_Z,
        )  # fmt: skip
        return out_S, out_Z

    def backward(
        self, course: Course, pair: Any, lam: Floats, zeta: Floats, bump: Floats,
        bump_zeta: Floats, by_rate: Floats,
    ) -> Floats:  # fmt: skip
        """Move derivatives by state and integrals back; those by frame and θ, (q, …)."""
        (q, n), (by, flat) = lam.shape, self.slopes(len(lam))
        backward(
            course, lam, zeta, bump, bump_zeta, self.committee, self.work, self.watch, self.tape,
            by, pair, by_rate,
        )  # fmt: skip
        found: Floats = flat[:q, n:-2].copy()
        return found
