"""Panels of a run of a linear network: strengths of the modes, and norms of the weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from odekit.dataset.provenance import problem_of
from odekit.drawing import panels, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TARGET = "0.65"


def run(ds: xr.Dataset, time: str) -> Figure:
    """All panels of one run."""
    return panels.draw(ds, time, [(1.4, strengths), (1.2, norms)], ("mode_strength",))


def strengths(ax: Axes, ds: xr.Dataset) -> None:
    """Strength of every mode along every path, and its target's, of the first task."""
    modes, paths = ds.sizes["mode"], ds.sizes["path"]
    colours = style.unit_colours(modes)
    for p in range(paths):
        for k in range(modes):
            ax.axhline(float(ds.target_strength[0, p, k]), color=TARGET, lw=0.8, zorder=0)
            look = {"color": colours[k], "ls": style.dash(p, paths)}
            width = style.line(modes * paths, k, modes)
            ax.plot(ds.time, ds.mode_strength[:, 0, p, k], **look, **width)
    ax.set_ylabel(r"$u_\alpha^T W_p v_\alpha$")
    dashes = zip(ds.path.values, style.DASHES, strict=False)
    named = [(style.literal(p), "0.3", d) for p, d in dashes]
    numbered = [(rf"$\alpha={k}$", c, "-") for k, c in enumerate(colours)]
    target = [("target", TARGET, "-")]
    style.above(ax, target + (numbered if 1 < modes <= style.KEYS_IN_ROW else []))
    style.above(ax, named if 1 < paths <= style.KEYS_IN_ROW else [], 10)


def norms(ax: Axes, ds: xr.Dataset) -> None:
    """Frobenius norm of every edge's weights."""
    edges = problem_of(ds)["network"]["edges"]
    colours = style.unit_colours(len(edges))
    for (edge, ends), colour in zip(edges.items(), colours, strict=True):
        size = np.sqrt((ds[edge] ** 2).sum(list(ends)))
        ax.plot(ds.time, size, color=colour, **style.line(len(edges)))
    ax.set_ylabel("$|W_e|$")
    keys = [(style.literal(e), c, "-") for e, c in zip(edges, colours, strict=True)]
    row = style.KEYS_IN_ROW
    if len(keys) <= 2 * row:
        style.above(ax, keys[:row], 10 if len(keys) > row else 0)
        style.above(ax, keys[row:])
