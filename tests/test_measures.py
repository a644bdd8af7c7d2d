"""Measures against plain formulas, exact derivatives and published levels."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import odekit as ok
from alike import SIMILARITIES, problem, stack
from committees import assemble
from odekit import measures as m
from odekit.base.errors import ProblemError
from single import Single


@pytest.fixture(scope="module")
def runs():
    return [ok.solve(problem(v)) for v in SIMILARITIES]


@pytest.fixture(scope="module")
def sweep(runs):
    return stack(runs, "similarity", SIMILARITIES)


def made_up(error, phase, time=None, **more):
    """A dataset with errors (…, time, task) of tasks a, b and phases of one's own."""
    error = np.asarray(error, dtype=float)
    time = np.arange(error.shape[-2], dtype=float) if time is None else time
    lead = [f"sweep_{i}" for i in range(error.ndim - 2)]
    variables = {"generalization_error": error, "phase": phase, **more}
    labels = ["a", "b"][: error.shape[-1]]
    return assemble(variables, {"time": time, "task": labels}, {}, lead)


# ------------------------------------------------------------------------------------------ curves


def test_curves_are_differences_to_the_row_at_the_switch(runs):
    ds = runs[1]
    row = int((ds.phase == 0).sum()) - 1
    error = ds.generalization_error.values[row:]
    F, gain = m.forgetting(ds), m.transfer(ds)
    np.testing.assert_array_equal(F, error[:, 0] - error[0, 0])
    np.testing.assert_array_equal(gain, error[0, 1] - error[:, 1])
    assert F.dims == ("time",)
    assert F[0] == 0
    assert (F.name, gain.name) == ("forgetting", "transfer")
    np.testing.assert_array_equal(F.time, ds.time[row:])
    np.testing.assert_array_equal(F.time_since_switch, ds.time[row:] - 40.0)
    assert (str(F.task.values), str(gain.task.values)) == ("1", "2")
    assert int(m.switch_row(ds)) == row
    assert set(F.attrs) == {"long_name"}


def test_forgetting_of_all_tasks_is_a_matrix():
    """Rows a task, columns a phase: what has been lost since the task was last trained."""
    family = ok.task_family(units=1, tasks=3, feature_similarity=0.4)
    curriculum = ("1", "2", "1", "3")
    ds = ok.solve(
        ok.Problem(
            state=ok.OrderParameters.draw(2, family.T, weight_std=0.3, input_dim=100, seed=0),
            heads=family.heads([1.0, 0.5]),
            tasks=family.tasks,
            phases=[ok.Phase(task, 5.0, 0.5, 0.5) for task in curriculum],
        ),
        rtol=1e-6,
    )
    F, ends = m.forgetting_matrix(ds), ds.phase_end_error
    assert F.dims == ("task", "phase_index")
    known = np.isfinite(F.values)
    assert known.tolist() == [[True] * 4, [False, True, True, True], [False] * 3 + [True]]
    assert [float(F.sel(task=t)[i]) for i, t in enumerate(curriculum)] == [0.0] * 4
    assert F.sel(task="1")[1] == ends.sel(task="1")[1] - ends.sel(task="1")[0]
    assert F.sel(task="1")[3] == ends.sel(task="1")[3] - ends.sel(task="1")[2]
    # The curve that follows a task through the phases ends there.
    assert F.sel(task="2")[3] == m.final(m.forgetting(ds, "2", switch=2))
    with pytest.raises(ProblemError, match="nothing to forget yet"):
        m.forgetting(ds, "3", switch=2)
    with pytest.raises(ProblemError, match="`ds` must hold its problem"):
        m.forgetting_matrix(ds.drop_attrs(deep=False))


def test_default_tasks_are_those_before_and_after_the_switch(runs):
    ds = runs[0]
    xr.testing.assert_identical(m.forgetting(ds), m.forgetting(ds, "1"))
    xr.testing.assert_identical(m.transfer(ds), m.transfer(ds, "2"))
    both = m.transfer(ds, ["1", "2"])
    xr.testing.assert_identical(both.sel(task="2"), m.transfer(ds, "2"))


