"""Zhang, Latham & Saxe 2024: unimodal bias."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row, axis

import odekit as ok

RATIOS = (3.0, 2.0, 1.5)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
SMALL = 1e-9
LONG = np.concatenate([[0.0], np.geomspace(1.0, 400.0, 2500)])


def learnt(
    ratio: Any,
    correlation: Any,
    small: Any,
    rows: Any,
    depth: int = 2,
    fusion: int = 2,
    balanced: bool = True,
    of_a: Any = 1.0,
) -> xr.Dataset:
    """Weights of two modalities of standard deviations r : 1, over time; the target is a A + B.

    From the balanced start: u₀ in the layers of a modality, √2 u₀ in shared ones.
    """
    network = ok.linear.multimodal({"A": 1, "B": 1}, 1, depth=depth, fusion=fusion, width=1)
    sizes = (
        ok.linear.path_scales(network, small) if balanced else dict.fromkeys(network.edges, small)
    )
    weights = {
        name: xr.DataArray(sizes[name]).expand_dims([end, begin], axis=[-2, -1])
        for name, (begin, end) in network.edges.items()
    }
    both = correlation * ratio

    def matrix(value: Any, dims: tuple[str, str]) -> Any:
        return xr.DataArray(value).expand_dims(list(dims), axis=[-2, -1])

    tasks = ok.linear.Correlations(
        yx={
            "A_path": matrix(of_a * ratio**2 + both, ("output", "A")),
            "B_path": matrix(of_a * both + 1.0, ("output", "B")),
        },
        xx={
            "A_path": {
                "A_path": matrix(ratio**2, ("A", "A_other")),
                "B_path": matrix(both, ("A", "B")),
            },
            "B_path": {"B_path": [[1.0]]},
        },
    )
    problem = ok.LinearProblem(network, weights, tasks, ok.Phase("main", rows[-1], 1.0, until=1e-8))
    run = ok.solve(problem, t_eval=rows)
    return xr.Dataset({m: run[f"map_{m}_path"].isel({"output": 0, m: 0}, drop=True) for m in "AB"})


def times(run: xr.Dataset, ratio: Any, correlation: Any) -> tuple[Any, Any]:
    """t_A and t_B, at which the weights pass half of what they reach first."""
    first = ok.measures.escape_time(run.A, (1 + correlation / ratio) / 2)
    return first, ok.measures.escape_time(run.B, 0.5)


def late(full: bool) -> Any:
    """Late fusion of two layers: ratio of times and misattribution over the correlation."""
    ratio = axis("ratio", list(RATIOS))
    correlation = axis("correlation", [-0.9, -0.675, -0.45, -0.225, 0.0, 0.225, 0.45, 0.675, 0.9])
    run = learnt(ratio, correlation, SMALL, LONG)
    t_A, t_B = times(run, ratio, correlation)
    between = run.A.interp(time=(t_A + t_B) / 2) - 1
    one = learnt(axis("ratio", [2.0]), 0.6, SMALL, np.linspace(0.0, 40.0, 801))
    part = axis("part", np.round(np.linspace(0.1, 1.0, 37), 3))
    pair = learnt(2.0, 0.0, SMALL, LONG, of_a=part)
    when = [ok.measures.escape_time(pair[m], level / 2) for m, level in (("A", part), ("B", 1.0))]
    return {
        "ratio": t_B / t_A,
        "off": between,
        "one": one.squeeze("ratio", drop=True),
        "preference": xr.Dataset({"times": when[1] / when[0], "size": 2.0 * part}),
    }


def draw_late(figure: Any, found: Any) -> None:
    left, middle, right = figure.subplots(1, 3)
    one = found["one"]
    left.plot(one.time, one.A, color=COLOURS[0], label="A")
    left.plot(one.time, one.B, color=COLOURS[1], label="B")
    left.axhline(1.3, color="0.6", lw=0.8, ls="--", label=r"$1+\rho/r$")
    left.set(title=r"$r=2$, $\rho=0.6$", xlabel=r"time $\times\eta$", ylabel="weight")
    left.legend(loc="lower right")
    fine = np.linspace(-0.9, 0.9, 181)
    for r, colour in zip(RATIOS, COLOURS, strict=False):
        points = found["ratio"].sel(ratio=r)
        middle.plot(fine, ok.linear.unimodal_ratio(r, fine), color=colour, lw=0.8)
        middle.plot(points.correlation, points, "o", ms=3, color=colour, label=f"$r={r:g}$")
        off = found["off"].sel(ratio=r)
        right.plot(fine, fine / r, color=colour, lw=0.8)
        right.plot(off.correlation, off, "o", ms=3, color=colour)
    middle.set(title="length of the unimodal phase", xlabel=r"correlation $\rho$", yscale="log")
    middle.set_ylabel("$t_B/t_A$")
    middle.set_yticks([2, 3, 5, 10, 20, 40], ["2", "3", "5", "10", "20", "40"])
    middle.set_yticks([], minor=True)
    middle.legend()
    right.set(title="misattribution", xlabel=r"correlation $\rho$", ylabel="$w_A-1$ midway")


def late_numbers(found: Any) -> list[Row]:
    listed = [-0.9, -0.45, 0.0, 0.45, 0.9]
    ratio, off = found["ratio"], found["off"]
    r, rho = off.ratio, off.correlation
    taken = ratio.sel(ratio=2.0, correlation=listed)
    times_even = found["preference"].times
    first = np.interp(0.0, np.log(times_even.values), times_even.part)
    return [
        Row(
            "t_B/t_A, r = 2, ρ = −.9, −.45, 0, .45, .9",
            taken,
            "17.017 4.789 4.000 4.736 16.594",
            1e-3,
            relative=True,
            formula=ok.linear.unimodal_ratio(2.0, np.array(listed)),
        ),
        Row(
            "largest deviation of w_A − 1 midway from ρ/r, r = 3, 2, 1.5",
            abs(off - rho / r).max("correlation"),
            "0.0000 0.0000 0.0000",
            1e-3,
            formula="ρ/r",
        ),
        Row("w_A/w_B above which A comes first, r = 2, ρ = 0", first, "0.25", 0.01, formula="1/r²"),
    ]


# ------------------------------------------------------------------- depth of the fusion
def deep_times(correlation: Any, small: Any, fusion: int, balanced: bool = True) -> xr.DataArray:
    """t_B/t_A of four layers, r = 2."""
    rows = np.concatenate([[0.0], np.geomspace(0.3, 3e4, 6000)])
    run = learnt(2.0, correlation, small, rows, depth=4, fusion=fusion, balanced=balanced)
    t_A, t_B = times(run, 2.0, correlation)
    return t_B / t_A


def depth(full: bool) -> Any:
    """Ratio of times over the initial weight, for every layer of fusion."""
    small = axis("small", [0.01, 0.0178, 0.03, 0.056, 0.1, 0.178])
    correlation = axis("correlation", [0.0, 0.3, 0.6])
    found = {fusion: deep_times(correlation, small, fusion) for fusion in (4, 3, 2, 1)}
    return {"ratio": found, "uneven": deep_times(correlation, axis("small", [0.1]), 3, False)}


def draw_depth(figure: Any, found: Any) -> None:
    axes = figure.subplots(1, 2, sharey=True)
    fine = np.geomspace(0.01, 0.178, 40)
    for ax, rho in zip(axes, (0.0, 0.6), strict=True):
        for (fusion, ratio), colour in zip(found["ratio"].items(), COLOURS, strict=True):
            one = ratio.sel(correlation=rho)
            ax.plot(one.small, one, "o", ms=3, color=colour, label=f"$L_f={fusion}$")
            line = ok.linear.unimodal_ratio(2.0, rho, depth=4, fusion=fusion, start=fine)
            ax.plot(fine, line, color=colour, lw=0.8)
        ax.set(title=rf"$\rho={rho:g}$", xscale="log", yscale="log", xlabel="initial weight $u_0$")
        ax.set_yticks([1, 1.5, 2, 3, 4, 6], ["1", "1.5", "2", "3", "4", "6"])
        ax.set_yticks([], minor=True)
    axes[0].set_ylabel("$t_B/t_A$, four layers, $r=2$")
    axes[1].legend(title="layers before fusion", title_fontsize=7, ncols=2)


def depth_numbers(found: Any) -> list[Row]:
    def at(rho: float, small: float, *fusions: int) -> tuple[list[float], list[float]]:
        seen = [float(found["ratio"][f].sel(correlation=rho, small=small)) for f in fusions]
        said = [float(ok.linear.unimodal_ratio(2.0, rho, 4, f, small)) for f in fusions]
        return seen, said

    rows = []
    for rho, small, fusions, known in (
        (0.0, 0.1, (4, 3, 2), "4.000 1.649 1.180"),
        (0.6, 0.1, (4, 3, 2), "5.693 1.968 1.250"),
        (0.0, 0.01, (3, 2), "1.0729 1.0039"),
        (0.0, 0.01, (1,), "1.000"),
    ):
        seen, said = at(rho, small, *fusions)
        name = ", ".join(map(str, fusions))
        what = f"t_B/t_A, ρ = {rho:g}, u₀ = {small:g}, L_f = {name}"
        rows.append(Row(what, seen, known, 1e-3, relative=True, formula=said))
    seen, said = at(0.3, 0.1, 3)
    uneven = float(found["uneven"].sel(correlation=0.3, small=0.1))
    return [
        *rows,
        Row("ρ = 0.3, u₀ = 0.1, L_f = 3", seen, "1.70", 5e-3, formula=said),
        Row("the same with all layers at u₀", uneven, "1.58", 5e-3, formula=said),
    ]


FIGURES = {
    "late": Figure(late, draw_late, late_numbers),
    "depth": Figure(depth, draw_depth, depth_numbers),
}
