"""Panels of a picture: error, overlaps and readouts of one run, or errors of a sweep."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from odekit.base.errors import ProblemError, printable
from odekit.base.status import Status
from odekit.dataset.provenance import problem_of
from odekit.verbs.plot import WIDTH

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

# Okabe and Ito's colours, which the colour-blind can tell apart; black is left to the error.
UNITS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
TASKS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
FLOOR = 1e-15
"""Errors this far below the largest are rounding."""
READOUT_MOVES = 1e-6
MANY_LINES = 16
OFF_DIAGONAL = "0.55"
KEYS_IN_ROW = 4
PHASE_ZOOM = 3e3
"""Decades shown of every phase, with time="phases": log10 of this."""
LETTERS = 46
"""That fit over a panel."""


def run(ds: xr.Dataset, time: str) -> Figure:
    """All panels of one run of a committee."""
    moving = [(1.0, _readouts)] if moves(ds.readout.values) else []
    figure = draw(ds, time, [(1.2, _overlaps), (1.2, _norms), *moving], ("Q", "R"))
    _legend(figure.axes, ds)
    return figure


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
        above(axes[0], [(literal(t), TASKS[i % len(TASKS)], "-") for i, t in enumerate(tasks)], 12)
    return axes[0].figure  # type: ignore[return-value]


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
            ax, errors.values, r"$\epsilon_g$" + (f" ({literal(task)})" if len(tasks) > 1 else "")
        )
    _time_axis(axes, ds, time, _phases(ds))
    bar = mpl.cm.ScalarMappable(norm, colours)
    axes[0].figure.colorbar(bar, ax=list(axes), label=literal(dim), pad=0.02, aspect=25)
    return axes[0].figure  # type: ignore[return-value]


def _figure(ds: xr.Dataset, heights: Sequence[float]) -> list[Axes]:
    title = "\n".join(textwrap.wrap(literal(ds.attrs.get("title", "")), 50)[:3])
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.55), layout="constrained")
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


def _overlaps(ax: Axes, ds: xr.Dataset) -> None:
    K, P = ds.sizes["student"], ds.sizes["teacher"]
    colours = unit_colours(K)
    for k in range(K):
        for n in range(P):
            style = {"color": colours[k], "ls": dash(n, P)}
            ax.plot(ds.time, ds.R[:, k, n], **style, **line(K * P, k, K))
    ax.set_ylabel("$R_{kn}$")


def _norms(ax: Axes, ds: xr.Dataset) -> None:
    K = ds.sizes["student"]
    colours = unit_colours(K)
    for k in range(K):
        for l in range(k):
            ax.plot(ds.time, ds.Q[:, k, l], color=OFF_DIAGONAL, ls=_apart(K), **line(K * K))
    for k in range(K):
        ax.plot(ds.time, ds.Q[:, k, k], color=colours[k], **line(K, k, K))
    ax.set_ylabel("$Q_{kl}$")


def _readouts(ax: Axes, ds: xr.Dataset) -> None:
    K, H = ds.sizes["student"], ds.sizes["head"]
    colours = unit_colours(K)
    for h in range(H):
        for k in range(K):
            style = {"color": colours[k], "ls": dash(h, H)}
            ax.plot(ds.time, ds.readout[:, h, k], **style, **line(K * H, k, K))
    ax.set_ylabel("$v_k$")


def unit_colours(K: int) -> list[Any]:
    """A colour for every unit."""
    if len(UNITS) >= K:
        return list(UNITS[:K])
    return [colormap()(k / (K - 1)) for k in range(K)]


def colormap() -> Colormap:
    """Colours of a scale; its yellow end would not show on white."""
    return ListedColormap(mpl.colormaps["viridis"](np.linspace(0.0, 0.92, 256)))


def dash(n: int, count: int) -> Any:
    """Dashes of one of several lines."""
    return DASHES[n] if count <= len(DASHES) else "-"


def _apart(K: int) -> Any:
    """Dots tell the overlaps of different units from their norms, while they are few."""
    return DASHES[2] if len(UNITS) >= K else "-"


def line(lines: int, k: int = 0, K: int = 1) -> dict[str, Any]:
    """Many lines are thin and let each other through; of few the later is thinner, on top."""
    if lines > MANY_LINES:
        return {"lw": 0.5, "alpha": 0.7}
    return {"lw": 1.2 if K == 1 else 1.8 - k / (K - 1)}


def moves(readout: Any) -> bool:
    """Whether the readouts are learnt, so that they have a panel."""
    change = _distance(readout)
    return bool(change.max(initial=0.0) > READOUT_MOVES * np.abs(readout[0]).max())


def _distance(rows: Any) -> Any:
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
        change = _distance(ds[name].transpose("time", ...).values).max(axis=1)
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


# ----------------------------------------------------------------------------------------- legends


def _legend(axes: Sequence[Axes], ds: xr.Dataset) -> None:
    """What colours and dashes mean, above the panels so that no line is covered."""
    K, P, H = (ds.sizes[d] for d in ("student", "teacher", "head"))
    units, vectors = [], []
    if 1 < K <= len(UNITS):
        units = [(f"$k={k}$", c, "-") for k, c in zip(ds.student.values, UNITS, strict=False)]
    if 1 < P <= len(DASHES):
        vectors = [(f"$n={n}$", "0.3", d) for n, d in zip(ds.teacher.values, DASHES, strict=False)]
    if len(units) + len(vectors) <= KEYS_IN_ROW:
        above(axes[1], units + vectors)
    else:
        above(axes[1], units)
        above(axes[1], vectors, 10 if units else 0)
    if len(UNITS) < K:
        _colourbar(axes[1:], K)
    if K > 1:
        diagonal = "0.3" if len(UNITS) < K else UNITS[0]
        above(axes[2], [("$k=l$", diagonal, "-"), ("$k\\neq l$", OFF_DIAGONAL, _apart(K))])
    if len(axes) > 3 and 1 < H <= len(DASHES):
        heads = zip(ds["head"].values, DASHES, strict=False)
        above(axes[3], [(literal(h), "0.3", d) for h, d in heads])


def above(ax: Axes, keys: Sequence[tuple[str, Any, Any]], points: float = 0.0) -> None:
    """A row of keys above a panel, or some points higher."""
    if not keys:
        return
    handles = [Line2D([], [], color=c, ls=d, label=label) for label, c, d in keys]
    height = ax.get_position().height * ax.figure.bbox.height / ax.figure.dpi
    legend = Legend(
        ax,
        handles,
        [key[0] for key in keys],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0 + points / (72 * height), 1.0, 0.1),
        ncols=len(handles),
        borderpad=0.1,
        handlelength=1.8 if len(handles) <= KEYS_IN_ROW else 1.2,
        columnspacing=1.2 if len(handles) <= KEYS_IN_ROW else 0.8,
    )
    legend.set_clip_on(False)  # so that the layout makes room for it
    ax.add_artist(legend)


def _colourbar(axes: Sequence[Axes], K: int) -> None:
    bar = mpl.cm.ScalarMappable(Normalize(0, K - 1), colormap())
    axes[0].figure.colorbar(bar, ax=list(axes), label="student unit $k$", pad=0.02)


# ------------------------------------------------------------------------------------------ helpers


def literal(name: Any) -> str:
    """A name as it is: a dollar sign would start a formula, and no font has control characters."""
    return printable(str(name)).replace("$", r"\$")


def _positive(values: Any) -> Any:
    """Errors that a log axis can show: those below zero are rounding, and so is their size."""
    noise = -float(values[np.isfinite(values)].min(initial=0.0))
    return np.where(values > noise, values, np.nan)


def scale_of(values: Any) -> tuple[Any, Any]:
    """Numbers for the colours of a sweep, and whether they go in equal ratios."""
    if values.dtype.kind not in "iuf":
        values = np.arange(values.size, dtype=float)
    low, high = float(np.min(values)), float(np.max(values))
    if low > 0 and values.size > 2 and np.ptp(np.diff(np.log(values))) < 1e-6:
        return values, LogNorm(low, high)
    return values, Normalize(low, high if high > low else low + 1)
