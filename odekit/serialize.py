"""Problems as plain data and back: what a file stores and what a scenario is read into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from odekit.activations import Activation
from odekit.checks import is_labelled
from odekit.problem import Consolidation, Phase, Problem, Task
from odekit.schedule import Schedule
from odekit.state import OrderParameters


def problem_to_dict(problem: Problem) -> dict[str, Any]:
    """Plain data with every number at full precision."""
    state = problem.state
    return {
        "activation": plain(problem.activation),
        "state": {name: plain(getattr(state, name)) for name in ("Q", "R", "T")},
        "heads": {name: plain(v) for name, v in problem.heads.items()},
        "tasks": {name: _fields(task) for name, task in problem.tasks.items()},
        "phases": [_fields(phase) for phase in problem.phases],
    }


def problem_from_dict(data: Mapping[str, Any], own: Activation | None = None) -> Problem:
    """Rebuild, and check, a problem from plain data; `own` is the user's own activation."""
    activation = data.get("activation", "erf")
    if isinstance(activation, Mapping):
        activation = Activation.from_dict(activation, own)
    return Problem(
        state=OrderParameters(**{k: rich(v) for k, v in data["state"].items()}),
        heads={name: rich(v) for name, v in data["heads"].items()},
        tasks={name: Task(**_rich_fields(task)) for name, task in data["tasks"].items()},
        phases=[_phase(phase) for phase in data["phases"]],
        activation=activation,
    )


def plain(value: Any) -> Any:
    """One value as JSON data."""
    if is_labelled(value):
        coords = {str(d): value.coords[d].values.tolist() for d in value.dims if d in value.coords}
        return {"dims": list(value.dims), "values": value.values.tolist(), "coords": coords}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Schedule | Activation):
        return value.to_dict()
    if isinstance(value, Consolidation):
        return _fields(value)
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, tuple):
        return list(value)
    return value


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


def _fields(item: Any) -> dict[str, Any]:
    """Fields in use: those at None are left out."""
    return {k: plain(v) for k, v in vars(item).items() if v is not None}


def _rich_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    return {k: rich(v) for k, v in data.items()}


# Mappings from names that the user chose: these must not be taken for a labelled array or a table.
BY_NAME = ("tasks", "until", "copy_heads")


def _is_by_name(key: str, value: Any) -> bool:
    """Only `until` may be either; the dims of an array are a list, a threshold never is."""
    by_name = key in BY_NAME and isinstance(value, Mapping)
    return by_name and not (key == "until" and isinstance(value.get("dims"), list))


def _phase(data: Mapping[str, Any]) -> Phase:
    named = {k: _rich_fields(v) for k, v in data.items() if _is_by_name(k, v)}
    fields = {**_rich_fields({k: v for k, v in data.items() if k not in named}), **named}
    if "consolidation" in fields:
        fields["consolidation"] = Consolidation(**fields["consolidation"])
    return Phase(**fields)
