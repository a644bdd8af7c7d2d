"""Other results over the panels of one: markers over lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from odekit.base.errors import ProblemError
from odekit.dataset.common import REPLICA
from odekit.drawing.panels import OFF_DIAGONAL, TASKS, colormap, moves, scale_of, unit_colours
from odekit.verbs.compare import SIMULATION, simulation_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D")
MEASURED = "x"
ROWS = 16
"""Markers along a line."""
SIZE = 2.8


def draw(figure: Figure, ds: xr.Dataset, others: Sequence[xr.Dataset], dim: str | None) -> None:
    """Mark other results in the panels of a run, or of a sweep over `dim`.

    A point is the mean over simulated networks, its bar their standard deviation; crosses are
    errors measured over given inputs.
    """
    if len(others) > len(MARKERS):
        raise ProblemError("beside", f"must be at most {len(MARKERS)} results", len(others), "")
    for other, marker in zip(others, MARKERS, strict=False):
        other = other.isel({d: 0 for d in other.status.dims if d != REPLICA and d != dim})
        _check(ds, other, dim)
        rows = _rows(figure.axes[0], other.time.values)
        shown = other.isel(time=rows)
        readouts = not dim and moves(ds.readout.values)
        lines = _sweep_lines(ds, shown, dim) if dim else _run_lines(shown, readouts)
        for panel, array, colour, mark in lines:
            _points(figure.axes[panel], array, colour, mark or marker)
    _legend(figure, ds, others)


def _check(ds: xr.Dataset, other: xr.Dataset, dim: str | None) -> None:
    dims = ["student", "teacher", "head", "task", *([dim] if dim else [])]
    for d in dims:
        if d not in other.coords or not np.array_equal(ds[d].values, other[d].values):
            rule = f"must have the same {d!r} as the first result"
            given = str(other[d].values) if d in other.coords else "none"
            raise ProblemError("beside", rule, given, "Draw it by itself.")


def _rows(ax: Axes, times: Any) -> Any:
    """Rows about evenly spaced along the axis."""
    low, high = ax.get_xlim()
    inside = np.flatnonzero((times >= low) & (times <= high))
    if not inside.size:
        raise ProblemError("beside", "must have times that the first result shows", "none", "")
    transform = ax.xaxis.get_transform()
    places = transform.transform(times[inside])
    ends = transform.transform(np.array([low, high]))
    wanted = np.linspace(ends[0], ends[1], ROWS)
    return inside[np.unique(np.abs(places[:, None] - wanted).argmin(axis=0))]


def _run_lines(ds: xr.Dataset, readouts: bool) -> Iterator[tuple[Any, ...]]:
    """Panel, values over time, colour and marker (or none of its own) of every line of a run."""
    K, P, H = (ds.sizes[d] for d in ("student", "teacher", "head"))
    colours = unit_colours(K)
    for i in range(ds.sizes["task"]):
        yield 0, ds.generalization_error.isel(task=i), TASKS[i % len(TASKS)], ""
        if "test_error" in ds:
            yield 0, ds.test_error.isel(task=i), TASKS[i % len(TASKS)], MEASURED
    for k in range(K):
        for n in range(P):
            yield 1, ds.R.isel(student=k, teacher=n), colours[k], ""
        for l in range(k):
            yield 2, ds.Q.isel(student=k, student_other=l), OFF_DIAGONAL, ""
        yield 2, ds.Q.isel(student=k, student_other=k), colours[k], ""
        for h in range(H if readouts else 0):
            yield 3, ds.readout.isel(head=h, student=k), colours[k], ""


def _sweep_lines(ds: xr.Dataset, other: xr.Dataset, dim: str | None) -> Iterator[tuple[Any, ...]]:
    values, norm = scale_of(ds[dim].values)
    for i in range(ds.sizes["task"]):
        for j, v in enumerate(values):
            array = other.generalization_error.isel({"task": i, dim: j})
            yield i, array, colormap()(norm(v)), ""


def _points(ax: Axes, array: xr.DataArray, colour: Any, marker: str) -> None:
    style: dict[str, Any] = {
        "color": colour,
        "ls": "",
        "marker": marker,
        "ms": SIZE,
        "mew": 0.6,
        "zorder": 5,
    }
    if marker != MEASURED:
        style["mfc"] = "white"
    mean, bars = array, None
    if REPLICA in array.dims:
        mean = array.mean(REPLICA)
        bars = array.std(REPLICA, ddof=1).values if array.sizes[REPLICA] > 1 else None
    if bars is not None and ax.get_yscale() == "log":
        # A bar that reaches zero has no end on a logarithmic axis.
        bars = np.array([np.minimum(bars, 0.9 * np.abs(mean.values)), bars])
    ax.errorbar(array.time, mean, bars, elinewidth=0.6, **style)


def _legend(figure: Figure, ds: xr.Dataset, others: Sequence[xr.Dataset]) -> None:
    keys = [Line2D([], [], color="0.3", label=_name(ds))]
    for other, marker in zip(others, MARKERS, strict=False):
        style: dict[str, Any] = {"color": "0.3", "ls": "", "ms": SIZE, "mew": 0.6}
        keys.append(Line2D([], [], marker=marker, mfc="white", label=_name(other), **style))
        if "test_error" in other:
            label = "measured over the inputs"
            keys.append(Line2D([], [], marker=MEASURED, label=label, **style))
    figure.legend(handles=keys, loc="outside lower center", ncols=2, handlelength=1.4)


def _name(ds: xr.Dataset) -> str:
    if SIMULATION not in ds.attrs:
        return "theory"
    networks = f", {ds.sizes[REPLICA]} networks" if REPLICA in ds.dims else ""
    return f"SGD, $N={simulation_of(ds)['input_dim']}${networks}"
