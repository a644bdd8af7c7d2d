"""Published results that the equations must reproduce, from right-hand side to whole runs."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose

import odekit as ok
from single import Single

METHODS = (None, "RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA")
EPS = np.finfo(float).eps
RTOL = 1e-8
"""The default of `solve`."""


def soft_committee(Q, R, phase, *, noise=0.0, activation="erf"):
    """All readouts of student and teacher are one and stay so; the teacher is orthonormal."""
    K, M = np.shape(R)
    return ok.Problem(
        state=ok.OrderParameters(Q=Q, R=R, T=np.eye(M)),
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(np.ones(M), noise_std=noise)},
        phases=[phase],
        activation=activation,
    )


def error_of(ds):
    return ds.generalization_error.sel(task="main").values


# ------------------------------------------------------------- Saad & Solla 1995: the plateau


def plateau(K):
    """Q, R and ε_g of the symmetric fixed point of gradient flow, K = M."""
    level = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    return np.full((K, K), 1 / (2 * K - 1)), np.full((K, K), 1 / np.sqrt(K * (2 * K - 1))), level


def flow(duration):
    return ok.Phase("main", duration, learning_rate=1.0, gradient_flow=True)


@pytest.mark.parametrize("K", [2, 3, 5])
def test_plateau_is_a_saddle_of_gradient_flow(K):
    Q, R, level = plateau(K)
    layout = Single(soft_committee(Q, R, flow(1.0)))
    frame, y = layout.start()
    system = layout.equations(0, frame, 0.0)
    assert np.abs(system.rhs(0.0, y)).max() < 10 * K * EPS
    assert_allclose(layout.errors(y[None]), [[level]], rtol=100 * K * EPS)
    assert np.linalg.eigvals(system.jac(0.0, y)).real.max() > 0.01


@pytest.mark.parametrize("K", [2, 3])
def test_identical_units_flow_to_the_plateau(K):
    """Within 100 rtol by t = 100; rounding has grown to 1e-13 by then."""
    Q, R, level = plateau(K)
    problem = soft_committee(np.full((K, K), 0.01), np.full((K, K), 1e-3), flow(100.0))
    rtol = 1e-10
    ds = ok.solve(problem, t_eval=[100.0], rtol=rtol, atol=1e-3 * rtol)
    assert_allclose(ds.Q.values[0], Q, rtol=0, atol=100 * rtol)
    assert_allclose(ds.R.values[0], R, rtol=0, atol=100 * rtol)
    assert_allclose(error_of(ds), [level], rtol=0, atol=100 * rtol)


def online_run(K, learning_rate):
    """From small random weights, through the plateau, to the teacher: rows in time and error."""
    start = ok.OrderParameters.draw(student=K, teacher=K, weight_std=1e-3, input_dim=10**8, seed=7)
    problem = ok.Problem(
        state=start,
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(np.ones(K))},
        phases=[ok.Phase("main", 1500 / learning_rate, learning_rate)],
    )
    return ok.solve(problem, t_eval=np.linspace(0, 1500 / learning_rate, 3001))


def plateau_height(error, level):
    """Where the error changes least before it first falls well below the level."""
    left = int(np.argmax(error < 0.9 * level))
    slope = np.abs(np.gradient(error[:left]))
    return error[np.argmin(slope)]


@pytest.mark.parametrize("K", [2, 3])
def test_plateau_and_escape_of_online_learning(K):
    """A random start waits at the plateau, higher by O(η), and then each unit takes one unit."""
    _, _, level = plateau(K)
    above = []
    for learning_rate in (0.1, 0.05):
        ds = online_run(K, learning_rate)
        error = error_of(ds)
        above.append(plateau_height(error, level) - level)
        # The error is a small difference of moments: uncertain by the state's tolerance.
        assert error.min() > -RTOL
        assert abs(error[-1]) < RTOL
        taken = np.abs(ds.R.values[-1]) > 0.5
        assert (taken.sum(axis=0) == 1).all()
        assert (taken.sum(axis=1) == 1).all()
        assert_allclose(ds.R.values[-1], taken, atol=1e-4)
    # Measured: 0.0047 η and 0.015 η. Halving η halves the distance up to O(η²).
    assert 0 < above[0] < 0.02 * 0.1
    assert 0.45 < above[1] / above[0] < 0.55


@pytest.mark.parametrize("K", [2, 3])
def test_escape_takes_the_time_of_the_unstable_mode(K):
    """A perturbation δ of the plateau grows as exp(λt): ten times smaller, ln(10)/λ later."""
    Q, R, level = plateau(K)
    layout = Single(soft_committee(Q, R, flow(1.0)))
    frame, y = layout.start()
    rate = np.linalg.eigvals(layout.equations(0, frame, 0.0).jac(0.0, y)).real.max()
    leaves = []
    for size in (1e-5, 1e-6):
        off = R + size * (np.eye(K) - 1 / K)
        phase = ok.Phase("main", 1e4, 1.0, gradient_flow=True, until=level / 2)
        # The weights that overlap so with the teacher, and nothing more besides.
        problem = soft_committee(off @ off.T + (Q - R @ R.T), off, phase)
        leaves.append(float(ok.solve(problem).phase_end[0]))
    assert_allclose(leaves[1] - leaves[0], np.log(10) / rate, rtol=1e-3)


# ------------------------------------------------------------- Goldt et al. 2019: noise floor


def floor_ratio(spare, learning_rate, M=2, noise=0.01):
    """Final error of a student that started near its teacher over σ²η/(2π) (L + M/√3)."""
    K = M + spare
    # Spare units start small: what they hold of each other's negative decays only by noise.
    Q = np.diag([0.9] * M + [1e-6] * spare)
    problem = soft_committee(
        Q,
        0.9 * np.eye(K, M),
        ok.Phase("main", 1000 / learning_rate, learning_rate),
        noise=noise,
    )
    ds = ok.solve(problem, t_eval=[1000 / learning_rate], rtol=1e-9, atol=1e-13)
    assert ds.status == ok.Status.COMPLETED
    leading = noise**2 * learning_rate / (2 * np.pi) * (spare + M / np.sqrt(3))
    return float(error_of(ds)[0]) / leading


@pytest.mark.parametrize(("spare", "slope"), [(0, 0.43), (1, 0.72), (2, 1.03)])
def test_noise_floor_grows_with_spare_units(spare, slope):
    """The ratio tends to one in proportion to η; `slope` was measured."""
    off = np.array([floor_ratio(spare, eta) - 1 for eta in (0.1, 0.05, 0.025)])
    assert_allclose(off[2], slope * 0.025, rtol=0.04)
    assert ((off[1:] / off[:-1] > 0.47) & (off[1:] / off[:-1] < 0.5)).all()
    # Extrapolated to η = 0, nothing but O(η²) is left.
    assert abs(2 * off[2] - off[1]) < 0.05**2


# ------------------------------------------------------------- linear student, K = M = 1

START = {"Q": 0.5, "R": -0.3, "T": 1.2, "noise": 0.5}


def exact(t, eta, batch=1):
    """Q and R by hand: dR/dt = η(T − R), dQ/dt = 2η(R − Q) + (η²/b)(T − 2R + Q + σ²)."""
    Q, R, T, noise = START.values()
    h = eta / batch
    decay = eta * (2 - h)
    end = T + h * noise**2 / (2 - h)
    from_R = (R - T) * 2 * eta * (1 - h) / (decay - eta)
    fast, slow = np.exp(-decay * t), np.exp(-eta * t)
    return end + from_R * slow + (Q - end - from_R) * fast, T + (R - T) * slow


def linear_problem(eta, duration, batch=1):
    return ok.Problem(
        state=ok.OrderParameters(*(np.array([[START[x]]]) for x in "QRT")),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0], noise_std=START["noise"])},
        phases=[ok.Phase("main", duration, eta, batch_size=batch)],
        activation="linear",
    )


def off_exact(ds, eta, rtol, batch=1):
    """Deviation of each row in units of rtol."""
    Q, R = exact(ds.time.values, eta, batch)
    scale = rtol * np.maximum(np.abs(Q), 1.0)
    off = np.maximum(np.abs(ds.Q.values[:, 0, 0] - Q), np.abs(ds.R.values[:, 0, 0] - R))
    return off / scale


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("eta", [0.3, 1.4])
@pytest.mark.parametrize("method", METHODS)
def test_linear_student_is_solved_exactly(method, eta, batch):
    """Rows within 20 rtol; DOP853's lie between steps at its stability limit, and off by more."""
    rtol = 1e-6 if method == "RK23" else 1e-9
    ds = ok.solve(linear_problem(eta, 300.0, batch), method=method, rtol=rtol, atol=1e-3 * rtol)
    assert ds.status == ok.Status.COMPLETED
    off = off_exact(ds, eta, rtol, batch)
    assert off.max() < 40
    assert off[-1] < 10


