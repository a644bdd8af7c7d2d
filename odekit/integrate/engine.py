"""Many trajectories through the phases of their problem, in compiled code and on all threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.interrupts import Asked
from odekit.base.status import Outcome, Status, ended
from odekit.dataset.assemble import variables_of
from odekit.integrate import device as gpu
from odekit.integrate.compiling import stoppable
from odekit.integrate.options import DEVICE_METHODS, LANES_METHODS, SolverOptions
from odekit.integrate.record import Record
from odekit.integrate.results import Results
from odekit.integrate.rows import Rows
from odekit.integrate.shares import room, shares, spread
from odekit.integrate.stepper import Halt
from odekit.integrate.tableaus import most_stages, tableau
from odekit.problem.axes import Axis
from odekit.problem.phase import each
from odekit.problem.schedule import Schedule
from odekit_kernels.integrators.batch import (
    CALLS,
    CODE,
    CRAWLS,
    EASY,
    END,
    JACOBIANS,
    KEPT,
    NUMBERS,
    OUTCOMES,
    QUIET,
    ROW,
    STEPS,
    STIFF,
    TIME,
    WAITS,
    Batch,
    make_counters,
    put_back,
)
from odekit_kernels.integrators.explicit import advance_explicit
from odekit_kernels.integrators.implicit import advance_implicit, make_scratch
from odekit_kernels.integrators.rest import growths
from odekit_kernels.integrators.rosenbrock import RODAS5P
from odekit_kernels.integrators.stepping import Limits
from odekit_kernels.lanes.memory import make_memory
from odekit_kernels.simd import WIDTH

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem
    from odekit.problem.phase import Phase

METHODS = (None, *LANES_METHODS)
QUOTA = 20_000
"""Most steps of a group between two looks at interrupts and deadlines: tens of milliseconds."""
QUOTA_WORK = 600_000
"""The same as a number of moments I4: some 0.03 µs each for eight trajectories."""
SHARE = 512
"""Trajectories that a thread takes at a time: their last eight leave lanes idle."""
WORTH_STEPS = 400.0
"""Steps at the stability limit still to come that a change to the implicit partner must save."""

STATUS = {
    OUTCOMES["nonfinite"]: Status.NONFINITE,
    OUTCOMES["blow_up"]: Status.BLOW_UP,
    OUTCOMES["stalled"]: Status.STALLED,
    OUTCOMES["step_budget"]: Status.STEP_BUDGET,
}
RUNNING, DONE, THRESHOLD = OUTCOMES["running"], OUTCOMES["done"], OUTCOMES["threshold"]
HAND_OVER, AT_CORNER, AT_REST = (OUTCOMES[k] for k in ("hand_over", "at_corner", "at_rest"))
LONGEST_QUIET = 63
"""Most steps after which to ask again whether a trajectory is at rest that was not."""


def run_alone(
    problem: AnyProblem, options: SolverOptions, times: Floats, interrupts: Asked
) -> dict[str, Any]:
    """One trajectory by a method that only the engine has; rows that it did not reach are left out.

    Returns
    -------
    dict of str to ndarray
        Variables of the dataset by name, ``time`` among them.
    """
    engine = Engine(problem, {}, options, times, 1, interrupts)
    arrays, known = engine.run(), variables_of(problem)
    reached = slice(int(engine.counts[0, ROW]))
    for name in arrays:
        if "time" in known[name].dims:
            arrays[name] = arrays[name][reached]
    return {**arrays, "time": times[reached]}


def suits(problem: AnyProblem, options: SolverOptions) -> bool:
    """Whether the engine can do it; what it cannot, scipy's integrators do point by point."""
    return problem.system.in_lanes(problem) and options.method in METHODS


def on_device(options: SolverOptions, size: int) -> bool:
    """Whether a device takes the explicit steps of so many trajectories."""
    fits = options.method in DEVICE_METHODS and options.steady_state is None
    return gpu.choose(options.device if fits else "cpu", size)


