"""Studies of linear networks whose pictures are in docs/linear-networks.md.

python docs/examples/linear_networks.py imbalance|timing|unimodal|race|lazy -o FIG.png
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

import odekit as ok

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def axis(name: str, values: Any) -> xr.DataArray:
    """Values to sweep over."""
    return xr.DataArray(values, dims=name, coords={name: values})


def panels(columns: int) -> tuple[Figure, Any]:
    """An empty picture."""
    figure = Figure(figsize=(3.2 * columns, 2.7), layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def problem(network: Any, weights: Any, tasks: Any, duration: float) -> ok.LinearProblem:
    """One phase at the learning rate 1."""
    phase = ok.Phase("main", duration=duration, learning_rate=1.0)
    return ok.LinearProblem(network, weights, tasks, phase)


def imbalance() -> Figure:
    """Specialisation of 10⁵ draws against what each of them conserves."""
    network = ok.linear.deep([2, 2, 2])
    scales = axis("scale", np.geomspace(1e-3, 3.0, 20))
    weights = ok.linear.normal(network, scales, seed=1, draws=5000)
    tasks = ok.linear.Correlations(yx=np.diag([3.0, 1.0]), xx=np.eye(2))
    run = ok.solve(problem(network, weights, tasks, 30.0), t_eval=[0.0, 30.0])
    entropy = ok.measures.unit_entropy(run)[..., -1, 0, 0, 0]
    matrix = ok.measures.conserved_layers(run).imbalance_hidden[..., 0, :, :]
    values = np.linalg.eigvalsh(matrix)
    spread, size = values[..., 1] - values[..., 0], np.abs(values).max(axis=-1)
    figure, axes = panels(2)
    named = (
        (size, r"largest $|\lambda|$ of $W_1W_1^T-W_2^TW_2$"),
        (spread, r"$\lambda_1-\lambda_2$"),
    )
    for ax, (x, label) in zip(axes, named, strict=True):
        edges = np.geomspace(1e-5, 20, 26)
        places = np.digitize(x.ravel(), edges)
        kept = [i for i in range(1, edges.size) if np.sum(places == i) >= 200]
        groups = [entropy.values.ravel()[places == i] for i in kept]
        middle = [np.sqrt(edges[i - 1] * edges[i]) for i in kept]
        quartiles = np.array([np.percentile(g, [25, 50, 75]) for g in groups])
        ax.fill_between(middle, quartiles[:, 0], quartiles[:, 2], color="#0072B2", alpha=0.25, lw=0)
        ax.plot(middle, quartiles[:, 1], color="#0072B2", label="median and quartiles")
        ax.plot(middle, [g.mean() for g in groups], color="k", lw=1, label="mean")
        ax.axhline(2 - 1 / np.log(2), color="0.6", lw=0.8, ls="--", label="random rotation")
        ax.set(xscale="log", xlabel=label, ylim=(0, 1))
    axes[0].set_ylabel("entropy over units")
    axes[0].legend(frameon=False, fontsize=7)
    return figure


STRENGTH, START, DONE = 10.0, 1e-3, 1.0
"""Of a mode: its strength, the first layer's weight, and the error at which a pathway is done."""


def timing_map() -> xr.Dataset:
    """When pathways of two imbalances are done, less when the other one escapes; and a race.

    Closed forms all: of pathways with a mode each, and of two that share one.
    """
    first = axis("first", np.linspace(0.0, 100.0, 201))
    second = axis("second", np.linspace(0.0, 20.0, 101))
    weights = [np.sqrt(START**2 + imbalance) for imbalance in (first, second)]
    done = [ok.linear.time_to(STRENGTH, START, w, within=DONE) for w in weights]
    escaped = [ok.linear.time_to(STRENGTH, START, w, above=STRENGTH / 2) for w in weights]
    pair = xr.concat(xr.broadcast(*weights), "pathway")
    shares = ok.linear.race(np.inf, STRENGTH, 0 * pair + START, pair)
    learnt = {
        "first_done": done[0] - escaped[1],
        "second_done": done[1] - escaped[0],
        "winner_done": STRENGTH - shares.max("pathway") - DONE,
    }
    return xr.Dataset(learnt).transpose("second", "first", ...)


