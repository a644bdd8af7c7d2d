"""Rates and decays of each edge: the flow beside the loss's gradient, what is conserved."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import networks
import odekit as ok
from odekit.base.errors import ProblemError, ScenarioError
from odekit.verbs.scenario import parse_scenario, scenario_of
from odekit.verbs.show import summary
from odekit.verbs.validate import validate
from single import Single

seeds = st.integers(0, 2**31)
NET = ok.linear.deep([2, 2, 2])
RAMP = ok.Schedule([0.0, 1.0, 3.0], [1.0, 0.2, 0.6])


def gradient(net, weights, inputs, targets, gates):
    """−∂L/∂W_e by the chain rule along every path, sample by sample."""
    signals, answers = {}, {n: np.zeros_like(y) for n, y in targets.items()}
    for path, steps in net.paths.items():
        start, end = net.ends(path)
        signals[path] = [gates[path][:, None] * inputs[start]]
        for step in steps:
            signals[path].append(signals[path][-1] @ weights[step].T)
        answers[end] = answers[end] + signals[path][-1]
    found = {e: np.zeros_like(W) for e, W in weights.items()}
    for path, steps in net.paths.items():
        end = net.ends(path)[1]
        back = (targets[end] - answers[end]) / len(targets[end])
        for step, signal in zip(reversed(steps), reversed(signals[path][:-1]), strict=True):
            found[step] = found[step] + back.T @ signal
            back = back @ weights[step]
    return found


def reference(problem, data, times, rates, decays):
    """Rows of dW_e/dt = η_e(t) (−∂L/∂W_e − κ_e W_e) by scipy, at a tight tolerance."""
    net = problem.network
    sizes = [int(np.prod(net.shape(e))) for e in net.edges]

    def split(y):
        parts = np.split(y, np.cumsum(sizes)[:-1])
        return {e: p.reshape(net.shape(e)) for e, p in zip(net.edges, parts, strict=True)}

    def flow(t, y):
        W = split(y)
        G = gradient(net, W, *data)
        return np.concatenate(
            [(rates[e](t) * (G[e] - decays[e] * W[e])).ravel() for e in net.edges]
        )

    y0 = np.concatenate([np.ravel(problem.weights[e]) for e in net.edges])
    ends = [*[t for t in (1.0,) if t < times[-1]], times[-1]]  # where RAMP bends
    rows, t, y = {}, 0.0, y0
    for end in ends:
        some = [x for x in times if t <= x <= end]
        found = solve_ivp(flow, (t, end), y, "DOP853", rtol=1e-12, atol=1e-14, dense_output=True)
        rows |= {x: found.sol(x) for x in some}
        t, y = end, found.y[:, -1]
    return {e: np.stack([split(rows[x])[e] for x in times]) for e in net.edges}


def uneven(seed, scheduled):
    """A random problem with rates and decays of its edges, and these as functions of time."""
    problem, data = networks.random_problem(seed, 5)
    rng = np.random.default_rng(seed)
    edges = list(problem.network.edges)
    rates = {e: float(r) for e, r in zip(edges, rng.uniform(0.1, 1.0, len(edges)), strict=True)}
    decays = {e: float(k) for e, k in zip(edges, rng.uniform(0.0, 0.5, len(edges)), strict=True)}
    rates[edges[-1]] = 0.0 if len(edges) > 1 else 0.5
    if scheduled:
        rates[edges[0]] = RAMP
    case = problem.replace_phase(0, learning_rate=rates, weight_decay=decays)
    functions = {
        e: r if isinstance(r, ok.Schedule) else (lambda t, r=r: r) for e, r in rates.items()
    }
    return case, data, functions, decays


@given(seed=seeds, scheduled=st.booleans())
def test_every_edge_has_its_rate_and_decay(seed, scheduled):
    case, data, rates, decays = uneven(seed, scheduled)
    times = [0.0, 0.7, 3.0]
    run = ok.solve(case, t_eval=times, rtol=1e-10, atol=1e-12)
    expected = reference(case, data, times, rates, decays)
    for edge, W in expected.items():
        # Steps at 1e-10 over a few units of time.
        np.testing.assert_allclose(run[edge], W, rtol=1e-7, atol=1e-8)
    assert all(verdict.holds for verdict in validate(run)), validate(run)


@given(seed=seeds)
def test_jacobian_with_rates_and_decays(seed):
    case, _, _, _ = uneven(seed, scheduled=True)
    layout = Single(case)
    _, y = layout.start()
    phase = layout.equations(0, None, 0.0)
    t, h = 0.5, 1e-5
    columns = [
        (8 * (phase.rhs(t, y + h * e) - phase.rhs(t, y - h * e))
         - (phase.rhs(t, y + 2 * h * e) - phase.rhs(t, y - 2 * h * e))) / (12 * h)
        for e in np.eye(y.size)
    ]  # fmt: skip
    J = phase.jac(t, y)
    np.testing.assert_allclose(
        J, np.stack(columns, axis=-1), rtol=1e-8, atol=1e-9 * (1 + np.abs(J).max())
    )


@pytest.mark.parametrize("method", [None, "Rodas5P"])
def test_lanes_take_rates_of_edges(method):
    """Sweeps over one edge's rate and another's decay, with a schedule, beside single runs."""
    case, _, _, _ = uneven(5, scheduled=True)
    first, second = list(case.network.edges)[1:3]
    rates = xr.DataArray([0.0, 0.3, 0.9], dims="eta")
    decays = xr.DataArray([0.0, 0.4], dims="kappa")
    phase = case.phases[0]
    many = case.replace_phase(
        0,
        learning_rate={**phase.learning_rate, first: rates},
        weight_decay={**phase.weight_decay, second: decays},
        until=0.3,
    )
    grid = ok.solve(many, t_eval=[0.0, 1.5, 3.0], rtol=1e-9, atol=1e-12, method=method)
    assert grid[first].dims[:2] == ("eta", "kappa")
    for i, eta in enumerate(rates.values):
        for j, kappa in enumerate(decays.values):
            one = case.replace_phase(
                0,
                learning_rate={**phase.learning_rate, first: float(eta)},
                weight_decay={**phase.weight_decay, second: float(kappa)},
                until=0.3,
            )
            run = ok.solve(one, t_eval=[0.0, 1.5, 3.0], rtol=1e-9, atol=1e-12)
            rows = run.sizes["time"]
            for name in [*case.network.edges, "generalization_error"]:
                np.testing.assert_allclose(
                    grid[name][i, j, :rows].values, run[name].values, rtol=1e-5, atol=1e-7
                )
            np.testing.assert_allclose(grid.phase_end[i, j], run.phase_end, rtol=1e-6)
    assert all(verdict.holds for verdict in validate(grid)), validate(grid)


@given(seed=seeds)
def test_rates_of_one_size_are_one_rate(seed):
    problem, _ = networks.random_problem(seed, 5)
    whole = ok.solve(problem, rtol=1e-10, atol=1e-13)
    apart = ok.solve(
        problem.replace_phase(0, learning_rate=dict.fromkeys(problem.network.edges, 0.5)),
        rtol=1e-10,
        atol=1e-13,
    )
    for edge in problem.network.edges:
        np.testing.assert_allclose(apart[edge], whole[edge], rtol=1e-8, atol=1e-9)


@given(seed=seeds)
def test_rates_can_be_scaled_away(seed):
    """V_e = W_e/√η_e flows at one rate, with x_p → s_p x_p, s_p = Π √η_e along the path."""
    problem, _ = networks.random_problem(seed, 5)
    net, task = problem.network, problem.tasks["main"]
    rng = np.random.default_rng(seed)
    eta = {e: float(r) for e, r in zip(net.edges, rng.uniform(0.2, 1.5, 99), strict=False)}
    run = ok.solve(problem.replace_phase(0, learning_rate=eta), rtol=1e-11, atol=1e-13)
    s = {p: np.sqrt(np.prod([eta[e] for e in steps])) for p, steps in net.paths.items()}
    scaled = problem.replace(
        weights={e: W / np.sqrt(eta[e]) for e, W in problem.weights.items()},
        tasks=ok.linear.Correlations(
            yx={p: s[p] * yx for p, yx in task.yx.items()},
            xx={q: {p: s[q] * s[p] * xx for p, xx in row.items()} for q, row in task.xx.items()},
            yy=task.yy,
        ),
    ).replace_phase(0, learning_rate=1.0)
    even = ok.solve(scaled, t_eval=run.time.values, rtol=1e-11, atol=1e-13)
    for edge in net.edges:
        np.testing.assert_allclose(run[edge], np.sqrt(eta[edge]) * even[edge], rtol=1e-8, atol=1e-9)


# ------------------------------------------------------------------------------------- conserved


def chain(widths, **phase):
    net = ok.linear.deep(widths)
    target = np.diag([2.0, 1.0, 0.5, 0.2])[: widths[-1], : widths[0]]
    return ok.LinearProblem(
        network=net,
        weights=ok.linear.normal(net, 0.5, seed=4),
        tasks=ok.linear.Correlations(yx=target, xx=np.eye(widths[0])),
        phases=ok.Phase("main", **{"duration": 5.0, "learning_rate": 1.0, **phase}),
    )


def matrix(run, rates):
    W1, W2 = run.W1.values, run.W2.values
    return W1 @ np.swapaxes(W1, 1, 2) / rates[0] - np.swapaxes(W2, 1, 2) @ W2 / rates[1]


@pytest.mark.parametrize(
    ("rates", "used"),
    [
        ({"W1": 0.3, "W2": 2.0}, (0.3, 2.0)),
        # A common schedule: what it multiplies are its largest values.
        (
            {
                "W1": ok.Schedule([0.0, 5.0], [0.3, 0.1]),
                "W2": ok.Schedule([0.0, 5.0], [1.5, 0.5]),
            },
            (0.3, 1.5),
        ),
    ],
)
def test_rates_enter_what_is_conserved(rates, used):
    run = ok.solve(chain([3, 4, 2], learning_rate=rates), rtol=1e-11, atol=1e-13)
    found = ok.measures.conserved_layers(run)
    np.testing.assert_allclose(found.imbalance_hidden, matrix(run, used), atol=1e-12)
    size = float(found.imbalance_hidden_size)
    assert float(abs(found.imbalance_hidden_drift).max()) < 1e-8 * size
    plain = matrix(run, (1.0, 1.0))
    assert np.abs(plain - plain[0]).max() > 0.1  # unscaled, it moves
    ok.testing.assert_conserved(run)


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": {"W1": RAMP, "W2": 1.0}},
        {"learning_rate": {"W1": RAMP, "W2": ok.Schedule([0.0, 1.0, 3.0], [1.0, 0.2, 0.7])}},
        {"learning_rate": {"W1": 0.0, "W2": 1.0}},
        {"weight_decay": 0.1},
        {"weight_decay": {"W2": 0.1}},
    ],
)
def test_what_conserves_nothing_reports_nothing(changes):
    run = ok.solve(chain([3, 4, 2], **changes))
    assert not ok.measures.conserved_layers(run).data_vars
    assert all(verdict.holds for verdict in validate(run)), validate(run)


def test_matrices_change_with_the_phases():
    """Drifts begin anew where rates change; phases that conserve nothing hold NaN."""
    case = chain([3, 4, 2])
    phases = [
        ok.Phase("main", 2.0, 1.0),
        ok.Phase("main", 2.0, 0.3),
        ok.Phase("main", 2.0, {"W1": 1.0, "W2": 0.2}),
        ok.Phase("main", 2.0, 1.0, weight_decay=0.2),
    ]
    run = ok.solve(case.replace(phases=phases), rtol=1e-10, atol=1e-12)
    found = ok.measures.conserved_layers(run)
    for index, used in enumerate([(1.0, 1.0), (1.0, 1.0), (1.0, 0.2)]):
        rows = np.flatnonzero(run.phase == index)
        np.testing.assert_allclose(
            found.imbalance_hidden[rows], matrix(run, used)[rows], atol=1e-12
        )
    drift = found.imbalance_hidden_drift
    assert bool(drift.where(run.phase < 3, drop=True).notnull().all())
    assert bool(drift.where(run.phase == 3, drop=True).isnull().all())
    assert float(abs(drift).max()) < 1e-7
    assert all(verdict.holds for verdict in validate(run)), validate(run)


def test_rates_over_a_sweep_are_conserved_where_they_are_above_zero():
    rates = xr.DataArray([0.0, 0.5, 1.0], dims="eta", coords={"eta": [0.0, 0.5, 1.0]})
    decay = xr.DataArray([0.0, 0.1], dims="kappa", coords={"kappa": [0.0, 0.1]})
    case = chain([2, 2, 2], learning_rate={"W1": rates, "W2": 1.0}, weight_decay={"W1": decay})
    run = ok.solve(case, t_eval=[0.0, 2.0, 5.0])
    found = ok.measures.conserved_layers(run)
    one = ok.measures.conserved_layers(run.sel(eta=1.0).isel(kappa=slice(1)))
    np.testing.assert_array_equal(
        one.imbalance_hidden, found.imbalance_hidden.sel(eta=1.0)[:1].transpose("kappa", ...)
    )
    there = found.imbalance_hidden.notnull().all(["time", "hidden", "hidden_other"])
    assert there.transpose("eta", "kappa").values.tolist() == [[False, False]] + 2 * [[True, False]]
    assert float(abs(found.imbalance_hidden_drift).max()) < 1e-6


def test_decay_balances_every_start():
    """With η_e κ_e = ρ the matrix falls by e^{−2ρt}."""
    eta = {"W1": 0.4, "W2": 1.6}
    case = chain([3, 4, 2], learning_rate=eta, weight_decay={"W1": 0.5, "W2": 0.125})
    run = ok.solve(case, rtol=1e-11, atol=1e-14)
    D = matrix(run, (0.4, 1.6))
    fall = np.exp(-2 * 0.2 * run.time.values)[:, None, None]
    np.testing.assert_allclose(D, D[0] * fall, atol=1e-9)


# ------------------------------------------------------------------------------ weight decay, ends


def test_decay_is_a_penalty_on_the_rank():
    """Two layers end at (s − √(κ₁κ₂))₊, whatever the rates."""
    rng = np.random.default_rng(11)
    U, _, Vt = np.linalg.svd(rng.normal(size=(3, 4)), full_matrices=False)
    s = np.array([2.25987, 1.69675, 0.42002])
    net = ok.linear.deep([4, 3, 3])
    case = ok.LinearProblem(
        network=net,
        weights=ok.linear.normal(net, 0.3, seed=1),
        tasks=ok.linear.Correlations(yx=U * s @ Vt, xx=np.eye(4)),
        phases=ok.Phase("main", 400.0, {"W1": 0.5, "W2": 2.0}, weight_decay={"W1": 0.9, "W2": 0.4}),
    )
    ends = np.linalg.svd(ok.solve(case, rtol=1e-10, atol=1e-13).map_main[-1])[1]
    np.testing.assert_allclose(ends, [1.65987, 1.09675, 0.0], atol=1e-8)
    np.testing.assert_allclose(ends, ok.linear.decayed_strength(s, [0.9, 0.4]), atol=1e-8)


def test_decay_of_deep_chains_keeps_where_they_began():
    net = ok.linear.deep([1, 1, 1, 1])
    start = xr.DataArray([0.9, 0.2], dims="start")
    weights = {e: start.expand_dims({b: 1, a: 1}) for e, (a, b) in net.edges.items()}
    case = ok.LinearProblem(
        network=net,
        weights=weights,
        tasks=ok.linear.Correlations(yx=[[1.0]], xx=[[1.0]]),
        phases=ok.Phase("main", 200.0, 1.0, weight_decay=0.2),
    )
    ends = ok.solve(case, t_eval=[0.0, 200.0], rtol=1e-10, atol=1e-13).map_main[:, -1, 0, 0]
    np.testing.assert_allclose(ends, [0.783009, 0.0], atol=1e-6)


# ----------------------------------------------------------- descent, files, scenarios, words


def test_descent_at_rates_of_edges():
    """Steps W_e += η_e(t) (−∂L/∂W_e − κ_e W_e), written out; a schedule counts as a step begins."""
    case, data, rates, decays = uneven(3, scheduled=True)
    run = ok.descend(case, steps_per_unit=4)
    W = {e: np.array(case.weights[e]) for e in case.network.edges}
    for step in range(12):
        G = gradient(case.network, W, *data)
        W = {e: W[e] + rates[e](step / 4) / 4 * (G[e] - decays[e] * W[e]) for e in W}
        for edge, expected in W.items():
            np.testing.assert_allclose(run[edge][step + 1], expected, rtol=1e-11, atol=1e-13)


def test_files_hold_rates_of_edges(tmp_path):
    case, _, _, _ = uneven(5, scheduled=True)
    first = list(case.network.edges)[1]
    phase = case.phases[0]
    many = case.replace_phase(
        0,
        learning_rate={**phase.learning_rate, first: xr.DataArray(np.ones(5000), dims="eta")},
    )
    for name, problem, t_eval in (("one", case, None), ("many", many, [0.0, 1.0])):
        run = ok.solve(problem, t_eval=t_eval)
        path = ok.save(run, tmp_path / f"{name}.nc")
        assert scenario_of(path).problem == problem
        xr.testing.assert_identical(ok.open(path), run)
        assert "eta " in summary(run)


def test_edges_may_have_the_names_of_tables():
    net = ok.linear.Network({"x": 1, "h": 1, "y": 1}, {"times": ("x", "h"), "values": ("h", "y")})
    case = ok.LinearProblem(
        network=net,
        weights={"times": [[0.5]], "values": [[0.5]]},
        tasks=ok.linear.Correlations(yx=[[1.0]], xx=[[1.0]]),
        phases=ok.Phase("main", 1.0, {"times": 1.0, "values": RAMP}, weight_decay={"values": 0.1}),
    )
    assert ok.LinearProblem.from_dict(case.to_dict()) == case


def test_scenarios_have_rates_of_edges():
    text = """
