from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

import transcription
from committees import gram, random_committee, upper
from odekit_kernels.committee.activations import ERF, LINEAR, RELU
from odekit_kernels.committee.one import errors, jacobian, make_work, rhs

EPS = np.finfo(float).eps
ACTIVATIONS = (ERF, LINEAR, RELU)
RATES = (0.7, 0.3)

PROBLEMS = {
    "one unit": {"K": 1, "P": 1},
    "two units": {"K": 2, "P": 2},
    "odd number of fields": {"K": 3, "P": 4},
    "more than one vector of fields": {"K": 3, "P": 9, "decay": 0.1},
    "frozen unit": {"K": 3, "P": 3, "frozen": (1,), "decay": 0.2, "consolidations": 1},
    "mini-batch": {"K": 2, "P": 3, "inverse_batch": 0.125},
    "gradient flow": {"K": 2, "P": 3, "inverse_batch": 0.0, "decay": 0.1},
    "two heads": {"K": 2, "P": 2, "H": 2, "S": 2},
    "tasks that share a head": {"K": 2, "P": 3, "H": 1, "S": 2},
    # Three teachers of three units, overlapping in no symmetric way, two consolidations in force.
    "three tasks": {
        "K": 3,
        "P": 9,
        "H": 3,
        "S": 3,
        "consolidations": 2,
        "decay": 0.1,
        "frozen": (2,),
        "inverse_batch": 0.5,
    },
}


def make(name, activation, seed=0):
    options = dict(PROBLEMS[name])
    if activation == RELU:
        options["inverse_batch"] = 0.0
    return random_committee(np.random.default_rng(seed), activation=activation, **options)


