"""heyoka: batches as wide as the vector registers, in an ensemble over threads."""

from __future__ import annotations

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
    return {"heyoka batch": (width * threads, prepare(integrator, width, K, threads))}


def prepare(integrator, width, K, threads):
    def starting(n):
        y = peer_work.starts(K, n).reshape(n // width, width, -1)

        def begin(local, i):
            local.set_time(0.0)
            local.state[:] = y[i].T
            return local

        def go():
            parts = heyoka.ensemble_propagate_grid_batch(
                integrator, peer_work.TIMES, n // width, begin, max_workers=threads
            )
            return np.concatenate([np.moveaxis(part[-1], 2, 0) for part in parts]), None

        return go

    return starting