system = "linear"
[network.deep]
widths = [2, 2, 2]
[weights.normal]
scale = 0.1
seed = 0
[tasks.main]
yx = [[2.0, 0.0], [0.0, 1.0]]
xx = [[1.0, 0.0], [0.0, 1.0]]
[[phases]]
tasks = "main"
duration = 1.0
weight_decay = { W2 = { over = "kappa", values = [0.0, 0.5, 1.0] } }
[phases.learning_rate]
W1 = { over = "eta", values = [0.0, 1.0] }
W2 = { times = [0.0, 1.0], values = [1.0, 0.1] }
"""
    problem = parse_scenario(text).problem
    assert set(problem.phases[0].learning_rate) == {"W1", "W2"}
    run = ok.solve(problem, t_eval=[1.0])
    assert run.W1.dims[:2] == ("eta", "kappa")
    np.testing.assert_array_equal(run.W1[0, 0, 0], problem.weights["W1"])
    said = " ".join(summary(run).split())
    assert "0 to 1 over eta (W1)" in said
    assert "weight decay 0 to 1 over kappa (W2)" in said
    for old, new, message in (
        ("W1 = {", "V1 = {", r"phases\[0\].learning_rate: must name edges of the network"),
        ('W1 = { over = "eta", values = [0.0, 1.0] }', "", "must have a rate for every edge"),
        ("values = [0.0, 0.5, 1.0]", "values = [0.0, -0.5]", r"weight_decay.W2: must be >= 0"),
        ("values = [1.0, 0.1]", "values = [1.0, -0.1]", r"learning_rate.W2.values: must be >= 0"),
    ):
        with pytest.raises(ScenarioError, match=message):
            parse_scenario(text.replace(old, new))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"learning_rate": {"W1": 1.0, "W3": 1.0}},
            r"`phases\[0\].learning_rate` must name edges of the network \('W1', 'W2'\), got 'W3'",
        ),
        (
            {"learning_rate": {"W1": 1.0}},
            r"`phases\[0\].learning_rate` must have a rate for every edge, got none for 'W2'",
        ),
        ({"learning_rate": {"W1": 1.0, "W2": -1.0}}, r"`learning_rate\['W2'\]` must be >= 0"),
        ({"weight_decay": {"W1": -1.0}}, r"`weight_decay\['W1'\]` must be >= 0"),
        ({"weight_decay": {"V": 1.0}}, r"`phases\[0\].weight_decay` must name edges"),
        ({"learning_rate": {}}, "`learning_rate` must be a non-empty mapping"),
        ({"readout_weight_decay": 1.0}, r"`phases\[0\].readout_weight_decay` must be left out"),
    ],
)
def test_rates_that_are_refused(changes, said):
    with pytest.raises(ProblemError, match=said):
        chain([2, 2, 2], **changes)


def test_committees_have_no_edges():
    with pytest.raises(ProblemError, match=r"`phases\[0\].learning_rate` must be one for all"):
        ok.Problem(
            state=ok.OrderParameters(Q=[[1.0]], R=[[0.5]], T=[[1.0]]),
            heads={"main": [0.5]},
            tasks={"main": ok.Task(readout=[1.0])},
            phases=[ok.Phase("main", duration=5.0, learning_rate={"W1": 0.1})],
        )


def test_functions_of_time_are_tabulated_by_edge():
    phase = ok.Phase("main", 2.0, {"W1": lambda t: 1.0 + t, "W2": 0.5})
    assert isinstance(phase.learning_rate["W1"], ok.Schedule)
    assert phase.learning_rate["W1"](1.0) == pytest.approx(2.0)
    assert len(phase.schedules) == 1
