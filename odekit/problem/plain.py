"""Problems as plain data and back: what a file stores and what a scenario is read into."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from odekit.base.checks import is_labelled
from odekit.base.errors import OdekitError, ProblemError
from odekit.base.text import array_digest
from odekit.problem.base import AnyProblem
from odekit.problem.consolidation import Consolidation
from odekit.problem.phase import BY_EDGE, Phase
from odekit.problem.schedule import Schedule
from odekit.problem.system import FIRST, system_of

MOST_INLINE = 4096
"""Most numbers of a labelled array that are written down as text."""

Variables = dict[str, tuple[tuple[str, ...], Any]]
"""Dims and values by name."""


def problem_to_dict(problem: AnyProblem, apart: Apart | None = None) -> dict[str, Any]:
    """Plain data with every number at full precision; large arrays may be kept apart."""
    title = {"title": problem.title} if problem.title else {}
    return {"kind": problem.kind, **title, **problem.system.write(problem, apart)}


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

    `odekit.dataset.provenance.problem_of` puts them together again.
    """
    apart = Apart()
    return problem_to_dict(problem, apart), apart.variables


def problem_from_dict(data: Mapping[str, Any], own: Any = None) -> AnyProblem:
    """Rebuild, and check, a problem from plain data; `own` are the user's own functions."""
    system = system_of(data.get("kind", FIRST))
    try:
        problem = system.read(data, own)
        return problem.replace(title=data["title"]) if data.get("title") else problem
    except OdekitError:
        raise
    # What is raised where plain data are not what they stand for differs by where that is.
    except Exception as error:
        found = f"{type(error).__name__}: {error}"[:120]
        rule = "must be a problem as `to_dict` writes it"
        raise ProblemError("odekit_problem", rule, found, "Was it edited?") from error


def plain(value: Any, where: str = "", apart: Apart | None = None) -> Any:
    """One value as JSON data."""
    if is_labelled(value):
        return _labelled(value, where, apart)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if hasattr(value, "to_dict"):
        return value.to_dict()
    if isinstance(value, Consolidation):
        return fields_of(value, where, apart)
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


def fields_of(item: Any, where: str, apart: Apart | None) -> dict[str, Any]:
    """Fields in use: those at None are left out."""
    return {k: plain(v, f"{where}_{k}", apart) for k, v in vars(item).items() if v is not None}


def rich_fields(data: Mapping[str, Any]) -> dict[str, Any]:
    """JSON fields as the values that they stand for."""
    return {k: rich(v) for k, v in data.items()}


# Mappings from names that the user chose: these must not be taken for a labelled array or a table.
BY_NAME = ("tasks", "copy_heads", "noise_std")
EITHER = ("until", *BY_EDGE)


SELDOM = {"bias_learning_rate": 0.0, "keep_probability": 1.0}
"""Fields of a phase that are written down only where they are not at these values."""


def _is_by_name(key: str, value: Any) -> bool:
    """Dims of an array and times of a table are lists, what stands under a name never is."""
    if not isinstance(value, Mapping) or key not in (*BY_NAME, *EITHER):
        return False
    return key in BY_NAME or not any(isinstance(value.get(k), list) for k in ("dims", "times"))


def phase_plain(phase: Phase, where: str, apart: Apart | None) -> dict[str, Any]:
    """Fields in use of a phase, as JSON data."""
    found = fields_of(phase, where, apart)
    return {k: v for k, v in found.items() if k not in SELDOM or v != SELDOM[k]}


def phase_from(data: Mapping[str, Any]) -> Phase:
    """The phase that its fields stand for."""
    named = {k: rich_fields(v) for k, v in data.items() if _is_by_name(k, v)}
    fields = {**rich_fields({k: v for k, v in data.items() if k not in named}), **named}
    if "input_variance" in fields:
        # By task, and there by group.
        fields["input_variance"] = {k: rich(v) for k, v in data["input_variance"].items()}
    if "consolidation" in fields:
        fields["consolidation"] = Consolidation(**fields["consolidation"])
    if isinstance(fields.get("keep_probability"), list):
        fields["keep_probability"] = np.asarray(fields["keep_probability"], dtype=float)
    return Phase(**fields)
