"""Kleinman et al. 2024: critical periods."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row

import odekit as ok

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")
SMALL = 0.01
"""K₀, what each pathway answers at time 0."""
DEFICIT = 1.5
STARTS = (0.0, 4.0, 7.5)
FINE = tuple(np.round(np.arange(0.0, 2.51, 0.125), 3))


def tree() -> np.ndarray:
    """Features of eight items: all, halves, quarters, items; shape (15, 8)."""
    return np.vstack([np.kron(np.eye(k), np.ones(8 // k)) for k in (1, 2, 4, 8)])


def course(network: ok.linear.Network, begin: float, end: float, gated: bool) -> list[ok.Phase]:
    """Three phases; in the second y's pathway is frozen but answers, or its gate is shut."""
    on, off = "main", "deficit" if gated else "main"
    still = {e: 0.0 if e.endswith("_y") else 1.0 for e in network.edges}
    phases = [
        ok.Phase(on, begin, 1.0) if begin > 0 else None,
        ok.Phase(off, DEFICIT, 1.0 if gated else still),
        ok.Phase(on, end - begin - DEFICIT, 1.0),
    ]
    return [phase for phase in phases if phase is not None]


def learn(
    target: Any, depth: int, begin: float, end: float, gated: bool = False, rows: int = 2
) -> xr.Dataset:
    """Both pathways from K₀ along the modes of the target."""
    Y = np.atleast_2d(target)
    outputs, inputs = Y.shape
    network = ok.linear.pathways(
        ["x", "y"], input=inputs, hidden=inputs, output=outputs, depth=depth
    )
    chain = ok.linear.deep([*[inputs] * depth, outputs])
    one = list(ok.linear.aligned(chain, Y, [SMALL ** (1 / depth)] * depth).values())
    weights = {f"W{i + 1}_{name}": W for name in "xy" for i, W in enumerate(one)}

    def seen(y: float) -> ok.linear.Correlations:
        X = np.eye(inputs)
        return ok.linear.Correlations(
            yx={"x": Y, "y": y * Y}, xx={"x": {"x": X, "y": y * X}, "y": {"y": y * X}}
        )

    tasks = {"main": seen(1.0), "deficit": seen(0.0)} if gated else seen(1.0)
    problem = ok.LinearProblem(network, weights, tasks, course(network, begin, end, gated))
    return ok.solve(problem, t_eval=np.linspace(0, end, rows))


def strengths(run: xr.Dataset, target: np.ndarray, mode: int) -> xr.DataArray:
    """What both pathways answer along a mode."""
    U, _, Vt = np.linalg.svd(target, full_matrices=False)
    maps = xr.concat([run[f"map_{name}"] for name in "xy"], dim="pathway")
    u, v = xr.DataArray(U[:, mode], dims="output"), xr.DataArray(Vt[mode], dims="input")
    return xr.dot(u, maps, v, dim=["output", "input"])


def deficits(full: bool) -> Any:
    """Networks of four layers on the whole tree, and single modes of two to four layers."""
    Y = tree()
    end = {begin: learn(Y, 4, begin, 10.0, rows=201) for begin in STARTS}
    gated = {begin: learn(Y, 4, begin, 10.0, gated=True) for begin in (4.0, 7.5)}
    share = {}
    for depth in (2, 3, 4):
        runs = [learn(7**0.5, depth, begin, 40.0) for begin in FINE]
        y = [float(r.map_y[-1, 0, 0] / (r.map_x + r.map_y)[-1, 0, 0]) for r in runs]
        share[depth] = xr.DataArray(y, dims="begin", coords={"begin": list(FINE)})
    return {
        "curves": {b: strengths(run, Y, 1) for b, run in end.items()},
        "last": {b: strengths(run, Y, 7)[:, -1] for b, run in end.items()},
        "gated": {b: strengths(run, Y, 1)[:, -1] for b, run in gated.items()},
        "share": share,
    }


def draw_deficits(figure: Any, found: Any) -> None:
    *axes, right = figure.subplots(1, 4)
    for ax, (begin, curve) in zip(axes, found["curves"].items(), strict=True):
        ax.axvspan(begin, begin + DEFICIT, color="0.88", lw=0)
        for name, colour, values in zip(
            "xy", COLOURS, curve.transpose("pathway", "time"), strict=False
        ):
            style = "-" if name == "x" else "--"
            ax.plot(curve.time, values, style, color=colour, label=name)
        ax.set(title=f"deficit from {begin:g}", xlabel="time", ylim=(0, 2.8))
    axes[0].set_ylabel(r"strength of the mode $s=\sqrt{7}$")
    axes[0].legend(title="pathway", title_fontsize=7)
    for (depth, share), colour in zip(found["share"].items(), COLOURS, strict=False):
        right.plot(share.begin, share, "o-", ms=2, color=colour, label=f"{depth} layers")
    right.set(xlabel="begin of the deficit", title=r"final share of $y$", ylim=(0, 0.52))
    right.legend(loc="upper left", fontsize=6)


def deficits_numbers(found: Any) -> list[Row]:
    rows = []
    known = (
        ("2.6315 .0142", ".9363 .0637"),
        ("1.3229 1.3229", ".8441 .1559"),
        ("1.3229 1.3229", ".5002 .4998"),
    )
    for begin, both in zip(STARTS, known, strict=True):
        ends = found["curves"][begin][:, -1], found["last"][begin]
        for s, seen, reference in zip(("√7", "1"), ends, both, strict=True):
            rows.append(
                Row(f"x and y at t = 10, s = {s}, deficit from {begin:g}", seen, reference, 1e-4)
            )
    listed = [0.0, 0.5, 1.0, 1.5, 2.0]
    shares = (
        ".0041 .0489 .3021 .4780 .4984",
        ".0044 .0102 .0426 .2896 .4943",
        ".0054 .0070 .0165 .0697 .4494",
    )
    for (depth, share), reference in zip(found["share"].items(), shares, strict=True):
        rows.append(
            Row(
                f"final share of y, {depth} layers, deficit from 0, .5, 1, 1.5, 2",
                share.sel(begin=listed),
                reference,
                1e-4,
            )
        )
    return [
        *rows,
        *(
            Row(
                f"y's gate shut instead: x and y at s = √7, from {begin:g}",
                seen,
                "1.6913 .9544",
                1e-4,
            )
            for begin, seen in found["gated"].items()
        ),
    ]


FIGURES = {"deficits": Figure(deficits, draw_deficits, deficits_numbers, (7.4, 2.3))}
