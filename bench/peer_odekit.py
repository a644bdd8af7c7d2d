"""odekit: one call of `solve` on a problem whose overlaps have the dim `draw`.

By the method that it chooses at this tolerance, and by DOP853: its errors are far below the
tolerance asked, so that at K = 2 and 4 it is asked for ten times as much.
"""

from __future__ import annotations

from functools import partial

import odekit as ok
from bench import peer_work

LOOSER = {2: 10.0, 4: 10.0}


def candidates(K, threads):
    def starting(method, looser, n):
        problem = peer_work.problem(peer_work.first(K, n))
        options = {
            "method": method,
            "rtol": looser * peer_work.RTOL,
            "atol": looser * peer_work.ATOL,
        }

        def go():
            found = ok.solve(problem, t_eval=peer_work.TIMES, **options)
            return peer_work.flat(found.Q.values, found.R.values), int(found.n_rhs.sum())

        return go

    return {
        "odekit": (8 * threads, partial(starting, None, 1.0)),
        "odekit, DOP853": (8 * threads, partial(starting, "DOP853", LOOSER.get(K, 1.0))),
    }
