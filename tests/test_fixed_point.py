"""Fixed points: published and independently computed numbers, families, sweeps, failures."""

import numpy as np
import pytest
import xarray as xr
from numpy.testing import assert_allclose
from scipy.optimize import brentq
from scipy.special import erf

import odekit as ok
from declared import case
from networks import random_problem as random_network
from odekit.dataset.provenance import problem_of
from odekit.problem.plain import problem_from_dict

FIGURES = 1e-8
"""The numbers below have ten decimals and come from other code."""
LAMBDA = {2: 0.0657498074, 3: 0.0461178779, 4: 0.0356473566}
PLATEAU = {
    2: (0.3677196991, 0.3253855479, 0.4143941509, 0.0146448497, 0.0632363242),
    3: (0.3058455836, 0.1832448370, 0.2702182684, 0.0320997954, 0.0410526159),
}
MORE = {3: 1.2880165426, 4: 0.8044221231}
CRITICAL = [4.0557786760, 2.3068276961, 1.6206745061, 1.2493927807, 1.0164483002, 0.8566625695]
FLOOR = {0.01: (1.84565e-5, 1e-10), 0.5: (1.1678016e-3, 1e-10), 1.0: (3.1911745e-3, 1e-10)}


def committee(K=2, eta=1.0, noise=0.0, Q=None, R=None, duration=100.0, **phase):
    """K = M, T = 1, v = u = 1; on the plateau of gradient flow unless Q and R say where."""
    Q = np.full((K, K), 1 / (2 * K - 1)) if Q is None else Q
    R = np.full((K, K), 1 / np.sqrt(K * (2 * K - 1))) if R is None else R
    return ok.Problem(
        ok.OrderParameters(Q=Q, R=R, T=np.eye(K)),
        {"main": np.ones(K)},
        {"main": ok.Task(np.ones(K), noise_std=noise)},
        [ok.Phase("main", duration, eta, **phase)],
    )


def learnt(K, eta, noise=0.0):
    return committee(K, eta, noise, Q=np.eye(K), R=np.eye(K))


def off_plateau(K, eta, **more):
    """Near the plateau where runs get stuck, of units that are not equal."""
    a, b, r = {2: (0.4, 0.3, 0.41), 3: (0.4, 0.2, 0.27), 4: (0.6, 0.1, 0.2)}[K]
    state = {"Q": np.full((K, K), b) + (a - b) * np.eye(K), "R": np.full((K, K), r)}
    return committee(K, eta, **state, **more)


def count(found, kind):
    return int(found.n_zero.sel(zero_kind=kind))


# --------------------------------------------------------------------------------- known numbers


@pytest.mark.parametrize("K", LAMBDA)
def test_plateau_of_gradient_flow(K):
    eta = 0.7
    found = ok.fixed_point(committee(K, eta, gradient_flow=True))
    assert found.name == "symmetric plateau, equal units"
    assert found["index"] == (K - 1) ** 2
    growing = found.eigenvalue_real[: (K - 1) ** 2] / eta
    assert_allclose(growing, LAMBDA[K], rtol=0, atol=FIGURES)
    assert count(found, "not trained") == K
    assert count(found, "second-order neutral") == K * (K + 1) // 2 - 1
    assert found.n_zero.sum() == K + K * (K + 1) // 2 - 1
    error = K / np.pi * (np.pi / 6 - K * np.arcsin(1 / (2 * K)))
    assert_allclose(found.generalization_error, [error], rtol=1e-14)
    assert_allclose(found.weight.sel(part="R")[: (K - 1) ** 2], 1.0, atol=1e-12)


@pytest.mark.parametrize("K", PLATEAU)
def test_plateau_that_runs_see(K):
    found = ok.fixed_point(off_plateau(K, 0.5))
    assert found.status == ok.Convergence.CONVERGED
    assert found.name == "symmetric plateau"
    assert found["index"] == (K - 1) ** 2
    values = (found.Q[0, 0], found.Q[0, 1], found.R[0, 0], found.generalization_error[0])
    rate = found.eigenvalue_real[0] / 0.5
    assert_allclose([*values, rate], PLATEAU[K], rtol=0, atol=FIGURES)
    assert found.residual < 1e-15
    assert found.n_steps <= 8


def test_equal_units_have_more_ways_out_at_two_units():
    found = ok.fixed_point(committee(2, 0.5))
    assert found.name == "symmetric plateau, equal units"
    assert found["index"] == 3


