"""The problem and the layers that measures of a linear network's result are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odekit.base.errors import ProblemError
from odekit.dataset.provenance import problem_of
from odekit.problem.plain import problem_from_dict
from odekit.systems.linear import LinearProblem

if TYPE_CHECKING:
    import xarray as xr


def problem_in(ds: xr.Dataset) -> LinearProblem:
    """The linear problem of a result."""
    problem = problem_from_dict(problem_of(ds))
    if not isinstance(problem, LinearProblem):
        raise ProblemError("ds", "must be of a LinearProblem", type(problem).__name__, "")
    return problem
