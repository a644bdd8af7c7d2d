"""Gated deep linear networks: flow, loss and Jacobian; what is conserved; sweeps beside runs."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import networks
import odekit as ok
from single import Single

seeds = st.integers(0, 2**31)


def difference(f, y, h=1e-5):
    """Central differences of fourth order, shape (…, n)."""
    columns = []
    for e in np.eye(y.size):
        near = f(y + h * e) - f(y - h * e)
        far = f(y + 2 * h * e) - f(y - 2 * h * e)
        columns.append((8 * near - far) / (12 * h))
    return np.stack(columns, axis=-1)


@given(seed=seeds, edges=st.integers(1, 6))
def test_flow_is_minus_the_gradient(seed, edges):
    problem, data = networks.random_problem(seed, edges)
    layout = Single(problem)
    _, y = layout.start()
    phase = layout.equations(0, None, 0.0)

    def loss(y):
        return networks.loss_of(problem.network, layout.readings.weights(y), *data)

    assert layout.errors(y[None])[0, 0] == pytest.approx(loss(y), rel=1e-12)
    gradient = difference(loss, y)
    # Rounding of the loss over the step of the differences.
    bound = 1e-9 * max(loss(y), 1.0)
    np.testing.assert_allclose(phase.rhs(0.0, y), -0.5 * gradient, rtol=1e-8, atol=bound)


@given(seed=seeds, edges=st.integers(1, 6))
def test_jacobian_is_exact_and_symmetric(seed, edges):
    problem, _ = networks.random_problem(seed, edges)
    layout = Single(problem)
    _, y = layout.start()
    phase = layout.equations(0, None, 0.0)
    J = phase.jac(0.0, y)
    expected = difference(lambda y: phase.rhs(0.0, y), y)
    np.testing.assert_allclose(J, expected, rtol=1e-8, atol=1e-9 * (1 + np.abs(J).max()))
    np.testing.assert_allclose(J, J.T, atol=1e-13 * (1 + np.abs(J).max()))


@given(seed=seeds, edges=st.integers(2, 6))
def test_inner_nodes_conserve_their_matrix(seed, edges):
    problem, _ = networks.random_problem(seed, edges)
    run = ok.solve(problem, rtol=1e-10, atol=1e-13)
    assert int(run.status) == ok.Status.COMPLETED
    found = ok.measures.conserved_layers(run)
    assert len(found.data_vars) == 3 * len(problem.network.inner)
    for node in problem.network.inner:
        moved = float(abs(found[f"imbalance_{node}_drift"]).max())
        # Tolerances of the steps, over the size of what makes up the matrix.
        assert moved <= 1e-7 * max(float(found[f"imbalance_{node}_size"]), 1.0)


@given(seed=seeds)
def test_the_loss_never_increases(seed):
    problem, _ = networks.random_problem(seed)
    loss = ok.solve(problem).generalization_error.values[:, 0]
    assert np.all(np.diff(loss) <= 1e-7 * loss[0])


@given(seed=seeds)
def test_sweeps_are_single_runs(seed):
    """The lanes' loops beside the single runs' kernel, at the tolerance of the steps."""
    problem, _ = networks.random_problem(seed, 5)
    rates = xr.DataArray([0.2, 0.5, 1.0], dims="eta")
    many = problem.replace_phase(0, learning_rate=rates, until=1e-3)
    grid = ok.solve(many, t_eval=[0.0, 1.5, 3.0], rtol=1e-9, atol=1e-12)
    assert "RK45" in str(grid.method.values[0, 0])
    for i, eta in enumerate(rates.values):
        one = problem.replace_phase(0, learning_rate=float(eta), until=1e-3)
        run = ok.solve(one, t_eval=[0.0, 1.5, 3.0], rtol=1e-9, atol=1e-12)
        rows = run.sizes["time"]
        for name in [*problem.network.edges, "generalization_error", "mode_strength"]:
            np.testing.assert_allclose(
                grid[name][i, :rows].values, run[name].values, rtol=1e-5, atol=1e-7
            )
        np.testing.assert_allclose(grid.phase_end[i], run.phase_end, rtol=1e-6)


def test_large_products_go_through_blas():
    """A wide chain beside numpy."""
    rng = np.random.default_rng(0)
    net = ok.linear.deep([20, 40, 30, 10])
    X = rng.normal(size=(200, 20))
    Y = rng.normal(size=(200, 10))
    problem = ok.LinearProblem(
        network=net,
        weights=ok.linear.normal(net, 0.2, seed=1),
        tasks=ok.linear.Correlations.from_samples(net, {"input": X}, {"output": Y}),
        phases=ok.Phase("main", duration=1.0, learning_rate=0.3),
    )
    layout = Single(problem)
    _, y = layout.start()
    W1, W2, W3 = problem.weights.values()
    G = Y.T @ X / 200 - W3 @ W2 @ W1 @ (X.T @ X / 200)
    parts = [(W3 @ W2).T @ G, W3.T @ G @ W1.T, G @ (W2 @ W1).T]
    expected = 0.3 * np.concatenate([part.ravel() for part in parts])
    scale = np.abs(expected).max()
    np.testing.assert_allclose(
        layout.equations(0, None, 0.0).rhs(0.0, y), expected, atol=1e-13 * scale
    )


def test_the_flow_is_the_limit_of_gradient_descent():
    problem, _ = networks.random_problem(3, duration=1.0)
    end = ok.solve(problem, rtol=1e-11, atol=1e-13).isel(time=-1)
    away = []
    for steps in (100, 200):
        run = ok.descend(problem, steps_per_unit=steps)
        assert run.W0.shape == (steps + 1, *problem.network.shape("W0"))
        assert float(run.time[-1]) == 1.0
        away.append(max(float(abs(run[e][-1] - end[e]).max()) for e in problem.network.edges))
    # Euler's method: half the step, half the error.
    assert away[1] < 0.6 * away[0] < 0.6 * 0.1


def test_one_mode_learns_as_in_closed_form():
    """A diagonal target from aligned, unbalanced weights."""
    net = ok.linear.deep([2, 2, 2])
    target = np.array([[1.0, 2.0], [-2.0, 1.0]])
    problem = ok.LinearProblem(
        network=net,
        weights=ok.linear.aligned(net, target, [[0.3, 0.01], [0.02, 0.2]]),
        tasks=ok.linear.Correlations(yx=target, xx=np.eye(2)),
        phases=ok.Phase("main", duration=5.0, learning_rate=1.0),
    )
    run = ok.solve(problem, rtol=1e-11, atol=1e-14)
    s = run.target_strength[0, 0]
    for mode, (a, b) in enumerate([(0.3, 0.02), (0.01, 0.2)]):
        first, second = ok.linear.one_mode(run.time, s[mode], a, b)
        np.testing.assert_allclose(
            run.mode_strength[:, 0, 0, mode], first * second, rtol=1e-8, atol=1e-11
        )
    # Equal strengths have no modes of their own: what is aligned is the map.
    np.testing.assert_allclose(run.map_main[-1], target, rtol=1e-4)


def test_deep_balanced_chain_learns_as_in_closed_form():
    net = ok.linear.deep([1, 1, 1, 1])
    problem = ok.LinearProblem(
        network=net,
        weights={e: [[0.3]] for e in net.edges},
        tasks=ok.linear.Correlations(yx=[[1.5]], xx=[[1.0]]),
        phases=ok.Phase("main", duration=8.0, learning_rate=1.0),
    )
    run = ok.solve(problem, rtol=1e-11, atol=1e-13)
    exact = ok.linear.balanced_mode(run.time, 1.5, 0.3**3, depth=3)
    np.testing.assert_allclose(run.map_main.squeeze(), exact, rtol=1e-9)


def test_linear_soft_committee_in_gradient_flow():
    """The overlaps of section 2 beside the weights of section 7: one output, the same curves."""
    rng = np.random.default_rng(5)
    N, K, P = 6, 3, 2
    W, B, v, u = (rng.normal(size=s) for s in ((K, N), (P, N), K, P))
    eta_w = 0.2
    committee = ok.Problem(
        state=ok.OrderParameters.from_weights(W, B),
        heads={"main": v},
        tasks={"main": ok.Task(readout=u)},
        phases=ok.Phase("main", 6.0, eta_w, readout_learning_rate=eta_w, gradient_flow=True),
        activation="linear",
    )
    t = np.linspace(0, 6, 13)
    overlaps = ok.solve(committee, t_eval=t, rtol=1e-10, atol=1e-12)
    # With w/√N as weights both layers move at the same rate.
    net = ok.linear.deep([N, K, 1])
    target = u[None] @ B / np.sqrt(N)
    problem = ok.LinearProblem(
        network=net,
        weights={"W1": W / np.sqrt(N), "W2": v[None]},
        tasks=ok.linear.Correlations(yx=target, xx=np.eye(N)),
        phases=ok.Phase("main", duration=6.0, learning_rate=eta_w),
    )
    run = ok.solve(problem, t_eval=t, rtol=1e-10, atol=1e-12)
    Q = np.einsum("tki,tli->tkl", run.W1, run.W1)
    R = np.einsum("tki,ni->tkn", run.W1, B / np.sqrt(N))
    np.testing.assert_allclose(Q, overlaps.Q, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(R, overlaps.R, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(run.W2[:, 0], overlaps.readout[:, 0], rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(
        run.generalization_error, overlaps.generalization_error, rtol=1e-7, atol=1e-9
    )


def test_relu_pair_follows_the_linear_network():
    """(w, −w), (v, −v) on data symmetric under x → −x: half the output, half the rate, to rounding,
    in discrete steps too."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(50, 4))
    x = np.concatenate([x, -x])
    y = x @ rng.normal(size=(4, 1)) + np.sin(3 * x[:, :1])
    w, eta, steps = rng.normal(size=4), 0.05, 30
    v = np.linalg.norm(w)  # balanced: w·w = v²
    net = ok.linear.deep([4, 1, 1])
    # Of both signs only one unit of the pair is active: half the gradient.
    problem = ok.LinearProblem(
        network=net,
        weights={"W1": w[None], "W2": [[v]]},
        tasks=ok.linear.Correlations.from_samples(net, {"input": x}, {"output": y}),
        phases=ok.Phase("main", duration=steps, learning_rate=eta / 2),
    )
    run = ok.descend(problem)
    A, b = np.stack([w, -w]), np.array([v, -v])
    for step in range(steps + 1):
        np.testing.assert_allclose(A, [run.W1[step, 0], -run.W1[step, 0]], rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(b, [run.W2[step, 0, 0], -run.W2[step, 0, 0]], rtol=1e-12)
        hidden = np.maximum(x @ A.T, 0)
        error = y[:, 0] - hidden @ b
        dA = (b[:, None] * ((hidden > 0) * error[:, None]).T) @ x / len(x)
        A, b = A + eta * dA, b + eta * hidden.T @ error / len(x)


def wide(widths, **phase):
    """Two rates of a chain of many weights."""
    net = ok.linear.deep(widths)
    rates = xr.DataArray([0.5, 1.0], dims="eta")
    return ok.LinearProblem(
        network=net,
        weights=ok.linear.normal(net, 0.3, seed=0),
        tasks=ok.linear.Correlations(yx=np.eye(widths[-1], widths[0]), xx=np.eye(widths[0])),
        phases=ok.Phase("main", **{"duration": 4.0, "learning_rate": rates, **phase}),
    )


WATCHED = ("W1", "map_main", "mode_strength", "generalization_error")


def test_sweeps_of_wide_networks_go_one_by_one_where_a_method_is_not_in_lanes():
    """Rows as of single runs, to the last bit."""
    problem = wide([6, 8, 4])
    grid = ok.solve(problem, t_eval=[0.0, 2.0, 4.0], method="Radau")
    assert set(np.ravel(grid.method)) == {"Radau"}
    one = ok.solve(
        problem.replace_phase(0, learning_rate=1.0), t_eval=[0.0, 2.0, 4.0], method="Radau"
    )
    for name in WATCHED:
        assert np.array_equal(grid[name][1], one[name], equal_nan=True)


@pytest.mark.parametrize("widths", [[6, 8, 4], [9, 13, 11, 7], [17, 16, 19]])
def test_sweeps_of_wide_networks_go_in_lanes(widths):
    """From 80 to 576 weights, whose products have tiles and strips of all sizes."""
    problem = wide(widths)
    grid = ok.solve(problem, t_eval=[0.0, 2.0, 4.0], rtol=1e-9, atol=1e-12)
    assert set(np.ravel(grid.method)) == {"RK45"}
    one = ok.solve(
        problem.replace_phase(0, learning_rate=1.0), t_eval=[0.0, 2.0, 4.0], rtol=1e-9, atol=1e-12
    )
    for name in WATCHED:
        np.testing.assert_allclose(grid[name][1], one[name], rtol=1e-6, atol=1e-7)


def test_wide_networks_turn_implicit_only_where_that_pays():
    """For 80 weights an implicit step costs as much as some thousand explicit ones."""
    short = ok.solve(wide([6, 8, 4], duration=3e3), t_eval=[0.0, 3e3])
    assert set(np.ravel(short.method)) == {"RK45"}
    long = ok.solve(wide([6, 8, 4], duration=1e6), t_eval=[0.0, 1e6])
    assert all("Rodas5P" in str(m) for m in np.ravel(long.method))
    np.testing.assert_allclose(
        long.map_main[:, -1], np.broadcast_to(np.eye(4, 6), (2, 4, 6)), atol=1e-7
    )


def test_wide_products_cost_what_they_take():
    """180,000 weights are some 10 ms for a right-hand side; inverse Jacobians are refused."""
    from odekit.base.errors import ProblemError
    from odekit.sweeps.workload import seconds_per_call

    net = ok.linear.deep([300, 300, 300])
    problem = ok.LinearProblem(
        net,
        ok.linear.normal(net, 0.01, seed=0),
        ok.linear.Correlations(yx=np.eye(300), xx=np.eye(300)),
        ok.Phase("main", duration=1.0, learning_rate=xr.DataArray([0.5, 1.0], dims="eta")),
    )
    assert 0.001 < seconds_per_call(problem, lanes=True) < 0.1
    with pytest.raises(ProblemError, match="`method` must be explicit for more than 2000"):
        ok.solve(problem, method="Rodas5P")
