"""The equations of structured inputs, clusters, labels, biases, outputs and dropout, literally.

Written without a look at the kernels and without their moments: every expectation is a sum over a
Gauss-Hermite grid of all D = K + P fields, dropout a sum over all masks, and what a passive vector
feels is its regression on the fields, E[W ψ] = E[W] E[ψ] + cov(ψ, φ) C⁻¹ E[W (φ − M)]. Slow.

Shapes: G groups, K units, P fixed vectors, O outputs, H heads, c consolidations.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from scipy.special import erf

__all__ = ["Phase", "State", "Task", "Vectors", "errors", "fisher", "pack", "rhs", "unpack"]


def smooth(width=1.0):
    """erf(x/√(2 width)) and its derivative."""
    return (
        lambda x: erf(x / np.sqrt(2 * width)),
        lambda x: np.sqrt(2 / np.pi / width) * np.exp(-(x**2) / (2 * width)),
    )


@dataclass(frozen=True)
class Vectors:
    """What is constant: groups, fixed vectors, their biases, and the nonlinearities."""

    fractions: np.ndarray  # (G,)
    T: np.ndarray  # (G, P, P)
    g: Callable = field(default_factory=lambda: smooth()[0])
    slope: Callable = field(default_factory=lambda: smooth()[1])
    teacher: Callable = field(default_factory=lambda: smooth()[0])
    teacher_bias: np.ndarray | float = 0.0  # (P,)


@dataclass(frozen=True)
class Task:
    """A task, or one cluster of it."""

    readout: np.ndarray  # (O, P)
    head: int = 0
    label: np.ndarray | float = 0.0  # (O,)
    noise_std: np.ndarray | float = 0.0  # (O,)
    variance: np.ndarray | float = 1.0  # (G,), m
    mean: np.ndarray | float = 0.0  # (P,), s over the fixed vectors
    gain: np.ndarray | float = 1.0  # (G,), a of the student
    input_noise: np.ndarray | float = 0.0  # (G,), standard deviation s of the student


@dataclass(frozen=True)
class Phase:
    """How a network learns."""

    tasks: tuple  # of Task
    p: np.ndarray  # (S,)
    eta_w: np.ndarray | float = 0.0  # (G,)
    eta_v: float = 0.0
    eta_b: float = 0.0
    inverse_batch: float = 1.0  # 0: gradient flow
    keep: np.ndarray | float = 1.0  # (K,), probability that a unit answers
    move: np.ndarray | float = 1.0  # (K,)
    kappa_w: float = 0.0
    kappa_v: float = 0.0
    pull: np.ndarray | None = None  # (c, G, K), λ F
    anchor: np.ndarray | None = None  # (c, K)


@dataclass(frozen=True)
class State:
    """Overlaps of a group, heads, biases; also their derivative."""

    Q: np.ndarray  # (G, K, K)
    R: np.ndarray  # (G, K, P)
    heads: np.ndarray  # (H, O, K)
    bias: np.ndarray  # (K,)


def pack(state):
    """Flat: Q's upper triangle of each group, R of each, heads, biases."""
    k, l = np.triu_indices(state.Q.shape[1])
    parts = (state.Q[:, k, l], state.R, state.heads, state.bias)
    return np.concatenate([np.ravel(part) for part in parts])


def unpack(y, like):
    """The state of a flat array."""
    G, K, P = like.R.shape
    k, l = np.triu_indices(K)
    ends = np.cumsum([G * len(k), G * K * P, like.heads.size])
    upper, R, heads, bias = np.split(y, ends)
    Q = np.zeros((G, K, K))
    Q[:, k, l] = Q[:, l, k] = upper.reshape(G, -1)
    return State(Q, R.reshape(G, K, P), heads.reshape(like.heads.shape), bias)


# ------------------------------------------------------------------------------- the law of fields


def whole(state, vectors):
    """Overlaps of all vectors in each group, (G, D, D)."""
    lower = np.swapaxes(state.R, 1, 2)
    return np.array(
        [np.block([[state.Q[t], state.R[t]], [lower[t], vectors.T[t]]]) for t in range(len(lower))]
    )


