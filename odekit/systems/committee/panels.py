"""Panels of a run of a committee: overlaps, norms, and readouts if they move."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Normalize

from odekit.drawing import panels
from odekit.drawing.beside import Line, error_lines, sweep_lines
from odekit.drawing.style import (
    DASHES,
    KEYS_IN_ROW,
    TASKS,
    UNITS,
    above,
    colormap,
    dash,
    line,
    literal,
    unit_colours,
)

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

READOUT_MOVES = 1e-6
OFF_DIAGONAL = "0.55"
MEASURED = "x"


def run(ds: xr.Dataset, time: str) -> Figure:
    """All panels of one run of a committee."""
    moving = [(1.0, _readouts)] if _moves(ds.readout.values) else []
    moving += [(1.0, _biases)] if "bias" in ds and _moves(ds.bias.values) else []
    figure = panels.draw(ds, time, [(1.2, _overlaps), (1.2, _norms), *moving], ("Q", "R"))
    _legend(figure.axes, ds)
    return figure


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
    K, heads = ds.sizes["student"], _heads(ds)
    colours = unit_colours(K)
    for h, (_, place) in enumerate(heads):
        for k in range(K):
            style = {"color": colours[k], "ls": dash(h, len(heads))}
            ax.plot(
                ds.time,
                ds.readout.isel({**place, "student": k}),
                **style,
                **line(K * len(heads), k, K),
            )
    ax.set_ylabel("$v_k$")


def _biases(ax: Axes, ds: xr.Dataset) -> None:
    K = ds.sizes["student"]
    colours = unit_colours(K)
    for k in range(K):
        ax.plot(ds.time, ds.bias.isel(student=k), color=colours[k], **line(K, k, K))
    ax.set_ylabel("$b_k$")


def _heads(ds: xr.Dataset) -> list[tuple[str, dict[Any, int]]]:
    """Name and place of every head, and of every output of one."""
    names = ds["head"].values.tolist()
    if "output" not in ds.sizes:
        return [(name, {"head": h}) for h, name in enumerate(names)]
    pairs = [(h, o) for h in range(len(names)) for o in range(ds.sizes["output"])]
    return [(f"{names[h]} {o}", {"head": h, "output": o}) for h, o in pairs]


def _apart(K: int) -> Any:
    """Dots tell the overlaps of different units from their norms, while they are few."""
    return DASHES[2] if len(UNITS) >= K else "-"


def _moves(readout: Any) -> bool:
    """Whether the readouts are learnt, so that they have a panel."""
    change = panels.distance(readout)
    return bool(change.max(initial=0.0) > READOUT_MOVES * np.abs(readout[0]).max())


def _legend(axes: Sequence[Axes], ds: xr.Dataset) -> None:
    """What colours and dashes mean, above the panels so that no line is covered."""
    K, P, heads = ds.sizes["student"], ds.sizes["teacher"], _heads(ds)
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
    if len(axes) > 3 and 1 < len(heads) <= len(DASHES) and _moves(ds.readout.values):
        dashed = zip(heads, DASHES, strict=False)
        above(axes[3], [(literal(name), "0.3", d) for (name, _), d in dashed])


def _colourbar(axes: Sequence[Axes], K: int) -> None:
    bar = mpl.cm.ScalarMappable(Normalize(0, K - 1), colormap())
    axes[0].figure.colorbar(bar, ax=list(axes), label="student unit $k$", pad=0.02)


def beside(ds: xr.Dataset, dim: str | None) -> Callable[[xr.Dataset], Iterator[Line]]:
    """What marks another result over the panels of a run, or of a sweep over `dim`."""
    return partial(sweep_lines, ds, dim) if dim else partial(_lines, _moves(ds.readout.values))


def _lines(readouts: bool, ds: xr.Dataset) -> Iterator[Line]:
    K, P, heads = ds.sizes["student"], ds.sizes["teacher"], _heads(ds)
    colours = unit_colours(K)
    yield from error_lines(ds)
    for i in range(ds.sizes["task"] if "test_error" in ds else 0):
        colour = TASKS[i % len(TASKS)]
        yield Line(0, ds.test_error.isel(task=i), colour, MEASURED, "measured over the inputs")
    for k in range(K):
        for n in range(P):
            yield Line(1, ds.R.isel(student=k, teacher=n), colours[k])
        for l in range(k):
            yield Line(2, ds.Q.isel(student=k, student_other=l), OFF_DIAGONAL)
        yield Line(2, ds.Q.isel(student=k, student_other=k), colours[k])
        for _, place in heads if readouts else []:
            yield Line(3, ds.readout.isel({**place, "student": k}), colours[k])