@pytest.mark.parametrize("curve", [m.forgetting, m.transfer])
def test_a_sweep_is_its_runs(curve, runs, sweep):
    whole = curve(sweep)
    assert whole.dims == ("similarity", "time")
    assert whole.time_since_switch.dims == ("time",)
    for number in (m.initial_rate, m.maximum, m.final):
        swept = number(whole)
        assert swept.dims == ("similarity",)
        alone = [float(number(curve(ds))) for ds in runs]
        np.testing.assert_array_equal(swept, alone)


def test_redundant_units_forget_less_the_more_alike_the_features():
    similarity = xr.DataArray(SIMILARITIES, dims="similarity", coords={"similarity": SIMILARITIES})
    family = ok.task_family(feature_similarity=similarity)
    start = ok.OrderParameters.draw(2, family.T, weight_std=1e-3, input_dim=10_000, seed=7)
    phases = [ok.Phase(task, 300.0, 1.0, 1.0) for task in family.tasks]
    ds = ok.solve(ok.Problem(start, family.heads([1.0, 1.0]), family.tasks, phases))
    assert (m.student_cosine(ds).isel(time=-1, student=0, student_other=1) > 0.999).all()
    F = m.forgetting(ds)
    for number in (m.initial_rate, m.maximum, m.final):
        assert (number(F).diff("similarity") < 0).all()
    assert float(m.final(F)[0]) > 0.3


def exact_rates(ds, setting):
    """dε/dt of every task just after the switch: the gradient along the right-hand side."""
    layout = Single(setting)
    row = ds.isel(time=int(m.switch_row(ds)))
    frame, _ = layout.start()
    y = layout.pack(row.Q.values, row.R.values, row.readout.values)
    frame, y = layout.enter(1, frame, y)
    slope = layout.equations(1, frame, 0.0).rhs(0.0, y)
    h = 1e-5
    return np.subtract(*layout.errors(np.array([y + h * slope, y - h * slope]))) / (2 * h)


@pytest.mark.parametrize("copied", [None, {"2": "1"}], ids=["own head", "copied head"])
def test_initial_rate_is_the_slope_of_the_equations(copied):
    # Fit of a quartic to t <= 0.04 at rates of order 1, errors to 1e-8: 1e-5 has room.
    setting = problem(0.5, copy_heads=copied)
    ds = ok.solve(setting)
    expected = exact_rates(ds, setting)
    found = [m.initial_rate(m.forgetting(ds)), -m.initial_rate(m.transfer(ds))]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


SECONDS = {
    "by time": {},
    "by threshold": {"until": 0.05},
    "copied head": {"copy_heads": {"2": "1"}},
    "consolidation": {"consolidation": ok.Consolidation("fisher", 1.0, "1")},
}
ETAS = xr.DataArray([0.5, 1.0, 1.5], dims="eta", coords={"eta": [0.5, 1.0, 1.5]})


@pytest.mark.parametrize("second", SECONDS.values(), ids=SECONDS)
def test_a_sweep_that_switches_by_threshold_has_the_numbers_of_its_runs(second):
    """Switches and ends lie between the rows of the sweep; a run has rows there."""
    ends = {"learning_rate": ETAS, "until": 0.05}
    ds = ok.solve(problem(0.5, **second).replace_phase(0, **ends))
    F, gain = m.forgetting(ds), m.transfer(ds)
    rates = m.initial_rate(ds, task=["1", "2"])
    assert rates.dims == ("eta", "task")
    for i, eta in enumerate(ETAS.values):
        ends["learning_rate"] = eta
        alone = ok.solve(problem(0.5, **second).replace_phase(0, **ends), rtol=1e-12, atol=1e-14)
        f, g = m.forgetting(alone), m.transfer(alone)
        fitted = [m.initial_rate(f), -m.initial_rate(g)]
        # Runs at rtol 1e-8; the fit is the less accurate one.
        np.testing.assert_allclose(rates[i], fitted, rtol=2e-6)
        for curve, one in ((F, f), (gain, g)):
            np.testing.assert_allclose(m.final(curve)[i], m.final(one), rtol=0, atol=1e-8)
            # A maximum between rows is as far off as the curve bends within one of 0.4: 1e-5.
            highest = m.maximum(curve)[i]
            np.testing.assert_allclose(highest, m.maximum(one), rtol=0, atol=1e-5)
            if m.maximum(one) == m.final(one):
                np.testing.assert_allclose(
                    highest.time_since_switch, m.maximum(one).time_since_switch, rtol=1e-7
                )


