"""Logarithms of errors, as far as there is more in them than rounding."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from odekit.base.checks import positive, single
from odekit.base.errors import ProblemError
from odekit.dataset.provenance import solver_option
from odekit.integrate.options import SolverOptions
from odekit.measures.again import is_discrete
from odekit.measures.course import ROUNDING

if TYPE_CHECKING:
    import xarray as xr

ERRORS = ("generalization_error", "phase_end_error")


def logarithms(ds: xr.Dataset, floor: float | None = None) -> xr.Dataset:
    """A dataset with log₁₀ ε in place of its errors.

    Parameters
    ----------
    ds : Dataset
    floor : float, optional
        Errors below it are raised to it; by default NaN stands for those that are rounding.
    """
    names = [name for name in ERRORS if name in ds]
    if floor is not None:
        lowest = single(positive, "floor", floor)
        return ds.assign({name: np.log10(ds[name].clip(min=lowest)) for name in names})
    least = known_from(ds)
    return ds.assign({name: np.log10(ds[name].where(ds[name] > least)) for name in names})


def known_from(ds: xr.Dataset) -> xr.DataArray:
    """The error of each task, in each trajectory, below which all is rounding.

    Errors are sums of terms that cancel: a run knows them to about its `rtol` of the largest, and
    discrete steps to rounding.
    """
    solved = "odekit_solver" in ds.attrs and not is_discrete(ds)
    relative = solver_option(ds, "rtol", SolverOptions().rtol) if solved else ROUNDING
    return relative * ds["generalization_error"].max("time")


def check_known(lost: xr.DataArray) -> None:
    """Refuse curves some rows of which are rounding."""
    if not bool(lost.any()):
        return
    runs = lost.any("time")
    raise ProblemError(
        "log",
        "needs errors that are more than rounding, at the switch and after it",
        f"others in {int(runs.sum())} of {runs.size} trajectories",
        "End phases at an error (`until`), or let smaller errors count as one: floor=1e-8.",
    )
