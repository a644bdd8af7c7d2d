"""µs per right-hand side with structured inputs: groups alone, and the drive in full by clusters.

erf, online learning with label noise, both layers, K = M, one trajectory. Clusters have means, laws
and labels of their own. Times are of the process, and every row is timed once in each repeat, in
turn; before any timing one cluster without a mean must agree with the plain kernel.
"""

from __future__ import annotations

import time
from functools import partial

import numba
import numpy as np

from bench import rhs as plain
from bench import tables
from odekit_kernels.committee import groups
from odekit_kernels.committee.general import alone
from odekit_kernels.committee.general.plan import Sizes, Wiring, constants, make_plan
from odekit_kernels.committee.inputs import Inputs
from odekit_kernels.committee.one import make_work
from odekit_kernels.lanes.memory import places_of

SIZES = (2, 4)
CLUSTERS = (1, 2, 4)
RATES = (0.7, 0.3)
SECONDS = 0.02  # of one timing


@numba.njit(nogil=True, _nrt=False)
def loop_groups(n, y, eta_w, eta_v, system, work, dy):
    for _ in range(n):
        groups.derivative(y, eta_w, eta_v, system, work, dy)


@numba.njit(nogil=True, _nrt=False)
def loop_full(n, M, m, w, y, dy):
    for _ in range(n):
        alone.rhs(M, m, w, y, dy)


def of_groups(y, system, G):
    """The same inputs as G groups alike: the state, the system and its work."""
    K, ones = len(system.move), np.ones((1, G))
    inputs = Inputs(np.full(G, 1 / G), np.ones(G), ones, ones, ones, np.zeros(1, dtype=np.int64))
    state = np.concatenate([np.tile(y[:-K], G), y[-K:]])
    system = system._replace(T=np.tile(system.T, (G, 1)), inputs=inputs)
    return state, system, make_work(K, K, 1, 1, G)


def in_full(system, clusters, means=True):
    """The same as clusters of the drive in full: memory, plan and wiring."""
    K, S = len(system.move), clusters
    size = Sizes(K, K, S=S, V=S, means=int(means))
    # Of one size and many directions: then every cluster asks for as many nodes of Φ₂.
    signs = 1.0 - 2.0 * ((np.arange(S)[:, None] >> np.arange(K)) & 1)
    mean = 0.5 * signs if means else np.zeros((S, K))
    given = dict.fromkeys(constants(make_plan(size)), 0.0) | {
        "share": 1.0,
        "pace": 1.0,
        "T": system.T,
        "u": system.u,
        "sigma": plain.SIGMA,
        "p": 1 / S,
        "keep": 1.0,
        **dict.fromkeys(("ss", "st", "tt", "gain", "inverse_batch", "scale"), 1.0),
        "mean": mean,
        "eta_w": RATES[0],
        "eta_v": RATES[1],
    }
    plan, each = make_plan(size), np.arange(S)
    M = np.zeros(plan.size)
    shapes = {name: places.shape for name, places in constants(plan).items()}
    rows = [np.broadcast_to(given[name], shape).ravel() for name, shape in shapes.items()]
    M[places_of(constants(plan))] = np.concatenate(rows)
    none = np.zeros((0, K), dtype=np.int64)
    watched = np.zeros(0, dtype=np.int64)
    head = np.zeros(S, dtype=np.int64)
    w = Wiring(head, each, np.ones(K), np.ones(2 * K), none, watched, watched, watched)
    return M, plan, w


def implementations(K):
    """Name -> function of a count: seconds of each of so many evaluations."""
    y, system = plain.problem(K)
    work, dy, found = make_work(K, K, 1, 1), np.empty_like(y), np.empty_like(y)
    plain.loop_odekit(1, y, *RATES, system, work, dy)
    loop_full(1, *in_full(system, 1, means=False), y, found)
    np.testing.assert_allclose(found, dy, rtol=0, atol=1e-12)
    made = {"plain": timed(plain.loop_odekit, y, *RATES, system, work, dy)}
    for G in (1, 2):
        state, grouped, scratch = of_groups(y, system, G)
        out = np.empty_like(state)
        made[f"groups: {G}"] = timed(loop_groups, state, *RATES, grouped, scratch, out)
    made["in full, no means"] = timed(loop_full, *in_full(system, 1, means=False), y, dy)
    for c in CLUSTERS:
        made[f"in full, clusters: {c}"] = timed(loop_full, *in_full(system, c), y, dy)
    return made


def timed(loop, *arguments):
    """A function of a count: seconds of the process for each of so many evaluations."""

    def each(n):
        start = time.process_time()
        loop(n, *arguments)
        return (time.process_time() - start) / n

    return each


def first(function):
    """Seconds of an evaluation, after one that compiles."""
    function(1)
    return function(20)


def run(repeats=15):
    """Time all sizes.

    Returns
    -------
    list of dict
        Keys K, implementation, median_us, q1_us, q3_us, ratio (over that of `per` in the same
        repeat, median), per.
    """
    rows = []
    for K in SIZES:
        functions = implementations(K)
        counts = {name: max(1, int(SECONDS / max(first(f), 1e-7))) for name, f in functions.items()}
        timers = {n: partial(f, counts[n]) for n, f in functions.items()}
        times = {n: 1e6 * np.array(t) for n, t in tables.in_turn(timers, repeats).items()}
        for name, values in times.items():
            per = "in full, clusters: 1" if "clusters" in name else "plain"
            q1, median, q3 = tables.quartiles(values)
            ratio = float(np.median(values / times[per]))
            row = {"K": K, "implementation": name, "median_us": median, "q1_us": q1, "q3_us": q3}
            rows.append(row | {"ratio": ratio, "per": per})
    return rows


def table(rows):
    """Markdown."""
    heads = ["K = M", " implementation", "µs, median", "quartiles", "ratio", " to"]
    lines = [
        [
            r["K"],
            r["implementation"],
            f"{r['median_us']:.3f}",
            f"{r['q1_us']:.3f}–{r['q3_us']:.3f}",
            f"{r['ratio']:.2f}",
            r["per"],
        ]
        for r in rows
    ]
    return tables.markdown(heads, lines)


if __name__ == "__main__":
    tables.command(__doc__, run, table, repeats=15)
