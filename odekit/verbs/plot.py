"""Draw a run: its error and its order parameters over time."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from odekit.base.checks import choice
from odekit.base.errors import OdekitError, ProblemError
from odekit.control import optimum
from odekit.control.optimum import is_optimum
from odekit.dataset.common import REPLICA
from odekit.dataset.fluctuating import FLUCTUATIONS
from odekit.dataset.simulated import ALIGNED, SIMULATION
from odekit.dataset.wholeness import whole
from odekit.dynamics import branchwords
from odekit.dynamics.branchset import is_branches
from odekit.store.files import check_target, write_atomic

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

    from odekit.drawing.figure import FigureTable
    from odekit.problem.system import System

MAX_PANELS = 6
"""Most entries of a variable of branches that one picture shows."""
MAX_LINES = 20
"""Most runs of a sweep that one panel can show apart."""
TIMES = ("auto", "log", "linear", "phases")
FORMATS = ("png", "pdf", "svg")
LONG_SPAN = 20.0
"""Duration from which a single phase is drawn over log time."""


def plot_run(
    ds: xr.Dataset,
    path: str | PathLike[str] | None = None,
    *,
    time: str = "auto",
    overwrite: bool = False,
    beside: Sequence[xr.Dataset] = (),
    bands: xr.Dataset | None = None,
    align: bool = True,
    show: str | None = None,
) -> Figure:
    """Draw the generalization error and the order parameters of a run, or branches of fixed points.

    The error of every task stands on a logarithmic axis; below it the overlaps R and Q (colour:
    student unit, line style: fixed vector) and the readouts, if they move. Phases are marked where
    there are several. A dataset with one sweep dimension of at most 20 runs shows the error of all
    of them; a larger one the last errors against the sweep's dimensions. A scenario's ``[figure]``
    says what else to show.

    Of a search (`odekit.optimise`): the best schedules, and the slopes of the objective.
    Of branches (`odekit.continuation`): the error against the parameter, stable and unstable lines
    told apart, with the special points.

    Parameters
    ----------
    ds : Dataset
        What `odekit.solve` or `odekit.open` returned.
    path : path-like, optional
        Picture to write: .png, .pdf or .svg.
    time : {"auto", "log", "linear", "phases"}
        Time axis; by default logarithmic for one long phase, linear otherwise. With "phases" every
        phase has the same width and a logarithmic axis of its own. With all but "auto" the course
        over time is drawn even if the dataset has a figure.
    overwrite : bool
        Whether an existing picture may be replaced.
    beside : sequence of Dataset
        Results of the same problem, such as simulations, to draw as markers over the lines of the
        course over time: the mean over networks, with a bar for their standard deviation. One of
        `odekit.fluctuations` is drawn as `bands`.
    bands : Dataset, optional
        What `odekit.fluctuations` predicted for the run: one standard deviation to both sides of
        every line is shaded, faintly where the prediction does not hold.
    align : bool
        Whether networks that found the run's solution with their units in another order, or of
        another sign, are relabelled first; the legend says how many were.
    show : str, optional
        Of branches: what to draw against the parameter, a variable or one entry of it, such as
        ``"R[0, 1]"``; by default the errors of all tasks.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ProblemError
        If the dataset holds more runs than a picture over time can tell apart.
    StoreError
        If the picture cannot be written.
    """
    target = None if path is None else check_picture(path, overwrite)
    _require_matplotlib()
    import matplotlib as mpl

    from odekit.drawing.style import STYLE

    choice("time", time, TIMES)
    predicted = [other for other in beside if FLUCTUATIONS in other.attrs]
    beside = [other for other in beside if FLUCTUATIONS not in other.attrs]
    shaded = predicted if bands is None else [_predicted(bands), *predicted]
    with mpl.rc_context(STYLE):
        if is_branches(ds):
            figure = _branches(ds, [*beside, *shaded], show)
        elif is_optimum(ds):
            figure = _schedules(ds, [*beside, *shaded])
        else:
            _check_left_out("show", show)
            alone = time == "auto" and not beside and not shaded
            table = _figure_of(ds)
            if alone and table is not None and not table.over_time:
                figure = _measures(ds, table)
            else:
                figure = _over_time(ds, time, beside, shaded, align, table)
        if target is not None:
            _write(figure, target)
    return figure


def check_result(ds: xr.Dataset) -> None:
    """Refuse a dataset that lacks a part of what made it.

    Raises
    ------
    ProblemError
    """
    if is_branches(ds):
        branchwords.checked(ds)
    elif is_optimum(ds):
        optimum.checked(ds)
    elif FLUCTUATIONS not in ds.attrs:
        whole(ds)


def _check_left_out(argument: str, given: Any) -> None:
    if given:
        rule = "must be left out of this picture"
        raise ProblemError(argument, rule, repr(given)[:80], "")


def _branches(ds: xr.Dataset, beside: Sequence[xr.Dataset], show: str | None) -> Figure:
    """Branches of fixed points against the parameter, a panel for every entry of what is shown."""
    from odekit.drawing import branches

    _check_left_out("beside", list(beside))
    branchwords.checked(ds)
    panels = [
        (word, branchwords.curves(ds, values, special))
        for word, values, special in branchwords.shown(ds, show)
    ]
    label = str(ds.parameter.attrs.get("long_name", "parameter"))
    return branches.draw(str(ds.attrs.get("title", "")), label, panels[:MAX_PANELS])


def _schedules(ds: xr.Dataset, beside: Sequence[xr.Dataset]) -> Figure:
    """The best schedules of a search, and the slopes of the objective."""
    from odekit.drawing import schedules

    _check_left_out("beside", list(beside))
    optimum.checked(ds)
    curves = [schedules.Curve(*one) for one in optimum.curves(ds)]
    if not curves:
        rule = "must have a control of more than one piece, to be drawn"
        raise ProblemError("ds", rule, "numbers alone", "odekit.summary says them.")
    return schedules.draw(str(ds.attrs.get("title", "")), curves[:MAX_PANELS])


def _figure_of(ds: xr.Dataset) -> FigureTable | None:
    """The measures that a sweep asks for, or that suit it; None to draw the course over time."""
    _check_result(ds)
    sizes = [ds.sizes[d] for d in _dims(ds) if ds.sizes[d] > 1]
    large = len(sizes) > 1 or int(np.prod(sizes)) > MAX_LINES
    if "odekit_figure" not in ds.attrs and not large:
        return None
    from odekit.drawing.figure import default_figure, figure_of

    return figure_of(ds) or (default_figure(ds) if large else None)


def _measures(ds: xr.Dataset, table: FigureTable) -> Figure:
    from odekit.drawing import maps
    from odekit.measures.named import evaluate

    return maps.draw(ds, table, [evaluate(ds, name) for name in table.measures])


def _over_time(
    ds: xr.Dataset,
    time: str,
    beside: Sequence[xr.Dataset],
    bands: Sequence[xr.Dataset],
    align: bool,
    table: FigureTable | None = None,
) -> Figure:
    from odekit.dataset.assemble import system_in
    from odekit.drawing import panels

    dims = sweep_dims(ds)
    ds = ds.isel({d: 0 for d in dims if ds.sizes[d] == 1})
    sweep = [d for d in dims if d in ds.dims]
    if time == "auto" and table is not None:
        time = table.time
    if time == "auto":
        time = "log" if _log_time(ds) else "linear"
    system, dim = system_in(ds), (sweep[0] if sweep else None)
    lines = _lines_of(system, ds, dim) if beside or bands else None
    if dim is not None:
        figure = panels.sweep(ds, dim, time)
    else:
        figure = panels.alone(ds, time) if system is None else system.panels(ds, time)
        if table is not None:
            panels.mark(figure.axes[0], table)
    if lines is not None:
        from odekit.drawing import bands as drawn_bands
        from odekit.drawing import beside as drawn_beside

        keys = [
            key
            for one in bands
            for key in drawn_bands.draw(figure, ds, one.isel(_points(one, sweep)), lines)
        ]

        if align and dim is None and system is not None:
            beside = [_aligned(system, ds, other) for other in beside]
        drawn_beside.draw(figure, ds, beside, dim, lines, keys)
    return figure


def _predicted(bands: xr.Dataset) -> xr.Dataset:
    """The argument `bands`, refused before anything is drawn."""
    if FLUCTUATIONS not in bands.attrs:
        raise ProblemError("bands", "must be a result of odekit.fluctuations", "another", "")
    return bands


def _points(other: xr.Dataset, sweep: Sequence[str]) -> dict[str, int]:
    """Where a result has one point of a dim that the first has no more."""
    dims = _dims(other.rename(generalization_error_std="generalization_error"))
    return {d: 0 for d in dims if d not in sweep and other.sizes[d] == 1}


def _aligned(system: System, ds: xr.Dataset, other: xr.Dataset) -> xr.Dataset:
    """Networks with their units in the order of the run's, and how many were relabelled."""
    if SIMULATION not in other.attrs or SIMULATION in ds.attrs:
        return other
    other = other.isel({d: 0 for d in other.status.dims if d != REPLICA})
    other, moved = system.aligned(ds, other)
    return other.assign_attrs({ALIGNED: int(moved.sum())})


