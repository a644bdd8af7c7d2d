"""Variables that the dataset of any kind of problem has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from odekit.base.status import Outcome, Status
from odekit.dataset.variable import Variable, coordinate

COMMON = [
    coordinate("time", "float64", "steps / N", symbol="t"),
    coordinate("task", "str", "task"),
    coordinate("phase_index", "int64", "phase"),
    coordinate("replica", "int64", "simulated network", required=False),
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
    Variable("method", ("phase_index",), "str", "integrators that ran", required=False),
]

SWEPT_TEXT = "U64"
"""Type of the text variables of a sweep: all trajectories need the same."""

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
        rows.append(f"| `{v.name}` | {dims} | {v.dtype} | {v.symbol} | {v.long_name} |")
    return "\n".join(rows)
