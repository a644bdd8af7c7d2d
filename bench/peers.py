"""Trajectories per second of a sweep, against five other ways to integrate one.

erf, K = M, eta = 0.5, no noise, second layer fixed, t = 200, 50 output times, rtol 1e-6 and atol
1e-9, overlaps of random weights. Every peer has a process for each number of threads; in every
repeat each is timed once, in turn, while the others wait. Before that each right-hand side must
agree with odekit's to 1e-12, and each result is compared with DOP853 at rtol 1e-12.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from bench import peer_work, rhs
from bench.peer_worker import environment
from bench.tables import in_turn, markdown, quartiles

SIZES, THREADS = (2, 4, 8), (1, 2)
PEERS = ("odekit", "scipy", "numbalsoda", "diffrax", "heyoka", "torchode")
PATIENCE = 300.0  # seconds for a peer to set up or to answer
ROOT = Path(__file__).parents[1]


class Worker:
    """A process of one peer."""

    def __init__(self, peer, K, threads):
        self.peer, self.pipe, self.missing = peer, None, None
        self.pipe, other = multiprocessing.Pipe()
        arguments = [peer, str(K), str(threads), str(other.fileno())]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bench.peer_worker", *arguments],
            env=environment(threads),
            cwd=ROOT,
            pass_fds=[other.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        other.close()

    def receive(self):
        """What the process sends; None, and the reason kept, if it sends nothing."""
        try:
            if self.pipe.poll(PATIENCE):
                return self.pipe.recv()
            self.missing = f"no answer in {PATIENCE:.0f} s"
            self.process.kill()
        except EOFError:
            said = self.process.stderr.read().decode(errors="replace").strip().splitlines()
            self.missing = (said or ["ended without a word"])[-1][:120]
        return None

    def set_up(self, exact):
        """Candidates by name, with their errors and numbers of trajectories."""
        self.pipe.send(exact)
        found = self.receive()
        if isinstance(found, str):
            self.missing, found = found, None
        return found or {}

    def time(self, candidate):
        self.pipe.send(candidate)
        return self.receive() or (np.nan, None)

    def close(self):
        if self.process.poll() is None:
            try:
                self.pipe.send(None)
                self.process.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        self.pipe.close()


def measure(K, threads, exact, peers, repeats):
    """Rows of dict for one size and number of threads."""
    workers = [Worker(peer, K, threads) for peer in peers]
    try:
        ready = [worker.set_up(exact) for worker in workers]
        timers = {
            name: lambda w=worker, c=name: w.time(c)
            for worker, found in zip(workers, ready, strict=True)
            for name in found
        }
        about = {name: facts for found in ready for name, facts in found.items()}
        times = in_turn(timers, repeats)
        rates = {
            name: np.array([about[name]["n"] / seconds for seconds, _ in values])
            for name, values in times.items()
        }
        absent = np.full(repeats, np.nan)
        ours, equal = (rates.get(name, absent) for name in ("odekit", f"odekit{peer_work.EQUAL}"))
        rows = [
            {
                "K": K,
                "threads": threads,
                "candidate": name,
                **about[name],
                **speeds(rates[name], ours, equal),
                **counts(threads, rates[name], times[name][0][1], about[name]["n"]),
            }
            for name in timers
        ]
        rows += [
            {"K": K, "threads": threads, "candidate": w.peer, "missing": w.missing}
            for w in workers
            if w.missing
        ]
        return rows
    finally:
        for worker in workers:
            worker.close()


def speeds(rates, ours, equal):
    """Quartiles of trajectories per second, and how many times odekit's is as high."""
    q1, median, q3 = quartiles(rates)
    ratio, equal_ratio = (float(np.median(of / rates)) for of in (ours, equal))
    return {"q1": q1, "median": median, "q3": q3, "ratio": ratio, "equal_ratio": equal_ratio}


def counts(threads, rates, n_rhs, n):
    """Evaluations of the right-hand side for a trajectory, and µs of a core for each."""
    if n_rhs is None:
        return {}
    each = n_rhs / n
    return {"n_rhs": each, "us_rhs": 1e6 * threads / (float(np.median(rates)) * each)}


