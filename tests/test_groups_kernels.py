"""The committee's equations with groups of inputs, against theirs written out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import transcription
import transcription_groups
from committees import gram, random_committee, upper
from odekit_kernels._jit import kernel
from odekit_kernels.committee.activations import ERF, LINEAR, RELU
from odekit_kernels.committee.groups import errors, jacobian, rhs
from odekit_kernels.committee.inputs import Inputs
from odekit_kernels.committee.memory import First, Wiring, constants, make_plan
from odekit_kernels.committee.one import make_work
from odekit_kernels.committee.rows import errors_of_groups_of_rows
from odekit_kernels.integrators.registry import rhs as registered_rhs
from odekit_kernels.lanes.memory import firsts, make_memory, places_of
from odekit_kernels.simd import WIDTH

EPS = np.finfo(float).eps
RATES = (0.7, 0.3)

PROBLEMS = {
    "one group": {"G": 1},
    "two groups": {"G": 2},
    "three groups, two laws": {"G": 3, "V": 2, "S": 3, "H": 2, "K": 3},
    "penalties": {"G": 2, "V": 2, "S": 2, "consolidations": 2, "decay": 0.1, "frozen": (1,)},
    "gradient flow": {"G": 2, "inverse_batch": 0.0},
}


def committee(rng, *, G=2, V=1, K=2, P=2, **options):
    """A random committee of random groups: its state and what is constant."""
    y, system = random_committee(rng, K=K, P=P, **options)
    C = [gram(rng, K + P) for _ in range(G)]
    share = rng.uniform(0.2, 1.0, G)
    m, a, s = (rng.uniform(0.3, 1.5, (V, G)) for _ in range(3))
    S, c = len(system.p), len(system.anchor)
    inputs = Inputs(
        share=share / share.sum(),
        pace=rng.uniform(0.5, 1.0, G),
        ss=a * a * m + s * s,
        st=a * m,
        tt=m,
        law=np.arange(S) % V,
    )
    system = system._replace(
        T=np.ascontiguousarray(np.concatenate([x[K:, K:] for x in C])),
        F=rng.uniform(0.0, 2.0, (c * G, K)),
        inputs=inputs,
    )
    blocks = [np.concatenate([upper(x[:K, :K]), x[:K, K:].ravel()]) for x in C]
    heads = y[K * (K + 1) // 2 + K * P :]
    return np.concatenate([*blocks, heads]), system


def make(name, activation, seed=0):
    options = dict(PROBLEMS[name])
    if activation == RELU:
        options["inverse_batch"] = 0.0
    return committee(np.random.default_rng(seed), activation=activation, **options)


def heads_of(y, system):
    K, P, G = len(system.move), system.T.shape[1], len(system.inputs.share)
    return (len(y) - G * (K * (K + 1) // 2 + K * P)) // K


def work_for(y, system):
    K, P, G = len(system.move), system.T.shape[1], len(system.inputs.share)
    return make_work(K, P, heads_of(y, system), len(system.p), G)


@kernel(_nrt=False)
def rhs_in_lanes(M, m, w, y, dy):
    registered_rhs(M, m, w, y, dy, True, True, True)


def in_lanes(y, system):
    """Memory, plan and wiring of eight lanes of one committee, and its row of constants."""
    K, P = len(system.move), system.T.shape[1]
    V, G = system.inputs.ss.shape
    S = len(system.p)
    plan = make_plan(
        K, P, heads_of(y, system), S, len(system.anchor), S, system.activation,
        system.inverse_batch != 0.0, 1, (G, V),
    )  # fmt: skip
    places = constants(plan)
    first = First(**firsts(places))
    given = system._asdict() | system.inputs._asdict() | {
        "eta_w": RATES[0], "eta_v": RATES[1], "watched": system.u, "level": np.ones(S),
    }  # fmt: skip
    row = np.concatenate([np.ravel(given[name]) for name in places])
    law = system.inputs.law
    wiring = Wiring(
        system.head, system.move, system.anchor, system.v_head, system.head, first, law, law
    )
    memory = make_memory(plan.size)
    memory[places_of(places)] = row[:, None]
    memory[plan.y : plan.y + plan.n] = y[:, None]
    return memory, plan, wiring, row


@pytest.mark.parametrize("activation", [ERF, LINEAR, RELU])
@pytest.mark.parametrize("name", PROBLEMS)
def test_one_trajectory_and_lanes_are_the_transcription(name, activation):
    y, system = make(name, activation)
    expected = transcription_groups.rhs(y, *RATES, system)
    dy = np.full_like(y, np.nan)
    rhs(y, *RATES, system, work_for(y, system), dy)
    # Sums of up to G D² terms of order 1; ReLU's √(1 − r²) costs the transcription up to half of
    # its digits where fields nearly coincide.
    tolerance = 1e-8 if activation == RELU else 300 * EPS
    assert_allclose(dy, expected, rtol=0, atol=tolerance)
    M, m, w, _ = in_lanes(y, system)
    rhs_in_lanes(M, m, w, m.y, m.k)
    lanes = M[m.k : m.k + m.n]
    assert_allclose(lanes, np.tile(dy[:, None], WIDTH), rtol=0, atol=300 * EPS)


@pytest.mark.parametrize("activation", [ERF, LINEAR, RELU])
def test_errors_are_those_under_the_law_of_each_task(activation):
    y, system = make("three groups, two laws", activation)
    given = (system.T, system.inputs, system.u, system.head)
    expected = transcription_groups.errors(y, activation, *given, 3)
    out = np.empty(3)
    errors(y, activation, *given, work_for(y, system), out)
    assert_allclose(out, expected, rtol=0, atol=100 * EPS)
    M, m, w, row = in_lanes(y, system)
    rows = np.repeat(y[None], 11, axis=0)
    found, which = np.empty((11, 3)), np.zeros(11, dtype=np.int64)
    errors_of_groups_of_rows(M, m, w, rows, row[None], places_of(constants(m)), which, found)
    assert_allclose(found, np.tile(expected, (11, 1)), rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("activation", [ERF, LINEAR])
@pytest.mark.parametrize("name", PROBLEMS)
def test_jacobian_is_the_complex_step_of_the_transcription(name, activation):
    y, system = make(name, activation, seed=1)
    expected = transcription_groups.complex_step_jacobian(y, *RATES, system)
    J = np.full((len(y), len(y)), np.nan)
    jacobian(y, *RATES, system, work_for(y, system), J)
    assert_allclose(J, expected, rtol=0, atol=300 * EPS * max(1.0, np.abs(expected).max()))


def test_jacobian_of_relu_is_a_difference():
    y, system = make("two groups", RELU, seed=2)
    J, work = np.empty((len(y), len(y))), work_for(y, system)
    jacobian(y, *RATES, system, work, J)
    for j in range(len(y)):
        e, two = np.zeros_like(y), np.empty((2, len(y)))
        e[j] = 1e-6
        rhs(y + e, *RATES, system, work, two[0])
        rhs(y - e, *RATES, system, work, two[1])
        # Truncation h² and rounding ε/h, both about 1e-10 here.
        assert_allclose(J[:, j], (two[0] - two[1]) / 2e-6, rtol=0, atol=1e-8)


@pytest.mark.parametrize("activation", [ERF, LINEAR])
def test_equal_groups_together_are_the_old_equations(activation):
    """Σ_τ f_τ G^τ of groups with equal laws is the state of one block."""
    rng = np.random.default_rng(3)
    y, system = committee(rng, G=3, activation=activation, decay=0.1)
    one = np.ones_like
    inputs = system.inputs._replace(
        pace=one(system.inputs.pace), ss=one(system.inputs.ss), st=one(system.inputs.st),
        tt=one(system.inputs.tt),
    )  # fmt: skip
    system = system._replace(inputs=inputs)
    dy = np.empty_like(y)
    rhs(y, *RATES, system, work_for(y, system), dy)
    f, K, P = inputs.share, 2, 2
    size = K * (K + 1) // 2 + K * P

    def total(z):
        return np.concatenate([f @ z[: 3 * size].reshape(3, size), z[3 * size :]])

    T = np.tensordot(f, system.T.reshape(3, P, P), 1)
    plain = random_committee(rng)[1]._replace(
        **{n: getattr(system, n) for n in ("activation", "u", "sigma", "p", "head", "move")},
        kappa_w=system.kappa_w, kappa_v=system.kappa_v, T=T,
    )  # fmt: skip
    expected = transcription.rhs(total(y), *RATES, plain)
    assert_allclose(total(dy), expected, rtol=0, atol=1e-13)


def test_a_variance_of_all_inputs_scales_the_overlaps_and_the_rate():
    """m for all inputs is (Q, R, T, η_w) → m(Q, R, T, η_w)."""
    m, rng = 0.6, np.random.default_rng(4)
    y, system = committee(rng, G=1)
    inputs = system.inputs._replace(
        pace=np.ones(1), ss=np.full((1, 1), m), st=np.full((1, 1), m), tt=np.full((1, 1), m)
    )
    dy = np.empty_like(y)
    rhs(y, *RATES, system._replace(inputs=inputs), work_for(y, system), dy)
    scale = np.concatenate([np.full(7, m), np.ones(2)])
    plain = random_committee(rng)[1]._replace(
        **{n: getattr(system, n) for n in ("u", "sigma", "p", "head", "move")}, T=m * system.T
    )
    expected = transcription.rhs(scale * y, m * RATES[0], RATES[1], plain) / scale
    assert_allclose(dy, expected, rtol=0, atol=1e-13)
