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

__all__ = ["drawable", "fitting_problem", "whole"]

_REMEDY = "Was it edited? Open the result that odekit wrote, or solve the problem again."


def whole(ds: xr.Dataset, activation: Any = None) -> AnyProblem:
    """The problem of a result that has every variable, as registered, and fits the problem.

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
    _check(ds)
    return fitting_problem(ds, activation)


def drawable(ds: xr.Dataset) -> None:
    """Refuse what does not hold together, as far as is known: another's system may be anything.

    Raises
    ------
    ProblemError
        As `whole`.
    """
    _check(ds)
    if system_in(ds) is not None:
        fitting_problem(ds)


def _check(ds: xr.Dataset) -> None:
    faults = check(ds)
    if faults:
        more = f", and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ProblemError("ds", "must be a whole result of odekit", faults[0] + more, _REMEDY)


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
