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
SMALL, DRAWS = 0.1, 1000
OVER_TIME = (-10.0, -1.0, 0.0, 1.0, 10.0)


def target(shape: Any) -> np.ndarray:
    """diag(2, 1), as large as needed."""
    Y = np.zeros((shape[2], shape[0]))
    Y[0, 0], Y[1, 1] = 2.0, 1.0
    return Y


def weights(shape: Any, imbalance: float, draws: int = DRAWS) -> dict[str, xr.DataArray]:
    """λ-balanced draws: the smaller layer is normal, and the other what that leaves it."""
    network = ok.linear.deep(shape)
    return ok.linear.balanced(network, SMALL, seed=0, imbalance=imbalance, draws=draws, normal=True)


def closed(shape: Any, imbalance: float, times: Any, draws: int = DRAWS) -> xr.DataArray:
    """Distance of the tangent kernel from its start, from W₁ᵀW₁ ⊗ 1 + 1 ⊗ W₂W₂ᵀ in closed form."""
    W = weights(shape, imbalance, draws)
    Y = xr.DataArray(target(shape), dims=("output", "input"))
    found = ok.linear.balanced_map(xr.DataArray(times, dims="time"), W["W1"], W["W2"], Y)
    A = found.below.transpose("draw", "time", ...).values
    B = found.above.transpose("draw", "time", ...).values
    a, b = (np.trace(M, axis1=-2, axis2=-1) for M in (A, B))

    def product(one: Any, two: Any) -> Any:
        inner = [(M[:, one] * M[:, two]).sum((-2, -1)) for M in (A, B)]
        traces = a[:, one] * b[:, two] + b[:, one] * a[:, two]
        return B.shape[-1] * inner[0] + A.shape[-1] * inner[1] + traces

    first, every = slice(0, 1), slice(None)
    far = 1 - product(first, every) / np.sqrt(product(first, first) * product(every, every))
    return xr.DataArray(far, dims=("draw", "time"), coords={"time": times})


def flow(shape: Any, W: Any, Y: Any, times: Any) -> xr.Dataset:
    """The same by integration."""
    problem = ok.LinearProblem(
        network=ok.linear.deep(shape),
        weights=W,
        tasks=ok.linear.Correlations(yx=Y, xx=np.eye(shape[0])),
        phases=ok.Phase("main", times[-1], 1.0),
    )
    return ok.solve(problem, t_eval=times, rtol=1e-12, atol=1e-14)


def map_off(shape: Any, imbalance: float) -> float:
    """Largest deviation of the closed map from integration, of a random target."""
    W = ok.linear.balanced(ok.linear.deep(shape), SMALL, seed=0, imbalance=imbalance)
    Y, times = (
        np.random.default_rng(1).standard_normal((shape[2], shape[0])),
        np.linspace(0, 10, 41),
    )
    said = ok.linear.balanced_map(times, W["W1"], W["W2"], Y).map
    return float(abs(flow(shape, W, Y, times).map_main - said).max())


def distance_off(shape: Any, imbalance: float) -> float:
    """Largest deviation of the closed distance from `measures.kernel_distance` of runs."""
    times = np.linspace(0, 10, 41)
    run = flow(shape, weights(shape, imbalance, 5), target(shape), times)
    far = ok.measures.kernel_distance(run).isel(task=0)
    return float(abs(far - closed(shape, imbalance, times, 5)).max())


def lazy(full: bool) -> Any:
    """Distances from start to end over the imbalance, and over time; closed forms and runs."""
    imbalances = sorted({*FINE, *LISTED}) if full else LISTED
    ends = {}
    for shape in SHAPES:
        far = [closed(shape, lam, [0.0, np.inf])[:, -1] for lam in imbalances]
        ends[shape] = xr.concat(
            far, xr.DataArray(list(imbalances), dims="imbalance", name="imbalance")
        )
    times = np.concatenate([[0.0], np.geomspace(0.01, 30, 80)])
    return {
        "ends": ends,
        "time": {lam: closed((4, 2, 2), lam, times).mean("draw") for lam in OVER_TIME},
        "map": [map_off((4, 2, 3), 1.5), map_off((3, 3, 3), -2.0), map_off((4, 3, 4), 0.0)],
        "distance": [distance_off((4, 2, 2), lam) for lam in (-1.0, 0.0, 1.0)],
    }


def draw_lazy(figure: Any, found: Any) -> None:
    left, right = figure.subplots(1, 2)
    for (shape, far), colour in zip(found["ends"].items(), COLOURS, strict=True):
        low, high = (far.quantile(q, "draw") for q in (0.1, 0.9))
        left.fill_between(far.imbalance, low, high, color=colour, alpha=0.15, lw=0)
        label = "-".join(map(str, shape))
        left.plot(far.imbalance, far.mean("draw"), "o-", ms=2, color=colour, label=label)
    left.set_xscale("symlog", linthresh=0.1)
    left.set_xticks([-100, -10, -1, 0, 1, 10, 100])
    left.set(
        xlabel=r"$\lambda$ of $W_2^TW_2-W_1W_1^T=\lambda I$", ylabel="kernel distance, start to end"
    )
    left.legend(title="in-hidden-out", title_fontsize=7)
    shades = ("#08519c", "#6baed6", "#000000", "#fdae6b", "#a63603")
    for (lam, far), colour in zip(found["time"].items(), shades, strict=True):
        right.plot(far.time[1:], far[1:], color=colour, label=rf"$\lambda={lam:g}$")
    right.set(xscale="log", xlabel=r"time $\times\eta$", ylabel="kernel distance, 4-2-2")
    right.legend()


def lazy_numbers(found: Any) -> list[Row]:
    known = {
        (4, 4, 4): ".0000 .0003 .085 .383 .084 .0003 .0000",
        (4, 2, 2): ".498 .486 .366 .186 .042 .0002 .0000",
        (2, 2, 4): ".0000 .0002 .043 .211 .366 .486 .498",
    }
    rows = []
    for shape, reference in known.items():
        mean = found["ends"][shape].mean("draw").sel(imbalance=list(LISTED)).values
        what = f"distance of {'-'.join(map(str, shape))}, λ = −100, −10, −1, 0, 1, 10, 100"

        rows.append(Row(what, mean, reference, 0.03))
    zero = "0.000000000 0.000000000 0.000000000"
    return [
        *rows,
        Row(
            "closed map from runs, 4-2-3 at λ = 1.5, 3-3-3 at −2, 4-3-4 at 0",
            found["map"],
            zero,
            1e-9,
        ),
        Row(
            "closed distance from `kernel_distance` of runs, 4-2-2 at λ = −1, 0, 1",
            found["distance"],
            zero,
            1e-9,
        ),
    ]


FIGURES = {"lazy": Figure(lazy, draw_lazy, lazy_numbers)}