class Engine:
    """All points of a sweep, advanced phase by phase.

    Parameters
    ----------
    problem : AnyProblem
    found : dict
        Sweep dims, from `odekit.problem.axes.axes`.
    options : SolverOptions
    times : array
        Output times, common to all points.
    threads : int
    interrupts : Asked
    points : Points, optional
        The packing, by default that of the problem.
    """

    def __init__(
        self,
        problem: AnyProblem,
        found: dict[str, Axis],
        options: SolverOptions,
        times: Floats,
        threads: int,
        interrupts: Asked,
        points: Any = None,
    ) -> None:
        self.problem, self.options, self.times = problem, options, times
        self.threads, self.interrupts = threads, interrupts
        self.points = problem.system.points(problem, found) if points is None else points
        size = self.points.size
        self.record = Record(size, len(problem.phases), len(self.points.tasks))
        seconds = options.max_seconds
        self.deadline = np.inf if seconds is None else time.monotonic() + seconds
        self.on_device = on_device(options, size)
        self.numbers = np.zeros((size, NUMBERS))
        self.counts = np.zeros((size, KEPT), dtype=np.int64)
        self.ends: list[Floats] = []  # the states with which the phases ended

    def run(self, into: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Integrate everything, and return the variables of the dataset by name.

        Parameters
        ----------
        into : mapping of str to ndarray, optional
            Arrays of variables in which they are to be written, all sweep dims in one.
        """
        frame, y = self.points.start()
        results = Results(self.points.size, into)
        with room((self.points.size, self.times.size, y.shape[1])) as self.rows:
            self.reading = Rows(self.points, self.times, self.rows, results, self.on_device)
            self._run(frame, y)
            self.reading.finish(self.counts[:, ROW], self.record, self.threads)
        del self.rows, self.reading  # the memory is another batch's now
        results.take(self._of_runs())
        return {name: self.points.fold(value) for name, value in results.arrays.items()}

    def _run(self, frame: Any, y: Floats) -> None:
        if self.times[0] == 0.0:
            self.rows[:, 0] = y
            self.counts[:, ROW] = 1
        for index in range(len(self.problem.phases)):
            frame, y = self.points.enter(index, frame, y)
            alive = self.record.status == Status.COMPLETED
            self._phase(index, frame, y, alive)
            last = index + 1 == len(self.problem.phases)
            self.ends.append(y if last else y.copy())
            self._close(index, alive, self._errors(y[:, self.points.shown(frame)]))

    def _phase(self, index: int, frame: Any, y: Floats, alive: Any) -> None:
        phase = self.problem.phases[index]
        begin, duration = self.numbers[:, TIME], self.points.values(phase.duration)
        first = np.full_like(begin, self.options.first_step or 0.0)
        never = np.full_like(begin, -np.inf)
        self.numbers = np.stack([begin, begin, begin + duration, first, never], axis=1)
        self.counts[:, CODE] = RUNNING
        self.counts[:, [WAITS, CRAWLS, STIFF, EASY, QUIET]] = 0
        self.doubts = np.zeros(len(self.counts), dtype=np.int64)
        plan = self.points.plan(phase, frame, most_stages(self.options.method))
        batch = self.points.batch(
            index,
            frame,
            plan,
            y=y,
            numbers=self.numbers,
            counts=self.counts,
            times=self.times,
            rows=self.rows,
        )._replace(lands=self.options.method == "DOP853")
        # A duration below the rounding of the time leaves no step to take.
        over: Any = self.numbers[:, END] <= begin
        self.counts[over, CODE] = DONE
        todo = np.flatnonzero(alive & ~over)
        if phase.thresholds:
            todo = self._already_there(index, frame, y, todo)
        self._integrate(index, plan, batch, todo)

    def _already_there(self, index: int, frame: Any, y: Floats, todo: Any) -> Any:
        """End at once the phases whose thresholds are met as they begin; return the others."""
        phase = self.problem.phases[index]
        errors = self.points.errors(y, self.points.watched(phase), frame)
        met: Any = np.all(errors <= self.points.levels(phase), axis=1)
        self.counts[met, CODE] = THRESHOLD
        return todo[~met[todo]]

    def _integrate(self, index: int, plan: Any, batch: Batch, todo: Any) -> None:
        """Advance all; with no method named, hand trajectories from partner to partner."""
        method = self.options.method
        worth = WORTH_STEPS * self.points.patience(plan) if method is None else np.inf
        limits = self._limits(index, plan, batch, worth)
        corners = self._corners(plan, batch, limits, todo)
        implicit = method == "Rodas5P"
        while todo.size and not self._stopped():
            self.record.uses(todo, index, "Rodas5P" if implicit else method or "RK45")
            left = todo
            while left.size and not self._stopped():
                self._partner(implicit, plan, batch, limits, left)
                code = self.counts[left, CODE]
                cornered = left[code == AT_CORNER]
                if corners is not None:
                    corners.settle_all(cornered)
                moving = self._moving(plan, batch, limits, left[code == AT_REST])
                left = np.concatenate([cornered, moving])
            todo = todo[self.counts[todo, CODE] == HAND_OVER]
            self.counts[todo, CODE] = RUNNING
            self.counts[todo, STIFF] = self.counts[todo, EASY] = 0
            implicit = not implicit

    def _corners(self, plan: Any, batch: Batch, limits: Limits, todo: Any) -> Any:
        """What settles trajectories at corners, after it has done so for a phase's beginning."""
        if limits.corner == 0.0:
            return None
        corners = self.points.corners(plan, batch, self.options.atol, self.options.rtol)
        corners.settle_all(todo)
        return corners

    def _moving(self, plan: Any, batch: Batch, limits: Limits, todo: Any) -> Any:
        """Those that only seem to be at rest, since a mode grows; they are asked less often."""
        if not todo.size:
            return todo
        growth = np.empty(todo.size)
        fixed = (make_memory(plan.size), make_counters(WIDTH), plan, batch, limits.scheduled)
        scratch = make_scratch(plan.n, batch.places.size)
        growths(*fixed, todo, scratch, self.points.work(plan), growth)
        left: Any = todo[~(growth <= limits.steady)]
        self.counts[left, CODE] = RUNNING
        self.doubts[left] = np.minimum(2 * self.doubts[left] + 1, LONGEST_QUIET)
        self.counts[left, QUIET] = self.doubts[left]
        return left

    def _partner(self, implicit: bool, plan: Any, batch: Batch, limits: Limits, todo: Any) -> None:
        """Advance by one of the partners, until trajectories end or ask for something else."""
        if self.on_device and (not implicit or gpu.choose(self.options.device, todo.size)):
            pair = RODAS5P if implicit else tableau(self.options.method or "RK45")
            memory = self.points.work(plan) if implicit else None
            fixed = (plan, batch, pair, limits, todo, self._stopped, memory)
            gpu.advance(*fixed, errors=self.reading.there, threads=self.threads)
            return
        self.reading.on_host[todo] = True
        work = self._implicit if implicit else self._explicit
        self._spread(todo, lambda part: self._advance(work, plan, batch, limits, part))

    def _limits(self, index: int, plan: Any, batch: Batch, worth: float) -> Limits:
        phase, options = self.problem.phases[index], self.options
        moves, trains, decays = needs(phase)
        corner, atol_corner = self.points.corner_limits(plan, moves, options.atol)
        return Limits(
            rtol=options.rtol,
            atol=options.atol,
            max_step=options.max_step,
            first_step=options.first_step or 0.0,
            corner=corner,
            atol_corner=atol_corner,
            max_steps=options.max_steps,
            worth=worth,
            steady=options.steady_state or 0.0,
            moves=moves,
            trains=trains,
            decays=decays,
            scheduled=batch.driven.entry.size > 0,
        )

    def _spread(self, todo: Any, work: Any) -> None:
        """Give shares of the trajectories to threads."""
        share = max(WIDTH, min(SHARE, -(-todo.size // self.threads)))
        parts = [np.ascontiguousarray(todo[i : i + share]) for i in range(0, todo.size, share)]
        spread(work, parts, self.threads)

    def _advance(self, work: Any, plan: Any, batch: Batch, limits: Limits, todo: Any) -> None:
        """Let a method work, unless all is to stop before it is compiled."""
        with contextlib.suppress(Halt), stoppable(self._halt):
            work(plan, batch, limits, todo)

    def _halt(self) -> None:
        if self._stopped():
            raise Halt(Status.INTERRUPTED)

    def _explicit(self, plan: Any, batch: Batch, limits: Limits, todo: Any) -> None:
        pair = tableau(self.options.method or "RK45")
        memory, counters, queue = _group(plan, todo)
        quota = _quota(self.points.cost(plan))
        fixed = (memory, counters, plan, batch, pair, limits, queue, todo, quota)
        while not advance_explicit(*fixed):
            if self._stopped():
                self._put_back(memory, counters, plan, batch)
                return

    def _implicit(self, plan: Any, batch: Batch, limits: Limits, todo: Any) -> None:
        memory, counters, queue = _group(plan, todo)
        scratch = make_scratch(plan.n, batch.places.size)
        work = self.points.work(plan)
        # A Jacobian of every lane, and the inverses.
        quota = _quota(10 * (self.points.cost(plan) + plan.n**3 // 100))
        fixed = (memory, counters, plan, batch, RODAS5P, limits, queue, todo, quota, scratch, work)
        while not advance_implicit(*fixed):
            if self._stopped():
                self._put_back(memory, counters, plan, batch)
                return

    def _put_back(self, *group: Any) -> None:
        """Keep what was reached; where that is to be compiled, it is not what is to stop."""
        with stoppable(lambda: None):
            put_back(*group)

    def _stopped(self) -> bool:
        return self.interrupts.asked or time.monotonic() > self.deadline

    def _close(self, index: int, alive: Any, errors: Floats) -> None:
        """Read off how the phase went."""
        code, watched = self.counts[:, CODE], bool(self.problem.phases[index].thresholds)
        outcome = np.full(code.size, Outcome.FAILED, dtype=np.int8)
        outcome[code == DONE] = ended(False, watched)
        outcome[code == THRESHOLD] = ended(True, watched)
        outcome[code == AT_REST] = Outcome.STEADY
        which: Any = slice(None) if alive.all() else alive
        reached = self.numbers[which, TIME]
        self.record.close(which, index, reached, outcome[which], errors[which])
        status = self.record.status
        if (code == DONE).all():
            return
        for failed, why in STATUS.items():
            status[alive & (code == failed)] = why
        unfinished = Status.INTERRUPTED if self.interrupts.asked else Status.TIME_BUDGET
        status[alive & (code == RUNNING)] = unfinished

    # --------------------------------------------------------------------------------- the result

    def _errors(self, y: Floats) -> Floats:
        """Errors of every task in one state of each trajectory."""
        found = np.empty((len(y), len(self.points.tasks)))

        def fill(part: slice) -> None:
            found[part] = self.points.errors(y[part], points=np.arange(part.start, part.stop))

        spread(fill, shares(len(y), 8 * y.shape[1], self.threads), self.threads)
        return found

    def _of_runs(self) -> dict[str, Any]:
        record = self.record
        record.t_last = self.numbers[:, TIME].copy()
        record.steps, record.calls, record.jacobians = self.counts[:, [STEPS, CALLS, JACOBIANS]].T
        return record.arrays()


def needs(phase: Phase) -> tuple[bool, bool, bool]:
    """Whether first layers move, readouts do, and weights decay."""
    of = (*phase.rates, phase.weight_decay)
    moves, trains, decays = (any(map(_moves, each(given))) for given in of)
    return moves, trains, decays


def _moves(rate: Any) -> bool:
    """Whether a learning rate, or a decay, is above 0 anywhere."""
    return isinstance(rate, Schedule) or bool(np.any(rate))


def _quota(work: int) -> int:
    """Steps of a group after which to look up; measured at K = P = 2, 4, 8."""
    return max(1, min(QUOTA, QUOTA_WORK // max(work, 1)))


def _group(plan: Any, todo: Any) -> tuple[Floats, Any, Any]:
    """Memory of a group of lanes, its whole numbers, and the queue of its trajectories."""
    return make_memory(plan.size), make_counters(WIDTH), np.array([0, 1, todo.size])
