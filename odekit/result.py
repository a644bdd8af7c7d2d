"""The dataset of a run or a sweep: its arrays, and all that is known before there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odekit import __version__
from odekit.dataset import assemble, provenance, variables_of
from odekit.errors import ProblemError
from odekit.serialize import Variables, describe
from odekit.sweep import axes
from odekit.systems import constants, labels, references

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base import AnyProblem
    from odekit.options import SolverOptions
    from odekit.stepper import Floats


@dataclass(frozen=True)
class Result:
    """What a dataset holds besides the arrays of its trajectories.

    Made before any work, so that what has no place in a file is refused then.

    Attributes
    ----------
    attrs : dict
        Global attributes.
    kept : dict
        Large arrays of the problem: dims and values by name.
    identity : dict
        The problem, options and times as plain data: equal for equal results.
    """

    problem: AnyProblem
    attrs: dict[str, Any]
    kept: Variables
    identity: dict[str, Any]

    def dataset(self, arrays: Mapping[str, Any], time: Floats, lost: str = "") -> xr.Dataset:
        """The dataset of arrays by name."""
        problem, found = self.problem, axes(self.problem)
        coords = {dim: coord for dim, (_, coord) in found.items() if coord is not None}
        named = {"time": time, **labels(problem)}
        everything = {**arrays, **constants(problem), **self.kept}
        attrs = {**self.attrs, **({"odekit_lost": lost} if lost else {})}
        known = variables_of(problem)
        return assemble(everything, {**named, **coords}, attrs, tuple(found), known)


def prepare(
    problem: AnyProblem,
    options: SolverOptions,
    times: Floats | None,
    attrs: Mapping[str, Any] | None = None,
) -> Result:
    """All of a result that does not depend on its trajectories.

    Raises
    ------
    ProblemError
        If something in it has no place in a file.
    """
    data, kept = describe(problem)
    solver = options.to_dict()
    if times is not None:
        solver["t_eval"] = times.tolist()
    about = provenance(data)
    about["odekit_solver"] = json.dumps(solver, sort_keys=True)
    about["references"] = references(problem)
    identity = {**data, "solver": solver, "order": problem.order, "odekit": __version__}
    return Result(problem, {**about, **_own(attrs)}, kept, identity)


def _own(attrs: Mapping[str, Any] | None) -> dict[str, Any]:
    own = dict(attrs or {})
    for name, value in own.items():
        plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        if not isinstance(name, str) or name.startswith("odekit_problem") or not plain:
            raise ProblemError(
                "attrs", "must be texts and numbers by name", f"{name!r}: {value!r}"[:80], ""
            )
    return own
