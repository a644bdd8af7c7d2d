"""Schedules that minimise an objective, by gradients through the run."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import choice, count, flag, positive
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Interrupts
from odekit.base.progress import Bar
from odekit.control.budgets import feasible
from odekit.control.optimum import ATTRIBUTE, dataset
from odekit.control.pieces import controls_of
from odekit.control.search import Search
from odekit.dataset.result import prepare
from odekit.integrate.options import SolverOptions, check_integrator
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem

if TYPE_CHECKING:
    import xarray as xr

SHAPES = ("constant", "linear")


@dataclass(frozen=True)
class Optimum:
    """What `odekit.optimise` found.

    Attributes
    ----------
    problem : Problem
        The optimal one: its phases cut into the pieces of the controls, or with tables.
    dataset : Dataset
        Of every start: ``objective`` and ``message``; along ``parameter`` (names of the numbers of
        `problem`) the ``control`` and the ``gradient`` of the objective there, the ``multiplier``
        of its budget, ``begin`` of its piece, ``at_bound`` (−1 lower, 1 upper, 0 between) and
        ``stationary`` (between its bounds, and no slope but the multiplier: of probabilities,
        which the equations are linear in, a singular arc); ``history`` along ``evaluation``, the
        best objective so far. `odekit.save` and `odekit.open` keep it, with the problem.
    """

    problem: Any
    dataset: xr.Dataset

    @cached_property
    def run(self) -> xr.Dataset:
        """The run of the optimal problem, as `odekit.solve` has it."""
        from odekit.verbs.solve import solve

        return solve(self.problem)


def optimise(
    problem: AnyProblem,
    *,
    controls: Mapping[str, int],
    objective: str | Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]] | None = None,
    budget: Mapping[str, float] | None = None,
    tied: Mapping[str, str] | None = None,
    shape: str = "constant",
    starts: int = 1,
    seed: int = 0,
    integrator: str | None = "DOP853",
    rtol: float = 1e-8,
    atol: float = 1e-11,
    tolerance: float = 1e-10,
    max_evaluations: int = 2000,
    max_seconds: float | None = None,
    progress: bool = False,
) -> Optimum:
    """Schedules that minimise what a run ends with, under bounds and budgets.

    L-BFGS-B (scipy's) on the logarithm of the objective, or with a budget spectral projected
    gradient, with the derivatives of `odekit.sensitivity`. Without a budget, controls that may be
    any positive number (rates, penalties, durations) are searched by their logarithm, which ends
    within a hundredth of their start of the lower bound: in a few tens of gradients, also where
    the best rates differ a hundredfold.

    Parameters
    ----------
    problem : Problem
        Without sweep dims. Its own numbers are the first start.
    controls : dict of str to int
        Numbers by name, as in `odekit.sensitivity`, and into how many equal pieces each is cut in
        time: a rate, a probability of a mixture or of an answer, ``{"phases[0].learning_rate":
        50}``. A phase becomes so many phases then. With one piece it is a number like any other.
    objective : str or dict of str to float
        A quantity of `odekit.sensitivity` that is one positive number at the end, such as
        ``"generalization_error[main]"``, ``"integrated_error[main]"``,
        ``"misclassification[main]"`` or ``"phase_end[0]"`` (of a phase that is not cut: the time
        to its threshold), or a sum of them with weights, such as the mean over tasks.
    bounds : dict of str to (float, float), optional
        By the names in `controls`; rates are >= 0 and probabilities between 0 and 1 by default,
        and others have none.
    budget : dict of str to float, optional
        Means over time, by the names in `controls`, that are kept: of so many easy samples
        altogether, ``{"phases[0].tasks[easy]": 0.5}``.
    tied : dict of str to str, optional
        Numbers that are kept equal to controls, piece by piece: of one rate for both layers,
        ``{"phases[0].readout_learning_rate": "phases[0].learning_rate"}``.
    shape : {"constant", "linear"}
        Pieces, or tables, linear between so many values at equal times: of learning rates, decay,
        dropout, strengths of consolidation, a phase's noise and variances, one of two tasks.
    starts : int
        The others than the first are drawn around it.
    seed : int
        Of the starts.
    integrator, rtol, atol
        As in `odekit.sensitivity`.
    tolerance : float
        Stop where an iteration lowers the objective by less, relative to itself.
    max_evaluations : int
        Of runs with gradients, for each start.
    max_seconds : float, optional
        Of all starts. When they are over, or on Ctrl-C, the best so far is the answer.
    progress : bool
        Whether gradients are counted on stderr.

    Returns
    -------
    Optimum
        The problem with the best controls, and a dataset of the search.

    Raises
    ------
    ProblemError
        If a name has no derivative, a phase cannot be cut (it ends by a threshold or has a table
        of rates), a budget is out of reach, or the objective is not one positive number.

    Notes
    -----
    Saad & Rattray 1997, doi:10.1103/PhysRevLett.79.2578 (learning rates); Mori, Sarao Mannelli &
    Mignacco 2024, arXiv:2409.18061 (mixtures); Mignacco & Mori 2025, arXiv:2507.07907 (curricula,
    dropout). Birgin, Martínez & Raydan 2000, doi:10.1137/S1052623497330963 (budgets).

    Examples
    --------
    >>> import odekit as ok
    >>> problem = ok.Problem(
    ...     state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
    ...     heads={"main": [1.0]},
    ...     tasks={"main": ok.Task(readout=[1.0], noise_std=0.3)},
    ...     phases=[ok.Phase("main", duration=10.0, learning_rate=1.0)],
    ... )
    >>> best = ok.optimise(
    ...     problem,
    ...     controls={"phases[0].learning_rate": 2},
    ...     objective="generalization_error[main]",
    ... )
    >>> [round(phase.learning_rate, 2) for phase in best.problem.phases]
    [1.14, 0.52]
    """
    begin = time.monotonic()
    if not isinstance(problem, AnyProblem):
        raise ProblemError("problem", "must be a Problem", repr(problem)[:80])
    if axes(problem):
        rule = "must have no sweep dims"
        raise ProblemError("problem", rule, ", ".join(axes(problem)), "Optimise point by point.")
    check_integrator(integrator)
    choice("shape", shape, SHAPES)
    options = SolverOptions(rtol=rtol, atol=atol)
    positive("tolerance", tolerance)
    if max_seconds is not None:
        positive("max_seconds", max_seconds)
    parts = {name: count(f"controls[{name!r}]", n, most=10_000)
             for name, n in _mapping("controls", controls).items()}  # fmt: skip
    weights = {objective: 1.0} if isinstance(objective, str) else _mapping("objective", objective)
    found = controls_of(problem, parts, shape, dict(bounds or {}), dict(tied or {}))
    within = feasible(list(parts), found.of, found.low, found.high, dict(budget or {}))
    tools = problem.system.sensitivities()
    search = Search(
        found, within, weights, tools, tools.Accuracy(integrator, options.rtol, options.atol),
        np.inf if max_seconds is None else begin + max_seconds,
        count("max_evaluations", max_evaluations, most=10**7),
    )  # fmt: skip
    search.check()
    search.bar = Bar(flag("progress", progress), desc="gradients", unit="")
    try:
        with Interrupts() as interrupts:
            search.interrupts = interrupts
            each = search.run(count("starts", starts, most=10**5), seed, tolerance)
    finally:
        search.bar.close()
    words = {
        "controls": parts, "objective": weights, "bounds": dict(bounds or {}),
        "budget": dict(budget or {}), "tied": dict(tied or {}), "shape": shape,
        "starts": starts, "seed": seed, "rtol": rtol, "atol": atol, "tolerance": tolerance,
    }  # fmt: skip
    best = found.at(min(each, key=lambda start: start.value).x)
    source = "optimal control of differential equations"
    result = prepare(best, (ATTRIBUTE, words), source)
    spent = np.array([sum(len(one.history) for one in each), time.monotonic() - begin])
    return Optimum(best, dataset(search, each, result, spent))


def _mapping(argument: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise ProblemError(argument, "must be a dict with an entry", repr(given)[:80])
    return dict(given)