@pytest.mark.parametrize("K", MORE)
def test_rates_at_which_more_directions_grow(K):
    """The next eigenvalues of the plateau cross zero; the tolerance is that of the published."""
    guess = ok.fixed_point(off_plateau(K, 0.5 if K == 3 else MORE[K]))

    def next_one(eta):
        found = ok.fixed_point(off_plateau(K, eta), guess=guess)
        assert found.name == "symmetric plateau"
        values = found.eigenvalue_real.values
        values = values[np.argsort(np.abs(values))[K:]]  # heads have none
        return np.sort(values)[-((K - 1) ** 2) - 1]

    root = brentq(next_one, MORE[K] - 0.01, MORE[K] + 0.01, xtol=1e-11)
    assert root == pytest.approx(MORE[K], abs=FIGURES)
    index = [int(ok.fixed_point(off_plateau(K, e), guess=guess)["index"])
             for e in (MORE[K] - 0.01, MORE[K] + 0.01)]  # fmt: skip
    assert index[0] == (K - 1) ** 2 < index[1]


@pytest.mark.parametrize("K", range(1, 7))
def test_perfect_learning_loses_stability(K):
    def largest(eta):
        found = ok.fixed_point(learnt(K, eta))
        assert found.name == "perfect learning"
        assert found.moved == 0.0
        values = found.eigenvalue_real.values
        return values[np.argsort(np.abs(values))[K:]].max()

    wanted = CRITICAL[K - 1]
    assert brentq(largest, wanted - 0.1, wanted + 0.1, xtol=1e-11) == pytest.approx(
        wanted, abs=FIGURES
    )
    assert ok.fixed_point(learnt(K, wanted - 0.01))["index"] == 0
    assert ok.fixed_point(learnt(K, wanted + 0.01))["index"] >= 1


@pytest.mark.parametrize("eta", FLOOR)
def test_noise_floor(eta):
    found = ok.fixed_point(learnt(2, eta, noise=0.1))
    assert found.name == "noise floor"
    assert found["index"] == 0
    error, digits = FLOOR[eta]
    assert found.generalization_error.item() == pytest.approx(error, abs=digits / 2)
    if eta == 0.5:
        slowest = found.eigenvalue_real.values[2]  # after two of heads
        assert slowest / eta == pytest.approx(-0.0440088, abs=5e-8)


# ------------------------------------------------------------------------------------- zero modes


def two_teachers(v=(0.3, 0.7), off=0.0):
    """Both units learn one of two teachers; the other's head waits."""
    W = np.array([[1.0, 0.0], [1.0, 0.0]]) + off * np.random.default_rng(0).standard_normal((2, 2))
    return ok.Problem(
        ok.OrderParameters(Q=W @ W.T, R=W, T=np.eye(2)),
        {"one": list(v), "two": [0.2, 0.4]},
        {"one": ok.Task([1.0, 0.0]), "two": ok.Task([0.0, 1.0])},
        [ok.Phase("one", 100.0, 0.5, 0.5, gradient_flow=True)],
    )


def test_every_zero_is_explained():
    """6 = 2 + 1 + 3: a head that waits, v_1 − v_2, Gram matrix of the difference of two units."""
    found = ok.fixed_point(two_teachers())
    kinds = dict(zip(found.zero_kind.values.tolist(), found.n_zero.values.tolist(), strict=True))
    assert kinds == {
        "not trained": 2, "redundant units": 1, "second-order neutral": 3, "other": 0,
    }  # fmt: skip
    assert found.name == "perfect learning"
    assert found["index"] == 0


def test_newton_converges_onto_families_at_the_rate_of_neutral_directions():
    found = ok.fixed_point(two_teachers(v=(0.35, 0.6), off=0.05))
    assert found.status == ok.Convergence.CONVERGED
    assert found.name == "perfect learning"
    assert 10 < found.n_steps < 40  # |f| falls by 4 a step
    v = found.readout.sel(head="one").values
    assert v.sum() == pytest.approx(1.0, abs=1e-6)
    assert abs(v - [0.35, 0.6]).max() < 0.1  # the nearest, not any
    assert (found.readout.sel(head="two") == [0.2, 0.4]).all()  # nothing moves it


def test_heads_that_are_not_trained_stay_where_they_are():
    """Their columns of J are not zero: Newton could use them, and would leave the problem."""
    problem = off_plateau(2, 0.5)
    found = ok.fixed_point(problem.replace(heads={"main": [1.1, 0.9]}))
    assert found.readout.values.tolist() == [[1.1, 0.9]]
    assert found.residual < 1e-15


