"""Panels of a run of a declared system: one for each variable of the state."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from odekit.dataset.provenance import problem_of
from odekit.drawing import panels, style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST = 5
"""Variables that are drawn."""


def run(ds: xr.Dataset, time: str) -> Figure:
    """All panels of one run."""
    own = problem_of(ds)["declaration"]
    names = list(own["state"])
    shown = [(1.1, partial(_variable, name=name, own=own)) for name in names[:MOST]]
    figure = panels.draw(ds, time, shown, names)
    figure.axes[0].set_ylabel(style.literal(own.get("long_names", {}).get("error", "error")))
    return figure


def _variable(ax: Axes, ds: xr.Dataset, name: str, own: dict[str, dict[str, str]]) -> None:
    """Every entry: colour for the first index, dashes for the others."""
    values = ds[name].transpose("time", ...).values
    shape = values.shape[1:]
    rows = values.reshape(len(values), -1)
    first = shape[0] if shape else 1
    others = rows.shape[1] // first
    colours = style.unit_colours(first)
    for i, column in enumerate(rows.T):
        k, n = divmod(i, others)
        look = {"color": colours[k], "ls": style.dash(n, others)}
        ax.plot(ds.time, column, **look, **style.line(rows.shape[1], k, first))
    symbol = own.get("symbols", {}).get(name, "")
    ax.set_ylabel(f"${symbol}$" if symbol and _is_formula(symbol) else style.literal(name))
    if not np.isfinite(rows).any():
        ax.text(0.5, 0.5, "nothing finite", ha="center", transform=ax.transAxes)


def _is_formula(symbol: str) -> bool:
    """Whether matplotlib can set it."""
    from matplotlib.mathtext import MathTextParser

    try:
        MathTextParser("path").parse(f"${symbol}$")
    except ValueError:
        return False
    return True
