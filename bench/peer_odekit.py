"""odekit: one call of `solve` on a problem whose overlaps have the dim `draw`.

By the method that it chooses at this tolerance, and by what takes least for heyoka's errors.
"""

from __future__ import annotations

from functools import partial

import odekit as ok
from bench import peer_work

EQUAL = {2: ("DOP853", 2e-5), 4: (None, 6e-8), 8: (None, 5e-7)}


def candidates(K, threads):
    def starting(method, rtol, n):
        problem = peer_work.problem(peer_work.first(K, n))
        options = {"method": method, **peer_work.tolerances(rtol)}

        def go():
            found = ok.solve(problem, t_eval=peer_work.TIMES, **options)
            return lambda: peer_work.flat(found.Q.values, found.R.values), int(found.n_rhs.sum())

        return go

    return {
        "odekit": (8 * threads, partial(starting, None, peer_work.RTOL)),
        f"odekit{peer_work.EQUAL}": (8 * threads, partial(starting, *EQUAL[K])),
    }
