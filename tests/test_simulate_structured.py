"""Finite networks of structured problems follow `ok.solve`: deviations are O(1/√N), as they must.

The mean over replicas is compared in its own standard errors, to which the networks' bias of order
1/N adds; the spread between replicas falls as 1/√N.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

import odekit as ok

REPLICAS = 24
SIZES = (250, 1000)
NOISE = 1.6
"""Largest root mean square over all components of deviations in standard errors: it is 0.8 to 1.2
at N = 1000. Parts left out make it 5 to 28, γ of 1.3 for 1.5 3."""


def overlaps(K, P, seed, groups=None, size=1.0):
    rng = np.random.default_rng(seed)
    A = size * rng.normal(size=(groups or 1, K + P, 8)) / np.sqrt(8)
    A[:, :K] *= 0.7
    C = A @ np.swapaxes(A, 1, 2)
    blocks = C[:, :K, :K], C[:, :K, K:], C[:, K:, K:]
    return ok.OrderParameters(*(blocks if groups else (x[0] for x in blocks)))


def xor(**phase):
    """Four clusters with labels ±1; erf units need their biases."""
    tasks = {
        f"{a:+}{b:+}": ok.Task(
            [0.0, 0.0],
            label=float(a * b),
            input_mean=[1.5 * a, 1.5 * b],
            head="main",
            input_variance=0.3,
        )
        for a in (1, -1)
        for b in (1, -1)
    }
    given = {"learning_rate": 1.0, "readout_learning_rate": 0.5, "bias_learning_rate": 0.7}
    return ok.Problem(
        state=overlaps(3, 2, 1),
        heads={"main": [0.9, -0.7, 0.6]},
        tasks=tasks,
        phases=[ok.Phase(dict.fromkeys(tasks, 0.25), 2.0, **{**given, **phase})],
        biases=[0.1, -0.2, 0.3],
    )


def subpopulations(activation):
    """Two with sign teachers of their own, in two groups of inputs that students see noisily."""
    groups = {"in": 0.4, "out": 0.6}
    first = ok.Task(
        [1.0, 0.0],
        noise_std=0.3,
        head="main",
        input_mean=[0.8, -0.3],
        input_variance={"in": 1.0, "out": 0.5},
        student_gain={"in": 1.0, "out": 0.7},
        student_noise_std={"in": 0.9, "out": 0.0},
    )
    second = ok.Task([0.0, 1.0], head="main", input_mean=[-0.8, 0.3], input_variance=0.8)
    rate = 0.8 if activation == "erf" else 0.4
    phase = ok.Phase(
        {"A": 0.7, "B": 0.3}, 2.0, {"in": rate, "out": rate / 2}, 0.3, bias_learning_rate=0.5
    )
    return ok.Problem(
        state=overlaps(2, 2, 2, groups=2),
        heads={"main": [0.8, 0.5]},
        tasks={"A": first, "B": second},
        phases=[phase],
        activation=activation,
        groups=groups,
        teacher_activation="sign",
        biases=[0.2, -0.1],
        teacher_biases=[0.3, -0.2],
    )


def outputs(*phases, **more):
    """Three outputs of two tasks with a head each."""
    rng = np.random.default_rng(0)
    V, u = 0.7 * rng.normal(size=(2, 3, 3)), rng.normal(size=(2, 3, 2))
    tasks = {
        "A": ok.Task(u[0], noise_std=[0.2, 0.4, 0.6], label=[0.1, -0.2, 0.3]),
        "B": ok.Task(u[1], noise_std=0.3),
    }
    return ok.Problem(overlaps(3, 2, 3), {"A": V[0], "B": V[1]}, tasks, list(phases), **more)


def dropout():
    keep = [0.8, 0.6, 0.9]
    phase = ok.Phase(
        {"A": 0.6, "B": 0.4}, 2.0, 0.6, 0.3, weight_decay=0.1, readout_weight_decay=0.2,
        batch_size=2, keep_probability=keep,
    )  # fmt: skip
    return outputs(phase, test_scale=keep)


def consolidated():
    second = ok.Phase(
        "B", 1.5, 0.6, 0.3, consolidation=ok.Consolidation("fisher", 1.0), bias_learning_rate=0.2
    )
    return outputs(ok.Phase("A", 0.5, 0.6, 0.3), second, biases=[0.2, 0.0, -0.3])


CASES = {
    "xor": xor,
    "sub-populations, erf": lambda: subpopulations("erf"),
    "sub-populations, linear": lambda: subpopulations("linear"),
    "outputs and dropout": dropout,
    "outputs, consolidated": consolidated,
    "adagrad": lambda: xor(normalization=ok.AdaGradNorm(0.2)),
    "rms": lambda: xor(normalization=ok.RMSNorm(2.0, 0.3, 0.05), batch_size=2, learning_rate=0.5),
    "heavy ball": lambda: xor(momentum_decay=1.5),
}
SLOW = {"squared_gradient"}
"""B has a bias of order 1/N that is large against its spread: see `test_squared_gradient`."""


@pytest.mark.parametrize("name", CASES)
def test_networks_follow_the_theory(name):
    problem = CASES[name]()
    times = [0.4, 1.2, 2.0]
    run = ok.solve(problem, t_eval=times)
    spread = {}
    for N in SIZES:
        sim = ok.simulate(problem, input_dim=N, seed=2, replicas=REPLICAS, t_eval=times)
        moved = {n for n in sim.data_vars if "time" in sim[n].dims}
        assert moved == {n for n in run.data_vars if "time" in run[n].dims}
        scores = []
        for variable in moved - SLOW - {"phase", "generalization_error"}:
            each = (sim[variable] - run[variable]).values
            error = each.std(axis=0, ddof=1) / np.sqrt(REPLICAS)
            random = error > 1e-9
            scores.append((each.mean(axis=0)[random] / error[random]).ravel())
        if SIZES[-1] == N:
            assert np.sqrt(np.mean(np.concatenate(scores) ** 2)) < NOISE
        spread[N] = float(sim.R.std("replica").mean())
    ratio = spread[SIZES[0]] / spread[SIZES[1]]
    assert 1.5 < ratio < 2.6, "deviations fall as 1/√N, by 2"


def test_squared_gradient():
    """B differs from the theory by c/N, the same c at all N."""
    problem = xor(normalization=ok.RMSNorm(2.0, 0.3, 0.05), batch_size=2).replace_phase(
        0, duration=0.5
    )
    run = ok.solve(problem, t_eval=[0.5])
    found = []
    for N in (100, 200):
        sim = ok.simulate(problem, input_dim=N, seed=3, replicas=200, t_eval=[0.5])
        each = N * (sim.squared_gradient - run.squared_gradient).values
        found.append((each.mean(), each.std() / np.sqrt(200)))
    (first, error), (second, other) = found
    assert abs(first - second) < 4 * np.hypot(error, other)
    assert first < 10 * 0.3


def test_what_rests_stays():
    """At zero rates nothing moves, and a network has the overlaps of the state, biases too."""
    problem = subpopulations("erf").replace_phase(
        0, learning_rate=0.0, readout_learning_rate=0.0, bias_learning_rate=0.0, momentum_decay=1.0
    )
    sim = ok.simulate(problem, input_dim=100, seed=0, t_eval=[0.0, 1.0])
    run = ok.solve(problem, t_eval=[0.0, 1.0])
    for name in ("Q_group", "R_group", "bias", "readout", "generalization_error", "velocity_Q"):
        np.testing.assert_allclose(sim[name], run[name], rtol=0, atol=1e-12)


def test_a_threshold_and_a_sweep():
    """Networks of a sweep equal those of its points; phases end where the theory's do."""
    rates = xr.DataArray([0.5, 1.0], dims="eta")
    problem = outputs(ok.Phase("A", 30.0, rates, 0.3, until=0.25), biases=[0.2, 0.0, -0.3])
    sweep = ok.simulate(problem, input_dim=500, seed=1, replicas=2)
    one = problem.replace_phase(0, learning_rate=1.0)
    run = ok.solve(one)
    assert (sweep.phase_end < 30.0).all()
    last = sweep.phase_end.isel(eta=1).mean("replica")
    np.testing.assert_allclose(last, run.phase_end, rtol=0.25)
    alone = ok.simulate(one, input_dim=500, seed=1, replicas=2, t_eval=sweep.time.values)
    for name in ("Q", "bias", "readout"):
        np.testing.assert_array_equal(sweep[name].isel(eta=1), alone[name])