def seen(task, K, P, G):
    """Second moments per coordinate of what two fields see, (G, D, D): m^ss, m^st and m^tt."""
    m, a = (np.broadcast_to(x, G).astype(float) for x in (task.variance, task.gain))
    noise = np.broadcast_to(task.input_noise, G).astype(float)
    moments = np.empty((G, K + P, K + P))
    for t in range(G):
        moments[t] = m[t]
        moments[t, :K, K:] = moments[t, K:, :K] = a[t] * m[t]
        moments[t, :K, :K] = a[t] ** 2 * m[t] + noise[t] ** 2
    return moments


def shift(task, overlaps, vectors, bias):
    """Means M of all fields, (D,), and of every vector in every group as a student sees, (G, D)."""
    G, D = overlaps.shape[:2]
    K = len(bias)
    s = np.broadcast_to(task.mean, D - K).astype(float)
    gain = np.broadcast_to(task.gain, G).astype(float)
    along = overlaps[:, :, K:] @ s
    fields = vectors.fractions @ along
    fields[:K] = (vectors.fractions * gain) @ along[:, :K]
    fields[:K] += bias
    fields[K:] += np.broadcast_to(vectors.teacher_bias, D - K)
    return fields, gain[:, None] * along


_grids = {}


def grid(D, nodes):
    """Nodes (D, n) and weights of a standard normal variable in D dimensions."""
    if (D, nodes) not in _grids:
        z, w = np.polynomial.hermite_e.hermegauss(nodes)
        x = np.stack(np.meshgrid(*[z] * D, indexing="ij")).reshape(D, -1)
        weight = np.prod(np.stack(np.meshgrid(*[w / w.sum()] * D, indexing="ij")), axis=0).ravel()
        kept = weight > 1e-18
        _grids[D, nodes] = x[:, kept], weight[kept]
    return _grids[D, nodes]


def root(C):
    """A with A Aᵀ = C, of covariances that may be singular."""
    values, vectors = np.linalg.eigh(C)
    return vectors * np.sqrt(np.maximum(values, 0.0))


# ------------------------------------------------------------------------------------ the equations


def one_task(state, vectors, phase, task, nodes):
    """dQ, dR, dV of the task's head and db, without penalties."""
    G, K, P = state.R.shape
    overlaps, second = whole(state, vectors), seen(task, K, P, G)
    C = np.einsum("t,tab,tab->ab", vectors.fractions, second, overlaps)
    M, passive = shift(task, overlaps, vectors, state.bias)
    z, weight = grid(K + P, nodes)
    centred = root(C) @ z
    phi = M[:, None] + centred
    g, slope = vectors.g(phi[:K]), vectors.slope(phi[:K])
    V, O = state.heads[task.head], len(task.readout)
    label, noise = (np.broadcast_to(x, O).astype(float) for x in (task.label, task.noise_std))
    target = label[:, None] + task.readout @ vectors.teacher(phi[K:])
    keep = np.broadcast_to(phase.keep, K).astype(float)
    h, steep, S = np.zeros(K), np.zeros((K, K + P)), np.zeros((K, K))
    dV = np.zeros((O, K))
    for answers in product((0.0, 1.0), repeat=K):
        mask = np.array(answers)
        chance = np.prod(np.where(mask == 1.0, keep, 1.0 - keep))
        if chance == 0.0:
            continue
        delta = target - (V * mask) @ g
        W = mask[:, None] * slope * (V.T @ delta)
        h += chance * W @ weight
        steep += chance * (W * weight) @ centred.T
        noisy = (
            (V.T * noise**2) @ V * ((mask[:, None] * slope * weight) @ (mask[:, None] * slope).T)
        )
        S += chance * ((W * weight) @ W.T + noisy)
        dV += chance * (delta * weight) @ (mask[:, None] * g).T
    # W on the fields, by regression: independent of what W is.
    on_fields = steep @ np.linalg.pinv(C, rcond=1e-12, hermitian=True)
    eta = np.broadcast_to(phase.eta_w, G).astype(float)
    move = np.broadcast_to(phase.move, K).astype(float)
    dQ, dR = np.zeros_like(state.Q), np.zeros_like(state.R)
    for t in range(G):
        # Covariance of (1/f√N) Σ_(i in t) b_i x'_i with field a, x' what the student sees.
        felt = second[t, 0][:, None] * overlaps[t]
        A = eta[t] * move[:, None] * (h[:, None] * passive[t] + on_fields @ felt)
        dR[t] = A[:, K:]
        dQ[t] = A[:, :K] + A[:, :K].T
        rate = eta[t] ** 2 * phase.inverse_batch * second[t, 0, 0]
        dQ[t] += rate * np.outer(move, move) * S
    return dQ, dR, phase.eta_v * dV, phase.eta_b * h


