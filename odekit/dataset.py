"""The labelled dataset: one registry of its variables builds it, documents it and checks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from odekit.errors import ProblemError
from odekit.linearvariables import linear_variables
from odekit.provenance import SCHEMA_VERSION, canonical_json, problem_of, provenance
from odekit.status import Outcome, Status
from odekit.variable import Variable, coordinate

if TYPE_CHECKING:
    from odekit.base import AnyProblem

__all__ = [
    "REGISTRY",
    "SCHEMA_VERSION",
    "Variable",
    "assemble",
    "canonical_json",
    "check",
    "document",
    "problem_of",
    "provenance",
    "registry_of",
    "variables_of",
    "variables_of_data",
]


# --------------------------------------------------------------------------------------- registry


_STUDENTS = ("student", "student_other")
_EXPANSION = "expansion of the mean-squared error in two-point moments I2"

_VARIABLES = [
    coordinate("time", "float64", "steps / N", symbol="t"),
    coordinate("student", "int64", "student unit", symbol="k"),
    coordinate("student_other", "int64", "student unit (second index)", symbol="l"),
    coordinate("teacher", "int64", "fixed vector: a unit of any teacher", symbol="n"),
    coordinate("teacher_other", "int64", "fixed vector (second index)", symbol="m"),
    coordinate("head", "str", "readout of the student"),
    coordinate("task", "str", "task"),
    coordinate("phase_index", "int64", "phase"),
    coordinate("replica", "int64", "simulated network", required=False),
    Variable(
        "Q",
        ("time", *_STUDENTS),
        "float64",
        "overlap of student units with each other, w_k.w_l / N",
        "Q_kl",
        "dQ_kl/dt = eta_w (v_k A_kl + v_l A_lk) + (eta_w^2/b) v_k v_l "
        "(sum_ab c_a c_b I4(k,l,a,b) + sigma^2 J2(k,l)); Saad & Solla 1995, Goldt et al. 2019",
    ),
    Variable(
        "R",
        ("time", "student", "teacher"),
        "float64",
        "overlap of student units with fixed vectors, w_k.B_n / N",
        "R_kn",
        "dR_kn/dt = eta_w v_k sum_a c_a I3(k,n,a); Saad & Solla 1995, Goldt et al. 2019",
    ),
    Variable(
        "T",
        ("teacher", "teacher_other"),
        "float64",
        "overlap of fixed vectors with each other, B_n.B_m / N",
        "T_nm",
        "constant",
    ),
    Variable(
        "readout",
        ("time", "head", "student"),
        "float64",
        "second-layer weights of each head",
        "v_k",
        "dv_k/dt = eta_v sum_a c_a I2(k,a); Goldt et al. 2019",
    ),
    Variable(
        "generalization_error",
        ("time", "task"),
        "float64",
        "generalization error",
        "epsilon_g",
        f"epsilon_g = 1/2 sum_ab c_a c_b I2(a,b), {_EXPANSION}",
    ),
    Variable(
        "test_error",
        ("time", "task"),
        "float64",
        "half the mean squared error over the inputs that a simulation was given",
        required=False,
    ),
    Variable("phase", ("time",), "int32", "index of the phase that the row belongs to"),
    Variable("status", (), "int8", "how the trajectory ended", flags=Status),
    Variable("t_last", (), "float64", "last time that was reached, steps / N"),
    Variable("n_steps", (), "int64", "accepted steps of the integrator"),
    Variable("n_rhs", (), "int64", "evaluations of the right-hand side"),
    Variable("n_jac", (), "int64", "evaluations of the Jacobian", required=False),
    Variable(
        "phase_end",
        ("phase_index",),
        "float64",
        "time at which the phase ended (NaN if it never began), steps / N",
        required=False,
    ),
    Variable(
        "phase_end_error",
        ("phase_index", "task"),
        "float64",
        "generalization error as the phase ended",
        "epsilon_g",
        required=False,
    ),
    Variable(
        "phase_outcome",
        ("phase_index",),
        "int8",
        "how the phase ended",
        flags=Outcome,
        required=False,
    ),
    Variable(
        "quadrature_nodes",
        (),
        "int64",
        "most nodes in one direction of the quadrature of Gaussian moments",
        required=False,
    ),
    Variable(
        "quadrature_error",
        (),
        "float64",
        "largest relative change of a Gaussian moment when these nodes are doubled",
        required=False,
    ),
    Variable("method", ("phase_index",), "str", "integrators that ran", required=False),
]

SWEPT_TEXT = "U64"
"""Type of the text variables of a sweep: all trajectories need the same."""

REGISTRY: dict[str, Variable] = {v.name: v for v in _VARIABLES}
"""Every variable of the dataset by name."""

REPLICA = "replica"
"""Dim of simulated networks: it comes after those of a sweep, and before the core dims."""

OF_EVERY_KIND = [
    "time",
    "task",
    "phase_index",
    "phase",
    "status",
    "t_last",
    "n_steps",
    "n_rhs",
    "n_jac",
    "phase_end",
    "phase_end_error",
    "phase_outcome",
    "method",
]
"""Variables that the dataset of any kind of problem has."""


def variables_of(problem: AnyProblem) -> dict[str, Variable]:
    """Every variable of a problem's dataset by name."""
    network = problem.network.to_dict() if hasattr(problem, "network") else {}
    return variables_of_data({"kind": problem.kind, "network": network})


