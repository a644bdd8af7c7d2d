"""How networks approach the theory: one problem, networks of 500 to 8000 inputs.

pip install '.[plot]'
python docs/examples/finite_size.py docs/figures/simulation.png docs/figures/finite_size.png
"""

from __future__ import annotations

import argparse

import matplotlib as mpl
import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import odekit as ok
from odekit.drawing.style import STYLE, WIDTH

SIZES = (500, 1000, 2000, 4000, 8000)
NAMES = {
    "Q": "$Q_{kl}$",
    "R": "$R_{kn}$",
    "readout": "$v_k$",
    "generalization_error": "$\\epsilon_g$",
}
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#000000")


def problem() -> ok.Problem:
    """Two tasks one after the other, noise, both layers, and elastic weight consolidation."""
    family = ok.task_family(units=2, tasks=2, feature_similarity=0.4)
    rates = {"learning_rate": 0.7, "readout_learning_rate": 0.5}
    return ok.Problem(
        state=ok.OrderParameters.draw(
            student=2, teacher=family.T, weight_std=0.5, input_dim=1000, seed=2
        ),
        heads={"1": [0.9, 0.6], "2": [0.5, 0.8]},
        tasks={
            name: ok.Task(task.readout, noise_std=0.3, head=task.head)
            for name, task in family.tasks.items()
        },
        phases=[
            ok.Phase("1", duration=20.0, **rates),
            ok.Phase("2", duration=20.0, consolidation=ok.Consolidation("fisher", 1.0), **rates),
        ],
    )


def deviations(replicas: int) -> xr.Dataset:
    """`odekit.compare` at every N."""
    times = np.linspace(0, 40, 41)
    run = ok.solve(problem(), t_eval=times)
    sims = (
        ok.simulate(problem(), input_dim=N, seed=0, replicas=replicas, t_eval=times) for N in SIZES
    )
    return xr.concat([ok.compare(run, sim) for sim in sims], xr.Variable("input_dim", list(SIZES)))


def draw(found: xr.Dataset) -> Figure:
    """Deviations of single networks and of their mean against N."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.subplots()
    N = np.array(SIZES)
    for (name, label), colour in zip(NAMES.items(), COLOURS, strict=True):
        of = found.sel(variable=name)
        ax.plot(N, of.deviation, "o-", color=colour, ms=3, label=label)
        ax.plot(N, of.mean_deviation, "x:", color=colour, ms=3, lw=0.7)
    level = float(found.times_root_n.sel(variable="Q").mean())
    ax.plot(N, 1.6 * level / np.sqrt(N), color="0.6", lw=0.8, label="$\\propto 1/\\sqrt{N}$")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xticks(N, [str(n) for n in N])
    ax.minorticks_off()
    ax.set_ylim(bottom=4e-5)  # room for the legend
    ax.set_xlabel("input dimension $N$")
    ax.set_ylabel("deviation from the theory")
    title = f"single networks (o), mean of {found.attrs['replicas']} (x)"
    ax.legend(ncols=3, title=title, loc="lower left")
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("course", help="picture of theory and simulation over time")
    parser.add_argument("deviation", help="picture of the deviation against N")
    parser.add_argument("--replicas", type=int, default=16)
    given = parser.parse_args()
    sim = ok.simulate(problem(), input_dim=1000, seed=0, replicas=given.replicas)
    ok.plot.plot_run(ok.solve(problem()), given.course, beside=[sim], overwrite=True)
    found = deviations(given.replicas)
    for name in ("deviation", "mean_deviation", "times_root_n", "in_standard_errors"):
        print(name, found[name].transpose("variable", ...).to_pandas().round(4), sep="\n")
    with mpl.rc_context(STYLE):
        draw(found).savefig(given.deviation, dpi=300)


if __name__ == "__main__":
    main()
