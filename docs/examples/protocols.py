"""Optimal protocols: two teachers in turn, and the learning rate over a fixed horizon.

    python docs/examples/protocols.py teachers             every row of the first table
    python docs/examples/protocols.py teachers --rows 20   one of them
    python docs/examples/protocols.py rates                every row of the second
    python docs/examples/protocols.py joint                shares and rates at once
    python docs/examples/protocols.py picture -o FIG.png   protocols for two teachers side by side
    python docs/examples/protocols.py rates_picture -o FIG.png

Numbers: docs/protocols.md.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

import odekit as ok

OLD, NEW = "generalization_error[old]", "generalization_error[new]"
MEAN = {OLD: 0.5, NEW: 0.5}
TEACHERS = {"10": (10.0, 0.0, 50), "20": (20.0, 0.0, 50), "40": (40.0, 0.0, 100),
            "20, noise": (20.0, 0.1, 50)}  # fmt: skip
"""Horizon, label noise, and pieces of the control."""
RATES = {"2": (2, 0.0, 100.0, 50), "2, noise": (2, 0.1, 300.0, 60),
         "3": (3, 0.0, 200.0, 50), "3, noise": (3, 0.1, 300.0, 60)}  # fmt: skip
"""Units, label noise, horizon, and pieces."""
CONSTANT = {"2": 1.6546, "2, noise": 0.5473, "3": 0.9972, "3, noise": 0.7144}
"""The best constant rates, with which the search begins."""
SHARE, RATE = "phases[0].tasks[old]", "phases[0].learning_rate"
READOUT_RATE = "phases[0].readout_learning_rate"


def two_teachers(horizon: float, noise: float = 0.0) -> ok.Problem:
    """The second of two tasks, as it begins: the first was learnt for 1000 (2409.18061)."""
    begin = ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.1, 0.01], [0.01, 0.2]],
            R=[[0.05, 0.01], [-0.02, 0.03]],
            T=[[1.0, 0.3], [0.3, 1.0]],
        ),
        heads={"old": [0.4, 0.6], "new": [0.1, 0.05]},
        tasks={
            "old": ok.Task([1.0, 0.0], noise_std=noise),
            "new": ok.Task([0.0, 1.0], noise_std=noise),
        },
        phases=[ok.Phase("old", 1000.0, 1.0, 1.0)],
    )
    last = ok.solve(begin, t_eval=[0.0, 1000.0], rtol=1e-10, atol=1e-13).isel(time=-1)
    state = replace(begin.state, Q=last.Q.values, R=last.R.values)
    heads = {name: last.readout.sel(head=name).values for name in ("old", "new")}
    mixed = ok.Phase({"old": 0.3, "new": 0.7}, horizon, 1.0, 1.0)
    return begin.replace(state=state, heads=heads, phases=[mixed])


def mean_error(problem: ok.Problem) -> float:
    """Mean error of both tasks at the end."""
    end = sum(phase.duration for phase in problem.phases)
    run = ok.solve(problem, t_eval=[0.0, end], rtol=1e-9, atol=1e-12, method="DOP853")
    return float(run.generalization_error[-1].mean())


def optimal_practice(problem: ok.Problem, pieces: int, **more: Any) -> ok.Optimum:
    """When to rehearse the old task."""
    return ok.optimise(problem, controls={SHARE: pieces}, objective=MEAN, **more)


def table(best: ok.Optimum) -> ok.Schedule:
    """The optimal share of the old task as a table whose jumps are ramps."""
    p = best.dataset.control[0].values
    length = best.problem.phases[0].duration
    edges = length * np.arange(1, p.size)
    times = np.concatenate([[0.0], np.repeat(edges, 2), [length * p.size]])
    times[2:-1:2] *= 1 + 1e-9
    return ok.Schedule(times, np.repeat(p, 2))


def focus(problem: ok.Problem, until: float, share: float) -> ok.Problem:
    """The new task alone for a time, then a share of the old one: two numbers."""
    left = problem.phases[0].duration - until
    first = replace(problem.phases[0], tasks="new", duration=until)
    then = replace(problem.phases[0], tasks={"old": share, "new": 1.0 - share}, duration=left)
    return problem.replace(phases=[first, then])


def best_focus(problem: ok.Problem) -> tuple[float, float, float]:
    """Error of the best focus, then constant; its length and share."""
    from scipy.optimize import minimize

    T = problem.phases[0].duration

    def of(x: Any) -> float:
        until = float(np.clip(x[0], 0.01 * T, 0.99 * T))
        return float(np.log(mean_error(focus(problem, until, float(np.clip(x[1], 0.0, 1.0))))))

    found = minimize(
        of, [0.5 * T, 0.45], method="Nelder-Mead", options={"xatol": 1e-3, "fatol": 1e-6}
    )
    return float(np.exp(found.fun)), float(found.x[0]), float(np.clip(found.x[1], 0.0, 1.0))


def teachers(names: list[str], **more: Any) -> None:
    """Print rows of the table of two teachers."""
    print(
        f"{'horizon':10} {'new only':>10} {'half/half':>10} {'focus, const.':>14} {'optimal':>12}"
    )
    for name in names:
        horizon, noise, pieces = TEACHERS[name]
        problem = two_teachers(horizon, noise)
        alone = problem.replace_phase(0, tasks="new")
        half = problem.replace_phase(0, tasks={"old": 0.5, "new": 0.5})
        best = optimal_practice(problem, pieces, **more)
        error, until, share = best_focus(problem)
        found = mean_error(alone), mean_error(half), error, float(best.dataset.objective[0])
        print(f"{name:10} " + " ".join(f"{x:12.7f}" for x in found), end="   ")
        print(f"focus {until:.1f}, then {share:.3f}; {best.dataset.history.size} gradients")


def learning_rates(K: int, noise: float, horizon: float, rate: float = 0.6) -> ok.Problem:
    """K units learn K, from a start that is nearly symmetric (Saad & Rattray 1997)."""
    k = np.arange(K)
    return ok.Problem(
        state=ok.OrderParameters(
            Q=np.diag(0.2 + 0.1 * k).round(9), R=np.diag(0.001 * (k + 1)).round(9), T=np.eye(K)
        ),
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(np.ones(K), noise_std=noise)},
        phases=[ok.Phase("main", horizon, rate)],
    )


def optimal_rate(problem: ok.Problem, pieces: int, **more: Any) -> ok.Optimum:
    """The best learning rate between 0 and 6."""
    error = "generalization_error[main]"
    how = {"controls": {RATE: pieces}, "bounds": {RATE: (0.0, 6.0)}}
    return ok.optimise(problem, objective=error, **how, **more)


def rates(names: list[str], **more: Any) -> None:
    """Print rows of the table of learning rates."""
    for name in names:
        K, noise, horizon, pieces = RATES[name]
        begin = learning_rates(K, noise, horizon, CONSTANT[name])
        constant = optimal_rate(begin, 1)
        best = optimal_rate(constant.problem, pieces, **more)
        eta = best.dataset.control[0].values
        error, size = float(best.dataset.objective[0]), best.dataset.history.size
        print(f"K = {name:9} {error:.6e}  largest {eta.max():.2f}, last {eta[-1]:.3f}", end="; ")
        print(f"{size} gradients, {best.dataset.message.values[0]}")


def practice_and_rate(problem: ok.Problem, pieces: int, **more: Any) -> ok.Optimum:
    """Shares of the old task, and a learning rate of both layers up to 3, at once."""
    how = {"controls": {SHARE: pieces, RATE: pieces}, "bounds": {RATE: (0.0, 3.0)}}
    return ok.optimise(problem, objective=MEAN, tied={READOUT_RATE: RATE}, **how, **more)


def focus_and_rate(problem: ok.Problem, until: int, pieces: int, **more: Any) -> ok.Optimum:
    """The best rates where the new task stands alone for so many pieces, then one share is kept."""
    length = problem.phases[0].duration / pieces
    two = focus(problem, until * length, 0.55)
    parts = {RATE: until, RATE.replace("0", "1"): pieces - until}
    tied = {name.replace("learning", "readout_learning"): name for name in parts}
    bounds = dict.fromkeys(parts, (0.0, 3.0))
    return ok.optimise(two, controls=parts, objective=MEAN, bounds=bounds, tied=tied, **more)


def joint(**more: Any) -> None:
    """Print the best of shares and rates at once, with label noise, and what two numbers reach."""
    problem = two_teachers(20.0, 0.1)
    best = practice_and_rate(problem, 50, **more)
    p, eta = best.dataset.control[0].values.reshape(2, 50)
    print(f"both {float(best.dataset.objective[0]):.6e}, {best.dataset.history.size} gradients")
    print("share", p.round(2), "rate", eta.round(2), sep="\n")
    simple = focus_and_rate(problem, 17, 50, **more)
    print(f"focus, then .55, with the best rates {float(simple.dataset.objective[0]):.6e}")


def picture(path: str) -> None:
    """Draw the searched protocols beside the others."""
    problem = two_teachers(20.0, 0.1)
    draw(
        problem, optimal_practice(problem, 50).problem, practice_and_rate(problem, 50).problem, path
    )


def draw(problem: ok.Problem, share: ok.Problem, both: ok.Problem, path: str) -> None:
    """Shares of the old task, learning rates, and errors of both, over a horizon of 20."""
    import matplotlib.pyplot as plt

    alone, half, replay = (
        problem.replace_phase(0, tasks={"old": p, "new": 1.0 - p}) for p in (0.0, 0.5, 0.21)
    )
    shown: dict[str, ok.Problem] = {
        "sequential: new only": alone,
        "interleaved: half and half": half,
        "replay: 0.21 of old": replay,
        "focus, then interleave": focus(problem, 12.8, 0.53),
        "optimal share": share,
        "optimal share and rate": both,
    }
    figure, axes = plt.subplots(1, 3, figsize=(12.0, 3.6), layout="constrained")
    for name, one in shown.items():
        edges = np.cumsum([0.0, *(phase.duration for phase in one.phases)])
        shares = [phase.mixture.get("old", 0.0) for phase in one.phases]
        rates = [phase.learning_rate for phase in one.phases]
        run = ok.solve(one, t_eval=np.linspace(0.0, 20.0, 201))
        axes[0].stairs(shares, edges, baseline=None, label=name)
        axes[1].stairs(rates, edges, baseline=None)
        axes[2].semilogy(run.time, run.generalization_error.mean("task"))
    labels = "share of the old task", "learning rate", "mean error of both"
    for axis, label in zip(axes, labels, strict=True):
        axis.set(xlabel="t = steps/N", ylabel=label)
    figure.legend(loc="outside upper center", ncols=6, frameon=False, fontsize="small")
    figure.savefig(path, dpi=200)


def rates_picture(path: str) -> None:
    """The best learning rates of the table, and errors beside those of the best constant ones."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.6), layout="constrained")
    for number, (name, (K, noise, horizon, pieces)) in enumerate(RATES.items()):
        colour = f"C{number}"
        constant = learning_rates(K, noise, horizon, CONSTANT[name])
        best = optimal_rate(constant, pieces)
        edges, t = np.linspace(0.0, horizon, pieces + 1), np.linspace(0.0, horizon, 301)
        label = f"K = {K}, σ = {noise:g}"
        axes[0].stairs(best.dataset.control[0], edges, baseline=None, color=colour, label=label)
        for problem, style in ((best.problem, "-"), (constant, ":")):
            run = ok.solve(problem, t_eval=t)
            axes[1].semilogy(t, run.generalization_error[:, 0], style, color=colour)
    axes[0].set(xlabel="t = steps/N", ylabel="learning rate")
    axes[1].set(xlabel="t = steps/N", ylabel="error; dotted: best constant rate")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=200)


PICTURES = {"picture": picture, "rates_picture": rates_picture}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("teachers", "rates", "joint", *PICTURES))
    parser.add_argument("--rows", nargs="+", help="names of the rows; all by default")
    parser.add_argument("-o", "--output", default="protocols.png")
    asked = parser.parse_args()
    if asked.what in PICTURES:
        PICTURES[asked.what](asked.output)
    elif asked.what == "joint":
        joint()
    elif asked.what == "teachers":
        teachers(asked.rows or list(TEACHERS))
    else:
        rates(asked.rows or list(RATES))


if __name__ == "__main__":
    main()
