"""Logarithms of forgetting, forgetting at equal mastery, transfer over fresh students, fractions.

The numbers are those of an independent implementation of the equations (Lee et al. 2021, 2022).
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.stats import beta

import odekit as ok
from odekit import measures as m
from odekit.base.errors import ProblemError
from odekit.drawing.figure import FigureTable
from odekit.drawing.maps import draw
from odekit.measures.named import evaluate, parse

# Overlaps of one draw at N = 1000: Q; R with the first teacher and with what the second adds;
# both heads.
SWITCHED = (
    [[1.00685662504173e-06, -6.43144221998951e-09], [-6.43144221998951e-09, 9.79560547441454e-07]],
    [[1.58670499947726e-05, -4.55441374859147e-06], [-5.44665314811621e-06, -2.20505996887423e-05]],
    [[0.000315308465645201, -0.000759558616490133], [-7.12317161050972e-05, -0.000498916173971825]],
)
MASLOW = (
    [[9.56353064842203e-07, 5.91285631979162e-08], [5.91285631979162e-08, 1.0460078172657e-06]],
    [[2.80054908804323e-05, 2.27244760021997e-05], [-1.9192620690545e-05, 3.95035765814667e-07]],
    [[0.000852028660338417, 0.000328885406443227], [-0.000116861947444972, 0.000978230166050829]],
)


def two_tasks(start, similarity, *phases):
    """Two teachers of one unit, of overlap V, from one start for all V."""
    Q, own, heads = start
    V = xr.DataArray(similarity, dims="V", coords={"V": similarity})
    R = xr.DataArray(own, dims=("student", "basis"))
    second = V * R.isel(basis=0) + np.sqrt(1 - V**2) * R.isel(basis=1)
    R = xr.concat([R.isel(basis=0).broadcast_like(second), second], "teacher")
    rows = [xr.concat(row, "teacher_other") for row in ([V**0, V], [V, V**0])]
    T = xr.concat(rows, "teacher")
    return ok.Problem(
        state=ok.OrderParameters(
            Q=Q,
            R=R.transpose("V", "student", "teacher"),
            T=T.transpose("V", "teacher", "teacher_other"),
        ),
        heads={"1": heads[0], "2": heads[1]},
        tasks={"1": ok.Task(readout=[1.0, 0.0]), "2": ok.Task(readout=[0.0, 1.0])},
        phases=phases,
    )


def phase(task, duration, rate, **more):
    return ok.Phase(task, duration, rate, readout_learning_rate=rate, **more)


SIMILARITIES = [0.0, 0.25, 0.5, 0.75, 1.0]


@pytest.fixture(scope="module")
def switched():
    """The second task begins when the first one's error is 1e-4."""
    last = phase("2", 200.0, 1.0)
    problem = two_tasks(SWITCHED, SIMILARITIES, phase("1", 1e3, 1.0, until=1e-4), last)
    return ok.solve(problem, t_eval=np.linspace(0.0, 300.0, 601))


@pytest.fixture(scope="module")
def maslow():
    phases = phase("1", 250.0, 0.1), phase("2", 250.0, 0.1)
    problem = two_tasks(MASLOW, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], *phases)
    return ok.solve(problem, t_eval=np.linspace(0.0, 500.0, 2001))


def test_forgetting_of_logarithms(maslow, switched):
    found = m.final(m.forgetting(maslow, log=True))
    np.testing.assert_allclose(found, [0.954, 2.491, 2.478, 2.344, 2.077, 0.814], atol=6e-4)
    found = m.final(m.forgetting(switched, log=True))
    np.testing.assert_allclose(found, [2.0933, 3.2321, 3.2700, 3.0033, 1.2542], atol=6e-5)
    curve = m.forgetting(maslow, log=True)
    error = maslow.generalization_error.sel(task="1", time=slice(250.0, None))
    np.testing.assert_allclose(curve, np.log10(error / error.isel(time=0)), atol=1e-12)
    assert curve.time_since_switch.values[[0, -1]].tolist() == [0.0, 250.0]
    np.testing.assert_array_equal(m.transfer(maslow, "1", log=True), -curve)


def test_what_is_rounding_has_no_logarithm(switched):
    known = switched.generalization_error
    broken = known.copy()
    broken[{"V": 2, "task": 0, "time": 400}] = 1e-10
    ds = switched.assign(generalization_error=broken)
    with pytest.raises(
        ProblemError, match=r"`log` needs errors that are more than rounding.*1 of 5"
    ):
        m.forgetting(ds, log=True)
    floored = m.forgetting(ds, log=True, floor=1e-6).isel(V=2).sel(time=200.0)
    assert float(floored) == pytest.approx(np.log10(1e-6 / 1e-4), abs=1e-6)
    with pytest.raises(ProblemError, match="`floor` must be > 0"):
        m.forgetting(ds, log=True, floor=0.0)
    # A picture of a sweep leaves out the one run.
    assert evaluate(ds, "log_forgetting").isnull().values.tolist() == [0, 0, 1, 0, 0]


