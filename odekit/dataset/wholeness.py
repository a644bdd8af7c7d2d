"""Does a dataset hold together? Asked before it is shown, drawn or checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from odekit.base.errors import ProblemError
from odekit.dataset.assemble import check, system_in
from odekit.dataset.common import REPLICA
from odekit.dataset.provenance import problem_of
from odekit.problem.axes import axes
from odekit.problem.plain import problem_from_dict

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem

__all__ = ["fitting_problem", "whole"]

_REMEDY = "Was it edited? Open the result that odekit wrote, or solve the problem again."


def whole(ds: xr.Dataset, activation: Any = None) -> AnyProblem | None:
    """The problem of a result that has every variable, as registered, and fits the problem.

    None for one of a system that is not known here, whose common variables are all there.

    Parameters
    ----------
    ds : Dataset
    activation : Activation, optional
        The user's own that it was made with.

    Raises
    ------
    ProblemError
        With the first thing that is wrong.
    """
    faults = check(ds)
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ProblemError("ds", "must be a whole result of odekit", faults[0] + more, _REMEDY)
    return None if system_in(ds) is None else fitting_problem(ds, activation)


def fitting_problem(ds: xr.Dataset, activation: Any = None) -> AnyProblem:
    """The problem of a result, of which the dataset is all or a selection.

    Raises
    ------
    ProblemError
        If there is none, or the dataset has labels, phases, units or runs that it has not.
    """
    try:
        problem = problem_from_dict(problem_of(ds), activation)
    except ProblemError as error:
        if error.remedy:
            raise
        raise ProblemError(error.argument, error.rule, error.given, _REMEDY) from error
    for name, wanted in problem.system.labels(problem).items():
        strange = set(ds[name].values.tolist()) - set(wanted) if name in ds.coords else set()
        if strange:
            rule = f"must be of its problem's, {wanted}"
            raise ProblemError(name, rule, list(strange), _REMEDY)
    room = {**problem.system.sizes(problem), **{d: n for d, (n, _) in axes(problem).items()}}
    for dim, most in room.items():
        if dim != REPLICA and ds.sizes.get(dim, 0) > most:
            found = f"{ds.sizes[dim]} entries"
            raise ProblemError(dim, f"must have at most {most} as in its problem", found, _REMEDY)
    return problem
