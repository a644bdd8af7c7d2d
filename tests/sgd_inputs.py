"""Plain SGD in N dimensions on structured inputs, clusters, labels, biases, outputs and dropout.

Weights are vectors and inputs are drawn; only the words of `transcription_inputs` are shared, for
what a problem says: no overlap enters a step. Many networks go side by side.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from transcription_inputs import State


@dataclass
class Networks:
    """Networks side by side; the coordinates of a group are next to each other."""

    w: np.ndarray  # (n, K, N)
    B: np.ndarray  # (n, P, N)
    heads: np.ndarray  # (n, H, O, K)
    bias: np.ndarray  # (n, K)
    sizes: np.ndarray  # (G,), coordinates of each group

    @property
    def groups(self):
        """Slices of the groups."""
        ends = np.cumsum(self.sizes)
        return [slice(end - size, end) for end, size in zip(ends, self.sizes, strict=True)]


@dataclass
class Optimizer:
    """What goes on from step to step: velocities of all layers, and B of an adaptive rate."""

    friction: float | None = None  # γ of heavy ball
    power: np.ndarray | None = None  # (n,), B
    gather: float = 1.0  # B += (gather |∇|² - forget B)/N
    forget: float = 0.0
    floor: float = 0.0
    velocities: list = field(default_factory=list)

    def factor(self, gradient, move, N):
        """1/√B of every network, after its gradient of the first layer was added."""
        if self.power is None:
            return 1.0
        square = ((move * gradient) ** 2).sum(axis=(1, 2))
        self.power = self.power + (self.gather * square - self.forget * self.power) / N
        return 1 / np.sqrt(self.power + self.floor)

    def moves(self, steps, N):
        """What weights, heads and biases move by."""
        if self.friction is None:
            return steps
        old = self.velocities or [0.0 * step for step in steps]
        self.velocities = [(1 - self.friction / N) * v + s for v, s in zip(old, steps, strict=True)]
        return [v / N for v in self.velocities]


def with_overlaps(rng, state, vectors, N, n):
    """n networks that have exactly these overlaps in every group."""
    sizes = np.rint(vectors.fractions * N).astype(int)
    assert sizes.sum() == N
    G, K, P = state.R.shape
    blocks = []
    for t in range(G):
        C = np.block([[state.Q[t], state.R[t]], [state.R[t].T, vectors.T[t]]])
        values, axes = np.linalg.eigh(C)
        root = axes * np.sqrt(np.maximum(values, 0.0))
        q, _ = np.linalg.qr(rng.standard_normal((n, sizes[t], K + P)))
        blocks.append(np.sqrt(sizes[t]) * root @ np.swapaxes(q, 1, 2))
    both = np.concatenate(blocks, axis=2)
    heads = np.repeat(state.heads[None], n, axis=0)
    bias = np.repeat(state.bias[None], n, axis=0)
    return Networks(both[:, :K].copy(), both[:, K:].copy(), heads, bias, sizes)


def overlaps(networks):
    """The state of every network, as arrays with a leading axis."""
    w, B = networks.w, networks.B
    Q, R = [], []
    for part, size in zip(networks.groups, networks.sizes, strict=True):
        Q.append(w[:, :, part] @ np.swapaxes(w[:, :, part], 1, 2) / size)
        R.append(w[:, :, part] @ np.swapaxes(B[:, :, part], 1, 2) / size)
    return State(np.stack(Q, 1), np.stack(R, 1), networks.heads.copy(), networks.bias.copy())


def per_coordinate(values, sizes):
    """One number of a group on each of its coordinates."""
    return np.repeat(np.broadcast_to(values, len(sizes)).astype(float), sizes)


def sample(rng, networks, which, vectors, task, keep, changes):
    """Add one sample's gradients of some networks to what will change."""
    w, B, sizes = networks.w[which], networks.B[which], networks.sizes
    (n, K, N), P, O = w.shape, B.shape[1], len(task.readout)
    mean = np.broadcast_to(task.mean, P).astype(float)
    x = np.einsum("p,npi->ni", mean, B) / np.sqrt(N)
    x += np.sqrt(per_coordinate(task.variance, sizes)) * rng.standard_normal((n, N))
    noise = per_coordinate(task.input_noise, sizes)
    view = per_coordinate(task.gain, sizes) * x + noise * rng.standard_normal((n, N))
    field = np.einsum("nki,ni->nk", w, view) / np.sqrt(N) + networks.bias[which]
    target = np.einsum("npi,ni->np", B, x) / np.sqrt(N) + vectors.teacher_bias
    mask = (rng.random((n, K)) < keep).astype(float)
    V = networks.heads[which, task.head]
    answer = mask * vectors.g(field)
    delta = task.label + vectors.teacher(target) @ task.readout.T
    delta = delta + task.noise_std * rng.standard_normal((n, O))
    delta = delta - np.einsum("nok,nk->no", V, answer)
    W = mask * vectors.slope(field) * np.einsum("nok,no->nk", V, delta)
    dw, dV, db, trained = changes
    dw[which] += W[:, :, None] * view[:, None, :] / np.sqrt(N)
    dV[which, task.head] += delta[:, :, None] * answer[:, None, :] / N
    db[which] += W / N
    trained[which, task.head] += 1.0


def descend(rng, networks, vectors, phase, duration, optimizer=None):
    """Steps of SGD up to time `duration` = steps/N, in place; 1/inverse_batch samples a step."""
    optimizer = optimizer or Optimizer()
    w, B = networks.w, networks.B
    n, K, N = w.shape
    batch = round(1.0 / phase.inverse_batch)
    eta = per_coordinate(phase.eta_w, networks.sizes)
    move, keep = np.broadcast_to(phase.move, K)[:, None], np.broadcast_to(phase.keep, K)
    for _ in range(round(duration * N)):
        heads = networks.heads
        changes = (w * 0.0, heads * 0.0, networks.bias * 0.0, np.zeros(heads.shape[:2]))
        for _ in range(batch):
            drawn = rng.choice(len(phase.p), p=phase.p, size=n)
            for i, task in enumerate(phase.tasks):
                which = np.flatnonzero(drawn == i)
                if which.size:
                    sample(rng, networks, which, vectors, task, keep, changes)
        dw, dV, db, trained = (change / batch for change in changes)
        factor = np.reshape(optimizer.factor(dw, move, N), (-1, 1, 1))
        dw -= phase.kappa_w / N * w
        if phase.pull is not None:
            for F, anchor in zip(phase.pull, phase.anchor, strict=True):
                strength = np.repeat(F, networks.sizes, axis=0).T
                dw -= strength / N * (w - B[:, anchor])
        dV -= (trained * phase.kappa_v / N)[:, :, None, None] * heads
        steps = [
            factor * eta * move * dw,
            factor[..., None] * phase.eta_v * dV,
            factor[..., 0] * phase.eta_b * db,
        ]
        moved = optimizer.moves(steps, N)
        w += move * moved[0]
        networks.heads += moved[1]
        networks.bias += moved[2]
