"""Networks on given data: descent against a transcription in plain numpy, and all around it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.special import erf

import odekit as ok
from odekit.base.errors import ProblemError, ScenarioError
from odekit.cli import main
from odekit.dataset.provenance import problem_of
from odekit.measures.named import evaluate
from odekit.systems.data.activations import UNITS
from odekit.systems.data.layers import Batch, Layers
from odekit.verbs.scenario import parse_scenario
from odekit.verbs.validate import validate

RNG = np.random.default_rng(0)
X, Y = RNG.standard_normal((9, 3)), RNG.standard_normal((9, 2))


def hierarchy() -> np.ndarray:
    """Root, halves, quarters and items over eight items, (15, 8)."""
    rows = [np.arange(8) // size == i for size in (8, 4, 2, 1) for i in range(8 // size)]
    return np.array(rows, dtype=float)


def contexts(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Items and contexts as inputs; what is common, and what each context adds, as targets."""
    own = np.eye(count)
    x = np.vstack([np.tile(np.eye(8), count), np.kron(own, np.ones(8))])
    y = np.vstack([np.tile(hierarchy(), count), np.kron(own, hierarchy())])
    return x.T, y.T


def transcription(W1, W2, x, y, g, slope, rate, steps):
    """Full-batch descent on ½Σ|y − W₂ g(W₁x)|², sample by sample in the gradient."""
    W1, W2, losses = W1.copy(), W2.copy(), []
    for _ in range(steps):
        fields = np.einsum("hi,si->sh", W1, x)
        error = np.einsum("oh,sh->so", W2, g(fields)) - y
        losses.append(0.5 * np.sum(error**2))
        back = np.einsum("so,oh->sh", error, W2) * slope(fields)
        W2 -= rate * np.einsum("so,sh->oh", error, g(fields))
        W1 -= rate * np.einsum("sh,si->hi", back, x)
    return W1, W2, np.array(losses)


KINDS = {
    "relu": (lambda z: z * (z > 0), lambda z: 1.0 * (z > 0)),
    "erf": (lambda z: erf(z / 2**0.5), lambda z: np.sqrt(2 / np.pi) * np.exp(-(z**2) / 2)),
    "tanh": (np.tanh, lambda z: np.cosh(z) ** -2),
    "linear": (lambda z: z, np.ones_like),
}


def problem(activation="relu", widths=(3, 7, 2), phases=None, **more):
    return ok.DataProblem(
        weights=ok.data.normal(list(widths), 0.4, seed=1),
        tasks=ok.data.Samples(X, Y),
        phases=phases or ok.Phase("main", duration=50, learning_rate=0.05),
        activation=activation,
        **more,
    )


@pytest.mark.parametrize("activation", KINDS)
def test_descent_is_the_transcription(activation):
    own = problem(activation)
    run = ok.descend(own)
    W1, W2, losses = transcription(
        own.weights["W1"], own.weights["W2"], X, Y, *KINDS[activation], 0.05 / 9, 50
    )
    np.testing.assert_allclose(run.W1[-1], W1, atol=1e-13)
    np.testing.assert_allclose(run.last_W2, W2, atol=1e-13)
    np.testing.assert_allclose(9 * run.generalization_error[:-1, 0], losses, rtol=1e-12)
    answer = KINDS[activation][0](X @ W1.T) @ W2.T
    np.testing.assert_allclose(run.answer[-1, 0], answer, atol=1e-12)
    np.testing.assert_allclose(run.layer_norm[-1], [np.linalg.norm(W) for W in (W1, W2)])
    assert int(run.n_steps) == 50
    assert run.time.values[[0, -1]].tolist() == [0.0, 50.0]


@pytest.mark.parametrize("activation", KINDS)
@pytest.mark.parametrize("shapes", [[(2, 3)], [(4, 3), (2, 4)], [(4, 3), (3, 4), (2, 3)]])
def test_gradient_and_hessian_are_derivatives(activation, shapes):
    layers = Layers(shapes, UNITS[activation])
    y = 0.7 * RNG.standard_normal(layers.size)
    batch = Batch(X, Y, RNG.random((9, 1)))
    step, units = 1e-6, np.eye(layers.size)
    slopes = [layers.loss(y + step * e, batch) - layers.loss(y - step * e, batch) for e in units]
    # Differences of order h² and rounding over h: 1e-9 each, times losses of order ten.
    np.testing.assert_allclose(layers.gradient(y, batch), np.array(slopes) / (2 * step), atol=1e-7)
    ends = [[layers.gradient(y + h * e, batch) for e in units] for h in (step, -step)]
    rows = np.array(ends[0]) - np.array(ends[1])
    np.testing.assert_allclose(layers.hessian(y, batch), rows / (2 * step), atol=1e-7)


