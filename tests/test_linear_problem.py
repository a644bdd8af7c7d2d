"""Linear problems: what is refused, builders, initial weights, files, scenarios, measures."""

from itertools import pairwise

import numpy as np
import pytest
import xarray as xr

import networks
import odekit as ok
from odekit.base.errors import ProblemError, ScenarioError
from odekit.cli import main
from odekit.dataset.assemble import check
from odekit.verbs.plot import plot_run
from odekit.verbs.scenario import parse_scenario, scenario_of
from odekit.verbs.validate import validate

NET = ok.linear.deep([2, 2, 2])
EYE = np.eye(2)
PHASE = ok.Phase("main", duration=5.0, learning_rate=1.0)


def correlations(**changes):
    return ok.linear.Correlations(**{"yx": np.diag([2.0, 1.0]), "xx": EYE, **changes})


def problem(**changes):
    parts = {"network": NET, "weights": {"W1": EYE, "W2": EYE}, "tasks": correlations()}
    return ok.LinearProblem(**{**parts, "phases": PHASE, **changes})


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("nodes", "edges", "paths", "said"),
    [
        (
            {"a": 1, "b": 1},
            {"e": ("a", "b"), "f": ("b", "a")},
            None,
            "cycle, got b -> a -> b|a -> b",
        ),
        ({"a": 1}, {"e": ("a", "a")}, None, "cycle"),
        ({"a": 1, "b": 1}, {"e": ("a", "c")}, None, r"`edges\['e'\]` must join two of the nodes"),
        (
            {"a": 1, "b": 1, "c": 1, "d": 1},
            {"e": ("a", "b"), "f": ("c", "d")},
            {"p": ["e", "f"]},
            r"`paths\['p'\]` must go on where .* ends, got 'e' to 'b', then 'f' from 'c'",
        ),
        ({"a": 1, "b": 1}, {"e": ("a", "b")}, {"p": ["g"]}, r"`paths\['p'\]` must name edges"),
        (
            {"a": 1, "b": 1},
            {"e": ("a", "b"), "f": ("a", "b")},
            {"p": ["e"]},
            r"must use every edge, got none uses \['f'\]",
        ),
        ({"a": 1, "b": 1}, {"time": ("a", "b")}, None, "`edges` must have plain names"),
        ({"a": 1, "b": 1}, {"a": ("a", "b")}, None, "must have other names than the nodes"),
        ({"a": 0, "b": 1}, {"e": ("a", "b")}, None, r"`nodes\['a'\]` must be between 1"),
    ],
)
def test_graphs_that_are_none(nodes, edges, paths, said):
    with pytest.raises(ProblemError, match=said):
        ok.linear.Network(nodes, edges, paths)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"weights": {"W1": np.ones((2, 3)), "W2": EYE}},
            r"`weights\['W1'\]` must have shape \(2, 2\)",
        ),
        ({"weights": {"W1": EYE}}, r"`weights\['W2'\]` must be there"),
        ({"weights": {"W1": EYE, "W2": EYE, "W3": EYE}}, r"`weights\['W3'\]`"),
        ({"weights": {"W1": EYE * np.nan, "W2": EYE}}, r"`weights\['W1'\]` must be finite"),
        (
            {"tasks": correlations(xx=[[1.0, 2.0], [2.0, 1.0]])},
            r"`tasks\['main'\].xx\['main'\]` must be positive semidefinite .* eigenvalue of -1",
        ),
        (
            {"tasks": correlations(xx=[[1.0, 0.5], [0.0, 1.0]])},
            r"`tasks\['main'\].xx\['main'\]\['main'\]` must be the transpose",
        ),
        (
            {"tasks": correlations(yx=np.ones((2, 3)))},
            r"`tasks\['main'\].yx\['main'\]` must have shape",
        ),
        ({"tasks": correlations(yy=1.0)}, r"`tasks\['main'\].yy` must be at least .* 5, got 1"),
        ({"tasks": correlations(xx=np.diag([1.0, 0.0]))}, "must vanish where the inputs"),
        ({"tasks": {}}, "`tasks` must be Correlations by name"),
        ({"phases": ok.Phase("other", 1.0, 1.0)}, r"`phases\[0\].tasks` must name a task"),
        (
            {"phases": ok.Phase("main", 1.0, 1.0, batch_size=2)},
            r"`phases\[0\].batch_size` must be left",
        ),
        (
            {"phases": ok.Phase("main", 1.0, 1.0, readout_learning_rate=1.0)},
            r"`phases\[0\].readout_learning_rate`",
        ),
    ],
)
def test_problems_that_do_not_fit(changes, said):
    with pytest.raises(ProblemError, match=said):
        problem(**changes)


