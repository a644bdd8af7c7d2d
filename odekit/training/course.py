"""One network, trained from its first phase to its last, and what is measured on the way."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.interrupts import Stop
from odekit.base.status import Outcome, Status, ended
from odekit.integrate.options import default_times
from odekit.integrate.record import Record
from odekit.problem.schedule import Schedule

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem
    from odekit.problem.phase import Phase

WORK = 2.0e8
"""Multiplications between two looks at whether to stop: about a tenth of a second."""
MOST_STEPS = 2**16
FEWEST_STEPS = 16
LARGEST = 1e100
COARSE = 0.01
"""By how much numbers of a phase may change, in their largest values, within steps that are taken
together at their means: what is left is of second order in it."""


class Request(NamedTuple):
    """Steps that a network is about to take."""

    steps: int
    rates: tuple[Floats, Floats]
    lesson: Any


Requests = Generator[Request, None, None]


class Experiment(Protocol):
    """What is common to all networks of a simulation."""

    @property
    def input_dim(self) -> int:
        """N: steps in a unit of time."""

    @property
    def times(self) -> Floats | None:
        """Output times; by default those of `odekit.solve`, from the start of each phase."""

    @property
    def check_every(self) -> float:
        """Time between two looks at the thresholds of `until`."""

    @property
    def measured(self) -> bool:
        """Whether errors are measured on given inputs."""

    @property
    def labelled(self) -> bool:
        """Whether labels are given, so that the state does not know the error."""


class Trainee(Protocol):
    """A network that is trained."""

    def enter(self, index: int) -> None:
        """What happens as a phase begins."""

    def lesson(self, phase: Phase) -> Any:
        """What a phase is trained with."""

    def train(self, steps: int, rates: tuple[Floats, Floats], lesson: Any) -> None:
        """Take steps of SGD."""

    def width(self, lesson: Any) -> int:
        """Multiplications of a step, roughly."""

    def state(self) -> Floats:
        """What a row shows of it."""

    def measured_errors(self) -> Floats:
        """Error of every task over given inputs."""

    @property
    def size(self) -> float:
        """Largest weight, NaN if one is."""


class Trajectory:
    """Train one network by SGD and keep rows.

    Parameters
    ----------
    problem : AnyProblem
        With plain numbers.
    experiment : Experiment
    points : Points
        Its packing.
    build : callable
        Makes the network, which is not there before it is trained.
    """

    def __init__(
        self, problem: AnyProblem, experiment: Experiment, points: Any, build: Callable[[], Trainee]
    ) -> None:
        self.problem, self.experiment, self.build = problem, experiment, build
        self.points, self.N = points, experiment.input_dim
        self.record = Record(1, len(problem.phases), len(points.tasks))
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

    def run(self, stop: Stop) -> dict[str, Any]:
        """Train through all phases, and return the variables of the dataset by name."""
        for request in self.requests(stop):
            self.network.train(*request)
        return self.arrays()

    def requests(self, stop: Stop) -> Requests:
        """Go through all phases; whoever iterates takes the steps, before asking for more."""
        self.stop = stop
        self.network = self.build()
        if self.experiment.times is None or self.experiment.times[0] == 0.0:
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
        end = begin + float(phase.duration)
        last = max(round(end * self.N), self.step)
        watched = [(self.points.tasks.index(n), level) for n, level in phase.thresholds.items()]
        every = max(1, round(self.experiment.check_every * self.N)) if watched else max(last, 1)
        self._set_due(begin, float(phase.duration), last, bool(watched))
        self.lesson, self.look = None, MOST_STEPS
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
        times, end = self.experiment.times, begin + duration
        if times is None:
            times = np.unique(begin + default_times(duration))
            times[-1] = end
        return times[(times > begin) & (times <= end)]

    def _advance(self, phase: Phase, begin: float, stop: int) -> Requests:
        """Take the steps up to `stop`, with a look now and then at whether to go on."""
        while self.step < stop and self.status == Status.COMPLETED:
            steps = min(self.look, stop - self.step)
            times = np.arange(self.step, self.step + steps) / self.N - begin
            steps, taught = _alike(phase, times)
            # As far as schedules are evaluated in vain, next time less.
            whole = steps == times.size
            self.look = min(2 * self.look, MOST_STEPS) if whole else max(2 * steps, FEWEST_STEPS)
            lesson = self._lesson(phase, taught)
            steps = min(steps, int(max(WORK / self.network.width(lesson), 1)))
            eta_w, eta_v = (_rates(rate, times[:steps]) for rate in taught.common_rates)
            yield Request(steps, (eta_w, eta_v), lesson)
            self.step += steps
            if self.stop.asked and self.step < self.total:
                late = self.stop.late
                self.status = Status.TIME_BUDGET if late else Status.INTERRUPTED
            self._sound()

    def _lesson(self, phase: Phase, taught: Phase) -> Any:
        """What to train with: one for the whole phase unless its numbers change."""
        if self.lesson is None or taught is not phase:
            self.lesson = self.network.lesson(taught)
        return self.lesson

    def _sound(self) -> bool:
        """Whether the network is finite; else the run is over."""
        sound = self.network.size < LARGEST
        if not sound:
            self.status = Status.BLOW_UP
        return sound

    def _below(self, watched: list[tuple[int, float]]) -> bool:
        """Whether every watched task's error is at its threshold: measured, if inputs are given."""
        errors = self._errors(self.network.state()[None])[0]
        if self.experiment.measured:
            errors = self.network.measured_errors()
        return all(errors[s] <= level for s, level in watched)

    def _leave(self, t: float, below: bool, watched: Any) -> None:
        """Note how the phase ended, and keep its last state."""
        failed = self.status != Status.COMPLETED
        self.t_last = t
        self.outcomes.append(ended(below, bool(watched), failed))
        self.ends.append((t, self.network.state(), self.network.measured_errors()))
        if not failed and self.experiment.times is None and self.t[-1] < t:
            self._emit(t)

    # ------------------------------------------------------------------------------ the result

    def _emit(self, t: float) -> None:
        self.t.append(t)
        self.y.append(self.network.state())
        self.measured.append(self.network.measured_errors())

    def _errors(self, rows: Floats) -> Floats:
        """Errors of states, shape (rows, tasks); NaN where one is not finite."""
        errors = np.full((len(rows), len(self.points.tasks)), np.nan)
        sound = np.isfinite(rows).all(axis=1)
        errors[sound] = self.points.errors(rows[np.newaxis, sound])[0]
        return errors

    def arrays(self) -> dict[str, Any]:
        """Variables of the dataset by name, ``time`` among them; the network is given up."""
        t, record = np.array(self.t), self.record
        record.status[0], record.t_last[0], record.steps[0] = self.status, self.t_last, self.step
        for i, (end, y, measured) in enumerate(self.ends):
            # No overlap knows given labels: the error is what was measured.
            errors = measured if self.experiment.labelled else self._errors(y[np.newaxis])[0]
            record.close(0, i, end, self.outcomes[i], errors)
        rows = np.array(self.y).reshape(t.size, -1)
        found = {**self.points.arrays(rows[np.newaxis]), **record.arrays()}
        found["phase"] = record.phase_of_rows(t, True)
        arrays = {n: v[0] for n, v in found.items() if n not in ("n_jac", "method")}
        arrays |= {"time": t, "generalization_error": self._errors(rows)}
        if self.experiment.measured:
            arrays["test_error"] = np.array(self.measured).reshape(t.size, -1)
        if self.experiment.labelled:
            arrays["generalization_error"] = arrays["test_error"]
        del self.network
        return arrays


def _alike(phase: Phase, times: Floats) -> tuple[int, Phase]:
    """How many of the next steps no schedule tells apart, and the phase that they have.

    But for those of the learning rates, which each step has for itself.
    """
    curves = phase.curves
    if not curves:
        return times.size, phase
    moved = np.zeros(times.size)
    for curve in curves:
        values = curve.at(times)
        moved[1:] += np.cumsum(np.abs(np.diff(values))) / max(curve.values.max(), 1e-300)
    steps = int(np.searchsorted(moved, COARSE, side="right"))
    return steps, phase.during(times[:steps])


def _rates(rate: Any, times: Floats) -> Floats:
    """A learning rate at the times of steps, shape (steps,), or (1,) if it is constant."""
    return rate.at(times) if isinstance(rate, Schedule) else np.array([float(rate)])
