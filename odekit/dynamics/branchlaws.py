"""What must hold in a file of branches of fixed points."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.errors import OdekitError
from odekit.dataset.wholeness import fitting_problem
from odekit.dynamics.branchset import ATTRIBUTE, branches_of
from odekit.dynamics.branchwords import check
from odekit.dynamics.field import VectorField
from odekit.problem import names
from odekit.problem.system import Finding

if TYPE_CHECKING:
    import xarray as xr

    from odekit.problem.base import AnyProblem

ASKED = 8
"""Points of a branch that are computed again."""
ROUNDING = 1e-9
"""|f| of a fixed point, relative to what cancels in it."""


def laws(ds: xr.Dataset, own: Any = None) -> Iterator[Finding]:
    """Schema, finite values, counts that agree with eigenvalues, and points that are fixed points.

    Points along a function of the user's, which no file holds, are not computed again.
    """
    faults = check(ds)
    yield Finding("schema", not faults, "; ".join(faults) or "every variable as registered")
    if faults:
        return
    try:
        problem = fitting_problem(ds, own)
    except OdekitError as error:
        yield Finding("problem", False, str(error))
        return
    branches = list(branches_of(ds))
    count = sum(b.sizes["point"] for b in branches)
    finite = all(
        np.isfinite(b[n]).all() for b in branches for n in ("parameter", "eigenvalue_real")
    )
    yield Finding("values are finite", bool(finite), f"{count} points")
    wrong = sum(int((~_counted(b)).sum()) for b in branches)
    yield Finding("the index counts what grows", not wrong, f"{wrong} do not")
    words = json.loads(ds.attrs[ATTRIBUTE])
    if words["along"]:
        worst = max((_worst(problem, b, words) for b in branches), default=0.0)
        said = f"largest |f| {worst:.3g} of what cancels in it"
        yield Finding("points are fixed points", worst <= ROUNDING, said)


def _counted(branch: xr.Dataset) -> Any:
    """At which points as many eigenvalues are positive as are said to be, zeros aside."""
    growing = (branch.eigenvalue_real > 0).sum("direction")
    least = branch.n_unstable
    return ((least <= growing) & (growing <= least + branch.n_zero)).values


def _worst(problem: AnyProblem, branch: xr.Dataset, words: dict[str, Any]) -> float:
    """The largest |f| of some points of a branch, relative to what cancels in it."""
    found = [0.0]
    for i in np.unique(np.linspace(0, branch.sizes["point"] - 1, ASKED).astype(int)):
        if branch.sizes["point"]:
            row = branch.isel(point=int(i))
            there = names.replace(problem, words["along"], float(row.parameter))
            field = (there.system.field() or VectorField)(there, words["phase"])
            y = field.pack(row)
            terms = np.abs(field.jac(0.0, y)) @ np.abs(y)
            found.append(float(np.abs(field.rhs(0.0, y)).max() / max(terms.max(), 1e-300)))
    return max(found)