def test_a_phase_between_two_rows_is_followed():
    ds = ok.solve(problem(0.5, until=0.05).replace_phase(0, learning_rate=ETAS, until=0.05))
    few = ok.solve(
        problem(0.5, until=0.05).replace_phase(0, learning_rate=ETAS, until=0.05),
        t_eval=[0.0, 0.5, 79.0, 80.0],
    )
    for curve in (m.forgetting, m.transfer):
        np.testing.assert_allclose(m.final(curve(few)), m.final(curve(ds)), rtol=0, atol=1e-12)
    np.testing.assert_array_equal(m.initial_rate(few), m.initial_rate(ds))


def test_initial_rate_of_what_cannot_be_solved_again_is_fitted():
    ds = ok.solve(problem(0.5)).drop_attrs()
    with pytest.warns(UserWarning, match="initial_rate sees the rows"):
        found = m.initial_rate(ds, task="1")
    np.testing.assert_array_equal(found, m.initial_rate(m.forgetting(ds, "1")))


def test_an_error_put_in_place_of_another_has_its_own_value_at_the_switch():
    ds = ok.solve(problem(0.5))
    twice = ds.assign(generalization_error=2 * ds.generalization_error)
    np.testing.assert_array_equal(m.forgetting(twice), 2 * m.forgetting(ds))


def test_forgetting_of_all_tasks_that_were_trained():
    family = ok.task_family(tasks=3, feature_similarity=0.3)
    start = ok.OrderParameters.draw(2, family.T, weight_std=0.1, input_dim=10_000, seed=7)
    heads = family.heads([1.0, 0.6])
    phases = [ok.Phase(task, 10.0, 1.0, 1.0) for task in family.tasks]
    ds = ok.solve(ok.Problem(start, heads, family.tasks, phases))
    first, second = (m.forgetting(ds, "all", switch=s) for s in (1, 2))
    assert first.dims == second.dims == ("task", "time")
    assert first.task.values.tolist() == ["1"]
    assert second.task.values.tolist() == ["1", "2"]
    for task in second.task.values:
        xr.testing.assert_identical(second.sel(task=task), m.forgetting(ds, str(task), switch=2))
    with pytest.raises(ProblemError, match="nothing to forget yet"):
        m.forgetting(ds, ["1", "3"], switch=2)


@pytest.mark.parametrize("rows", [np.linspace(0, 2, 21), np.append(0, np.geomspace(1e-3, 2, 60))])
def test_initial_rate_on_any_grid(rows):
    # A quartic through rows h, …, 5h is off by h⁴ f⁽⁵⁾ (1 + 1/2 + … + 1/5): 3.7e-3 of the rate.
    error = np.stack([np.exp(-rows), 1 - np.exp(-2 * rows)], -1)
    curve = m.forgetting(made_up(error, [0] + [1] * (rows.size - 1), rows), ["a", "b"])
    np.testing.assert_allclose(m.initial_rate(curve), [-1, 2], rtol=3.7e-3)


def test_initial_rate_is_nan_where_the_rows_do_not_resolve_it():
    rows = np.append(0, np.arange(10.0, 60.0, 10.0))
    error = np.exp(-rows)[:, None] * [1, 2]
    curve = m.forgetting(made_up(error, [0, 1, 1, 1, 1, 1], rows), "a")
    assert np.isnan(m.initial_rate(curve))


