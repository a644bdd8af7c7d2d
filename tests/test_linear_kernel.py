"""The tangent kernel of linear networks, beside Jacobians of the answers and published numbers."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import networks
import odekit as ok
from odekit.base.errors import ProblemError

seeds = st.integers(0, 2**31)


def answers(net, weights, inputs, gates):
    """All outputs side by side, (samples, outputs)."""
    count = len(next(iter(inputs.values())))
    found = {n: np.zeros((count, net.nodes[n])) for n in net.outputs}
    for path, steps in net.paths.items():
        start, end = net.ends(path)
        signal = gates[path][:, None] * inputs[start]
        for step in steps:
            signal = signal @ weights[step].T
        found[end] = found[end] + signal
    return np.concatenate(list(found.values()), axis=1)


def tangent(net, weights, inputs, gates, rates):
    """K(x, x') = Σ η_e ∂y/∂W ∂y'/∂W, (samples, samples, outputs, outputs).

    Answers are linear in each single weight, so that differences are exact.
    """
    total = 0.0
    for edge, W in weights.items():
        for place in np.ndindex(W.shape):
            step = np.zeros_like(W)
            step[place] = 1.0
            up, down = (
                answers(net, {**weights, edge: W + sign * step}, inputs, gates) for sign in (1, -1)
            )
            J = (up - down) / 2
            total = total + rates[edge] * np.einsum("ia,jb->ijab", J, J)
    return total


def case(seed, samples=12):
    problem, data = networks.random_problem(seed, 5, samples=samples)
    rng = np.random.default_rng(seed)
    edges = list(problem.network.edges)
    rates = {e: float(r) for e, r in zip(edges, rng.uniform(0.1, 1.5, len(edges)), strict=True)}
    return problem.replace_phase(0, learning_rate=rates), data, rates


@given(seed=seeds)
def test_the_kernel_is_that_of_jacobians(seed):
    problem, (inputs, _, gates), rates = case(seed)
    net = problem.network
    run = ok.solve(problem, t_eval=[0.0, 1.0])
    W = {e: run[e].values[1] for e in net.edges}
    places = np.cumsum([0, *(net.nodes[n] for n in net.outputs)])
    where = dict(zip(net.outputs, places, strict=False))
    found = 0.0 * tangent(net, W, inputs, gates, rates)
    for p in net.paths:
        for q in net.paths:
            K = ok.measures.kernel(run, p, q)[1].values
            (a, y), (b, z) = net.ends(p), net.ends(q)
            x, other = gates[p][:, None] * inputs[a], gates[q][:, None] * inputs[b]
            block = np.einsum("yzij,mi,nj->mnyz", K, x, other)
            rows, cols = (slice(where[n], where[n] + net.nodes[n]) for n in (y, z))
            found[:, :, rows, cols] += block
    expected = tangent(net, W, inputs, gates, rates)
    np.testing.assert_allclose(found, expected, atol=1e-12 * (1 + np.abs(expected).max()))


@given(seed=seeds)
def test_the_distance_is_that_over_pairs_of_samples(seed):
    problem, (inputs, _, gates), rates = case(seed)
    net = problem.network
    run = ok.solve(problem, t_eval=[0.0, 0.5, 2.0])
    kernels = [
        tangent(net, {e: run[e].values[row] for e in net.edges}, inputs, gates, rates)
        for row in range(3)
    ]
    found = ok.measures.kernel_distance(run)
    assert found.dims == ("time", "task")
    since = ok.measures.kernel_distance(run, since=0.5)
    size = [np.sqrt((K * K).sum()) for K in kernels]
    if min(size) == 0.0:  # gates that let nothing through
        return
    for row in range(3):
        for values, at in ((found, 0), (since, 1)):
            cosine = (kernels[row] * kernels[at]).sum() / size[row] / size[at]
            assert float(values[row, 0]) == pytest.approx(1 - cosine, abs=1e-12)


def minimal(delta, **phase):
    """a w = (−1, 0) at a² − |w|² = delta, a > 0; the target is (0, 1)."""
    a = np.sqrt((delta + np.sqrt(delta**2 + 4)) / 2)
    weights = {"W1": -1 / a * xr.DataArray([[1.0, 0.0]], dims=("hidden", "input")), "W2": a}
    one = xr.DataArray([[1.0]], dims=("output", "hidden"))
    weights["W2"] = a * one
    weights = {
        e: W.transpose(..., *ends)
        for (e, W), ends in zip(
            weights.items(), (("hidden", "input"), ("output", "hidden")), strict=True
        )
    }
    return ok.LinearProblem(
        ok.linear.deep([2, 1, 1]),
        weights,
        ok.linear.Correlations(yx=[[0.0, 1.0]], xx=np.eye(2)),
        ok.Phase("main", **{"duration": 20.0, "learning_rate": 1.0, **phase}),
    )


DELTA = xr.DataArray([-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0], dims="delta")
TURN = [
    [0.0055, 0.0081, 0.0284, 0.8713],
    [0.0432, 0.0914, 0.4414, 0.7133],
    [0.1170, 0.2763, 0.4777, 0.4864],
    [0.1160, 0.1859, 0.2000, 0.2000],
    [0.0386, 0.0488, 0.0501, 0.0501],
    [0.0109, 0.0123, 0.0124, 0.0124],
    [0.0014, 0.0015, 0.0015, 0.0015],
]


def test_lazy_and_rich_in_the_minimal_model():
    """Published curves (Kunin et al. 2024), K₀ normalised by its own length."""
    run = ok.solve(minimal(DELTA), t_eval=[0.0, 1.0, 2.0, 5.0, 20.0])
    found = ok.measures.kernel_distance(run)
    assert found.dims == ("delta", "time", "task")
    np.testing.assert_allclose(found[:, 1:, 0], TURN, atol=5e-5)
    np.testing.assert_array_equal(found[:, 0], 0.0)
    some = ok.measures.kernel_distance(run.isel(delta=[2, 5]))
    np.testing.assert_array_equal(some, found.isel(delta=[2, 5]))


def test_rates_enter_the_kernel_by_phase():
    """η_w a² I + η_a w wᵀ, with the rates of each row, schedules at its time."""
    ramp = ok.Schedule([0.0, 2.0], [0.5, 0.1])
    phases = [
        ok.Phase("main", 1.0, 0.3),
        ok.Phase("main", 2.0, {"W1": 0.5, "W2": ramp}),
    ]
    run = ok.solve(minimal(-1.0).replace(phases=phases), t_eval=[0.0, 1.0, 2.0, 3.0])
    w, a = run.W1.values[:, 0], run.W2.values[:, 0, 0]
    eta_w, eta_a = np.array([1.0, 1.0, 0.5, 0.5]), np.array([1.0, 1.0, 0.3, 0.1])
    K = (eta_w * a**2)[:, None, None] * np.eye(2) + eta_a[:, None, None] * np.einsum(
        "ti,tj->tij", w, w
    )
    found = ok.measures.kernel(run)
    assert found.dims == ("time", "output", "output_other", "input", "input_other")
    np.testing.assert_allclose(found[:, 0, 0], K, rtol=1e-12)


def test_distance_over_swept_correlations():
    rho = xr.DataArray([0.0, 0.5], dims="rho", coords={"rho": [0.0, 0.5]})
    one = xr.DataArray(np.eye(2), dims=("input", "input_other"))
    xx = one + rho * (1 - one)
    yx = xr.DataArray([[0.0, 1.0]], dims=("output", "input")).broadcast_like(rho)
    problem = minimal(-1.0)
    tasks = {"even": problem.tasks["main"], "main": ok.linear.Correlations(yx=yx, xx=xx)}
    run = ok.solve(problem.replace(tasks=tasks), t_eval=[0.0, 2.0])
    found = ok.measures.kernel_distance(run)
    assert found.dims == ("rho", "time", "task")
    for i, r in enumerate(rho.values):
        w, a = run.W1[i].values[:, 0], run.W2[i].values[:, 0, 0]
        K = [x**2 * np.eye(2) + np.outer(y, y) for x, y in zip(a, w, strict=True)]
        for task, C in (("even", np.eye(2)), ("main", np.array([[1.0, r], [r, 1.0]]))):
            inner = [[np.trace(C @ A @ C @ B) for A in K] for B in K]
            expected = 1 - inner[0][1] / np.sqrt(inner[0][0] * inner[1][1])
            assert float(found.sel(task=task)[i, 1]) == pytest.approx(expected, abs=1e-12)
    half = ok.measures.kernel_distance(run.sel(rho=0.5))
    np.testing.assert_allclose(half, found.sel(rho=0.5), atol=1e-15)


@pytest.mark.parametrize(
    ("widths", "turns"),
    [
        ([4, 4, 4], {-10.0: 0.0003, -1.0: 0.085, 0.0: 0.383, 1.0: 0.084, 10.0: 0.0003}),
        ([4, 2, 2], {-10.0: 0.486, -1.0: 0.366, 0.0: 0.186, 1.0: 0.042, 10.0: 0.0002}),
        ([2, 2, 4], {-10.0: 0.0002, -1.0: 0.043, 0.0: 0.211, 1.0: 0.366, 10.0: 0.486}),
    ],
)
def test_from_lazy_to_rich(widths, turns):
    """Dominé et al. (2025): imbalance makes networks lazy where the large layer is square."""
    net = ok.linear.deep(widths)
    target = np.zeros((widths[2], widths[0]))
    target[[0, 1], [0, 1]] = 2.0, 1.0
    for imbalance, expected in turns.items():
        problem = ok.LinearProblem(
            net,
            ok.linear.balanced(net, 0.1, seed=1, imbalance=imbalance, draws=40, normal=True),
            ok.linear.Correlations(yx=target, xx=np.eye(widths[0])),
            ok.Phase("main", duration=60.0, learning_rate=1.0),
        )
        run = ok.solve(problem, t_eval=[0.0, 60.0], rtol=1e-6, atol=1e-9)
        turn = ok.measures.kernel_distance(run)[:, -1, 0].values
        doubt = turn.std() / np.sqrt(20)  # of the published 20 draws, some larger than ours
        assert turn.mean() == pytest.approx(expected, abs=max(0.002, 3 * doubt))


def test_kernels_that_are_refused():
    run = ok.solve(minimal(0.0), t_eval=[0.0, 1.0])
    with pytest.raises(ProblemError, match="`since` must be the time of a row, got"):
        ok.measures.kernel_distance(run, since=0.5)
    with pytest.raises(ProblemError, match="`path` must be one of the paths 'main', got 'other'"):
        ok.measures.kernel(run, "other")
    swept = ok.solve(minimal(DELTA), t_eval=[0.0])
    net = ok.linear.pathways(["p", "q"], input=1, hidden=1, output=1)
    tasks = ok.linear.Correlations.from_contexts(net, [[1.0]], [[[1.0]]])
    weights = ok.linear.normal(net, 1.0, seed=0)
    both = ok.solve(ok.LinearProblem(net, weights, tasks, ok.Phase("main", 1.0, 1.0)))
    with pytest.raises(ProblemError, match="`path` must be one of the paths 'p', 'q', got None"):
        ok.measures.kernel(both)
    assert not ok.measures.kernel(both, "p", "q").any()  # they share no edge
    assert ok.measures.kernel(swept).sizes["delta"] == 7