def _in_steps(variable: Variable) -> Variable:
    """A variable of which time is that of gradient descent."""
    text = variable.long_name.replace("steps / N", "steps of gradient descent")
    return replace(variable, long_name=text)


def variables_of_data(data: Mapping[str, Any]) -> dict[str, Variable]:
    """Every variable by name, from the problem as plain data."""
    if data.get("kind") == "linear":
        common = {name: _in_steps(REGISTRY[name]) for name in OF_EVERY_KIND}
        return {**linear_variables(data["network"]), **common}
    return REGISTRY


def document() -> str:
    """Describe every variable of the dataset.

    Returns
    -------
    str
        A Markdown table.

    Examples
    --------
    >>> print(document().splitlines()[2])
    | `time` | time | float64 | t | steps / N |
    """
    rows = ["| variable | dimensions | type | symbol | meaning |", "|---|---|---|---|---|"]
    for v in REGISTRY.values():
        dims = ", ".join(v.dims if v.coordinate else ("…", *v.dims))
        rows.append(f"| `{v.name}` | {dims} | {v.dtype} | {v.symbol} | {v.long_name} |")
    return "\n".join(rows)


# ------------------------------------------------------------------------------------------ build


def assemble(
    arrays: Mapping[str, Any],
    coords: Mapping[str, Any],
    attrs: Mapping[str, Any],
    sweep: Sequence[str] = (),
    registry: Mapping[str, Variable] = REGISTRY,
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
    registry : mapping, optional
        Variables by name, from `variables_of`; those of a committee by default.

    Returns
    -------
    Dataset

    Examples
    --------
    >>> ds = assemble({"status": np.zeros(2), "phase": [0, 0, 1]},
    ...               {"time": [0.0, 1.0, 2.0], "eta": [0.1, 0.2]}, {}, sweep=["eta"])
    >>> ds.status.dims, str(ds.status.dtype), ds.time.attrs["long_name"]
    (('eta',), 'int8', 'steps / N')
    """
    known = _Typing(registry)
    variables = {name: known.variable(name, value, tuple(sweep)) for name, value in arrays.items()}
    labels = {name: known.label(name, value) for name, value in coords.items()}
    ds = xr.Dataset(variables, labels)
    counted = {
        str(d): known.label(str(d), np.arange(ds.sizes[d]))
        for d in ds.dims
        if d not in ds.coords and d in registry and registry[str(d)].dtype == "int64"
    }
    return ds.assign_coords(counted).assign_attrs(dict(attrs))


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

    def _attributes(self, name: str, own: Mapping[Any, Any]) -> dict[Any, Any]:
        known = self.registry[name].attributes() if name in self.registry else {}
        return {**known, **own}

    def _make(self, name: str, dims: Any, values: Any, own: Mapping[Any, Any] = {}) -> xr.Variable:
        return xr.Variable(dims, self._typed(name, values), self._attributes(name, own))

    def variable(self, name: str, value: Any, sweep: tuple[str, ...]) -> xr.Variable:
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
        return xr.Variable(dims, array, self._attributes(name, {}))

    def label(self, name: str, value: Any) -> xr.Variable:
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
    known = registry_of(ds)
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


def registry_of(ds: xr.Dataset) -> Mapping[str, Variable]:
    """Of the problem that it holds; a committee's where it holds none, which is told later."""
    try:
        return variables_of_data(problem_of(ds))
    except (ProblemError, KeyError, TypeError, AttributeError):
        return REGISTRY


def _check_variable(v: Variable, array: xr.DataArray, core: set[str]) -> list[str]:
    found = []
    lead = array.dims[: len(array.dims) - len(v.dims)]
    swept = lead and (v.coordinate or any(d in core for d in lead))
    if array.dims[len(lead) :] != v.dims or swept:
        wanted = v.dims if v.coordinate else ("…", *v.dims)
        found.append(f"`{v.name}` must have dimensions {wanted}, has {array.dims}")
    if (array.dtype.kind != "U") if v.dtype == "str" else (array.dtype != v.dtype):
        found.append(f"`{v.name}` must be of type {v.dtype}, is {array.dtype}")
    if v.dtype != "str" and array.attrs.get("units") != v.units:
        found.append(f"`{v.name}` must have units {v.units!r}, has {array.attrs.get('units')!r}")
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
