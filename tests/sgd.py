"""Plain online SGD of a committee in N dimensions: what the equations must describe.

Weights are vectors, inputs are drawn, nothing is averaged. Only the problem's words are read from
the package; no equation, moment or kernel of it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numba import njit

ACTIVATIONS = {"erf": 0, "linear": 1, "relu": 2}


@njit
def g(activation, z):
    if activation == 0:
        return math.erf(z / math.sqrt(2.0))
    if activation == 1:
        return z
    return max(z, 0.0)


@njit
def slope(activation, z):
    if activation == 0:
        return math.sqrt(2.0 / math.pi) * math.exp(-0.5 * z * z)
    if activation == 1:
        return 1.0
    return 1.0 if z > 0.0 else 0.0


@njit
def draw_task(rng, p):
    """Index of a task, each with its probability."""
    level = rng.random()
    for s in range(len(p) - 1):
        level -= p[s]
        if level < 0.0:
            return s
    return len(p) - 1


@njit
def add_gradient(rng, w, B, heads, tasks, activation, dw, dv, trained):
    """Add one sample's update to dw (its factor 1/√N included) and dv; count the head it trains."""
    p, u, sigma, head = tasks
    K, N = w.shape
    s = draw_task(rng, p)
    v = heads[head[s]]
    x = rng.standard_normal(N)
    field = w @ x / math.sqrt(N)
    target = B @ x / math.sqrt(N)
    delta = sigma[s] * rng.standard_normal()
    for n in range(len(target)):
        delta += u[s, n] * g(activation, target[n])
    for k in range(K):
        delta -= v[k] * g(activation, field[k])
    for k in range(K):
        dw[k] += v[k] * slope(activation, field[k]) * delta / math.sqrt(N) * x
        dv[head[s], k] += g(activation, field[k]) * delta
    trained[head[s]] += 1.0


@njit
def penalise(w, heads, trained, decay, first, second, dw, dv):
    """Add the pull of weight decay and of every consolidation, a share 1/N of it each step."""
    kappa_w, kappa_v = decay
    F, copies = first
    F_v, held, held_head = second
    N = w.shape[1]
    for k in range(len(w)):
        dw[k] -= kappa_w / N * w[k]
        for c in range(len(F)):
            dw[k] -= F[c, k] / N * (w[k] - copies[c, k])
    for h in range(len(heads)):
        dv[h] -= trained[h] * kappa_v * heads[h]
    for c in range(len(F_v)):
        h = held_head[c]
        dv[h] -= trained[h] * F_v[c] * (heads[h] - held[c])


@njit
def train(rng, steps, w, B, heads, tasks, rates, move, batch, decay, first, second, activation):
    """Take so many steps of online SGD, in place."""
    eta_w, eta_v = rates
    K, N = w.shape
    for _ in range(steps):
        dw, dv = np.zeros_like(w), np.zeros_like(heads)
        trained = np.zeros(len(heads))
        for _ in range(batch):
            add_gradient(rng, w, B, heads, tasks, activation, dw, dv, trained)
        dw /= batch
        dv /= batch
        penalise(w, heads, trained / batch, decay, first, second, dw, dv)
        for k in range(K):
            w[k] += eta_w * move[k] * dw[k]
        heads += eta_v / N * dv


def self_moments(activation, Q):
    """E[g'(λ)²] and E[g(λ)²] of a field of variance Q."""
    if activation == "erf":
        return 2 / np.pi / np.sqrt(1 + 2 * Q), 2 / np.pi * np.arcsin(Q / (1 + Q))
    if activation == "linear":
        return np.ones_like(Q), Q
    return np.full_like(Q, 0.5), Q / 2


def realise(C, N, rng):
    """Vectors in N dimensions with exactly these overlaps: a factor of C times a random frame."""
    eigenvalues, vectors = np.linalg.eigh(C)
    factor = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    q, r = np.linalg.qr(rng.standard_normal((N, len(C))))
    return factor @ (q * np.sign(np.diagonal(r))).T * np.sqrt(N)


