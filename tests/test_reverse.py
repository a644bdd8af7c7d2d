"""The reverse pass against complex steps, and differences (ReLU), of a transcription."""

from __future__ import annotations

import numpy as np
import pytest

import transcription
from committees import random_committee
from odekit_kernels.committee.activations import ERF, LINEAR, RELU
from odekit_kernels.committee.reverse import prepare, pull, pull_error
from odekit_kernels.committee.tape import Watch, make_slopes, make_tape

CASES = {
    "plain": {},
    "two heads": {"K": 2, "P": 3, "H": 2, "S": 2},
    "everything": {"K": 3, "P": 4, "H": 2, "S": 2, "consolidations": 2, "decay": 0.1},
    "frozen": {"K": 3, "P": 2, "decay": 0.2, "frozen": (1,), "inverse_batch": 0.25},
    "gradient flow": {"K": 2, "P": 2, "S": 2, "inverse_batch": 0.0, "consolidations": 1},
}
RATES = [(0.7, 0.4), (0.0, 0.4), (0.6, 0.0)]


def reverse(y, eta_w, eta_v, system, w):
    K, P, S, c = len(system.move), len(system.T), len(system.p), len(system.F)
    watch = Watch(system.u, system.head, np.arange(S))
    tape = make_tape(K, P, S)
    by, _ = make_slopes(1, y.size, K, P, S, S, c)
    prepare(y, system, tape)
    pull(0, y, eta_w, eta_v, system, w, watch, tape, by)
    return by


def complex_step(f, x):
    x = np.asarray(x, dtype=float)
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        shifted = x.astype(complex)
        shifted[index] += 1e-30j
        found[index] = np.imag(f(shifted)) / 1e-30
    return found


def fourth_order(f, x, h=1e-3):
    x = np.asarray(x, dtype=float)
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        e = np.zeros(x.shape)
        e[index] = h
        far = f(x + 2 * e) - f(x - 2 * e)
        found[index] = (8 * (f(x + e) - f(x - e)) - far) / (12 * h)
    return found


def expected(y, eta_w, eta_v, system, w, slope, kind):
    def product(state=y, rates=(eta_w, eta_v), **changes):
        state = state.astype(kind)
        return w @ transcription.rhs(state, *rates, system._replace(**changes))

    found = {"y": slope(lambda x: product(state=x), y)}
    for name in ("T", "u", "p", "sigma", "F", "F_v", "v_anchor"):
        found[name] = slope(lambda x, name=name: product(**{name: x}), getattr(system, name))
    kappa = np.array([system.kappa_w, system.kappa_v])
    found["kappa"] = slope(lambda x: product(kappa_w=x[0], kappa_v=x[1]), kappa)
    found["eta"] = slope(lambda x: product(rates=x), np.array([eta_w, eta_v]))
    return found


def close(by, wanted, tolerance):
    size = max(np.abs(value).max(initial=0.0) for value in wanted.values())
    for name, value in wanted.items():
        found = getattr(by, name)[0]
        if name == "T":  # mirrored entries are one number: which of them a formula takes is open
            found, value = found + found.T, value + value.T
        np.testing.assert_allclose(found, value, rtol=0, atol=tolerance * size, err_msg=name)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("activation", [ERF, LINEAR])
def test_reverse_pass_is_the_complex_step(activation, case, rates):
    rng = np.random.default_rng(list(CASES).index(case))
    y, system = random_committee(rng, activation=activation, **CASES[case])
    w = rng.normal(size=y.size)
    by = reverse(y, *rates, system, w)
    # 1e-13: rounding of some hundred terms.
    close(by, expected(y, *rates, system, w, complex_step, complex), 1e-13)


@pytest.mark.parametrize("rates", RATES)
@pytest.mark.parametrize("case", ["gradient flow"])
def test_reverse_pass_of_relu_is_the_difference(case, rates):
    rng = np.random.default_rng(5)
    y, system = random_committee(rng, activation=RELU, **CASES[case])
    w = rng.normal(size=y.size)
    by = reverse(y, *rates, system, w)
    # Fourth order at a step of 1e-3: 1e-12, times the fifth derivative.
    close(by, expected(y, *rates, system, w, fourth_order, float), 1e-9)


@pytest.mark.parametrize("activation", [ERF, LINEAR, RELU])
def test_reverse_pass_of_an_error(activation):
    rng = np.random.default_rng(2)
    y, system = random_committee(rng, activation=activation, K=2, P=3, H=2, S=2, inverse_batch=0.0)
    watch = Watch(system.u, system.head, np.arange(2))
    tape = make_tape(2, 3, 2)
    by, _ = make_slopes(1, y.size, 2, 3, 2, 2, 0)
    value = pull_error(0, y, system, 1, 1.0, watch, tape, by)

    def error(state=y, T=system.T, u=system.u):
        state = state.astype(np.result_type(state, T, u))
        return transcription.errors(state, activation, T, u, system.head, 2)[1]

    assert value == pytest.approx(error(), rel=1e-13)
    slope = fourth_order if activation == RELU else complex_step
    if activation != RELU:
        y = y.astype(complex)
    wanted = {
        "y": slope(lambda x: error(state=x), y.real),
        "T": slope(lambda x: error(y, T=x), system.T),
        "u": slope(lambda x: error(y, u=x), system.u),
    }
    close(by, wanted, 1e-9 if activation == RELU else 1e-13)


def test_one_pass_for_every_unit_vector_is_the_jacobian():
    rng = np.random.default_rng(8)
    y, system = random_committee(rng, **CASES["everything"])
    rows = [reverse(y, 0.7, 0.4, system, w).y[0] for w in np.eye(y.size)]
    wanted = transcription.complex_step_jacobian(y, 0.7, 0.4, system)
    np.testing.assert_allclose(rows, wanted, rtol=0, atol=1e-13 * np.abs(wanted).max())
