"""The labelled dataset of branches of fixed points."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.dataset.assemble import assemble, variables_of
from odekit.dataset.common import registry
from odekit.dataset.result import prepare
from odekit.dataset.variable import Variable, coordinate
from odekit.dynamics.branches import Branch
from odekit.dynamics.curve import Curve, Spot
from odekit.dynamics.outcomes import BranchEnd, SpecialPoint
from odekit.dynamics.parameter import OneParameter
from odekit.dynamics.special import Event, unstable, zero_modes

if TYPE_CHECKING:
    import xarray as xr

ATTRIBUTE = "odekit_continuation"
"""Attribute of datasets of branches: what was followed, as JSON."""
SOURCE = "continuation of fixed points by pseudo-arclength"
SPECIAL = "special_"
"""What the names of the variables of special points begin with."""
ENDS = ("first", "last")
NONE = -1

VARIABLES = [
    coordinate("branch", "int64", "branch of fixed points"),
    coordinate("point", "int64", "point of the branch"),
    coordinate("end", "str", "end of the branch"),
    coordinate("direction", "int64", "eigenvalue, the fastest growing first"),
    coordinate("special", "int64", "special point"),
    Variable("parameter", ("branch", "point"), "float64", "the number that is varied", "mu"),
    Variable("arclength", ("branch", "point"), "float64",
             "length along the branch, the state in units of its size, the parameter in units of "
             "its range"),
    Variable("n_points", ("branch",), "int64", "points of the branch; those after are NaN"),
    Variable("n_unstable", ("branch", "point"), "int64",
             "number of directions that grow; -1 where there is no point"),
    Variable("n_zero", ("branch", "point"), "int64",
             "number of eigenvalues that vanish; entries that nothing moves are none"),
    Variable("eigenvalue_real", ("branch", "point", "direction"), "float64",
             "growth rate, per unit of time", "Re lambda"),
    Variable("eigenvalue_imag", ("branch", "point", "direction"), "float64",
             "frequency, per unit of time", "Im lambda"),
    Variable("residual", ("branch", "point"), "float64", "largest entry of |dy/dt| there", "|f|"),
    Variable("physical", ("branch", "point"), "int8",
             "whether the state is one of real vectors (1) or not (0)"),
    Variable("end_status", ("branch", "end"), "int8", "how the branch ended", flags=BranchEnd),
    Variable("end_reason", ("branch", "end"), "str", "what the equations said there"),
    Variable("parent_branch", ("branch",), "int64", "the branch that it leaves, -1 for none"),
    Variable("parent_special", ("branch",), "int64", "the special point there, -1 for none"),
    Variable("special_kind", ("special",), "int8", "what happens there", flags=SpecialPoint),
    Variable("special_parameter", ("special",), "float64", "the parameter there", "mu"),
    Variable("special_branch", ("special",), "int64", "the branch that it is on"),
    Variable("special_point", ("special",), "int64", "the last point of the branch before it"),
    Variable("special_crossing", ("special",), "int64", "number of eigenvalues that cross"),
    Variable("special_frequency", ("special",), "float64",
             "frequency of the oscillations that begin at a Hopf point", "omega"),
]  # fmt: skip
OWN = frozenset(v.name for v in VARIABLES)


def known_variables(problem: Any) -> dict[str, Variable]:
    """What is known of every variable of a dataset of branches."""
    found = registry([])
    for name, v in variables_of(problem).items():
        dims = tuple(d for d in v.dims if d != "time")
        if v.coordinate:
            found[name] = v
            continue
        found[name] = replace(v, dims=("branch", "point", *dims), required=False)
        long_name = f"{v.long_name}, at the special point"
        special = SPECIAL + name
        found[special] = replace(
            v, name=special, dims=("special", *dims), long_name=long_name, required=False
        )
    return {**found, **{v.name: v for v in VARIABLES}}


def is_branches(ds: Any) -> bool:
    """Whether something is a dataset of branches."""
    return ATTRIBUTE in getattr(ds, "attrs", {})


class Table:
    """Branches on one curve as a dataset.

    Parameters
    ----------
    curve : Curve
    family : OneParameter
    branches : list of Branch
    """

    def __init__(self, curve: Curve, family: OneParameter, branches: list[Branch]) -> None:
        self.curve, self.family, self.branches = curve, family, branches
        self.shape = len(branches), max((len(b.spots) for b in branches), default=0)

    def dataset(self, problem: Any, words: Mapping[str, Any]) -> xr.Dataset:
        """The dataset; `problem` is what its attributes describe."""
        result = prepare(problem, (ATTRIBUTE, words), SOURCE)
        system = problem.system
        arrays = {**self._points(), **self._branches(), **self._specials()}
        labels = {"end": list(ENDS), **system.labels(problem)}
        known = known_variables(problem)
        made = {n: (known[n].dims if n in known else d, a) for n, (d, a) in arrays.items()}
        ds = assemble({**made, **result.kept}, labels, result.attrs, variables=known)
        along = words.get("along") or "a number of the problem"
        ds.parameter.attrs["long_name"] = str(along)
        return ds

    # -------------------------------------------------------------------------------------- points

    def _points(self) -> dict[str, Any]:
        """Everything over (branch, point)."""
        rows = {
            (b, p): {**self._state(spot.z), **self._spectrum(spot)}
            for b, branch in enumerate(self.branches)
            for p, spot in enumerate(branch.spots)
        }
        found = _gathered(self.shape, ("branch", "point"), rows)
        length = np.full(self.shape, np.nan)
        for b, branch in enumerate(self.branches):
            z = np.array([spot.z for spot in branch.spots])
            steps = np.linalg.norm(np.diff(z, axis=0), axis=1) if len(z) else np.zeros(0)
            length[b, : len(z)] = np.concatenate([[0.0], np.cumsum(steps)])[: len(z)]
        found["arclength"] = (("branch", "point"), length)
        return found

    def _state(self, z: Floats) -> dict[str, Any]:
        """The variables of a fixed point, its errors, and what of the problem goes with them."""
        mu = self.curve.parameter(z)
        y, field = self.family.full(self.curve.state(z)), self.family.field(mu)
        found = {name: (b.dims, y[b.places]) for name, b in field.layout.items()}
        found["generalization_error"] = (("task",), field.errors(y))
        known = variables_of(field.problem)
        for name, value in field.problem.system.constants(field.problem).items():
            found[name] = (known[name].dims, np.asarray(value))
        found["parameter"] = ((), np.asarray(mu))
        return found

    def _spectrum(self, spot: Spot) -> dict[str, Any]:
        mu = self.curve.parameter(spot.z)
        rate = self.family.rate(mu)
        residual = np.abs(self.curve.value(spot.z)).max(initial=0.0) * rate
        return {
            "eigenvalue_real": (("direction",), spot.eigenvalues.real * rate),
            "eigenvalue_imag": (("direction",), spot.eigenvalues.imag * rate),
            "n_unstable": ((), np.asarray(unstable(spot))),
            "n_zero": ((), np.asarray(zero_modes(spot))),
            "residual": ((), np.asarray(residual)),
            "physical": ((), np.asarray(self.family.physical(self.curve.state(spot.z), mu))),
        }

    def _branches(self) -> dict[str, Any]:
        first = np.cumsum([0, *(len(b.events) for b in self.branches)])
        parents = [b.parent for b in self.branches]
        numbers = [NONE if b < 0 else int(first[b]) + e for b, e in parents]
        ends = np.array([b.ends for b in self.branches]).reshape(-1, 2)
        reasons = np.array([b.reasons for b in self.branches]).reshape(-1, 2)
        return {
            "n_points": (("branch",), np.array([len(b.spots) for b in self.branches])),
            "end_status": (("branch", "end"), ends),
            "end_reason": (("branch", "end"), reasons),
            "parent_branch": (("branch",), np.array([b for b, _ in parents])),
            "parent_special": (("branch",), np.array(numbers)),
        }

    def _specials(self) -> dict[str, Any]:
        """Everything over special points, branch by branch."""
        events: list[tuple[int, Event]] = [
            (b, event) for b, branch in enumerate(self.branches) for event in branch.events
        ]
        rows = {
            (i,): {SPECIAL + k: v for k, v in {**self._state(e.z), **self._words(b, e)}.items()}
            for i, (b, e) in enumerate(events)
        }
        found = _gathered((len(events),), ("special",), rows)
        if not events:
            whole = {"kind", "branch", "point", "crossing"}
            for name in (*whole, "parameter", "frequency"):
                empty = np.zeros(0, dtype=np.int64 if name in whole else np.float64)
                found[SPECIAL + name] = (("special",), empty)
        return found

    def _words(self, branch: int, event: Event) -> dict[str, Any]:
        rate = self.family.rate(self.curve.parameter(event.z))
        numbers = {
            "kind": event.kind,
            "branch": branch,
            "point": event.after,
            "crossing": event.crossing,
            "frequency": event.frequency * rate,
        }
        return {name: ((), np.asarray(value)) for name, value in numbers.items()}


def _gathered(
    shape: tuple[int, ...], lead: tuple[str, ...], rows: dict[Any, Any]
) -> dict[str, Any]:
    """Rows of arrays by place as whole arrays; NaN, and -1 among whole numbers, where none is."""
    found: dict[str, Any] = {}
    for place, row in rows.items():
        for name, (dims, array) in row.items():
            if name not in found:
                missing = NONE if array.dtype.kind in "iu" else np.nan
                found[name] = ((*lead, *dims), np.full((*shape, *array.shape), missing))
            found[name][1][place] = array
    return found


def branches_of(ds: xr.Dataset) -> Iterator[xr.Dataset]:
    """Every branch of a dataset without the points that it does not have."""
    for b in range(ds.sizes["branch"]):
        one = ds.isel(branch=b)
        yield one.isel(point=slice(0, int(one.n_points)))
