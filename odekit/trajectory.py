"""One network, trained from its first phase to its last, and what is measured on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from odekit.interrupts import Interrupts
from odekit.layout import CommitteeLayout
from odekit.network import Network, Plan
from odekit.options import default_times
from odekit.schedule import Schedule
from odekit.status import Outcome, Status
from odekit_kernels.sgd_memory import Memory, Rule

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
        self.layout, self.N = CommitteeLayout(problem), plan.input_dim
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
        self.network = Network(self.layout, self.plan, self.seed)
        if self.plan.times is None or self.plan.times[0] == 0.0:
            self._emit(0.0)
        begin = 0.0
        for i, phase in enumerate(self.problem.phases):
            self.network.enter(i)
            yield from self._train(phase, begin)
            begin = self.t_last
            if self.status != Status.COMPLETED:
                break
        late = self.status != Status.COMPLETED and (not self.t or self.t[-1] < self.t_last)
        if late and self.status != Status.BLOW_UP:
            self._emit(self.t_last)
        self.finished = True

    def _train(self, phase: Phase, begin: float) -> Requests:
        """Train one phase, from row to row and from look to look at its threshold."""
        rule = self.network.rule(phase)
        memory = self.network.memory(int(phase.batch_size), rule)
        end = begin + float(phase.duration)
        last = max(round(end * self.N), self.step)
        watched = [(self.layout.tasks.index(n), level) for n, level in phase.thresholds.items()]
        every = max(1, round(self.plan.check_every * self.N)) if watched else max(last, 1)
        self._set_due(begin, float(phase.duration), last, bool(watched))
        started, below = self.step, bool(watched) and self._below(watched)
        while not below and self._emit_due() and self.step < last:
            look = started + ((self.step - started) // every + 1) * every
            row = self.due[0][1] if self.due else last
            yield from self._advance(phase, begin, min(row, look, last), rule, memory)
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

    def _advance(
        self, phase: Phase, begin: float, stop: int, rule: Rule, memory: Memory
    ) -> Requests:
        """Take the steps up to `stop`, with a look now and then at whether to go on."""
        width = (len(memory.W) * 2 + len(rule.B) + 4) * memory.x.size
        most = int(min(max(WORK / width, 1), MOST_STEPS))
        while self.step < stop and self.status == Status.COMPLETED:
            steps = min(most, stop - self.step)
            times = np.arange(self.step, self.step + steps) / self.N - begin
            eta_w = _rates(phase.learning_rate, times)
            eta_v = _rates(phase.readout_learning_rate, times)
            yield Request(steps, eta_w, eta_v, rule, memory)
            self.step += steps
            if self.interrupts.asked and self.step < self.total:
                self.status = Status.INTERRUPTED
            self._sound()

    def _sound(self) -> bool:
        """Whether the network is finite; else the run is over."""
        sound = self.network.size < LARGEST
        if not sound:
            self.status = Status.BLOW_UP
        return sound

    def _below(self, watched: list[tuple[int, float]]) -> bool:
        """Whether every watched task's error is at its threshold: measured, if inputs are given."""
        errors = self._errors(self.network.state()[None])[0]
        if self.plan.samples is not None:
            errors = self.network.measured_errors()
        return all(errors[s] <= level for s, level in watched)

    def _leave(self, t: float, below: bool, watched: Any) -> None:
        """Note how the phase ended, and keep its last state."""
        failed = self.status != Status.COMPLETED
        self.t_last = t
        missed = Outcome.THRESHOLD_MISSED if watched else Outcome.DURATION
        outcome = Outcome.FAILED if failed else Outcome.THRESHOLD if below else missed
        self.outcomes.append(outcome)
        self.ends.append((t, self.network.state(), self.network.measured_errors()))
        if not failed and self.plan.times is None and self.t[-1] < t:
            self._emit(t)

    # ------------------------------------------------------------------------------ the result

    def _emit(self, t: float) -> None:
        self.t.append(t)
        self.y.append(self.network.state())
        self.measured.append(self.network.measured_errors())

    def _errors(self, rows: Floats) -> Floats:
        """Errors of states, shape (rows, tasks); NaN where one is not finite."""
        errors = np.full((len(rows), len(self.layout.tasks)), np.nan)
        sound = np.isfinite(rows).all(axis=1)
        errors[sound] = self.layout.errors(rows[sound])
        return errors

    def _end_errors(self) -> Floats:
        """Errors as each phase ended, shape (phases, tasks); NaN for those that never began."""
        last = self._errors(np.array([y for _, y, _ in self.ends]))
        if self.plan.labelled:
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
        if self.plan.samples is not None:
            arrays["test_error"] = np.array(self.measured).reshape(t.size, -1)
        if self.plan.labelled:  # no overlap knows these labels: the error is what was measured
            arrays["generalization_error"] = arrays["test_error"]
        del self.network
        return arrays


def _rates(rate: Any, times: Floats) -> Floats:
    """A learning rate at the times of steps, shape (steps,), or (1,) if it is constant."""
    return rate.at(times) if isinstance(rate, Schedule) else np.array([float(rate)])
