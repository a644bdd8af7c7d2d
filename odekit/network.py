"""The network that a simulation trains: its weights, its readouts, and what holds them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.crosscheck import protected_task
from odekit.inputs import Samples
from odekit.layout import CommitteeLayout
from odekit.trainer import Trainer
from odekit.weights import realise
from odekit_kernels.sgd import overlaps
from odekit_kernels.sgd_memory import Memory, Rule, make_memory, padded
from odekit_kernels.stream import streams

if TYPE_CHECKING:
    from odekit.problem import Phase

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Plan:
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
    """

    input_dim: int
    times: Floats | None
    check_every: float
    fisher_samples: int | None
    samples: Samples | None
    trainer: Trainer

    @property
    def labelled(self) -> bool:
        """Whether labels are given, so that no overlap knows the error."""
        return self.samples is not None and self.samples.labels.shape[1] > 0


class Network:
    """Weights with the problem's overlaps, readouts, random numbers, and penalties on them.

    Parameters
    ----------
    layout : CommitteeLayout
        Of a problem with plain numbers.
    plan : Plan
    seed : numpy.random.SeedSequence
        Of this network alone.

    Attributes
    ----------
    measured : int
        Number of tasks whose error is measured on given inputs: all or none.
    """

    def __init__(self, layout: CommitteeLayout, plan: Plan, seed: np.random.SeedSequence) -> None:
        self.layout, self.problem, self.plan = layout, layout.problem, plan
        self.N = plan.input_dim
        frame, drawn = (_child(seed, i) for i in range(2))
        W, B = realise(self.problem.state, self.N, frame)
        self.W, self.B = padded(W), padded(B)
        heads = self.layout.heads
        self.v = np.array([self.problem.heads[name] for name in heads], dtype=float)
        self.streams = streams(drawn.generate_state(4, np.uint64))
        none = np.zeros((0, self.W.shape[1]))
        self.F, self.Fa = none, none
        self.F_v, self.Fv = np.zeros_like(self.v), np.zeros_like(self.v)
        self.measured = 0 if self.plan.samples is None else len(self.layout.tasks)

    def state(self) -> Floats:
        """Order parameters of the network as it is."""
        K, P = len(self.W), len(self.B)
        Q, R = np.empty((K, K)), np.empty((K, P))
        overlaps(self.W, self.W, self.N, Q)
        overlaps(self.W, self.B, self.N, R)
        return self.layout.pack(Q, R, self.v)

    def measured_errors(self) -> Floats:
        """Half the mean squared error of each task over the given samples, shape (tasks,)."""
        samples, g = self.plan.samples, self.plan.trainer.value
        found = np.empty(self.measured)
        for s in range(self.measured):
            assert samples is not None
            x, y = samples.of(s)
            scaled = x[:, : self.N] / np.sqrt(self.N)
            if not y.size:
                y = g(scaled @ self.B[:, : self.N].T) @ self.layout.u[s]
            answer = g(scaled @ self.W[:, : self.N].T) @ self.v[self.layout.head_index[s]]
            found[s] = 0.5 * np.mean((y - answer) ** 2)
        return found

    def enter(self, index: int) -> None:
        """Copies of heads and of units are made, as in the theory: by `CommitteeLayout.enter`."""
        frame, _ = self.layout.start()
        frame, y = self.layout.enter(index, frame, self.state())
        consolidation = self.problem.phases[index].consolidation
        if consolidation is not None:
            F: Floats = np.repeat(frame.F[-1][:, None], self.W.shape[1], axis=1)
            F_v, head = frame.F_v[-1], int(frame.v_head[-1])
            if self._samples_fisher():
                fisher, I2 = self._sampled_fisher(protected_task(self.problem, index), head)
                F_v = consolidation.strength * I2
                if consolidation.kind == "fisher":
                    F = consolidation.strength * fisher
            self._hold(F, F_v, head, frame.v_anchor[-1])
        self.v[:] = self.layout.unpack(y)[2]

    def _samples_fisher(self) -> bool:
        return self.plan.fisher_samples is not None or self.plan.samples is not None

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
        samples = self.plan.samples
        count = self.plan.fisher_samples
        if count is None:
            assert samples is not None
            count = int(samples.count[self.layout.tasks.index(task)])
        phase = self.problem.phases[0]
        rule = self.rule(type(phase)(task, phase.duration, learning_rate=0.0))
        memory = self.memory(1, rule)
        F, I2 = np.empty_like(self.W), np.empty(len(self.W))
        t = self.plan.trainer
        t.squared_slopes(count, head, t.g, t.dg, rule, memory, F, I2)
        return F, I2

    def rule(self, phase: Phase) -> Rule:
        """The kernel's view of a phase."""
        frame, _ = self.layout.start()
        system = self.layout.committee(phase, frame)
        places = [self.layout.tasks.index(name) for name in phase.mixture]
        read = (system.u != 0).any(axis=0) & (not self.plan.labelled)
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
        )

    def _samples_of(self, places: list[int]) -> dict[str, Any]:
        """The kernel's view of given inputs of some tasks, or of none."""
        samples, S = self.plan.samples, len(places)
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
        return make_memory(self.W, self.v, self.streams, batch, len(rule.B))

    @property
    def size(self) -> float:
        """Largest weight, NaN if one is."""
        return max(float(np.abs(self.W).max()), float(np.abs(self.v).max()))


def _child(seed: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """One of a seed's children; `spawn` would count them, and seeds are shared along a sweep."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i))
