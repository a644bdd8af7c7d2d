"""Finite networks of a committee by their overlaps alone: the exact Markov chain of SGD."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.interrupts import Stop
from odekit.systems.committee.network import child
from odekit.systems.committee.weights import factor
from odekit.training.course import Trajectory
from odekit.training.lockstep import lockstep
from odekit_kernels.committee.chain.memory import (
    ChainRule,
    constants_of,
    make_memory,
    state_of,
    views,
)
from odekit_kernels.committee.sgd.stream import streams
from odekit_kernels.simd import WIDTH

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.network import Experiment
    from odekit.systems.committee.points import CommitteePoints
    from odekit.systems.committee.problem import Problem

_ONE_COMPILES = threading.Lock()


class ChainLesson(NamedTuple):
    """A network in a phase: what must be equal for networks to go together, and its numbers."""

    network: ChainNetwork
    batch: int
    sizes: tuple[int, ...]
    head: tuple[int, ...]
    constants: Floats


class ChainNetwork:
    """Coordinates of a network's units in a frame of its own (`odekit_kernels.committee.chain`).

    Parameters
    ----------
    points : CommitteePoints
        Of a problem with plain numbers.
    experiment : Experiment
    seed : numpy.random.SeedSequence
        Of this network alone.

    Attributes
    ----------
    fixed : ndarray, shape (P, P)
        Lower triangular coordinates of the fixed vectors, copies of units after the others.
    """

    measured = 0

    def __init__(
        self, points: CommitteePoints, experiment: Experiment, seed: np.random.SeedSequence
    ) -> None:
        self.points, self.problem, self.experiment = points, points.problem, experiment
        self.N, self.K = experiment.input_dim, points.K
        self.fixed, X, L = _coordinates(self.problem)
        v = np.array([self.problem.heads[name] for name in points.heads], dtype=float)
        self._set(X, L, v)
        # The second child, as weights have it: the first draws the frame, and here there is none.
        self.streams = streams(child(seed, 1).generate_state(4, np.uint64))
        self.hold, self.pull = np.zeros(self.K), np.zeros_like(X)
        self.F_v, self.Fv = np.zeros_like(v), np.zeros_like(v)

    def _set(self, X: Floats, L: Floats, v: Floats) -> None:
        """Pack a state of another size."""
        shapes = state_of(self.K, X.shape[1], len(v))
        self.packed = np.concatenate([X.ravel(), L.ravel(), v.ravel()])
        found = views(shapes, self.packed)
        self.X, self.L, self.v = found["X"], found["L"], found["v"]

    def state(self) -> Floats:
        """Order parameters of the network as it is."""
        P = self.points.P
        Q = self.X @ self.X.T + self.L @ self.L.T
        R = self.X[:, :P] @ self.fixed[:P, :P].T
        packed: Floats = self.points.pack(Q[None], R[None], self.v[None])[0]
        return packed

    def measured_errors(self) -> Floats:
        """None: there are no given inputs."""
        return np.empty(0)

    def enter(self, index: int) -> None:
        """Copies of heads and of units are made, as in the theory: by `CommitteePoints.enter`."""
        frame, _ = self.points.start()
        frame, y = self.points.enter(index, frame, self.state()[np.newaxis])
        if self.problem.phases[index].consolidation is not None:
            head = int(frame.v_head[-1])
            self._hold(frame.F[0, -1], frame.F_v[0, -1], head, frame.v_anchor[0, -1])
        self.v[:] = self.points.unpack(y[0])[2]

    def _hold(self, F: Floats, F_v: Floats, head: int, v: Floats) -> None:
        """Freeze copies of all units: the axes that the units had alone are theirs now."""
        copies = np.hstack([self.X, self.L])
        more = np.zeros((len(self.fixed), self.K))
        self.fixed = np.vstack([np.hstack([self.fixed, more]), copies])
        self.hold = self.hold + F
        self.pull = np.pad(self.pull, ((0, 0), (0, self.K))) + F[:, None] * copies
        self.F_v[head] += F_v
        self.Fv[head] += F_v * v
        self._set(copies, np.zeros_like(self.L), self.v)

    def lesson(self, phase: Phase) -> ChainLesson:
        """What a phase is trained with."""
        frame, _ = self.points.start()
        system = self.points.committee(phase, frame)
        read = np.flatnonzero((system.u != 0).any(axis=0))
        given = {
            "read": self.fixed[read],
            "u": system.u[:, read],
            "sigma": system.sigma,
            "p": system.p,
            "hold": system.kappa_w + self.hold,
            "pull": self.pull,
            "move": system.move,
            "kappa_v": np.array([system.kappa_v]),
            "F_v": self.F_v,
            "Fv": self.Fv,
        }
        sizes = (*self.X.shape, len(self.v), len(system.sigma), len(read))
        order = constants_of(*sizes)
        constants = np.concatenate([np.ravel(given[name]) for name in order])
        head = tuple(int(h) for h in system.head)
        return ChainLesson(self, int(phase.batch_size), sizes, head, constants)

    def width(self, lesson: ChainLesson) -> int:
        """Multiplications of a step, roughly."""
        D = sum(self.X.shape) + len(lesson.head)
        return int(lesson.batch * D * (self.K + 40) + 200)

    @property
    def size(self) -> float:
        """Largest coordinate, NaN if one is."""
        return float(np.abs(self.packed).max())


def _coordinates(problem: Problem) -> tuple[Floats, Floats, Floats]:
    """Fixed vectors (P, P), units (K, P) and their rest (K, K) in one frame, over √N."""
    state = problem.state
    P, D = state.teacher, state.teacher + state.student
    parts = factor(np.asarray(state.Q), np.asarray(state.R), np.asarray(state.T))
    rows = np.zeros((D, D))
    rows[:P, : parts.shape[1]] = parts[state.student :]
    rows[P:, : parts.shape[1]] = parts[: state.student]
    triangle = np.tril(np.linalg.qr(rows.T, mode="r").T)
    return triangle[:P, :P], triangle[P:, :P].copy(), triangle[P:, P:].copy()


# ------------------------------------------------------------------------------------- many of them


def train_chains(networks: Sequence[Trajectory], stop: Stop) -> list[Any]:
    """Train networks a lane each, and return the arrays of each."""
    return lockstep(networks, stop, _alike, _launch)


def _alike(lesson: ChainLesson) -> Hashable:
    """What must be equal for networks to share a launch."""
    return lesson.batch, lesson.sizes, lesson.head


def _launch(
    network: Trajectory,
    steps: int,
    lessons: Sequence[ChainLesson],
    rates: Sequence[tuple[Floats, Floats]],
) -> None:
    """Take steps with at most eight networks; lanes that are left repeat the first."""
    first, spare = lessons[0], WIDTH - len(lessons)
    members = [*lessons, *[first] * spare]
    K, P, H, S, n = first.sizes
    rule = ChainRule(
        N=first.network.N,
        **views(constants_of(*first.sizes), _lanes([m.constants for m in members])),
        head=np.array(first.head, dtype=np.int64),
    )
    state = _lanes([m.network.packed for m in members])
    words = _lanes([m.network.streams for m in members])
    memory = make_memory(views(state_of(K, P, H), state), words, first.batch, S, n)
    eta_w, eta_v = (
        _lanes(np.broadcast_arrays(*[r[i] for r in rates], *[rates[0][i]] * spare))
        for i in range(2)
    )
    t: Any = network.experiment.trainer  # type: ignore[attr-defined]
    with _ONE_COMPILES:  # no steps: only so that no two threads compile the loop at once
        t.train_chain(0, eta_w, eta_v, t.g, t.dg, rule, memory)
    t.train_chain(steps, eta_w, eta_v, t.g, t.dg, rule, memory)
    for i, lesson in enumerate(lessons):
        lesson.network.packed[:] = state[:, i]
        lesson.network.streams[:] = words[:, :, i]


def _lanes(rows: Any) -> Any:
    """Arrays side by side, along a last axis."""
    return np.ascontiguousarray(np.stack(rows, axis=-1))
