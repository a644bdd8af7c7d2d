"""The labelled dataset: one registry of its variables builds it, documents it and checks it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr

from odekit.base.errors import ProblemError
from odekit.dataset.common import REPLICA, registry
from odekit.dataset.provenance import SCHEMA_VERSION, problem_of
from odekit.dataset.variable import Variable
from odekit.problem.system import FIRST, system_of

if TYPE_CHECKING:
    from odekit.problem.base import AnyProblem
    from odekit.problem.system import System


def variables_of(problem: AnyProblem) -> Mapping[str, Variable]:
    """Every variable of a problem's dataset by name."""
    return problem.system.variables(problem.outline)


def variables_in(ds: xr.Dataset) -> Mapping[str, Variable]:
    """Every variable of the problem that a dataset holds; the common ones where it holds none."""
    try:
        data = problem_of(ds)
        return system_of(data.get("kind", FIRST)).variables(data)
    except (ProblemError, KeyError, TypeError, AttributeError):
        return registry([])


def system_in(ds: xr.Dataset) -> System | None:
    """The system of the problem that a dataset holds, or None if there is none of that name.

    Without a problem, as after arithmetic that drops attributes, it is the one of files that do
    not name theirs, as long as its variables are there.
    """
    try:
        data = problem_of(ds)
    except ProblemError:
        system, common = system_of(FIRST), registry([])
        known = system.variables({}).values()
        own = {v.name for v in known if v.required and v.name not in common}
        return system if own <= ds.variables.keys() else None
    try:
        return system_of(data.get("kind", FIRST))
    except ProblemError:
        return None


MOST_LABELS = 2**16
"""Bytes of coordinates up to which what goes together is remembered."""

# ------------------------------------------------------------------------------------------ build


def assemble(
    arrays: Mapping[str, Any],
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any],
    sweep: Sequence[str] = (),
    *,
    variables: Mapping[str, Variable],
) -> xr.Dataset:
    """Put arrays together to a labelled dataset, with the registry's types and attributes.

    Parameters
    ----------
    arrays : mapping
        Variables by name. An array has the core dimensions of its variable, and before them
        either none or all of `sweep`; a ``(dims, array)`` pair or a DataArray names its own.
    coords : mapping
        Coordinates by name: ``time``, ``head`` and ``task``, and those of the sweep. Indices of
        units and phases count from 0 where they are not given.
    attrs : mapping
        Global attributes: see `provenance`.
    sweep : sequence of str
        Dimensions of the sweep, in order.
    variables : mapping
        What is known of each by name, from `variables_of`.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> ds = assemble({"status": np.zeros(2), "phase": [0, 0, 1]},
    ...               {"time": [0.0, 1.0, 2.0], "eta": [0.1, 0.2]}, {}, sweep=["eta"],
    ...               variables=registry([]))
    >>> ds.status.dims, str(ds.status.dtype), ds.time.attrs["long_name"]
    (('eta',), 'int8', 'steps / N')
    """
    known = _Typing(variables)
    made = {name: known.variable(name, value, tuple(sweep)) for name, value in arrays.items()}
    labels = {name: known.label(name, value) for name, value in coords.items()}
    every = [*made.values(), *labels.values()]
    sizes = {str(d): n for v in every for d, n in zip(v.dims, v.values.shape, strict=True)}
    counted = {
        d: known.label(d, np.arange(n))
        for d, n in sizes.items()
        if d not in labels and d in variables and variables[d].dtype == "int64"
    }
    ds = _together(made, {**labels, **counted})
    ds.attrs = dict(attrs)
    return ds


def joined(
    variables: Mapping[str, tuple[Any, ...]], coords: Mapping[str, Any], attrs: Mapping[str, Any]
) -> xr.Dataset:
    """A dataset of variables that no registry knows, as xarray makes it of them.

    Parameters
    ----------
    variables : mapping
        ``(dims, values)`` or ``(dims, values, attributes)`` by name.
    coords : mapping
        The same, or labels along the dim of that name.
    attrs : mapping
        Global attributes.

    Examples
    --------
    >>> ds = joined({"x": (("unit",), [0.5, 1.0])}, {"unit": ["a", "b"]}, {})
    >>> float(ds.x.sel(unit="b"))
    1.0
    """

    def part(name: str, value: Any) -> _Part:
        dims, values, *own = value if isinstance(value, tuple) else ((name,), value)
        names = (dims,) if isinstance(dims, str) else tuple(dims)
        return _Part(names, np.asarray(values), None, own[0] if own else {})

    made, labels = (
        {name: part(name, value) for name, value in parts.items()} for parts in (variables, coords)
    )
    ds = _together(made, labels)
    ds.attrs = dict(attrs)
    return ds


