"""ReLU units that fall to zero, stay there, and leave it: gradient flow (docs/equations.md)."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.integrate.options import METHODS
from odekit.verbs.validate import validate
from random_problems import labelled

EVERY = (None, *METHODS)


def flow(t, y, T, v, u, eta, noise=0.0):
    """The equations of theory section 2, written down plainly, with noise on every unit."""
    K, P = len(v), len(T)
    upper = np.triu_indices(K)
    Q = np.zeros((K, K))
    Q[upper] = y[: len(upper[0])]
    Q = Q + Q.T - np.diag(np.diag(Q))
    R = y[len(upper[0]) :].reshape(K, P)
    C, c = np.block([[Q, R], [R.T, T]]), np.concatenate([-v, u])
    norms = np.sqrt(np.maximum(np.outer(np.diag(C), np.diag(C)), 1e-300))
    r = np.clip(C / norms, -1.0, 1.0)
    A = np.zeros((K, K + P))
    for k in range(K):
        root = norms[k] * np.sqrt(1.0 - r[k] ** 2)
        own = C[k] * (c @ root) / max(C[k, k], 1e-300)
        A[k] = v[k] * (own / (2 * np.pi) + C @ (c * (0.25 + np.arcsin(r[k]) / (2 * np.pi))))
    dQ = eta * (A[:, :K] + A[:, :K].T) + noise * np.eye(K)
    return np.concatenate([dQ[upper], eta * A[:, K:].ravel()])


def one_unit(first=0.5, second=0.5):
    """A unit that the first task drives to zero, and the second calls back."""
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.25]], R=[[0.3, 0.1]], T=np.eye(2)),
        heads={"main": [1.0]},
        tasks={
            "away": ok.Task([-1.0, -1.0], head="main"),
            "back": ok.Task([1.0, 0.3], head="main"),
        },
        phases=[
            ok.Phase("away", 10.0, first, gradient_flow=True),
            ok.Phase("back", 10.0, second, gradient_flow=True),
        ],
        activation="relu",
    )


def three_units(rate=0.5):
    """Two units whose readouts have the wrong sign beside one of the right sign."""
    return ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.3, 0.1, 0.0], [0.1, 0.5, 0.1], [0.0, 0.1, 0.4]],
            R=[[0.1, 0.2], [0.3, 0.0], [0.1, -0.3]],
            T=np.eye(2),
        ),
        heads={"main": [-0.5, -1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0])},
        phases=[ok.Phase("main", 40.0, rate, gradient_flow=True)],
        activation="relu",
    )


def truth_from(direction):
    """Overlaps after the second phase, from |w|² = 1e-16 on."""
    size = 1e-8
    start = np.array([size**2, size * direction[0], size * direction[1]])
    arguments = (np.eye(2), np.array([1.0]), np.array([1.0, 0.3]), 0.5)
    tight = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-30}
    return solve_ivp(flow, (0.0, 10.0), start, args=arguments, **tight).y[:, -1]


@pytest.mark.parametrize("method", EVERY)
def test_a_unit_that_died_comes_back(method):
    """It stayed at zero with R beyond the cone and no force, and the error at 0.320."""
    run = ok.solve(one_unit(), method=method)
    assert int(run.status) == ok.Status.COMPLETED
    dead = run.sel(time=slice(8.0, 10.0))
    assert float(abs(dead.Q).max()) == float(abs(dead.R).max()) == 0.0
    # All directions of so small a unit lead to the same end.
    expected = [truth_from(d) for d in ([0.0, 0.0], [-0.5, -0.5])]
    np.testing.assert_allclose(expected[0], expected[1], atol=5e-6)
    np.testing.assert_allclose(run.Q[-1].values.ravel(), expected[0][0], atol=3e-6)
    np.testing.assert_allclose(run.R[-1].values.ravel(), expected[0][1:], atol=3e-6)
    assert run.generalization_error[-1, 1].item() == pytest.approx(0.0152038, abs=1e-6)
    assert all(v.holds for v in validate(run)), [v for v in validate(run) if not v.holds]


@pytest.mark.parametrize("problem", [one_unit, three_units])
def test_methods_agree_where_units_die(problem):
    """They ended as stalled, or off by 100 to 700 rtol; three units took a whole step budget."""
    runs = [ok.solve(problem(), method=method, t_eval=[20.0]) for method in EVERY]
    swept = ok.solve(problem(labelled("eta", 0.5, 0.4)), t_eval=[20.0]).isel(eta=0)
    for run in (*runs, swept):
        assert int(run.status) == ok.Status.COMPLETED
        assert int(run.n_steps) < 5000
        for name in ("Q", "R", "generalization_error"):
            np.testing.assert_allclose(run[name], runs[0][name], rtol=0, atol=5e-8)


def test_zero_is_the_limit_of_small_noise():
    """What SGD at small rates does: its noise keeps units off zero, by less and less."""
    problem = three_units()
    Q, R = (np.asarray(x) for x in (problem.state.Q, problem.state.R))
    start = np.concatenate([Q[np.triu_indices(3)], R.ravel()])
    run = ok.solve(problem, t_eval=[40.0])
    Q, R = run.Q[-1].values, run.R[-1].values
    expected = np.concatenate([Q[np.triu_indices(3)], R.ravel()])
    off = []
    for noise in (1e-5, 1e-6):
        v, u = np.array([-0.5, -1.0, 1.0]), np.array([1.0, 1.0])
        arguments = (np.eye(2), v, u, 0.5, noise)
        end = solve_ivp(
            flow, (0.0, 40.0), start, args=arguments, method="Radau", rtol=1e-8, atol=1e-13
        ).y[:, -1]
        off.append(np.abs(end - expected).max())
    assert off[0] < 0.01
    assert off[1] < 0.2 * off[0]


def test_sgd_at_a_small_rate_does_the_same():
    problem = one_unit(5.0, 5.0)
    small = ok.Problem(
        problem.state,
        problem.heads,
        problem.tasks,
        [ok.Phase(p.tasks, 100.0, 0.05) for p in problem.phases],
        "relu",
    )
    sim = ok.simulate(small, input_dim=300, seed=1, t_eval=[0.0, 100.0, 200.0])
    # Its noise keeps the unit off zero by the order of η².
    assert float(sim.Q.sel(time=100.0).max()) < 5e-3
    assert sim.generalization_error[-1, 1].item() == pytest.approx(0.0152, abs=0.01)


def test_a_unit_of_zero_norm_stands_still_between_steps():
    at = ok.equations(one_unit())
    dQ, dR, _ = at(0.0, [[0.0]], [[0.0, 0.0]], np.eye(2), [1.0])
    assert not dQ.any()
    assert not dR.any()


def test_units_stay_in_the_cone_in_every_row():
    run = ok.solve(one_unit(), t_eval=np.linspace(0.0, 20.0, 4001))
    Q, R = run.Q.values[:, 0, 0], run.R.values[:, 0]
    assert (np.abs(R).max(axis=1) <= np.sqrt(np.maximum(Q, 0.0)) + 1e-7).all()


def test_validate_sees_cosines_above_one():
    run = ok.solve(one_unit())
    bad = run.copy(deep=True)
    bad.R[-1, 0, 0] = 1.01 * np.sqrt(bad.Q[-1, 0, 0])
    assert not next(v for v in validate(bad) if v.law == "cosines are at most 1").holds
    # Of a unit at zero eigenvalues see the square alone.
    bad = run.copy(deep=True)
    bad.R[50, 0, 0] = 1e-4
    bad.Q[50, 0, 0] = 0.0
    verdicts = {v.law: v.holds for v in validate(bad)}
    assert verdicts["overlaps are positive semidefinite"]
    assert not verdicts["cosines are at most 1"]


def test_a_unit_that_leaves_within_a_phase():
    """Found at random: as the readouts move, the second unit leaves zero at t = 16, for a while."""
    problem = ok.Problem(
        ok.OrderParameters.draw(student=2, teacher=2, weight_std=0.2, input_dim=50, seed=400744),
        {"main": [0.39, -0.8]},
        {"main": ok.Task([0.82, 0.37])},
        [ok.Phase("main", 60.0, 0.5, gradient_flow=True, readout_learning_rate=0.5)],
        "relu",
    )
    times = [16.2, 16.5, 20.0, 60.0]
    runs = [ok.solve(problem, method=m, t_eval=times) for m in ("DOP853", "Radau", "Rodas5P")]
    for run in runs:
        assert int(run.status) == ok.Status.COMPLETED
        np.testing.assert_allclose(run.Q, runs[0].Q, rtol=0, atol=1e-7)
        np.testing.assert_allclose(run.readout, runs[0].readout, rtol=0, atol=1e-7)


def test_sweeps_hold_what_single_runs_hold():
    problem = one_unit(labelled("eta", 0.5, 0.2), xr.DataArray([0.5, 0.1, 0.3], dims="second"))
    swept = ok.solve(problem, t_eval=[5.0, 20.0])
    for i, first in enumerate((0.5, 0.2)):
        for j, second in enumerate((0.5, 0.1, 0.3)):
            alone = ok.solve(one_unit(first, second), t_eval=[5.0, 20.0])
            one = swept.isel(eta=i, second=j)
            np.testing.assert_allclose(one.R, alone.R, rtol=0, atol=5e-8)