def work_for(y, system):
    K, P = len(system.move), len(system.T)
    return make_work(K, P, (len(y) - K * (K + 1) // 2 - K * P) // K, len(system.p))


def compiled_rhs(y, system, rates=RATES, work=None):
    dy = np.full_like(y, np.nan)
    rhs(y, *rates, system, work or work_for(y, system), dy)
    return dy


def compiled_jacobian(y, system, rates=RATES):
    J = np.full((len(y), len(y)), np.nan)
    jacobian(y, *rates, system, work_for(y, system), J)
    return J


def compiled_errors(y, system, work=None):
    out = np.full(len(system.u), np.nan)
    arguments = (system.activation, system.T, system.u, system.head)
    errors(y, *arguments, work or work_for(y, system), out)
    return out


# ----------------------------------------------------------------------- against the transcription


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("name", PROBLEMS)
def test_rhs_and_errors_are_the_transcription(name, activation):
    y, system = make(name, activation)
    expected = transcription.rhs(y, *RATES, system)
    # Sums of up to D² terms of order 1.
    assert_allclose(compiled_rhs(y, system), expected, rtol=0, atol=100 * EPS)
    K = len(system.move)
    arguments = (system.activation, system.T, system.u, system.head, K)
    assert_allclose(
        compiled_errors(y, system), transcription.errors(y, *arguments), rtol=0, atol=100 * EPS
    )


@given(
    seed=st.integers(0, 2**32 - 1),
    activation=st.sampled_from(ACTIVATIONS),
    sizes=st.tuples(*[st.integers(1, 3)] * 4),
    consolidations=st.integers(0, 2),
    rates=st.sampled_from([(0.7, 0.3), (1.5, 0.0), (0.0, 0.4)]),
)
@settings(max_examples=12, deadline=None)
def test_rhs_of_any_committee(seed, activation, sizes, consolidations, rates):
    K, P, H, S = sizes
    y, system = random_committee(
        np.random.default_rng(seed),
        activation=activation,
        K=K,
        P=P,
        H=H,
        S=S,
        consolidations=consolidations,
        inverse_batch=0.0 if activation == RELU else 0.7,
    )
    expected = transcription.rhs(y, *rates, system)
    size = max(1.0, np.abs(expected).max())
    # Where two fields nearly coincide ReLU's √(1 − r²) costs the transcription half its digits.
    tolerance = 1e-7 if activation == RELU else 100 * EPS
    assert_allclose(compiled_rhs(y, system, rates), expected, rtol=0, atol=tolerance * size)


def test_sixteen_units_and_sixteen_fixed_vectors():
    y, system = random_committee(np.random.default_rng(4), K=16, P=16, noise=0.0)
    flow = compiled_rhs(y, system._replace(inverse_batch=0.0))
    dy = compiled_rhs(y, system)
    Q, R, (v,) = transcription.unpack(y, 16, 16)
    C = transcription.covariance(Q, R, system.T)
    c = np.concatenate([-v, system.u[0]])
    g = transcription.ACTIVATIONS[ERF]
    k, l = 3, 7
    I4 = sum(c[a] * c[b] * g.I4(C, k, l, a, b) for a in range(32) for b in range(32))
    place = upper(np.arange(256).reshape(16, 16)).tolist().index(k * 16 + l)
    expected = RATES[0] ** 2 * v[k] * v[l] * I4
    assert_allclose(dy[place] - flow[place], expected, rtol=0, atol=1000 * EPS)
    A = sum(c[a] * g.I3(C, k, 16 + l, a) for a in range(32))
    assert_allclose(flow[136 + 16 * k + l], RATES[0] * v[k] * A, rtol=0, atol=1000 * EPS)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("activation", [ERF, LINEAR])
def test_jacobian_is_the_complex_step_of_the_transcription(name, activation):
    y, system = make(name, activation, seed=1)
    expected = transcription.complex_step_jacobian(y, *RATES, system)
    tolerance = 200 * EPS * max(1.0, np.abs(expected).max())
    assert_allclose(compiled_jacobian(y, system), expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("rates", [(0.7, 0.3), (0.7, 0.0), (0.0, 0.3)])
def test_relu_jacobian_is_the_central_difference(name, rates):
    y, system = make(name, RELU, seed=1)
    J = compiled_jacobian(y, system, rates)
    work = work_for(y, system)

    def difference(h):
        steps = h * np.eye(len(y))
        columns = [
            (compiled_rhs(y + s, system, rates, work) - compiled_rhs(y - s, system, rates, work))
            for s in steps
        ]
        return np.array(columns).T / (2 * h)

    fine, coarse = difference(1e-5), difference(2e-5)
    # The difference's own error: a third of the change under doubling, and rounding over the step.
    truncation = np.abs(coarse - fine)
    rounding = 50 * EPS * max(1.0, np.abs(y).max()) / 1e-5
    assert np.all(np.abs(J - fine) <= truncation + rounding)


def test_rates_of_zero_switch_layers_off():
    y, system = make("two heads", ERF)
    K, P = 2, 2
    first = K * (K + 1) // 2 + K * P
    assert not compiled_rhs(y, system, (0.0, 0.3))[:first].any()
    assert not compiled_rhs(y, system, (0.7, 0.0))[first:].any()
    assert not compiled_jacobian(y, system, (0.0, 0.3))[:first].any()
    assert not compiled_jacobian(y, system, (0.7, 0.0))[first:].any()


# ------------------------------------------------------------------------------------------ physics


@pytest.mark.parametrize("K", [2, 3])
def test_symmetric_plateau_of_gradient_flow(K):
    """Saad & Solla's fixed subspace: R and Q as given, and its error."""
    _, system = random_committee(np.random.default_rng(0), K=K, P=K, inverse_batch=0.0)
    system = system._replace(T=np.eye(K), u=np.ones((1, K)), p=np.ones(1))
    Q = np.full((K, K), 1 / (2 * K - 1))
    R = np.full((K, K), 1 / np.sqrt(K * (2 * K - 1)))
    y = transcription.pack(Q, R, np.ones(K))
    assert_allclose(compiled_rhs(y, system, (1.0, 0.0)), 0.0, rtol=0, atol=50 * EPS)
    plateau = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    assert_allclose(compiled_errors(y, system), plateau, rtol=0, atol=50 * EPS)
    # A saddle: some direction grows.
    J = compiled_jacobian(y, system, (1.0, 0.0))
    assert np.linalg.eigvals(J).real.max() > 1e-3


@pytest.mark.parametrize("activation", [LINEAR, RELU])
def test_gradient_flow_conserves_each_units_imbalance(activation):
    y, system = random_committee(
        np.random.default_rng(6), activation=activation, K=3, P=2, inverse_batch=0.0
    )
    dQ, _, (dv,) = transcription.unpack(compiled_rhs(y, system), 3, 2)
    v = y[-3:]
    assert_allclose(np.diag(dQ) / RATES[0], 2 * v * dv / RATES[1], rtol=0, atol=100 * EPS)
    if activation == LINEAR:
        change = np.outer(v, dv)
        assert_allclose(dQ / RATES[0], (change + change.T) / RATES[1], rtol=0, atol=100 * EPS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_mixture_is_the_mean_of_its_tasks(activation):
    y, system = make("three tasks", activation)
    system = system._replace(head=np.zeros(3, dtype=np.int64))
    parts = []
    for s in range(3):
        one = system._replace(
            u=system.u[s : s + 1],
            sigma=system.sigma[s : s + 1],
            p=np.ones(1),
            head=np.zeros(1, int),
        )
        parts.append(compiled_rhs(y, one))
    mean = np.tensordot(system.p, parts, 1)
    assert_allclose(compiled_rhs(y, system), mean, rtol=0, atol=200 * EPS)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_consolidation_contributes_nothing_at_the_switch(activation):
    rng = np.random.default_rng(9)
    C = gram(rng, 5)
    Q, v = C[:2, :2], rng.normal(size=2)
    T = np.block([[C[2:, 2:], C[2:, :2]], [C[:2, 2:], Q]])  # the copies come last
    y = transcription.pack(Q, np.hstack([C[:2, 2:], Q]), v)
    _, free = random_committee(rng, activation=activation, K=2, P=5, inverse_batch=0.0)
    held = free._replace(
        T=np.ascontiguousarray(T),
        F=np.full((1, 2), 100.0),
        anchor=np.array([[3, 4]]),
        F_v=np.full((1, 2), 100.0),
        v_anchor=v[None].copy(),
        v_head=np.zeros(1, dtype=np.int64),
    )
    free = held._replace(**{name: getattr(free, name) for name in ("F", "anchor", "F_v")})
    free = free._replace(v_anchor=np.zeros((0, 2)), v_head=np.zeros(0, dtype=np.int64))
    assert_allclose(compiled_rhs(y, held), compiled_rhs(y, free), rtol=0, atol=100 * EPS)
    # Yet it holds: its Jacobian is there.
    difference = compiled_jacobian(y, held) - compiled_jacobian(y, free)
    assert np.abs(difference).max() > 10


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_permuting_units_commutes_with_the_flow(activation):
    y, system = make("gradient flow", activation)
    Q, R, heads = transcription.unpack(y, 2, 3)
    swapped = transcription.pack(Q[::-1, ::-1], R[::-1], heads[:, ::-1])
    dQ, dR, dv = transcription.unpack(compiled_rhs(y, system), 2, 3)
    expected = transcription.pack(dQ[::-1, ::-1], dR[::-1], dv[:, ::-1])
    assert_allclose(compiled_rhs(swapped, system), expected, rtol=0, atol=50 * EPS)


# -------------------------------------------------------------------------------------------- edges


def test_the_eta_squared_term_of_relu_is_nan_not_wrong():
    y, system = make("two units", RELU)
    dy = compiled_rhs(y, system._replace(inverse_batch=1.0))
    assert np.isnan(dy[:3]).all()
    assert np.isfinite(dy[3:]).all()


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_nan_in_is_nan_out_and_leaves_no_trace(activation):
    y, system = make("three tasks", activation)
    work = work_for(y, system)
    before = compiled_rhs(y, system, work=work)
    broken = y.copy()
    broken[0] = np.nan
    with np.errstate(invalid="ignore"):
        dy = compiled_rhs(broken, system, work=work)
        assert np.isnan(dy[0])
        assert np.isnan(compiled_errors(broken, system, work)).all()
    assert np.array_equal(compiled_rhs(y, system, work=work), before)


def test_jacobian_of_relu_is_finite_where_fields_coincide():
    rng = np.random.default_rng(12)
    W = rng.standard_normal((4, 3))
    W[2] = W[0]  # a unit on its teacher
    W[1] = 0.0  # and a silent one
    C = W @ W.T
    _, system = random_committee(rng, activation=RELU, K=2, P=2, inverse_batch=0.0)
    system = system._replace(T=np.ascontiguousarray(C[2:, 2:]))
    y = transcription.pack(C[:2, :2], C[:2, 2:], rng.normal(size=2))
    assert np.isfinite(compiled_jacobian(y, system)).all()
    assert np.isfinite(compiled_rhs(y, system)).all()


def test_errors_of_more_tasks_than_the_phase_samples():
    y, system = random_committee(np.random.default_rng(2), K=2, P=3, H=2)
    rng = np.random.default_rng(3)
    u, head = rng.normal(size=(5, 3)), rng.integers(0, 2, 5)
    out = np.empty(5)
    errors(y, ERF, system.T, u, head, make_work(2, 3, 2, 1), out)
    expected = transcription.errors(y, ERF, system.T, u, head, 2)
    assert_allclose(out, expected, rtol=0, atol=100 * EPS)
