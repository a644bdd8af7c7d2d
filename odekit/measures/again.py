"""The problem that a dataset holds, to be solved again: what a measure needs between the rows."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from odekit.base.errors import ProblemError
from odekit.dataset.common import sweep_dims
from odekit.dataset.provenance import problem_of
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import Axis, axes, part
from odekit.problem.base import AnyProblem

if TYPE_CHECKING:
    import xarray as xr

Named = TypeVar("Named", "xr.DataArray", "xr.Dataset")

SIMULATION = "odekit_simulation"
"""Attribute of what `odekit.simulate` returns."""
DESCENT = "gradient descent in discrete steps"
"""In the attribute `source` of what `odekit.descend` returns."""


class NotAgain(Exception):
    """Why a dataset cannot be solved again; empty where its rows are all there is."""


class Patient:
    """Never asks to stop: Ctrl-C ends a measure between two blocks."""

    asked = False


@dataclass(frozen=True)
class Again:
    """A dataset's own problem, cut to the part of the sweep that the dataset has.

    Attributes
    ----------
    problem : AnyProblem
    options : SolverOptions
        Those of the dataset, without its rows and its limit on seconds.
    dims : dict of str to str
        Names that the dataset has for the problem's sweep dims; those it has lost are left out.
    """

    problem: AnyProblem
    options: SolverOptions
    dims: Mapping[str, str]

    def blocks(self, runs: int) -> Iterator[tuple[AnyProblem, dict[str, slice]]]:
        """Parts of at most so many points, and where in the dataset they are."""
        from odekit.sweeps.chunks import Chunking, chunk_shape

        sizes = {dim: size for dim, (size, _) in axes(self.problem).items()}
        if not sizes:
            yield self.problem, {}
            return
        cut = Chunking(sizes, chunk_shape(sizes, runs))
        for number in range(len(cut)):
            region = cut.region(number)
            there = {self.dims[d]: s for d, s in region.items() if d in self.dims}
            yield part(self.problem, region), there

    def phases(self, count: int | slice) -> Again:
        """The same up to a phase, or with some; sweep dims that only others have are gone."""
        some = count if isinstance(count, slice) else slice(count)
        problem = self.problem.replace(phases=self.problem.phases[some])
        left = axes(problem)
        return replace(
            self, problem=problem, dims={d: n for d, n in self.dims.items() if d in left}
        )

    def labelled(self, values: Any, problem: AnyProblem, core: Sequence[str] = ()) -> xr.DataArray:
        """Numbers of the points of one of the `blocks`, over the dims of the dataset."""
        import xarray as xr

        found = axes(problem)
        shape = np.shape(values)[np.ndim(values) - len(core) :]
        sizes = [size for size, _ in found.values()]
        array = xr.DataArray(np.reshape(values, (*sizes, *shape)), dims=[*found, *core])
        return self.renamed(array)

    def renamed(self, array: Named) -> Named:
        """The dims of the problem's sweep as the dataset has them; those it has lost are gone."""
        found = axes(self.problem)
        lost = {d: 0 for d in array.dims if d in found and d not in self.dims}
        kept = array.isel(lost, drop=True)
        names = {d: n for d, n in self.dims.items() if d in kept.dims and d != n}
        return kept.rename(names)


def again(ds: xr.Dataset) -> Again:
    """The problem of a dataset of theory.

    Raises
    ------
    NotAgain
        If it is none, or cannot be solved again.
    """
    if is_discrete(ds):
        raise NotAgain("")
    words = json.loads(ds.attrs.get("odekit_solver", "{}"))
    try:
        problem = AnyProblem.from_dict(problem_of(ds))
        problem.system.points(problem, axes(problem))
    except ProblemError as error:
        raise NotAgain(str(error)) from error
    region, dims = _matched(ds, axes(problem))
    for name in ("t_eval", "max_seconds"):
        words.pop(name, None)
    if words.get("device") == "cuda":
        words["device"] = "auto"
    return Again(part(problem, region) if region else problem, SolverOptions(**words), dims)


def is_discrete(ds: xr.Dataset) -> bool:
    """Whether steps of learning made it: there is nothing between rows, and no equation."""
    return SIMULATION in ds.attrs or DESCENT in str(ds.attrs.get("source", ""))


def from_rows(reason: NotAgain, what: str, stacklevel: int = 4) -> None:
    """Say that a measure of theory sees the rows only."""
    if str(reason):
        text = f"{what} sees the rows of the dataset only, and depends on them: {reason}"
        warnings.warn(text, stacklevel=stacklevel)


def _matched(ds: xr.Dataset, found: Mapping[str, Axis]) -> tuple[dict[str, Any], dict[str, str]]:
    """Which entries of the problem's dims the dataset has, and what it calls these dims."""
    own = sweep_dims(ds)
    lost = [d for d in found if d not in own and d not in ds.coords]
    new = [d for d in own if d not in found]
    if len(lost) != len(new):
        raise NotAgain(f"it has the dims {own}, its problem {list(found)}")
    names = {**{d: d for d in found if d in own}, **dict(zip(lost, new, strict=True))}
    region = {d: _entries(ds, d, names.get(d, d), axis) for d, axis in found.items()}
    return region, names


def _entries(ds: xr.Dataset, dim: str, name: str, axis: Axis) -> Any:
    """Indices of a dataset's entries along a dim of the problem."""
    size, coord = axis
    if name in ds.coords and coord is not None:
        wanted = np.atleast_1d(ds[name].values)
        match = np.asarray(coord)[:, np.newaxis] == wanted
        if match.any(axis=0).all() and match.sum() == wanted.size:
            return match.argmax(axis=0)
    elif ds.sizes.get(name) == size:
        return np.arange(size)
    raise NotAgain(f"its entries along {name!r} are not those of its problem along {dim!r}")
