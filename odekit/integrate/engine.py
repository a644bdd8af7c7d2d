"""Many trajectories through the phases of their problem, in compiled code and on all threads."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.integrate import DOP853, RK23, RK45

from odekit.base.arrays import Floats
from odekit.base.interrupts import Asked
from odekit.base.status import Outcome, Status, ended
from odekit.dataset.assemble import variables_of
from odekit.integrate import device as gpu
from odekit.integrate.compiling import stoppable
from odekit.integrate.options import DEVICE_METHODS, LANES_METHODS, SolverOptions
from odekit.integrate.record import Record
from odekit.integrate.results import Results
from odekit.integrate.shares import room, shares, spread
from odekit.integrate.stepper import Halt
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
from odekit_kernels.integrators.explicit import Tableau, advance_explicit
from odekit_kernels.integrators.implicit import advance_implicit, make_scratch
from odekit_kernels.integrators.rest import growths
from odekit_kernels.integrators.rosenbrock import RODAS5P
from odekit_kernels.integrators.stepping import Limits
from odekit_kernels.lanes.memory import make_memory
from odekit_kernels.simd import WIDTH

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem

METHODS = (None, *LANES_METHODS)
EXPLICIT: dict[str, Any] = {"RK23": RK23, "RK45": RK45, "DOP853": DOP853}
MOST_STAGES = RODAS5P.W.shape[1]
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


@cache
def tableau(kind: str) -> Tableau:
    """Coefficients of an explicit method, from scipy."""
    method = EXPLICIT[kind]
    A, B = np.asarray(method.A, float), np.asarray(method.B, float)
    W = np.zeros((len(B) + 1, len(B)))
    W[:-1, : A.shape[1]], W[-1] = A, B
    eighth = kind == "DOP853"
    return Tableau(
        W=W,
        nodes=np.append(np.asarray(method.C, float), 1.0),
        E=np.array([method.E5, method.E3] if eighth else [method.E], float),
        P=_dense_output(method) if eighth else np.ascontiguousarray(method.P, float),
        X=np.array(method.A_EXTRA if eighth else np.zeros((0, len(B) + 1)), float),
        more_nodes=np.array(method.C_EXTRA if eighth else [], float),
        exponent=-1.0 / (method.error_estimator_order + 1),
    )


def _dense_output(method: Any) -> Floats:
    """DOP853's interpolant, which is nested in θ and 1 − θ, by powers of θ from θ on."""
    stages = len(method.D[0])
    step = np.append(method.B, np.zeros(stages - len(method.B)))
    first, last = np.eye(stages)[[0, method.n_stages]]
    terms = [step, first - step, 2.0 * step - first - last, *method.D]
    total = np.zeros((stages, len(terms) + 1))
    for i, term in enumerate(reversed(terms)):
        total[:, 0] += term
        shifted = np.roll(total, 1, axis=1)
        total = shifted if i % 2 == 0 else total - shifted
    return np.ascontiguousarray(total[:, 1:])


def most_stages(method: str | None) -> int:
    """Stages of a step, and of its dense output, less one."""
    return MOST_STAGES if method != "DOP853" else len(tableau(method).P) - 1


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
    """Whether a device takes the steps of so many trajectories."""
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
    """

    def __init__(
        self,
        problem: AnyProblem,
        found: dict[str, Axis],
        options: SolverOptions,
        times: Floats,
        threads: int,
        interrupts: Asked,
    ) -> None:
        self.problem, self.options, self.times = problem, options, times
        self.threads, self.interrupts = threads, interrupts
        self.points = problem.system.points(problem, found)
        size = self.points.size
        self.record = Record(size, len(problem.phases), len(self.points.tasks))
        seconds = options.max_seconds
        self.deadline = np.inf if seconds is None else time.monotonic() + seconds
        self.on_device = on_device(options, size)
        self.on_host = np.full(size, not self.on_device)  # whether any row was made there
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
        self.results = Results(self.points.size, into)
        with room((self.points.size, self.times.size, y.shape[1])) as self.rows:
            self._run(frame, y)
            self._finish()
        del self.rows  # the memory is another batch's now
        self.results.take(self._of_runs())
        return {name: self.points.fold(value) for name, value in self.results.arrays.items()}

    def _run(self, frame: Any, y: Floats) -> None:
        self._prepare_errors()
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
            fixed = (plan, batch, pair, limits, todo, self._stopped)
            gpu.advance(*fixed, memory, errors=self.errors_there, threads=self.threads)
            return
        self.on_host[todo] = True
        work = self._implicit if implicit else self._explicit
        self._spread(todo, lambda part: self._advance(work, plan, batch, limits, part))

    def _limits(self, index: int, plan: Any, batch: Batch, worth: float) -> Limits:
        phase, options = self.problem.phases[index], self.options
        moves, trains = (any(map(_moves, each(rate))) for rate in phase.rates)
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
            decays=any(map(_moves, each(phase.weight_decay))),
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

    def _prepare_errors(self) -> None:
        """Let the device find the errors of the rows that it makes, where it can."""
        self.errors_there = None
        reading = self.points.reading() if self.on_device else None
        if reading is None:
            self.on_host[:] = True
        else:
            shape = (self.times.size, len(self.points.tasks))
            found = self.results.array("generalization_error", shape, np.dtype(float))
            self.errors_there = gpu.Errors(reading, found)

    def _finish(self) -> None:
        """Write all that is read from rows, a share of the trajectories at a time."""
        each = 8 * self.rows.shape[1] * self.rows.shape[2]
        spread(self._read, shares(len(self.rows), each, self.threads), self.threads)

    def _read(self, part: slice) -> None:
        rows, reached = self.rows[part], self.counts[part, ROW]
        filled = np.arange(self.times.size) < reached[:, np.newaxis]
        if not filled.all():
            rows[~filled] = np.nan
        which = np.arange(part.start, part.stop)
        self.results.put(part, self.points.arrays(rows, which))
        phases = self.record.phase_of_rows(self.times, filled, part)
        self.results.put(part, {"phase": phases})
        if self.on_host[part].all():
            errors = self.points.errors(rows, points=which)
            self.results.put(part, {"generalization_error": errors})
        else:
            self._errors_besides(part, rows, filled)

    def _errors_besides(self, part: slice, rows: Floats, filled: Any) -> None:
        """Errors of the rows that the device has not made: the first, and whole trajectories.

        By trajectory, so that none depends on what becomes of its neighbours.
        """
        assert self.errors_there is not None
        errors, which = self.errors_there.found[part], np.arange(part.start, part.stop)
        if not filled.all():
            errors[~filled] = np.nan
        if self.times[0] == 0.0:
            errors[:, :1] = self.points.errors(rows[:, :1], points=which)
        own = self.on_host[part]
        if own.any():
            errors[own] = self.points.errors(rows[own], points=which[own])

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


def _moves(rate: Any) -> bool:
    """Whether a learning rate, or a decay, is above 0 anywhere."""
    return isinstance(rate, Schedule) or bool(np.any(rate))


def _quota(work: int) -> int:
    """Steps of a group after which to look up; measured at K = P = 2, 4, 8."""
    return max(1, min(QUOTA, QUOTA_WORK // max(work, 1)))


def _group(plan: Any, todo: Any) -> tuple[Floats, Any, Any]:
    """Memory of a group of lanes, its whole numbers, and the queue of its trajectories."""
    return make_memory(plan.size), make_counters(WIDTH), np.array([0, 1, todo.size])
