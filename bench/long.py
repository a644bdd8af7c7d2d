"""Seconds of a run to t = 10⁶ in a sweep, with the stiff partner (method=None) and without (RK45).

The sweep of `peers.py` at K = M = 2, each run far beyond its escape from the plateau: explicit
steps are then bounded by stability, not by accuracy.
"""

from __future__ import annotations

import numpy as np
from scipy.integrate import solve_ivp

import odekit as ok
from bench import peer_work
from bench.tables import command, in_turn, markdown, quartiles, seconds

SPAN = 1e6
TIMES = np.concatenate([[0.0], np.geomspace(1.0, SPAN, 49)])
METHODS = (None, "RK45")
SECONDS, MOST, COMPARED = 1.0, 512, 4
STILL, STANDS = 1e4, 1e-12  # from when on, and how fast at most, a solution that stands still moves


def solve(method, n):
    problem = peer_work.problem(peer_work.first(2, n), SPAN)
    tolerance = peer_work.tolerances()
    return ok.solve(problem, t_eval=TIMES, method=method, **tolerance)


def enough(method):
    """Number of runs that takes a second, at least eight: they share the engine's lanes."""
    n = 8
    solve(method, n)  # compiles
    while n < MOST and seconds(solve, method, n)[0] < SECONDS / 2:
        n *= 2
    return n


def exact():
    """Rows of a tight run that, once it stands still, is held: there Radau at 1e-10 crawls."""
    system, still = peer_work.system(2), int(np.searchsorted(TIMES, STILL))
    rows = np.empty((COMPARED, len(TIMES), peer_work.overlaps(2)))
    for y, found in zip(peer_work.with_heads(peer_work.starts(2, COMPARED)), rows, strict=True):
        times = TIMES[: still + 1]
        tight = {"rtol": 1e-12, "atol": 1e-14, "t_eval": times}
        states = solve_ivp(system.rhs, (0, times[-1]), y, "DOP853", **tight).y.T
        moving = np.abs(system.rhs(0.0, states[-1])).max()
        if moving > STANDS:
            raise AssertionError(f"the solution still moves by {moving:.1e}")
        found[: still + 1] = states[:, : found.shape[1]]
        found[still + 1 :] = found[still]
    return rows


def run(repeats=3):
    """Rows of dict: method, n, error, q1_s, median_s, q3_s, ratio (time over method=None's)."""
    counts = {method: enough(method) for method in METHODS}
    last = {}

    def timer(method):
        taken, last[method] = seconds(solve, method, counts[method])
        return taken / counts[method]

    times = in_turn({m: lambda m=m: timer(m) for m in METHODS}, repeats)
    truth = exact()
    rows = []
    for method, values in times.items():
        found = peer_work.flat(last[method].Q.values, last[method].R.values)[:COMPARED]
        q1, median, q3 = quartiles(values)
        rows.append(
            {
                "method": method,
                "n": counts[method],
                "n_rhs": float(last[method].n_rhs.mean()),
                "error": float(np.abs(found - truth[: len(found)]).max()),
                "q1_s": q1,
                "median_s": median,
                "q3_s": q3,
                "ratio": float(np.median(np.array(values) / np.array(times[None]))),
            }
        )
    return rows


def table(rows):
    """Markdown."""
    heads = [" method", "ms a run, median", "quartiles", "/ method=None", "largest error",
             "right-hand sides", "runs timed"]  # fmt: skip
    lines = [
        [
            f"`method={r['method']!r}`",
            f"{1e3 * r['median_s']:.3g}",
            f"{1e3 * r['q1_s']:.3g}–{1e3 * r['q3_s']:.3g}",
            f"{r['ratio']:.3g}",
            f"{r['error']:.0e}",
            f"{r['n_rhs']:,.0f}",
            r["n"],
        ]
        for r in rows
    ]
    return markdown(heads, lines)


if __name__ == "__main__":
    command(__doc__, run, table, repeats=3)