@pytest.mark.parametrize("method", [None, "Radau", "BDF", "LSODA"])
def test_linear_student_to_a_million(method):
    eta = 0.5
    ds = ok.solve(linear_problem(eta, 1e6), method=method, rtol=RTOL)
    off = off_exact(ds, eta, RTOL)
    assert float(ds.time[-1]) == 1e6
    assert off.max() < 100
    assert off[-1] < 0.01
    assert int(ds.n_steps) < 2000
    assert_allclose(error_of(ds)[-1], 0.5 * eta * START["noise"] ** 2 / (2 - eta), rtol=1e-9)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_divergence_is_followed_and_then_reported():
    """Beyond η = 2 the weights grow as exp(η(η − 2)t), by a hundred orders of magnitude."""
    eta = 2.5
    ds = ok.solve(linear_problem(eta, 1e3), rtol=RTOL)
    assert ds.status == ok.Status.BLOW_UP
    assert_allclose(float(ds.t_last), 100 * np.log(10) / (eta * (eta - 2)), rtol=0.02)
    assert off_exact(ds, eta, RTOL).max() < 100


def test_committee_to_a_million_with_noise():
    """Plateau, escape and floor in one run: the end is where the floor's own test says."""
    start = ok.OrderParameters.draw(student=2, teacher=2, weight_std=1e-3, input_dim=10**4, seed=7)
    problem = ok.Problem(
        state=start,
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0], noise_std=0.01)},
        phases=[ok.Phase("main", 1e6, 0.1)],
    )
    ds = ok.solve(problem)
    assert ds.status == ok.Status.COMPLETED
    assert int(ds.n_steps) < 5000
    leading = 0.01**2 * 0.1 / np.pi / np.sqrt(3)
    assert_allclose(error_of(ds)[-1], leading * floor_ratio(0, 0.1), rtol=0, atol=RTOL)
    waits = error_of(ds)[(ds.time > 100) & (ds.time < 300)]
    assert_allclose(waits, plateau(2)[2] + 0.0047 * 0.1, rtol=0.02)
