"""Finite networks of a committee by their overlaps alone: the exact Markov chain of SGD."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.interrupts import Stop
from odekit.systems.committee.growing import Growing
from odekit.systems.committee.network import child
from odekit.systems.committee.weights import factor
from odekit.training.course import Trajectory
from odekit.training.lockstep import lockstep
from odekit_kernels.committee.chain.draws import STREAMS
from odekit_kernels.committee.chain.memory import (
    ChainRule,
    constants_of,
    lanes,
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


class Curriculum:
    """What all replicas of a network have in common.

    Parameters
    ----------
    points : CommitteePoints
        Of a problem with plain numbers.
    experiment : Experiment

    Attributes
    ----------
    fixed, X, L : ndarray, shape (P, P), (K, P), (K, K)
        Coordinates of the fixed vectors and of the units at the start.
    v : ndarray, shape (H, K)
        Readouts.
    """

    def __init__(self, points: CommitteePoints, experiment: Experiment) -> None:
        self.points, self.problem, self.experiment = points, points.problem, experiment
        self.fixed, self.X, self.L = _coordinates(self.problem)
        self.v = np.array([self.problem.heads[name] for name in points.heads], dtype=float)
        self._frame = points.start()[0]
        self._phases: dict[int, Any] = {}

    def enter(self, index: int, y: Floats) -> tuple[Any, Floats]:
        """Frame and state as a phase begins, with no copies but those made now."""
        return self.points.enter(index, self._frame, y)

    def phase(self, phase: Phase) -> Any:
        """A phase as the kernels have it."""
        index = next((i for i, known in enumerate(self.problem.phases) if known is phase), None)
        if index is None:  # a part of a phase whose numbers change
            return self.points.committee(phase, self._frame)
        if index not in self._phases:
            self._phases[index] = self.points.committee(phase, self._frame)
        return self._phases[index]


class ChainNetwork:
    """Coordinates of a network's units in a frame of its own (`odekit_kernels.committee.chain`).

    Parameters
    ----------
    curriculum : Curriculum
    seed : numpy.random.SeedSequence
        Of this network alone.

    Attributes
    ----------
    fixed : ndarray, shape (P, P)
        Lower triangular coordinates of the fixed vectors, copies of units after the others.
    """

    measured = 0

    def __init__(self, curriculum: Curriculum, seed: np.random.SeedSequence) -> None:
        self.curriculum, self.points = curriculum, curriculum.points
        self.fixed, self.K = curriculum.fixed, self.points.K
        self._set(curriculum.X, curriculum.L, curriculum.v)
        # The second child, as weights have it: the first draws the frame, and here there is none.
        self.streams = streams(child(seed, 1).generate_state(2 * STREAMS, np.uint64))
        self.hold, self.pull = np.zeros(self.K), np.zeros_like(self.X)
        self.F_v, self.Fv = np.zeros_like(self.v), np.zeros_like(self.v)
        self.growing: Growing | None = None

    def _set(self, X: Floats, L: Floats, v: Floats) -> None:
        """Pack a state of another size."""
        shapes = state_of(self.K, X.shape[1], len(v))
        self.packed = np.concatenate([X.ravel(), L.ravel(), v.ravel()])
        found = views(shapes, self.packed)
        self.X, self.L, self.v = found["X"], found["L"], found["v"]

    def state(self) -> Floats:
        """Order parameters of the network as it is."""
        P = self.points.P
        with np.errstate(all="ignore"):  # of networks that blow up
            Q = self.X @ self.X.T + self.L @ self.L.T
            R = self.X[:, :P] @ self.fixed[:P, :P].T
        packed: Floats = self.points.pack(Q[None], R[None], self.v[None])[0]
        return packed

    def measured_errors(self) -> Floats:
        """None: there are no given inputs."""
        return np.empty(0)

    def enter(self, index: int) -> None:
        """Copies of heads and of units are made, as in the theory: by `CommitteePoints.enter`."""
        phase = self.curriculum.problem.phases[index]
        if self.growing is not None:
            self.growing.end()
        if phase.consolidation is None and not phase.copy_heads:
            return
        frame, y = self.curriculum.enter(index, self.state()[np.newaxis])
        if phase.consolidation is not None:
            strength, (F,), (F_v,) = frame.held
            self._hold(strength, F, F_v, int(frame.v_head[-1]), frame.v_anchor[0, -1])
        self.v[:] = self.points.unpack(y[0])[2]

    def _hold(self, strength: Any, F: Floats, F_v: Floats, head: int, v: Floats) -> None:
        """Freeze copies of all units: the axes that the units had alone are theirs now."""
        copies = np.hstack([self.X, self.L])
        more = np.zeros((len(self.fixed), self.K))
        self.fixed = np.vstack([np.hstack([self.fixed, more]), copies])
        self.pull = np.pad(self.pull, ((0, 0), (0, self.K)))
        parts = [(self.hold, F), (self.pull, F[:, None] * copies)]
        readouts = [(self.F_v[head], F_v), (self.Fv[head], F_v * v)]
        self.growing = Growing(strength, [*parts, *readouts])
        self._set(copies, np.zeros_like(self.L), self.v)

    def lesson(self, phase: Phase) -> ChainLesson:
        """What a phase is trained with."""
        if self.growing is not None and phase.consolidation is not None:
            self.growing.put(phase.consolidation.strength)
        system = self.curriculum.phase(phase)
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

    def train(self, steps: int, rates: tuple[Floats, Floats], lesson: ChainLesson) -> None:
        """Take steps of SGD, alone."""
        _launch(steps, [lesson], [rates])

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
    triangle = np.tril(np.linalg.qr(rows.T)[1].T)
    return triangle[:P, :P], triangle[P:, :P].copy(), triangle[P:, P:].copy()


# ------------------------------------------------------------------------------------- many of them


def train_chains(networks: Sequence[Trajectory], stop: Stop) -> list[Any]:
    """Train networks a lane each, and return the arrays of each."""
    return lockstep(networks, stop, _alike, _launch)


def _alike(lesson: ChainLesson) -> Hashable:
    """What must be equal for networks to share a launch."""
    return lesson.batch, lesson.sizes, lesson.head


def _launch(
    steps: int, lessons: Sequence[ChainLesson], rates: Sequence[tuple[Floats, Floats]]
) -> None:
    """Take steps with at most eight networks; lanes that are left repeat the first."""
    first, spare = lessons[0], WIDTH - len(lessons)
    members, experiment = [*lessons, *[first] * spare], first.network.curriculum.experiment
    K, P, H, S, n = first.sizes
    rule = ChainRule(
        N=experiment.input_dim,
        **views(constants_of(*first.sizes), _lanes([m.constants for m in members])),
        head=np.array(first.head, dtype=np.int64),
    )
    state = _lanes([m.network.packed for m in members])
    words = np.stack([m.network.streams for m in members], axis=-1)
    memory = make_memory(views(state_of(K, P, H), state), words, first.batch, S, n)
    eta_w, eta_v = (
        _lanes(np.broadcast_arrays(*[r[i] for r in rates], *[rates[0][i]] * spare))
        for i in range(2)
    )
    t = experiment.trainer
    with _ONE_COMPILES:  # no steps: only so that no two threads compile the loop at once
        t.train_chain(0, eta_w, eta_v, t.g, t.dg, rule, memory)
    t.train_chain(steps, eta_w, eta_v, t.g, t.dg, rule, memory)
    for i, lesson in enumerate(lessons):
        lesson.network.packed[:] = state[:, i]
        lesson.network.streams[:] = words[:, :, i]


def _lanes(rows: Any) -> Any:
    """Arrays side by side, along a last axis."""
    out = lanes(*np.shape(rows[0]))
    for lane, row in enumerate(rows):
        out[..., lane] = row
    return out