def test_linear_units_are_a_linear_network():
    """Which knows the data by their correlations alone."""
    network = ok.linear.deep([3, 5, 4, 2])
    weights = ok.linear.normal(network, 0.5, seed=3)
    phase = ok.Phase("main", duration=40, learning_rate=0.1)
    tasks = ok.linear.Correlations.from_samples(network, {"input": X}, {"output": Y})
    known = ok.descend(ok.LinearProblem(network, weights, tasks, phase))
    own = ok.DataProblem(weights, ok.data.Samples(X, Y), phase, "linear")
    found = ok.descend(own)
    for name in ("W1", "W2", "W3", "generalization_error"):
        np.testing.assert_allclose(found[name], known[name], atol=1e-13)


def test_descent_of_linear_networks_is_swept_too():
    network = ok.linear.deep([3, 4, 2])
    weights = ok.linear.normal(network, 0.5, seed=3, draws=2)
    tasks = ok.linear.Correlations.from_samples(network, {"input": X}, {"output": Y})
    lengths = xr.DataArray([5, 9], dims="length")
    phase = ok.Phase("main", duration=lengths, learning_rate=0.1)
    run = ok.descend(ok.LinearProblem(network, weights, tasks, phase))
    assert run.n_steps.values.tolist() == [[5, 9], [5, 9]]
    W = {name: value.values[1] for name, value in weights.items()}
    one = ok.descend(ok.LinearProblem(network, W, tasks, ok.Phase("main", 5, 0.1)))
    short = run.isel(draw=1, length=0)
    np.testing.assert_array_equal(short.W1[:6], one.W1)
    assert short.W1[6:].isnull().all()
    assert all(f.holds for f in validate(run))


@pytest.mark.parametrize("activation", ["erf", "tanh", "linear"])
def test_flow_is_the_limit_of_descent(activation):
    own = problem(activation, phases=ok.Phase("main", duration=20.0, learning_rate=0.1))
    flow = ok.solve(own, t_eval=[0.0, 5.0, 20.0])
    off = []
    for fine in (10, 20):
        steps = ok.descend(own, steps_per_unit=fine, t_eval=[0.0, 5.0, 20.0])
        off.append(float(abs(steps.W1 - flow.W1).max()))
    assert off[1] < 1e-3
    assert off[0] / off[1] == pytest.approx(2.0, rel=0.05)  # of first order in the step
    stiff = ok.solve(own, t_eval=[0.0, 5.0, 20.0], method="Radau")
    np.testing.assert_allclose(stiff.W1, flow.W1, atol=1e-6)
    assert all(f.holds for f in validate(flow))


def test_what_flow_conserves():
    own = problem("linear", phases=ok.Phase("main", 20.0, 0.1))
    flow = ok.solve(own, t_eval=[0.0, 10.0, 20.0])
    found = ok.measures.conserved(flow)
    assert set(found) == {f"imbalance_hidden{s}" for s in ("", "_drift", "_size")}
    assert float(abs(found.imbalance_hidden_drift).max()) < 1e-6
    W1, W2 = flow.W1.values[0], flow.W2.values[0]
    np.testing.assert_allclose(found.imbalance_hidden[0], (W1**2).sum(1) - (W2**2).sum(0))
    assert all(f.holds for f in validate(flow))
    assert not ok.measures.conserved(ok.descend(problem("erf"))).data_vars
    # Units with a kink, in steps: what is left is of first order in the step.
    drift = []
    for fine in (10, 40):
        steps = ok.descend(problem(), steps_per_unit=fine, t_eval=[0.0, 50.0])
        drift.append(float(abs(ok.measures.conserved(steps).imbalance_hidden_drift).max()))
    assert drift[0] < 1e-2
    assert drift[1] < drift[0] / 3
    with pytest.raises(ProblemError, match="`activation` must be smooth"):
        ok.solve(problem())