# ----------------------------------------------------------------------------------- the spectrum


@pytest.mark.parametrize("make", [
    lambda: off_plateau(3, 0.9), lambda: two_teachers(), lambda: learnt(2, 1.0, noise=0.1),
    lambda: learnt(2, 0.4, noise=0.1).replace(activation="linear"),
])  # fmt: skip
def test_eigenvalues_against_differences_of_the_flow(make):
    problem = make()
    found = ok.fixed_point(problem)
    field = ok.equations(problem)
    y = field.pack(found)
    assert np.abs(field.rhs(0.0, y)).max() == pytest.approx(float(found.residual), abs=1e-15)
    h = 1e-3
    J = np.empty((field.size, field.size))
    for j, e in enumerate(np.eye(field.size)):
        one, two = (
            (field.rhs(0.0, y + s * e) - field.rhs(0.0, y - s * e)) / (2 * s) for s in (h, h / 2)
        )
        J[:, j] = (4 * two - one) / 3
    vectors = found.eigenvector_real.values + 1j * found.eigenvector_imag.values
    values = found.eigenvalue_real.values + 1j * found.eigenvalue_imag.values
    assert_allclose(vectors @ J.T, values[:, None] * vectors, rtol=0, atol=1e-10)
    assert_allclose(np.abs(vectors**2).sum(axis=1), 1.0, rtol=1e-12)
    assert_allclose(found.weight.sum("part"), 1.0, rtol=1e-12)
    real = np.where(np.abs(values) < 1e-5 * np.abs(values).max(), 0.0, values.real)
    assert (np.diff(real) <= 1e-12).all()
    assert found.entry.values.tolist() == list(field.names)


# --------------------------------------------------------------------------------- rows and sweeps


@pytest.fixture(scope="module")
def swept():
    etas = np.linspace(0.3, 0.9, 4)
    rates = xr.DataArray(etas, dims="eta", coords={"eta": etas})
    state = ok.OrderParameters.draw(2, 2, weight_std=0.3, input_dim=1000, seed=7)
    heads, tasks = {"main": [1.0, 1.0]}, {"main": ok.Task([1.0, 1.0], noise_std=0.1)}
    problem = ok.Problem(state, heads, tasks, [ok.Phase("main", 400.0, rates)])
    return ok.solve(problem, t_eval=[0.0, 20.0, 400.0])


def test_sweeps_equal_single_calls(swept):
    found = ok.fixed_point(swept, time=20.0)
    assert found.status.dims == ("eta",)
    assert found.Q.dims == ("eta", "student", "student_other")
    assert found.eigenvector_real.dims == ("eta", "direction", "entry")
    for i in range(4):
        one = ok.fixed_point(swept.isel(eta=i), time=20.0)
        assert one.drop_attrs().equals(found.isel(eta=i).drop_attrs())
    part = ok.fixed_point(swept.isel(eta=[2, 0]), time=20.0)
    assert part.drop_attrs().equals(found.isel(eta=[2, 0]).drop_attrs())
    renamed = ok.fixed_point(swept.rename(eta="rate"), time=20.0)
    assert renamed.status.dims == ("rate",)


def test_a_problem_is_solved_up_to_a_time(swept):
    problem = problem_from_dict(problem_of(swept), None)
    a, b = ok.fixed_point(problem, time=20.0), ok.fixed_point(swept, time=20.0)
    assert_allclose(a.Q, b.Q, rtol=0, atol=1e-11)
    assert (a.start_time == 20.0).all()
    last = ok.fixed_point(swept)
    assert (last.start_time == 400.0).all()
    assert (last.name == "noise floor").all()


def test_every_way_to_say_where_to_begin(swept):
    one = swept.isel(eta=1)
    row = one.isel(time=1)
    whole = ok.fixed_point(one, time=21.0)  # the nearest row
    problem = off_plateau(2, float(swept.eta[1])).replace(
        tasks={"main": ok.Task([1.0, 1.0], noise_std=0.1)}
    )
    field = ok.equations(problem)
    for guess in (row, field.pack(row), {"Q": row.Q, "R": row.R.values}, row[["Q", "R"]]):
        found = ok.fixed_point(problem, guess=guess)
        assert_allclose(found.Q, whole.Q, rtol=0, atol=1e-12)
    assert np.isnan(found.start_time)
    alone = ok.fixed_point(row)  # a row by itself
    assert_allclose(alone.Q, whole.Q, rtol=0, atol=1e-14)
    again = ok.fixed_point(problem, guess=found)
    assert again.moved < 1e-12
    every = ok.fixed_point(swept, guess=ok.fixed_point(swept, time=20.0))
    assert every.moved.max() < 1e-12


