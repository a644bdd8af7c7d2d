"""SGD of theory.md, line by line in NumPy, on the random numbers of the compiled one.

Nothing of the kernels is used: SplitMix64, Box and Muller's transform and the updates are written
down again, with no blocks, no padding, and every update made where it belongs.
"""

from __future__ import annotations

import numpy as np

MASK = 2**64 - 1


class Stream:
    """The numbers of a stream in Python's integers."""

    def __init__(self, words):
        self.seed, self.gamma, self.taken = (int(w) for w in words)

    def take(self):
        z = (self.seed + self.gamma * self.taken) & MASK
        self.taken += 1
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        return z ^ (z >> 31)

    def uniform(self):
        return (self.take() >> 12) / 2**52

    def pair(self):
        """Box and Muller: two standard normal variates."""
        z, y = self.take(), self.take()
        radius = np.sqrt(-2 * np.log(1 - (z >> 12) / 2**52)) * (-1 if y & 1 else 1)
        angle = np.pi * ((y >> 12) / 2**52 - 0.5)
        return radius * np.cos(angle), radius * np.sin(angle)

    def normals(self, n, block=512, pad=32):
        """A vector as the kernel draws it: block by block, cosines then sines."""
        x = []
        length = -(-n // pad) * pad
        for first in range(0, length, block):
            pairs = [self.pair() for _ in range(min(block, length - first) // 2)]
            x += [c for c, _ in pairs] + [s for _, s in pairs]
        return np.array(x[:n])


def sgd(steps, W, v, B, words, g, dg, eta_w, eta_v, rule):
    """Weights and readouts after so many steps; `rule` is a namespace of plain numbers."""
    W, v = W.copy(), v.copy()
    draws, choices = (Stream(w) for w in words)
    N, K = W.shape[1], len(W)
    for i in range(steps):
        dW, dv, trained = np.zeros_like(W), np.zeros_like(v), np.zeros(len(v))
        samples = [sample(choices, rule) for _ in range(rule.batch)]
        # As the kernel, a block of every sample of the batch before the next block.
        inputs = batch_inputs(draws, rule, samples, N)
        for (s, row, noise), x in zip(samples, inputs, strict=True):
            h, lam = rule.head[s], W @ x / np.sqrt(N)
            y = rule.labels[s][row] if rule.labels is not None else rule.u[s] @ g(B @ x / N**0.5)
            delta = y + noise - v[h] @ g(lam)
            dW += np.outer(v[h] * dg(lam) * delta, x) / np.sqrt(N) / rule.batch
            dv[h] += g(lam) * delta / rule.batch
            trained[h] += 1 / rule.batch
        dW -= rule.kappa_w / N * W
        for F, copy in rule.held:
            dW -= F / N * (W - copy)
        dv -= trained[:, None] * rule.kappa_v * v
        for h, F, copy in rule.held_heads:
            dv[h] -= trained[h] * F * (v[h] - copy)
        W += eta_w[i] * rule.move[:, None] * dW
        v += eta_v[i] / N * dv
    assert len(rule.move) == K
    return W, v


def sample(choices, rule):
    """Task, place among given inputs, and noise of one sample."""
    s = 0
    if len(rule.p) > 1:
        s = int(np.searchsorted(np.cumsum(rule.p), choices.uniform(), side="right"))
    row = 0
    if rule.inputs is not None:
        row = rule.first[s] + int(choices.uniform() * rule.count[s])
    noise = rule.sigma[s] * choices.pair()[0] if rule.sigma[s] else 0.0
    return s, row, noise


def batch_inputs(draws, rule, samples, N):
    if rule.inputs is not None:
        return [rule.inputs[row] for _, row, _ in samples]
    if N > 512:
        assert len(samples) == 1, "blocks of a batch are drawn in turn"
    return [draws.normals(N) for _ in samples]
