"""One peer with one number of threads, in a process of its own: answers over a pipe.

`python -m bench.peer_worker PEER K THREADS PIPE` is started by `bench.peers`, with the threads set
in the environment before any library is imported, and as many processors to run on as threads.
"""

from __future__ import annotations

import os
import sys
import time
from multiprocessing.connection import Connection

SECONDS = 0.3  # of one timing, at least
LIMIT = 2**17


def environment(threads):
    """Variables by which the peers' libraries are told how many threads to use."""
    names = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(names, str(threads)),
        "OMP_WAIT_POLICY": "passive",  # idle peers must not spin while others are timed
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={threads}",
        "JAX_PLATFORMS": "cpu",
    }


def restrict(threads):
    """Run on so many processors only, where the system can."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def enough(batch, starting):
    """Number of trajectories that takes SECONDS, and the function that runs them."""
    n = batch
    while True:
        go = starting(n)
        go()  # compiles for this number, where the peer does
        begin = time.perf_counter()
        go()
        if time.perf_counter() - begin > 0.7 * SECONDS or 2 * n > LIMIT:
            return n, go
        n *= 2


def errors(batch, starting, exact):
    """Largest error in Q and R of the compared trajectories."""
    import numpy as np

    join, _ = starting(batch * -(-len(exact) // batch))()
    rows = join()[: len(exact), :, : exact.shape[-1]]
    return float(np.abs(rows - exact).max())


def serve(pipe, name, K, threads):
    """Set up, tell how many trajectories a timing has and how exact they are, then time."""
    import importlib

    exact = pipe.recv()
    try:
        found = importlib.import_module(f"bench.peer_{name}").candidates(K, threads)
    except ImportError as absent:
        pipe.send(f"absent: {absent}")
        return
    ready, functions = {}, {}
    for candidate, (batch, starting) in found.items():
        error = errors(batch, starting, exact)
        n, functions[candidate] = enough(batch, starting)
        ready[candidate] = {"error": error, "n": n}
    pipe.send(ready)
    while (candidate := pipe.recv()) is not None:
        begin = time.perf_counter()
        _, n_rhs = functions[candidate]()
        pipe.send((time.perf_counter() - begin, n_rhs))


def main():
    name, K, threads, handle = sys.argv[1], *(int(x) for x in sys.argv[2:])
    restrict(threads)
    serve(Connection(handle), name, K, threads)


if __name__ == "__main__":
    main()
