"""odekit: one call of `solve` on a problem whose overlaps have the dim `draw`.

By the method that it chooses at this tolerance, and by DOP853, whose error is the smaller.
"""

from __future__ import annotations

from functools import partial

import odekit as ok
from bench import peer_work


def candidates(K, threads):
    def starting(method, n):
        problem = peer_work.problem(peer_work.first(K, n))
        options = {"method": method, "rtol": peer_work.RTOL, "atol": peer_work.ATOL}

        def go():
            found = ok.solve(problem, t_eval=peer_work.TIMES, **options)
            return peer_work.flat(found.Q.values, found.R.values), int(found.n_rhs.sum())

        return go

    return {
        "odekit": (8 * threads, partial(starting, None)),
        "odekit, DOP853": (8 * threads, partial(starting, "DOP853")),
    }
