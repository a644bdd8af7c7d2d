"""Builders of networks, data and initial weights that the papers' figures need."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import networks
import odekit as ok
from odekit.base.errors import ProblemError, ScenarioError
from odekit.verbs.scenario import parse_scenario

OFFSETS = (-1, 0, 1, 2)
Y = np.vstack([[6.0] * 4, [4.0, 4.0, 0.0, 0.0], [0.0, 0.0, 4.0, 4.0], 3 * np.eye(4)])


# ---------------------------------------------------------------------------------------- networks


def test_routing():
    net = ok.linear.routing(7, OFFSETS, input=4, hidden=64, output=7)
    assert list(net.nodes) == [
        *(f"in{i}" for i in range(7)), "h1", "h2", *(f"out{j}" for j in range(7))
    ]  # fmt: skip
    assert len(net.paths) == 28
    assert net.paths["p_6_1"] == ("A_6", "B", "C_1")
    assert [net.shape(e) for e in ("A_0", "B", "C_0")] == [(64, 4), (64, 64), (7, 64)]
    assert net.inner == ["h1", "h2"]
    assert (
        net.paths["p_0_6"]
        == ok.linear.routing(7, (6,), input=4, hidden=64, output=7).paths["p_0_6"]
    )
    short = ok.linear.routing(2, (0,), input=1, hidden=2, output=1, depth=2)
    assert short.paths == {"p_0_0": ("A_0", "C_0"), "p_1_1": ("A_1", "C_1")}
    assert short.edges["C_1"] == ("h1", "out1")
    long = ok.linear.routing(2, (0, 1), input=1, hidden=2, output=1, depth=4)
    assert long.paths["p_1_0"] == ("A_1", "B1", "B2", "C_0")


def test_biases_of_some_layers():
    hidden = ok.linear.deep([3, 4, 5, 2], bias="hidden")
    assert hidden.paths == {
        "main": ("W1", "W2", "W3"), "bias1": ("b1", "W2", "W3"), "bias2": ("b2", "W3")
    }  # fmt: skip
    output = ok.linear.deep([3, 4, 2], bias="output")
    assert list(output.edges) == ["W1", "W2", "b2"]
    assert output.paths["bias2"] == ("b2",)


def test_deep_pathways():
    net = ok.linear.pathways(["x", "y"], input=8, hidden=6, output=15, depth=4)
    assert net.paths["y"] == ("W1_y", "W2_y", "W3_y", "W4_y")
    assert net.nodes["hidden3_x"] == 6
    single = ok.linear.pathways(["x"], input=2, hidden=6, output=1, depth=1)
    assert single.edges == {"W1_x": ("input", "output")}


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (
            lambda: ok.linear.deep([2, 2], bias="both"),
            "`bias` must be one of 'hidden', 'output', got 'both'",
        ),
        (
            lambda: ok.linear.routing(3, (0, 3), input=1, hidden=1, output=1),
            "`offsets` must lead to different outputs, modulo 3",
        ),
        (
            lambda: ok.linear.routing(3, (0, 4), input=1, hidden=1, output=1),
            r"`offsets\[1\]` must be between -3 and 3",
        ),
        (
            lambda: ok.linear.routing(3, (), input=1, hidden=1, output=1),
            "`offsets` must be a list of whole numbers",
        ),
        (
            lambda: ok.linear.routing(3, (0,), input=1, hidden=1, output=1, depth=1),
            "`depth` must be between 2",
        ),
        (lambda: ok.linear.hierarchy(13), "`levels` must give at most 4096 items, got 2\\^13"),
        (lambda: ok.linear.in_contexts([1.0, 2.0], 3), "`targets` must have shape"),
    ],
)
def test_builders_that_refuse(build, said):
    with pytest.raises(ProblemError, match=said):
        build()


# -------------------------------------------------------------------------------------------- data


def test_trees_of_items():
    tree = ok.linear.hierarchy()
    assert tree.shape == (15, 8)
    values = np.linalg.svd(tree)[1]
    np.testing.assert_allclose(values**2, [15, 7, 3, 3, 1, 1, 1, 1], rtol=1e-14)
    np.testing.assert_array_equal(ok.linear.hierarchy(root=False), tree[1:])
    assert ok.linear.hierarchy(2, 3).shape == (13, 9)
    X, targets, context = ok.linear.in_contexts(tree, 3)
    item = 4
    for c in range(3):
        row = 8 * c + item
        assert context[row] == c
        np.testing.assert_array_equal(np.flatnonzero(X[row]), [item, 8 + c])
        blocks = targets[row].reshape(4, 15)
        np.testing.assert_array_equal(blocks[[0, 1 + c]], [tree[:, item]] * 2)
        assert np.count_nonzero(blocks.any(axis=1)) == 2


def test_contexts_with_inputs_of_their_own():
    """Beside averages over samples in which other inputs are zero."""
    rng = np.random.default_rng(1)
    net = ok.linear.Network(
        {"a": 2, "b": 3, "one": 1, "h": 2, "y": 2, "z": 1},
        {
            "A": ("a", "h"), "B": ("b", "h"), "C": ("one", "h"), "D": ("h", "y"), "E": ("h", "z"),
            "F": ("b", "z"),
        },
    )  # fmt: skip
    shared, apart = rng.normal(size=(40, 5)), rng.normal(size=(40, 3))
    y, z = rng.normal(size=(80, 2)), rng.normal(size=(40, 1))
    inputs = {
        "a": np.concatenate([shared[:, :2], np.zeros((40, 2))]),
        "b": np.concatenate([shared[:, 2:], apart]),
        "one": np.concatenate([np.ones((40, 1)), np.zeros((40, 1))]),
    }
    targets = {"y": y, "z": np.concatenate([z, np.zeros((40, 1))])}
    gates = {p: rng.integers(0, 2, 2).astype(float) for p in net.paths}
    samples = {p: np.repeat(g, 40) for p, g in gates.items()}
    wanted = ok.linear.Correlations.from_samples(net, inputs, targets, samples)
    first = {n: x[:40] for n, x in inputs.items()}
    found = ok.linear.Correlations.from_contexts(
        net,
        xx=[
            {p: {q: first[p].T @ first[q] / 40 for q in first} for p in first},
            {"b": apart.T @ apart / 40},
        ],
        yx=[
            {"y": {n: y[:40].T @ x / 40 for n, x in first.items()},
             "z": {n: z.T @ x / 40 for n, x in first.items()}},
            {"y": {"b": y[40:].T @ apart / 40}},
        ],
        gates=gates,
    )  # fmt: skip
    for p in net.paths:
        np.testing.assert_allclose(found.yx[p], wanted.yx[p], atol=1e-14)
        for q, xx in found.xx[p].items():
            np.testing.assert_allclose(xx, wanted.xx[p][q], atol=1e-14)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"xx": [{"c": [[1.0]]}]}, r"`xx\[0\]` must name inputs of the network \('a', 'b'\)"),
        ({"xx": [{"a": [[1.0, 2.0]]}]}, r"`xx\[0\]\['a'\]\['a'\]` must have shape"),
        ({"yx": []}, "`yx` must be one mapping from outputs for each of the 1 contexts"),
        (
            {"yx": [{"output": {"b": [[1.0]]}}]},
            r"`yx\[0\]\['output'\]\['b'\]` must be with inputs that the context has",
        ),
        ({"yx": [{"input": {}}]}, r"`yx\[0\]` must name outputs of the network"),
        ({"gates": {"a": [1.0]}}, "`gates` must name paths of the network"),
    ],
)
def test_contexts_that_are_refused(changes, said):
    net = ok.linear.multimodal({"a": 1, "b": 1}, 1, depth=2, fusion=1, width=1)
    given = {"xx": [{"a": [[1.0]]}], "yx": [{"output": {"a": [[1.0]]}}], **changes}
    with pytest.raises(ProblemError, match=said):
        ok.linear.Correlations.from_contexts(net, **given)


def test_one_input_at_a_time():
    net = ok.linear.routing(7, OFFSETS, input=4, hidden=4, output=7)
    found = ok.linear.Correlations.one_at_a_time(net, yx=Y, xx=np.eye(4))
    problem = ok.LinearProblem(
        net, ok.linear.orthogonal(net, 0.2, seed=0), found, ok.Phase("main", 1.0, 1.0)
    )
    task = problem.tasks["main"]
    for q in net.paths:
        np.testing.assert_array_equal(task.yx[q], Y)
        for p, xx in task.xx[q].items():
            np.testing.assert_array_equal(xx, np.eye(4) if p == q else np.zeros((4, 4)))
    assert task.yy == pytest.approx(28 * np.sum(Y**2), rel=1e-12)
    with pytest.raises(ProblemError, match=r"`xx\['in1'\]` must be given"):
        ok.linear.Correlations.one_at_a_time(net, yx=Y, xx={"in0": np.eye(4)})


# ---------------------------------------------------------------------------------- initial weights


@given(seed=st.integers(0, 2**31))
def test_sizes_by_paths_are_balanced(seed):
    problem, _ = networks.random_problem(seed)
    net = problem.network
    sizes = ok.linear.path_scales(net, 0.3)
    for node in net.inner:
        flow = [
            s**2 * (1 if end == node else -1)
            for (_, end), s in zip(net.edges.values(), sizes.values(), strict=True)
            if end == node
        ]
        flow += [-s**2 for (start, _), s in zip(net.edges.values(), sizes.values(), strict=True)
                 if start == node]  # fmt: skip
        assert sum(flow) == pytest.approx(0.0, abs=1e-12)


def test_sizes_of_shared_layers():
    net = ok.linear.multimodal({"a": 1, "b": 1}, 1, depth=4, fusion=3, width=1)
    assert ok.linear.path_scales(net, 0.1)["W4"] == pytest.approx(0.1 * np.sqrt(2), rel=1e-15)
    swept = ok.linear.path_scales(net, xr.DataArray([0.1, 0.2], dims="start"))
    weights = ok.linear.aligned(net, [[1.0]], swept)
    assert weights["W4"].dims == ("start", "output", "hidden3")
    np.testing.assert_allclose(weights["W4"].squeeze(), np.sqrt(2) * np.array([0.1, 0.2]))
    drawn = ok.linear.normal(net, swept, seed=0, draws=3)
    assert drawn["W1_a"].sizes["start"] == 2
    with pytest.raises(ProblemError, match=r"`scale\['W9'\]` must be there for"):
        ok.linear.normal(net, {"W9": 1.0}, seed=0)


def test_aligned_weights_of_any_network():
    """In the bases of the target every path's map is diagonal."""
    net = ok.linear.routing(3, (0, 1), input=4, hidden=5, output=7)
    sizes = {e: np.array([0.4, 0.3, 0.2, 0.1]) if e == "B" else 0.5 for e in net.edges}
    W = ok.linear.aligned(net, Y, sizes)
    U, _, Vt = np.linalg.svd(Y, full_matrices=False)
    product = W["C_1"] @ W["B"] @ W["A_0"]
    np.testing.assert_allclose(product, (U * (0.25 * sizes["B"])) @ Vt, atol=1e-14)
    uneven = ok.linear.multimodal({"a": 1, "b": 2}, 1, depth=2, fusion=1, width=1)
    with pytest.raises(ProblemError, match="must have as many units at every input"):
        ok.linear.aligned(uneven, [[1.0]], ok.linear.path_scales(uneven, 1.0))
    with pytest.raises(ProblemError, match=r"`strengths\['B'\]` must have shape \(\) or \(4,\)"):
        ok.linear.aligned(net, Y, {**sizes, "B": [1.0, 2.0]})


