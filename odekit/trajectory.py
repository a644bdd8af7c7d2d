"""One network, trained from its first phase to its last, and what is measured on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.crosscheck import protected_task
from odekit.inputs import Samples
from odekit.interrupts import Interrupts
from odekit.layout import CommitteeLayout
from odekit.options import default_times
from odekit.schedule import Schedule
from odekit.status import Outcome, Status
from odekit.trainer import Trainer
from odekit.weights import realise
from odekit_kernels.sgd import Memory, Rule, make_memory, overlaps, padded
from odekit_kernels.stream import streams

if TYPE_CHECKING:
    from odekit.problem import Phase, Problem

Floats = np.ndarray[Any, np.dtype[np.float64]]

WORK = 2.0e8
"""Multiplications between two looks at whether to stop: about a tenth of a second."""
MOST_STEPS = 2**16
LARGEST = 1e100


class Request(NamedTuple):
    """Steps that a network is about to take: what `Trainer.train` needs besides the activation."""

    steps: int
    eta_w: Floats
    eta_v: Floats
    rule: Rule
    memory: Memory


Requests = Generator[Request, None, None]


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


class Trajectory:
    """Train one network by SGD and keep rows.

    Parameters
    ----------
    problem : Problem
        With plain numbers.
    plan : Plan
    seed : numpy.random.SeedSequence
        Of this network alone.
    """

    def __init__(self, problem: Problem, plan: Plan, seed: np.random.SeedSequence) -> None:
        self.problem, self.plan, self.seed = problem, plan, seed
        self.layout = CommitteeLayout(problem)
        self.N = plan.input_dim
        self.t: list[float] = []
        self.y: list[Floats] = []
        self.measured: list[Floats] = []
        self.ends: list[tuple[float, Floats, Floats]] = []
        self.outcomes: list[Outcome] = []
        self.status = Status.COMPLETED
        self.step = 0
        self.t_last = 0.0
        self.finished = False
        self.total = sum(round(float(p.duration) * self.N) for p in problem.phases)

    @property
    def progress(self) -> float:
        """Share of the steps that were taken."""
        return 1.0 if self.finished else min(self.step / max(self.total, 1), 1.0)

    def run(self, interrupts: Interrupts) -> dict[str, Any]:
        """Train through all phases, and return the variables of the dataset by name."""
        t = self.plan.trainer
        for request in self.requests(interrupts):
            t.train(request.steps, request.eta_w, request.eta_v, t.g, t.dg, *request[3:])
        return self.arrays()

    def requests(self, interrupts: Interrupts) -> Requests:
        """Go through all phases; whoever iterates takes the steps, before asking for more."""
        self.interrupts = interrupts
        self._begin()
        if self.plan.times is None or self.plan.times[0] == 0.0:
            self._emit(0.0)
        begin = 0.0
        for i, phase in enumerate(self.problem.phases):
            self._enter(i)
            yield from self._train(phase, begin)
            begin = self.t_last
            if self.status != Status.COMPLETED:
                break
        late = self.status != Status.COMPLETED and (not self.t or self.t[-1] < self.t_last)
        if late and self.status != Status.BLOW_UP:
            self._emit(self.t_last)
        self.finished = True

    # --------------------------------------------------------------------------- the network

    def _begin(self) -> None:
        """Weights with the problem's overlaps, readouts, random numbers, no penalties."""
        frame, drawn = (_child(self.seed, i) for i in range(2))
        W, B = realise(self.problem.state, self.N, frame)
        self.W, self.B = padded(W), padded(B)
        heads = self.layout.heads
        self.v = np.array([self.problem.heads[name] for name in heads], dtype=float)
        self.streams = streams(drawn.generate_state(4, np.uint64))
        none = np.zeros((0, self.W.shape[1]))
        self.F, self.Fa = none, none
        self.F_v, self.Fv = np.zeros_like(self.v), np.zeros_like(self.v)
        self.errors_seen = 0 if self.plan.samples is None else len(self.layout.tasks)

    def _state(self) -> Floats:
        """Order parameters of the network as it is."""
        K, P = len(self.W), len(self.B)
        Q, R = np.empty((K, K)), np.empty((K, P))
        overlaps(self.W, self.W, self.N, Q)
        overlaps(self.W, self.B, self.N, R)
        return self.layout.pack(Q, R, self.v)

    def _measured_errors(self) -> Floats:
        """Half the mean squared error of each task over the given samples, shape (tasks,)."""
        samples, g = self.plan.samples, self.plan.trainer.value
        found = np.empty(self.errors_seen)
        for s in range(self.errors_seen):
            assert samples is not None
            x, y = samples.of(s)
            scaled = x[:, : self.N] / np.sqrt(self.N)
            if not y.size:
                y = g(scaled @ self.B[:, : self.N].T) @ self.layout.u[s]
            answer = g(scaled @ self.W[:, : self.N].T) @ self.v[self.layout.head_index[s]]
            found[s] = 0.5 * np.mean((y - answer) ** 2)
        return found

    # ----------------------------------------------------------------------------- a phase

    def _enter(self, index: int) -> None:
        """Copies of heads and of units are made, as in the theory: by `CommitteeLayout.enter`."""
        frame, _ = self.layout.start()
        frame, y = self.layout.enter(index, frame, self._state())
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
        rule = self._rule(type(phase)(task, phase.duration, learning_rate=0.0))
        memory = make_memory(self.W, self.v, self.streams, 1, len(rule.B))
        F, I2 = np.empty_like(self.W), np.empty(len(self.W))
        t = self.plan.trainer
        t.squared_slopes(count, head, t.g, t.dg, rule, memory, F, I2)
        return F, I2

    def _rule(self, phase: Phase) -> Rule:
        """The kernel's view of a phase."""
        frame, _ = self.layout.start()
        system = self.layout.committee(phase, frame)
        places = [self.layout.tasks.index(name) for name in phase.mixture]
        read = (system.u != 0).any(axis=0) & (not self._labelled)
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

    @property
    def _labelled(self) -> bool:
        return self.plan.samples is not None and self.plan.samples.labels.shape[1] > 0

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

    def _train(self, phase: Phase, begin: float) -> Requests:
        """Train one phase, from row to row and from look to look at its threshold."""
        self.rule = self._rule(phase)
        batch = int(phase.batch_size)
        self.memory = make_memory(self.W, self.v, self.streams, batch, len(self.rule.B))
        end = begin + float(phase.duration)
        last = max(round(end * self.N), self.step)
        watched = [(self.layout.tasks.index(n), level) for n, level in phase.thresholds.items()]
        every = max(1, round(self.plan.check_every * self.N)) if watched else max(last, 1)
        self._set_due(begin, float(phase.duration), last, bool(watched))
        started, below = self.step, bool(watched) and self._below(watched)
        while not below and self._emit_due() and self.step < last:
            look = started + ((self.step - started) // every + 1) * every
            row = self.due[0][1] if self.due else last
            yield from self._advance(phase, begin, min(row, look, last))
            below = bool(watched) and self._below(watched)
        self._emit_due()
        reached = min(self.step / self.N, end) if below or self.step < last else end
        self._leave(reached, below, watched)

    def _set_due(self, begin: float, duration: float, last: int, watched: bool) -> None:
        """Note the rows still to come in a phase, each with its step.

        That is the nearest, or the next where the phase may end by threshold: no row may be later
        than its end.
        """
        rows = self._targets(begin, duration)
        places = np.ceil(rows * self.N - 1e-6) if watched else np.rint(rows * self.N)
        steps = np.clip(places, self.step, last).astype(int)
        self.due = deque(zip(rows.tolist(), steps.tolist(), strict=True))

    def _emit_due(self) -> bool:
        """Write the rows of this step, and say whether the run goes on."""
        going = self.status == Status.COMPLETED
        while going and self.due and self.due[0][1] <= self.step:
            self._emit(self.due.popleft()[0])
        return going

    def _targets(self, begin: float, duration: float) -> Floats:
        """Times of the rows in a phase: those of `odekit.solve`."""
        times, end = self.plan.times, begin + duration
        if times is None:
            times = np.unique(begin + default_times(duration))
            times[-1] = end
        return times[(times > begin) & (times <= end)]

    def _advance(self, phase: Phase, begin: float, stop: int) -> Requests:
        """Take the steps up to `stop`, with a look now and then at whether to go on."""
        width = (len(self.W) * 2 + len(self.rule.B) + 4) * self.W.shape[1] * int(phase.batch_size)
        most = int(min(max(WORK / width, 1), MOST_STEPS))
        while self.step < stop and self.status == Status.COMPLETED:
            steps = min(most, stop - self.step)
            times = np.arange(self.step, self.step + steps) / self.N - begin
            eta_w = _rates(phase.learning_rate, times)
            eta_v = _rates(phase.readout_learning_rate, times)
            yield Request(steps, eta_w, eta_v, self.rule, self.memory)
            self.step += steps
            if self.interrupts.asked and self.step < self.total:
                self.status = Status.INTERRUPTED
            self._sound()

    def _sound(self) -> bool:
        """Whether the network is finite; else the run is over."""
        size = max(float(np.abs(self.W).max()), float(np.abs(self.v).max()))
        if not size < LARGEST:
            self.status = Status.BLOW_UP
        return size < LARGEST

    def _below(self, watched: list[tuple[int, float]]) -> bool:
        """Whether every watched task's error is at its threshold: measured, if inputs are given."""
        errors = self._errors(self._state()[None])[0]
        if self.errors_seen:
            errors = self._measured_errors()
        return all(errors[s] <= level for s, level in watched)

    def _leave(self, t: float, below: bool, watched: Any) -> None:
        """Note how the phase ended, and keep its last state."""
        failed = self.status != Status.COMPLETED
        self.t_last = t
        missed = Outcome.THRESHOLD_MISSED if watched else Outcome.DURATION
        outcome = Outcome.FAILED if failed else Outcome.THRESHOLD if below else missed
        self.outcomes.append(outcome)
        self.ends.append((t, self._state(), self._measured_errors()))
        if not failed and self.plan.times is None and self.t[-1] < t:
            self._emit(t)

    # ------------------------------------------------------------------------------ the result

    def _emit(self, t: float) -> None:
        self.t.append(t)
        self.y.append(self._state())
        self.measured.append(self._measured_errors())

    def _errors(self, rows: Floats) -> Floats:
        """Errors of states, shape (rows, tasks); NaN where one is not finite."""
        errors = np.full((len(rows), len(self.layout.tasks)), np.nan)
        sound = np.isfinite(rows).all(axis=1)
        errors[sound] = self.layout.errors(rows[sound])
        return errors

    def _end_errors(self) -> Floats:
        """Errors as each phase ended, shape (phases, tasks); NaN for those that never began."""
        last = self._errors(np.array([y for _, y, _ in self.ends]))
        if self._labelled:
            last = np.array([measured for _, _, measured in self.ends])
        missing = len(self.problem.phases) - len(self.ends)
        return np.concatenate([last, np.full((missing, last.shape[1]), np.nan)])

    def arrays(self) -> dict[str, Any]:
        """Variables of the dataset by name, ``time`` among them; the network is given up."""
        t, phases = np.array(self.t), len(self.problem.phases)
        never = phases - len(self.ends)
        ends = np.array([end for end, _, _ in self.ends])
        arrays = {
            **self.layout.arrays(np.array(self.y).reshape(t.size, -1)),
            "time": t,
            # The row at a switch holds the state that the old phase ended with.
            "phase": np.searchsorted(ends[: phases - 1], t, side="left"),
            "status": np.int8(self.status),
            "t_last": self.t_last,
            "n_steps": self.step,
            "n_rhs": 0,
            "phase_end": np.append(ends, np.full(never, np.nan)),
            "phase_end_error": self._end_errors(),
            "phase_outcome": np.array([*self.outcomes, *[Outcome.NOT_STARTED] * never], np.int8),
        }
        if self.errors_seen:
            arrays["test_error"] = np.array(self.measured).reshape(t.size, self.errors_seen)
        if self._labelled:  # no overlap knows these labels: the error is what was measured
            arrays["generalization_error"] = arrays["test_error"]
        del self.W, self.B, self.F, self.Fa, self.rule, self.memory
        return arrays


def _child(seed: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """One of a seed's children; `spawn` would count them, and seeds are shared along a sweep."""
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i))


def _rates(rate: Any, times: Floats) -> Floats:
    """A learning rate at the times of steps, shape (steps,), or (1,) if it is constant."""
    return rate.at(times) if isinstance(rate, Schedule) else np.array([float(rate)])