def test_initial_rate_of_a_flat_curve_is_zero():
    rows = np.append(0, np.geomspace(1e-2, 10, 100))
    error = 0.1 + 1e-13 * np.random.default_rng(0).standard_normal((101, 2)) * [0, 1]
    curve = m.forgetting(made_up(error, [0] + [1] * 100, rows), ["a", "b"])
    # A slope from values 1e-13 apart over 0.04, amplified some 100 times by the quartic.
    np.testing.assert_allclose(m.initial_rate(curve), [0, 0], rtol=0, atol=1e-9)


def test_initial_rate_averages_over_noise_of_a_simulation():
    rng = np.random.default_rng(1)
    t = np.linspace(0, 1, 1001)
    error = np.stack([t, -t], -1) + 1e-2 * rng.standard_normal((1001, 2))
    curve = m.forgetting(made_up(error, [0] + [1] * 1000, t), ["a", "b"])
    # The slope of a straight line through 1000 points: 1e-2·√(12/1000) ≈ 1.1e-3; 5σ.
    np.testing.assert_allclose(m.initial_rate(curve, span=1.0, degree=1), [1, -1], atol=5.5e-3)


def test_maximum_and_final():
    error = np.stack([[1.0, 2.0, 5.0, 4.0], [0.0, 0.0, -1.0, -2.0]], -1)
    curve = m.forgetting(made_up(error, [0, 0, 1, 1]), ["a", "b"])
    highest, last = m.maximum(curve), m.final(curve)
    np.testing.assert_array_equal(highest, [3, 0])
    np.testing.assert_array_equal(highest.time_since_switch, [1, 0])
    np.testing.assert_array_equal(last, [2, -2])
    assert (highest.name, last.name) == ("forgetting_maximum", "forgetting_final")


def test_three_phases_and_the_last_phase_to_follow():
    error = np.arange(14.0).reshape(7, 2) ** 2
    ds = made_up(error, [0, 0, 1, 1, 2, 2, 2])
    np.testing.assert_array_equal(m.forgetting(ds, "a", switch=2), error[3:, 0] - error[3, 0])
    first = m.forgetting(ds, "a", through=1)
    np.testing.assert_array_equal(first, error[1:4, 0] - error[1, 0])


def test_switches_at_different_rows_and_one_never_reached():
    error = np.arange(24.0).reshape(3, 4, 2) ** 2
    error[2, 3] = np.nan
    ds = made_up(error, [[0, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, -1]])
    F = m.forgetting(ds, "a")
    a, nan = error[..., 0], np.nan
    np.testing.assert_array_equal(F[0], a[0] - a[0, 0])
    np.testing.assert_array_equal(F[1], [nan, *(a[1, 1:] - a[1, 1])])
    assert F[2].isnull().all()
    np.testing.assert_array_equal(F.time_since_switch[:2], [[0, 1, 2, 3], [nan, 0, 1, 2]])
    np.testing.assert_array_equal(m.switch_row(ds), [0, 1, -1])
    np.testing.assert_array_equal(m.final(F), [a[0, 3] - a[0, 0], a[1, 3] - a[1, 1], nan])
    assert np.isnan(m.maximum(F)[2])


def test_a_trajectory_that_stops_after_the_switch_keeps_its_rows():
    error = np.arange(16.0).reshape(2, 4, 2)
    error[1, 3] = np.nan
    F = m.forgetting(made_up(error, [[0, 1, 1, 1], [0, 1, 1, -1]]), "a")
    np.testing.assert_array_equal(m.final(F), [6, 4])


def test_without_a_row_at_the_switch_the_error_there_is_known():
    setting = problem(0.5)
    F = m.forgetting(ok.solve(setting, t_eval=[0, 38, 39, 40, 41, 60]))
    G = m.forgetting(ok.solve(setting, t_eval=[0, 38, 39, 41, 60]))
    np.testing.assert_array_equal(G.time_since_switch, [0, 1, 20])
    np.testing.assert_allclose(G[1:], F[1:], rtol=0, atol=1e-12)


def test_no_error_at_the_switch_is_taken_from_an_earlier_phase():
    error = np.arange(8.0).reshape(1, 4, 2)
    F = m.forgetting(made_up(error, [[0, 2, 2, 2]]), "a", switch=2)
    assert np.isnan(F.isel(time=slice(1, None))).all()