class _Part(NamedTuple):
    """A variable to be: what the registry knows of its name, if anything, and its own attributes.

    Dims are in order, one for each axis of the values.
    """

    dims: tuple[Any, ...]
    values: Any
    known: Variable | None
    own: Mapping[Any, Any]

    def attributes(self) -> dict[Any, Any]:
        return {**(self.known.attributes() if self.known is not None else {}), **self.own}

    def variable(self, values: Any) -> xr.Variable:
        return xr.Variable(self.dims, values, self.attributes())

    @property
    def kind(self) -> tuple[Any, ...]:
        """All but the values."""
        own = tuple(self.own.items())
        return self.dims, self.values.shape, self.values.dtype, self.known, own


def _together(made: Mapping[str, _Part], labels: Mapping[str, _Part]) -> xr.Dataset:
    """One dataset of variables and coordinates.

    xarray takes a millisecond and more to find out how they go together, and knows it of a dataset
    like one before, which is copied with other values.
    """
    size = sum(label.values.nbytes for label in labels.values())
    plain = all(label.values.dtype.kind in "fiuU" for label in labels.values())
    words = (x for p in (*made.values(), *labels.values()) for x in p.own.values())
    if size > MOST_LABELS or not plain or not all(isinstance(x, str) for x in words):
        data = {name: part.variable(part.values) for name, part in made.items()}
        return xr.Dataset(data, {name: part.variable(part.values) for name, part in labels.items()})
    like = _like(
        tuple((name, part.kind) for name, part in made.items()),
        tuple((name, part.kind, part.values.tobytes()) for name, part in labels.items()),
    )
    return like.copy(data={name: part.values for name, part in made.items()})


@functools.lru_cache(maxsize=64)
def _like(made: tuple[Any, ...], labels: tuple[Any, ...]) -> xr.Dataset:
    """A dataset of such variables that hold nothing, and with these coordinates."""
    data = {
        name: _Part(dims, None, known, dict(own)).variable(
            np.broadcast_to(np.empty((), dtype), shape)
        )
        for name, (dims, shape, dtype, known, own) in made
    }
    coords = {
        name: _Part(dims, None, known, dict(own)).variable(
            np.frombuffer(values, dtype).reshape(shape)
        )
        for name, (dims, shape, dtype, known, own), values in labels
    }
    return xr.Dataset(data, coords)


class _Typing:
    """Gives arrays the types, dimensions and attributes of a registry."""

    def __init__(self, registry: Mapping[str, Variable]) -> None:
        self.registry = registry

    def _typed(self, name: str, values: Any) -> Any:
        """Array with the type that the registry gives it."""
        if name not in self.registry:
            return np.asarray(values)
        wanted = self.registry[name].dtype
        if wanted == "str":
            return np.asarray(values, dtype=np.str_)
        array = np.asarray(values)
        # "safe" after a look at the values: counters come as float64 from compiled code
        if array.dtype.kind == "f" and wanted.startswith("int") and np.any(array != np.rint(array)):
            raise ProblemError(name, f"must hold whole numbers ({wanted})", array.dtype)
        return array.astype(wanted, copy=False)

    def _make(self, name: str, dims: Any, values: Any, own: Mapping[Any, Any] = {}) -> _Part:
        array, dims = self._typed(name, values), (dims,) if isinstance(dims, str) else tuple(dims)
        if array.ndim != len(dims):
            raise ProblemError(name, f"must have dimensions {dims}", f"{array.ndim} dimensions")
        return _Part(dims, array, self.registry.get(name), own)

    def variable(self, name: str, value: Any, sweep: tuple[str, ...]) -> _Part:
        """A variable from what `assemble` takes."""
        if isinstance(value, xr.DataArray | xr.Variable):
            return self._make(name, value.dims, value.values, value.attrs)
        if isinstance(value, tuple):
            return self._make(name, *value)
        if name not in self.registry:
            remedy = "Give it as a (dims, array) pair or as a DataArray."
            raise ProblemError(name, "needs its dimensions named", "a bare array", remedy)
        array = self._typed(name, value)
        core = self.registry[name].dims
        if array.ndim not in (len(core), len(core) + len(sweep)):
            rule = f"must have dimensions {core}, or {(*sweep, *core)} in a sweep"
            raise ProblemError(name, rule, f"{array.ndim} dimensions")
        dims = core if array.ndim == len(core) else (*sweep, *core)
        return _Part(dims, array, self.registry[name], {})

    def label(self, name: str, value: Any) -> _Part:
        """A coordinate."""
        if isinstance(value, xr.DataArray | xr.Variable):
            return self._make(name, value.dims, value.values, value.attrs)
        return self._make(name, *(value if isinstance(value, tuple) else ((name,), value)))