def test_joint_correlations_of_paths_are_checked():
    """Each path's own correlations are fine, together no inputs have them."""
    net = ok.linear.multimodal({"a": 1, "b": 1}, 1, depth=2, fusion=1, width=2)
    tasks = ok.linear.Correlations(
        yx={"a_path": [[1.0]], "b_path": [[1.0]]},
        xx={"a_path": {"a_path": [[1.0]], "b_path": [[1.5]]}, "b_path": {"b_path": [[1.0]]}},
    )
    with pytest.raises(ProblemError, match="jointly, paths 'a_path', 'b_path' to 'output'"):
        ok.LinearProblem(net, ok.linear.normal(net, 0.1, seed=0), tasks, PHASE)
    short = ok.linear.Correlations(yx=tasks.yx, xx={"a_path": {"a_path": [[1.0]]}})
    with pytest.raises(ProblemError, match=r"xx\['a_path'\]\['b_path'\]` must be given"):
        ok.LinearProblem(net, ok.linear.normal(net, 0.1, seed=0), short, PHASE)


def test_sweep_dims_must_not_be_layers():
    weights = ok.linear.normal(NET, xr.DataArray([0.1, 0.2], dims="hidden2"), seed=0)
    assert ok.solve(problem(weights=weights), t_eval=[5.0]).W1.dims[0] == "hidden2"
    with pytest.raises(ProblemError):
        problem(phases=PHASE.__class__("main", xr.DataArray([1.0], dims="W1"), 1.0))


# -------------------------------------------------------------------------------- builders, weights


def test_builders():
    net = ok.linear.deep([3, 4, 5, 2], bias=True)
    assert net.paths["bias2"] == ("b2", "W3")
    assert net.inner == ["hidden1", "hidden2"]
    late = ok.linear.multimodal({"a": 2, "b": 3}, 1, depth=2, fusion=2, width=4)
    assert late.shape("W2_b") == (1, 4)
    found = ok.linear.Network(
        {"x": 1, "h": 2, "y": 1}, {"A": ("x", "h"), "B": ("h", "y"), "C": ("x", "y")}
    )
    assert found.paths == {"C": ("C",), "A_B": ("A", "B")}


def test_correlations_from_samples_and_contexts_agree():
    rng = np.random.default_rng(0)
    net = ok.linear.pathways(["p", "q"], input=2, hidden=2, output=1)
    x = rng.normal(size=(4000, 2))
    x = np.linalg.solve(np.linalg.cholesky(x.T @ x / len(x)), x.T).T
    maps = [np.array([[1.0, 2.0]]), np.array([[-1.0, 0.5]])]
    gates = {"p": [1.0, 1.0], "q": [0.0, 1.0]}
    both = np.concatenate([x, x])
    y = np.concatenate([x @ maps[0].T, x @ maps[1].T])
    open_ = {p: np.repeat(g, len(x)) for p, g in gates.items()}
    one = ok.linear.Correlations.from_samples(net, {"input": both}, {"output": y}, open_)
    two = ok.linear.Correlations.from_contexts(net, np.eye(2), maps, gates)
    for p in net.paths:
        np.testing.assert_allclose(one.yx[p], two.yx[p], atol=1e-12)
        for q in net.paths:
            np.testing.assert_allclose(one.xx[q][p], two.xx[q][p], atol=1e-12)
    assert one.yy == pytest.approx(two.yy, rel=1e-12)


