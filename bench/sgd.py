"""µs per step of SGD: odekit, the same loop in NumPy and in PyTorch, and the memory's own speed.

erf, online, label noise, both layers learn, one thread. A step draws N normal variates, reads and
writes W, reads B, reads and writes x: 8 N (2K + P + 2) bytes. `memory` is the same traffic without
the learning: w ← w + a x, sums of B, and a new x that is read off a counter. Every implementation
is timed once in each repeat, in turn; before any timing all must agree on what a step does.
"""

from __future__ import annotations

import math
import time

import numba
import numpy as np

from bench.tables import command
from odekit_kernels import simd
from odekit_kernels.committee.sgd.memory import PAD, Rule, make_memory, padded
from odekit_kernels.committee.sgd.passes import dot
from odekit_kernels.committee.sgd.steps import train
from odekit_kernels.committee.sgd.stream import normals, streams

SIZES = ((2, 1_000), (2, 10_000), (2, 1_000_000), (8, 1_000), (8, 10_000), (8, 1_000_000))
ETA_W, ETA_V, SIGMA = 0.5, 0.3, 0.1
SECONDS = 0.1  # of one timing


def torch_or_none():
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(1)
    return torch


# ------------------------------------------------------------------------------------- candidates


class Odekit:
    def __init__(self, W, B, v):
        K, N = W.shape
        none = np.zeros((0, padded(W).shape[1]))
        one = np.zeros(1, dtype=np.int64)
        self.rule = Rule(
            N=N, B=padded(B), u=np.ones((1, K)), sigma=np.array([SIGMA]), p=np.ones(1), head=one,
            move=np.ones(K), kappa_w=0.0, kappa_v=0.0, F=none, Fa=none, F_v=np.zeros((1, K)),
            Fv=np.zeros((1, K)), inputs=none, labels=np.zeros((1, 0)), first=one, size=one,
        )  # fmt: skip
        words = streams(np.random.SeedSequence(0).generate_state(4, np.uint64))
        self.memory = make_memory(padded(W), v[None].copy(), words, 1, self.rule)
        self.rates = np.array([ETA_W]), np.array([ETA_V])

    def steps(self, n):
        train(n, *self.rates, 0, 0, self.rule, self.memory)


class Numpy:
    """As one writes it: matrix–vector products, a rank-one update in place."""

    def __init__(self, W, B, v):
        self.W, self.B, self.v = W.copy(), B.copy(), v.copy()
        self.rng = np.random.default_rng(0)
        self.erf = np.vectorize(math.erf, otypes=[float])

    def draw(self):
        return self.rng.standard_normal(self.W.shape[1]), self.rng.standard_normal()

    def step(self, x, noise):
        N, v, root = x.size, self.v, math.sqrt(x.size)
        lam, rho = self.W @ x / root, self.B @ x / root
        g = self.erf(lam / math.sqrt(2))
        delta = self.erf(rho / math.sqrt(2)).sum() + SIGMA * noise - v @ g
        slope = math.sqrt(2 / math.pi) * np.exp(-0.5 * lam**2)
        self.W += np.outer(ETA_W / root * delta * v * slope, x)
        self.v = v + ETA_V / N * delta * g

    def steps(self, n):
        for _ in range(n):
            self.step(*self.draw())


class Torch:
    def __init__(self, W, B, v):
        self.torch = torch_or_none()
        self.W, self.B, self.v = (self.torch.tensor(a) for a in (W, B, v))

    def draw(self):
        N = self.W.shape[1]
        float64 = self.torch.float64
        return self.torch.randn(N, dtype=float64), float(self.torch.randn(()))

    def step(self, x, noise):
        torch, N, v = self.torch, x.numel(), self.v
        root = math.sqrt(N)
        lam, rho = self.W @ x / root, self.B @ x / root
        g = torch.erf(lam / math.sqrt(2))
        delta = torch.erf(rho / math.sqrt(2)).sum() + SIGMA * noise - v @ g
        slope = math.sqrt(2 / math.pi) * torch.exp(-0.5 * lam**2)
        self.W.addr_(delta * v * slope, x, alpha=ETA_W / root)
        self.v = v + ETA_V / N * delta * g

    def steps(self, n):
        for _ in range(n):
            self.step(*self.draw())


