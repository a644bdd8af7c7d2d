"""The problem and the layers that measures of a linear network's result are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from odekit.base.checks import is_labelled
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


def fitted(value: Any, ds: xr.Dataset, core: Sequence[Any] = ()) -> Any:
    """A value of the problem at the points of the sweep that the dataset has."""
    if not is_labelled(value):
        return value
    for dim in [d for d in value.dims if d not in core]:
        if dim in ds.coords and dim in value.coords:
            value = value.sel({dim: ds[dim].values})
        elif value.sizes[dim] != ds.sizes.get(dim):
            rule = f"must have all points along {dim!r}, which has no labels"
            raise ProblemError("ds", rule, f"{ds.sizes.get(dim)} of {value.sizes[dim]}", "")
    return value