def timing() -> Figure:
    """Specialisation as a matter of timing: which pathway is done before the other one escapes."""
    figure, axes = panels(2)
    ds = timing_map()
    x, y = ds["first"], ds["second"]
    shown = axes[0].pcolormesh(x, y, ds.first_done, cmap="RdBu_r", vmin=-0.1, vmax=0.1)
    figure.colorbar(shown, ax=axes[0], label=r"$t^*_1-\hat t_2$", extend="both", pad=0.02)
    for times, dashes in ((ds.first_done, "-"), (ds.second_done, "--")):
        axes[0].contour(x, y, times, levels=[0.0], colors="k", linestyles=dashes, linewidths=1.0)
    axes[1].pcolormesh(x, y, ds.winner_done < 0, cmap="Blues", vmax=2)
    for ax, title in zip(axes, ("a mode for each", "one mode for both"), strict=True):
        ax.set(xlabel=r"imbalance $\Lambda_1$")
        ax.set_title(title, fontsize=8)
    axes[0].set_ylabel(r"imbalance $\Lambda_2$")
    return figure


RATIO, CORRELATION = 2.0, 0.3
"""Standard deviations of the modalities, a over b, and their correlation; y = x_a + x_b."""


def fused(fusion: int, starts: xr.DataArray) -> ok.LinearProblem:
    """Networks of four layers, one unit wide, balanced: √2 u₀ in the layers that both share."""
    network = ok.linear.multimodal({"a": 1, "b": 1}, 1, depth=4, fusion=fusion, width=1)
    weights = {}
    for edge, (start, end) in network.edges.items():
        shared = all(edge in path for path in network.paths.values())
        one = starts * (np.sqrt(2.0) if shared else 1.0)
        weights[edge] = one.expand_dims({end: 1, start: 1}, axis=(1, 2))
    own, cross = RATIO**2, CORRELATION * RATIO
    tasks = ok.linear.Correlations(
        yx={"a_path": [[own + cross]], "b_path": [[1 + cross]]},
        xx={"a_path": {"a_path": [[own]], "b_path": [[cross]]}, "b_path": {"b_path": [[1.0]]}},
    )
    return problem(network, weights, tasks, 1e6)


def unimodal_times(fusion: int, starts: xr.DataArray) -> tuple[Any, Any]:
    """When a reaches half of what it would answer alone, and b half of its own."""
    run = ok.solve(fused(fusion, starts), t_eval=[0.0, 1e6])
    halves = {"a": (1 + CORRELATION / RATIO) / 2, "b": 0.5}
    first, second = (
        ok.measures.escape_time(run, half, of=f"map_{m}_path").squeeze(["output", m], drop=True)
        for m, half in halves.items()
    )
    return first, second


def unimodal() -> Figure:
    """How long one modality is learnt alone, by fusion depth and initial scale."""
    figure, axes = panels(2)
    depth, starts = 4, axis("start", np.geomspace(0.02, 0.2, 8))
    for fusion, colour in zip(range(1, depth + 1), COLOURS, strict=False):
        first, second = unimodal_times(fusion, starts)
        length = (second - first).where(second - first > 1e-2 * first)
        axes[0].plot(starts, length, "o-", ms=3, color=colour, label=str(fusion))
        axes[1].plot(starts, second / first, "o-", ms=3, color=colour, label=str(fusion))
        if fusion > 1:
            line = ok.linear.unimodal_ratio(RATIO, CORRELATION, depth, fusion, starts)
            axes[1].plot(starts, line + 0 * starts, "--", lw=0.8, color=colour)
    axes[0].set(xscale="log", yscale="log", ylabel="length of the unimodal phase")
    axes[1].set(xscale="log", ylabel="time of b over time of a")
    for ax in axes:
        ax.set_xlabel("initial weight $u_0$")
        ax.set_xticks([0.02, 0.05, 0.1, 0.2], ["0.02", "0.05", "0.1", "0.2"], minor=False)
        ax.set_xticks([], minor=True)
    axes[1].legend(
        title="layers before\nfusion (of 4)", frameon=False, fontsize=7, title_fontsize=7
    )
    return figure


