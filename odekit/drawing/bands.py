"""Predicted spread of networks about the lines of a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Patch

from odekit.base.errors import ProblemError
from odekit.dataset.fluctuating import FLUCTUATIONS, RELIABLE, spreads

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from odekit.drawing.beside import Line

DENSE, THIN = 0.28, 0.08
"""Opacity where the prediction holds, and where it does not."""


def draw(
    figure: Figure,
    ds: xr.Dataset,
    found: xr.Dataset,
    lines: Callable[[xr.Dataset], Iterable[Line]],
) -> list[Artist]:
    """Shade one standard deviation to both sides of every line, and return the legend's keys.

    `lines` are those of a result, by its system: with the same overlaps, errors and readouts, the
    standard deviations have the same.
    """
    around = ds.sel(time=ds.time.isin(found.time))
    std, ok = spreads(found), found[RELIABLE] == 1
    std = std.sel(time=std.time.isin(around.time))
    if not std.sizes["time"]:
        raise ProblemError("bands", "must have times of the first result", "none", "")
    shared = around[[n for n in std.data_vars if n in around]]
    for middle, spread in zip(lines(shared), lines(std), strict=True):
        ax = figure.axes[middle.panel]
        times = middle.values.time.values
        holds = ok.sel(time=times)
        for dim in set(holds.dims) - {"time"}:
            holds = holds.all(str(dim))
        for where, opacity in ((holds.values, DENSE), (~holds.values, THIN)):
            _shade(ax, times, middle.values.values, spread.values.values, where, middle, opacity)
    return [Patch(color="0.3", alpha=DENSE, lw=0, label=f"±1 sd, $N={found.attrs[FLUCTUATIONS]}$")]


def _shade(
    ax: Axes, times: Any, middle: Any, spread: Any, where: Any, line: Line, opacity: float
) -> None:
    low = middle - spread
    if ax.get_yscale() == "log":
        # What reaches zero goes on below the axis.
        low = np.maximum(low, 0.1 * ax.get_ylim()[0])
    limits = ax.get_ylim()
    style = {"color": line.colour, "alpha": opacity, "lw": 0, "zorder": 1}
    ax.fill_between(times, low, middle + spread, where=where, **style)
    if ax.get_yscale() == "log":
        ax.set_ylim(limits)
