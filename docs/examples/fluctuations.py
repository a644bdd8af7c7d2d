"""Spread of finite networks, and times of escape; the pictures are in docs/fluctuations.md.

python docs/examples/fluctuations.py spread|escape -o FIG.png
"""

from __future__ import annotations

import argparse
import warnings

import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import odekit as ok
from odekit.drawing.style import STYLE, UNITS, WIDTH

N = 500
SIZES = (500, 1000, 4000)


def learning() -> ok.Problem:
    """Two units learn two, both layers and with noise, and then a second task."""
    state = ok.OrderParameters(
        Q=[[0.4, 0.1], [0.1, 0.3]],
        R=[[0.3, 0.05, 0.1, 0.0], [0.0, 0.25, 0.0, 0.1]],
        T=np.eye(4),
    )
    rates = {"learning_rate": 0.7, "readout_learning_rate": 0.3}
    return ok.Problem(
        state=state,
        heads={"1": [1.0, 1.0], "2": [0.6, 0.9]},
        tasks={
            "1": ok.Task([1.0, 1.0, 0.0, 0.0], noise_std=0.2),
            "2": ok.Task([0.0, 0.0, 1.0, 1.0], noise_std=0.2),
        },
        phases=[ok.Phase("1", 15.0, **rates), ok.Phase("2", 15.0, **rates)],
    )


def symmetric(duration: float = 200.0) -> ok.Problem:
    """Two units that are alike and learn two: the equations never tell them apart."""
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.25, 0.2], [0.2, 0.25]], R=np.full((2, 2), 0.1), T=np.eye(2)),
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0])},
        phases=[ok.Phase("main", duration, 1.0)],
    )


def spread(replicas: int) -> Figure:
    """Standard deviations over time: predicted, by the chain, and of weights."""
    times = np.linspace(0.0, 30.0, 61)
    run = ok.solve(learning(), t_eval=times)
    predicted = ok.fluctuations(run, input_dim=N)
    keywords = {"input_dim": N, "seed": 0, "t_eval": times[::5]}
    sims = (
        ok.simulate(learning(), replicas=replicas, **keywords),
        ok.simulate(learning(), replicas=max(replicas // 10, 2), method="weights", **keywords),
    )
    figure = Figure(figsize=(WIDTH, 0.9 * WIDTH), layout="constrained")
    axes = figure.subplots(3, 1, sharex=True)
    panels = (
        ("R", [{"student": k, "teacher": n} for k in (0, 1) for n in (0, 2)], "$R_{kn}$"),
        ("Q", [{"student": 0, "student_other": l} for l in (0, 1)], "$Q_{kl}$"),
        ("generalization_error", [{"task": t} for t in (0, 1)], "$\\epsilon_g$"),
    )
    for ax, (name, places, label) in zip(axes, panels, strict=True):
        for place, colour in zip(places, UNITS, strict=False):
            ax.plot(times, predicted[f"{name}_std"].isel(place), color=colour)
            for sim, marker in zip(sims, "ox", strict=True):
                found = sim[name].isel(place).std("replica", ddof=1)
                ax.plot(sim.time, found, marker, color=colour, mfc="white", ms=3)
        ax.set_ylabel(f"sd of {label}")
        ax.axvline(15.0, color="0.6", lw=0.6)
    axes[-1].set_xlabel("time $t$ (steps / $N$)")
    return figure


def escapes(replicas: int) -> Figure:
    """Shares of networks that have escaped: predicted, and by the chain."""
    times = np.linspace(0.0, 200.0, 201)
    run = ok.solve(symmetric(), t_eval=times)
    figure = Figure(figsize=(WIDTH, 0.6 * WIDTH), layout="constrained")
    ax = figure.subplots()
    levels = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
    for size, colour in zip(SIZES, UNITS, strict=False):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ok.FluctuationWarning)
            predicted = ok.fluctuations(run, input_dim=size)
        sim = ok.simulate(symmetric(), input_dim=size, seed=0, replicas=replicas, t_eval=times)
        R = sim.R.max(["student", "teacher"]) - sim.R.min(["student", "teacher"])
        share = (R >= 0.3).cumsum("time").astype(bool).mean("replica")
        ax.plot(times, share, color=colour, lw=0.8, label=f"$N={size}$")
        ax.plot(predicted.escape_quantile, levels, "o", color=colour, mfc="white", ms=4)
    ax.set_xlabel("time $t$ (steps / $N$)")
    ax.set_ylabel("share that has escaped")
    ax.legend(frameon=False)
    return figure


def main() -> None:
    """Draw one of the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("picture", choices=["spread", "escape"])
    parser.add_argument("-o", "--output", required=True)
    parser.add_argument("--replicas", type=int, default=400)
    given = parser.parse_args()
    with mpl.rc_context(STYLE):
        figure = spread(given.replicas) if given.picture == "spread" else escapes(given.replicas)
        FigureCanvasAgg(figure)
        figure.savefig(given.output, dpi=200)


if __name__ == "__main__":
    main()
