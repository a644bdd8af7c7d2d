"""heyoka: batches as wide as the vector registers, over threads.

Its own ensemble functions copy the integrator for every batch, which takes 0.6 ms, more than twice
the run at K = M = 2; "own threads" keeps one integrator for each thread.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import heyoka
import numpy as np

from bench import equations, peer_work

UNROLLED = (2,)  # compact mode beyond: else LLVM takes minutes


def candidates(K, threads):
    compact = K not in UNROLLED
    symbols = heyoka.make_vars(*[f"y{i}" for i in range(peer_work.overlaps(K))])
    dy = equations.scalars(list(symbols), K, peer_work.ETA, heyoka.sqrt, heyoka.asin, heyoka.sum)
    function = heyoka.cfunc(dy, vars=symbols, compact_mode=compact)
    peer_work.check("heyoka", K, lambda y: function(np.ascontiguousarray(y.T)).T)
    width = heyoka.recommended_simd_size()
    integrator = heyoka.taylor_adaptive_batch(
        list(zip(symbols, dy, strict=True)),
        peer_work.starts(K, width).T.copy(),
        tol=peer_work.RTOL,
        compact_mode=compact,
    )
    return {
        f"heyoka batch, {name}": (width * threads, starting(run, integrator, width, K, threads))
        for name, run in (("ensemble", ensemble), ("own threads", own_threads))
    }


def begin(integrator, y):
    """Set all trajectories of a batch to time 0."""
    integrator.set_time(0.0)
    integrator.state[:] = y.T
    return integrator


def ensemble(integrator, y, threads):
    runs = heyoka.ensemble_propagate_grid_batch(
        integrator, peer_work.TIMES, len(y), lambda own, i: begin(own, y[i]), max_workers=threads
    )
    return [run[-1] for run in runs]


def own_threads(integrator, y, threads):
    grid = np.repeat(peer_work.TIMES, y.shape[1]).reshape(-1, y.shape[1])

    def several(part):
        own = deepcopy(integrator)
        return [begin(own, batch).propagate_grid(grid)[-1] for batch in part]

    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(several, np.array_split(y, threads))
        return [rows for part in parts for rows in part]


def starting(run, integrator, width, K, threads):
    def start(n):
        y = peer_work.starts(K, n).reshape(n // width, width, -1)

        def go():
            found = run(integrator, y, threads)
            return lambda: np.concatenate([np.moveaxis(x, 2, 0) for x in found]), None

        return go

    return start
