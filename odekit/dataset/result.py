"""The dataset of a run or a sweep: its arrays, and all that is known before there are any."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from odekit.base.errors import ProblemError
from odekit.base.version import __version__
from odekit.dataset.assemble import assemble, variables_of
from odekit.dataset.provenance import provenance
from odekit.problem.axes import Axis, axes
from odekit.problem.plain import Variables, describe

if TYPE_CHECKING:
    import xarray as xr

    from odekit.base.arrays import Floats
    from odekit.problem.base import AnyProblem


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
        The problem and how it is solved as plain data: equal for equal results.
    axes : dict
        Dims that come before the core dims.
    """

    problem: AnyProblem
    attrs: dict[str, Any]
    kept: Variables
    identity: dict[str, Any]
    axes: Mapping[str, Axis]

    def dataset(self, arrays: Mapping[str, Any], time: Floats, lost: str = "") -> xr.Dataset:
        """The dataset of arrays by name."""
        problem, system = self.problem, self.problem.system
        coords = {dim: coord for dim, (_, coord) in self.axes.items() if coord is not None}
        named = {"time": time, **system.labels(problem)}
        everything = {**arrays, **system.constants(problem), **self.kept}
        attrs = {**self.attrs, **({"odekit_lost": lost} if lost else {})}
        known = variables_of(problem)
        return assemble(everything, {**named, **coords}, attrs, tuple(self.axes), variables=known)


def prepare(
    problem: AnyProblem,
    how: tuple[str, Mapping[str, Any]],
    source: str = "ordinary differential equations",
    attrs: Mapping[str, Any] | None = None,
    more_axes: Mapping[str, Axis] | None = None,
) -> Result:
    """All of a result that does not depend on its trajectories.

    Parameters
    ----------
    problem : AnyProblem
    how : tuple of str and mapping
        Name of the attribute that says how it was made, and what it says.
    source : str
        What made it, for people.
    attrs : mapping, optional
        The user's own.
    more_axes : mapping, optional
        Dims after those of the problem's sweep.

    Raises
    ------
    ProblemError
        If something in it has no place in a file.
    """
    data, kept = describe(problem)
    name, words = how
    system = problem.system
    about = provenance(
        data, problem.title or system.title, f"odekit {__version__}, {source}", system.references
    )
    about[name] = json.dumps(words, sort_keys=True)
    # A run that the time allowed cut short may be given more.
    same = {k: v for k, v in words.items() if k != "max_seconds"}
    identity = {**data, "solver": same, "order": problem.order, "odekit": __version__}
    found = {**axes(problem), **(more_axes or {})}
    return Result(problem, {**about, **_own(attrs)}, kept, identity, found)


def _own(attrs: Mapping[str, Any] | None) -> dict[str, Any]:
    own = dict(attrs or {})
    for name, value in own.items():
        plain = isinstance(value, str | int | float) and not isinstance(value, bool)
        if not isinstance(name, str) or name.startswith("odekit_problem") or not plain:
            raise ProblemError(
                "attrs", "must be texts and numbers by name", f"{name!r}: {value!r}"[:80], ""
            )
    return own