def test_momentum_begins_and_ends_with_its_phases():
    """Velocities vanish in a phase without; B begins anew after one without."""
    adaptive = ok.AdaGradNorm(0.2)
    problem = xor()
    first = problem.phases[0]
    phases = [
        replace(first, duration=0.4, momentum_decay=1.5, normalization=adaptive),
        replace(first, duration=0.4, momentum_decay=0.5, normalization=adaptive),
        replace(first, duration=0.4, weight_decay=0.2),
        replace(first, duration=0.4, momentum_decay=0.5),
    ]
    problem = problem.replace(phases=phases)
    times = [0.4, 0.8, 1.2, 1.6]
    run = ok.solve(problem, t_eval=times)
    sim = ok.simulate(problem, input_dim=1000, seed=4, replicas=REPLICAS, t_eval=times)
    for name in ("Q", "R", "bias", "readout"):
        each = (sim[name] - run[name]).values
        error = each.std(axis=0, ddof=1) / np.sqrt(REPLICAS)
        assert np.sqrt(np.mean((each.mean(axis=0) / error) ** 2)) < NOISE, name


def test_the_chain_of_overlaps_refuses_them():
    with pytest.raises(ok.ProblemError, match="must be 'weights' with biases"):
        ok.simulate(xor(), input_dim=100, seed=0, method="overlaps")


def test_given_inputs_with_outputs_and_biases():
    """Labels (samples, outputs); the measured error is that of the network on them."""
    rng = np.random.default_rng(0)
    problem = outputs(ok.Phase("A", 2.0, 0.3, 0.2), biases=[0.2, 0.0, -0.3])
    x = rng.normal(size=(200, 40))
    labels = {"A": np.tanh(x[:, :3]), "B": np.zeros((200, 3))}
    sim = ok.simulate(problem, inputs=x, labels=labels, seed=0, t_eval=[0.0, 2.0])
    assert float(sim.test_error[-1, 0]) < 0.9 * float(sim.test_error[0, 0])
    np.testing.assert_array_equal(sim.generalization_error, sim.test_error)
    wrong = {"A": np.zeros((200, 2)), "B": np.zeros((200, 3))}
    with pytest.raises(ok.ProblemError, match=r"shape \(200, 3\)"):
        ok.simulate(problem, inputs=x, labels=wrong, seed=0)
    clusters = xor()
    with pytest.raises(ok.ProblemError, match="how inputs are drawn"):
        ok.simulate(clusters, inputs=x, seed=0)