def test_orthogonal_weights():
    net = ok.linear.deep([4, 6, 3])
    W = ok.linear.orthogonal(net, 0.2, seed=3, draws=5)
    for e in net.edges:
        values = np.linalg.svd(W[e].values, compute_uv=False)
        np.testing.assert_allclose(values, 0.2, rtol=1e-13)
    gains = xr.DataArray([0.2, 1.0], dims="gain")
    swept = ok.linear.orthogonal(net, gains, seed=3)
    assert swept["W1"].dims == ("gain", "hidden", "input")
    np.testing.assert_allclose(swept["W1"][1], 5 * swept["W1"][0], rtol=1e-13)


@pytest.mark.parametrize(
    ("lam", "widths"),
    [(1.5, [4, 2, 3]), (-2.0, [3, 2, 1]), (0.0, [4, 4, 2]), (0.0, [2, 2, 4]), (0.0, [2, 6, 3])],
)
def test_normal_weights_that_are_balanced(lam, widths):
    net = ok.linear.deep(widths)
    one, two = ok.linear.balanced(net, 0.3, seed=4, imbalance=lam, draws=300, normal=True).values()
    gap = np.einsum("doh,dok->dhk", two, two) - np.einsum("dhi,dki->dhk", one, one)
    np.testing.assert_allclose(gap, np.broadcast_to(lam * np.eye(widths[1]), gap.shape), atol=1e-12)
    drawn = two if lam < 0 or widths in ([4, 4, 2], [2, 2, 4]) else one
    np.testing.assert_allclose(drawn.std(), 0.3, rtol=0.05)
    with pytest.raises(ProblemError, match="`normal` must be False but for networks of two layers"):
        ok.linear.balanced(ok.linear.deep([2, 2, 2, 2]), 0.1, seed=0, normal=True)


