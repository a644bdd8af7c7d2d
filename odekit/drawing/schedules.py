"""Pictures of schedules that were searched: controls over time, and their slopes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from odekit.drawing.style import Page, literal


@dataclass(frozen=True)
class Curve:
    """One control.

    Attributes
    ----------
    name : str
    edges : ndarray
        Where its pieces begin, and the end; or the times of the values of a table, as many.
    values, slopes : ndarray, shape (pieces,)
        And the derivative of the objective, less the multiplier of a budget.
    """

    name: str
    edges: Any
    values: Any
    slopes: Any


def draw(title: str, curves: Sequence[Curve]) -> Figure:
    """A row for each control: its values, and below them the slopes of the objective."""
    figure = Page(figsize=(6.4, 1.2 + 2.6 * len(curves)))
    axes = figure.subplots(
        2 * len(curves), 1, sharex=True, squeeze=False, height_ratios=[2, 1] * len(curves)
    )[:, 0]
    for top, low, curve in zip(axes[::2], axes[1::2], curves, strict=True):
        _steps(top, curve.edges, curve.values)
        top.set_ylabel(literal(curve.name))
        _steps(low, curve.edges, curve.slopes)
        low.axhline(0.0, color="0.7", linewidth=0.8, zorder=0)
        low.set_ylabel("slope")
        largest = float(np.abs(curve.slopes).max(initial=0.0))
        low.set_yscale("symlog", linthresh=max(1e-3 * largest, 1e-300))
    axes[-1].set_xlabel("time, steps / N")
    if title:
        axes[0].set_title(literal(title))
    return figure


def _steps(ax: Any, edges: Any, values: Any) -> None:
    if len(edges) == len(values):
        ax.plot(edges, values, marker=".")
    else:
        ax.stairs(values, edges, baseline=None, linewidth=1.5)