def blocks(repeats, sizes, threads, peers):
    """Rows of each size and number of threads, as soon as they are there."""
    per_800 = rhs.asin_throughput(15)
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    for K in sizes:
        exact = peer_work.reference(K)
        floor = 1e6 * rhs.floor(K, per_800)
        for count in threads:
            if count <= available:
                rows = measure(K, count, exact, peers, repeats)
                floor_row = {"K": K, "threads": count, "candidate": "asin floor", "us_rhs": floor}
                yield [*rows, floor_row]


def run(repeats=7, sizes=SIZES, threads=THREADS, peers=PEERS):
    """Rows of dict: K, threads, candidate, n, error, q1, median, q3, ratio, n_rhs, us_rhs."""
    return [row for rows in blocks(repeats, sizes, threads, peers) for row in rows]


HEADS = [
    "K = M",
    "threads",
    " candidate",
    "trajectories/s, median",
    "quartiles",
    "odekit /",
    "largest error",
    "right-hand sides",
    "µs each and core",
    "runs timed",
]


def table(rows):
    """Markdown."""
    return markdown(HEADS, [line(r) for r in rows])


def line(r):
    begin = [r["K"], r["threads"], r["candidate"]]
    if "missing" in r:
        return [*begin, f"skipped: {r['missing']}", *[""] * 6]
    if "median" not in r:
        return [*begin, *[""] * 5, f"{r['us_rhs']:.3f}", ""]
    counted = [f"{r['n_rhs']:.0f}", f"{r['us_rhs']:.3f}"] if "n_rhs" in r else ["", ""]
    return [
        *begin,
        f"{r['median']:,.0f}",
        f"{r['q1']:,.0f}–{r['q3']:,.0f}",
        f"{r['ratio']:.3g}",
        f"{r['error']:.0e}",
        *counted,
        r["n"],
    ]


def summary(rows):
    """Markdown for README, on most threads: rates at equal errors, and at equal tolerances."""
    most = max(r["threads"] for r in rows)
    timed = [r for r in rows if r["threads"] == most and "median" in r]
    equal = [
        {**r, "candidate": r["candidate"].removesuffix(peer_work.EQUAL)}
        for r in timed
        if r["candidate"].endswith(peer_work.EQUAL) or r["candidate"].startswith("heyoka")
    ]
    asked = [r for r in timed if not r["candidate"].endswith(peer_work.EQUAL)]
    return "\n\n".join(
        [
            "Each with the largest tolerance at which its errors are no larger than heyoka's:",
            by_size(equal, "odekit's ÷ theirs", lambda r: f"{r['equal_ratio']:.3g}"),
            f"All at rtol {peer_work.RTOL:.0e}:",
            by_size(asked, "largest error", lambda r: f"{r['error']:.0e}"),
        ]
    )


def by_size(rows, head, besides):
    """Markdown: trajectories per second by candidate and size, with something else in brackets."""
    sizes = list(dict.fromkeys(r["K"] for r in rows))
    by = {(r["candidate"], r["K"]): f"{r['median']:,.0f} ({besides(r)})" for r in rows}
    first = {r["candidate"]: r["median"] for r in rows if r["K"] == sizes[0]}
    names = sorted(dict.fromkeys(r["candidate"] for r in rows), key=lambda n: -first.get(n, 0.0))
    lines = [[name, *(by.get((name, K), "not timed") for K in sizes)] for name in names]
    return markdown([f" trajectories/s ({head})", *(f"K = M = {K}" for K in sizes)], lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--threads", type=int, nargs="+", default=THREADS)
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    chosen = parser.parse_args()
    print(markdown(HEADS, []), flush=True)
    for rows in blocks(chosen.repeats, chosen.sizes, chosen.threads, chosen.peers):
        print("\n".join(table(rows).splitlines()[2:]), flush=True)


if __name__ == "__main__":
    main()
