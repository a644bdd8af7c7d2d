"""Panels of a picture: the errors, below them those of a system, phases and time; or a sweep."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from odekit.base.errors import ProblemError
from odekit.base.status import Status
from odekit.dataset.provenance import problem_of
from odekit.drawing.style import TASKS, WIDTH, Page, above, colormap, line, literal, scale_of

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

    from odekit.drawing.figure import FigureTable

FLOOR = 1e-15
"""Errors this far below the largest are rounding."""
PHASE_ZOOM = 3e3
"""Decades shown of every phase, with time="phases": log10 of this."""
MARKED = "#D55E00"
"""Colour of what is known beforehand."""
LETTERS = 46
"""That fit over a panel."""


def draw(
    ds: xr.Dataset,
    time: str,
    panels: Sequence[tuple[float, Callable[[Axes, xr.Dataset], None]]],
    moving: Sequence[str],
) -> Figure:
    """The errors, and below them the panels (height, function) of a system.

    `moving` names the variables that tell, with the errors, when something first happens.
    """
    axes = _figure(ds, heights=[1.5, *(height for height, _ in panels)])
    _errors(axes[0], ds)
    for ax, (_, fill) in zip(axes[1:], panels, strict=True):
        fill(ax, ds)
    phases = _phases(ds)
    for ax in axes:
        _mark_phases(ax, phases)
    _thresholds(axes[0], ds, phases)
    _time_axis(axes, ds, time, phases, moving)
    _label_phases(axes[0], phases)
    tasks = ds.task.values.tolist()
    if len(tasks) > 1:
        keys = [(f"task {literal(t)}", TASKS[i % len(TASKS)], "-") for i, t in enumerate(tasks)]
        above(axes[0], keys, 12)
    return axes[0].figure  # type: ignore[return-value]


def alone(ds: xr.Dataset, time: str) -> Figure:
    """The errors of one run, of whatever system."""
    return draw(ds, time, [], ())


def mark(ax: Axes, table: FigureTable) -> None:
    """The levels and points of a figure over the errors of one run."""
    if not table.over_time:
        return
    handles = []
    for level in table.levels:
        handles = [ax.axhline(level, color=MARKED, ls=(0, (4, 2)), lw=0.8, zorder=1)]
    labels = [table.labels.get("levels", "level")] * len(handles)
    for marker, (name, points) in zip("os^D", table.points.items(), strict=False):
        style: dict[str, Any] = {
            "mfc": "none",
            "mec": MARKED,
            "ms": 3.5,
            "mew": 0.8,
            "ls": "",
            "zorder": 5,
        }
        handles += ax.plot(points.times, points.values, marker=marker, **style)
        labels.append(table.labels.get(name, literal(name)))
    if handles:
        low, high = ax.get_ylim()
        every = [*table.levels, *(y for p in table.points.values() for y in p.values)]
        ax.set_ylim(min(low, 0.7 * min(every)), max(high, 1.4 * max(every)))
        ax.legend(handles, labels, loc="best")


def sweep(ds: xr.Dataset, dim: str, time: str) -> Figure:
    """The error of each task over one sweep dimension, colour for its value."""
    tasks = ds.task.values.tolist()
    axes = _figure(ds, heights=[1.8] * len(tasks))
    values, norm = scale_of(ds[dim].values)
    colours = colormap()
    for ax, task in zip(axes, tasks, strict=True):
        errors = ds.generalization_error.sel(task=task)
        for i, v in enumerate(values):
            ax.plot(ds.time, _positive(errors.isel({dim: i}).values), color=colours(norm(v)))
        _error_axis(
            ax,
            errors.values,
            r"$\epsilon_g$" + (f" (task {literal(task)})" if len(tasks) > 1 else ""),
        )
    _time_axis(axes, ds, time, _phases(ds))
    bar = mpl.cm.ScalarMappable(norm, colours)
    axes[0].figure.colorbar(bar, ax=list(axes), label=literal(dim), pad=0.02, aspect=25)
    return axes[0].figure  # type: ignore[return-value]


def _figure(ds: xr.Dataset, heights: Sequence[float]) -> list[Axes]:
    title = "\n".join(textwrap.wrap(literal(ds.attrs.get("title", "")), 50)[:3])
    figure = Page(figsize=(WIDTH, sum(heights) + 0.55), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    figure.suptitle(title, fontsize=8)
    return list(axes[:, 0])


def _errors(ax: Axes, ds: xr.Dataset) -> None:
    for i, task in enumerate(ds.task.values):
        error = _positive(ds.generalization_error.sel(task=task).values)
        ax.plot(ds.time, error, color=TASKS[i % len(TASKS)], **line(0, i, ds.sizes["task"]))
    _error_axis(ax, ds.generalization_error.values, r"$\epsilon_g$")
    if "status" in ds and int(ds.status) != Status.COMPLETED:
        word = Status(int(ds.status)).word.replace("_", " ")
        ax.set_title(f"stopped: {word}", color="#B00000", loc="right")


def _error_axis(ax: Axes, errors: Any, label: str) -> None:
    ax.set_ylabel(label)
    good = _positive(errors)
    good = good[np.isfinite(good)]
    if not good.size:
        return
    ax.set_yscale("log")
    ax.yaxis.set_minor_formatter(NullFormatter())
    low, high = max(good.min(), FLOOR * good.max()), good.max()
    spread = max(high / low, 1.0) ** 0.06
    low, high = np.log10(low / spread), np.log10(high * spread)
    if np.floor(high) - np.ceil(low) < 1:  # fewer than two numbers on the axis
        low, high = np.floor(low), np.ceil(high)
    ax.set_ylim(10.0**low, 10.0 ** max(high, low + 1))


def distance(rows: Any) -> Any:
    """How far every value of every row is from the first row; 0 where it is not a number."""
    change = np.abs(rows - rows[0])
    return np.where(np.isfinite(change), change, 0.0).reshape(len(rows), -1)


# --------------------------------------------------------------------------------- time and phases


def _time_axis(
    axes: Sequence[Axes],
    ds: xr.Dataset,
    time: str,
    phases: Sequence[Any],
    moving: Sequence[str] = (),
) -> None:
    times = ds.time.values
    unit = str(ds.time.attrs.get("long_name", "")).replace("N", "$N$")
    axes[-1].set_xlabel(f"time $t$ ({unit})")
    axes[0].figure.align_ylabels()
    for ax in axes:
        ax.set_xlim(times[0], times[-1])
    if time == "phases":
        _phase_axis(axes, phases, unit)
    positive = times[times > 0]
    if time == "log" and positive.size > 1:
        first = max(positive[0], min(_onset(ds, moving), positive[-1] / 100))
        for ax in axes:
            ax.set_xscale("log")
            ax.set_xlim(first, positive[-1])


def _phase_axis(axes: Sequence[Axes], phases: Sequence[Any], unit: str) -> None:
    """One width for every phase, and in it the logarithm of the time since the phase began."""
    edges = np.array([phases[0][0], *(end for _, end, _, _ in phases)])
    spans = np.diff(edges)

    def place(t: Any) -> Any:
        i = np.clip(np.searchsorted(edges, t, side="right") - 1, 0, spans.size - 1)
        x = np.clip((t - edges[i]) / spans[i], 0.0, 1.0)
        return i + np.log1p(x * PHASE_ZOOM) / np.log1p(PHASE_ZOOM)

    def back(u: Any) -> Any:
        i = np.clip(np.floor(u).astype(int), 0, spans.size - 1)
        return edges[i] + spans[i] * np.expm1((u - i) * np.log1p(PHASE_ZOOM)) / PHASE_ZOOM

    ticks: dict[float, str] = {}
    for start, span in zip(edges, spans, strict=False):
        # Two numbers, clear of the next phase's.
        top = np.floor(np.log10(span * 0.7))
        ticks |= {start + 10.0**p: f"$10^{{{p:.0f}}}$" for p in (top - 1.0, top)}
    for ax in axes:
        ax.set_xscale("function", functions=(place, back))
        ax.set_xticks(list(ticks), list(ticks.values()))
    axes[-1].set_xlabel(f"time since the phase began ({unit})")


def _onset(ds: xr.Dataset, moving: Sequence[str]) -> float:
    """A time before which nothing happens, so that it need not be shown."""
    onset = np.inf
    for name in (*moving, "generalization_error"):
        change = distance(ds[name].transpose("time", ...).values).max(axis=1)
        moved = np.flatnonzero(change > 0.03 * change.max())
        if moved.size:
            onset = min(onset, float(ds.time[moved[0]]))
    return onset / 3


def _phases(ds: xr.Dataset) -> list[tuple[float, float, str, dict[str, float]]]:
    """Start, end, label and thresholds of each phase that ran."""
    # Of a sweep the phases of the first run: they may end at other times in the others.
    phase = ds.phase.isel({d: 0 for d in ds.phase.dims if d != "time"}).values
    times = ds.time.values
    try:
        written = problem_of(ds)["phases"]
    except (ProblemError, KeyError):
        written = []
    found = []
    start = float(times[0])
    for i in np.unique(phase[phase >= 0]):
        # The row at a switch belongs to the phase that it ends.
        end = float(times[phase == i][-1])
        table = written[int(i)] if int(i) < len(written) else {}
        found.append((start, end, _mixture(table.get("tasks", str(int(i)))), _until(table)))
        start = end
    return found


def _mixture(tasks: Any) -> str:
    return " + ".join(tasks) if isinstance(tasks, dict) else str(tasks)


def _until(table: dict[str, Any]) -> dict[str, float]:
    until, tasks = table.get("until"), table.get("tasks", {})
    names = list(tasks) if isinstance(tasks, dict) else [tasks]
    given = (
        until if isinstance(until, dict) and "dims" not in until else dict.fromkeys(names, until)
    )
    return {k: float(v) for k, v in given.items() if isinstance(v, float | int)}


def _mark_phases(ax: Axes, phases: Sequence[tuple[float, float, str, Any]]) -> None:
    for i, (start, end, _, _) in enumerate(phases if len(phases) > 1 else []):
        if i % 2:
            ax.axvspan(start, end, color="0.94", lw=0, zorder=0)
        if i:
            ax.axvline(start, color="0.6", lw=0.6, zorder=1)


def _label_phases(ax: Axes, phases: Sequence[tuple[float, float, str, Any]]) -> None:
    for start, end, label, _ in phases if len(phases) > 1 else []:
        left, right = (
            float(ax.transLimits.transform(ax.transScale.transform((t, 1.0)))[0])
            for t in (start, end)
        )
        room = int(LETTERS * (right - left))
        if " + " not in label and len(label) + len("task ") <= room:
            label = f"task {label}"
        if room < 2:
            continue
        ax.annotate(
            literal(label if len(label) <= room else label[: room - 1] + "…"),
            (0.5 * (left + right), 1.0),
            xycoords="axes fraction",
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=7,
            color="0.3",
        )


def _thresholds(ax: Axes, ds: xr.Dataset, phases: Sequence[tuple[float, float, str, Any]]) -> None:
    tasks = ds.task.values.tolist()
    for start, end, _, until in phases:
        for task, level in until.items():
            if task in tasks:
                colour = TASKS[tasks.index(task) % len(TASKS)]
                ax.plot([start, end], [level, level], color=colour, ls=":", lw=0.8)


# ------------------------------------------------------------------------------------------ helpers


def _positive(values: Any) -> Any:
    """Errors that a log axis can show: those below zero are rounding, and so is their size."""
    noise = -float(values[np.isfinite(values)].min(initial=0.0))
    return np.where(values > noise, values, np.nan)
