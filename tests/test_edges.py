"""The edges of the equations: singular covariances, plateaus left from below the tolerance."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import expm

import odekit as ok
from odekit.testing import assert_jacobian_matches
from random_problems import labelled


def plateau(K=2, flow=True, rate=1.0, asymmetry=0.0, activation="erf", duration=300.0):
    """Committee on its symmetric plateau, Q_kl = 1/(2K − 1): a covariance without full rank."""
    Q = np.full((K, K), 1 / (2 * K - 1))
    R = np.full((K, K), 1 / np.sqrt(K * (2 * K - 1)))
    return ok.Problem(
        ok.OrderParameters(Q=Q, R=R + asymmetry * (np.eye(K) * K - 1), T=np.eye(K)),
        {"main": np.ones(K)},
        {"main": ok.Task(np.ones(K))},
        [ok.Phase("main", duration, rate, gradient_flow=flow)],
        activation,
    )


@pytest.mark.parametrize("K", [2, 3])
@pytest.mark.parametrize("flow", [True, False])
def test_the_jacobian_is_two_sided_on_the_symmetric_plateau(K, flow):
    """Minors were clipped at 0 in the derivative alone: differences were wrong by half."""
    rhs = ok.equations(plateau(K, flow))
    assert_jacobian_matches(rhs.rhs, rhs.jac, rhs.start)


def on_relu_plateau(rate, asymmetry):
    """Two ReLU units where equal ones come to rest, off that state by an asymmetry."""
    state = ok.OrderParameters(Q=[[0.2, 0.1], [0.1, 0.2]], R=[[0.1, 0.1], [0.1, 0.1]], T=np.eye(2))
    heads, tasks = {"main": [1.0, 1.0]}, {"main": ok.Task([1.0, 1.0])}
    phase = ok.Phase("main", 300.0, 1.0, gradient_flow=True)
    rest = ok.solve(
        ok.Problem(state, heads, tasks, [phase], "relu"), t_eval=[300.0], rtol=1e-10, atol=1e-13
    )
    off = asymmetry * np.array([[1.0, -1.0], [-1.0, 1.0]])
    state = ok.OrderParameters(Q=rest.Q[-1].values, R=rest.R[-1].values + off, T=np.eye(2))
    return ok.Problem(
        state, heads, tasks, [ok.Phase("main", 150.0, rate, gradient_flow=True)], "relu"
    )


def test_sweeps_leave_a_plateau_in_time():
    """Steps of λ₊h = 2.4, whose error saw nothing of an asymmetry below rtol: off by 4e-3."""
    times = np.linspace(0.0, 150.0, 151)
    rates = xr.DataArray([1.0, 1.0], dims="eta")
    options = {"t_eval": times, "rtol": 1e-6, "atol": 1e-9}
    swept = ok.solve(on_relu_plateau(rates, 1e-8), **options).isel(eta=0)
    tight = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-15, "max_step": 0.5}
    alone = ok.solve(on_relu_plateau(1.0, 1e-8), t_eval=times, **tight)
    off = abs(swept.generalization_error - alone.generalization_error).max()
    assert float(off) < 5e-5
    assert int(swept.n_steps) < 400


@pytest.mark.parametrize("method", ["RK45", "DOP853", "Radau", "BDF", "LSODA", "Rodas5P"])
@pytest.mark.parametrize("rtol", [1e-6, 1e-9, 1e-12])
def test_error_over_tolerance(method, rtol):
    """A linear student against its linear equations: docs/equations.md has the numbers."""
    eta, noise, span = 0.5, 0.3, 40.0
    matrix = np.array(
        [
            [-eta, 0.0, eta],
            [2 * eta - 2 * eta**2, -2 * eta + eta**2, eta**2 * (1 + noise**2)],
            [0.0, 0.0, 0.0],
        ]
    )
    problem = ok.Problem(
        ok.OrderParameters(Q=[[0.25]], R=[[0.1]], T=[[1.0]]),
        {"main": [1.0]},
        {"main": ok.Task([1.0], noise_std=noise)},
        [ok.Phase("main", span, eta)],
        "linear",
    )
    times = np.linspace(0.0, span, 81)
    run = ok.solve(problem, method=method, rtol=rtol, atol=1e-3 * rtol, t_eval=times)
    exact = np.array([expm(matrix * t) @ [0.1, 0.25, 1.0] for t in times])
    found = np.stack([run.R[:, 0, 0], run.Q[:, 0, 0]], axis=1)
    assert np.abs(found - exact[:, :2]).max() < 5 * rtol


def test_multistep_methods_say_where_they_have_no_room():
    problem = plateau(duration=0.1)
    with pytest.warns(UserWarning, match="hundredfold"):
        ok.solve(problem, method="LSODA", rtol=1e-13, atol=1e-13)


def test_steps_are_capped_only_where_errors_are_blind():
    """Elsewhere a sweep takes as many steps as scipy's RK45."""
    start = ok.OrderParameters.draw(student=2, teacher=2, weight_std=0.1, input_dim=100, seed=1)
    swept = ok.solve(plateau(rate=labelled("eta", 1.0)).replace(state=start), method="RK45")
    alone = ok.solve(plateau().replace(state=start), method="RK45")
    assert int(swept.n_steps[0]) == pytest.approx(int(alone.n_steps), rel=0.05)
