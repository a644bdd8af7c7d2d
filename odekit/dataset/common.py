"""Variables that the dataset of any kind of problem has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from odekit.base.errors import ProblemError
from odekit.base.status import Outcome, Status
from odekit.dataset.variable import Variable, coordinate

if TYPE_CHECKING:
    import xarray as xr

COMMON = [
    coordinate("time", "float64", "steps / N", symbol="t", units="1"),
    coordinate("task", "str", "task"),
    coordinate("phase_index", "int64", "phase"),
    coordinate("replica", "int64", "simulated network", required=False),
    Variable(
        "phase", ("time",), "int32", "phase", comment="index of the one that the row belongs to"
    ),
    Variable("status", (), "int8", "how the trajectory ended", flags=Status),
    Variable("t_last", (), "float64", "last time reached, steps / N"),
    Variable("n_steps", (), "int64", "accepted steps of the integrator"),
    Variable("n_rhs", (), "int64", "right-hand sides"),
    Variable("n_jac", (), "int64", "Jacobians", required=False),
    Variable(
        "phase_end",
        ("phase_index",),
        "float64",
        "end of the phase, steps / N",
        comment="NaN if it never began",
        required=False,
    ),
    Variable(
        "phase_end_error",
        ("phase_index", "task"),
        "float64",
        "error at the end of the phase",
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
    Variable("method", ("phase_index",), "str", "integrators that ran", required=False),
]

SWEPT_TEXT = "U64"
"""Type of the text variables of a sweep in a store, whose chunks need the same."""

REPLICA = "replica"
"""Dim of simulated networks: it comes after those of a sweep, and before the core dims."""


def registry(own: Iterable[Variable], unit_of_time: str = "steps / N") -> dict[str, Variable]:
    """A system's own variables and the common ones, coordinates first, by name."""
    common = [replace(v, long_name=v.long_name.replace("steps / N", unit_of_time)) for v in COMMON]
    every = sorted([*own, *common], key=lambda v: (v.name != "time", not v.coordinate))
    return {v.name: v for v in every}


def document(variables: Mapping[str, Variable]) -> str:
    """Describe every variable of a dataset.

    Returns
    -------
    str
        A Markdown table.

    Examples
    --------
    >>> print(document(registry([])).splitlines()[2])
    | `time` | time | float64 | t | steps / N |
    """
    rows = ["| variable | dimensions | type | symbol | meaning |", "|---|---|---|---|---|"]
    for v in variables.values():
        dims = ", ".join(v.dims if v.coordinate else ("…", *v.dims))
        rows.append(f"| `{v.name}` | {dims} | {v.dtype} | {v.symbol} | {_meaning(v)} |")
    return "\n".join(rows)


def _meaning(v: Variable) -> str:
    return f"{v.long_name}; {v.comment}" if v.comment else v.long_name


def sweep_dims(ds: xr.Dataset) -> list[str]:
    """Dims of a dataset that come before those of its variables, replicas among them."""
    error = ds["generalization_error"]
    return [str(d) for d in error.dims if d not in ("time", "task")]


def no_clash(argument: str, ds: xr.Dataset, names: Iterable[str]) -> None:
    """Refuse sweep dims that have the name of a dim or variable of what is made of a dataset."""
    for dim in sweep_dims(ds):
        if dim in names:
            raise ProblemError(
                argument,
                "must not have a sweep dim that is named as a part of the result is",
                repr(dim),
                f"Rename it: ds.rename({dim}='{dim}_').",
            )
