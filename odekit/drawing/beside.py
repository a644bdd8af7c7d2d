"""Other results over the panels of one: markers over lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from matplotlib.lines import Line2D

from odekit.base.errors import ProblemError
from odekit.dataset.assemble import variables_in
from odekit.dataset.common import REPLICA
from odekit.dataset.simulated import ALIGNED, SIMULATION, simulation_of
from odekit.drawing.style import TASKS, colormap, scale_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKERS = ("o", "s", "^", "D")
FREE = ("time", "phase_index", REPLICA)
"""Dims in which the other results may differ."""
ROWS = 16
"""Markers along a line."""
SIZE = 2.8


class Line(NamedTuple):
    """A line to be marked: panel, values over time, colour, and a marker of its own if any."""

    panel: int
    values: xr.DataArray
    colour: Any
    marker: str = ""
    label: str = ""


def draw(
    figure: Figure,
    ds: xr.Dataset,
    others: Sequence[xr.Dataset],
    dim: str | None,
    lines: Callable[[xr.Dataset], Iterable[Line]],
    more: Sequence[Any] = (),
) -> None:
    """Mark other results in the panels of a run, or of a sweep over `dim`.

    A point is the mean over simulated networks, its bar their standard deviation. `lines` are
    those of another result, by its system; `more` are further keys of the legend.
    """
    if len(others) > len(MARKERS):
        raise ProblemError("beside", f"must be at most {len(MARKERS)} results", len(others), "")
    keys = [Line2D([], [], color="0.3", label=_name(ds))]
    for other, marker in zip(others, MARKERS, strict=False):
        other = other.isel({d: 0 for d in other.status.dims if d != REPLICA and d != dim})
        _check(ds, other, dim)
        shown = list(lines(other.isel(time=_rows(figure.axes[0], other.time.values))))
        for one in shown:
            _points(figure.axes[one.panel], one, marker)
        own = {one.marker: one.label for one in shown if one.marker}
        keys += [_key(marker, _name(other), mfc="white"), *(_key(m, own[m]) for m in own)]
    figure.legend(handles=[*keys, *more], loc="outside lower center", ncols=2, handlelength=1.4)


def error_lines(ds: xr.Dataset) -> Iterator[Line]:
    """The errors of a run, in the first panel."""
    for i in range(ds.sizes["task"]):
        yield Line(0, ds.generalization_error.isel(task=i), TASKS[i % len(TASKS)])


def sweep_lines(ds: xr.Dataset, dim: str, other: xr.Dataset) -> Iterator[Line]:
    """The errors of a sweep, a panel for each task, in the colours of the first result."""
    values, norm = scale_of(ds[dim].values)
    for i in range(ds.sizes["task"]):
        for j, v in enumerate(values):
            array = other.generalization_error.isel({"task": i, dim: j})
            yield Line(i, array, colormap()(norm(v)))


def _check(ds: xr.Dataset, other: xr.Dataset, dim: str | None) -> None:
    known = variables_in(ds).values()
    core = [v.name for v in known if v.coordinate and v.name in ds.coords]
    for d in [*(d for d in core if d not in FREE), *([dim] if dim else [])]:
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


def _points(ax: Axes, line: Line, marker: str) -> None:
    array = line.values
    style: dict[str, Any] = {
        "color": line.colour,
        "ls": "",
        "marker": line.marker or marker,
        "ms": SIZE,
        "mew": 0.6,
        "zorder": 5,
    }
    if not line.marker:
        style["mfc"] = "white"
    mean, bars = array, None
    if REPLICA in array.dims:
        mean = array.mean(REPLICA)
        bars = array.std(REPLICA, ddof=1).values if array.sizes[REPLICA] > 1 else None
    if bars is not None and ax.get_yscale() == "log":
        # A bar that reaches zero has no end on a logarithmic axis.
        bars = np.array([np.minimum(bars, 0.9 * np.abs(mean.values)), bars])
    ax.errorbar(array.time, mean, bars, elinewidth=0.6, **style)


def _key(marker: str, label: str, **style: Any) -> Line2D:
    look: dict[str, Any] = {"color": "0.3", "ls": "", "ms": SIZE, "mew": 0.6, **style}
    return Line2D([], [], marker=marker, label=label, **look)


def _name(ds: xr.Dataset) -> str:
    if SIMULATION not in ds.attrs:
        return "theory"
    networks = f", {ds.sizes[REPLICA]} networks" if REPLICA in ds.dims else ""
    moved = f" ({ds.attrs[ALIGNED]} aligned)" if ds.attrs.get(ALIGNED) else ""
    return f"SGD, $N={simulation_of(ds)['input_dim']}${networks}{moved}"
