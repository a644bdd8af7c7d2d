"""Saxe, Sodhani & Lewallen 2022: the neural race, routing networks."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row

import odekit as ok

DOMAINS, OFFSETS, HIDDEN = 7, (-1, 0, 1, 2), 64
RATE, STEPS = 0.02 / 14, 500.0
GAIN, FITTED = 0.2, 0.08
Y = np.vstack([[6, 6, 6, 6], [4, 4, 0, 0], [0, 0, 4, 4], 3 * np.eye(4)])
VALUES = np.linalg.svd(Y, compute_uv=False)
SEEN = (("74.5", 4.0), ("146.0", 11.0), ("297.0", 14.0), ("320", 20.0))
"""Half-times of ten other draws; allowed: two standard errors of a difference of such medians."""
GAINS = (0.2, 0.66, 1.12, 1.58, 2.04)
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7")


def network() -> ok.linear.Network:
    """Seven inputs of four units, seven outputs of seven, each input with four of them."""
    return ok.linear.routing(DOMAINS, OFFSETS, input=4, hidden=HIDDEN, output=7)


def learn(
    weights: Any, rows: Any, rate: float = RATE, duration: float = STEPS, **options: float
) -> xr.Dataset:
    """Gradient flow on all pairs that are trained."""
    net = network()
    problem = ok.LinearProblem(
        network=net,
        weights=weights,
        tasks=ok.linear.Correlations.one_at_a_time(net, yx=Y, xx=np.eye(4)),
        phases=ok.Phase("main", duration, rate),
    )
    return ok.solve(problem, t_eval=rows, **options)


def decoupled(small: float) -> dict[str, np.ndarray]:
    """Every edge at b₀ along the modes."""
    U, _, Vt = np.linalg.svd(Y, full_matrices=False)
    A, B, C = np.zeros((HIDDEN, 4)), np.zeros((HIDDEN, HIDDEN)), np.zeros((7, HIDDEN))
    A[:4], B[:4, :4], C[:, :4] = small * Vt, small * np.eye(4), small * U
    kinds = {"A": A, "B": B, "C": C}
    return {name: kinds[name[0]] for name in network().edges}


def modes(times: Any, small: float) -> tuple[Any, Any]:
    """Outer and shared weights of all four modes."""
    return ok.linear.routing_mode(
        np.asarray(times)[..., None], VALUES, small, inputs=DOMAINS, outputs=len(OFFSETS)
    )


def drawn(gain: float, seed: int) -> dict[str, Any]:
    """Random orthogonal weights."""
    return ok.linear.orthogonal(network(), gain, seed=seed)


def untrained(run: xr.Dataset) -> float:
    """Relative error of the answers at the end for pairs that were not trained."""
    net, end = network(), run.isel(time=-1)
    pairs = [
        (i, j) for i in range(DOMAINS) for j in range(DOMAINS) if f"p_{i}_{j}" not in net.paths
    ]
    maps = [end[f"C_{j}"].values @ end.B.values @ end[f"A_{i}"].values for i, j in pairs]
    return float(np.mean([np.linalg.norm(M - Y) / np.linalg.norm(Y) for M in maps]))


def values(run: xr.Dataset) -> dict[str, np.ndarray]:
    """Largest singular values of three edges over time."""
    return {e: np.linalg.svd(run[e].values, compute_uv=False)[:, :4] for e in ("B", "A_0", "C_0")}


def half_times(times: Any, curves: Any) -> np.ndarray:
    """When each value passes half of its end."""
    first = [np.argmax(y > y[-1] / 2) for y in curves.T]
    return np.array(
        [
            np.interp(y[-1] / 2, y[i - 1 : i + 1], times[i - 1 : i + 1])
            for i, y in zip(first, curves.T, strict=True)
        ]
    )


def routing(full: bool) -> Any:
    """Several draws, the decoupled start, and what untrained pairs answer over the gain."""
    rows = np.linspace(0, STEPS, 251)
    runs = [learn(drawn(GAIN, seed), rows) for seed in range(10 if full else 3)]
    loss = [2 / 28 * run.generalization_error.isel(task=0) for run in runs]
    short = [0.0, 0.05, 0.1]
    exact = learn(decoupled(0.2), short, 1.0, 0.1, rtol=1e-11, atol=1e-13)
    a, b = modes(short, 0.2)
    seen = {e: abs(v - (b if e == "B" else a)).max() for e, v in values(exact).items()}
    gains = GAINS if full else GAINS[:2]
    wide = {g: learn(drawn(g, 0), [0.0, STEPS]) for g in gains}
    return {
        "values": values(runs[0]),
        "loss": xr.concat(loss, dim="draw"),
        "half": np.median([half_times(rows, values(run)["B"]) for run in runs], axis=0),
        "off": seen,
        "untrained": {g: untrained(run) for g, run in wide.items()},
        "left": {g: 2 / 28 * float(run.generalization_error[-1, 0]) for g, run in wide.items()},
    }


def draw_routing(figure: Any, found: Any) -> None:
    axes = figure.subplots(1, 4)
    loss = found["loss"]
    for one in loss:
        axes[0].plot(loss.time, one, color="0.6", lw=0.6)
    axes[0].plot(loss.time, loss[0], color="k", label="network")
    a, b = modes(loss.time * RATE, FITTED)
    axes[0].plot(
        loss.time, ((VALUES - a * a * b) ** 2).sum(-1), "--", color="#D55E00", label="modes"
    )
    axes[0].legend()
    axes[0].set(title="loss", xlabel="steps")
    for ax, e, title, curves in zip(
        axes[1:3], ("B", "A_0"), ("shared $B$", "outer $A_0$"), (b, a), strict=True
    ):
        for k, colour in enumerate(COLOURS):
            ax.plot(loss.time, found["values"][e][:, k], color=colour, lw=1)
            ax.plot(loss.time, curves[:, k], "--", color=colour, lw=0.8)
        ax.set(title=f"singular values of {title}", xlabel="steps")
    error = found["untrained"]
    axes[3].plot(list(error), list(error.values()), "o-", ms=3, color="#0072B2")
    axes[3].set(title="error of 21 untrained pairs", xlabel="initial gain", yscale="log")


def routing_numbers(found: Any) -> list[Row]:
    a, b = modes(np.inf, 0.2)
    times = np.linspace(0, 500, 5001)
    said = half_times(times, modes(np.append(times, np.inf) * RATE, FITTED)[1][:-1])
    loss = found["loss"].sel(time=[0.0, 50.0, 200.0, 500.0]).median("draw")
    half = found["half"]
    rows = [
        *(
            Row(
                f"half-time of B's value {k + 1}, steps, median of the draws",
                half[k],
                known,
                allowed,
                formula=said[k : k + 1],
            )
            for k, (known, allowed) in enumerate(SEEN)
        ),
        Row("half-times of the modes from b₀ = .08", said, "72.4 150.7 312.9 312.9", 0.1),
        Row("loss at 0, 50, 200 steps", loss[:3], "244.0 243.5 17.9", 1.0),
        Row("loss at 500 steps", loss[3], "2e-4", 2e-4),
        Row("ends of B from b₀ = .2", b, "4.549 3.530 2.730 2.730", 1e-3),
        Row("ends of A from b₀ = .2", a[:3], "1.729 1.347 1.048", 1e-3),
        Row(
            "largest deviation of runs from the modes, B, A, C, decoupled start, η t = .05, .1",
            [found["off"][e] for e in ("B", "A_0", "C_0")],
            "0.00000000 0.00000000 0.00000000",
            1e-8,
        ),
    ]
    known = dict(zip(GAINS, (".003", ".049", ".176", ".378", ".639"), strict=True))
    for gain, error in found["untrained"].items():
        what = (
            f"relative error of untrained pairs at gain {gain:g} (loss {found['left'][gain]:.1g})"
        )
        rows.append(Row(what, error, known[gain], 0.2, relative=True))
    return rows


FIGURES = {"routing": Figure(routing, draw_routing, routing_numbers, (7.4, 2.2), sampled=True)}