def test_rates_are_those_of_the_time():
    rate = ok.Schedule([0.0, 50.0], [0.5, 1.0])
    slow, ramp = ok.Phase("main", 10.0, 0.2), ok.Phase("main", 100.0, rate)
    problem = learnt(2, 0.5, noise=0.1).replace(phases=[slow, ramp])
    run = ok.solve(problem, t_eval=[0.0, 5.0, 60.0, 110.0])
    late = ok.fixed_point(run)
    assert late.generalization_error.item() == pytest.approx(FLOOR[1.0][0], abs=1e-10)
    assert ok.fixed_point(run, time=5.0).generalization_error < 0.2 * late.generalization_error
    begin = ok.fixed_point(problem, phase=1)
    assert begin.generalization_error.item() == pytest.approx(FLOOR[0.5][0], abs=1e-10)
    assert_allclose(ok.fixed_point(problem, phase=1, time=60.0).Q, late.Q, rtol=0, atol=1e-12)


def test_copies_of_units_are_those_of_the_run():
    """Overlaps with copies are in no row: the run is solved up to there once more."""
    rng = np.random.default_rng(2)
    W = rng.standard_normal((4, 40)) / np.sqrt(40)
    C = W @ W.T
    kept = ok.Consolidation("quadratic", strength=0.2, task="one")
    phases = [
        ok.Phase("one", 30.0, 0.5, gradient_flow=True),
        ok.Phase("two", 300.0, 0.5, gradient_flow=True, consolidation=kept),
    ]
    problem = ok.Problem(
        ok.OrderParameters(Q=C[:2, :2], R=C[:2, 2:], T=C[2:, 2:]),
        {"one": [0.8, 0.6], "two": [0.5, 0.7]},
        {"one": ok.Task([1.0, 0.0]), "two": ok.Task([0.0, 1.0])},
        phases,
    )
    run = ok.solve(problem)
    found = ok.fixed_point(run)
    assert found.status == ok.Convergence.CONVERGED
    assert found.R_copies.shape == (2, 2)
    assert found["index"] == 0
    assert found.moved < 0.1
    # The copies are those of the row at the switch, so that the penalty vanishes at that state.
    before = run.sel(time=30.0)
    assert_allclose(before.Q, ok.solve(problem, t_eval=[30.0]).Q[0], atol=1e-9)
    later = ok.solve(problem.replace_phase(1, duration=20_000.0), t_eval=[20_030.0])
    assert_allclose(found.Q, later.Q[0], rtol=0, atol=1e-6)


def test_other_systems_have_fixed_points_too():
    net, _ = random_network(5)
    found = ok.fixed_point(net, time=3.0)
    assert found.status == ok.Convergence.CONVERGED
    assert set(found.part.values) == set(net.network.edges)
    assert found.zero_kind.values.tolist() == ["not trained", "other"]
    assert "smallest_eigenvalue" not in found
    own = ok.fixed_point(case(), time=5.0)
    assert own.status == ok.Convergence.CONVERGED
    assert own.name == ""
    assert set(own.part.values) == {"W", "v", "s"}


def test_moments_by_quadrature():
    wanted = ok.fixed_point(off_plateau(2, 0.5, gradient_flow=True))
    problem = off_plateau(2, 0.5, gradient_flow=True).replace(
        activation=ok.Activation(
            "own",
            lambda x: erf(x / np.sqrt(2)),
            lambda x: np.sqrt(2 / np.pi) * np.exp(-x * x / 2),
        )
    )
    found = ok.fixed_point(problem)
    assert found.status == ok.Convergence.CONVERGED
    assert_allclose(found.R, wanted.R, rtol=0, atol=1e-6)


# -------------------------------------------------------------------------------------- failures