# ---------------------------------------------------------------------------------------- scenarios

SCENARIO = """
system = "linear"
[network.routing]
domains = 2
offsets = [0, 1]
input = 2
hidden = 2
output = 2
[weights.aligned]
target = [[2.0, 0.0], [0.0, 1.0]]
path_scales = { over = "start", values = [0.1, 0.2] }
[tasks.main.one_at_a_time]
yx = [[2.0, 0.0], [0.0, 1.0]]
xx = [[1.0, 0.0], [0.0, 1.0]]
[[phases]]
tasks = "main"
duration = 1.0
learning_rate = 1.0
"""


def test_scenarios_have_the_builders():
    problem = parse_scenario(SCENARIO).problem
    net = ok.linear.routing(2, (0, 1), input=2, hidden=2, output=2)
    assert problem.network == net
    starts = xr.DataArray([0.1, 0.2], dims="start", coords={"start": [0.1, 0.2]})
    target = np.diag([2.0, 1.0])
    same = ok.linear.aligned(net, target, ok.linear.path_scales(net, starts))
    assert problem == problem.replace(
        weights=same,
        tasks=ok.linear.Correlations.one_at_a_time(net, yx=target, xx=np.eye(2)),
    )
    aligned = '[weights.aligned]\ntarget = [[2.0, 0.0], [0.0, 1.0]]\npath_scales = { over = "start", values = [0.1, 0.2] }'  # noqa: E501
    for weights in (
        "[weights.orthogonal]\nscale = 0.2\nseed = 1",
        "[weights.normal]\npath_scales = 0.2\nseed = 1",
        "[weights.aligned]\ntarget = [[2.0, 0.0], [0.0, 1.0]]\n[weights.aligned.strengths]\n"
        + "".join(f"{e} = [0.1, 0.2]\n" for e in net.edges),
    ):
        assert parse_scenario(SCENARIO.replace(aligned, weights)).problem.network == net
    for old, new, said in (
        ("offsets = [0, 1]", "offsets = [0, 2]", "network.routing.offsets: must lead to"),
        ("path_scales = {", "strengths = [0.1]\npath_scales = {", "exactly one of strengths, path"),
        ("xx = [[1.0", "xx = [[-1.0", "positive semidefinite"),
    ):
        with pytest.raises(ScenarioError, match=said):
            parse_scenario(SCENARIO.replace(old, new))


