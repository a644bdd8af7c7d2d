"""Schedules that minimise an objective, by gradients through the run."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import choice, count, positive
from odekit.base.errors import ProblemError
from odekit.base.interrupts import Interrupts
from odekit.dataset.result import prepare
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import axes
from odekit.problem.base import AnyProblem
from odekit.problem.names import _replaced as replaced
from odekit.problem.names import _steps as steps_of
from odekit.problem.names import get
from odekit.problem.names import replace as with_number
from odekit.problem.phase import Phase

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats

BOUNDS = {"learning_rate": (0.0, np.inf), "readout_learning_rate": (0.0, np.inf), "tasks": (0, 1)}
SPREAD = (0.3, 1.7)
"""Other starts than the first are the problem's own values times factors between these."""
AT_BOUND = 1e-9


@dataclass(frozen=True)
class Optimum:
    """What `odekit.optimise` found.

    Attributes
    ----------
    problem : Problem
        The optimal one: its phases cut into the pieces of the controls.
    dataset : Dataset
        Of every start: ``objective`` and ``message``; along ``parameter`` (names of the numbers of
        `problem`) the ``control`` and the ``gradient`` of the objective there, ``begin`` of its
        piece and ``at_bound`` (−1 lower, 1 upper, 0 between: there the gradient vanishes where the
        search converged); ``history`` along ``evaluation``, the best objective so far.
    """

    problem: Any
    dataset: xr.Dataset


class _Stopped(Exception):
    """The time allowed is over, or the user asks to stop."""


