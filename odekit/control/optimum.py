"""What a search for schedules found, as a dataset, and in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.arrays import Floats
from odekit.base.errors import ProblemError
from odekit.control.budgets import between
from odekit.control.search import Search, Start

if TYPE_CHECKING:
    import xarray as xr

ATTRIBUTE = "odekit_optimise"
ARC = 1e-3
"""Slope, in units of the largest and of the objective, below which a control is stationary."""
VARIABLES = {
    "objective": ("start",), "message": ("start",), "control": ("start", "parameter"),
    "gradient": ("start", "parameter"), "multiplier": ("start", "parameter"),
    "at_bound": ("start", "parameter"), "stationary": ("start", "parameter"),
    "history": ("start", "evaluation"),
}  # fmt: skip
MOST_VALUES = 8
"""Values of a control that are printed."""


def is_optimum(ds: xr.Dataset) -> bool:
    """Whether a dataset is of a search for schedules."""
    return ATTRIBUTE in ds.attrs


def check(ds: xr.Dataset) -> list[str]:
    """One sentence for each variable that is missing or of other dims."""
    found = []
    for name, dims in VARIABLES.items():
        if name not in ds.variables:
            found.append(f"`{name}` is missing")
        elif ds[name].dims != dims:
            found.append(f"`{name}` must have dimensions {dims}")
    return found


def checked(ds: xr.Dataset) -> None:
    """Refuse a dataset of a search that lacks a part."""
    faults = check(ds)
    if faults:
        remedy = "Was it edited? Search again."
        raise ProblemError("ds", "must be a whole result of odekit", faults[0], remedy)


def dataset(search: Search, found: Sequence[Start], result: Any, spans: Floats) -> xr.Dataset:
    """Of every start: objective, controls, gradient, and how it got there.

    `spans` says how many evaluations and seconds the search took.
    """
    import xarray as xr

    within, controls = search.within, search.controls
    history = np.full((len(found), max(len(start.history) for start in found)), np.nan)
    for row, start in zip(history, found, strict=True):
        row[: len(start.history)] = start.history
    x, gradient = (np.stack([getattr(s, name) for s in found]) for name in ("x", "gradient"))
    near = 1e-9 * np.maximum(1.0, np.abs(x))
    bound = (x >= within.high - near).astype(np.int8) - (x <= within.low + near).astype(np.int8)
    multiplier = np.stack([within.multipliers(a, b) for a, b in zip(x, gradient, strict=True)])
    slope = np.abs(gradient - multiplier)
    scale = np.maximum(
        np.abs(gradient).max(axis=1, keepdims=True), [[start.value] for start in found]
    )
    arc = between(x, within.low, within.high) & (slope <= ARC * scale)

    def said(text: str) -> dict[str, str]:
        return {"long_name": text}

    values: dict[str, tuple[Any, dict[str, str]]] = {
        "objective": ([start.value for start in found], said("objective")),
        "message": ([start.message for start in found], {"long_name": "how it ended"}),
        "control": (x, said("best control")),
        "gradient": (gradient, said("derivative of the objective")),
        "multiplier": (multiplier, said("multiplier of the budget, 0 without")),
        "at_bound": (bound, {"long_name": "at its lower (-1) or upper (1) bound"}),
        "stationary": (
            arc.astype(np.int8),
            {"long_name": "between its bounds, with no slope: of probabilities a singular arc"},
        ),
        "history": (history, said("best objective so far")),
    }
    coords = {
        "parameter": controls.names,
        "begin": ("parameter", controls.begin, said("time at which the piece begins, steps / N")),
    }
    variables = {name: (VARIABLES[name], *value) for name, value in values.items()}
    attrs = {**result.attrs, "evaluations": int(spans[0]), "seconds": float(spans[1])}
    return xr.Dataset({**variables, **result.kept}, coords, attrs)


def blocks(ds: xr.Dataset) -> Iterator[tuple[str, Iterable[str]]]:
    """Heads, and what stands beside them, of a search."""
    best = int(np.argmin(ds.objective.values))
    yield "Objective", _objective(ds, best)
    yield "Controls", _controls(ds.isel(start=best))
    yield "Status", _status(ds, best)


def _objective(ds: xr.Dataset, best: int) -> Iterator[str]:
    first = float(ds.history[best, 0])
    yield f"{float(ds.objective[best]):.8g}, from {first:.8g}"
    if ds.sizes["start"] > 1:
        values = ", ".join(f"{v:.8g}" for v in ds.objective.values[:MOST_VALUES])
        yield f"{ds.sizes['start']} starts: {values}"


def _groups(ds: xr.Dataset) -> Iterator[tuple[str, xr.Dataset]]:
    """Controls by name, each with the numbers that it is cut into."""
    groups: dict[str, list[int]] = {}
    for i, name in enumerate(map(str, ds.parameter.values)):
        groups.setdefault(_without_piece(name), []).append(i)
    for name, places in groups.items():
        yield name, ds.isel(parameter=places)


def curves(ds: xr.Dataset) -> Iterator[tuple[str, Floats, Floats, Floats]]:
    """Name, edges of pieces, values and slopes of the best controls with several pieces."""
    best = ds.isel(start=int(np.argmin(ds.objective.values)))
    for name, one in _groups(best):
        begin = one.begin.values
        if begin.size < 2:
            continue
        tabled = ".values[" in str(one.parameter.values[0])
        edges = begin if tabled else np.append(begin, 2.0 * begin[-1] - begin[-2])
        yield name, edges, one.control.values, (one.gradient - one.multiplier).values


def _controls(ds: xr.Dataset) -> Iterator[str]:
    for name, one in _groups(ds):
        values, n = one.control.values, one.sizes["parameter"]
        some = np.linspace(0, n - 1, MOST_VALUES).astype(int)
        shown = values if n <= MOST_VALUES else values[some]
        text = ", ".join(f"{v:.4g}" for v in shown)
        more = "" if n <= MOST_VALUES else f" ({MOST_VALUES} of {n} pieces)"
        low, high = int((one.at_bound == -1).sum()), int((one.at_bound == 1).sum())
        where = (
            f"{low} at the lower bound, {high} at the upper, {int(one.stationary.sum())} stationary"
        )
        yield f"{name}: {text}{more}; {where}"


def _without_piece(name: str) -> str:
    """``phases[…].learning_rate`` of every piece of a control."""
    if ".values[" in name:
        return name[: name.index(".values[")]
    return f"phases[…{name[name.index(']') :]}" if name.startswith("phases[") else name


def _status(ds: xr.Dataset, best: int) -> Iterator[str]:
    yield str(ds.message.values[best])
    yield f"{ds.attrs['evaluations']} gradients in {float(ds.attrs['seconds']):.3g} s"


def is_stopped(ds: xr.Dataset) -> bool:
    """Whether the search was stopped before its end."""
    return any(str(message).startswith("stopped") for message in ds.message.values)
