"""Measures of specialisation against their formulas, and what they do not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import odekit as ok
from alike import SIMILARITIES, TOLERANCE, problem, stack
from committees import assemble
from odekit import measures as m


@pytest.fixture(scope="module")
def runs():
    return [ok.solve(problem(v)) for v in SIMILARITIES]


@pytest.fixture(scope="module")
def sweep(runs):
    return stack(runs, "similarity", SIMILARITIES)


def state(Q, R, T, v):
    """A dataset of one row from a state; v has the shape (heads, K)."""
    Q, R, v = (np.asarray(x, dtype=float)[None] for x in (Q, R, v))
    labels = [f"h{i}" for i in range(v.shape[1])]
    arrays_ = {"Q": Q, "R": R, "T": T, "readout": v}
    return assemble(arrays_, {"time": [0.0], "head": labels}, {})


@st.composite
def states(draw):
    K, P, H = (draw(st.integers(1, 4)) for _ in range(3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    W, B = rng.standard_normal((K, 6)), rng.standard_normal((P, 6))
    v = rng.standard_normal((H, K)) * rng.integers(0, 2, (H, K))
    W *= rng.integers(0, 5, (K, 1)) > 0
    return W @ W.T, W @ B.T, B @ B.T, v


def plain_entropy(weights):
    total = sum(weights)
    if total == 0:
        return np.nan
    p = [w / total for w in weights]
    if len(p) == 1:
        return 0.0
    return -sum(x * np.log(x) for x in p if x > 0) / np.log(len(p))


@settings(deadline=None, max_examples=40)
@given(states())
def test_entropies_follow_their_formula(given_state):
    Q, R, _, v = given_state
    ds = state(*given_state)
    H, P = len(v), R.shape[1]
    np.testing.assert_allclose(
        m.readout_entropy(ds)[0], [plain_entropy(abs(v[h])) for h in range(H)], atol=1e-14
    )
    np.testing.assert_allclose(m.activation_entropy(ds)[0], plain_entropy(np.diag(Q)), atol=1e-14)
    expected = [[plain_entropy(abs(v[h] * R[:, n])) for n in range(P)] for h in range(H)]
    found = m.contribution_entropy(ds)
    assert found.dims == ("time", "head", "teacher")
    np.testing.assert_allclose(found[0], expected, atol=1e-14)
    for entropy in (m.readout_entropy(ds), m.activation_entropy(ds), found):
        values = entropy.values[np.isfinite(entropy.values)]
        assert ((values >= 0) & (values <= 1)).all()


@settings(deadline=None, max_examples=40)
@given(states(), st.floats(1e-3, 1e3), st.randoms(use_true_random=False))
def test_measures_know_neither_scale_nor_order_of_units(given_state, scale, random):
    Q, R, T, v = given_state
    order = random.sample(range(len(Q)), len(Q))
    other = state(scale**2 * Q[order][:, order], scale * R[order], T, 7 * v[:, order])
    ds = state(Q, R, T, v)
    for entropy in (m.readout_entropy, m.activation_entropy, m.contribution_entropy):
        np.testing.assert_allclose(entropy(other), entropy(ds), atol=1e-13)
    cosine, own = m.overlap_cosine(ds)[0].values, m.student_cosine(ds)[0].values
    np.testing.assert_allclose(m.overlap_cosine(other)[0], cosine[order], atol=1e-13)
    np.testing.assert_allclose(m.student_cosine(other)[0], own[order][:, order], atol=1e-13)


@settings(deadline=None, max_examples=40)
@given(states())
def test_cosines_are_cosines(given_state):
    Q, R, T, _ = given_state
    ds = state(*given_state)
    rho, own = m.overlap_cosine(ds)[0].values, m.student_cosine(ds)[0].values
    for k in range(len(Q)):
        for n in range(len(T)):
            expected = R[k, n] / np.sqrt(Q[k, k] * T[n, n]) if Q[k, k] > 0 else np.nan
            np.testing.assert_allclose(rho[k, n], expected, rtol=1e-14)
    dead = np.diag(Q) == 0
    assert np.isnan(own[dead]).all()
    assert np.isnan(own[:, dead]).all()
    np.testing.assert_allclose(np.diag(own)[~dead], 1, rtol=1e-14)
    assert (abs(np.append(rho, own)[np.isfinite(np.append(rho, own))]) <= 1 + 1e-12).all()


def test_one_unit_alone_has_entropy_zero_and_nothing_at_all_has_none():
    alone = state([[1.0]], [[1.0]], [[1.0]], [[2.0]])
    assert m.readout_entropy(alone).item() == m.contribution_entropy(alone).item() == 0
    nothing = state(np.zeros((2, 2)), np.zeros((2, 1)), [[1.0]], [[0.0, 0.0]])
    for entropy in (m.readout_entropy, m.activation_entropy, m.contribution_entropy):
        assert np.isnan(entropy(nothing)).all()


def test_specialisation_measures_of_a_sweep(runs, sweep):
    functions = {
        m.overlap_cosine: ("student", "teacher"),
        m.student_cosine: ("student", "student_other"),
        m.readout_entropy: ("head",),
        m.activation_entropy: (),
        m.contribution_entropy: ("head", "teacher"),
        m.imbalance: ("head", "student"),
    }
    for measure, core in functions.items():
        swept = measure(sweep)
        assert swept.dims == ("similarity", "time", *core)
        assert swept.name == measure.__name__
        assert set(swept.attrs) == {"long_name"}
        assert swept.time.equals(sweep.time)
        for i, ds in enumerate(runs):
            np.testing.assert_allclose(swept[i], measure(ds), rtol=1e-15, atol=0)


def test_one_head_of_several(runs):
    for measure in (m.readout_entropy, m.contribution_entropy, m.imbalance):
        np.testing.assert_array_equal(measure(runs[0], "2"), measure(runs[0]).sel(head="2"))


def test_imbalance_is_conserved_by_gradient_flow_of_relu_units():
    setting = ok.Problem(
        state=ok.OrderParameters.draw(3, 2, weight_std=0.7, input_dim=100, seed=1),
        heads={"main": [0.8, -0.5, 0.3]},
        tasks={"main": ok.Task([1.0, -1.0])},
        phases=[ok.Phase("main", 20.0, 1.0, 1.0, gradient_flow=True)],
        activation="relu",
    )
    balance = m.imbalance(ok.solve(setting), "main")
    start = np.array([0.8, -0.5, 0.3]) ** 2 - np.diag(setting.state.Q)
    np.testing.assert_allclose(balance, np.broadcast_to(start, balance.shape), atol=1e3 * TOLERANCE)
