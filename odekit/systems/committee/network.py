"""The network that a simulation trains: its weights, its readouts, and what holds them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.systems.committee.crosscheck import protected_task
from odekit.systems.committee.groups import sizes
from odekit.systems.committee.growing import Growing
from odekit.systems.committee.inputs import Samples
from odekit.systems.committee.lesson import Lesson, Pull, readouts, rule_of, spread
from odekit.systems.committee.structure import is_general
from odekit.systems.committee.trainer import Trainer
from odekit.systems.committee.weights import realise
from odekit_kernels.committee.sgd.memory import Memory, Rule, make_memory, padded
from odekit_kernels.committee.sgd.passes import overlaps
from odekit_kernels.committee.sgd.stream import streams

if TYPE_CHECKING:
    from odekit.problem.phase import Phase

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


class CommitteeNetwork:
    """Weights with the problem's overlaps, readouts, random numbers, and penalties on them.

    Parameters
    ----------
    points : CommitteePoints or GeneralPoints
        Of a problem with plain numbers.
    experiment : Experiment
    seed : numpy.random.SeedSequence
        Of this network alone.

    Attributes
    ----------
    measured : int
        Number of tasks whose error is measured on given inputs: all or none.
    """

    def __init__(self, points: Any, experiment: Experiment, seed: np.random.SeedSequence) -> None:
        self.points, self.problem, self.experiment = points, points.problem, experiment
        self.N = experiment.input_dim
        frame, drawn = (child(seed, i) for i in range(2))
        self.sizes = sizes(self.problem.groups or {"": 1.0}, self.N)
        self.group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        W, B = realise(self.problem.state, self.N, frame, self.problem.groups)
        self.W, self.B = padded(W), padded(B)
        self.O = self.problem.outputs or 1
        heads = [np.atleast_2d(np.asarray(v, dtype=float)) for v in self.problem.heads.values()]
        self.v = np.concatenate(heads)
        biases = self.problem.biases
        self.bias = np.zeros(0) if biases is None else np.array(biases, dtype=float)
        self.velocities: tuple[Floats, Floats, Floats] | None = None
        self.power, self.normalization = np.zeros(0), ""
        self.streams = streams(drawn.generate_state(4, np.uint64))
        none = np.zeros((0, self.W.shape[1]))
        self.pull = Pull(none, none, np.zeros_like(self.v), np.zeros_like(self.v))
        self.growing: Growing | None = None
        self.measured = 0 if self.experiment.samples is None else len(self.points.tasks)

    def state(self) -> Floats:
        """Order parameters of the network as it is."""
        if is_general(self.problem):
            return self._structured_state()
        whole = not self.points.G
        Q, R = self.overlaps(self.W, self.W, whole), self.overlaps(self.W, self.B, whole)
        packed: Floats = self.points.pack(Q[None], R[None], self.v[None])[0]
        return packed

    def overlaps(self, A: Floats, B: Floats, whole: bool = False) -> Floats:
        """A_i·B_j/N_τ in each group, shape (G, len A, len B); over all inputs if `whole`."""
        if whole:
            out = np.empty((len(A), len(B)))
            overlaps(A, B, self.N, out)
            return out
        cut = np.cumsum(self.sizes)[:-1]
        parts = (np.split(x[:, : self.N], cut, axis=1) for x in (A, B))
        return np.array([a @ b.T / n for a, b, n in zip(*parts, self.sizes, strict=True)])

    def _structured_state(self) -> Floats:
        """The same with biases, velocities and B, as `GeneralPoints` packs them."""
        k, l = np.triu_indices(len(self.W))

        def joined(*blocks: Floats) -> Floats:
            return np.concatenate([x.reshape(len(self.sizes), -1) for x in blocks], axis=1)

        Q, R = self.overlaps(self.W, self.W), self.overlaps(self.W, self.B)
        found = {"overlaps": joined(Q[:, k, l], R), "heads": self.v, "biases": self.bias}
        if self.velocities is not None:
            nu, nu_v, nu_b = self.velocities
            pairs = [self.overlaps(nu, x) for x in (self.W, self.B, nu)]
            both = joined(*pairs[:2], pairs[2][:, k, l])
            found |= {"velocities": both, "head_velocities": nu_v, "bias_velocities": nu_b}
        if self.power.size:
            found["accumulated"] = self.power
        frame, _ = self.points.start()
        packed: Floats = self.points.flat(frame, {n: x[np.newaxis] for n, x in found.items()})[0]
        return packed

    def measured_errors(self) -> Floats:
        """Half the mean squared error of each task over the given samples, shape (tasks,)."""
        samples, g = self.experiment.samples, self.experiment.trainer.value
        found = np.empty(self.measured)
        bias = self.bias if self.bias.size else 0.0
        shift = 0.0 if self.problem.teacher_biases is None else self.problem.teacher_biases
        for s, task in enumerate(self.problem.tasks.values() if self.measured else ()):
            assert samples is not None
            x, y = samples.of(s, self.O)
            scaled = x[:, : self.N] / np.sqrt(self.N)
            if not y.size:
                y = g(scaled @ self.B[:, : self.N].T + shift) @ readouts([task]).T
            head = self.O * int(self.points.head_index[s])
            v = self.problem.test_scale * self.v[head : head + self.O]
            answer = g(scaled @ self.W[:, : self.N].T + bias) @ v.T
            found[s] = 0.5 * np.mean(((y + np.asarray(task.label) - answer) ** 2).sum(axis=1))
        return found

    def enter(self, index: int) -> None:
        """Copies of heads and of units are made, as in the theory: by `CommitteePoints.enter`."""
        if self.growing is not None:
            self.growing.end()
        frame, _ = self.points.start()
        frame, y = self.points.enter(index, frame, self.state()[np.newaxis])
        phase = self.problem.phases[index]
        consolidation = phase.consolidation
        if consolidation is not None:
            assert frame.held is not None
            strength, (unit,), (F_v,) = frame.held
            F, head = spread(np.atleast_2d(unit).T, self.group), int(frame.v_head[-1])
            if self._samples_fisher():
                fisher, F_v = self._sampled_fisher(protected_task(self.problem, index), head)
                if consolidation.kind == "fisher":
                    F = fisher
            self._hold(strength, F, F_v, head)
        structured = is_general(self.problem)
        v = self.points.blocks(frame, y)["heads"] if structured else self.points.unpack(y)[2]
        self.v[:] = v.reshape(self.v.shape)
        self._carry(phase)

    def _carry(self, phase: Phase) -> None:
        """Velocities and B go on from the phase before, or begin."""
        if phase.momentum_decay is None:
            self.velocities = None
        elif self.velocities is None:
            bias = np.zeros((1, self.bias.size))
            self.velocities = np.zeros_like(self.W), np.zeros_like(self.v), bias
        rule = phase.normalization
        if rule is None:
            self.power, self.normalization = np.zeros(0), ""
        elif rule.kind != self.normalization:
            self.power, self.normalization = np.array([float(rule.initial)]), rule.kind

    def _samples_fisher(self) -> bool:
        return self.experiment.fisher_samples is not None or self.experiment.samples is not None

    def _hold(self, strength: Any, F: Floats, F_v: Floats, head: int) -> None:
        """Add a consolidation to the penalties: weights in all by F, and by F times the copy."""
        if not len(self.pull.F):
            self.pull = self.pull._replace(F=np.zeros_like(self.W), Fa=np.zeros_like(self.W))
        rows = slice(head * self.O, (head + 1) * self.O)
        parts = [(self.pull.F, F), (self.pull.Fa, F * self.W)]
        readouts = [(self.pull.F_v[rows], F_v), (self.pull.Fv[rows], F_v * self.v[rows])]
        self.growing = Growing(strength, [*parts, *readouts])

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
        if self.growing is not None and phase.consolidation is not None:
            self.growing.put(phase.consolidation.strength)
        return rule_of(self.problem, phase, self.B, self.group, self.pull, self.experiment.samples)

    def memory(self, batch: int, rule: Rule) -> Memory:
        """What the kernel reads and writes, weights and readouts among it."""
        return make_memory(
            self.W, self.v, self.streams, batch, rule, self.bias, self.velocities, self.power
        )

    def lesson(self, phase: Phase) -> Lesson:
        """What a phase is trained with."""
        rule = self.rule(phase)
        return Lesson(rule, self.memory(int(phase.batch_size), rule))

    def train(self, steps: int, rates: tuple[Floats, Floats], lesson: Lesson) -> None:
        """Take steps of SGD."""
        t = self.experiment.trainer
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
        return max(float(np.abs(x).max(initial=0.0)) for x in (self.W, self.v, self.bias))


def child(seed: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """One of a seed's children; `spawn` would count them, and seeds are shared along a sweep."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i))