def test_a_sweep_is_its_runs():
    weights = ok.data.normal([3, 7, 2], 0.4, seed=1, draws=3)
    rate = xr.DataArray([0.02, 0.05], dims="rate", coords={"rate": [0.02, 0.05]})
    own = problem(phases=ok.Phase("main", 30, rate, until=0.5)).replace(weights=weights)
    run = ok.descend(own)
    assert run.generalization_error.dims == ("draw", "rate", "time", "task")
    assert all(f.holds for f in validate(run))
    for draw in range(3):
        for i in range(2):
            W = {name: value.values[draw] for name, value in weights.items()}
            phase = ok.Phase("main", 30, float(rate[i]), until=0.5)
            one = ok.descend(problem(phases=phase).replace(weights=W))
            some = run.isel(draw=draw, rate=i)
            np.testing.assert_array_equal(some.last_W1, one.last_W1)
            assert int(some.n_steps) == int(one.n_steps)
            rows = one.time.size
            np.testing.assert_array_equal(some.answer[:rows], one.answer)
            assert some.answer[rows:].isnull().all()


def test_two_tasks_one_after_the_other_and_mixed():
    tasks = {"a": ok.data.Samples(X, Y), "b": ok.data.Samples(X[:4], -Y[:4])}
    phases = [ok.Phase("a", 20, 0.1), ok.Phase({"a": 0.25, "b": 0.75}, 10, 0.1)]
    own = ok.DataProblem(ok.data.normal([3, 7, 2], 0.4, seed=1), tasks, phases)
    run = ok.descend(own)
    first = ok.descend(problem(phases=ok.Phase("main", 20, 0.1)))
    np.testing.assert_allclose(run.W1[20], first.W1[-1], atol=1e-14)
    # The mixture is one batch whose samples weigh 1/4/9 and 3/4/4.
    layers = own.layers
    share = np.concatenate([np.full(9, 0.25 / 9), np.full(4, 0.75 / 4)])[:, None]
    batch = Batch(np.vstack([X, X[:4]]), np.vstack([Y, -Y[:4]]), share)
    y = np.concatenate([run.W1[20].values.ravel(), run.W2[20].values.ravel()])
    y = y - 0.1 * layers.gradient(y, batch)
    np.testing.assert_allclose(run.W1[21].values.ravel(), y[: run.W1[21].size], atol=1e-14)
    assert run.answer.sel(task="b").isel(sample=slice(4, None)).isnull().all()
    forgotten = ok.measures.final(ok.measures.forgetting(run))
    assert float(forgotten) > 0
    assert float(evaluate(run, "forgetting.final")) == float(forgotten)


def test_steps_that_are_too_long_blow_up():
    with pytest.warns(ok.NotCompletedWarning):
        run = ok.descend(problem("linear", phases=ok.Phase("main", 400, 50.0)))
    assert ok.Status(int(run.status)) is ok.Status.BLOW_UP


# ---------------------------------------------------------------- rows, files, pictures, scenarios


def test_rows_hold_what_they_are_asked_for(tmp_path: Path):
    large = ok.data.normal([3, 700, 2], 0.01, seed=0)  # 3500 weights
    own = problem().replace(weights=large)
    assert own.kept == ("weights", "answers")
    larger = own.replace(weights=ok.data.normal([3, 900, 2], 0.01, seed=0))
    assert larger.kept == ("answers",)
    run = ok.descend(larger)
    assert "W1" not in run
    assert run.last_W1.dims == ("hidden", "input")
    assert ok.descend(problem(keep=[])).keys().isdisjoint({"W1", "W2", "answer"})
    assert "W1" in ok.descend(larger.replace(keep="weights"), t_eval=[0, 50])
    assert all(f.holds for f in validate(run))
    ok.save(run, tmp_path / "run.nc")
    kept = ok.open(tmp_path / "run.nc")
    xr.testing.assert_identical(kept, run)
    again = ok.DataProblem.from_dict(problem_of(kept))
    assert again == larger
    xr.testing.assert_equal(ok.descend(again), run)
    # Large arrays are variables of the file, not text in an attribute.
    many = ok.data.Samples(RNG.standard_normal((3000, 3)), RNG.standard_normal((3000, 2)))
    wide = ok.descend(problem(phases=ok.Phase("main", 2, 0.1)).replace(tasks=many))
    assert len(wide.attrs["odekit_problem"]) < 2000
    assert ok.DataProblem.from_dict(problem_of(wide)).most_samples == 3000


