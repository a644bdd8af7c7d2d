"""Optimal protocols: two teachers in turn, and the learning rate over a fixed horizon.

    python docs/examples/protocols.py teachers             every row of the first table
    python docs/examples/protocols.py teachers --rows 20   one of them
    python docs/examples/protocols.py rates                every row of the second
    python docs/examples/protocols.py picture -o FIG.png   four protocols side by side

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
    return ok.optimise(problem, controls={"phases[0].tasks[old]": pieces}, objective=MEAN, **more)


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
        state=ok.OrderParameters(Q=np.diag(0.1 * (k + 2)), R=1e-3 * np.diag(k + 1.0), T=np.eye(K)),
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(np.ones(K), noise_std=noise)},
        phases=[ok.Phase("main", horizon, rate)],
    )


def optimal_rate(problem: ok.Problem, pieces: int, **more: Any) -> ok.Optimum:
    """The best learning rate between 0 and 6, from the best constant one."""
    control, error = "phases[0].learning_rate", "generalization_error[main]"
    bounds = {control: (0.0, 6.0)}
    constant = ok.optimise(problem, controls={control: 1}, objective=error, bounds=bounds)
    return ok.optimise(
        constant.problem, controls={control: pieces}, objective=error, bounds=bounds, **more
    )


def rates(names: list[str], **more: Any) -> None:
    """Print rows of the table of learning rates."""
    for name in names:
        K, noise, horizon, pieces = RATES[name]
        best = optimal_rate(learning_rates(K, noise, horizon), pieces, **more)
        eta = best.dataset.control[0].values
        error, size = float(best.dataset.objective[0]), best.dataset.history.size
        print(f"K = {name:9} {error:.6e}  largest {eta.max():.2f}, last {eta[-1]:.3f}", end="; ")
        print(f"{size} gradients, {best.dataset.message.values[0]}")


def picture(path: str) -> None:
    """Shares of the old task, and errors of both, for four protocols over a horizon of 20."""
    import matplotlib.pyplot as plt

    problem = two_teachers(20.0)
    best = optimal_practice(problem, 50)
    shares: dict[str, Any] = {
        "new only": 0.0,
        "half and half": 0.5,
        "focus, then interleave": ok.Schedule([0.0, 11.6, 11.6001, 20.0], [0.0, 0.0, 0.52, 0.52]),
        "optimal": table(best),
    }
    t = np.linspace(0.0, 20.0, 201)
    figure, axes = plt.subplots(1, 2, figsize=(9.0, 3.6), layout="constrained")
    for name, share in shares.items():
        run = ok.solve(problem.replace_phase(0, tasks={"old": share, "new": "rest"}), t_eval=t)
        drawn = share.at(t) if isinstance(share, ok.Schedule) else np.full_like(t, share)
        axes[0].plot(t, drawn, label=name)
        axes[1].semilogy(t, run.generalization_error.mean("task"))
    axes[0].set(xlabel="t = steps/N", ylabel="share of the old task")
    axes[1].set(xlabel="t = steps/N", ylabel="mean error of both tasks")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=200)


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("what", choices=("teachers", "rates", "picture"))
    parser.add_argument("--rows", nargs="+", help="names of the rows; all by default")
    parser.add_argument("-o", "--output", default="protocols.png")
    asked = parser.parse_args()
    if asked.what == "picture":
        picture(asked.output)
    elif asked.what == "teachers":
        teachers(asked.rows or list(TEACHERS))
    else:
        rates(asked.rows or list(RATES))


if __name__ == "__main__":
    main()
