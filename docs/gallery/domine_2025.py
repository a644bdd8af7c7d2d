"""Dominé et al. 2025: from lazy to rich."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row

import odekit as ok

SHAPES = ((4, 4, 4), (4, 2, 2), (2, 2, 4))
COLOURS = ("#0072B2", "#E69F00", "#009E73")
LISTED = (-100.0, -10.0, -1.0, 0.0, 1.0, 10.0, 100.0)
FINE = tuple(np.concatenate([-np.geomspace(100, 0.01, 17), [0.0], np.geomspace(0.01, 100, 17)]))
SMALL, DRAWS = 0.1, 20


def target(shape: Any) -> np.ndarray:
    """diag(2, 1), as large as needed."""
    Y = np.zeros((shape[2], shape[0]))
    Y[0, 0], Y[1, 1] = 2.0, 1.0
    return Y


def weights(shape: Any, imbalance: float) -> Any:
    """Balanced draws."""
    return ok.linear.balanced(ok.linear.deep(shape), SMALL, seed=0, imbalance=imbalance, draws=DRAWS)


def distance(found: Any) -> xr.DataArray:
    """Of the kernels at the first and the last time, from W₁ᵀW₁ and W₂W₂ᵀ."""
    A = found.below.transpose(..., "input", "input_other")
    B = found.above.transpose(..., "output", "output_other")

    def product(i: int, j: int) -> xr.DataArray:
        traces = [(np.trace(M.isel(time=k).values, axis1=-2, axis2=-1)) for M in (A, B) for k in (i, j)]
        of_a = (A.isel(time=i) * A.isel(time=j)).sum(["input", "input_other"])
        of_b = (B.isel(time=i) * B.isel(time=j)).sum(["output", "output_other"])
        one, other = A.sizes["input"], B.sizes["output"]
        return other * of_a + one * of_b + traces[0] * traces[3] + traces[1] * traces[2]

    return 1 - product(0, 1) / (product(0, 0) * product(1, 1)) ** 0.5


def ends(shape: Any, imbalances: Any) -> xr.DataArray:
    """Distance from the start to the end over the imbalance."""
    times = xr.DataArray([0.0, np.inf], dims="time")
    Y = xr.DataArray(target(shape), dims=("output", "input"))
    far = []
    for lam in imbalances:
        W = weights(shape, lam)
        far.append(distance(ok.linear.balanced_map(times, W["W1"], W["W2"], Y)))
    return xr.concat(far, xr.DataArray(list(imbalances), dims="imbalance", name="imbalance"))


def integrated(shape: Any, imbalance: float) -> float:
    """Largest deviation of the closed map from integration."""
    network = ok.linear.deep(shape)
    W = ok.linear.balanced(network, SMALL, seed=0, imbalance=imbalance)
    Y = np.random.default_rng(1).standard_normal((shape[2], shape[0]))
    times = np.linspace(0.0, 10.0, 41)
    problem = ok.LinearProblem(network, W, ok.linear.Correlations(yx=Y, xx=np.eye(shape[0])), ok.Phase("main", 10.0, 1.0))
    run = ok.solve(problem, t_eval=times, rtol=1e-12, atol=1e-14)
    return float(abs(run.map_main - ok.linear.balanced_map(times, W["W1"], W["W2"], Y).map).max())


def lazy(full: bool) -> Any:
    """Distances for three shapes, over time for one draw each, and the closed map against integration."""
    times = xr.DataArray(np.concatenate([[0.0], np.geomspace(1e-3, 30, 120)]), dims="time")
    return {
        "ends": {shape: ends(shape, FINE if full else LISTED) for shape in SHAPES},
        "off": [integrated((4, 2, 3), 1.5), integrated((3, 3, 3), -2.0), integrated((4, 3, 4), 0.0)],
        "times": times,
    }


def draw_lazy(figure: Any, found: Any) -> None:
    ax, right = figure.subplots(1, 2)
    for (shape, far), colour in zip(found["ends"].items(), COLOURS, strict=True):
        mean = far.mean("draw").sortby("imbalance")
        low, high = (far.quantile(q, "draw").sortby("imbalance") for q in (0.1, 0.9))
        ax.fill_between(mean.imbalance, low, high, color=colour, alpha=0.2, lw=0)
        ax.plot(mean.imbalance, mean, "o-", ms=2.5, color=colour, label="-".join(map(str, shape)))
    ax.set_xscale("symlog", linthresh=0.1)
    ax.set(xlabel=r"imbalance $\lambda$ of $W_2^TW_2-W_1W_1^T=\lambda I$", ylabel="kernel distance, start to end")
    ax.legend(title="in-hidden-out", title_fontsize=7)
    right.axis("off")


def lazy_numbers(found: Any) -> list[Row]:
    known = {
        (4, 4, 4): ".0000 .0003 .085 .383 .084 .0003 .0000",
        (4, 2, 2): ".498 .486 .366 .186 .042 .0002 .0000",
        (2, 2, 4): ".0000 .0002 .043 .211 .366 .486 .498",
    }
    rows = [
        Row(f"distance of {'-'.join(map(str, shape))}, λ = −100, −10, −1, 0, 1, 10, 100", found["ends"][shape].mean("draw").sel(imbalance=list(LISTED)), reference, 0.03)
        for shape, reference in known.items()
    ]
    off = Row("closed map against integration, 4-2-3 at λ = 1.5, 3-3-3 at −2, 4-3-4 at 0", found["off"], "0.000000000 0.000000000 0.000000000", 1e-9)
    return [*rows, off]


FIGURES = {"lazy": Figure(lazy, draw_lazy, lazy_numbers)}
