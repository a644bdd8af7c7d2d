"""odekit: one call of `solve` on a problem whose overlaps have the dim `draw`."""

from __future__ import annotations

import odekit as ok
from bench import peer_work


def candidates(K, threads):
    def starting(n):
        problem = peer_work.problem(peer_work.first(K, n))
        options = {"rtol": peer_work.RTOL, "atol": peer_work.ATOL}

        def go():
            found = ok.solve(problem, t_eval=peer_work.TIMES, **options)
            return peer_work.flat(found.Q.values, found.R.values), int(found.n_rhs.sum())

        return go

    return {"odekit": (8 * threads, starting)}
