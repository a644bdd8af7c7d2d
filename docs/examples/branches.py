"""Branches of fixed points: weight decay, similar teachers, and the noise floor.

pip install '.[plot]'
python docs/examples/branches.py docs/figures
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import odekit as ok
from odekit.drawing import branches
from odekit.drawing.style import DPI, STYLE, WIDTH
from odekit.dynamics.branchwords import curves, shown

DECAY, RATE = "phases[0].weight_decay", "phases[0].learning_rate"


def committee(K: int, noise: float = 0.0, V: float = 0.0, **phase: float) -> ok.Problem:
    """K specialised units before K unit vectors of overlap V, all readouts 1 and fixed."""
    T = (1 - V) * np.eye(K) + V
    return ok.Problem(
        state=ok.OrderParameters(Q=T, R=T, T=T),
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(np.ones(K), noise_std=noise)},
        phases=[ok.Phase("main", duration=1.0, **{"learning_rate": 1.0, **phase})],
    )


def under_decay(K: int) -> list[xr.Dataset]:
    """Specialised units in gradient flow, and what else passes through their last special point."""
    problem = committee(K, gradient_flow=True)
    first = ok.continuation(problem, DECAY, between=(0.0, 0.06))
    last = {2: 0, 3: 1}[K]
    return [first, ok.continuation(problem, DECAY, (0.0, 0.06), start=first.isel(special=last))]


def similar(V: float) -> ok.Problem:
    """Two teachers' units of overlap V."""
    return committee(2, noise=0.1, V=V, learning_rate=0.5)


def draw(panels: list[tuple[str, list[xr.Dataset], str]], label: str) -> Figure:
    """One panel for each of (title, results, entry)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, 2.1 * len(panels) + 0.4), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots(len(panels), 1, squeeze=False)[:, 0]
        every = []
        for ax, (title, results, entry) in zip(axes, panels, strict=True):
            lines = [
                line
                for number, ds in enumerate(results)
                for _, values, special in shown(ds, entry)
                for line in curves(ds, values, special, colour=number)
            ]
            branches.panel(ax, lines)
            ax.set_title(title, loc="right", y=0.85)
            ax.set_ylabel(entry.replace("_", " "))
            every += lines
        axes[-1].set_xlabel(label)
        branches.keys(axes[0], every)
    return figure


def decay() -> Figure:
    """Where specialisation is lost."""
    panels = [(f"K = {K}", under_decay(K), "R[0, 0]") for K in (2, 3)]
    return draw(panels, r"weight decay $\kappa$")


def similarity() -> Figure:
    """Where two similar teacher units are told apart no more."""
    found = ok.continuation(similar(0.95), similar, between=(0.9, 1.0), at=0.95, switch=True)
    panels = [("", [found], "R[0, 0]"), ("", [found], "generalization_error")]
    return draw(panels, "overlap $V$ of the teacher's units")


def floor() -> Figure:
    """The noise floor goes on where perfect learning, without noise, is no longer stable."""
    perfect = ok.continuation(committee(2), RATE, between=(0.05, 3.5))
    crossing = ok.continuation(
        committee(2), RATE, between=(0.05, 3.5), start=perfect.isel(special=0)
    )
    noisy = ok.continuation(committee(2, noise=0.1), RATE, between=(0.05, 3.5))
    return draw([("", [perfect, crossing, noisy], "Q[0, 0]")], r"learning rate $\eta$")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="of the three pictures")
    folder = parser.parse_args().folder
    for name, make in (("decay", decay), ("similarity", similarity), ("floor", floor)):
        with mpl.rc_context(STYLE):
            make().savefig(folder / f"branches_{name}.png", dpi=DPI)


if __name__ == "__main__":
    main()