def test_points_of_no_vectors_are_told():
    """Newton from a start far off finds such a one: K = 4, eta = 1."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        W = 0.7 * rng.standard_normal((4, 8))
        state = ok.OrderParameters(Q=W @ W.T, R=W[:, :4], T=np.eye(4))
        found.append(ok.fixed_point(committee(4, 1.0, Q=state.Q, R=state.R)))
    good = [f for f in found if f.status == ok.Convergence.CONVERGED]
    bad = [f for f in good if not f.physical]
    assert bad
    for f in good:
        C = np.block([[f.Q.values, f.R.values], [f.R.values.T, f["T"].values]])
        eigenvalues = np.linalg.eigvalsh(C)
        assert f.smallest_eigenvalue == pytest.approx(eigenvalues[0] / eigenvalues[-1], abs=1e-12)
        assert bool(f.physical) == (eigenvalues[0] >= -1e-6 * eigenvalues[-1])


def test_searches_that_fail_say_so():
    spent = ok.fixed_point(off_plateau(3, 0.5), max_steps=1)
    assert spent.status == ok.Convergence.SPENT
    assert np.isnan(spent.eigenvalue_real).all()
    assert spent.name == ""
    guess = {"Q": np.full((2, 2), np.nan)}
    assert ok.fixed_point(off_plateau(2, 0.5), guess=guess).status == ok.Convergence.NO_START
    negative = {"Q": -5.0 * np.eye(2)}
    assert ok.fixed_point(off_plateau(2, 0.5), guess=negative).status in (
        ok.Convergence.NONFINITE, ok.Convergence.STALLED, ok.Convergence.DIVERGED,
    )  # fmt: skip


def test_runs_that_ended_early_have_no_row():
    rates = xr.DataArray([0.5, 30.0], dims="eta", coords={"eta": [0.5, 30.0]})
    state = ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]])
    problem = ok.Problem(state, {"main": [1.0]}, {"main": ok.Task([1.0])},
                         [ok.Phase("main", 200.0, rates)], "linear")  # fmt: skip
    with pytest.warns(ok.NotCompletedWarning):
        run = ok.solve(problem, t_eval=[0.0, 200.0])
    found = ok.fixed_point(run, time=200.0)
    assert found.status.values.tolist() == [ok.Convergence.CONVERGED, ok.Convergence.NO_START]
    assert np.isnan(found.Q.sel(eta=30.0)).all()
    assert found.name.values.tolist() == ["perfect learning", ""]


def test_a_failed_point_leaves_the_others_alone():
    Q = xr.DataArray(np.stack([np.eye(2), -5 * np.eye(2)]), dims=("c", "student", "student_other"))
    rate = xr.DataArray([0.5, 0.5], dims="c")
    found = ok.fixed_point(learnt(2, rate), guess={"Q": Q})
    assert found.status[0] == ok.Convergence.CONVERGED
    assert found.status[1] != ok.Convergence.CONVERGED
    assert found.name[0] == "perfect learning"


BAD = {
    "no problem": (lambda: ok.fixed_point("run"), "problem_or_run"),
    "an array": (lambda: ok.fixed_point(np.zeros(3)), "problem_or_run"),
    "another dataset": (lambda: ok.fixed_point(xr.Dataset({"a": 1})), "problem_or_run"),
    "a simulation": (
        lambda: ok.fixed_point(ok.simulate(learnt(2, 0.5), input_dim=50, seed=0)), "problem_or_run",
    ),
    "time": (lambda: ok.fixed_point(learnt(2, 0.5), time=-1.0), "time"),
    "time beyond": (lambda: ok.fixed_point(learnt(2, 0.5), time=101.0), "time"),
    "phase": (lambda: ok.fixed_point(learnt(2, 0.5), phase=1), "phase"),
    "steps": (lambda: ok.fixed_point(learnt(2, 0.5), max_steps=0), "max_steps"),
    "flag": (lambda: ok.fixed_point(learnt(2, 0.5), eigenvectors="yes"), "eigenvectors"),
    "short guess": (lambda: ok.fixed_point(learnt(2, 0.5), guess=[1.0, 2.0]), "guess"),
    "text": (lambda: ok.fixed_point(learnt(2, 0.5), guess="plateau"), "guess"),
    "strange guess": (lambda: ok.fixed_point(learnt(2, 0.5), guess={"S": 1.0}), "guess"),
    "shape": (lambda: ok.fixed_point(learnt(2, 0.5), guess={"Q": [1.0]}), "guess['Q']"),
    "not symmetric": (
        lambda: ok.fixed_point(learnt(2, 0.5), guess={"Q": [[1.0, 0.2], [0.1, 1.0]]}), "guess['Q']",
    ),
    "a whole run": (
        lambda: ok.fixed_point(learnt(2, 0.5), guess=ok.solve(learnt(2, 0.5))), "guess['Q']",
    ),
    "a dim of the result": (
        lambda: ok.fixed_point(learnt(2, xr.DataArray([0.1, 0.2], dims="direction"))), "problem",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("call", "argument"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(call, argument):
    with pytest.raises(ok.ProblemError) as info:
        call()
    assert info.value.argument == argument
