"""Panels of a run of a network on data: the norms of its layers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from odekit.drawing import panels, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def run(ds: xr.Dataset, time: str) -> Figure:
    """All panels of one run."""
    return panels.draw(ds, time, [(1.2, norms)], ("layer_norm",))


def norms(ax: Axes, ds: xr.Dataset) -> None:
    """Frobenius norm of every layer."""
    names = [str(name) for name in ds.layer.values]
    colours = style.unit_colours(len(names))
    for i, colour in enumerate(colours):
        ax.plot(ds.time, ds.layer_norm[:, i], color=colour, **style.line(len(names), i, len(names)))
    ax.set_ylabel("$|W_l|$")
    keys = [(style.literal(n), c, "-") for n, c in zip(names, colours, strict=True)]
    style.above(ax, keys if len(keys) <= style.KEYS_IN_ROW else [])
