"""Problems as plain data and back: what a file stores and what a scenario is read into."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from odekit.activations import Activation
from odekit.base import AnyProblem
from odekit.checks import is_labelled
from odekit.errors import ProblemError
from odekit.problem import Consolidation, Phase, Problem, Task
from odekit.provenance import array_digest
from odekit.schedule import Schedule
from odekit.state import OrderParameters

MOST_INLINE = 4096
"""Most numbers of a labelled array that are written down as text."""

Variables = dict[str, tuple[tuple[str, ...], Any]]
"""Dims and values by name."""


def problem_to_dict(problem: AnyProblem, apart: Apart | None = None) -> dict[str, Any]:
    """Plain data with every number at full precision; large arrays may be kept apart."""
    write, _ = _forms(problem.kind)
    return {"kind": problem.kind, **write(problem, apart)}


def _forms(kind: object) -> tuple[Any, Any]:
    """What writes and what reads problems of a kind."""
    if kind == "committee":
        return _committee_to_plain, _committee_from_plain
    if kind == "linear":
        from odekit.linear import serial

        return serial.to_plain, serial.from_plain
    raise ProblemError("kind", "must be 'committee' or 'linear'", repr(kind)[:80], "")


def _committee_to_plain(problem: Problem, apart: Apart | None) -> dict[str, Any]:
    state = problem.state
    return {
        "activation": plain(problem.activation),
        "state": {n: plain(getattr(state, n), f"state_{n}", apart) for n in ("Q", "R", "T")},
        "heads": {n: plain(v, f"heads_{n}", apart) for n, v in problem.heads.items()},
        "tasks": {n: _fields(task, f"tasks_{n}", apart) for n, task in problem.tasks.items()},
        "phases": [
            phase_plain(phase, f"phases_{i}", apart) for i, phase in enumerate(problem.phases)
        ],
    }


class Apart:
    """Large arrays of a problem, on their way to be variables of its dataset.

    Attributes
    ----------
    variables : dict
        Dims and values by name. The dims have names of their own, so that a selection from the
        dataset leaves the problem as it is.
    """

    def __init__(self) -> None:
        self.variables: Variables = {}
        self._known: dict[tuple[str, tuple[str, ...]], str] = {}

    def place(self, name: str, dims: Sequence[str], values: Any) -> dict[str, Any]:
        """Keep an array; what stands for it in the plain data."""
        digest = array_digest(values)
        own = tuple(f"problem_{d}" for d in dims)
        if (digest, own) not in self._known:
            base = "problem_" + re.sub(r"\W", "_", name, flags=re.ASCII)
            free = (base if i == 0 else f"{base}_{i}" for i in itertools.count())
            self._known[digest, own] = next(n for n in free if n not in self.variables)
            self.variables[self._known[digest, own]] = (own, values)
        return {"variable": self._known[digest, own], "sha256": digest}


def describe(problem: AnyProblem) -> tuple[dict[str, Any], Variables]:
    """Plain data that refers to large arrays by name and checksum, and these arrays.

    `odekit.provenance.problem_of` puts them together again.
    """
    apart = Apart()
    return problem_to_dict(problem, apart), apart.variables


def problem_from_dict(data: Mapping[str, Any], own: Activation | None = None) -> AnyProblem:
    """Rebuild, and check, a problem from plain data; `own` is the user's own activation."""
    _, read = _forms(data.get("kind", "committee"))
    problem: AnyProblem = read(data, own)
    return problem


def _committee_from_plain(data: Mapping[str, Any], own: Activation | None) -> Problem:
    activation = data.get("activation", "erf")
    if isinstance(activation, Mapping):
        activation = Activation.from_dict(activation, own)
    return Problem(
        state=OrderParameters(**{k: rich(v) for k, v in data["state"].items()}),
        heads={name: rich(v) for name, v in data["heads"].items()},
        tasks={name: Task(**_rich_fields(task)) for name, task in data["tasks"].items()},
        phases=[phase_from(phase) for phase in data["phases"]],
        activation=activation,
    )


def plain(value: Any, where: str = "", apart: Apart | None = None) -> Any:
    """One value as JSON data."""
    if is_labelled(value):
        return _labelled(value, where, apart)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Schedule | Activation):
        return value.to_dict()
    if isinstance(value, Consolidation):
        return _fields(value, where, apart)
    if isinstance(value, Mapping):
        return {k: plain(v, f"{where}_{k}", apart) for k, v in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value


def _labelled(value: Any, where: str, apart: Apart | None) -> dict[str, Any]:
    def written(name: str, dims: Sequence[str], values: Any) -> Any:
        large = values.size > MOST_INLINE and values.dtype.kind != "b"
        return values.tolist() if apart is None or not large else apart.place(name, dims, values)

    numbers = written(where, value.dims, value.values)
    coords = {
        str(d): written(f"coord_{d}", [d], value.coords[d].values)
        for d in value.dims
        if d in value.coords
    }
    found = numbers if isinstance(numbers, dict) else {"values": numbers}
    return {"dims": list(value.dims), **found, "coords": coords}


def rich(value: Any) -> Any:
    """JSON data as the value it stands for."""
    if isinstance(value, Mapping) and {"dims", "values"} <= value.keys():
        import xarray as xr

        return xr.DataArray(
            np.asarray(value["values"], dtype=float),
            dims=value["dims"],
            coords=value.get("coords", {}),
        )
    if isinstance(value, Mapping) and {"times", "values"} <= value.keys():
        return Schedule(**value)
    if isinstance(value, Mapping):
        return {k: rich(v) for k, v in value.items()}
    return value


def _fields(item: Any, where: str, apart: Apart | None) -> dict[str, Any]:
    """Fields in use: those at None are left out."""
    return {k: plain(v, f"{where}_{k}", apart) for k, v in vars(item).items() if v is not None}


def _rich_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: rich(v) for k, v in data.items()}


# Mappings from names that the user chose: these must not be taken for a labelled array or a table.
BY_NAME = ("tasks", "until", "copy_heads")


def _is_by_name(key: str, value: Any) -> bool:
    """Only `until` may be either; the dims of an array are a list, a threshold never is."""
    by_name = key in BY_NAME and isinstance(value, Mapping)
    return by_name and not (key == "until" and isinstance(value.get("dims"), list))


def phase_plain(phase: Phase, where: str, apart: Apart | None) -> dict[str, Any]:
    """Fields in use of a phase, as JSON data."""
    return _fields(phase, where, apart)


def phase_from(data: Mapping[str, Any]) -> Phase:
    """The phase that its fields stand for."""
    named = {k: _rich_fields(v) for k, v in data.items() if _is_by_name(k, v)}
    fields = {**_rich_fields({k: v for k, v in data.items() if k not in named}), **named}
    if "consolidation" in fields:
        fields["consolidation"] = Consolidation(**fields["consolidation"])
    return Phase(**fields)
