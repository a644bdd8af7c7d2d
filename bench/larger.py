"""Larger students: what one right-hand side costs in a single run and in a sweep, above the floor.

K = M = 8, 16 and 32, erf, online, no noise, readouts fixed, one thread; CPU time of the process.
Alone is the right-hand side evaluated over and over, its Jacobian beside it; in lanes are eight
trajectories. A run is `odekit.solve` of one problem to t = 20, a sweep that of sixteen.
"""

from __future__ import annotations

import time

import numpy as np

import odekit as ok
from bench import ceiling, peer_work, rhs, tables

SIZES = (8, 16, 32)
SPAN, DRAWS = 20.0, 16


def spent(function, *arguments):
    """CPU seconds of this process in one call, and what it returned."""
    start = time.process_time()
    result = function(*arguments)
    return time.process_time() - start, result


def problem(K, draws=None):
    """Of random weights, one or many of them."""
    state = ok.OrderParameters.draw(
        student=K, teacher=K, weight_std=0.5, input_dim=1000, seed=7, draws=draws
    )
    return peer_work.problem(state, SPAN)


def solved(setting):
    """µs for each right-hand side of a whole call."""

    def go():
        taken, run = spent(
            lambda: ok.solve(setting, t_eval=[0.0, SPAN], rtol=1e-6, atol=1e-9, threads=1)
        )
        return 1e6 * taken / float(np.sum(run.n_rhs))

    go()
    return go


def timers(K):
    """Name -> function that gives µs."""
    y, system = rhs.problem(K)
    work, dy, J = rhs.make_work(K, K, 1, 1), np.empty_like(y), np.empty((y.size, y.size))
    sweep = problem(K, DRAWS)
    one = lambda n: rhs.loop_odekit(n, y, rhs.ETA, 0.0, system, work, dy)  # noqa: E731
    slopes = lambda n: rhs.loop_jacobian(n, y, rhs.ETA, 0.0, system, work, J)  # noqa: E731
    lanes = ceiling.alone(sweep)
    found = {}
    for name, function, share in (("alone", one, 1), ("Jacobian", slopes, 1), ("lanes", lanes, 8)):
        function(1)
        count = max(1, int(0.05 / spent(function, 1)[0]))
        found[name] = lambda f=function, n=count, s=share: 1e6 * spent(f, n)[0] / n / s
    return {**found, "run": solved(problem(K)), "sweep": solved(sweep)}


def run(repeats=5):
    """Rows of dict: K, floor, and the median of every timer."""
    x = np.random.default_rng(0).uniform(-1, 1, 800)
    out = np.empty_like(x)
    rhs.loop_asin(1, x, out)
    rows = []
    for K in SIZES:
        asin = {"asin": lambda: spent(rhs.loop_asin, 500, x, out)[0] / 500}
        times = tables.in_turn({**timers(K), **asin}, repeats)
        middle = {name: tables.quartiles(values)[1] for name, values in times.items()}
        rows.append({"K": K, "floor": 1e6 * rhs.floor(K, middle.pop("asin")), **middle})
    return rows


def table(rows):
    """Markdown; in brackets the floor's share."""
    names = ("alone", "run", "lanes", "sweep")
    heads = ["K = M", "floor, µs", *(f"{n}, µs" for n in names), "Jacobian, µs"]
    lines = [
        [
            r["K"],
            f"{r['floor']:.1f}",
            *(f"{r[n]:.1f} ({100 * r['floor'] / r[n]:.0f} %)" for n in names),
            f"{r['Jacobian']:.0f}",
        ]
        for r in rows
    ]
    return tables.markdown(heads, lines)


if __name__ == "__main__":
    tables.command(__doc__, run, table, repeats=5)
