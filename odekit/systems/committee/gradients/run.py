"""Derivatives of a run of one committee: which way, and how far off they may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.systems.committee.activations import quadrature_of
from odekit.systems.committee.gradients.chain import MOST_RATES, Chain, Found
from odekit.systems.committee.gradients.columns import Columns, Name, names_of
from odekit.systems.committee.gradients.course import Taken, ends_of
from odekit.systems.committee.gradients.curves import Curves
from odekit.systems.committee.gradients.ghosts import asks_general, asks_views, see_apart
from odekit.systems.committee.gradients.places import is_structured
from odekit.systems.committee.gradients.readings import Reading, readings_of
from odekit.systems.committee.gradients.steps import Accuracy
from odekit.systems.committee.packing import points_of as packed
from odekit_kernels.committee.activations import RELU

COARSER, WIDER = 100.0, 1.5
"""Tolerance and cap of the run with which derivatives are compared, in those asked for. A method of
order 8 is off 26 times as much at steps 1.5 times as long; with 10 and 1.25 the difference was a
third of the error where phases take few steps."""
VANISHED = 1e-10
"""Squared norm of a unit of ReLU at which its derivatives jump."""
ROWS_AT_A_TIME = 0.05
"""Work of a column of sensitivities, in right-hand sides a stage (0.02 to 0.09 were measured)."""


class Answer(NamedTuple):
    """What `differentiate` found.

    Attributes
    ----------
    fine, coarse : Found
        `coarse` is None where no estimate was asked for.
    names : list of Name
    readings : list of Reading
    method : str
        "forward" or "adjoint".
    steps : int
    end : float
        When the run ended.
    """

    fine: Found
    coarse: Found | None
    names: list[Name]
    readings: list[Reading]
    method: str
    steps: int
    end: float

    def unknown(self) -> Answer:
        """The same of a run of which nothing is known."""
        fine = self.fine.unknown()
        coarse = None if self.coarse is None else self.coarse.unknown()
        return self._replace(fine=fine, coarse=coarse, steps=0, end=np.nan)


class Asked(NamedTuple):
    """What derivatives are taken of, and by what: the same at all points of a sweep."""

    names: list[Name]
    readings: list[Reading]


def check(problem: Any, of: Sequence[str], wrt: Sequence[str]) -> Asked:
    """Names that were asked for; refuses what has no derivative here."""
    own = quadrature_of(problem)
    if own is not None:
        remedy = "Those of erf, of linear units, and of ReLU in gradient flow have."
        rule = "must be one whose moments have closed forms"
        raise ProblemError("activation", rule, str(problem.activation), remedy)
    return Asked(names_of(problem, wrt), readings_of(problem, of))


def points_of(problem: Any, names: Sequence[Name]) -> Any:
    """The packing; where a view of inputs is differentiated by, each task has a law of its own.

    White inputs are one group where phases have numbers of tasks, or numbers that move: what the
    reverse pass of white inputs takes is constant in a phase. What quicker equations leave out, as
    it has its usual value, still has derivatives.
    """
    points = packed(problem, {}, general=asks_general(names))
    own = any(phase.curves or phase.noise_std for phase in problem.phases)
    if asks_views(names) or (own and not is_structured(points) and not points.G):
        see_apart(problem, points)
    return points


def differentiate(
    problem: Any,
    asked: Asked,
    times: Floats | None,
    how: Accuracy,
    method: str | None,
    *,
    estimate: bool,
) -> Answer:
    """Derivatives of a problem without sweep dims, that `check` was asked about."""
    names, readings = asked
    problem = _apart(problem)
    ends = ends_of(problem, how.rtol, how.atol)
    columns = Columns(problem, points_of(problem, names), names)
    plain = [reading for reading in readings if not reading.taken]
    taken = Taken(problem, columns, times, how, ends)
    _no_kinks(taken)
    chain = Chain(taken, columns, plain)
    chosen = method or _cheaper(chain)

    def found(chain: Chain, how: Accuracy) -> Found:
        one = chain.forward() if chosen == "forward" else chain.backward()
        return _with_curves(one, Curves(problem, columns, how, ends, chosen), readings)

    fine, coarse = found(chain, how), None
    if estimate:
        rougher = replace(
            how, rtol=min(COARSER * how.rtol, 0.1), atol=COARSER * how.atol, cap=WIDER * how.cap
        )
        other = Taken(problem, columns, times, rougher, ends)
        coarse = found(Chain(other, columns, plain), rougher)
    return Answer(fine, coarse, names, readings, chosen, taken.steps, taken.end)


def _apart(problem: Any) -> Any:
    """The problem with a schedule of its own for each number that follows one: each may change."""
    phases = [phase.apart() for phase in problem.phases]
    same = all(one is other for one, other in zip(phases, problem.phases, strict=True))
    return problem if same else problem.replace(phases=phases)


def _with_curves(found: Found, curves: Curves, readings: Sequence[Reading]) -> Found:
    """Besides what is read in rows, numbers of whole curves, the same in all rows."""
    if not any(reading.taken for reading in readings):
        return found
    values, slopes, place = [], [], 0
    rows = len(found.values)
    for reading in readings:
        if reading.taken:
            value, slope = curves.of(reading)
            values.append(np.broadcast_to(value, (rows, *value.shape)))
            slopes.append(np.broadcast_to(slope, (rows, *slope.shape)))
        elif reading.base != "phase_end":
            own = slice(place, place + reading.picked.size)
            values.append(found.values[:, own])
            slopes.append(found.slopes[:, own])
            place = own.stop
    return replace(found, values=np.hstack(values), slopes=np.hstack(slopes))


def _no_kinks(taken: Taken) -> None:
    """Refuse units of ReLU that vanish: the derivative jumps there."""
    points = taken.points
    if points.code != RELU:
        return
    diagonal = [int(np.flatnonzero(points.upper[0] == k)[0]) for k in range(points.K)]
    for leg in taken.legs:
        if leg.states[:, diagonal].min() < VANISHED:
            rule = "must keep its units of ReLU away from zero"
            raise ProblemError("problem", rule, f"one that vanishes in phase {leg.index}")


def _cheaper(chain: Chain) -> str:
    """Forward for few parameters and for curves, backward for many parameters of a few scalars."""
    scalars = chain.q * max(chain.taken.times.size, 1) + len(chain.ends)
    n = chain.links[-1].leg.y_end.size
    rates = sum(len(p.rates) for p in chain.columns.phases)
    held = rates * chain.taken.steps * chain.taken.pair.B.size
    forward = 5.0 + ROWS_AT_A_TIME * chain.m * max(n / 9.0, 1.0)
    backward = 2.0 + 1.75 * scalars
    return "adjoint" if backward < forward or held > MOST_RATES else "forward"