def test_forgetting_at_equal_mastery(switched):
    found = m.adjusted_forgetting(switched)
    # The reference takes the first row of a grid of 0.1 on which the error has passed.
    rows = [2.0485, 3.2154, 3.2423, 2.9637, 1.1884]
    np.testing.assert_allclose(found, rows, atol=6e-4)
    late = np.array([85.8, 109.7, 98.8, 28.2, 9.5]) - found.time_since_switch
    assert (late > -0.051).all()
    assert (late < 0.1).all()
    again = m.adjusted_forgetting(switched.isel(time=[0, 1, 250, 600]))
    np.testing.assert_array_equal(again, found)
    np.testing.assert_array_equal(m.adjusted_forgetting(switched.isel(V=[3])), found.isel(V=[3]))
    named = evaluate(switched, "adjusted_forgetting")
    np.testing.assert_array_equal(named, found)
    assert "adjusted" in named.long_name
    assert m.adjusted_forgetting(switched.isel(V=1)).ndim == 0


def test_forgetting_at_equal_mastery_between_rows(switched):
    exact = m.adjusted_forgetting(switched)
    blind = switched.assign_attrs(odekit_solver='{"rtol": 1e-8}', odekit_problem="none")
    with pytest.warns(UserWarning, match="sees the rows of the dataset only"):
        found = m.adjusted_forgetting(blind, "1", "2")
    # Rows half a unit apart: late errors decay at rates below 0.1, early ones faster.
    np.testing.assert_allclose(found, exact, atol=5e-3)
    np.testing.assert_allclose(found.time_since_switch, exact.time_since_switch, atol=0.2)


def test_a_second_task_that_is_not_learnt_has_no_adjusted_forgetting(switched):
    problem = two_tasks(
        SWITCHED, [0.5, 1.0], phase("1", 1e3, 1.0, until=1e-4), phase("2", 20.0, 1.0)
    )
    found = m.adjusted_forgetting(ok.solve(problem))
    assert found.isnull().values.tolist() == [True, False]
    full = m.adjusted_forgetting(switched).sel(V=1.0)
    assert float(found[1]) == pytest.approx(float(full), abs=1e-6)


def test_mean_rate_over_the_first_rows(switched):
    ends = switched.phase_end.isel(phase_index=0).values
    expected = [1.67e-5, 0.2168, 0.5098, 0.6620, 0.4878]
    phases = phase("1", 1e3, 1.0, until=1e-4), phase("2", 200.0, 1.0)
    for V, end, rate in zip(SIMILARITIES[::2], ends[::2], expected[::2], strict=True):
        one = two_tasks(SWITCHED, [V], *phases)
        run = ok.solve(one, t_eval=np.append(0.0, end + 0.1 * np.arange(0, 12)))
        curve = m.forgetting(run, log=True)
        found = m.initial_rate(curve, rows=10)
        assert float(found[0]) == pytest.approx(rate, abs=3e-4)
        y, t = curve.values[0], curve.time_since_switch.values
        np.testing.assert_allclose(found, (y[10] - y[0]) / (t[10] - t[0]))
        assert m.initial_rate(curve, rows=30).isnull().all()
    with pytest.raises(ProblemError, match="`span` must be left out with `rows`"):
        m.initial_rate(curve, 1.0, rows=3)
    # By name it is the slope at the switch itself.
    slope = evaluate(switched, "log_forgetting.initial_rate")
    error = switched.phase_end_error.isel(phase_index=0).sel(task="1")
    np.testing.assert_allclose(slope, m.initial_rate(switched) / error / np.log(10))


def test_transfer_over_a_fresh_student(maslow):
    expected = [-0.0108, 0.0523, 0.0705, 0.0824, 0.0914, 0.0986]
    curve = m.tabula_rasa(maslow)
    np.testing.assert_allclose(m.time_mean(curve), expected, atol=6e-5)
    np.testing.assert_array_equal(evaluate(maslow, "tabula_rasa.mean"), m.time_mean(curve))
    rows = np.linspace(0.0, 250.0, 1001)
    fresh = ok.solve(two_tasks(MASLOW, maslow.V.values, phase("2", 250.0, 0.1)), t_eval=rows)
    given = m.tabula_rasa(maslow, fresh)
    np.testing.assert_allclose(given, curve, atol=1e-9)
    error = fresh.generalization_error.sel(task="2").values
    own = maslow.generalization_error.sel(task="2", time=slice(250.0, None)).values
    np.testing.assert_allclose(given, error - own, atol=1e-15)
    short = m.tabula_rasa(maslow, fresh.isel(time=slice(0, 501)))
    assert short.isel(time=slice(501, None)).isnull().all()
    with pytest.raises(ProblemError, match="`fresh` must have the task '2'"):
        m.tabula_rasa(maslow, fresh.sel(task=["1"]))


