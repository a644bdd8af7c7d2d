"""A declared system held against itself: compiled and plain, Jacobian and differences, methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import ProblemError
from odekit.systems.outside.probe import Probe
from odekit.systems.outside.problem import DeclaredProblem
from odekit.testing.agreement import assert_agrees, assert_jacobian_matches
from odekit.testing.report import FACTOR, hold
from odekit.verbs.solve import solve

if TYPE_CHECKING:
    from odekit.problem.phase import Phase
    from odekit.testing.report import Floats

ROUNDING = 1e-14
DIFFERENCES = 1e-9
"""Unit of deviations of a Jacobian by differences."""
ROWS = 5


def assert_declared(
    problem: DeclaredProblem,
    *,
    spread: float = 0.1,
    points: int = 5,
    seed: int = 0,
    runs: bool = True,
    factor: float = FACTOR,
) -> None:
    """Assert that a declared system is the same however it is computed.

    Near the start of the problem, in each of its phases: the compiled right-hand side and errors
    are those of the plain functions, averaged over the tasks; the Jacobian is the derivative. Then,
    over the whole problem, the engine's Rodas5P gives what scipy's integrators give.

    Parameters
    ----------
    problem : DeclaredProblem
        With plain numbers (no sweep dims). Its functions are smooth where they are looked at.
    spread : float
        Standard deviation of the points around the start, relative to its largest entry.
    points, seed : int
        How many, and of their draw; points where the plain functions are not finite are left out.
    runs : bool
        Whether to solve the problem, twice.
    factor : float
        Deviation allowed, in units of each law.

    Raises
    ------
    LawBroken
        An AssertionError that names the worst entry.

    Examples
    --------
    >>> import odekit as ok
    >>> def rhs(y, p, d):
    ...     d.x = -p.rate * y.x
    >>> def error(y, p):
    ...     return y.x
    >>> decay = ok.system("decay", state={"x": ()}, parameters={"rate": ()}, rhs=rhs, error=error)
    >>> assert_declared(decay.problem(x=1.0, rate=0.5, duration=3.0))
    """
    if not isinstance(problem, DeclaredProblem):
        rule = "must be one that odekit.system(...).problem made"
        raise ProblemError("problem", rule, repr(problem)[:80], "")
    probe, rng = Probe(problem), np.random.default_rng(seed)
    packed = problem.system.points(problem, {})
    scale = spread * max(float(np.abs(probe.start).max()), 1.0)
    for index, phase in enumerate(problem.phases):
        equations = packed.equations(index, None, 0.0)
        for k in range(points):
            y = probe.start + (k > 0) * scale * rng.normal(size=probe.start.size)
            plain = _mean(probe, phase, y)
            if not np.isfinite(plain).all():
                continue
            law = "the compiled right-hand side is the plain one"
            off, size = equations.rhs(0.0, y) - plain, np.abs(plain).max()
            hold(law, "d", off, size=size, rtol=ROUNDING, factor=factor)
            assert_jacobian_matches(
                equations.rhs, equations.jac, y, rtol=DIFFERENCES, factor=factor
            )
            _errors(probe, packed, y, factor)
    if runs:
        _runs(problem, factor)


def _mean(probe: Probe, phase: Phase, y: Floats) -> Floats:
    """Plain derivative as a phase begins, averaged over its tasks."""
    w, v = (float(r(0.0) if callable(r) else r) for r in phase.rates)
    total: Any = 0.0
    for task, share in phase.mixture.items():
        total = total + float(share) * probe.rhs(y, probe.parameters(task, phase, (w, v)))
    whole: Floats = total / sum(float(share) for share in phase.mixture.values())
    return whole


def _errors(probe: Probe, packed: Any, y: Floats, factor: float) -> None:
    given = [probe.parameters(task, None, (np.nan, np.nan)) for task in probe.problem.tasks]
    plain = np.array([probe.error(y, p) for p in given])
    off = packed.errors(y[None, None])[0, 0] - plain
    size = max(float(np.nanmax(np.abs(plain))), 1.0)
    law = "compiled errors are the plain ones"
    hold(law, "error", off[np.isfinite(plain)], size=size, rtol=ROUNDING, factor=factor)


def _runs(problem: DeclaredProblem, factor: float) -> None:
    total = float(sum(phase.duration for phase in problem.phases))
    rows = np.linspace(0.0, total, ROWS)
    if not problem.system.in_lanes(problem):
        return
    one, two = (solve(problem, method=m, t_eval=rows) for m in (None, "Rodas5P"))
    names = (*problem.declaration.state, "generalization_error")
    assert_agrees(one, two, variables=names, factor=10 * factor)
