"""The labelled dataset: one registry of its variables builds it, documents it and checks it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from odekit.errors import ProblemError
from odekit.provenance import SCHEMA_VERSION, canonical_json, problem_of, provenance
from odekit.status import Outcome, Status

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
]


# --------------------------------------------------------------------------------------- registry


@dataclass(frozen=True)
class Variable:
    """One variable of the dataset, in all that people and programs need to know about it.

    Parameters
    ----------
    name, long_name, units : str
        As in the file. Everything here is a pure number: the units are "1".
    dims : tuple of str
        Core dimensions; those of a sweep come before them.
    dtype : str
        Numpy's name, or "str".
    symbol, equation : str
        What the papers call it, and the equation that it follows.
    flags : type, optional
        Enumeration of the values that an integer variable takes.
    required : bool
        Whether every dataset has it.
    coordinate : bool
        Whether it labels the dimension of its name.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    long_name: str
    symbol: str = ""
    equation: str = ""
    units: str = "1"
    flags: type[Status] | type[Outcome] | None = None
    required: bool = True
    coordinate: bool = False

    def attributes(self) -> dict[str, Any]:
        """Attributes of the variable in a dataset."""
        attrs: dict[str, Any] = {"long_name": self.long_name}
        if self.dtype != "str":
            attrs["units"] = self.units
        if self.symbol:
            attrs["symbol"] = self.symbol
        if self.equation:
            attrs["equation"] = self.equation
        if self.flags is not None:
            attrs["flag_values"] = np.array([int(f) for f in self.flags], dtype=self.dtype)
            attrs["flag_meanings"] = self.flags.flag_meanings()
        return attrs


def _coordinate(name: str, dtype: str, long_name: str, **more: Any) -> Variable:
    return Variable(name, (name,), dtype, long_name, coordinate=True, **more)


_STUDENTS = ("student", "student_other")
_EXPANSION = "expansion of the mean-squared error in two-point moments I2"

_VARIABLES = [
    _coordinate("time", "float64", "steps / N", symbol="t"),
    _coordinate("student", "int64", "student unit", symbol="k"),
    _coordinate("student_other", "int64", "student unit (second index)", symbol="l"),
    _coordinate("teacher", "int64", "fixed vector: a unit of any teacher", symbol="n"),
    _coordinate("teacher_other", "int64", "fixed vector (second index)", symbol="m"),
    _coordinate("head", "str", "readout of the student"),
    _coordinate("task", "str", "task"),
    _coordinate("phase_index", "int64", "phase"),
    _coordinate("replica", "int64", "simulated network", required=False),
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
CORE_DIMS = tuple(dict.fromkeys(d for v in _VARIABLES for d in v.dims if d != REPLICA))


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
    variables = {name: _variable(name, value, tuple(sweep)) for name, value in arrays.items()}
    labels = {name: _label(name, value) for name, value in coords.items()}
    ds = xr.Dataset(variables, labels)
    counted = {
        str(d): _label(str(d), np.arange(ds.sizes[d]))
        for d in ds.dims
        if d not in ds.coords and d in REGISTRY and REGISTRY[str(d)].dtype == "int64"
    }
    return ds.assign_coords(counted).assign_attrs(dict(attrs))


def _typed(name: str, values: Any) -> Any:
    """Array with the type that the registry gives it."""
    if name not in REGISTRY:
        return np.asarray(values)
    wanted = REGISTRY[name].dtype
    if wanted == "str":
        return np.asarray(values, dtype=np.str_)
    array = np.asarray(values)
    # "safe" after a look at the values: counters come as float64 from compiled code
    if array.dtype.kind == "f" and wanted.startswith("int") and np.any(array != np.rint(array)):
        raise ProblemError(name, f"must hold whole numbers ({wanted})", array.dtype)
    return array.astype(wanted, copy=False)


def _attributes(name: str, own: Mapping[Any, Any]) -> dict[Any, Any]:
    return {**REGISTRY[name].attributes(), **own} if name in REGISTRY else dict(own)


def _variable(name: str, value: Any, sweep: tuple[str, ...]) -> xr.Variable:
    if isinstance(value, xr.DataArray | xr.Variable):
        return xr.Variable(value.dims, _typed(name, value.values), _attributes(name, value.attrs))
    if isinstance(value, tuple):
        dims, values = value
        return xr.Variable(dims, _typed(name, values), _attributes(name, {}))
    if name not in REGISTRY:
        remedy = "Give it as a (dims, array) pair or as a DataArray."
        raise ProblemError(name, "needs its dimensions named", "a bare array", remedy)
    array = _typed(name, value)
    core = REGISTRY[name].dims
    if array.ndim not in (len(core), len(core) + len(sweep)):
        rule = f"must have dimensions {core}, or {(*sweep, *core)} in a sweep"
        raise ProblemError(name, rule, f"{array.ndim} dimensions")
    dims = core if array.ndim == len(core) else (*sweep, *core)
    return xr.Variable(dims, array, _attributes(name, {}))


def _label(name: str, value: Any) -> xr.Variable:
    if isinstance(value, xr.DataArray | xr.Variable):
        return xr.Variable(value.dims, _typed(name, value.values), _attributes(name, value.attrs))
    dims, values = value if isinstance(value, tuple) else ((name,), value)
    return xr.Variable(dims, _typed(name, values), _attributes(name, {}))


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
    found = [
        f"`{v.name}` is missing"
        for v in REGISTRY.values()
        if v.required and v.name not in ds.variables
    ]
    for v in REGISTRY.values():
        if v.name in ds.variables:
            found += _check_variable(v, ds[v.name])
    if "time" in ds.coords and ds["time"].ndim == 1:
        found += _check_time(ds["time"].values)
    return found + _check_attributes(ds)


def _check_variable(v: Variable, array: xr.DataArray) -> list[str]:
    found = []
    lead = array.dims[: len(array.dims) - len(v.dims)]
    swept = lead and (v.coordinate or any(d in CORE_DIMS for d in lead))
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
