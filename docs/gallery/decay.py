"""Weight decay of linear networks as a penalty on the rank: a figure of no paper."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row, axis

import odekit as ok

VALUES, KAPPAS, RATES = (2.25987, 1.69675, 0.42002), (0.9, 0.4), (0.5, 2.0)
COLOURS = ("#0072B2", "#E69F00", "#009E73")


def target() -> np.ndarray:
    """A random matrix 3 × 4 of given singular values."""
    U, _, Vt = np.linalg.svd(np.random.default_rng(0).standard_normal((3, 4)), full_matrices=False)
    return (U * VALUES) @ Vt


def two_layers(scale: Any) -> xr.Dataset:
    """Two layers with rates and decays of their own, from small random weights."""
    network = ok.linear.deep([4, 5, 3])
    phase = ok.Phase(
        "main",
        duration=400.0,
        learning_rate=dict(zip(network.edges, RATES, strict=True)),
        weight_decay={e: scale * k for e, k in zip(network.edges, KAPPAS, strict=True)},
    )
    problem = ok.LinearProblem(
        network=network,
        weights=ok.linear.normal(network, 0.1, seed=1),
        tasks=ok.linear.Correlations(yx=target(), xx=np.eye(4)),
        phases=phase,
    )
    rows = np.concatenate([[0.0], np.geomspace(0.05, 400.0, 120)])
    return ok.solve(problem, t_eval=rows, method="RK45")


def onset(kappa: xr.DataArray) -> xr.DataArray:
    """Three layers of one unit, from weights of 0.9 and 0.2."""
    begin = axis("start", [0.2, 0.9])
    network = ok.linear.deep([1, 1, 1, 1])
    problem = ok.LinearProblem(
        network=network,
        weights={
            e: begin.expand_dims([b, a], axis=[-2, -1]) for e, (a, b) in network.edges.items()
        },
        tasks=ok.linear.Correlations(yx=[[1.0]], xx=[[1.0]]),
        phases=ok.Phase("main", 2000.0, 1.0, weight_decay=kappa),
    )
    run = ok.solve(problem, t_eval=[0.0, 2000.0], method="RK45")
    return run.map_main.isel(time=-1, output=0, input=0, drop=True)


def rank(full: bool) -> Any:
    """Final singular values over the decay, and of three layers."""
    scale = axis("decay", np.linspace(0.0, 4.0, 21))
    ends = two_layers(scale).map_main.isel(time=-1, drop=True)
    kappa = axis(
        "kappa", [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.46, 0.48, 0.5, 0.55, 0.6]
    )
    one = two_layers(1.0)
    return {
        "values": (scale, np.linalg.svd(ends.transpose("decay", ...), compute_uv=False)),
        "curves": (one.time, np.linalg.svd(one.map_main, compute_uv=False)),
        "deep": onset(kappa).transpose("start", "kappa"),
    }


def draw_rank(figure: Any, found: Any) -> None:
    left, middle, right = figure.subplots(1, 3)
    time, curves = found["curves"]
    scale, ends = found["values"]
    strength = scale.values * np.sqrt(np.prod(KAPPAS))
    for k, colour in enumerate(COLOURS):
        left.plot(time, curves[:, k], color=colour)
        left.axhline(max(VALUES[k] - 0.6, 0), color=colour, lw=0.8, ls="--")
        middle.plot(strength, ends[:, k], "o", ms=3, color=colour)
        fine = np.linspace(0, strength[-1], 100)
        middle.plot(fine, np.maximum(VALUES[k] - fine, 0), color=colour, lw=0.8, ls="--")
    left.set(
        xscale="log",
        xlabel="time",
        ylabel="singular values of the map",
        title=r"two layers, $\sqrt{\kappa_1\kappa_2}=0.6$",
    )
    middle.set(
        xlabel=r"$\sqrt{\kappa_1\kappa_2}$", ylabel="singular values at the end", title="two layers"
    )
    deep = found["deep"]
    for start, colour in zip(deep.start.values, COLOURS, strict=False):
        right.plot(
            deep.kappa,
            deep.sel(start=start),
            "o",
            ms=3,
            color=colour,
            label=f"from {start:g}",
        )
    fine = np.linspace(0, 0.6, 400)
    right.plot(fine, ok.linear.decayed_strength(1.0, [fine] * 3), color="k", lw=0.8, ls="--")
    right.axvline(ok.linear.decay_onset(1.0, 3), color="0.6", lw=0.8)
    right.set(xlabel=r"decay $\kappa$", ylabel="strength at the end", title="three layers, $s=1$")
    right.legend(title="weights at first", title_fontsize=7, loc="center left")


def rank_numbers(found: Any) -> list[Row]:
    scale, ends = found["values"]
    at = int(np.argmin(abs(scale.values - 1.0)))
    deep = found["deep"].sel(kappa=0.2)
    return [
        Row(
            "singular values at the end, κ = .9, .4, η = .5, 2",
            ends[at],
            "1.65987 1.09675 0.00000",
            1e-8,
            formula=ok.linear.decayed_strength(np.array(VALUES), KAPPAS),
        ),
        Row(
            "largest deviation from (s − √κ₁κ₂)₊ over all decays",
            abs(ends - np.maximum(np.array(VALUES) - 0.6 * scale.values[:, None], 0)).max(),
            "0.00000000",
            1e-7,
        ),
        Row(
            "three layers, s = 1, κ = .2, from weights of .2, .9",
            deep,
            "0.000000 0.783009",
            1e-6,
            formula=ok.linear.decayed_strength(1.0, [0.2] * 3, start=np.array([0.2**3, 0.9**3])),
        ),
    ]


FIGURES = {"rank": Figure(rank, draw_rank, rank_numbers)}