# ------------------------------------------------------------------------------------------ check


def check(ds: xr.Dataset) -> list[str]:
    """Compare a dataset with the registry.

    Parameters
    ----------
    ds : Dataset
        A result; variables and coordinates of one's own are let pass.

    Returns
    -------
    list of str
        One sentence for each violation; empty where there is none.
    """
    known = variables_in(ds)
    found = [
        f"`{v.name}` is missing"
        for v in known.values()
        if v.required and v.name not in ds.variables
    ]
    core = {d for v in known.values() for d in v.dims if d != REPLICA}
    for v in known.values():
        if v.name in ds.variables:
            found += _check_variable(v, ds[v.name], core)
    if "time" in ds.coords and ds["time"].ndim == 1:
        found += _check_time(ds["time"].values)
    return found + _check_attributes(ds)


def _check_variable(v: Variable, array: xr.DataArray, core: set[str]) -> list[str]:
    found = []
    lead = array.dims[: len(array.dims) - len(v.dims)]
    swept = lead and (v.coordinate or any(d in core for d in lead))
    if array.dims[len(lead) :] != v.dims or swept:
        wanted = v.dims if v.coordinate else ("…", *v.dims)
        found.append(f"`{v.name}` must have dimensions {wanted}, has {array.dims}")
    if (array.dtype.kind != "U") if v.dtype == "str" else (array.dtype != v.dtype):
        found.append(f"`{v.name}` must be of type {v.dtype}, is {array.dtype}")
    units = array.attrs.get("units", "")
    if units != v.units and (v.units or units != "1"):  # files of earlier versions have "1"
        rule = f"units {v.units!r}" if v.units else "no units"
        found.append(f"`{v.name}` must have {rule}, has {units!r}")
    if v.coordinate and not array.size:
        found.append(f"`{v.name}` must have an entry")
    if v.coordinate and array.ndim == 1 and len(np.unique(array.values)) != array.size:
        found.append(f"`{v.name}` must not repeat a label")
    return found + (_check_flags(v, array) if v.flags else [])


def _check_flags(v: Variable, array: xr.DataArray) -> list[str]:
    """A file may know the first of the flags only: later versions append to them."""
    own = v.attributes()
    given = np.atleast_1d(np.asarray(array.attrs.get("flag_values", ())))
    words = str(array.attrs.get("flag_meanings", "")).split()
    count = given.size
    known = own["flag_meanings"].split()
    found = []
    if not count or not np.array_equal(given, own["flag_values"][:count]):
        found.append(f"`{v.name}` must have the attribute flag_values = {own['flag_values']}")
    if words != known[: max(count, 1)]:
        found.append(f"`{v.name}` must have the attribute flag_meanings = {own['flag_meanings']}")
    strange = np.setdiff1d(array.values, own["flag_values"])
    if strange.size:
        found.append(f"`{v.name}` has values without a meaning: {strange.tolist()}")
    return found


def _check_time(time: Any) -> list[str]:
    if time.dtype.kind != "f":
        return []
    if not np.all(np.isfinite(time)):
        return ["`time` must be finite"]
    return [] if np.all(np.diff(time) > 0) else ["`time` must increase strictly"]


def _check_attributes(ds: xr.Dataset) -> list[str]:
    found = []
    if not str(ds.attrs.get("Conventions", "")).startswith("CF-"):
        found.append("the attribute `Conventions` must name CF")
    if ds.attrs.get("odekit_schema_version") != SCHEMA_VERSION:
        given = ds.attrs.get("odekit_schema_version")
        found.append(f"the attribute `odekit_schema_version` must be {SCHEMA_VERSION}, is {given}")
    try:
        problem_of(ds)
    except ProblemError as error:
        found.append(str(error))
    return found