def penalties(state, vectors, phase):
    """Weight decay of the first layer and pulls towards copies, as dQ and dR."""
    G, K, _ = state.R.shape
    eta = np.broadcast_to(phase.eta_w, G).astype(float)
    move = np.broadcast_to(phase.move, K).astype(float)
    dQ, dR = np.zeros_like(state.Q), np.zeros_like(state.R)
    for t in range(G):
        to_R, to_Q = phase.kappa_w * state.R[t], phase.kappa_w * state.Q[t]
        if phase.pull is not None:
            for F, anchor in zip(phase.pull, phase.anchor, strict=True):
                to_R = to_R + F[t][:, None] * (state.R[t] - vectors.T[t][anchor])
                to_Q = to_Q + F[t][:, None] * (state.Q[t] - state.R[t][:, anchor].T)
        dR[t] = -eta[t] * move[:, None] * to_R
        half = -eta[t] * move[:, None] * to_Q
        dQ[t] = half + half.T
    return dQ, dR


def rhs(state, vectors, phase, nodes=16):
    """Time derivative, as a State."""
    dQ, dR = penalties(state, vectors, phase)
    dV, db = np.zeros_like(state.heads), np.zeros_like(state.bias)
    for chance, task in zip(phase.p, phase.tasks, strict=True):
        parts = one_task(state, vectors, phase, task, nodes)
        dQ, dR = dQ + chance * parts[0], dR + chance * parts[1]
        decay = phase.eta_v * phase.kappa_v * state.heads[task.head]
        dV[task.head] += chance * (parts[2] - decay)
        db = db + chance * parts[3]
    return State(dQ, dR, dV, db)


def errors(state, vectors, tasks, nodes=16, test_scale=1.0):
    """½ E|target − output|² of each task under its own law, without noise and masks, (tasks,)."""
    found = []
    G, K, P = state.R.shape
    for task in tasks:
        overlaps = whole(state, vectors)
        C = np.einsum("t,tab,tab->ab", vectors.fractions, seen(task, K, P, G), overlaps)
        M, _ = shift(task, overlaps, vectors, state.bias)
        z, weight = grid(K + P, nodes)
        phi = M[:, None] + root(C) @ z
        label = np.broadcast_to(task.label, len(task.readout)).astype(float)
        delta = label[:, None] + task.readout @ vectors.teacher(phi[K:])
        delta = delta - test_scale * state.heads[task.head] @ vectors.g(phi[:K])
        found.append(0.5 * float((delta**2).sum(axis=0) @ weight))
    return np.array(found)


def fisher(state, vectors, task, nodes=40):
    """F^τ_k = m^ss_τ Σ_o V_ok² E[g'_k²], (G, K)."""
    G, K, P = state.R.shape
    overlaps, second = whole(state, vectors), seen(task, K, P, G)
    C = np.einsum("t,tab,tab->ab", vectors.fractions, second, overlaps)
    M, _ = shift(task, overlaps, vectors, state.bias)
    z, weight = grid(1, nodes)
    J2 = [vectors.slope(M[k] + np.sqrt(C[k, k]) * z[0]) ** 2 @ weight for k in range(K)]
    return second[:, 0, 0][:, None] * (state.heads[task.head] ** 2).sum(axis=0) * np.array(J2)


def integrate(state, vectors, phase, duration, steps, nodes=16):
    """The state after `duration`, by Runge and Kutta's fourth-order steps."""
    y, h = pack(state), duration / steps

    def f(y):
        return pack(rhs(unpack(y, state), vectors, phase, nodes))

    for _ in range(steps):
        k1 = f(y)
        k2 = f(y + 0.5 * h * k1)
        k3 = f(y + 0.5 * h * k2)
        k4 = f(y + h * k3)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return unpack(y, state)
