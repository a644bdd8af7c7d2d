"""Fixed points of the equations: where they are, and what the flow does near them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.checks import count, flag, nonnegative, single
from odekit.base.errors import ProblemError
from odekit.base.status import Convergence
from odekit.dynamics.guess import given, solved_to
from odekit.dynamics.many import PhasePoints
from odekit.dynamics.newton import MOST_STEPS
from odekit.dynamics.rest import rests
from odekit.dynamics.result import dataset, refuse_clashes
from odekit.measures.rows import Rows, rows_of_run
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem

if TYPE_CHECKING:
    import xarray as xr


def fixed_point(
    problem_or_run: AnyProblem | xr.Dataset,
    *,
    time: float | None = None,
    phase: int | None = None,
    guess: Any = None,
    max_steps: int = MOST_STEPS,
    eigenvectors: bool = True,
) -> xr.Dataset:
    """The fixed point of the equations near a state, and the directions in which it is left.

    Newton's method on f/η (so that it stays regular as η → 0), with steps of least norm: singular
    values below 1e-9 of the largest are cut, so that it converges onto families of fixed points.
    3 to 8 steps are usual; along directions in which f vanishes to second order alone f falls by
    a factor of 4 a step.

    Parameters
    ----------
    problem_or_run : Problem, LinearProblem, DeclaredProblem or Dataset
        A problem, or a result of `odekit.solve` with its rows. Over sweeps one search for each
        point.
    time : float, optional
        Begin at the row of the run nearest to this time, by default at its last one. A problem is
        solved up to it; without a time the search begins at the problem's own state. Learning rates
        that change are taken as they are then, and so are the copies of a consolidation.
    phase : int, optional
        The phase whose equations are meant; that of the row by default.
    guess : Dataset, mapping or array_like, optional
        Begin here instead: labelled arrays of the state's variables, with sweep dims of the problem
        or without (what is left out is as the phase begins), or a flat state as
        `odekit.equations` has it. An earlier fixed point is one.
    max_steps : int
        Most steps of Newton's method.
    eigenvectors : bool
        Whether the result keeps them: n² complex numbers a point.

    Returns
    -------
    Dataset, dims (…, direction, part, zero_kind, entry) after those of the sweep
        ``Q, R, T, readout``
            the state, of whatever variables the system has; ``generalization_error`` of every task.
        ``status``, ``n_steps``
            how the search ended (`odekit.Convergence`). Where it failed there is a state, but the
            numbers below are NaN, 0 or empty.
        ``residual``, ``moved``
            largest entry of dy/dt, and how far the state is from where the search began.
        ``name``
            what the field calls it: perfect learning, noise floor, specialised, symmetric plateau
            (with equal units, or not), silent student.
        ``physical``, ``smallest_eigenvalue``
            whether the joint covariance is positive semidefinite, as that of vectors: Newton's
            method finds other points too.
        ``eigenvalue_real``, ``eigenvalue_imag``
            of the Jacobian, per unit of time, the fastest growing first; ``weight`` tells the part
            of each eigenvector's squared norm in Q, R and every head (off-diagonal entries of Q
            count once), and ``eigenvector_real``, ``eigenvector_imag`` have all its entries.
        ``index``
            number of growing directions.
        ``n_zero``
            number of eigenvalues below 1e-5 of the largest, by kind: entries that nothing moves;
            readouts of equal units; equal units that move apart, to second order alone; others,
            along a family of fixed points.

    Raises
    ------
    ProblemError
        If an argument breaks its rule, or the run cannot be solved again.

    Notes
    -----
    Saad & Solla 1995, doi:10.1103/PhysRevE.52.4225, for the symmetric plateau and its escape.

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters.draw(2, 2, weight_std=1e-3, input_dim=10_000, seed=7),
    ...     heads={"main": [1.0, 1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0, 1.0])},
    ...     phases=[ok.Phase("main", duration=1000.0, learning_rate=0.5)],
    ... )
    >>> run = ok.solve(problem)
    >>> plateau = ok.fixed_point(run, time=50.0)
    >>> plateau.name.item(), int(plateau.index), round(float(plateau.eigenvalue_real[0]), 10)
    ('symmetric plateau, equal units', 3, 0.0343411569)
    """
    limit = count("max_steps", max_steps, most=10**6)
    keep = flag("eigenvectors", eigenvectors)
    when = None if time is None else single(nonnegative, "time", time)
    if isinstance(problem_or_run, AnyProblem):
        begin = _of_problem(problem_or_run, when, phase, guess)
    else:
        begin = _of_run(problem_or_run, when, phase, guess)
    found = rests(begin.phase, begin.since, begin.start, begin.status, limit)
    words = {"phase": begin.phase.phase, "time": when, "guess": guess is not None}
    words["max_steps"] = limit
    ds = dataset(begin.phase, axes(begin.phase.problem), found, begin.times, words, keep)
    return ds if begin.rows is None else begin.rows.restored(ds)


class _Begin:
    """Where the searches begin."""

    def __init__(
        self,
        phase: PhasePoints,
        start: Floats,
        since: Floats | None = None,
        times: Floats | None = None,
        reached: Any = None,
        rows: Rows | None = None,
    ) -> None:
        m = len(start)
        self.phase, self.start, self.rows = phase, start, rows
        self.since = np.zeros(m) if since is None else since
        self.times = np.full(m, np.nan) if times is None else times
        good = np.ones(m, dtype=bool) if reached is None else reached
        self.status = np.where(good, Convergence.CONVERGED, Convergence.NO_START).astype(np.int8)


def _of_problem(problem: AnyProblem, time: float | None, phase: Any, guess: Any) -> _Begin:
    """The problem's own state, or that which it has at a time."""
    found, last = axes(problem), len(problem.phases) - 1
    refuse_clashes([*found, *problem.system.sizes(problem)])
    if time is None or guess is not None:
        index = count("phase", 0 if phase is None else phase, most=last, least=0)
        own = PhasePoints(problem, found, index)
        start = own.start if guess is None else given(own, guess)
        since = None if time is None else np.maximum(time - _begins(own, index), 0.0)
        return _Begin(own, start, since)
    from odekit.verbs.solve import solve

    total = float(np.max(np.asarray(sum(p.duration for p in problem.phases))))
    if time > total:
        raise ProblemError(
            "time", f"must be at most {total:g}, the end of the run", f"{time:g}", ""
        )
    times = np.unique([0.0, time])
    begin = _of_run(solve(problem, t_eval=times), time, phase, None)
    begin.rows = None
    return begin


