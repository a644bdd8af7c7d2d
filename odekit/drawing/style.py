"""What all pictures have in common: sizes, fonts, colours, dashes and keys."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import Colormap, ListedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from odekit.base.errors import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class Page(Figure):
    """A figure that shows itself in a notebook, whatever its backend."""

    def _repr_png_(self) -> bytes:
        picture = io.BytesIO()
        self.savefig(picture, format="png", dpi=SCREEN)
        return picture.getvalue()


WIDTH = 3.4
"""Width of a journal's single column, inches."""
DPI = 300
SCREEN = 130
"""Dots per inch in a notebook."""
STYLE: dict[Any, Any] = {
    "font.size": 7.5,
    "axes.titlesize": 7.5,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 1.2,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.borderaxespad": 0.2,
    "mathtext.fontset": "dejavusans",
    "svg.fonttype": "none",
    "pdf.fonttype": 42,
}
# Okabe and Ito's colours, which the colour-blind can tell apart; black is left to the error.
UNITS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
TASKS = ("#000000", "#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
DASHES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (5, 1.5, 1, 1.5)))
MANY_LINES = 16
KEYS_IN_ROW = 4


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


def line(lines: int, k: int = 0, K: int = 1) -> dict[str, Any]:
    """Many lines are thin and let each other through; of few the later is thinner, on top."""
    if lines > MANY_LINES:
        return {"lw": 0.5, "alpha": 0.7}
    return {"lw": 1.2 if K == 1 else 1.8 - k / (K - 1)}


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


def literal(name: Any) -> str:
    """A name as it is: a dollar sign would start a formula, and no font has control characters."""
    return printable(str(name)).replace("$", r"\$")


def scale_of(values: Any) -> tuple[Any, Any]:
    """Numbers for the colours of a sweep, and whether they go in equal ratios."""
    if values.dtype.kind not in "iuf":
        values = np.arange(values.size, dtype=float)
    low, high = float(np.min(values)), float(np.max(values))
    if low > 0 and values.size > 2 and np.ptp(np.diff(np.log(values))) < 1e-6:
        return values, LogNorm(low, high)
    return values, Normalize(low, high if high > low else low + 1)
