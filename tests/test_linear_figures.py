"""Numbers of the figures of papers on linear networks, by the builders of their settings."""

import numpy as np
import pytest

import odekit as ok
from test_linear_builders import OFFSETS, Y


def test_routing_network_learns_in_its_modes():
    """Saxe et al. (2022) from a decoupled start: closed modes, 28 pairs at once."""
    net = ok.linear.routing(7, OFFSETS, input=4, hidden=4, output=7)
    problem = ok.LinearProblem(
        net,
        ok.linear.aligned(net, Y, dict.fromkeys(net.edges, 0.2)),
        ok.linear.Correlations.one_at_a_time(net, yx=Y, xx=np.eye(4)),
        ok.Phase("main", duration=0.1, learning_rate=1.0),
    )
    run = ok.solve(problem, t_eval=[0.0, 0.05, 0.1], rtol=1e-11, atol=1e-13)
    s = np.linalg.svd(Y)[1]
    np.testing.assert_allclose(s, [13.60147, 6.40312, 3.0, 3.0], atol=5e-6)
    outer, shared = ok.linear.routing_mode(np.array([[0.05], [0.1]]), s, 0.2, 7, 4)
    for row in (0, 1):
        for edge, exact in (("B", shared), ("A_3", outer), ("C_0", outer)):
            found = np.linalg.svd(run[edge][row + 1], compute_uv=False)
            np.testing.assert_allclose(found, np.sort(exact[row])[::-1], atol=1e-8)


def test_critical_periods():
    """Kleinman et al. (2024): y's edges are frozen for a while, but still answer."""
    tree = ok.linear.hierarchy()
    net = ok.linear.pathways(["x", "y"], input=8, hidden=8, output=15, depth=4)
    frozen = {e: 0.0 if e.endswith("_y") else 1.0 for e in net.edges}
    found = {}
    for start in (0.0, 4.0, 7.5):
        spans = [(start, 1.0), (1.5, frozen), (8.5 - start, 1.0)]
        phases = [ok.Phase("main", t, rates) for t, rates in spans if t > 0]
        problem = ok.LinearProblem(
            net,
            ok.linear.aligned(net, tree, dict.fromkeys(net.edges, 0.01**0.25)),
            ok.linear.Correlations.from_contexts(net, np.eye(8), [tree]),
            phases,
        )
        run = ok.solve(problem, t_eval=[10.0], rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(
            run.target_strength[0, 0], np.sqrt([15, 7, 3, 3, 1, 1, 1, 1]), rtol=1e-12
        )
        found[start] = run.mode_strength[0, 0].values[:, [1, 4]]
    expected = {
        0.0: [[2.6315, 0.9363], [0.0142, 0.0637]],
        4.0: [[1.3229, 0.8441], [1.3229, 0.1559]],
        7.5: [[1.3229, 0.5002], [1.3229, 0.4998]],
    }
    for start, values in expected.items():
        np.testing.assert_allclose(found[start], values, atol=1e-4)


def test_optimal_constant_solution():
    """Rubruck et al. (2024): a hidden bias alone, from a start along the modes."""
    tree, n = ok.linear.hierarchy(root=False), 8
    net = ok.linear.deep([n, n, 14], bias="hidden")
    task = ok.linear.Correlations.from_samples(net, {"input": np.eye(n)}, {"output": tree.T})
    mean = tree.mean(1)
    u, _, vt = np.linalg.svd(tree - mean[:, None], full_matrices=False)
    left = np.column_stack([mean / np.linalg.norm(mean), u[:, :7]])
    right = np.zeros((n, n + 1))
    right[0] = np.append(np.ones(n), n) / np.sqrt(n + n * n)
    right[1:, :n] = vt[:7]
    root = np.sqrt(1e-3)
    weights = {"W1": root * right[:, :n], "W2": root * left, "b1": root * right[:, n:]}
    problem = ok.LinearProblem(net, weights, task, ok.Phase("main", 40.0, 1.0))
    run = ok.solve(problem, t_eval=[0.0, 5.0, 10.0, 20.0, 40.0])
    np.testing.assert_allclose(
        run.generalization_error[:, 0], [1.49775, 1.04887, 0.85436, 0.20950, 4.7e-4], atol=1e-4
    )


@pytest.mark.parametrize(
    ("depth", "fusion", "rho", "start", "ratio"),
    [
        (2, 2, 0.9, 1e-9, 16.594),
        (4, 3, 0.0, 0.1, 1.649),
        (4, 2, 0.6, 0.1, 1.250),
        (4, 3, 0.0, 0.01, 1.0729),
    ],
)
def test_unimodal_phases_from_balanced_starts(depth, fusion, rho, start, ratio):
    """Zhang et al. (2024), y = x_A + x_B: t_B/t_A, r = 2."""
    r = 2.0
    net = ok.linear.multimodal({"a": 1, "b": 1}, 1, depth=depth, fusion=fusion, width=1)
    tasks = ok.linear.Correlations(
        yx={"a_path": [[r * r + rho * r]], "b_path": [[1 + rho * r]]},
        xx={"a_path": {"a_path": [[r * r]], "b_path": [[rho * r]]}, "b_path": {"b_path": [[1.0]]}},
    )
    problem = ok.LinearProblem(
        net,
        ok.linear.aligned(net, [[1.0]], ok.linear.path_scales(net, start)),
        tasks,
        ok.Phase("main", duration=1e5, learning_rate=1.0),
    )

    def crossings(t):
        run = ok.solve(problem, t_eval=t, rtol=1e-10, atol=1e-14)
        a, b = (run[f"map_{m}_path"].squeeze() for m in "ab")
        pairs = (a, 0.5 * (1 + rho / r)), (b, 0.5)
        return [float(ok.measures.escape_time(curve, level)) for curve, level in pairs]

    times = crossings([0.0, *np.geomspace(1.0, 1e5, 500)])
    fine = [np.linspace(0.97 * t, 1.03 * t, 200) for t in times]
    times = crossings(np.unique(np.concatenate(fine)))
    assert times[1] / times[0] == pytest.approx(ratio, rel=2e-3)