@pytest.mark.parametrize(
    ("lam", "widths"), [(1.5, [4, 2, 3]), (-2.0, [3, 2, 1]), (0.0, [3, 5, 4, 2])]
)
def test_balanced_weights_are_balanced(lam, widths):
    net = ok.linear.deep(widths)
    W = list(ok.linear.balanced(net, 0.3, seed=4, imbalance=lam, draws=3).values())
    for first, second in pairwise(W):
        gap = np.swapaxes(second.values, 1, 2) @ second.values - first.values @ np.swapaxes(
            first.values, 1, 2
        )
        np.testing.assert_allclose(
            gap, np.broadcast_to(lam * np.eye(gap.shape[-1]), gap.shape), atol=1e-12
        )
    with pytest.raises(ProblemError, match=r"wider than output \(2\)"):
        ok.linear.balanced(ok.linear.deep([4, 3, 2]), 0.1, seed=0, imbalance=1.0)


def test_normal_weights_have_their_imbalance():
    sigma = xr.DataArray([0.1, 1.0], dims="sigma")
    W = ok.linear.normal(ok.linear.deep([30, 30, 30]), sigma, seed=0, imbalance=4.0, draws=20)
    for edge, factor in (("W1", 0.25), ("W2", 4.0)):
        np.testing.assert_allclose(W[edge].isel(sigma=0).std(), 0.1 * factor, rtol=0.02)
        np.testing.assert_allclose(W[edge].isel(sigma=1), 10 * W[edge].isel(sigma=0), rtol=1e-12)


# ------------------------------------------------------------------------- files, sweeps, scenarios


def test_files_hold_the_problem(tmp_path):
    made, _ = networks.random_problem(11, 5)
    many = made.replace(weights=ok.linear.normal(made.network, 0.5, seed=3, draws=2000))
    for case, t_eval in ((made, None), (many, [0.0, 3.0])):
        run = ok.solve(case, t_eval=t_eval)
        assert check(run) == []
        path = ok.save(run, tmp_path / f"{run.sizes.get('draw', 0)}.nc")
        again = ok.open(path)
        xr.testing.assert_identical(again, run)
        assert scenario_of(path).problem == case
        assert all(verdict.holds for verdict in validate(again)), validate(again)


def test_validate_sees_what_was_changed():
    run = ok.solve(problem())
    run.W1.values[5:] *= 1.001
    broken = {v.law for v in validate(run) if not v.holds}
    assert {"losses follow from the weights", "the imbalance at hidden is conserved"} <= broken


def test_runs_resume_and_stores_are_filled(tmp_path):
    pytest.importorskip("zarr")
    whole = ok.solve(problem())
    assert ok.solve(problem(), checkpoint=tmp_path / "c").equals(whole)
    assert ok.solve(problem(), checkpoint=tmp_path / "c").equals(whole)
    case = problem(weights=ok.linear.normal(NET, 0.1, seed=0, draws=40))
    plain = ok.solve(case, t_eval=[0.0, 5.0])
    stored = ok.solve(case, t_eval=[0.0, 5.0], store=tmp_path / "s.zarr", chunk_size=16)
    xr.testing.assert_allclose(stored.load(), plain, rtol=0, atol=0)


