"""What a right-hand side costs, from counts: never from a clock that a busy machine slows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from odekit.base.errors import ProblemError
from odekit.integrate.options import LANES_METHODS

if TYPE_CHECKING:
    from odekit.integrate.options import SolverOptions
    from odekit.problem.base import AnyProblem

MOMENT = 5e-9
"""Seconds for each moment I4: measured 5 ns in single runs, 2 to 3 in the lanes of sweeps, where
steps take the rest."""
LANES_CALL, ALONE_CALL = 2e-7, 3e-5
"""Seconds of a right-hand side besides its moments: in lanes, and through scipy."""
JACOBIAN = 10
"""Right-hand sides that a Jacobian and its inverse take about as long as."""
MOST_SECONDS = 10.0
"""Longest right-hand side: nothing can stop a run within one."""
MOST_IMPLICIT, MOST_STEADY = 10_000, 2_000
"""Most variables of implicit methods, whose matrices then take 0.8 GB each, and of spectra."""
MOST_ROSENBROCK = 2_000
"""The same of Rodas5P, which holds three matrices for each of eight trajectories."""
MOST_POINTS = 100_000_000
"""Most points of a sweep: a number for each is 0.8 GB."""
IMPLICIT = ("Radau", "BDF", "LSODA", "Rodas5P")
MOST_ALONE, ALONE = 1000, 0.05
"""Most points of a sweep that go one by one though they could go together, and seconds that each
takes, about: 20 to 200 ms with Radau, BDF and LSODA at K = M = 2."""


def seconds_per_call(problem: AnyProblem, lanes: bool) -> float:
    """Seconds of one core that a right-hand side of one trajectory takes."""
    return MOMENT * problem.system.cost(problem) + (LANES_CALL if lanes else ALONE_CALL)


def check_work(problem: AnyProblem, options: SolverOptions, sizes: Mapping[str, int]) -> None:
    """Refuse what neither memory nor patience can hold, before anything is computed.

    Raises
    ------
    ProblemError
        With the number, and what to do.
    """
    points = math.prod(sizes.values())
    if points > MOST_POINTS:
        dims = " x ".join(f"{n} {d}" for d, n in sizes.items())
        remedy = "Solve parts of it, or sweep along fewer axes."
        rule = f"must have at most {MOST_POINTS} points in its sweep"
        raise ProblemError("problem", rule, f"{points}: {dims}", remedy)
    alone = options.method not in (None, *LANES_METHODS) and problem.system.in_lanes(problem)
    if alone and points > MOST_ALONE:
        raise _too_slow(options.method, points)
    seconds = seconds_per_call(problem, lanes=False)
    if seconds > MOST_SECONDS:
        raise ProblemError(
            "state",
            f"must be small enough for a right-hand side of {MOST_SECONDS:g} seconds",
            f"some {seconds:.0f} seconds, for {problem.system.cost(problem)} moments",
            "Take fewer units; `gradient_flow` needs far fewer moments.",
        )
    variables = problem.system.start_size(problem)
    lanes = options.method == "Rodas5P"
    most, each = (MOST_ROSENBROCK, 192) if lanes else (MOST_IMPLICIT, 32)
    if options.method in IMPLICIT and variables > most:
        rule = f"must be explicit for more than {most} variables"
        given = f"{options.method!r} for {variables}: {each * variables**2 / 2**30:.0f} GiB"
        raise ProblemError("method", rule, given, "Leave `method` out.")
    if options.steady_state is not None and variables > MOST_STEADY:
        rule = f"must be left out for more than {MOST_STEADY} variables, whose spectrum it needs"
        raise ProblemError("steady_state", rule, str(variables), "End phases by `until`.")


def _too_slow(method: str | None, points: int) -> ProblemError:
    """What a sweep costs with a method of single runs."""
    lanes = ", ".join(map(repr, LANES_METHODS))
    return ProblemError(
        "method",
        f"must be one of {lanes}, or left out, for a sweep of more than {MOST_ALONE} points",
        f"{method!r} for {points}, one by one: some {ALONE * points / 60:.0f} minutes",
        "Leave it out: what turns stiff goes on with an implicit method, in lanes too.",
    )