def _lines_of(system: System | None, ds: xr.Dataset, dim: str | None) -> Callable[..., Any]:
    """What marks another result: of an unknown system, only its errors."""
    from odekit.drawing.beside import error_lines, sweep_lines

    if system is not None:
        return system.beside(ds, dim)
    return error_lines if dim is None else partial(sweep_lines, ds, dim)


def check_picture(path: str | PathLike[str], overwrite: bool = False) -> Path:
    """The picture to write; refuses what cannot be written or drawn before anything is computed.

    Raises
    ------
    ProblemError
        If the ending names no format.
    StoreError
        If the file cannot be written.
    OdekitError
        If matplotlib is missing.
    """
    if Path(path).suffix.lower().lstrip(".") not in FORMATS:
        raise ProblemError(
            "path",
            f"must end in one of {', '.join('.' + f for f in FORMATS)}",
            repr(Path(path).name),
            "The ending decides the format.",
        )
    _require_matplotlib()
    return check_target(path, overwrite)


def sweep_dims(ds: xr.Dataset) -> list[str]:
    """The sweep dimensions of a dataset that can be drawn: at most one of them is not a point.

    Raises
    ------
    ProblemError
        If there are too many runs.
    """
    _check_result(ds)
    dims = _dims(ds)
    runs = int(np.prod([ds.sizes[d] for d in dims])) if dims else 1
    long = [d for d in dims if ds.sizes[d] > 1]
    if runs > MAX_LINES or len(long) > 1:
        listed = ", ".join(f"{d} ({ds.sizes[d]})" for d in dims)
        raise ProblemError(
            "ds",
            f"must hold one run, or one sweep dimension of at most {MAX_LINES} runs, over time",
            f"sweep dimensions {listed}",
            f"Select some: ds.isel({dims[0]}=0), or ds.sel with a list of labels.",
        )
    return dims