SCENARIO = f"""
system = "data"
title = "A small network"
activation = "erf"
keep = ["answers"]
[weights.normal]
widths = [3, 7, 2]
scale = {{ over = "scale", values = [0.1, 0.4] }}
seed = 1
[tasks.main]
inputs = {json.dumps(X.tolist())}
targets = {json.dumps(Y.tolist())}
[[phases]]
tasks = "main"
duration = 20
learning_rate = 0.05
[solver]
t_eval = [0.0, 10.0, 20.0]
[figure]
measures = ["generalization_error.final", "layer_norm[W1].final"]
x = "scale"
"""


def test_scenarios_and_commands(tmp_path: Path, capsys):
    own = parse_scenario(SCENARIO).problem
    expected = ok.descend(own, t_eval=[0.0, 10.0, 20.0])
    assert expected.generalization_error.sel(scale=0.4).notnull().all()
    file, result, picture = (tmp_path / n for n in ("s.toml", "run.nc", "run.png"))
    file.write_text(SCENARIO)
    assert main(["descend", str(file), "-o", str(result), "--plot", str(picture)]) == 0
    assert "network of 3-7-2 units, erf" in capsys.readouterr().out
    np.testing.assert_array_equal(ok.open(result).answer, expected.answer)
    assert picture.stat().st_size > 1000
    assert main(["validate", str(result)]) == 0
    assert main(["descend", str(result), "-o", str(tmp_path / "again.nc")]) == 0
    xr.testing.assert_equal(ok.open(tmp_path / "again.nc"), ok.open(result))
    assert main(["run", str(file), "-o", str(tmp_path / "flow.nc")]) == 0
    assert float(abs(ok.open(tmp_path / "flow.nc").answer - expected.answer).max()) < 0.05
    one = tmp_path / "one.nc"
    ok.save(ok.descend(problem()), one)
    assert main(["plot", str(one), "-o", str(tmp_path / "one.png")]) == 0
    assert main(["show", str(one)]) == 0
    assert "norms of the layers: |W1|" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"erf"', '"step"', "activation: must be one of 'relu', 'erf', 'tanh', 'linear'"),
        ("widths = [3, 7, 2]", "widths = [4, 7, 2]", "must have shape .samples, 4."),
        ("seed = 1", "seed = 1\ndepth = 3", "weights.normal.depth: is not a known key"),
        ('["answers"]', '["everything"]', "keep: must be one of 'weights', 'answers'"),
        ("[W1]", "[W3]", "must have as layer one of W1, W2"),
    ],
)
def test_mistakes_in_scenarios(old, new, said):
    with pytest.raises((ScenarioError, ProblemError), match=said):
        evaluate(ok.descend(parse_scenario(SCENARIO.replace(old, new)).problem), "layer_norm[W3]")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"weights": {"W1": [[1.0]], "W3": [[1.0]]}}, "`weights` must be W1, W2, … by name"),
        ({"weights": {"W1": np.ones((4, 3)), "W2": np.ones((2, 5))}}, "W2.*shape"),
        ({"weights": {"W1": [1.0]}}, "must be a matrix"),
        ({"weights": 3}, "`weights` must be W1"),
        ({"tasks": ok.data.Samples(X, Y[:5])}, "`tasks\\['main'\\].targets` must have 9 samples"),
        ({"tasks": ok.data.Samples(X[0], Y)}, "must have shape \\(samples, 3\\)"),
        ({"tasks": {"main": X}}, "must be Samples"),
        ({"activation": "sign"}, "`activation` must be one of"),
        ({"keep": "all"}, "`keep` must be one of"),
        ({"phases": ok.Phase("main", 5, 0.1, weight_decay=0.1)}, "weight_decay` must be left out"),
        ({"phases": ok.Phase("other", 5, 0.1)}, "must name a task of the problem"),
    ],
)
def test_bad_problems_are_refused(change, said):
    with pytest.raises(ProblemError, match=said):
        problem().replace(**change)