@settings(deadline=None, max_examples=30)
@given(
    arrays(float, (2, 6, 2), elements=st.floats(0, 10)),
    st.integers(1, 5),
)
def test_curves_start_at_zero_and_forgetting_is_minus_transfer(error, first):
    ds = made_up(error, np.repeat([[0] * first + [1] * (6 - first)], 2, axis=0))
    F, gain = m.forgetting(ds, "a"), m.transfer(ds, "a")
    assert (F.isel(time=0) == 0).all()
    np.testing.assert_array_equal(F, -gain)
    assert (m.maximum(F) >= m.final(F)).all()
    # ε(t) = F(t) + ε(t_s) gives the error back.
    back = F + ds.generalization_error.sel(task="a").isel(time=first - 1, drop=True)
    np.testing.assert_allclose(back, error[:, first - 1 :, 0], rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("call", "argument", "words"),
    [
        (lambda ds: m.forgetting(ds.isel(phase_index=[0]), "1"), "switch", "two phases"),
        (lambda ds: m.forgetting(ds, switch=2), "switch", "1 to 1"),
        (lambda ds: m.forgetting(ds, switch=0), "switch", "1 to 1"),
        (lambda ds: m.forgetting(ds, switch=True), "switch", "index"),
        (lambda ds: m.forgetting(ds, through=0), "through", "1 to 1"),
        (lambda ds: m.forgetting(ds, "3"), "task", "'1', '2'"),
        (lambda ds: m.transfer(ds.drop_attrs()), "task", "named"),
        (lambda ds: m.forgetting(ds.isel(time=slice(0, 9))), "switch", "reached"),
        (lambda ds: m.forgetting(ds.isel(time=slice(-9, None))), "switch", "reached"),
        (lambda ds: m.maximum(ds.T), "curve", "time"),
        (lambda ds: m.initial_rate(ds.generalization_error), "curve", "forgetting"),
        (lambda ds: m.initial_rate(m.forgetting(ds), span=-1.0), "span", "> 0"),
        (lambda ds: m.plateau(ds, phase=2), "phase", "0 to 1"),
        (lambda ds: m.plateau(ds, "3"), "task", "'1', '2'"),
        (lambda ds: m.plateau(ds, contrast=0.0), "contrast", "> 0"),
        (lambda ds: m.plateau(ds, threshold=[0.1]), "threshold", "one number"),
        (lambda ds: m.forgetting(ds, "2"), "task", "transfer"),
        (lambda ds: m.forgetting(ds.drop_attrs(), "all"), "task", "does not hold its problem"),
        (lambda ds: m.plateau(ds.expand_dims("start")), "ds", "ds.rename(start='start_')"),
        (lambda ds: m.readout_entropy(ds, "3"), "head", "'1', '2'"),
        (lambda ds: m.overlap_cosine(ds.drop_vars("T")), "ds", "'T'"),
    ],
)
def test_mistakes_are_named(call, argument, words, runs):
    with pytest.raises(ProblemError) as caught:
        call(runs[0])
    assert caught.value.argument == argument
    assert words in str(caught.value)


def test_a_mixture_before_the_switch_needs_the_task_named():
    setting = problem(0.5).replace_phase(0, tasks={"1": 0.5, "2": 0.5}, duration=1.0)
    ds = ok.solve(setting)
    with pytest.raises(ProblemError, match=r"`task` must be named for forgetting"):
        m.forgetting(ds)
    assert m.trained_task(ds, 1) == "2"


def test_maximum_and_final_of_any_variable_over_time():
    times = xr.DataArray([0.0, 1.0, 2.0], dims="time", coords={"time": [0.0, 1.0, 2.0]})
    last = ok.measures.final(times.where(times < 2, np.nan).rename("x"))
    assert (last.item(), last.name) == (1.0, "x_final")
    best = ok.measures.maximum((times * (2.5 - times)).rename("x"))
    assert (best.item(), best.time.item()) == (1.5, 1.0)
