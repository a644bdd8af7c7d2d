"""The drive in full: what it descends, what it conserves, and SGD with momentum and norms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp

import sgd_inputs
from general_committees import flat, memory_of
from odekit_kernels.committee.activations import ERF, LINEAR, RELU
from odekit_kernels.committee.general.differences import jacobian
from odekit_kernels.committee.general.plan import RMS, constants
from odekit_kernels.lanes.memory import places_of
from test_general_kernels import alone, derivative, found_errors, full
from transcription_inputs import State

G, K, P, O = 2, 2, 2, 2


def flow(activation, **changes):
    """Gradient flow without penalties, of one rate for both groups: what, and its state."""
    start, vectors, phase = full(LINEAR if activation == LINEAR else ERF, 1.0)
    quiet = {"inverse_batch": 0.0, "kappa_w": 0.0, "kappa_v": 0.0, "pull": None, "anchor": None}
    phase = replace(phase, eta_w=0.8, **quiet | changes)
    return start, vectors, phase, alone(start, vectors, phase, activation)


def slopes(f, y):
    """Derivatives of f by differences of fourth order, with entries of y along the last axis."""
    h, found = 1e-3, []
    for e in np.eye(y.size):
        one, two = f(y + h * e) - f(y - h * e), f(y + 2 * h * e) - f(y - 2 * h * e)
        found.append((8.0 * one - two) / (12.0 * h))
    return np.moveaxis(np.array(found), 0, -1)


@pytest.mark.parametrize("activation", [ERF, LINEAR, RELU])
def test_gradient_flow_descends_the_error(activation):
    """Groups, views, clusters, labels, biases, outputs: all follows from the errors alone."""
    start, vectors, phase, made = flow(activation, keep=1.0)
    y = flat(start)
    slope = slopes(lambda x: phase.p @ found_errors(made, x), y)
    block, heads = K * (K + 1) // 2 + K * P, G * (K * (K + 1) // 2 + K * P)
    expected = [-phase.eta_v * slope[heads:-K], -phase.eta_b * slope[-K:]]
    blocks = []
    k, l = np.triu_indices(K)
    for g in range(G):
        own = slope[g * block :]
        by = np.zeros((K, K + P))
        by[k, l] = by[l, k] = own[: len(k)]
        by[np.arange(K), np.arange(K)] *= 2.0
        by[:, K:] = own[len(k) : block].reshape(K, P)
        R = start.R[g]
        whole = np.block([[start.Q[g], R], [R.T, vectors.T[g]]])
        A = -phase.eta_w / vectors.fractions[g] * by @ whole
        blocks.append(np.append((A[:, :K] + A[:, :K].T)[k, l], A[:, K:].ravel()))
    # Of the differences some 1e-11; ReLU changes faster.
    found = derivative(made, y)
    assert_allclose(found, np.concatenate([*blocks, *expected]), rtol=0, atol=1e-8)
    assert np.abs(found).min() > 1e-4


@pytest.mark.parametrize("activation", [LINEAR, RELU])
def test_homogeneous_units_keep_what_they_have(activation):
    """Σ_τ f_τ Q^τ_kk/η_w + b_k²/η_b − Σ V_ok²/η_v stands still, under masks too."""
    start, vectors, phase, made = flow(activation)
    y = flat(start)
    dy, block = derivative(made, y), K * (K + 1) // 2 + K * P
    dQ = dy[: G * block].reshape(G, block)[:, [0, 2]]
    V, dV = (x[G * block : -K].reshape(2, O, K) for x in (y, dy))
    first = vectors.fractions @ dQ / phase.eta_w + 2 * y[-K:] * dy[-K:] / phase.eta_b
    second = 2 * (V * dV).sum(axis=(0, 1)) / phase.eta_v
    assert np.abs(second).min() > 1e-3
    assert_allclose(first, second, rtol=0, atol=1e-14)


def test_jacobian_with_all_that_there_is_is_a_difference():
    """A heavy ball, an adaptive rate and a sign teacher too."""
    start, vectors, phase = full(size=1.0)
    made = alone(start, vectors, phase, heavy=1, adaptive=RMS, friction=1.5, forget=0.7, floor=0.3)
    made[2].width[3] = 0.0
    y = np.random.default_rng(1).uniform(0.1, 0.2, made[1].n)
    y[: flat(start).size], y[-1] = flat(start), 0.8
    M, plan, w = made
    J = np.full((y.size, y.size), np.nan)
    jacobian(memory_of(plan, M[places_of(constants(plan))], lanes=True), plan, w, y, J)
    expected = slopes(lambda x: derivative(made, x), y)
    assert_allclose(J, expected, rtol=0, atol=1e-10 * np.abs(J).max())


# ----------------------------------------------------------------------------------------- SGD


def descend(rng, networks, vectors, phase, duration, friction, rms):
    """Momentum of torch on all parameters, or rates over √(B + ϵ); B where there is one."""
    n, _, N = networks.w.shape
    eta = sgd_inputs.per_coordinate(phase.eta_w, networks.sizes)
    rates = (eta, phase.eta_v, phase.eta_b)
    params = (networks.w, networks.heads, networks.bias)
    velocities, B = [0.0 * x for x in params], np.ones(n)
    for _ in range(round(duration * N)):
        changes = (*(0.0 * x for x in params), np.zeros(networks.heads.shape[:2]))
        drawn = rng.choice(len(phase.p), p=phase.p, size=n)
        for i, task in enumerate(phase.tasks):
            which = np.flatnonzero(drawn == i)
            if which.size:
                sgd_inputs.sample(rng, networks, which, vectors, task, np.ones(K), changes)
        factor = 1.0 / np.sqrt(B + rms[1]) if rms else np.ones(n)
        if rms:
            B += rms[0] * ((changes[0] ** 2).sum(axis=(1, 2)) - B) / N
        for j, (x, rate) in enumerate(zip(params, rates, strict=True)):
            step = factor.reshape(n, *[1] * (x.ndim - 1)) * rate * changes[j]
            if friction:
                velocities[j] = (1.0 - friction / N) * velocities[j] + step
                step = velocities[j] / N
            x += step
    return B


@pytest.mark.parametrize("kind", ["heavy", "rms"])
def test_momentum_and_norms_are_those_of_sgd(kind):
    """The mean of networks that start alike, in its own standard errors: 1.1 and 1.2.

    Units, heads or biases left out of it make it 2.2 to 11.
    """
    start, vectors, phase = full(size=1.0)
    quiet = {"kappa_w": 0.0, "kappa_v": 0.0, "pull": None, "anchor": None}
    phase = replace(phase, keep=1.0, inverse_batch=1.0, **quiet)
    friction, rms = (1.5, ()) if kind == "heavy" else (0.0, (0.7, 2.0))
    options = {"friction": friction, "heavy": 1} if kind == "heavy" else {
        "adaptive": RMS, "forget": rms[0], "floor": rms[1]}  # fmt: skip
    made, own = alone(start, vectors, phase, **options), flat(start)
    y = np.zeros(made[1].n)
    y[: own.size], y[-1] = own, 0.0 if kind == "heavy" else 1.0
    run = solve_ivp(lambda _, x: derivative(made, x), (0, 1), y, method="DOP853", rtol=1e-8)
    expected, rng, n = run.y[:, -1], np.random.default_rng(5), 100
    networks = sgd_inputs.with_overlaps(rng, start, vectors, 100, n)
    B = descend(rng, networks, vectors, phase, 1.0, friction, rms)
    found = sgd_inputs.overlaps(networks)
    parts = zip(found.Q, found.R, found.heads, found.bias, strict=True)
    each = np.array([flat(State(*part)) for part in parts])
    if rms:
        each = np.column_stack([each, B])
        expected = np.append(expected[: own.size], expected[-1])
    z = (each.mean(axis=0) - expected[: each.shape[1]]) / (each.std(axis=0) / np.sqrt(n))
    assert np.sqrt(np.mean(z**2)) < 1.6, z
    assert np.abs(z).max() < 4.0, z
