"""One run: its phases, its rows, and the record from which it resumes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Asked
from odekit.base.saved import Saved
from odekit.base.status import Outcome, Status
from odekit.integrate.options import SolverOptions, default_times
from odekit.integrate.phase import End, Integrator, Position
from odekit.integrate.policy import Policy
from odekit.integrate.record import Record
from odekit.integrate.stepper import Budget, Halt

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem
    from odekit.store.checkpoint import Checkpoint

MOST_NUMBERS = 2**28
"""Largest number of doubles (2 GiB) that the rows of one run may take."""
SHOW_EVERY = 20
INACCURATE = End(Status.INACCURATE, Outcome.FAILED)


class Run:
    """Advance a problem through its phases and keep rows.

    Parameters
    ----------
    problem : AnyProblem
    options : SolverOptions
    times : array or None
        Output times that were asked for.
    checkpoint : Checkpoint or None
    """

    def __init__(
        self,
        problem: AnyProblem,
        options: SolverOptions,
        times: Floats | None,
        checkpoint: Checkpoint | None,
    ) -> None:
        self.problem, self.options, self.times = problem, options, times
        self.points = problem.system.points(problem, {})
        self.width = self.points.start()[1].size
        self.views: list[Any] = []  # entries of the state that a row shows, for each phase
        self.record = Record(1, len(problem.phases), len(self.points.tasks))
        self.budget = Budget(options)
        self.t: list[float] = []
        self.y: list[Floats] = []
        self.saved_rows = 0
        # What a resumed run is rebuilt from: the state at the end of every phase so far.
        self.ends: list[Floats] = []
        self.end_times: list[float] = []
        self.outcomes: list[Outcome] = []
        self.methods: list[list[str]] = []
        self.status = Status.COMPLETED
        self.position: Position | None = None
        self.folder = checkpoint.keep(self._identity()) if checkpoint else None
        self._check_memory()

    def _identity(self) -> dict[str, Any]:
        """What must be equal for a checkpoint to be this run's; budgets may differ."""
        solver = self.options.to_dict()
        for budget in ("max_steps", "max_seconds"):
            solver.pop(budget, None)
        times = None if self.times is None else self.times.tolist()
        # Equal mappings may differ in order, which is that of the numbers in the state.
        order = self.problem.order
        return {**self.problem.to_dict(), "solver": {**solver, "t_eval": times}, "order": order}

    def _check_memory(self) -> None:
        rows = len(self.times) if self.times is not None else 501 * len(self.problem.phases)
        if rows * self.width > MOST_NUMBERS:
            raise ProblemError(
                "t_eval",
                f"must give at most {MOST_NUMBERS} numbers",
                f"{rows} rows of {self.width}",
                "Ask for fewer rows.",
            )

    def integrate(
        self, interrupts: Asked, show: Callable[[float], None] | None = None
    ) -> dict[str, Any]:
        """Integrate all phases, and return the variables of the dataset by name."""
        self.budget.interrupts, self.show = interrupts, show
        try:
            self._run()
        finally:
            if self.folder is not None:
                self.folder.release()
        return self.arrays()

    @property
    def t_last(self) -> float:
        """Last time reached."""
        return self.position.t if self.position is not None else 0.0

    # ------------------------------------------------------------------------------- the phases

    def _run(self) -> None:
        frame, y = self.points.start()
        self.views = []
        shown = self.points.shown(frame)
        found = self.folder.open() if self.folder is not None else None
        if found is not None:
            self._restore(*found)
        elif self.times is None or self.times[0] == 0.0:
            self._keep(0.0, y[0, shown])
        begin = 0.0
        for i in range(len(self.problem.phases)):
            frame, y = self.points.enter(i, frame, y)
            self.views.append(self.points.shown(frame))
            if i >= len(self.outcomes):
                self._run_phase(i, frame, y[0], begin)
            if self.status != Status.COMPLETED:
                break
            begin, y = self.end_times[i], self.ends[i][np.newaxis]
        self._finish()

    def _run_phase(self, i: int, frame: Any, y: Floats, begin: float) -> None:
        duration = float(self.problem.phases[i].duration)
        if self.position is None:
            self.position = Position(begin, y)
        end = begin + duration
        self.equations = self.points.equations(i, frame, begin)
        integrator = Integrator(
            self.equations,
            self.position,
            end,
            self._targets(begin, end, duration),
            self.options,
            self.budget,
            self._emit,
            self._after_step,
        )
        accurate = self.equations.accurate(self.position.y)
        result = integrator.run() if accurate else INACCURATE
        if result.status == Status.NONFINITE and self.equations.refused:
            result = INACCURATE
        position = self.position
        self.status = result.status
        self.outcomes.append(result.outcome)
        self.methods.append(position.used)
        self.end_times.append(position.t)
        self.ends.append(position.y)
        if result.status == Status.COMPLETED:
            if self.times is None and self.t[-1] < position.t:
                self._emit(position.t, position.y)
            self.position = None if i + 1 < len(self.problem.phases) else position

    def _targets(self, begin: float, end: float, duration: float) -> Floats:
        """Times of the rows still to come in a phase."""
        assert self.position is not None
        if self.times is None:
            wanted = np.unique(begin + default_times(duration))
            wanted[-1] = end
        else:
            wanted = self.times
        return wanted[(wanted > self.position.t) & (wanted <= end)]

    def _emit(self, t: float, y: Floats) -> None:
        self._keep(t, y[self.views[-1]])

    def _keep(self, t: float, visible: Floats) -> None:
        self.t.append(t)
        self.y.append(visible)

    def _after_step(self, position: Position) -> None:
        if self.show is not None and self.budget.steps % SHOW_EVERY == 0:
            self.show(position.t)
        if not self.equations.accurate(position.y):
            raise Halt(Status.INACCURATE)
        self.budget.check_time()
        if self.folder is not None and self.folder.due:
            self._save()

    def _finish(self) -> None:
        """Keep the last point reached of a run that stopped early, and what it can resume from."""
        if self.folder is not None:
            if self.status == Status.COMPLETED:
                self._save()
            elif self.status in (Status.INTERRUPTED, Status.TIME_BUDGET, Status.STEP_BUDGET):
                self._forget_failed_phase()
                self._save()
        if self.status != Status.COMPLETED and self.position is not None:
            reached = self.position
            if not self.t or self.t[-1] < reached.t:
                self._emit(reached.t, reached.y)

    # ------------------------------------------------------------------------------ the record

    def _forget_failed_phase(self) -> None:
        """A phase that was only interrupted is not over: a resumed run goes on inside it."""
        for part in (self.outcomes, self.methods, self.end_times, self.ends):
            part.pop()

    def _save(self) -> None:
        assert self.folder is not None
        arrays = {f"end_{i}": y for i, y in enumerate(self.ends)}
        words: dict[str, Any] = {
            "end_times": self.end_times,
            "outcomes": [int(o) for o in self.outcomes],
            "methods": self.methods,
            "counts": [self.budget.steps, self.budget.calls, self.budget.jacobians],
        }
        p = self.position
        if p is not None:
            arrays["y"] = p.y
            if p.f is not None:
                arrays["f"] = p.f
            longest = p.policy.longest
            policy = {**asdict(p.policy), "longest": longest if np.isfinite(longest) else None}
            words["position"] = {"t": p.t, "h": p.h, "used": p.used, "policy": policy}
        new = slice(self.saved_rows, len(self.t))
        rows = np.array(self.y[new]).reshape(len(self.t[new]), self.width)
        if self.folder.write(Saved(arrays, words), np.array(self.t[new]), rows):
            self.saved_rows = len(self.t)

    def _restore(self, record: Saved, t: Floats, y: Floats) -> None:
        words = record.words
        self.t, self.y, self.saved_rows = t.tolist(), list(y), t.size
        self.end_times = words["end_times"]
        self.outcomes = [Outcome(o) for o in words["outcomes"]]
        self.methods = words["methods"]
        self.ends = [record.arrays[f"end_{i}"] for i in range(len(self.outcomes))]
        self.budget.steps, self.budget.calls, self.budget.jacobians = words["counts"]
        position = words.get("position")
        if position is None:
            return
        policy = position["policy"]
        policy["longest"] = np.inf if policy["longest"] is None else policy["longest"]
        self.position = Position(
            t=position["t"],
            y=record.arrays["y"],
            h=position["h"],
            f=record.arrays.get("f"),
            policy=Policy(**policy),
            used=position["used"],
        )

    # ----------------------------------------------------------------------------- the result

    def arrays(self) -> dict[str, Any]:
        """Variables of the dataset by name; ``time`` among them."""
        t, record = np.array(self.t), self.record
        rows = np.array(self.y).reshape(1, t.size, self.width)
        record.status[0], record.t_last[0] = self.status, self.t_last
        for i, outcome in enumerate(self.outcomes):
            errors = self.points.errors(self.ends[i][np.newaxis, self.views[i]])
            record.close(0, i, self.end_times[i], outcome, errors[0])
            record.name(0, i, _method(self.methods[i]))
        work = self.budget
        record.steps[0], record.calls[0], record.jacobians[0] = (
            work.steps,
            work.calls,
            work.jacobians,
        )
        found = {
            **self.points.arrays(rows),
            "generalization_error": self.points.errors(rows),
            "phase": record.phase_of_rows(t, True),
            **record.arrays(),
        }
        return {**{name: value[0] for name, value in found.items()}, "time": t}


def _method(used: list[str]) -> str:
    """Integrators in the order of their use, e.g. "DOP853 -> Radau"."""
    shown = used if len(used) <= 6 else [*used[:5], "..."]
    return " -> ".join(shown) or "none"
