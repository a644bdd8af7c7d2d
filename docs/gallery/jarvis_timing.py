"""Jarvis et al. 2025, Fig. 3d: specialisation as a matter of timing."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import Row, axis
from scipy.optimize import brentq

import odekit as ok

S, FIRST, ESCAPE, NEAR = 10.0, 1e-3, 5.0, 1.0
"""Strength of the modes, first layer a₀, level ε̂ of the escape and distance ε of the end."""
LISTED = (0.0, 1.0, 5.0, 20.0, 100.0)
ROWS = (400, 200)


def second(imbalance: Any) -> Any:
    """b₀ of a pathway."""
    return (FIRST**2 + imbalance) ** 0.5


def escape(imbalance: Any) -> Any:
    """t̂, when a pathway has learnt half of its mode."""
    return ok.linear.time_to(S, FIRST, second(imbalance), above=ESCAPE)


def hit(imbalance: Any) -> Any:
    """t*, when it is near its end."""
    return ok.linear.time_to(S, FIRST, second(imbalance), within=NEAR)


def integrated(rows: int) -> tuple[xr.DataArray, xr.DataArray]:
    """Both times from the rows of runs."""
    network = ok.linear.deep([1, 1, 1])
    imbalance = axis("imbalance", list(LISTED))
    b = second(imbalance).expand_dims(["output", "hidden"], axis=[-2, -1])
    problem = ok.LinearProblem(
        network=network,
        weights={"W1": [[FIRST]], "W2": b},
        tasks=ok.linear.Correlations(yx=[[S]], xx=[[1.0]]),
        phases=ok.Phase("main", duration=1.0, learning_rate=1.0),
    )
    run = ok.solve(problem, t_eval=np.concatenate([[0.0], np.geomspace(1e-3, 1.0, rows)]))
    curve = run.map_main.squeeze(["output", "input"], drop=True)
    return ok.measures.escape_time(curve, ESCAPE), ok.measures.hitting_time(curve, S, NEAR)


def race_end(one: Any, two: Any) -> Any:
    """What both pathways have learnt in the end where they share one mode."""
    pathways = axis("pathway", [1, 2])
    imbalance = xr.where(pathways == 1, one, two)
    return ok.linear.race(np.inf, S, FIRST + 0 * imbalance, second(imbalance))


def timing(full: bool) -> Any:
    """Times over the box of imbalances, and over the box of pathways that share a mode."""
    one, two = axis("one", np.linspace(0, 100, 201)), axis("two", np.linspace(0, 20, 101))
    grid = axis("one", np.linspace(0, 100, 101)), axis("two", np.linspace(0, 20, 101))
    first, last = hit(grid[0]) < escape(grid[1]), hit(grid[1]) < escape(grid[0])
    return {
        "ahead": hit(one) - escape(two),
        "behind": hit(two) - escape(one),
        "parts": [first.mean(), last.mean(), (~first & ~last).mean()],
        "share": race_end(one, two).sel(pathway=1) / S,
        "rows": {rows: integrated(rows) for rows in ROWS},
    }


def timing_border(one: float) -> float:
    """Λ₂ at which pathway 2 escapes as pathway 1 ends."""
    return float(brentq(lambda two: escape(two) - hit(one), 0.0, 1e3, xtol=1e-12))


def race_border(one: float) -> float:
    """Λ₂ at which the loser of a race keeps ε."""
    return float(brentq(lambda two: race_end(one, two)[0] - (S - NEAR), 0.0, one, xtol=1e-12))


def draw_timing(figure: Any, found: Any) -> None:
    left, right = figure.subplots(1, 2)
    ahead = found["ahead"].transpose("two", "one")
    x, y = ahead.one, ahead.two
    drawn = left.pcolormesh(x, y, ahead, cmap="RdBu", vmin=-0.4, vmax=0.4, rasterized=True)
    left.contour(x, y, ahead, levels=[0.0], colors="k", linewidths=1.2)
    behind = found["behind"].transpose("two", "one")
    left.contour(x, y, behind, levels=[0.0], colors="k", linewidths=1.2, linestyles="--")
    words = {"color": "k", "fontsize": 7, "ha": "center"}
    left.text(60, 4, "1 is done before 2 begins", **words)
    left.text(28, 16.5, "neither", **words)
    left.annotate("2 first", (2, 12), (13, 11), arrowprops={"arrowstyle": "-", "lw": 0.6}, **words)
    left.set(title="two modes, one for each pathway")
    figure.colorbar(drawn, ax=left, label=r"$t^*_1-\hat t_2$", extend="both")
    share = found["share"].transpose("two", "one")
    drawn = right.pcolormesh(x, y, share, cmap="PuOr", vmin=0, vmax=1, rasterized=True)
    right.contour(x, y, share, levels=[0.1, 0.9], colors="k", linewidths=1.2)
    right.text(60, 2.2, "2 keeps less than ε", **{**words, "color": "w"})
    right.set(title="one mode, for which they race")
    figure.colorbar(drawn, ax=right, label="part of the mode that pathway 1 learns")
    for ax in (left, right):
        ax.set(xlabel=r"imbalance of pathway 1, $\Lambda_1$")
        ax.set_ylabel(r"imbalance of pathway 2, $\Lambda_2$")


def timing_numbers(found: Any) -> list[Row]:
    listed = np.array(LISTED)
    tight = {"within": 1e-8, "relative": True}
    named = ", ".join(f"{x:g}" for x in LISTED)
    rows = [
        Row(f"t̂ at Λ = {named}", escape(listed), ".8059048 .1818979 .0951205 .0331082 .00690790",
            **tight),
        Row(f"t* at Λ = {named}", hit(listed), ".9157660 .2914811 .1986651 .0974489 .0228198",
            **tight),
        Row("Λ₂ at the border t*₁ = t̂₂, Λ₁ = 5, 10, 20, 40, 50",
            [timing_border(x) for x in (5.0, 10.0, 20.0, 40.0, 50.0)],
            ".7242 1.8368 4.7900 11.1843 14.3307", **tight),
        Row("Λ₁ where it leaves the box (Λ₂ = 20)",
            brentq(lambda one: hit(one) - escape(20.0), 1.0, 200.0), "68.28", within=0.02),
        Row("parts of the box: 1 first, 2 first, neither", found["parts"], ".637 .025 .338",
            within=0.005),
        Row("race: Λ₂ where 2 keeps ε, Λ₁ = 5, 10, 20, 50, 80, 100",
            [race_border(x) for x in (5.0, 10.0, 20.0, 50.0, 80.0, 100.0)],
            ".5545 1.1095 2.2193 5.5463 8.8708 11.0860", **tight,
            formula="slope 1/9"),
    ]  # fmt: skip
    for count, limit, zero in ((400, 2e-4, "0.0000 0.0000"), (200, 2e-3, "0.000 0.000")):
        times = found["rows"][count]
        off = [abs(t / f(listed) - 1).max() for t, f in zip(times, (escape, hit), strict=True)]
        what = f"largest relative error of t̂, t* from {count} rows of a run"
        rows.append(Row(what, off, zero, within=limit))
    return rows