@dataclass
class Penalties:
    """What the consolidations so far hold, and how strongly."""

    F: list = field(default_factory=list)
    copies: list = field(default_factory=list)
    F_v: list = field(default_factory=list)
    held: list = field(default_factory=list)
    held_head: list = field(default_factory=list)

    def add(self, consolidation, activation, w, v, head):
        """Copy the first layer and one head as they are now."""
        J2, I2 = self_moments(activation, np.sum(w * w, axis=1) / w.shape[1])
        F = {"fisher": v**2 * J2, "node": v**2, "quadratic": np.ones(len(v))}[consolidation.kind]
        self.F.append(consolidation.strength * F)
        self.copies.append(w.copy())
        self.F_v.append(consolidation.strength * I2)
        self.held.append(v.copy())
        self.held_head.append(head)

    def arrays(self, K, N):
        """As the compiled step takes them."""
        first = (np.reshape(self.F, (-1, K)), np.reshape(self.copies, (-1, K, N)))
        second = (np.reshape(self.F_v, (-1, K)), np.reshape(self.held, (-1, K)))
        return first, (*second, np.array(self.held_head, dtype=np.int64))


def simulate(problem, input_dim, seed, times):
    """Run a problem by SGD in `input_dim` dimensions.

    Returns Q (time, K, K), R (time, K, P) and the readouts (time, head, K) at `times`, which are
    measured in steps/N and rounded to a step. A row at a switch is taken before it.
    """
    rng = np.random.default_rng(seed)
    state, heads = problem.state, list(problem.heads)
    K = len(state.Q)
    fields = realise(np.block([[state.Q, state.R], [state.R.T, state.T]]), input_dim, rng)
    w, B = fields[:K].copy(), fields[K:].copy()
    v = np.array([problem.heads[name] for name in heads], dtype=float)
    penalties, rows, done, begin = Penalties(), [], 0, 0.0
    todo = [round(t * input_dim) for t in times]
    for i, phase in enumerate(problem.phases):
        enter(problem, i, w, v, penalties)
        end = round((begin + phase.duration) * input_dim)
        for stop in [*(s for s in todo if done <= s < end), end]:
            train(rng, stop - done, w, B, v, *settings(problem, phase, penalties, K, input_dim))
            done = stop
            if len(rows) < len(todo) and todo[len(rows)] == done:
                rows.append((w @ w.T / input_dim, w @ B.T / input_dim, v.copy()))
        begin += phase.duration
    return [np.array(block) for block in zip(*rows, strict=True)]


def enter(problem, index, w, v, penalties):
    """Do what happens as a phase begins: copies for consolidation, then copies of heads."""
    phase, heads = problem.phases[index], list(problem.heads)
    if phase.consolidation is not None:
        task = phase.consolidation.task or next(iter(problem.phases[index - 1].mixture))
        head = heads.index(problem.head_of(task))
        penalties.add(phase.consolidation, problem.activation, w, v[head], head)
    old = v.copy()
    for target, source in (phase.copy_heads or {}).items():
        v[heads.index(target)] = old[heads.index(source)]


def settings(problem, phase, penalties, K, N):
    """Arguments of `train` after the state."""
    names, heads = list(phase.mixture), list(problem.heads)
    tasks = (
        np.array(list(phase.mixture.values()), dtype=float),
        np.array([problem.tasks[n].readout for n in names], dtype=float),
        np.array([problem.tasks[n].noise_std for n in names], dtype=float),
        np.array([heads.index(problem.head_of(n)) for n in names], dtype=np.int64),
    )
    rates = (float(phase.learning_rate), float(phase.readout_learning_rate))
    move = np.ones(K) if phase.frozen is None else 1.0 - np.array(phase.frozen, dtype=float)
    decay = (float(phase.weight_decay), float(phase.readout_weight_decay))
    first, second = penalties.arrays(K, N)
    code = ACTIVATIONS[problem.activation]
    return tasks, rates, move, int(phase.batch_size), decay, first, second, code
