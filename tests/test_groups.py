"""Groups of inputs from the problem to the file: state, views, laws, sweeps, networks."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.integrate import solve_ivp
from scipy.special import erf

import odekit as ok
from odekit.verbs.scenario import parse_scenario
from odekit.verbs.validate import validate

GROUPS = {"relevant": 0.5, "irrelevant": 0.5}
TIMES = [0.0, 0.5, 1.0, 2.0]


def start(groups=GROUPS, **more):
    rng = np.random.default_rng(3)
    W, B = 0.4 * rng.standard_normal((2, 60)), rng.standard_normal((2, 60))
    parts = np.split(np.arange(60), np.cumsum([round(60 * f) for f in groups.values()])[:-1])
    return ok.OrderParameters.from_weights(W, B, groups=dict(zip(groups, parts, strict=True)))


def problem(**more):
    """Two tasks with views of their own, a mixture, then a consolidation, decay, own rates."""
    view = {"relevant": 0.8, "irrelevant": 0.3}
    fields = {
        "state": start(),
        "heads": {"a": [0.7, -0.4], "b": [0.3, 0.6]},
        "tasks": {
            "a": ok.Task([1.0, 0.0], input_variance=view, student_gain=0.9, noise_std=0.1),
            "b": ok.Task([0.0, 1.0], student_noise_std={"relevant": 0.0, "irrelevant": 0.5}),
        },
        "phases": [
            ok.Phase({"a": 0.6, "b": 0.4}, 1.0, 0.8, 0.4, batch_size=2, frozen=[False, True]),
            ok.Phase(
                "b",
                1.0,
                {"relevant": 0.8, "irrelevant": 0.3},
                weight_decay=0.1,
                consolidation=ok.Consolidation("fisher", 2.0, "a"),
            ),
        ],
        "groups": GROUPS,
    }
    return ok.Problem(**(fields | more))


@pytest.fixture(scope="module")
def run():
    return ok.solve(problem(), t_eval=TIMES)


def test_totals_are_those_of_all_inputs(run):
    assert run.Q_group.dims == ("time", "group", "student", "student_other")
    for name in ("Q", "R", "T"):
        total = (run.group_fraction * run[f"{name}_group"]).sum("group")
        assert_allclose(run[name], total.transpose(*run[name].dims), rtol=0, atol=1e-15)


def test_results_are_valid_and_come_back_from_files(run, tmp_path):
    assert all(verdict.holds for verdict in validate(run))
    ok.save(run, tmp_path / "run.nc")
    back = ok.open(tmp_path / "run.nc")
    assert back.identical(run)
    assert list(back.group.values) == list(GROUPS)


def test_problems_come_back_from_plain_data():
    assert ok.Problem.from_dict(problem().to_dict()) == problem()
    other = problem(groups={"irrelevant": 0.5, "relevant": 0.5})
    assert other.order != problem().order


def test_problems_come_back_from_scenarios():
    again = parse_scenario(problem().system.toml(problem())).problem
    assert again == problem()


def test_equal_groups_are_no_groups():
    """Σ_τ f_τ G^τ of groups that see the same follows the old equations."""
    tasks = {"a": ok.Task([1.0, 0.5], noise_std=0.2)}
    phases = [ok.Phase("a", 2.0, 0.8, 0.4)]
    many = problem(heads={"a": [0.7, -0.4]}, tasks=tasks, phases=phases)
    state = many.state
    plain = ok.Problem(
        ok.OrderParameters(*(0.5 * x.sum(axis=0) for x in (state.Q, state.R, state.T))),
        many.heads, tasks, phases,
    )  # fmt: skip
    one, two = (ok.solve(p, t_eval=TIMES) for p in (many, plain))
    for name in ("Q", "R", "readout", "generalization_error"):
        # Steps differ, as there are more entries whose errors are controlled.
        assert_allclose(one[name], two[name], rtol=0, atol=1e-8)


def test_a_variance_without_groups_scales_everything():
    """m for all inputs is (Q, R, T, η_w) → m(Q, R, T, η_w)."""
    m = 0.6
    state = ok.OrderParameters([[0.3, 0.1], [0.1, 0.2]], [[0.1], [0.2]], [[1.0]])
    scaled = ok.OrderParameters(*(m * x for x in (state.Q, state.R, state.T)))
    rest = ({"a": [0.7, -0.4]},)
    one = ok.Problem(state, *rest, {"a": ok.Task([1.0], input_variance=m)}, ok.Phase("a", 2.0, 0.5))
    two = ok.Problem(scaled, *rest, {"a": ok.Task([1.0])}, ok.Phase("a", 2.0, m * 0.5))
    a, b = (ok.solve(p, t_eval=TIMES) for p in (one, two))
    assert_allclose(m * a.Q, b.Q, rtol=0, atol=1e-9)
    assert_allclose(a.generalization_error, b.generalization_error, rtol=0, atol=1e-9)


def test_conserved_over_all_inputs():
    """Σ_τ f_τ Q^τ/η_w − v vᵀ/η_v of a linear student, whatever the groups and views."""
    flow = problem(
        activation="linear",
        phases=[ok.Phase({"a": 0.6, "b": 0.4}, 2.0, 0.8, 0.4, gradient_flow=True)],
    )
    found = ok.solve(flow, t_eval=TIMES)
    laws = {verdict.law: verdict for verdict in validate(found)}
    assert laws["imbalance_matrix is conserved"].holds
    assert laws["gradient flow never raises the loss"].holds


def test_rates_of_quadrature_are_those_in_closed_form():
    """erf by nodes, every term of the equations."""
    own = ok.Activation("soft", erf_half, slope_of_erf, accuracy=1e-8)
    closed, nodes = (problem(activation=g) for g in ("erf", own))
    a, b = (ok.solve(p, t_eval=[0.0, 0.3], rtol=1e-6) for p in (shorter(closed), shorter(nodes)))
    assert_allclose(a.Q_group, b.Q_group, rtol=0, atol=1e-6)
    assert_allclose(a.generalization_error, b.generalization_error, rtol=0, atol=1e-6)


def shorter(given):
    return given.replace(phases=[ok.Phase({"a": 0.6, "b": 0.4}, 0.3, 0.8, 0.4)])


def erf_half(x):
    return erf(x / np.sqrt(2.0))


def slope_of_erf(x):
    return np.sqrt(2.0 / np.pi) * np.exp(-0.5 * x * x)


# ----------------------------------------------------------------------------------- sign teachers


def learns_a_sign(_, y, eta, D, T):
    """Section 9 at s = 0 for K = M = 1, v = u = 1, f = ½, ½: (Q_rel, Q_irr, R_rel)."""
    Qr, Qi, R = y
    Q, r, t = 0.5 * (Qr + D * Qi), 0.5 * R, 0.5 * T
    own, other = -2 / np.pi / np.sqrt(1 + 2 * Q), 2 / np.pi / np.sqrt((1 + Q) * t - r * r)
    along = -(own * Q + other * r) / (1 + Q)

    def I2(c, a, b):
        return 2 / np.pi * np.arcsin(c / np.sqrt(a * b))

    k = 2 / (1 + 2 * Q)
    tilted, across, rest = Q - Q * Q * k, r - Q * r * k, t - r * r * k
    S = I2(tilted, 1 + tilted, 1 + tilted) - 2 * I2(across, 1 + tilted, rest) + 1
    S *= 2 / np.pi / np.sqrt(1 + 2 * Q)
    dR = eta * ((along + own) * R + other * T)
    dQr = 2 * eta * ((along + own) * Qr + other * R) + eta**2 * S
    return [dQr, 2 * eta * D * (along + own) * Qi + eta**2 * D * S, dR]


def test_sign_teachers_are_in_closed_form():
    """A curriculum: silent irrelevant inputs first, then loud ones."""
    T, start = 2.0, [0.3, 0.2, 0.1]
    expected = np.array(start)
    for D in (0.0, 2.0):
        solved = solve_ivp(
            learns_a_sign, (0, 3.0), expected, args=(1.5, D, T), rtol=1e-10, atol=1e-12
        )
        expected = solved.y[:, -1]
    given = ok.Problem(
        ok.OrderParameters([[[0.3]], [[0.2]]], [[[0.1]], [[0.0]]], [[[T]], [[0.0]]]),
        {"main": [1.0]},
        {
            name: ok.Task([1.0], head="main", input_variance={"relevant": 1.0, "irrelevant": D})
            for name, D in (("easy", 0.0), ("hard", 2.0))
        },
        [ok.Phase("easy", 3.0, 1.5), ok.Phase("hard", 3.0, 1.5)],
        groups=GROUPS,
        teacher_activation="sign",
    )
    last = ok.solve(given, t_eval=[0.0, 6.0]).isel(time=-1)
    found = [*last.Q_group.values.ravel(), last.R_group.values[0, 0, 0]]
    assert_allclose(found, expected, rtol=0, atol=2e-7)
    Q, R = 0.5 * (expected[0] + 2.0 * expected[1]), 0.5 * expected[2]
    error = (
        0.5 + np.arcsin(Q / (1 + Q)) / np.pi - 2 / np.pi * np.arcsin(R / np.sqrt((1 + Q) * T / 2))
    )
    assert_allclose(last.generalization_error.sel(task="hard"), error, rtol=0, atol=2e-7)


# ------------------------------------------------------------------------------------------ starts


def test_draws_have_the_moments_of_weights():
    T = np.array([[1.0, 0.3], [0.3, 2.0]])
    drawn = ok.OrderParameters.draw(
        student=2, teacher=T, weight_std=0.5, input_dim=400, seed=0, draws=4000,
        groups={"in": 0.25, "out": 0.75}, teacher_groups=["in"],
    )  # fmt: skip
    assert drawn.Q.dims == ("draw", "group", "student", "student_other")
    assert_allclose(drawn.T[0] if drawn.T.ndim == 4 else drawn.T, [4 * T, 0 * T], atol=1e-12)
    Q, R = drawn.Q.values, drawn.R.values
    # Means within four standard errors; Q_kk has variance 2 σ⁴/N_τ, R_kn has σ² T_nn/N_τ.
    for g, N in enumerate((100, 300)):
        assert abs(Q[:, g, 0, 0].mean() - 0.25) < 4 * 0.25 * np.sqrt(2 / N / 4000)
        spread = 0.5 * np.sqrt([4.0, 8.0][1] / N) if g == 0 else 0.0
        assert abs(R[:, g, 0, 1].std() - spread) <= 4 * spread / np.sqrt(8000)
    assert abs(np.corrcoef(Q[:, 0, 0, 0], Q[:, 1, 0, 0])[0, 1]) < 4 / np.sqrt(4000)


def test_overlaps_of_weights_in_groups():
    W, B = np.arange(8.0).reshape(2, 4), np.ones((1, 4))
    found = ok.OrderParameters.from_weights(W, B, groups={"a": [0, 3], "b": slice(1, 3)})
    assert_allclose(found.Q[0], W[:, [0, 3]] @ W[:, [0, 3]].T / 2)
    assert_allclose(found.R[1], W[:, 1:3] @ B[:, 1:3].T / 2)
    with pytest.raises(ok.ProblemError, match=r"`groups` must hold each of the 4 inputs once"):
        ok.OrderParameters.from_weights(W, B, groups={"a": [0, 3], "b": [1]})


def test_realised_weights_have_the_overlaps_of_every_group():
    state = problem().state
    W, B = ok.realise(state, 200, 1, GROUPS)
    for g, part in enumerate((slice(0, 100), slice(100, 200))):
        assert_allclose(W[:, part] @ W[:, part].T / 100, state.Q[g], rtol=0, atol=1e-13)
        assert_allclose(W[:, part] @ B[:, part].T / 100, state.R[g], rtol=0, atol=1e-13)


# ---------------------------------------------------------------------------------------- networks


def sgd(given, N, seed, steps):
    """Plain SGD of the first phase: vectors, inputs and labels, no overlap; ends after `steps`."""
    rng = np.random.default_rng(seed)
    sizes = [round(f * N) for f in given.groups.values()]
    of = np.repeat(list(given.groups), sizes)
    W, B = ok.realise(given.state, N, seed, given.groups)
    heads = {n: np.array(v, dtype=float) for n, v in given.heads.items()}
    phase = given.phases[0]
    names, p = list(phase.mixture), list(phase.mixture.values())

    def each(value):
        return np.array([value[g] for g in of]) if isinstance(value, dict) else value

    views = {
        n: [each(getattr(t, k)) for k in ("input_variance", "student_gain", "student_noise_std")]
        for n, t in given.tasks.items()
    }
    eta = each(phase.learning_rate)
    for _ in range(steps):
        n = names[rng.choice(len(p), p=p)]
        m, a, s = views[n]
        x = np.sqrt(m) * rng.standard_normal(N)
        seen = a * x + s * rng.standard_normal(N)
        v, task = heads[n], given.tasks[n]
        lam, rho = W @ seen / np.sqrt(N), B @ x / np.sqrt(N)
        delta = task.readout @ erf_half(rho) + task.noise_std * rng.standard_normal()
        delta -= v @ erf_half(lam)
        W = W + eta / np.sqrt(N) * np.outer(v * slope_of_erf(lam) * delta, seen)
        heads[n] = v + phase.readout_learning_rate / N * erf_half(lam) * delta
    cut = np.cumsum(sizes)[:-1]
    parts = zip(np.split(W, cut, axis=1), np.split(B, cut, axis=1), sizes, strict=True)
    found = [np.concatenate([(w @ w.T).ravel(), (w @ b.T).ravel()]) / n for w, b, n in parts]
    return np.concatenate([*found, *heads.values()])


@pytest.mark.parametrize("N", [250, 1000])
def test_plain_sgd_is_described(N):
    """One network deviates by some .1–.6/√N; the mean of four by half of that."""
    given = problem(phases=[ok.Phase({"a": 0.6, "b": 0.4}, 2.0, 0.8, 0.4)])
    run = ok.solve(given, t_eval=[0.0, 2.0]).isel(time=-1)
    networks = np.mean([sgd(given, N, seed, 2 * N) for seed in range(4)], axis=0)
    blocks = [
        np.concatenate([run.Q_group.values[g].ravel(), run.R_group.values[g].ravel()])
        for g in range(2)
    ]
    theory = np.concatenate([*blocks, run.readout.values.ravel()])
    assert np.sqrt(np.mean((networks - theory) ** 2)) < 0.5 / np.sqrt(N)


def test_compiled_networks_follow_every_phase(run):
    """Mixtures, batches, frozen units, decay, own rates and Fisher information per group."""
    N, networks = 1000, []
    for seed in range(4):
        networks.append(ok.simulate(problem(), input_dim=N, seed=seed, t_eval=TIMES))
    for name in ("Q_group", "R_group", "readout"):
        mean = np.mean([sim[name].values for sim in networks], axis=0)
        off = np.sqrt(np.mean((mean - run[name].values) ** 2))
        assert off < 0.5 / np.sqrt(N), name


# ------------------------------------------------------------------------------------------ sweeps


@pytest.mark.parametrize("method", [None, pytest.param("Rodas5P", marks=pytest.mark.slow)])
def test_a_sweep_is_its_points(run, method):
    etas = xr.DataArray([0.4, 0.8, 1.2], dims="eta")
    noise = xr.DataArray([0.5, 0.7], dims="noise")
    task = ok.Task([0.0, 1.0], student_noise_std={"relevant": 0.0, "irrelevant": noise})
    swept = problem(tasks={**problem().tasks, "b": task}).replace_phase(0, learning_rate=etas)
    one = ok.solve(swept, t_eval=TIMES, method=method).isel(eta=1, noise=0)
    assert_allclose(one.Q_group, run.Q_group, rtol=0, atol=1e-7)
    assert_allclose(one.generalization_error, run.generalization_error, rtol=0, atol=1e-7)


# --------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": {"a": 0.5, "b": 0.4}}, r"`groups` must have fractions that sum to 1, got 0.9"),
        ({"groups": {"a": 1.5, "b": -0.5}}, r"`groups\['b'\]` must be > 0, got -0.5"),
        ({"groups": None}, r"`groups` must name the 2 groups of the state"),
        ({"groups": {"a": 0.2, "b": 0.3, "c": 0.5}}, r"`state` must have an axis of the 3 groups"),
        ({"tasks": {"a": ok.Task([1.0, 0.0], input_variance={"x": 1.0})}}, r"must name a group"),
        (
            {"tasks": {"a": ok.Task([1.0, 0.0], student_gain={"relevant": 1.0})}},
            r"`tasks\['a'\].student_gain` must have a number for every group",
        ),
        ({"phases": ok.Phase("a", 1.0, {"relevant": 1.0})}, r"for every group .* none for 'irr"),
    ],
)
def test_mistakes_are_named(change, message):
    with pytest.raises(ok.ProblemError, match=message):
        problem(**({"heads": {"a": [0.7, -0.4], "b": [1.0, 1.0]}} | change))


def test_sign_teachers_are_those_of_erf_and_linear_students():
    assert problem(teacher_activation="sign", activation="linear").teacher_activation == "sign"
    with pytest.raises(ok.ProblemError, match=r"`teacher_activation` must be left out for other"):
        problem(teacher_activation="sign", activation="relu")
    with pytest.raises(ok.ProblemError, match=r"`teacher_activation` must be one of 'sign'"):
        problem(teacher_activation="step")


def test_views_are_checked_as_they_are_written():
    with pytest.raises(ok.ProblemError, match=r"`input_variance\['x'\]` must be >= 0, got -1"):
        ok.Task([1.0], input_variance={"x": -1.0})
    with pytest.raises(ok.ProblemError, match=r"`student_noise_std` must be >= 0"):
        ok.Task([1.0], student_noise_std=-0.1)
    with pytest.raises(ok.ProblemError, match=r"`teacher_groups` must name groups"):
        ok.OrderParameters.draw(
            2, 2, weight_std=1.0, input_dim=10, seed=0, groups=GROUPS, teacher_groups=["other"]
        )