def optimise(
    problem: AnyProblem,
    *,
    controls: Mapping[str, int],
    objective: str | Mapping[str, float],
    bounds: Mapping[str, tuple[float, float]] | None = None,
    starts: int = 1,
    seed: int = 0,
    integrator: str = "DOP853",
    rtol: float = 1e-8,
    atol: float = 1e-11,
    tolerance: float = 1e-10,
    max_evaluations: int = 2000,
    max_seconds: float | None = None,
) -> Optimum:
    """Piecewise-constant schedules that minimise what a run ends with, under bounds.

    L-BFGS-B (scipy's) on the logarithm of the objective, with the discrete adjoint of
    `odekit.sensitivity`.

    Parameters
    ----------
    problem : Problem
        Without sweep dims. Its own numbers are the first start.
    controls : dict of str to int
        Numbers by name, as in `odekit.sensitivity`, and into how many equal pieces each is cut in
        time: a rate or a probability of a mixture, ``{"phases[0].learning_rate": 50}``. A phase
        becomes so many phases then. With one piece it is a number like any other.
    objective : str or dict of str to float
        A quantity of `odekit.sensitivity` that is one positive number at the end, such as
        ``"generalization_error[main]"``, ``"integrated_error[main]"`` or ``"phase_end[0]"`` (of
        a phase that is not cut), or a sum of them with weights.
    bounds : dict of str to (float, float), optional
        By the names in `controls`; rates are >= 0 and probabilities between 0 and 1 by default,
        and others have none.
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

    Returns
    -------
    Optimum
        The problem with the best controls, and a dataset of the search.

    Raises
    ------
    ProblemError
        If a name has no derivative, a phase cannot be cut (it ends by a threshold or has a table
        of rates), or the objective is not one positive number.

    Notes
    -----
    Saad & Rattray 1997, doi:10.1103/PhysRevLett.79.2578 (learning rates); Mori, Sarao Mannelli &
    Mignacco 2024, arXiv:2409.18061 (mixtures).

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
    choice("integrator", integrator, ("DOP853", "RK45"))
    options = SolverOptions(rtol=rtol, atol=atol)
    positive("tolerance", tolerance)
    if max_seconds is not None:
        positive("max_seconds", max_seconds)
    evaluations = count("max_evaluations", max_evaluations, most=10**7)
    parts = {name: count(f"controls[{name!r}]", n, most=10_000)
             for name, n in _mapping("controls", controls).items()}  # fmt: skip
    weights = {objective: 1.0} if isinstance(objective, str) else _mapping("objective", objective)
    for name in parts:
        get(problem, name, "controls")
    cut, places = _cut(problem, parts)
    tools = problem.system.sensitivities()
    how = tools.Accuracy(integrator, options.rtol, options.atol)
    search = _Search(cut, places, weights, tools, how, begin, max_seconds, evaluations)
    low, high = _limits(parts, bounds)
    words = {
        "controls": parts, "objective": weights, "starts": starts, "seed": seed, "rtol": rtol,
        "atol": atol, "tolerance": tolerance,
    }  # fmt: skip
    with Interrupts() as interrupts:
        search.interrupts = interrupts
        found = search.run(low, high, count("starts", starts, most=10**5), seed, tolerance)
    return _optimum(search, found, (low, high), words)


def _mapping(argument: str, given: Any) -> dict[str, Any]:
    if not isinstance(given, Mapping) or not given:
        raise ProblemError(argument, "must be a dict with an entry", repr(given)[:80])
    return dict(given)


# ----------------------------------------------------------------------------------- pieces of time


def _phase_of(name: str) -> int | None:
    return int(name[7 : name.index("]")]) if name.startswith("phases[") else None


def _cut(problem: AnyProblem, parts: Mapping[str, int]) -> tuple[AnyProblem, dict[str, list[str]]]:
    """The problem with its phases in pieces, and the names in it of each control."""
    pieces = [1] * len(problem.phases)
    for name, n in parts.items():
        i = _phase_of(name)
        if n > 1 and (i is None or pieces[i] not in (1, n)):
            rule = "must be of a phase, and of one with as many pieces as its others"
            raise ProblemError("controls", rule, f"{name}: {n}")
        if i is not None:
            pieces[i] = max(pieces[i], n)
    first = np.concatenate([[0], np.cumsum(pieces)])
    phases = [
        part for i, phase in enumerate(problem.phases) for part in _parts(i, phase, pieces[i])
    ]
    places = {}
    for name, n in parts.items():
        i = _phase_of(name)
        if i is None:
            places[name] = [name]
            continue
        rest = name[name.index("]") :]
        if n < pieces[i]:
            rule = "must be cut into as many pieces as others of its phase"
            raise ProblemError("controls", rule, f"{name}: {n}", f"Write {pieces[i]}.")
        places[name] = [f"phases[{first[i] + j}{rest}" for j in range(n)]
    problem_fields: Any = problem
    return problem_fields.replace(phases=phases), places


def _parts(index: int, phase: Phase, n: int) -> list[Phase]:
    if n == 1:
        return [phase]
    if phase.thresholds or phase.schedules:
        given = "`until`" if phase.thresholds else "a table of learning rates"
        rule = "must last its whole duration and have no tables, to be cut into pieces"
        raise ProblemError(f"phases[{index}]", rule, given)
    first = replace(phase, duration=phase.duration / n)
    return [first, *([replace(first, consolidation=None, copy_heads=None)] * (n - 1))]


def _limits(
    parts: Mapping[str, int], bounds: Mapping[str, tuple[float, float]] | None
) -> tuple[Floats, Floats]:
    given = dict(bounds or {})
    for name in given:
        if name not in parts:
            raise ProblemError("bounds", "must name controls", repr(name), f"There are {parts}.")
    found: list[tuple[float, float]] = []
    for name, n in parts.items():
        usual = next((b for word, b in BOUNDS.items() if f".{word}" in name), (-np.inf, np.inf))
        low, high = given.get(name, usual)
        if not low < high:
            raise ProblemError(f"bounds[{name!r}]", "must increase", f"({low}, {high})")
        found += [(float(low), float(high))] * n
    low, high = np.array(found).T
    return low, high


# ------------------------------------------------------------------------------------------- search


@dataclass
class _Start:
    x: Floats
    value: float
    gradient: Floats
    history: list[float]
    message: str


class _Search:
    """The objective and its gradient as functions of the controls."""

    def __init__(
        self,
        problem: AnyProblem,
        places: Mapping[str, list[str]],
        weights: Mapping[str, float],
        tools: Any,
        how: Any,
        begin: float,
        max_seconds: float | None,
        evaluations: int,
    ) -> None:
        self.problem, self.tools, self.how = problem, tools, how
        self.names = [name for names in places.values() for name in names]
        self.weights = weights
        self.deadline = np.inf if max_seconds is None else begin + max_seconds
        self.evaluations = evaluations
        self.interrupts: Any = None
        _, readings = tools.check(problem, list(weights), self.names)
        for reading in readings:
            if reading.picked.size != 1:
                rule = "must be one number: name its entry"
                raise ProblemError("objective", rule, reading.name)
        self.steps = [steps_of(problem, name, "controls") for name in self.names]
        self.own = np.array([float(get(problem, name)) for name in self.names])

    def at(self, x: Floats) -> AnyProblem:
        """The problem with these controls."""
        phases = list(self.problem.phases)
        fields: Any = self.problem
        others = []
        # Phase by phase, and the whole checked once: one by one fifty took longer than the run.
        for name, steps, value in zip(self.names, self.steps, x, strict=True):
            i = _phase_of(name)
            if i is None:
                others.append((name, value))
            else:
                phases[i] = replaced(phases[i], steps[2:], float(value))
        changed: AnyProblem = fields.replace(phases=phases)
        for name, value in others:
            changed = with_number(changed, name, float(value))
        return changed

    def __call__(self, x: Floats) -> tuple[float, Floats]:
        """Objective and gradient."""
        if time.monotonic() > self.deadline or (self.interrupts and self.interrupts.asked):
            raise _Stopped
        answer = self.tools.differentiate(
            self.at(x), list(self.weights), self.names, None, self.how, None, estimate=False
        )
        value, slope, place = 0.0, np.zeros(x.size), 0
        for reading, weight in zip(answer.readings, self.weights.values(), strict=True):
            if reading.base == "phase_end":
                value += weight * float(answer.fine.ends[reading.picked[0]])
                slope += weight * answer.fine.by_end[reading.picked[0]]
            else:
                value += weight * float(answer.fine.values[0, place])
                slope += weight * answer.fine.slopes[0, place]
                place += 1
        if not value > 0.0:
            rule = "must be positive: its logarithm is minimised"
            raise ProblemError("objective", rule, f"{value:.6g}")
        return value, slope

    def run(
        self, low: Floats, high: Floats, starts: int, seed: int, tolerance: float
    ) -> list[_Start]:
        """The best of every start, as many as time allows."""
        rng = np.random.default_rng(seed)
        found: list[_Start] = []
        for i in range(starts):
            factors = rng.uniform(*SPREAD, self.own.size) if i else 1.0
            one = self._from(np.clip(self.own * factors, low, high), low, high, tolerance)
            if one is not None:
                found.append(one)
            if one is None or one.message.startswith("stopped"):
                break
        if not found:
            raise ProblemError("max_seconds", "must allow one run", "less", "Allow more.")
        return found

    def _from(self, x: Floats, low: Floats, high: Floats, tolerance: float) -> _Start | None:
        from scipy.optimize import Bounds, minimize

        best = _Start(x, np.inf, np.zeros(x.size), [], "")

        def logarithm(z: Floats) -> tuple[float, Floats]:
            inside = np.clip(z, low, high)
            value, slope = self(inside)
            if value < best.value:
                best.x, best.value, best.gradient = inside.copy(), value, slope
            best.history.append(best.value)
            return float(np.log(value)), slope / value

        try:
            result = minimize(
                logarithm,
                x,
                jac=True,
                method="L-BFGS-B",
                bounds=Bounds(low, high),
                options={
                    "maxfun": self.evaluations,
                    "maxiter": self.evaluations,
                    "ftol": tolerance,
                    "gtol": 1e-9,
                    "maxcor": 30,
                },
            )
            best.message = str(result.message)
        except (_Stopped, KeyboardInterrupt):
            best.message = "stopped: the best so far"
        return best if best.history else None


def _optimum(
    search: _Search, found: Sequence[_Start], limits: tuple[Floats, Floats], words: Any
) -> Optimum:
    import xarray as xr

    best = search.at(min(found, key=lambda start: start.value).x)
    result = prepare(best, ("odekit_optimise", words), "optimal control of differential equations")
    size = max(len(start.history) for start in found)
    history = np.full((len(found), size), np.nan)
    for row, start in zip(history, found, strict=True):
        row[: len(start.history)] = start.history
    x = np.stack([start.x for start in found])
    low, high = limits
    ends = np.concatenate([[0.0], np.cumsum([float(p.duration) for p in best.phases])])
    begins = [ends[i] if (i := _phase_of(name)) is not None else 0.0 for name in search.names]
    near = AT_BOUND * np.maximum(1.0, np.abs(x))
    bound = (x >= high - near).astype(np.int8) - (x <= low + near).astype(np.int8)
    one, each = ("start",), ("start", "parameter")

    def said(text: str) -> dict[str, str]:
        return {"long_name": text}

    variables = {
        "objective": (one, [start.value for start in found], said("objective")),
        "message": (one, [start.message for start in found], {"long_name": "how it ended"}),
        "control": (each, x, said("best control")),
        "gradient": (
            each,
            np.stack([start.gradient for start in found]),
            said("derivative of the objective"),
        ),
        "at_bound": (each, bound, {"long_name": "at its lower (-1) or upper (1) bound"}),
        "history": (("start", "evaluation"), history, said("best objective so far")),
    }
    coords = {
        "parameter": search.names,
        "begin": ("parameter", begins, said("time at which the piece begins, steps / N")),
    }
    return Optimum(best, xr.Dataset({**variables, **result.kept}, coords, result.attrs))
