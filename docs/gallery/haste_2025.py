"""Jarvis, Klein, Rosman & Saxe 2025: make haste slowly."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import xarray as xr
from entry import Figure, Row

import odekit as ok

RATE, STEPS, SIGMA = 1e-3, 9000, 1e-5
"""Of the gradient of the loss summed over samples, and the standard deviation of all weights."""
LEVELS = (72.0, 48.0, 32.0, 24.0, 18.0, 12.0, 8.0, 5.0, 3.0, 1.0, 0.3, 0.1)
GATED = "0.417 1.032 1.621 2.085 2.626 2.899 3.434 4.070 5.508 6.693 7.321 7.764"
"""Thousands of steps to them of the reference's gated network."""
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


def data(contexts: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Items of a tree, seen in several contexts: inputs, targets and contexts of the samples."""
    return ok.linear.in_contexts(ok.linear.hierarchy(), contexts)


def relu(
    sigma: float, seed: int, contexts: int = 3, steps: int = STEPS, units: int = 200
) -> xr.Dataset:
    """A ReLU network of one hidden layer, by full-batch descent."""
    X, Y, _ = data(contexts)
    problem = ok.DataProblem(
        weights=ok.data.normal([X.shape[1], units, Y.shape[1]], sigma, seed=seed),
        tasks=ok.data.Samples(X, Y),
        phases=ok.Phase("main", steps, len(X) * RATE),
        keep=[],
    )
    return ok.descend(problem, t_eval=np.arange(0, steps + 1, 10))


def gated(
    subsets: Any, sigma: float, seed: int, contexts: int = 3, steps: int = STEPS, units: int = 50
) -> xr.Dataset:
    """A linear network with a pathway for each subset of contexts, open in these.

    Where it is open in all, its input is items and contexts, otherwise items alone.
    """
    X, Y, context = data(contexts)
    items = X[:, : X.shape[1] - contexts]
    names = {s: "c" + "".join(map(str, s)) for s in subsets}
    nodes, edges, paths = {"x": X.shape[1], "o": items.shape[1], "y": Y.shape[1]}, {}, {}
    for s, name in names.items():
        nodes[f"h_{name}"] = units
        edges[f"W1_{name}"] = ("x" if len(s) == contexts else "o", f"h_{name}")
        edges[f"W2_{name}"] = (f"h_{name}", "y")
        paths[name] = (f"W1_{name}", f"W2_{name}")
    used = {node for ends in edges.values() for node in ends}
    network = ok.linear.Network({n: size for n, size in nodes.items() if n in used}, edges, paths)
    inputs = {n: v for n, v in {"x": X, "o": items}.items() if n in used}
    gates = {name: np.isin(context, s).astype(float) for s, name in names.items()}
    problem = ok.LinearProblem(
        network=network,
        weights=ok.linear.normal(network, sigma, seed=seed),
        tasks=ok.linear.Correlations.from_samples(network, inputs, {"y": Y}, gates),
        phases=ok.Phase("main", steps, len(X) * RATE),
    )
    return ok.descend(problem, t_eval=np.arange(0, steps + 1, 10))


def all_but_one(contexts: int) -> list[tuple[int, ...]]:
    """The pathways that the race finds: one open always, and one for all contexts but one."""
    every = tuple(range(contexts))
    return [every, *combinations(every, contexts - 1)]


def subsets(contexts: int) -> list[tuple[int, ...]]:
    """All of them, but for the empty one."""
    every = range(contexts)
    return [s for k in range(1, contexts + 1) for s in combinations(every, k)]


def loss(run: xr.Dataset, contexts: int = 3) -> xr.DataArray:
    """Summed over the samples."""
    return 8 * contexts * run.generalization_error.isel(task=0, drop=True)


def passed(curve: xr.DataArray) -> np.ndarray:
    """Thousands of steps to each level."""
    return np.array([float(ok.measures.escape_time(-curve, -level)) for level in LEVELS]) / 1000


def shares(run: xr.Dataset) -> dict[int, list[float]]:
    """Part of |map|² of each pathway at the end, by the number of contexts in which it is open."""
    size = {n[5:]: float((run[n][-1] ** 2).sum()) for n in run.data_vars if n.startswith("map_c")}
    total = sum(size.values())
    found: dict[int, list[float]] = {}
    for name, value in size.items():
        found.setdefault(len(name), []).append(value / total)
    return found


def answering(runs: list[xr.Dataset], contexts: int) -> dict[int, float]:
    """Part of a ReLU network's answer by the number of contexts in which its units answer."""
    every = [ok.measures.context_share(run, data(contexts)[2]) for run in runs]
    mean = sum(share.groupby("subset_size").sum() for share in every) / len(every)
    return {int(k): float(mean.sel(subset_size=k)) for k in mean.subset_size}


def race(full: bool) -> Any:
    """Losses of ReLU and gated networks, all subsets; in full also rivals and other scales."""
    network = [relu(SIGMA, seed) for seed in range(4)]
    best = [gated(all_but_one(3), SIGMA, seed) for seed in range(4)]
    found: dict[str, Any] = {
        "relu": xr.concat([loss(run) for run in network], "draw"),
        "gated": xr.concat([loss(run) for run in best], "draw"),
        "answering": {3: answering(network, 3)},
        "shares": {3: shares(gated(subsets(3), SIGMA, 0, units=30))},
    }
    if not full:
        return found
    single = [(0,), (1,), (2,)]
    found["rivals"] = {
        "common and singles": loss(gated([(0, 1, 2), *single], SIGMA, 0, steps=11_000)),
        "modular": loss(gated(single, SIGMA, 0, steps=11_000)),
    }
    found["shares"][4] = shares(gated(subsets(4), SIGMA, 0, contexts=4, units=12))
    found["answering"][4] = answering([relu(SIGMA, seed, contexts=4) for seed in range(4)], 4)
    found["scales"] = {}
    for sigma in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        steps = 11_000 if sigma < 1e-5 else STEPS
        both = [
            np.mean([passed(loss(make(seed))) for seed in range(2)], axis=0)
            for make in (
                lambda seed, s=sigma, n=steps: relu(s, seed, steps=n),
                lambda seed, s=sigma, n=steps: gated(all_but_one(3), s, seed, steps=n),
            )
        ]
        found["scales"][sigma] = both[0] / both[1]
    return found


def draw_race(figure: Any, found: Any) -> None:
    left, middle, right = figure.subplots(1, 3)
    steps = found["relu"].time / 1000
    for i, one in enumerate(found["relu"]):
        left.plot(steps, one, color="k", lw=0.8, label="ReLU, 4 draws" if i == 0 else None)
    left.plot(steps, found["gated"].mean("draw"), color="#D55E00", lw=1.5, label="gated: pairs")
    for (name, one), colour in zip(found["rivals"].items(), COLOURS, strict=False):
        left.plot(one.time / 1000, one, "--", color=colour, lw=1, label=name)
    left.set(xlabel="thousands of steps", ylabel="loss, sum over samples", xlim=(0, 11))
    left.legend(fontsize=6)
    for contexts, place, colour in ((3, -0.2, "#0072B2"), (4, 0.2, "#E69F00")):
        of_race = {k: sum(v) for k, v in found["shares"][contexts].items()}
        for kind, values, shift, hatch in (
            ("race", of_race, -0.09, ""),
            ("ReLU", found["answering"][contexts], 0.09, "////"),
        ):
            open_in = [contexts - k for k in values if k > 0]
            heights = [values[k] for k in values if k > 0]
            label = f"{contexts} contexts, {kind}"
            style = {"color": colour} if not hatch else {"fc": "w", "ec": colour, "hatch": hatch}
            middle.bar(np.array(open_in) + place + shift, heights, 0.17, label=label, **style)
    middle.set(
        xlabel="contexts in which a pathway is shut", title="parts of the answer", ylim=(0, 1)
    )
    middle.set_xticks([0, 1, 2, 3])
    middle.legend(fontsize=6)
    for (sigma, ratio), colour in zip(found["scales"].items(), COLOURS, strict=False):
        right.plot(LEVELS, ratio, "o-", ms=2, color=colour, label=f"σ = {sigma:g}")
    right.axhline(1, color="0.6", lw=0.8)
    right.set(xscale="log", xlabel="loss", title="time of ReLU over that of gated")
    right.set_ylim(0.8, 2.2)
    right.invert_xaxis()
    right.legend(fontsize=6, ncols=2, loc="upper left")


def race_numbers(found: Any) -> list[Row]:
    own, linear = found["relu"], found["gated"]
    seen = np.mean([passed(one) for one in own], axis=0)
    said = np.mean([passed(one) for one in linear], axis=0)
    off = abs(own.mean("draw") - linear.mean("draw")) / 96
    known = GATED.split()

    def gated_row(levels: slice, missed: bool) -> Row:
        what = "gated: thousands of steps to " + ", ".join(f"{x:g}" for x in LEVELS[levels])
        reference = " ".join(known[levels])
        return Row(what, said[levels], reference, 0.02, relative=True, missed=missed)

    rows = [
        Row(
            "ReLU: thousands of steps to a loss of 72, 48, 32, 24, 18, 12, 8, 5, 3, 1, .3, .1",
            seen,
            ".398 1.025 1.613 2.065 2.639 2.938 3.635 4.382 5.475 6.909 7.740 8.348",
            0.11,
        ),
        gated_row(slice(0, 8), False),
        gated_row(slice(8, 10), True),
        gated_row(slice(10, 12), False),
        Row("ReLU over gated, all levels", seen / said, " ".join(["1.00"] * len(LEVELS)), 0.10),
        Row("difference of the losses over 96, rms", (off**2).mean() ** 0.5, ".000", 0.01),
        Row("the same, largest", off.max(), ".000", 0.06, missed=True),
        Row("the same, largest after step 600", off.sel(time=slice(600, None)).max(), ".000", 0.06),
    ]
    parts, answers = found["shares"], found["answering"]
    for contexts, common, others in ((3, ".46", ".18"), (4, ".36", ".16")):
        if contexts not in parts:
            continue
        *low, most, all_on = (parts[contexts][k] for k in range(1, contexts + 1))
        rest = max(max(values) for values in low)
        word = f"race of all subsets of {contexts} contexts, share of |map|²"
        rows += [
            Row(f"{word}: open always", all_on, common, 0.02),
            Row(f"{word}: open in all but one", most, " ".join([others] * contexts), 0.02),
            Row(f"{word}: any other, at most", rest, ".000", 1e-3),
        ]
    for contexts, common, others in ((3, ".28", ".70"), (4, ".12", ".79")):
        if contexts in answers:
            one = answers[contexts]
            word = f"ReLU, {contexts} contexts, units that answer in"
            rows += [
                Row(f"{word} all", one[contexts], common, 0.06),
                Row(f"{word} all but one", one[contexts - 1], others, 0.06),
            ]
    if "rivals" in found:
        common, modular = (passed(one) for one in found["rivals"].values())
        pair = [common[LEVELS.index(level)] for level in (3.0, 1.0)]
        ratio = found["scales"]
        rows += [
            Row("rival, common and singles: to 3, 1", pair, "8.96 10.14", 0.02, relative=True),
            Row("rival, modular: to 72", modular[0], "1.92", 0.02, relative=True),
            Row(
                "largest ratio of times, σ = 1e-2, 1e-3, 1e-4, 1e-5",
                [ratio[s].max() for s in (1e-2, 1e-3, 1e-4, 1e-5)],
                "1.70 1.43 1.18 1.08",
                0.06,
            ),
            Row("smallest ratio, σ = 1e-6", ratio[1e-6].min(), ".89", 0.03),
        ]
    return rows


FIGURES = {"race": Figure(race, draw_race, race_numbers, (7.4, 2.5), sampled=True)}