class Memory:
    """The traffic alone."""

    def __init__(self, W, B, _v):
        self.W, self.B, self.x = padded(W), padded(B), padded(W[:1])

    def steps(self, n):
        traffic(n, self.W, self.B, self.x)


@numba.njit(nogil=True, error_model="numpy", fastmath={"contract"})
def traffic(n, W, B, x):
    found, block, L = 0.0, 16 * PAD, W.shape[1]
    for i in range(n):
        for first in range(0, L, block):
            count = min(block, L - first)
            for k in range(W.shape[0]):
                for l in range(k * L + first, k * L + first + count, simd.WIDTH):
                    w = simd.load(W, l) + 1e-9 * simd.load(x, l - k * L)
                    simd.store(W, l, w)
            for l in range(first, first + count, simd.WIDTH):
                simd.store(x, l, simd.load(x, l) + 1e-9 * i)
            for m in range(B.shape[0]):
                found += dot(B, m * L + first, x, first, count)
    return found


# ----------------------------------------------------------------------------------------- timing


def weights(K, N):
    rng = np.random.default_rng(1)
    return rng.normal(size=(K, N)), rng.normal(size=(K, N)), rng.normal(size=K)


def check(kinds):
    """One step from the same weights on the same sample."""
    W, B, v = weights(3, 64)
    ours = Odekit(W, B, v)
    stream, other, x = ours.memory.streams[0].copy(), ours.memory.streams[1].copy(), np.zeros(64)
    normals(stream, x, 0, 64)
    pair = np.zeros(2)
    normals(other, pair, 0, 2)
    ours.steps(1)
    for kind in kinds:
        peer = kind(W, B, v)
        given = peer.torch.tensor(x) if kind is Torch else x
        peer.step(given, pair[0])
        np.testing.assert_allclose(np.asarray(peer.W), ours.memory.W[:, :64], atol=1e-13)
        np.testing.assert_allclose(np.asarray(peer.v), ours.memory.v[0], atol=1e-13)


def seconds(candidate, n):
    begin = time.perf_counter()
    candidate.steps(n)
    return (time.perf_counter() - begin) / n


def run(repeats=7):
    """Time all sizes.

    Returns
    -------
    list of dict
        Keys K, N, implementation, median_us, q1_us, q3_us, ratio (to odekit's, within repeats),
        bandwidth (bytes of a step over the median, GB/s).
    """
    peers = {"NumPy": Numpy} | ({"PyTorch": Torch} if torch_or_none() else {})
    check(peers.values())
    rows = []
    for K, N in SIZES:
        parts = weights(K, N)
        candidates = {"odekit": Odekit, "memory": Memory, **peers}
        made = {name: kind(*parts) for name, kind in candidates.items()}
        counts = {}
        for name, candidate in made.items():
            candidate.steps(2)
            counts[name] = max(2, int(SECONDS / seconds(candidate, 3)))
        times = {name: [] for name in made}
        for _ in range(repeats):
            for name, candidate in made.items():
                times[name].append(seconds(candidate, counts[name]))
        ours = np.array(times["odekit"])
        for name, values in times.items():
            q1, median, q3 = 1e6 * np.percentile(values, [25, 50, 75])
            rows.append(
                {
                    "K": K,
                    "N": N,
                    "implementation": name,
                    "median_us": float(median),
                    "q1_us": float(q1),
                    "q3_us": float(q3),
                    "ratio": float(np.median(np.array(values) / ours)),
                    "bandwidth": 8e-3 * N * (2 * K + K + 2) / float(median),
                }
            )
    return rows


def table(rows):
    """Markdown."""
    lines = [
        "| K = P | N | implementation | µs, median | quartiles | / odekit | GB/s |",
        "|---:|---:|---|---:|---:|---:|---:|",
    ]
    for r in rows:
        lines.append(
            f"| {r['K']} | {r['N']} | {r['implementation']} | {r['median_us']:.3g} | "
            f"{r['q1_us']:.3g}–{r['q3_us']:.3g} | {r['ratio']:.2f} | {r['bandwidth']:.1f} |"
        )
    if torch_or_none() is None:
        lines.append("\nPyTorch: skipped, not installed (`pip install torch`).")
    return "\n".join(lines)


if __name__ == "__main__":
    command(__doc__, run, table, repeats=7)