def test_scenarios_have_contexts_with_inputs_and_some_biases():
    text = """
system = "linear"
[network.multimodal]
inputs = { a = 1, b = 1 }
output = 1
depth = 2
fusion = 1
width = 1
[weights.normal]
seed = 0
[weights.normal.scale]
W1_a = 0.1
W1_b = 0.2
W2 = 0.3
[tasks.main.contexts]
xx = [{ a = [[1.0]] }, { b = [[2.0]] }]
yx = [{ output = { a = [[2.0]] } }, { output = { b = [[1.0]] } }]
[[phases]]
tasks = "main"
duration = 1.0
learning_rate = 1.0
"""
    task = parse_scenario(text).problem.tasks["main"]
    assert task.xx["b_path"]["b_path"].tolist() == [[1.0]]
    assert task.xx["b_path"]["a_path"].tolist() == [[0.0]]
    deep = SCENARIO.replace(
        SCENARIO[SCENARIO.index("[network") : SCENARIO.index("[weights")],
        '[network.deep]\nwidths = [2, 2, 2]\nbias = "hidden"\n',
    )
    problem = deep.replace(
        deep[deep.index("[weights") : deep.index("[[phases")],
        "[weights.normal]\nscale = 0.1\nseed = 0\n[tasks.main.samples]\n"
        "inputs.input = [[1.0, 0.0], [0.0, 1.0]]\ntargets.output = [[1.0, 1.0], [0.0, 1.0]]\n",
    )
    assert list(parse_scenario(problem).problem.network.edges) == ["W1", "W2", "b1"]
