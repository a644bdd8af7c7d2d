"""Where a dataset comes from: the attributes that say so, and the problem that they hold."""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from odekit.base.errors import ProblemError
from odekit.base.text import array_digest, canonical_json, plain_text
from odekit.base.version import __version__

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["SCHEMA_VERSION", "problem_of", "provenance", "solver_option"]

SCHEMA_VERSION = 1
"""Version of the dataset's layout; a file of a newer one is refused."""


@functools.cache
def _environment() -> str:
    return canonical_json(_versions())


def _versions() -> dict[str, str]:
    found = {
        "python": platform.python_version(),
        "platform": f"{sys.platform} {platform.machine()}",
    }
    for name in ("numpy", "numba", "llvmlite", "scipy", "xarray", "netCDF4"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found


def provenance(
    problem: Mapping[str, Any], title: str, source: str, references: str
) -> dict[str, Any]:
    """Global attributes that say what a dataset is, how it came about and how to make it again.

    Parameters
    ----------
    problem : mapping
        The problem as plain data, enough to solve it again.
    title : str
        A line for people.
    source : str
        What made the data: the method of integration or simulation.
    references : str
        The papers whose equations these are.

    Returns
    -------
    dict
    """
    try:
        text = canonical_json(problem, sort=False)
    except (TypeError, ValueError) as error:
        raise ProblemError("problem", "must be finite numbers, text and lists", error) from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {
        "Conventions": "CF-1.11",
        "title": title,
        "history": f"{now}: created by odekit {__version__}",
        "source": source,
        "references": references,
        "creation_library": "odekit",
        "creation_library_version": __version__,
        "created_at": now,
        "odekit_schema_version": SCHEMA_VERSION,
        "odekit_problem": text,
        "odekit_problem_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "environment": _environment(),
    }


def solver_option(ds: xr.Dataset, name: str, default: float) -> float:
    """A number among the options that a dataset was solved with; the default where it says none."""
    try:
        return float(json.loads(ds.attrs.get("odekit_solver", "{}")).get(name, default))
    except (TypeError, ValueError, AttributeError):
        return default


def problem_of(ds: xr.Dataset) -> dict[str, Any]:
    """Read the problem that a dataset solves, and check that it is unchanged.

    Parameters
    ----------
    ds : Dataset
        A result of odekit.

    Returns
    -------
    dict
        The problem as plain data; large arrays, which are variables of the dataset, as arrays.

    Raises
    ------
    ProblemError
        If there is none, or its checksum is wrong.
    """
    text = ds.attrs.get("odekit_problem")
    if not isinstance(text, str):
        raise ProblemError("odekit_problem", "must be an attribute of the dataset", "none")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest != ds.attrs.get("odekit_problem_sha256"):
        remedy = "It was edited or damaged."
        raise ProblemError("odekit_problem", "must match its checksum", "another text", remedy)
    remedy = "Solve the problem again."
    try:
        data = json.loads(text)
        if isinstance(data, dict):
            whole: dict[str, Any] = _gathered(data, ds)
            return whole
    except RecursionError:
        rule = "must be nested as a problem is"
        raise ProblemError("odekit_problem", rule, "many levels", remedy) from None
    except ValueError as error:
        raise ProblemError("odekit_problem", "must be JSON", error, remedy) from error
    raise ProblemError("odekit_problem", "must be a JSON object", type(data).__name__, remedy)


def _gathered(item: Any, ds: xr.Dataset) -> Any:
    """Plain data with the arrays that it refers to put in."""
    if isinstance(item, list):
        return [_gathered(x, ds) for x in item] if any(isinstance(x, dict) for x in item) else item
    if not isinstance(item, dict):
        return item
    # No mapping from names of the user's has such values, even if it has these keys.
    if (
        item.keys() == _REFERENCE
        and isinstance(item["dims"], list)
        and isinstance(item["variable"], str)
        and isinstance(item["coords"], dict)
    ):
        coords = {
            d: _variable(c, ds) if isinstance(c, dict) else c for d, c in item["coords"].items()
        }
        return {"dims": item["dims"], "values": _variable(item, ds), "coords": coords}
    return {name: _gathered(value, ds) for name, value in item.items()}


_REFERENCE = {"dims", "variable", "sha256", "coords"}


def _variable(item: dict[str, Any], ds: xr.Dataset) -> Any:
    name = item.get("variable")
    if name not in ds.variables:
        raise ProblemError(
            "odekit_problem", f"must find its variable `{name}`", "none", "It was dropped."
        )
    values = ds.variables[name].values
    if values.dtype.kind in "OT":
        values = plain_text(values)
    if array_digest(values) != item.get("sha256"):
        remedy = "It was edited or damaged."
        raise ProblemError(f"{name}", "must match its checksum", "other values", remedy)
    return values
