"""Branches of fixed points against the parameter: stable and unstable lines, special points."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.lines import Line2D

from odekit.drawing.lines import NO_VECTORS, STABLE, UNSTABLE, Curve
from odekit.drawing.style import TASKS, UNITS, WIDTH, literal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

HEIGHT = 2.3
LINES: dict[str, dict[str, Any]] = {
    STABLE: {"ls": "-", "lw": 1.6},
    UNSTABLE: {"ls": (0, (3.5, 1.5)), "lw": 0.9},
    NO_VECTORS: {"ls": (0, (1, 2)), "lw": 0.7, "alpha": 0.5},
}
MARKS = {"fold": "s", "pitchfork": "D", "transcritical": "o", "hopf": "^"}
OTHER_MARK = "v"
MARK: dict[str, Any] = {"ms": 4.5, "mfc": "white", "mec": "black", "mew": 0.9}
LOG_FROM, LOG_TO = 30.0, 1e5
"""Ratios of the largest and the smallest value between which the axis is logarithmic."""


def draw(title: str, label: str, panels: Sequence[tuple[str, Sequence[Curve]]]) -> Figure:
    """Panels, each a label and its branches, over one parameter."""
    figure = Figure(figsize=(WIDTH, HEIGHT * len(panels) + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    figure.suptitle("\n".join(textwrap.wrap(literal(title), 50)[:3]), fontsize=8)
    for ax, (name, curves) in zip(axes, panels, strict=True):
        panel(ax, curves)
        ax.set_ylabel(literal(name))
    axes[-1].set_xlabel(literal(label))
    figure.align_ylabels()
    keys(axes[0], [curve for _, curves in panels for curve in curves])
    return figure


def panel(ax: Axes, curves: Sequence[Curve]) -> None:
    """Draw branches into axes."""
    many = len({curve.colour for curve in curves}) > 1
    for curve in curves:
        colour = UNITS[curve.colour % len(UNITS)] if many else TASKS[0]
        for kind, line in curve.pieces:
            x, y = np.array(line).T
            ax.plot(x, y, color=colour, **LINES[kind])
    for curve in curves:
        for after, kind, x, y in curve.marks:
            if curve.physical[after]:
                ax.plot([x], [y], marker=MARKS.get(kind, OTHER_MARK), zorder=5, **MARK)
    _range(ax, curves)


def _range(ax: Axes, curves: Sequence[Curve]) -> None:
    """The range of what real vectors have; logarithmic where it is wide."""
    shown = np.concatenate([c.y[np.asarray(c.physical, dtype=bool)] for c in curves] or [[]])
    shown = shown[np.isfinite(shown)]
    if not shown.size or shown.min() == shown.max():
        return
    low, high = float(shown.min()), float(shown.max())
    if low > 0 and LOG_FROM * low < high < LOG_TO * low:
        ax.set_yscale("log")
        spread = (high / low) ** 0.05
        ax.set_ylim(low / spread, high * spread)
        return
    pad = 0.05 * (high - low)
    ax.set_ylim(low - pad, high + pad)


def keys(ax: Axes, curves: Sequence[Curve]) -> None:
    """What lines and marks mean, above the first panel; those that are there."""
    kinds = {kind for curve in curves for kind, _ in curve.pieces}
    marks = {kind for curve in curves for after, kind, _, _ in curve.marks if curve.physical[after]}
    handles = [Line2D([], [], color="0.2", label=k, **s) for k, s in LINES.items() if k in kinds]
    handles += [
        Line2D(
            [],
            [],
            ls="",
            marker=MARKS.get(k, OTHER_MARK),
            ms=4.5,
            mfc="white",
            mec="black",
            label=k,
        )
        for k in sorted(marks)
    ]
    legend = Legend(
        ax,
        handles,
        [str(h.get_label()) for h in handles],
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0, 1.0, 0.1),
        ncols=3,
        borderpad=0.1,
        handlelength=1.8,
        columnspacing=1.2,
    )
    legend.set_clip_on(False)
    ax.add_artist(legend)