def test_correlations_may_be_swept():
    rho = xr.DataArray([0.0, 0.5], dims="rho", coords={"rho": [0.0, 0.5]})
    ones = xr.DataArray(EYE, dims=("input", "input_other"))
    xx = ones + rho * (1 - ones)
    run = ok.solve(problem(tasks=correlations(xx=xx)), t_eval=[0.0, 5.0])
    assert run.target_strength.dims == ("rho", "task", "path", "mode")
    one = ok.solve(problem(tasks=correlations(xx=xx.sel(rho=0.5, drop=True))), t_eval=[0.0, 5.0])
    np.testing.assert_allclose(run.W1.sel(rho=0.5), one.W1, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(run.target_strength.sel(rho=0.5), one.target_strength, rtol=1e-12)


def test_tasks_in_phases_are_forgotten():
    """Measures of curricula take linear networks as they take committees."""
    tasks = {"a": correlations(), "b": correlations(yx=np.diag([-1.0, 1.0]))}
    phases = [ok.Phase("a", 20.0, 1.0), ok.Phase({"a": 0.5, "b": 0.5}, 20.0, 1.0)]
    run = ok.solve(problem(weights={"W1": 0.1 * EYE, "W2": 0.1 * EYE}, tasks=tasks, phases=phases))
    assert float(ok.measures.final(ok.measures.forgetting(run, "a"))) > 0.1
    # Of both together the mean is learnt.
    np.testing.assert_allclose(run.map_main[-1], np.diag([0.5, 1.0]), atol=1e-3)


def test_shares_add_up_to_strengths():
    run = ok.solve(problem(weights=ok.linear.normal(NET, 0.3, seed=1)))
    shares = ok.measures.mode_share(run)
    xr.testing.assert_allclose(shares.sum("hidden"), run.mode_strength)
    entropy = ok.measures.unit_entropy(run)
    assert entropy.dims == ("time", "task", "path", "mode")
    assert float(entropy.min()) >= 0.0
    assert float(entropy.max()) <= 1.0
    # Two units, two modes: shares of a learnt map have rows and columns of one sum.
    np.testing.assert_allclose(entropy[-1, 0, 0, 0], entropy[-1, 0, 0, 1], atol=2e-2)


def test_scenarios(tmp_path, capsys):
    for name in ("optimal_constant", "multimodal"):
        out, picture = tmp_path / f"{name}.nc", tmp_path / f"{name}.png"
        assert main(["run", f"data/{name}.toml", "-o", str(out), "--plot", str(picture)]) == 0
        assert main(["validate", str(out)]) == 0
        assert main(["show", str(out)]) == 0
        assert picture.stat().st_size > 1000
    assert "linear network of" in capsys.readouterr().out
    run = ok.open(tmp_path / "optimal_constant.nc")
    # Early answers are E[y] = (2, 1) before any of the map is learnt.
    constant = (run.map_bias1 + run.map_bias2)[..., 0]
    early = int(abs(run.map_main).max(["input", "output"]).values.searchsorted(0.05))
    assert float((constant[early] ** 2).sum()) > 0.6 * 5.0
    np.testing.assert_allclose(constant[-1], [2.0, 1.0], atol=1e-3)


def test_scenarios_that_are_wrong_say_where():
    good = """
system = "linear"
[network.deep]
widths = [2, 2, 2]
[weights.normal]
scale = { over = "s", values = [0.1, 0.2] }
seed = 0
[tasks.main]
yx = [[2.0, 0.0], [0.0, 1.0]]
xx = [[1.0, 0.0], [0.0, { over = "r", values = [1.0, 2.0] }]]
[[phases]]
tasks = "main"
duration = 1.0
learning_rate = 1.0
"""
    assert ok.solve(parse_scenario(good).problem, t_eval=[1.0]).W1.dims[:2] == ("s", "r")
    for old, new, said in (
        ("widths = [2, 2, 2]", "widths = [2]", "network.deep.widths: must hold two layers"),
        ("seed = 0", "", "weights.normal.seed: is missing"),
        ("xx = [[1.0", "xx = [[-1.0", "positive semidefinite"),
        ("yx = [[2.0, 0.0]", "yx = [[2.0]", "rows of one length"),
        ("duration = 1.0", "duration = -1.0", r"phases\[0\].duration: must be > 0"),
        ('system = "linear"', 'system = "linear"\nheads = 1', "heads: is not a known key"),
    ):
        with pytest.raises(ScenarioError, match=said):
            parse_scenario(good.replace(old, new))


# ------------------------------------------------------------------------ what committees have


def test_what_committees_have_works_or_is_refused():
    run = ok.solve(problem())
    alone = ok.solve(problem(), method="Rodas5P", t_eval=run.time.values)
    assert alone.method.values.tolist() == ["Rodas5P"]
    xr.testing.assert_allclose(alone.W1, run.W1, atol=1e-6)
    assert ok.measures.conserved(run).identical(ok.measures.conserved_layers(run))
    ok.testing.assert_conserved(run)
    ok.testing.assert_conserved(run, "imbalance_hidden")
    for refused, said in (
        (
            lambda: ok.simulate(problem(), input_dim=50, seed=0),
            "must be of a system with finite networks",
        ),
        (lambda: ok.testing.assert_error_nonincreasing(run), "must be a result of a Problem"),
        (lambda: ok.compare(run, run), "`sim` must be a result of odekit.simulate"),
        (lambda: plot_run(run, beside=[alone]), "`beside` must be left out"),
    ):
        with pytest.raises(ProblemError, match=said):
            refused()