def test_bad_weights_and_steps_are_refused():
    for arguments, said in (
        (([3], 0.1), "`widths` must hold two layers"),
        (([3, 2, 1], [0.1]), "`scale` must be one number, or 2"),
        (([3, 2], -0.1), "`scale` must be >= 0"),
    ):
        with pytest.raises(ProblemError, match=said):
            ok.data.normal(*arguments, seed=0)
    assert np.std(ok.data.normal([30, 40, 50], [0.0, 2.0], seed=0)["W2"]) == pytest.approx(2, 0.05)
    with pytest.raises(ProblemError, match="whole number of steps"):
        ok.descend(problem(phases=ok.Phase("main", 5.5, 0.1)))
    with pytest.raises(ProblemError, match="`problem` must be of a system with finite networks"):
        ok.simulate(problem(), input_dim=10, seed=0)


# ------------------------------------------------------------------------------- make haste slowly

LOSSES = (72, 48, 32, 24, 18, 12, 8, 5, 3, 1, 0.3, 0.1)
TIMES = (398, 1025, 1613, 2065, 2639, 2938, 3635, 4382, 5475, 6909, 7740, 8348)


@pytest.fixture(scope="module")
def haste():
    x, y = contexts(3)
    own = ok.DataProblem(
        weights=ok.data.normal([11, 200, 60], 1e-5, seed=0),
        tasks=ok.data.Samples(x, y),
        phases=ok.Phase("main", duration=9000, learning_rate=24e-3),  # 1e-3 on the sum
    )
    return ok.descend(own, t_eval=np.arange(0, 9001, 10))


def test_a_relu_network_in_three_contexts_learns_at_the_published_times(haste):
    loss = 24 * haste.generalization_error[:, 0]
    assert float(loss[0]) == pytest.approx(96.0)
    found = [float(haste.time[int(np.argmax(loss.values < level))]) for level in LOSSES]
    # Means of four other networks; by draw the late ones vary by 3 %.
    np.testing.assert_allclose(found, TIMES, rtol=0.1)
    np.testing.assert_allclose(found[:6], TIMES[:6], rtol=0.03)


def test_its_units_answer_in_all_contexts_or_in_all_but_one(haste):
    share = ok.measures.context_share(haste, np.repeat(["p", "q", "r"], 8))
    assert share.subset.values.tolist() == ["none", "p", "q", "r", "p+q", "p+r", "q+r", "p+q+r"]
    by_size = share.groupby("subset_size").sum().values
    assert by_size.sum() == pytest.approx(1.0)
    assert by_size[0] + by_size[1] < 0.02
    assert 0.55 < by_size[2] < 0.8
    # A unit's own arithmetic, for one pathway.
    x, _ = contexts(3)
    W1, W2 = haste.last_W1.values, haste.last_W2.values
    fields = x @ W1.T
    on = (fields > 0).reshape(3, 8, -1).mean(axis=1) > 0.25
    chosen = on.all(axis=0)
    h = np.maximum(fields, 0)
    part, whole = h[:, chosen] @ W2[:, chosen].T, h @ W2.T
    assert float(share[-1]) == pytest.approx((part * whole).sum() / (whole**2).sum())


def test_contexts_are_checked(haste):
    share = ok.measures.context_share
    with pytest.raises(ProblemError, match="must hold one context for each of 24 samples"):
        share(haste, [0, 1, 2])
    with pytest.raises(ProblemError, match=r"`least` must be in \[0, 1\)"):
        share(haste, np.zeros(24), least=1.0)
    with pytest.raises(ProblemError, match="must be of a network with one hidden layer"):
        share(ok.descend(problem(widths=(3, 4, 4, 2))), np.zeros(9))
    one = ok.linear.Correlations(yx=[[1.0]], xx=[[1.0]])
    net, phase = ok.linear.deep([1, 1]), ok.Phase("main", 2, 0.5)
    run = ok.descend(ok.LinearProblem(net, {"W1": [[0.0]]}, one, phase))
    with pytest.raises(ProblemError, match="must be of a DataProblem"):
        share(run, [0])


def test_the_page_runs_as_it_stands():
    page = Path(__file__).parents[1] / "docs" / "finite-data.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    assert len(blocks) == 2
    names: dict[str, object] = {}
    exec("\n".join(blocks).replace("9000", "20").replace("9001, 10", "21, 10"), names)
    assert names["loss"].sel(task="main", time=0.0).values.round(6).tolist() == [96.0] * 4
    assert names["share"].sizes == {"draw": 4, "subset": 8}
