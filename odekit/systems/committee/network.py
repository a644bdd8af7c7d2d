"""The network that a simulation trains: its weights, its readouts, and what holds them."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.groups import sizes
from odekit.systems.committee.inputs import Samples
from odekit.systems.committee.seen import SHARP, of_group
from odekit.systems.committee.trainer import Trainer
from odekit.systems.committee.weights import realise
from odekit_kernels.committee.sgd.memory import Memory, Rule, make_memory, padded
from odekit_kernels.committee.sgd.passes import overlaps
from odekit_kernels.committee.sgd.stream import streams

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.systems.committee.points import CommitteePoints

_ONE_COMPILES = threading.Lock()


@dataclass(frozen=True)
class Experiment:
    """What is common to all networks of a simulation.

    Attributes
    ----------
    input_dim : int
    times : ndarray or None
        Output times; by default those of `odekit.solve`, from the start of each phase.
    check_every : float
        Time between two looks at the thresholds of `until`.
    fisher_samples : int or None
        Samples of the diagonal Fisher information; None for its closed form.
    samples : Samples or None
        Given inputs.
    trainer : Trainer
    method : {"overlaps", "weights"}
        What is kept of a network.
    device : {"cpu", "cuda"}
        Where steps are taken.
    """

    input_dim: int
    times: Floats | None
    check_every: float
    fisher_samples: int | None
    samples: Samples | None
    trainer: Trainer
    method: str = "weights"
    device: str = "cpu"

    @property
    def words(self) -> dict[str, Any]:
        """What a dataset says of it."""
        inputs = None if self.samples is None else self.samples.words
        return {
            "input_dim": self.input_dim,
            "check_every": self.check_every,
            "fisher_samples": self.fisher_samples,
            "inputs": inputs,
            "method": self.method,
        }

    @property
    def source(self) -> str:
        """What made the data, for people."""
        how = "" if self.method == "weights" else ", by the exact chain of its overlaps"
        return f"stochastic gradient descent in N = {self.input_dim} dimensions{how}"

    @property
    def measured(self) -> bool:
        """Whether errors are measured on given inputs."""
        return self.samples is not None

    @property
    def labelled(self) -> bool:
        """Whether labels are given, so that no overlap knows the error."""
        return self.samples is not None and self.samples.labels.shape[1] > 0


class Lesson(NamedTuple):
    """What the kernels need of a phase."""

    rule: Rule
    memory: Memory


class CommitteeNetwork:
    """Weights with the problem's overlaps, readouts, random numbers, and penalties on them.

    Parameters
    ----------
    points : CommitteePoints
        Of a problem with plain numbers.
    experiment : Experiment
    seed : numpy.random.SeedSequence
        Of this network alone.

    Attributes
    ----------
    measured : int
        Number of tasks whose error is measured on given inputs: all or none.
    """

    def __init__(
        self, points: CommitteePoints, experiment: Experiment, seed: np.random.SeedSequence
    ) -> None:
        self.points, self.problem, self.experiment = points, points.problem, experiment
        self.N = experiment.input_dim
        frame, drawn = (child(seed, i) for i in range(2))
        self.sizes = sizes(self.problem.groups or {"": 1.0}, self.N)
        self.group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        W, B = realise(self.problem.state, self.N, frame, self.problem.groups)
        self.W, self.B = padded(W), padded(B)
        heads = self.points.heads
        self.v = np.array([self.problem.heads[name] for name in heads], dtype=float)
        self.streams = streams(drawn.generate_state(4, np.uint64))
        none = np.zeros((0, self.W.shape[1]))
        self.F, self.Fa = none, none
        self.F_v, self.Fv = np.zeros_like(self.v), np.zeros_like(self.v)
        self.measured = 0 if self.experiment.samples is None else len(self.points.tasks)

    def state(self) -> Floats:
        """Order parameters of the network as it is."""
        K, P = len(self.W), len(self.B)
        if self.points.G:
            return self._state_of_groups()
        Q, R = np.empty((K, K)), np.empty((K, P))
        overlaps(self.W, self.W, self.N, Q)
        overlaps(self.W, self.B, self.N, R)
        packed: Floats = self.points.pack(Q[None], R[None], self.v[None])[0]
        return packed

    def _state_of_groups(self) -> Floats:
        """The same with the overlaps of each group of inputs."""
        cut = np.cumsum(self.sizes)[:-1]
        W, B = (np.split(x[:, : self.N], cut, axis=1) for x in (self.W, self.B))
        Q = np.array([w @ w.T / n for w, n in zip(W, self.sizes, strict=True)])
        R = np.array([w @ b.T / n for w, b, n in zip(W, B, self.sizes, strict=True)])
        packed: Floats = self.points.pack(Q[None], R[None], self.v[None])[0]
        return packed

    def _of_inputs(self, values: Any) -> Floats:
        """Numbers of the groups, (..., G), at each input, padded with zeros."""
        spread = np.atleast_2d(np.asarray(values, dtype=float))[:, self.group]
        return padded(spread)

    def measured_errors(self) -> Floats:
        """Half the mean squared error of each task over the given samples, shape (tasks,)."""
        samples, g = self.experiment.samples, self.experiment.trainer.value
        found = np.empty(self.measured)
        for s in range(self.measured):
            assert samples is not None
            x, y = samples.of(s)
            scaled = x[:, : self.N] / np.sqrt(self.N)
            if not y.size:
                y = g(scaled @ self.B[:, : self.N].T) @ self.points.u[0, s]
            answer = g(scaled @ self.W[:, : self.N].T) @ self.v[self.points.head_index[s]]
            found[s] = 0.5 * np.mean((y - answer) ** 2)
        return found

    def enter(self, index: int) -> None:
        """Copies of heads and of units are made, as in the theory: by `CommitteePoints.enter`."""
        frame, _ = self.points.start()
        frame, y = self.points.enter(index, frame, self.state()[np.newaxis])
        consolidation = self.problem.phases[index].consolidation
        if consolidation is not None:
            own = frame.F[0, -1].T if self.points.G else frame.F[0, -1][:, None]
            F: Floats = self._of_inputs(own)
            F_v, head = frame.F_v[0, -1], int(frame.v_head[-1])
            if self._samples_fisher():
                fisher, I2 = self._sampled_fisher(protected_task(self.problem, index), head)
                F_v = consolidation.strength * I2
                if consolidation.kind == "fisher":
                    F = consolidation.strength * fisher
            self._hold(F, F_v, head, frame.v_anchor[0, -1])
        self.v[:] = self.points.unpack(y[0])[2]

    def _samples_fisher(self) -> bool:
        return self.experiment.fisher_samples is not None or self.experiment.samples is not None

    def _hold(self, F: Floats, F_v: Floats, head: int, v: Floats) -> None:
        """Add a consolidation to the penalties: weights in all by F, and by F times the copy."""
        if not len(self.F):
            self.F, self.Fa = np.zeros_like(self.W), np.zeros_like(self.W)
        self.F += F
        self.Fa += F * self.W
        self.F_v[head] += F_v
        self.Fv[head] += F_v * v

    def _sampled_fisher(self, task: str, head: int) -> tuple[Floats, Floats]:
        """Diagonal Fisher information of a task's output and E[g²], over fresh samples."""
        samples = self.experiment.samples
        count = self.experiment.fisher_samples
        if count is None:
            assert samples is not None
            count = int(samples.count[self.points.tasks.index(task)])
        phase = self.problem.phases[0]
        rule = self.rule(type(phase)(task, phase.duration, learning_rate=0.0))
        memory = self.memory(1, rule)
        F, I2 = np.empty_like(self.W), np.empty(len(self.W))
        t = self.experiment.trainer
        t.squared_slopes(count, head, t.g, t.dg, rule, memory, F, I2)
        return F, I2

    def rule(self, phase: Phase) -> Rule:
        """The kernel's view of a phase."""
        frame, _ = self.points.start()
        system = self.points.committee(phase, frame)
        places = [self.points.tasks.index(name) for name in phase.mixture]
        read = (system.u != 0).any(axis=0) & (not self.experiment.labelled)
        return Rule(
            N=self.N,
            B=np.ascontiguousarray(self.B[read]),
            u=np.ascontiguousarray(system.u[:, read]),
            sigma=system.sigma,
            p=system.p,
            head=system.head,
            move=system.move,
            kappa_w=system.kappa_w,
            kappa_v=system.kappa_v,
            F=self.F,
            Fa=self.Fa,
            F_v=self.F_v,
            Fv=self.Fv,
            **self._samples_of(places),
            **self._views_of(list(phase.mixture)),
            pace=self._pace(phase),
        )

    def _views_of(self, names: list[str]) -> dict[str, Any]:
        """What teacher and student see in each task of a phase, at each input."""
        none = np.zeros((0, self.W.shape[1]))
        if not self.points.G:
            return {"drawn": none, "gain": none, "noise": none}
        groups = list(self.problem.groups or [None])
        m, a, s = (
            np.array(
                [[of_group(getattr(self.problem.tasks[n], kind), g) for g in groups] for n in names]
            )
            for kind in ("input_variance", "student_gain", "student_noise_std")
        )
        width = np.sqrt(m)
        sharp = SHARP if self.problem.teacher_activation == "sign" else 1.0
        noise = self._of_inputs(s) if np.any(s != 0.0) else none
        return {
            "drawn": self._of_inputs(sharp * width),
            "gain": self._of_inputs(a * width),
            "noise": noise,
        }

    def _pace(self, phase: Phase) -> Floats:
        """Learning rate at each input over the largest, or none where all have one."""
        if not isinstance(phase.learning_rate, Mapping):
            return np.zeros((0, 0))
        return self._of_inputs(self.points.pace(phase)[0])

    def _samples_of(self, places: list[int]) -> dict[str, Any]:
        """The kernel's view of given inputs of some tasks, or of none."""
        samples, S = self.experiment.samples, len(places)
        if samples is None:
            none, zero = np.zeros((0, self.W.shape[1])), np.zeros(S, dtype=np.int64)
            return {"inputs": none, "labels": np.zeros((S, 0)), "first": zero, "size": zero}
        return {
            "inputs": samples.rows,
            "labels": samples.labels[places],
            "first": samples.first[places],
            "size": samples.count[places],
        }

    def memory(self, batch: int, rule: Rule) -> Memory:
        """What the kernel reads and writes, weights and readouts among it."""
        return make_memory(self.W, self.v, self.streams, batch, rule)

    def lesson(self, phase: Phase) -> Lesson:
        """What a phase is trained with."""
        rule = self.rule(phase)
        return Lesson(rule, self.memory(int(phase.batch_size), rule))

    def train(self, steps: int, rates: tuple[Floats, Floats], lesson: Lesson) -> None:
        """Take steps of SGD."""
        t = self.experiment.trainer
        rates = (*rates, np.zeros(1))
        with _ONE_COMPILES:  # no steps: only so that no two threads compile the loop at once
            t.train(0, *rates, t.g, t.dg, lesson.rule, lesson.memory)
        t.train(steps, *rates, t.g, t.dg, lesson.rule, lesson.memory)

    def width(self, lesson: Lesson) -> int:
        """Multiplications of a step, roughly."""
        memory = lesson.memory
        return int((len(memory.W) * 2 + len(lesson.rule.B) + 4) * memory.x.size)

    @property
    def size(self) -> float:
        """Largest weight, NaN if one is."""
        return max(float(np.abs(self.W).max()), float(np.abs(self.v).max()))


def child(seed: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """One of a seed's children; `spawn` would count them, and seeds are shared along a sweep."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i))
