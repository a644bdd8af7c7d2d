"""What must hold in any one result, checked row by row."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import OdekitError
from odekit.base.status import Convergence
from odekit.control.optimum import check as check_search
from odekit.control.optimum import is_optimum
from odekit.dataset.assemble import check
from odekit.dataset.provenance import solver_option
from odekit.dataset.wholeness import fitting_problem
from odekit.dynamics import branchlaws
from odekit.dynamics.branchset import is_branches
from odekit.dynamics.rest import PHYSICAL
from odekit.dynamics.words import check as check_points
from odekit.dynamics.words import is_fixed_point
from odekit.problem.system import Finding

if TYPE_CHECKING:
    import xarray as xr

DEFAULT_RTOL = 1e-8
PER_RTOL = 100.0
"""Deviation allowed to the solver, in units of its tolerance: errors add up over a run."""


Verdict = Finding


def validate(ds: xr.Dataset, activation: Any = None) -> list[Verdict]:
    """Check a result against its schema and the laws that a single file can show.

    Parameters
    ----------
    ds : Dataset
        What `odekit.solve` or `odekit.open` returned.
    activation : Activation, optional
        The user's own that it was made with: no file holds its functions, and without them the
        errors cannot be recomputed.

    Returns
    -------
    list of Verdict
        Schema; times increase; all values finite up to the end of each run; Q symmetric; the joint
        covariance positive semidefinite in every row, and no cosine of a unit and a fixed vector
        above 1; errors not negative, and equal to those
        recomputed from the overlaps; the rows begin at the problem's state; gradient flow never
        raises the loss; every quantity that the problem conserves (`odekit.measures.conserved`)
        stays what it was. Of fixed points (`odekit.fixed_point`): schema; all values finite where
        the search converged; what is said of eigenvalues agrees with them. Of branches
        (`odekit.continuation`), besides: some of their points are fixed points, computed again.
    """
    if is_fixed_point(ds):
        return list(_of_fixed_points(ds))
    if is_branches(ds):
        return list(branchlaws.laws(ds, activation))
    if is_optimum(ds):
        return list(_of_search(ds))
    faults = check(ds)
    verdicts = [Verdict("schema", not faults, "; ".join(faults) or "every variable as registered")]
    if faults:
        return verdicts
    time = ds.time.values
    least = float(np.diff(time).min(initial=np.inf))
    verdicts.append(Verdict("times increase", least > 0, f"smallest step {least:.3g}"))
    try:
        problem = fitting_problem(ds, activation)
    except OdekitError as error:
        return [*verdicts, Verdict("problem", False, str(error))]
    tolerance = PER_RTOL * solver_option(ds, "rtol", DEFAULT_RTOL)
    return verdicts + list(problem.system.laws(ds, problem, tolerance))


def _of_search(ds: xr.Dataset) -> Iterator[Verdict]:
    """What a file of a search for schedules can show."""
    faults = check_search(ds)
    yield Verdict("schema", not faults, "; ".join(faults) or "every variable as registered")
    if faults:
        return
    history = ds.history.values
    known = np.isfinite(history)
    falls = bool((np.diff(history, axis=1)[known[:, 1:]] <= 0).all())
    yield Verdict("history falls", falls, "best objective so far")
    last = np.array([row[ok][-1] for row, ok in zip(history, known, strict=True)])
    agree = np.array_equal(last, ds.objective.values)
    yield Verdict("objective", agree, "the last of its history")
    finite = bool(np.isfinite(ds.control).all() and np.isfinite(ds.gradient).all())
    yield Verdict("finite", finite, "controls and gradients")


def _of_fixed_points(ds: xr.Dataset) -> Iterator[Verdict]:
    """What a file of fixed points can show."""
    faults = check_points(ds)
    yield Verdict("schema", not faults, "; ".join(faults) or "every variable as registered")
    if faults:
        return
    try:
        fitting_problem(ds)
    except OdekitError as error:
        yield Verdict("problem", False, str(error))
        return
    good = ds["status"] == Convergence.CONVERGED
    rates = ds["eigenvalue_real"].where(good, 0.0)
    finite = bool(np.isfinite(rates).all() & np.isfinite(ds["residual"].where(good, 0.0)).all())
    yield Verdict("values are finite", finite, f"{int(good.sum())} fixed points")
    growing = (rates > 0).sum("direction")
    vanish = ds["n_zero"].sum("zero_kind")
    known = (ds["index"] <= growing) & (growing <= ds["index"] + vanish)
    yield Verdict("the index counts what grows", bool(known.all()), f"{int((~known).sum())} do not")
    if "smallest_eigenvalue" in ds:
        lowest = ds["smallest_eigenvalue"]
        agrees = ((lowest >= PHYSICAL) == (ds["physical"] == 1)) | ~good
        found = f"smallest eigenvalue {float(lowest.min()):.3g}"
        yield Verdict("physical as the covariance is", bool(agrees.all()), found)