def _begins(own: PhasePoints, index: int) -> Floats:
    """When a phase begins if all before it last their whole durations, (m,)."""
    before = sum((own.points.values(p.duration) for p in own.problem.phases[:index]), np.zeros(1))
    return np.broadcast_to(before, (own.size[0],))


def _of_run(ds: Any, time: float | None, phase: Any, guess: Any) -> _Begin:
    """The rows of a run nearest to a time."""
    run = rows_of_run("problem_or_run", ds)
    problem = run.problem
    refuse_clashes([*run.axes, *problem.system.sizes(problem)])
    rows = run.nearest(time)
    times = run.times[np.maximum(rows, 0)]
    index = run.phase_of(rows, phase)
    own = PhasePoints(problem, run.axes, index)
    since = np.maximum(times - run.begins(index), 0.0)
    reached = (rows >= 0) & np.isfinite(since)
    since = np.where(np.isfinite(since), since, 0.0)
    if guess is not None:
        return _Begin(own, given(own, guess), since, rows=run)
    if all(name in run.ds for name in own.layout):
        start = own.pack({n: run.at(n, rows, b.dims) for n, b in own.layout.items()})
    else:
        own, since, there = solved_to(problem, run.axes, index, times, run.source.options)
        start, reached = own.start, reached & there
    return _Begin(own, start, since, times, reached, run)
