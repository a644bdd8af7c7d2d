"""Derivatives of a sweep in the engine: which requests and points, and what is read of them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from odekit.base.arrays import Floats, Indices
from odekit.base.interrupts import Asked as Stopping
from odekit.base.status import Outcome, Status
from odekit.integrate.endings import Ends
from odekit.integrate.engine import Engine
from odekit.integrate.extended import METHOD, OutOfReach
from odekit.integrate.options import LEAST_RTOL, SolverOptions
from odekit.integrate.tangents import Carried, Tangents
from odekit.problem.axes import Axis, at, axes, part
from odekit.problem.schedule import Schedule
from odekit.sweeps.chunks import Chunking, chunk_shape
from odekit.systems.committee.gradients.chain import Found, with_ends
from odekit.systems.committee.gradients.columns import Columns
from odekit.systems.committee.gradients.ghosts import ghosts_of, packing_of
from odekit.systems.committee.gradients.readings import SINCE_SWITCH, Reading, log10_of
from odekit.systems.committee.gradients.run import VANISHED, Answer, Asked, points_of
from odekit.systems.committee.gradients.steps import Accuracy
from odekit_kernels.committee.activations import RELU

FEWEST = 256
"""Points of a sweep from which on kernels are worth their compilation: some 15 s once, and 2 s for
every new kind of phase, where a point by itself takes 5 ms."""
MOST = 64
"""Numbers that are carried along: each takes 0.05 ms at K = M = 2, going back by itself 6 ms."""
BYTES = 2**28
"""Of rows of one chunk."""
MOST_RUNS = 4096
FINER = 100.0
"""Tolerances asked for, in those of the steps. Errors as small as these grow on a plateau as
the mode does that leaves it: with 1, derivatives were off by up to 3e-6 at rtol 1e-8."""
LONG = 1.0
"""First step of the coarser run: steps that grow from a short one are too short for any tolerance,
and the same in both runs."""
OF_ERRORS = ("generalization_error", *SINCE_SWITCH)
AT_ENDS = (*SINCE_SWITCH, "phase_end_error")
"""Quantities that hang on errors at ends of phases."""
_SHARE = re.compile(r"phases\[(\d+)\]\.tasks\[")
READ = (*OF_ERRORS, "Q", "R", "Q_group", "R_group", "readout", "bias", "misclassification",
        "phase_end", "phase_end_error")  # fmt: skip
"""Quantities that are read of all points at once."""


def suits(problem: Any, asked: Asked, how: Accuracy, method: str | None) -> bool:
    """Whether derivatives of a sweep by these numbers may go in lanes."""
    size = math.prod(size for size, _ in axes(problem).values())
    count = sum(len(one.entries) for one in asked.names)
    return (
        size >= FEWEST
        and count <= MOST
        and method in (None, "forward")
        and how.integrator in (None, METHOD)
        and problem.system.in_lanes(problem)
        and problem.teacher_activation is None
        and all(one.base in READ and not one.taken for one in asked.readings)
        and not any(_is_apart(problem, entry) for one in asked.names for entry in one.entries)
    )


def _is_apart(problem: Any, entry: str) -> bool:
    """Whether a number is of a table, or moves others' tables, or is of rates by group.

    The largest of these has a kink.
    """
    if match := _SHARE.match(entry):
        shares = problem.phases[int(match[1])].mixture.values()
        return any(isinstance(share, Schedule) for share in shares)
    return ".values[" in entry or ".times[" in entry or ".learning_rate[" in entry


def _finer(how: Accuracy) -> Accuracy:
    """The steps of which derivatives are given; of those asked for is their error."""
    return replace(how, rtol=max(how.rtol / FINER, LEAST_RTOL), atol=how.atol / FINER)


@dataclass
class Reader:
    """What is read of visible states: `q` numbers, one reading after the other."""

    readings: Sequence[Reading]

    def __call__(self, points: Any, states: Floats, which: Indices) -> Floats:
        """Numbers (N, q) of states (N, n) of points `which`."""
        bases = {one.base for one in self.readings}
        flat = np.ascontiguousarray(states)
        arrays: dict[str, Any] = {}
        if bases.intersection(OF_ERRORS):
            arrays |= dict.fromkeys(OF_ERRORS, points.errors(flat, points=which))
        if bases.difference((*OF_ERRORS, "phase_end_error")):
            arrays |= points.arrays(flat[:, np.newaxis], which)
        parts = [self._of(one, arrays, len(flat)) for one in self.readings]
        return np.concatenate([np.zeros((len(flat), 0)), *parts], axis=1)

    @staticmethod
    def _of(one: Reading, arrays: Mapping[str, Any], size: int) -> Floats:
        if one.base == "phase_end_error":  # the same at all times: see `with_ends`
            return np.zeros((size, one.picked.size))
        if one.base not in arrays:  # a label is a sign here, and not at a ghost
            raise OutOfReach
        found: Floats = arrays[one.base].reshape(size, -1)[:, one.picked]
        return log10_of(found)[0] if one.log else found


def differentiate_in_lanes(
    problem: Any,
    asked: Asked,
    times: Floats | None,
    how: Accuracy,
    interrupts: Stopping,
    *,
    estimate: bool,
    threads: int,
) -> list[Answer | None]:
    """Derivatives at every point of a sweep; None at those that have to go by themselves."""
    found = axes(problem)
    first = at(problem, dict.fromkeys(found, 0))
    points = points_of(first, asked.names)
    m = Columns(first, points, asked.names).m  # refuses what nothing depends on
    sizes = {dim: size for dim, (size, _) in found.items()}
    answers = np.full(tuple(sizes.values()), None, dtype=object)
    row = 8 * points.start()[1].shape[1] * (1 + m)
    most = BYTES // (row if times is None else row * times.size)
    cut = Chunking(sizes, chunk_shape(sizes, min(MOST_RUNS, max(most, 1))))
    for number in range(len(cut)):
        region = cut.region(number)
        try:
            some = _Some(part(problem, region), asked, times, how, interrupts, threads)
            own = some.answers(estimate=estimate)
        except OutOfReach:
            return [None] * answers.size
        block = answers[tuple(region[dim] for dim in sizes)]
        for place, answer in zip(np.ndindex(block.shape), own, strict=True):
            block[place] = answer
        if interrupts.asked:
            break
    return list(answers.ravel())


class _Some:
    """Some points of a sweep."""

    def __init__(
        self, problem: Any, asked: Asked, times: Floats | None, how: Accuracy,
        interrupts: Stopping, threads: int,
    ) -> None:  # fmt: skip
        self.problem, self.asked, self.how = problem, asked, how
        self.times = np.zeros(0) if times is None else times
        self.found: dict[str, Axis] = axes(problem)
        self.interrupts, self.threads = interrupts, threads
        self.readings = [one for one in asked.readings if one.base != "phase_end"]
        self.packing = packing_of(problem, self.found, asked.names)
        if self.packing.points.code == RELU and self.packing.points.G:
            raise OutOfReach  # there nothing tells that a unit vanishes
        self.ghosts, self.units = ghosts_of(problem, self.found, asked.names, self.packing)

    def answers(self, *, estimate: bool) -> list[Answer | None]:
        """One for each point."""
        ends = self._ends()
        fine = self._carried(_finer(self.how), ends)
        rough = self._carried(self.how, ends, LONG) if estimate else None
        fails = fine.left_out | fine.stopped
        if rough is not None:
            fails |= rough.left_out | rough.stopped
        return [None if fails[i] else self._answer(fine, rough, i) for i in range(len(fails))]

    def _options(self, how: Accuracy, method: str | None) -> SolverOptions:
        return SolverOptions(method, how.rtol, how.atol, max_steps=how.max_steps)

    def _ends(self) -> Ends | None:
        """When phases end, where any may do so by a threshold."""
        if not any(phase.thresholds for phase in self.problem.phases):
            return None
        options = self._options(self.how, None)
        engine = Engine(
            self.problem, self.found, options, np.zeros(1), self.threads, self.interrupts
        )
        engine.run()
        record = engine.record
        through: Any = record.status == Status.COMPLETED
        times = np.where(through[:, np.newaxis], record.ends, np.nan)
        return Ends(times, record.outcomes == Outcome.THRESHOLD)

    def _carried(
        self, how: Accuracy, ends: Ends | None, first_step: float | None = None
    ) -> Carried:
        closes = {one.base for one in self.readings}.intersection(AT_ENDS)
        options = replace(self._options(how, METHOD), first_step=first_step)
        where = (self.packing, self.ghosts, self.found, options, self.times)
        more: Any = {"read": Reader(self.readings), "closes": bool(closes), "ends": ends}
        found = Tangents(*where, self.threads, self.interrupts, corner=VANISHED, **more).carried()
        for slopes in (found.slopes, found.by_end, found.by_end_error):
            slopes /= self.units.reshape(len(self.units), *(1,) * (slopes.ndim - 2), -1)
        return found

    def _answer(self, fine: Carried, rough: Carried | None, i: int) -> Answer:
        coarse = None if rough is None else self._found(rough, i)
        steps, end = int(fine.steps[i]), float(fine.ends[i, -1])
        names, readings = self.asked
        return Answer(self._found(fine, i), coarse, names, readings, "forward", steps, end)

    def _found(self, carried: Carried, i: int) -> Found:
        parts = (carried.values, carried.slopes, carried.ends, carried.by_end,
                 carried.end_errors, carried.by_end_error)  # fmt: skip
        return with_ends(Found(*(array[i] for array in parts)), self.readings, self.times)
