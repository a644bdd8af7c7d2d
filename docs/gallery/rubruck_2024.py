"""Rubruck et al. 2024: the optimal constant solution."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row

import odekit as ok

ITEMS, UNITS, SMALL, END = 8, 16, 1e-3, 40.0
DRAWS, FEW = 24, 8
TIMES = np.linspace(0, END, 401)
BIASES = {"hidden": "hidden", "none": False, "both": True}
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def targets() -> np.ndarray:
    """A tree without its root: 14 features of 8 items."""
    return ok.linear.hierarchy(3, root=False)


def learn(bias: Any, weights: Any, rows: Any = TIMES) -> xr.Dataset:
    """A network on one-hot items."""
    Y = targets()
    network = ok.linear.deep([ITEMS, UNITS, len(Y)], bias=bias)
    problem = ok.LinearProblem(
        network=network,
        weights=weights(network),
        tasks=ok.linear.Correlations.from_samples(
            network, {"input": np.eye(ITEMS)}, {"output": Y.T}
        ),
        phases=ok.Phase("main", END, 1.0),
    )
    return ok.solve(problem, t_eval=rows)


def random(network: ok.linear.Network, draws: int) -> dict[str, Any]:
    """Small normal weights, biases 0."""
    drawn = ok.linear.normal(network, SMALL, seed=0, draws=draws)
    return {name: W * (0.0 if name.startswith("b") else 1.0) for name, W in drawn.items()}


def aligned(network: ok.linear.Network) -> dict[str, Any]:
    """Every mode at u₀ in units of its own; an output bias, if any, at 0."""
    Y = targets()
    mean = Y.mean(1)
    U, _, Vt = np.linalg.svd(Y - mean[:, None])
    left = np.column_stack([mean / np.linalg.norm(mean), U[:, : ITEMS - 1]])
    # The constant has a part in all items, and one in the bias.
    constant = np.array([*np.full(ITEMS, 1 / ITEMS), 1.0]) / np.sqrt(1 + 1 / ITEMS)
    right = np.vstack([constant, np.column_stack([Vt[: ITEMS - 1], np.zeros(ITEMS - 1)])])
    root = np.sqrt(SMALL)
    first, last = np.zeros((UNITS, ITEMS + 1)), np.zeros((len(Y), UNITS))
    first[:ITEMS], last[:, :ITEMS] = root * right, root * left
    given = {
        "W1": first[:, :ITEMS],
        "b1": first[:, ITEMS:],
        "W2": last,
        "b2": np.zeros((len(Y), 1)),
    }
    return {name: given[name] for name in network.edges}


def parts(run: xr.Dataset) -> xr.Dataset:
    """Distance of the mean answer from ȳ, length of the answers around it, both relative; loss."""
    Y = targets()
    mean = xr.DataArray(Y.mean(1), dims="output")
    answer = run.map_main.rename(input="item")
    for name in ("map_bias1", "map_bias2"):
        if name in run:
            answer = answer + run[name].isel(one=0, drop=True)
    own = answer.mean("item")
    length = float(((Y - Y.mean(1)[:, None]) ** 2).sum() ** 0.5)
    return xr.Dataset(
        {
            "constant": ((own - mean) ** 2).sum("output") ** 0.5 / float((mean**2).sum() ** 0.5),
            "items": ((answer - own) ** 2).sum(["output", "item"]) ** 0.5 / length,
            "loss": run.generalization_error.isel(task=0, drop=True),
        }
    )


def modes() -> tuple[Any, Any, Any]:
    """s and d of the modes of a network with a hidden bias, and what has been learnt of each.

    They start at nσ²/2, what a random start of n units has on average along a growing direction.
    """
    s, d = ok.linear.bias_modes(targets())
    u = ok.linear.balanced_mode(TIMES[:, None], s, d * UNITS * SMALL**2 / 2) / d
    return s, d, u


def constant(full: bool) -> Any:
    """Random draws with the biases of three networks, and the aligned start."""
    drawn = partial(random, draws=DRAWS if full else FEW)
    found = {name: parts(learn(bias, drawn)) for name, bias in BIASES.items()}
    return {**found, "aligned": learn("hidden", aligned), "two": learn(True, aligned, [0.0, END])}


def draw_constant(figure: Any, found: Any) -> None:
    axes = figure.subplots(1, 3)
    s, d, u = modes()
    titles = ("hidden bias", "no bias", "hidden and output bias")
    for ax, name, title in zip(axes, BIASES, titles, strict=True):
        one = found[name]
        for i in range(DRAWS):
            label = ("mean answer less $\\bar y$", "answers around their mean", "loss / 1.5")
            for curve, colour, scale, word in zip(
                ("constant", "items", "loss"),
                ("#0072B2", "#E69F00", "k"),
                (1, 1, 1.5),
                label,
                strict=True,
            ):
                ax.plot(
                    TIMES,
                    one[curve].isel(draw=i) / scale,
                    color=colour,
                    lw=0.6,
                    label=word if i == 0 else None,
                )
        ax.axhline(1.0625 / 1.5, color="0.6", lw=0.8, ls="--")
        ax.set(title=title, xlabel=r"time $\times\eta$", xlim=(0, 40), ylim=(0, 1.05))
    shared = s / d  # what each mode ends at
    axes[0].plot(TIMES, 1 - u[:, 0] / shared[0], color="#56B4E9", ls="--", lw=1.5)
    contrast = np.sqrt((u[:, 1:] ** 2).sum(1) / (shared[1:] ** 2).sum())
    axes[0].plot(TIMES, contrast, color="#D55E00", ls="--", lw=1.5, label="modes")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)


def half(curve: xr.DataArray, level: float = 0.5) -> xr.DataArray:
    """When a curve passes a level."""
    return ok.measures.escape_time(curve, level)


def constant_numbers(found: Any) -> list[Row]:
    s, d, _ = modes()
    run = found["aligned"]
    own = aligned_modes(run, s, d)
    loss = np.interp([0.0, 5.0, 10.0, 20.0, 40.0], TIMES, run.generalization_error[:, 0])
    at = {name: half(-found[name].constant, -0.5) for name in BIASES}
    items = {name: half(found[name]["items"]) for name in BIASES}
    most = {
        name: [
            float(one["items"].isel(draw=i).interp(time=half(-one.constant.isel(draw=i), -0.1)))
            for i in range(one.sizes["draw"])
        ]
        for name, one in found.items()
        if name in BIASES
    }
    two = found["two"]
    share = np.linalg.norm(two.b2[-1, :, 0]) / np.linalg.norm(targets().mean(1))
    said = ok.linear.output_bias(np.linalg.norm(targets().mean(1)), ITEMS, SMALL) / np.linalg.norm(
        targets().mean(1)
    )
    closed = ok.linear.time_to(s, np.sqrt(d * SMALL), np.sqrt(d * SMALL), above=s / 2)
    return [
        Row(
            "s of the constant and of the contrasts",
            np.unique(s.round(9))[::-1],
            ".992157 .330719 .216506 .125000",
            1e-6,
        ),
        Row("their d", [d[0], d[1]], "1.125 .125", 1e-12),
        Row(
            "half-times, aligned start",
            own,
            "3.417 11.914 17.220 27.627",
            1e-3,
            formula=np.array([closed[0], closed[1], closed[2], closed[-1]]),
        ),
        Row(
            "loss at t = 0, 5, 10, 20, 40, aligned start",
            loss,
            "1.49775 1.04887 .85436 .20950 .00047",
            1e-4,
        ),
        Row(
            "random, hidden bias: constant at half, mean of the draws",
            at["hidden"].mean(),
            "6.2",
            0.2,
        ),
        Row("items at half", items["hidden"].mean(), "21.5", 0.6),
        Row(
            "items when the constant is at 90 % (reference: at most)",
            np.mean(most["hidden"]),
            ".003",
            3e-3,
        ),
        Row(
            "without bias: constant at half (reference: 18.8 to 20.3)",
            at["none"].mean(),
            "19.55",
            0.75,
        ),
        Row("items at half (21 to 22)", items["none"].mean(), "21.5", 0.5),
        Row("items when the constant is at 90 % (.57 to .62)", np.mean(most["none"]), ".60", 0.03),
        Row("with an output bias too: constant at half", at["both"].mean(), ".7", 0.05),
        Row("its part of the constant, u₀ = 10⁻³", share, ".992", 5e-4, formula=said),
    ]


def aligned_modes(run: xr.Dataset, s: Any, d: Any) -> list[float]:
    """Half-times of the modes of the aligned start, of every kind once."""
    Y = targets()
    mean = Y.mean(1)
    U, _, Vt = np.linalg.svd(Y - mean[:, None])
    seen = run.map_main.transpose("time", "output", "input").values
    bias = run.map_bias1.transpose("time", "output", "one").values[..., 0]
    whole = np.concatenate([seen, bias[..., None]], axis=-1)
    constant = np.array([*np.full(ITEMS, 1 / ITEMS), 1.0]) / np.sqrt(1 + 1 / ITEMS)
    rows = [whole @ constant @ (mean / np.linalg.norm(mean))]
    rows += [seen @ Vt[k] @ U[:, k] for k in (0, 1, 6)]
    ends = [s[0] / d[0], s[1] / d[1], s[2] / d[2], s[-1] / d[-1]]
    return [
        float(half(xr.DataArray(y, dims="time", coords={"time": TIMES}), end / 2))
        for y, end in zip(rows, ends, strict=True)
    ]


FIGURES = {"constant": Figure(constant, draw_constant, constant_numbers, sampled=True)}