def race() -> Figure:
    """A pathway that is open in every context against one for each context."""
    figure, axes = panels(2)
    similarity = np.linspace(0.0, 1.0, 21)
    for contexts, colour in zip((2, 4, 8), COLOURS, strict=False):
        names = ["shared", *(f"own{c}" for c in range(contexts))]
        network = ok.linear.pathways(names, input=1, hidden=1, output=contexts + 1)
        weights = {e: np.full(network.shape(e), 0.0) for e in network.edges}
        for name in names:
            weights[f"W1_{name}"][:] = 0.01
            weights[f"W2_{name}"][:] = 0.01 / np.sqrt(contexts + 1)
        shares, speed = [], []
        gates = {name: np.eye(contexts)[c] for c, name in enumerate(names[1:])}
        gates["shared"] = np.ones(contexts)
        for rho in similarity:
            # Targets of the contexts: unit vectors with overlaps rho.
            targets = np.concatenate(
                [np.full((contexts, 1), np.sqrt(rho)), np.sqrt(1 - rho) * np.eye(contexts)], axis=1
            )
            tasks = ok.linear.Correlations.from_contexts(
                network, [[1.0]], [target[:, None] for target in targets], gates
            )
            run = ok.solve(problem(network, weights, tasks, 200.0), t_eval=[0.0, 200.0])
            there = targets[0] @ run.map_shared.values[-1, :, 0]
            shares.append(there)
            rate = np.linalg.norm(targets.mean(axis=0)) * contexts
            speed.append(rate)
        label = f"{contexts} contexts"
        axes[0].plot(similarity, shares, color=colour, label=label)
        axes[1].plot(similarity, speed, color=colour, label=label)
    axes[0].set(xlabel="similarity of the contexts", ylabel="answer by the shared path")
    axes[1].set(xlabel="similarity of the contexts", ylabel="initial rate, shared over own")
    axes[1].axhline(1.0, color="0.6", lw=0.8)
    axes[0].legend(frameon=False, fontsize=7)
    return figure


def lazy() -> Figure:
    """How far the first layer moves on the way to the target, by its imbalance."""
    figure, axes = panels(2)
    gains = axis("imbalance", np.geomspace(0.1, 10.0, 25))
    for width, colour in zip((2, 4, 8), COLOURS, strict=False):
        network = ok.linear.deep([4, width, 2])
        weights = ok.linear.normal(network, 1 / np.sqrt(width), seed=2, imbalance=gains, draws=64)
        target = np.array([[2.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
        tasks = ok.linear.Correlations(yx=target, xx=np.eye(4))
        run = ok.solve(problem(network, weights, tasks, 100.0), t_eval=[0.0, 100.0])
        moved = ((run.W1[..., 1, :, :] - run.W1[..., 0, :, :]) ** 2).sum(["hidden", "input"]) ** 0.5
        size = (run.W1[..., 0, :, :] ** 2).sum(["hidden", "input"]) ** 0.5
        sizes = [(run[e][..., 0, :, :] ** 2).sum(network.edges[e]) for e in ("W1", "W2")]
        c = ((sizes[0] - sizes[1]) / width).mean("draw")
        axes[0].plot(c, moved.mean("draw"), color=colour, label=f"{width} units")
        axes[1].plot(c, (moved / size).mean("draw"), color=colour, label=f"{width} units")
    for ax in axes:
        ax.set_xscale("symlog", linthresh=0.1)
        ax.set_xticks([-100, -10, -1, 0, 1, 10, 100])
        ax.tick_params(axis="x", labelsize=7)
        ax.set_xlabel("$c$ = (|$W_1$|² − |$W_2$|²) / units")
    axes[0].set_ylabel("motion of the first layer")
    axes[1].set(ylabel="the same over its length", yscale="log")
    axes[0].legend(frameon=False, fontsize=7)
    return figure


STUDIES = {
    "imbalance": imbalance,
    "timing": timing,
    "unimodal": unimodal,
    "race": race,
    "lazy": lazy,
}


def main() -> None:
    """Draw one study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("-o", "--output", required=True)
    arguments = parser.parse_args()
    STUDIES[arguments.study]().savefig(arguments.output, dpi=200)


if __name__ == "__main__":
    main()