def test_simulations_are_measured_by_their_rows():
    problem = two_tasks(SWITCHED, [0.5], phase("1", 3.0, 1.0), phase("2", 3.0, 1.0))
    problem = problem.replace(heads={"1": [1.0, 0.2], "2": [0.9, 0.1]})
    sim = ok.simulate(problem, input_dim=200, seed=0)
    with pytest.raises(ProblemError, match="`fresh` must be given"):
        m.tabula_rasa(sim)
    fresh = ok.simulate(problem.replace(phases=problem.phases[1:]), input_dim=200, seed=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert m.tabula_rasa(sim, fresh).notnull().all()
        assert m.adjusted_forgetting(sim).sizes == {"V": 1}
        reached = m.hitting_time(sim, 0.0, 0.1, of="generalization_error")
    assert reached.sel(task="1").notnull().all()


# ------------------------------------------------------------------------ times of a whole result


def mode_runs():
    network = ok.linear.deep([1, 1, 1])
    imbalance = xr.DataArray([0.0, 1.0, 20.0], dims="imbalance", coords={"imbalance": [0, 1, 20]})
    first = xr.DataArray([[[1e-3]]] * 3, dims=("imbalance", "hidden", "input"))
    second = np.sqrt(1e-6 + imbalance).expand_dims(["output", "hidden"], [1, 2])
    problem = ok.LinearProblem(
        network=network,
        weights={"W1": first, "W2": second},
        tasks=ok.linear.Correlations(yx=[[10.0]], xx=[[1.0]]),
        phases=ok.Phase("main", duration=2.0, learning_rate=1.0),
    )
    return ok.solve(problem, t_eval=[0.0, 1.0, 2.0]), second.squeeze()


def product(ds):
    return ds.map_main.squeeze(drop=True)


def test_times_of_a_result_do_not_depend_on_its_rows():
    run, second = mode_runs()
    found = m.escape_time(run, 5.0, of=product)
    exact = ok.linear.time_to(10.0, 1e-3, second, above=5.0)
    np.testing.assert_allclose(found, exact, rtol=1e-7)
    found = m.hitting_time(run, 10.0, 1.0, of=product)
    exact = ok.linear.time_to(10.0, 1e-3, second, within=1.0)
    np.testing.assert_allclose(found, exact, rtol=1e-7)
    levels = xr.DataArray([5.0, 0.0, 11.0], dims="imbalance")
    found = m.escape_time(run, levels, of=product)
    assert found.values[1:].tolist() == [0.0, np.inf]
    part = m.escape_time(run.isel(imbalance=[2, 0]), 5.0, of=product)
    np.testing.assert_allclose(part, m.escape_time(run, 5.0, of=product)[[2, 0]], rtol=1e-9)
    one = m.escape_time(run.sel(imbalance=1), 5.0, of="map_main")
    assert one.dims == ("output", "input")
    np.testing.assert_allclose(one, m.escape_time(run, 5.0, of=product)[1], rtol=1e-7)


def test_times_of_a_result_that_is_not_its_problems():
    run, _ = mode_runs()
    with pytest.warns(UserWarning, match="does not give its rows"):
        found = m.escape_time(run.assign(map_main=1.0 + run.map_main), 5.0, of=product)
    assert found.notnull().all()
    with pytest.raises(ProblemError, match="`of` must name a variable of the result"):
        m.escape_time(run, 5.0)
    with pytest.raises(ProblemError, match="`of` must be over time, one of W1, W2"):
        m.escape_time(run, 5.0, of="status")
    with pytest.raises(ProblemError, match="`of` must be left out of a curve"):
        m.escape_time(run.map_main, 5.0, of="map_main")


def test_times_after_a_switch(switched):
    found = m.escape_time(switched, 0.1, of=m.forgetting)
    rows = m.escape_time(m.forgetting(switched), 0.1)
    finite = np.isfinite(rows)
    assert finite.values.tolist() == np.isfinite(found).values.tolist() == [0, 1, 1, 1, 0]
    np.testing.assert_allclose(found[finite], rows[finite], atol=0.05)
    named = evaluate(switched, "forgetting.escape_time(0.1)")
    np.testing.assert_array_equal(named, rows)
    assert "escape time" in named.long_name
    assert "0.1" in named.long_name
    named = evaluate(switched, "generalization_error[1].hitting_time(0, 0.01)")
    error = switched.generalization_error.sel(task="1")
    np.testing.assert_array_equal(named, m.hitting_time(error, 0.0, 0.01))


@pytest.mark.parametrize(
    "name",
    ["Q[0,0].escape_time", "Q[0,0].escape_time(a)", "Q.hitting_time(1)", "Q.escape_time(nan)"],
)
def test_names_of_times_need_their_numbers(name, switched):
    with pytest.raises(ProblemError, match=r"must say .*_time of a .*Write Q\..*_time\(0.5"):
        evaluate(switched, name)
    with pytest.raises(ProblemError, match="must take one of final"):
        evaluate(switched, "Q[0,0].final(1)")
    with pytest.raises(ProblemError, match="must take one of final of adjusted"):
        evaluate(switched, "adjusted_forgetting.escape_time(1)")


# ------------------------------------------------------------------------------------- fractions


def test_fractions_have_binomial_errors():
    values = np.zeros((3, 50))
    values[1, :15], values[2, :] = 1.0, 1.0
    found = m.fraction(xr.DataArray(values, dims=("x", "draw")))
    assert found.fraction.values.tolist() == [0.0, 0.3, 1.0]
    np.testing.assert_allclose(found.std_error, [0, np.sqrt(0.3 * 0.7 / 50), 0])
    z, n, p = 1.959963984540054, 50, np.array([0.0, 0.3, 1.0])
    middle, half = p + z**2 / (2 * n), z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    np.testing.assert_allclose(found.low, (middle - half) / (1 + z**2 / n), atol=1e-12)
    np.testing.assert_allclose(found.high, (middle + half) / (1 + z**2 / n), atol=1e-12)
    # Close to the exact interval of Clopper and Pearson, which is a little wider.
    assert abs(float(found.low[1]) - beta.ppf(0.025, 15, 36)) < 0.015
    some = xr.DataArray([1.0, np.nan, 0.0, np.nan], dims="seed")
    counted = m.fraction(some, "seed")
    assert float(counted.fraction) == 0.5
    assert int(counted.draws) == 2
    assert m.fraction(some * np.nan, "seed").fraction.isnull()
    with pytest.raises(ProblemError, match="`dim` must be one of"):
        m.fraction(some)
    with pytest.raises(ProblemError, match="`found` must be true or false, got 3"):
        m.fraction(some * 3, "seed")
    with pytest.raises(ProblemError, match=r"`confidence` must be in \(0, 1\)"):
        m.fraction(some, "seed", 95)


def test_fraction_of_draws_that_specialise():
    problem = ok.Problem(
        state=ok.OrderParameters.draw(
            student=2, teacher=1, weight_std=0.1, input_dim=10_000, seed=0, draws=40
        ),
        heads={"main": ok.polar(1e-3, np.pi / 4)},
        tasks={"main": ok.Task(readout=[1.0])},
        phases=phase("main", 300.0, 1.0),
    )
    run = ok.solve(problem, t_eval=[0.0, 300.0])
    entropy = m.contribution_entropy(run).isel(time=-1).squeeze(drop=True)
    found = m.fraction(m.specialised(run).isel(time=-1).squeeze(drop=True))
    assert float(found.fraction) == np.mean(entropy.values < 0.5)
    assert 0.3 < float(found.fraction) < 0.9
    np.testing.assert_array_equal(evaluate(run, "specialised"), entropy < 0.5)
    assert m.specialised(run, 0.0).sum() == 0
    with pytest.raises(ProblemError, match="`level` must be from 0 to 1"):
        m.specialised(run, 2.0)


def test_figures_show_standard_errors():
    values = np.random.default_rng(0).integers(0, 2, (3, 2, 40)).astype(float)
    array = xr.DataArray(values, dims=("x", "kind", "draw"), coords={"x": [1.0, 2.0, 3.0]})
    ds = xr.Dataset({"generalization_error": array}, {"kind": ["a", "b"]}, {"title": ""})
    figure = FigureTable(measures=["specialised"], x="x", hue="kind", mean=["draw"], bars=True)
    page = draw(ds, figure, [array.assign_coords(kind=["a", "b"]).assign_attrs(long_name="s")])
    bars = [c for c in page.axes[0].collections if len(c.get_segments()) == 3]
    assert len(bars) == 2
    lengths = [s[1, 1] - s[0, 1] for s in bars[0].get_segments()]
    p = values[:, 0].mean(axis=-1)
    np.testing.assert_allclose(lengths, 2 * np.sqrt(p * (1 - p) / 39))
    assert parse("specialised[a,0].final", {"specialised": None}).labels == ("a", "0")
