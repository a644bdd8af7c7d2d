"""Follow fixed points as a number of the problem changes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count, flag, interval, number, positive, single
from odekit.base.errors import NotCompletedWarning, ProblemError
from odekit.base.interrupts import Interrupts
from odekit.base.status import Convergence
from odekit.dynamics.arclength import BOUND
from odekit.dynamics.branches import Explorer
from odekit.dynamics.branchset import ATTRIBUTE, SPECIAL, Table, is_branches
from odekit.dynamics.branchwords import how_it_ended
from odekit.dynamics.curve import Curve, Spot
from odekit.dynamics.parameter import OneParameter
from odekit.dynamics.special import Event, events
from odekit.problem import names
from odekit.problem.base import AnyProblem

if TYPE_CHECKING:
    import xarray as xr

MOST_POINTS, MOST_BRANCHES = 1000, 20
SMALLEST = 0.1
"""Size of a state that is smaller: order parameters are of the order of one."""


def continuation(
    problem: AnyProblem,
    along: str | Callable[[float], AnyProblem],
    between: tuple[float, float],
    start: Any = None,
    *,
    at: float | None = None,
    phase: int = 0,
    switch: bool = False,
    max_points: int = MOST_POINTS,
    max_branches: int = MOST_BRANCHES,
    bound: float = BOUND,
) -> xr.Dataset:
    """Follow a branch of fixed points of one phase as a number of the problem changes.

    The branch is followed both ways from a fixed point, round folds, to the ends of the range, with
    its stability at every point; special points are located on it. Steps choose themselves
    (pseudo-arclength; Keller 1977).

    Parameters
    ----------
    problem : Problem, LinearProblem, or one that `odekit.system` made
        With plain numbers (no sweep dims).
    along : str or callable
        The number, named as it is written: ``"phases[0].learning_rate"``,
        ``"phases[0].weight_decay"``, ``"tasks[main].noise_std"``, ``"tasks[a].readout[1]"``,
        ``"phases[1].consolidation.strength"``; an array without an entry changes as a whole. Or a
        function from a number to a problem of the same shape, for all that is no single number: the
        similarity of teachers, an angle, a scale.
    between : tuple of float
        The range of the number, from low to high.
    start : Dataset or mapping, optional
        Where to begin: a fixed point (`odekit.fixed_point`), a row of a run, or a guess of some of
        the variables of the state, ``{"R": ...}``; Newton's method goes to a fixed point near it.
        Or a special point of an earlier result, ``first.isel(special=0)``: the other branches
        through it are followed, each in one direction, as with `switch`. By default the state
        with which the phase begins.
    at : float, optional
        The number there; by default that of `start`, if it is a point of an earlier result, or of
        the problem. Needed where `along` is a function.
    phase : int
        Its rates must be constant. What a phase makes of the state as it begins (copies of heads;
        of units, by a consolidation) is made of the problem's own start.
    switch : bool
        Whether to follow the other branches through every branch point, and through those on them.
        Of branches that a symmetry maps onto each other one is followed; those that begin with
        states which no real vectors have are left out.
    max_points : int
        Most points of a branch in one direction.
    max_branches : int
        Most branches, with `switch`.
    bound : float
        A branch ends where the state is this many times larger than at the start.

    Returns
    -------
    Dataset, dims (branch, point, …)
        The variables of the state and ``generalization_error`` at every point of every branch;
        ``parameter``, the number; ``n_unstable``, how many directions grow; ``eigenvalue_real`` and
        ``eigenvalue_imag``, sorted; ``physical``, whether real vectors have these overlaps;
        ``end_status``, how each branch ended at its first and its last point (`end_reason`: what
        the equations said). Special points along ``special``: ``special_kind`` (fold, pitchfork,
        transcritical, hopf), ``special_parameter``, the state there (``special_Q`` …), the branch,
        the point before, and how many eigenvalues cross. Points that a branch lacks are NaN.

    Warns
    -----
    NotCompletedWarning
        If a branch ended for another reason than that it left the range, closed, or ran to
        infinity; all that was computed is there.

    Raises
    ------
    ProblemError
        If the name or the range makes no sense, nothing moves, or there is no fixed point near the
        start.

    Notes
    -----
    Entries of the state that nothing moves, such as readouts at rate 0, are numbers of the problem:
    they have no eigenvalues. Fixed points may form families (heads that are not trained); steps are
    the least ones, which stay with a member.

    Folds are found to rounding by Newton's method on f = 0, J v = 0, |v| = 1. Other special points
    are found by counting the eigenvalues that cross zero, several at once where a symmetry says so,
    and located to about 1e-10 of the range.

    Examples
    --------
    Beyond a learning rate of π√(5/3) a unit can no longer learn its teacher perfectly:

    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[1.0]], R=[[1.0]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0])},
    ...     phases=[ok.Phase("main", duration=1.0, learning_rate=1.0)],
    ... )
    >>> found = ok.continuation(problem, "phases[0].learning_rate", between=(0.1, 5.0))
    >>> found.special_parameter.values.round(6)
    array([4.055779])
    """
    task = _Task(problem, along, between, at, phase)
    points = count("max_points", max_points, most=10**6, least=2)
    infinity = single(positive, "bound", bound)
    most = count("max_branches", max_branches, most=1000)
    everywhere = flag("switch", switch)
    event, z, curve = task.begin(start)
    with Interrupts() as interrupts:
        explorer = Explorer(
            curve, points, infinity, lambda: interrupts.asked, task.physical_on(curve)
        )
        whole = True
        if event is None:
            explorer.both_ways(z)
        else:
            whole = explorer.from_branch_point(event, most=most)
        if everywhere:
            whole = explorer.everywhere(most) and whole
    words = {**task.words, "switch": everywhere, "max_points": points, "bound": infinity}
    words |= {"max_branches": most, "whole": whole}
    ds = Table(curve, task.family, explorer.branches).dataset(task.problem, words)
    ended = how_it_ended(ds)
    if ended:
        warnings.warn(ended, NotCompletedWarning, stacklevel=2)
    return ds


class _Task:
    """What is asked for, checked."""

    def __init__(
        self,
        problem: AnyProblem,
        along: str | Callable[[float], AnyProblem],
        between: tuple[float, float],
        at: float | None,
        phase: int,
    ) -> None:
        self.problem, self.along, self.phase = problem, along, phase
        self.between = interval("between", between)
        self.at = None if at is None else single(number, "at", at)
        self.said = at is not None
        if callable(along):
            problem_of, self.name = along, ""
        else:
            own = names.get(problem, along, "along")
            self.name = along
            self.at = self._own(own) if at is None else self.at
            problem_of = self._with
        self.family = OneParameter(problem_of, phase, self.between)
        for mu in self.between:
            _constant(self.family.field(mu).problem, phase)

    def _with(self, mu: float) -> AnyProblem:
        return names.replace(self.problem, self.name, mu, "along")

    def _own(self, own: Any) -> float | None:
        """The problem's own value of the number, if all of it is one number."""
        values = np.unique(own)
        return float(values[0]) if values.size == 1 else None

    @property
    def words(self) -> dict[str, Any]:
        """What is asked for, as plain data."""
        return {"along": self.name, "between": list(self.between), "phase": self.phase}

    def begin(self, start: Any) -> tuple[Event | None, Floats, Curve]:
        """The special point, if it is one, or the fixed point to begin from, on its curve."""
        if start is not None and is_branches(start):
            if start["parameter"].ndim:
                return self._special(start)
            if not self.said and self._is_along(start):
                self.at = float(start["parameter"])
        if self.at is None or not self.between[0] <= self.at <= self.between[1]:
            rule = f"must be a number within `between`, {self.between}"
            remedy = "It is the value of the number at the start."
            raise ProblemError("at", rule, "none" if self.at is None else f"{self.at:g}", remedy)
        field = self.family.field(self.at)
        y = field.start if start is None else field.pack(start)
        curve = self._curve(y)
        there, how = self.family.near(y[self.family.moving], self.at)
        if how is not Convergence.CONVERGED:
            rule = "must be near a fixed point"
            raise ProblemError("start", rule, f"none that was found: {how.meaning}", how.remedy)
        return None, curve.point(there, self.at), curve

    def _is_along(self, start: xr.Dataset) -> bool:
        """Whether a result is along the same number."""
        return bool(json.loads(start.attrs[ATTRIBUTE])["along"] == self.name)

    def physical_on(self, curve: Curve) -> Callable[[Spot], bool]:
        """Whether real vectors have the overlaps of points of a curve."""

        def physical(spot: Spot) -> bool:
            return bool(self.family.physical(curve.state(spot.z), curve.parameter(spot.z)))

        return physical

    def _curve(self, y: Floats) -> Curve:
        self.family.hold(y)
        size = max(float(np.abs(y[self.family.moving]).max(initial=0.0)), SMALLEST)
        return Curve(self.family.f, self.family.jac, self.between, size)

    def _special(self, start: xr.Dataset) -> tuple[Event, Floats, Curve]:
        """A special point of an earlier result, located again between its neighbours."""
        if start.get(SPECIAL + "kind", start["parameter"]).ndim:
            rule = "must be one special point of a result, or one point"
            remedy = "Choose one: first.isel(special=0), or first.isel(branch=0, point=0)."
            raise ProblemError("start", rule, "all of it", remedy)
        one = start.isel(branch=int(start[SPECIAL + "branch"]))
        first = int(start[SPECIAL + "point"])
        there = [
            one.isel(point=i) for i in range(max(first - 1, 0), min(first + 3, int(one.n_points)))
        ]
        states = [self.family.field(float(row.parameter)).pack(row) for row in there]
        curve = self._curve(states[0])
        zs = [
            curve.point(y[self.family.moving], float(row.parameter))
            for y, row in zip(states, there, strict=True)
        ]
        spots = [curve.look(z, zs[-1] - zs[0]) for z in zs]
        mu = float(start[SPECIAL + "parameter"])
        found = events(curve, [spot for spot in spots if spot is not None])
        near = [e for e in found if e.kind == int(start[SPECIAL + "kind"])]
        if not near:
            rule = "must be a special point of a result of this problem"
            raise ProblemError(
                "start", rule, f"none at {mu:g}", "Give the same `along`, `between`."
            )
        event = min(near, key=lambda e: abs(curve.parameter(e.z) - mu))
        return event, event.z, curve


def _constant(problem: AnyProblem, phase: int) -> None:
    """Refuse a phase without fixed points."""
    if problem.phases[phase].schedules:
        rule = "must have constant numbers"
        raise ProblemError(f"phases[{phase}]", rule, "a schedule", "Give one number.")