def _check_result(ds: xr.Dataset) -> None:
    if "generalization_error" not in ds.variables or "time" not in ds.coords:
        raise ProblemError("ds", "must be a result of odekit", str(list(ds.variables)[:6]), "")


def _dims(ds: xr.Dataset) -> list[str]:
    return [str(d) for d in ds.generalization_error.dims if d not in ("time", "task")]


def _log_time(ds: xr.Dataset) -> bool:
    """Whether a log axis shows the run better: one phase, and a long one."""
    times, phase = ds.time.values, ds.phase.values
    # Rows that a run of a sweep did not reach belong to no phase: -1.
    return len(np.unique(phase[phase >= 0])) <= 1 and bool(times.size and times[-1] > LONG_SPAN)


def _write(figure: Figure, path: Path) -> None:
    from odekit.drawing.style import DPI

    kind = path.suffix.lower().lstrip(".")
    buffer = io.BytesIO()
    # Without a date the same run gives the same file.
    dated: dict[str, Any] = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    figure.savefig(buffer, format=kind, dpi=DPI, metadata=dated.get(kind))
    if kind == "png":
        buffer = _with_palette(buffer)
    write_atomic(path, lambda file: file.write_bytes(buffer.getvalue()))


def _with_palette(picture: io.BytesIO) -> io.BytesIO:
    """The same picture in 256 colours: a third of the size, and lines and text look the same."""
    from PIL import Image

    from odekit.drawing.style import DPI

    small = io.BytesIO()
    with Image.open(picture) as image:
        reduced = image.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        reduced.save(small, "png", optimize=True, dpi=(DPI, DPI))
    return small


def _require_matplotlib() -> None:
    # Looking for it is enough, and 100 times faster than importing it.
    if find_spec("matplotlib") is None:
        raise OdekitError(
            "Pictures need matplotlib, which is not installed. "
            "Install it with: pip install 'odekit[plot]'"
        )
