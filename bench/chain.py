"""µs per step and network: the chain of overlaps against SGD in weights, at several N.

erf, online, label noise, both layers learn, one thread; eight networks at a time, as `simulate`
trains them. Both are timed once in each repeat, in turn.
"""

from __future__ import annotations

import numpy as np

from bench.sgd import ETA_V, ETA_W, SIGMA, Odekit, seconds, weights
from bench.tables import command
from odekit_kernels.committee.chain.draws import STREAMS
from odekit_kernels.committee.chain.memory import (
    ChainRule,
    constants_of,
    lanes,
    make_memory,
    state_of,
)
from odekit_kernels.committee.chain.steps import train
from odekit_kernels.committee.sgd.stream import streams
from odekit_kernels.simd import WIDTH

SIZES = ((2, 500), (2, 2_000), (2, 10_000), (2, 10**9), (4, 2_000), (8, 2_000))
LARGEST = 100_000  # of networks whose weights are trained
SECONDS = 0.1  # of one timing


class Chain:
    """Eight networks of K units and K fixed vectors."""

    def __init__(self, K, N):
        rng = np.random.default_rng(0)
        given = {name: lanes(*shape) for name, shape in constants_of(K, K, 1, 1, K).items()}
        given["read"][:] = np.eye(K)[..., None]
        for name, value in {"u": 1.0, "sigma": SIGMA, "p": 1.0, "move": 1.0}.items():
            given[name][:] = value
        self.rule = ChainRule(N=N, **given, head=np.zeros(1, dtype=np.int64))
        state = {name: lanes(*shape) for name, shape in state_of(K, K, 1).items()}
        state["X"][:] = 0.3 * rng.standard_normal((K, K, WIDTH))
        state["L"][:] = 0.7 * np.eye(K)[..., None]
        state["v"][:] = 1.0
        seeds = np.random.SeedSequence(0).spawn(WIDTH)
        words = [streams(s.generate_state(2 * STREAMS, np.uint64)) for s in seeds]
        self.memory = make_memory(state, np.stack(words, axis=-1), 1, 1, K)
        self.rates = np.full((1, WIDTH), ETA_W), np.full((1, WIDTH), ETA_V)

    def steps(self, n):
        train(n, *self.rates, 0, 0, self.rule, self.memory)


def run(repeats=7):
    """Time all sizes.

    Returns
    -------
    list of dict
        Keys K, N, chain_us, weights_us (medians, per network), ratio (median within repeats).
    """
    rows = []
    for K, N in SIZES:
        chain, counts, times = Chain(K, N), {}, {"chain": [], "weights": []}
        made = {"chain": chain}
        if N <= LARGEST:
            made["weights"] = Odekit(*weights(K, N))
        for name, candidate in made.items():
            candidate.steps(2)
            counts[name] = max(2, int(SECONDS / seconds(candidate, 1000 if name == "chain" else 3)))
        for _ in range(repeats):
            for name, candidate in made.items():
                each = WIDTH if name == "chain" else 1
                times[name].append(1e6 * seconds(candidate, counts[name]) / each)
        ours, plain = np.array(times["chain"]), np.array(times["weights"] or [np.nan] * repeats)
        rows.append(
            {
                "K": K,
                "N": N,
                "chain_us": float(np.median(ours)),
                "weights_us": float(np.median(plain)),
                "ratio": float(np.median(plain / ours)),
            }
        )
    return rows


def table(rows):
    """Markdown."""
    lines = ["| K = P | N | chain, µs | weights, µs | ratio |", "|---:|---:|---:|---:|---:|"]
    for r in rows:
        lines.append(
            f"| {r['K']} | {r['N']:,} | {r['chain_us']:.3f} | {r['weights_us']:.3g} | "
            f"{r['ratio']:.0f} |"
        )
    return "\n".join(lines).replace("nan", "–")


if __name__ == "__main__":
    command(__doc__, run, table, repeats=7)
