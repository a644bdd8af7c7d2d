"""The compiled engine against tight single runs, and what a trajectory owes to itself alone."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.integrate.engine import suits
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import at, axes, points
from random_problems import FEATURES, labelled, random_problem, simple, soft

TIGHT = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-15}
METHODS = {None: 1e-8, "RK23": 1e-5, "RK45": 1e-6, "DOP853": 1e-8, "Rodas5P": 1e-7}
"""The tolerance at which each method takes 20 to 150 steps on these problems."""
FACTOR = {None: 5.0, "RK23": 20.0, "RK45": 5.0, "DOP853": 5.0, "Rodas5P": 5.0}
"""Achieved error over rtol. A step's error is estimated for the lower order of the pair and is far
below rtol for the order 5 that is kept, less so for the order 3; the flow then contracts or grows
by a factor of order 1. Measured: at most 1 and 8."""
PER_EVENT = 100.0
"""Error of the time of a threshold over rtol: that of the state over the slope of the error, which
is 0.01 and more where these thresholds lie."""


def end_of(problem):
    return float(np.min(np.asarray(sum(phase.duration for phase in problem.phases))))


def assert_accurate(problem, method, rtol, every=4, rows=23):
    """Points of a sweep against single runs of another integrator and other kernels."""
    times = np.linspace(0.0, end_of(problem), rows)
    run = ok.solve(problem, t_eval=times, method=method, rtol=rtol, atol=1e-3 * rtol)
    for _, index in list(points(axes(problem)))[::every]:
        got, alone = run.isel(index), ok.solve(at(problem, index), t_eval=times, **TIGHT)
        expected = alone.reindex(time=times)
        assert int(got.status) == int(alone.status) == ok.Status.COMPLETED
        np.testing.assert_array_equal(got.phase_outcome, alone.phase_outcome)
        filled = alone.sizes["time"]
        np.testing.assert_array_equal(got.phase[:filled], alone.phase)
        assert (got.phase[filled:] == -1).all()
        events = (alone.phase_outcome == ok.Outcome.THRESHOLD).any()
        limit = (PER_EVENT if events else FACTOR[method]) * rtol
        for name in ("Q", "R", "readout", "generalization_error", "phase_end_error"):
            size = max(1.0, float(abs(alone[name]).max()))
            np.testing.assert_allclose(got[name], expected[name], rtol=0, atol=limit * size)
        np.testing.assert_allclose(got.phase_end, alone.phase_end, rtol=0, atol=limit)
    return run


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("method", METHODS)
def test_random_curricula(method, feature):
    seed = list(METHODS).index(method)
    assert_accurate(random_problem(seed, feature), method, METHODS[method])


@pytest.mark.parametrize("feature", ["plain", "decay", "quadratic", "until", "mixture", "schedule"])
@pytest.mark.parametrize("activation", ["linear", "relu"])
def test_other_activations(activation, feature):
    problem = random_problem(5, feature, activation)
    for method in (None, "Rodas5P"):
        assert_accurate(problem, method, METHODS[method], every=5)


# ------------------------------------------------------------------------------------ small, known


@pytest.mark.parametrize("method", ["RK45", "Rodas5P"])
def test_one_unit_of_one_vector(method):
    problem = ok.Problem(
        ok.OrderParameters(Q=[[0.4]], R=[[0.1]], T=[[1.0]]),
        {"main": [1.0]},
        {"main": ok.Task([1.0])},
        [ok.Phase("main", 10.0, labelled("eta", *np.linspace(0.1, 1.5, 9)))],
    )
    assert_accurate(problem, method, 1e-7, every=3)


@pytest.mark.parametrize("method", ["RK45", "RK23", "Rodas5P"])
def test_a_state_at_rest_stays_bit_by_bit(method):
    """A student that equals its teacher; a student of zeros that sees nothing; rates of zero."""
    for Q, R, v, eta in (
        ([[1.0]], [[1.0]], [1.0], 0.5),
        ([[0.0]], [[0.0]], [0.0], 0.5),
        ([[0.3]], [[0.2]], [0.7], 0.0),
    ):
        problem = ok.Problem(
            ok.OrderParameters(Q=Q, R=R, T=[[1.0]]),
            {"main": v},
            {"main": ok.Task([1.0])},
            [ok.Phase("main", 1e6, labelled("eta", eta, eta), gradient_flow=True)],
        )
        run = ok.solve(problem, t_eval=[0.0, 1.0, 1e6], method=method)
        assert (run.status == 0).all()
        # At the fixed point the drive is a difference of equal terms: zero to rounding.
        np.testing.assert_allclose(run.Q, Q[0][0], rtol=0, atol=1e-9 if eta and v[0] else 0)
        assert int(run.n_steps.max()) < 40 or (eta and v[0])


@pytest.mark.parametrize("method", [None, "RK23", "Rodas5P"])
def test_either_layer_at_rest(method):
    """Rates of zero in one layer, in the other, in both, beside others in the same lanes."""
    problem = soft(
        ok.Phase("main", 2.0, labelled("w", 0.0, 0.8), readout_learning_rate=labelled("v", 0, 0.5))
    )
    run = assert_accurate(problem, method, METHODS[method], every=1, rows=5)
    still = run.isel(time=slice(1, None)) == run.isel(time=0)
    assert still.Q.isel(w=0).all()
    assert still.R.isel(w=0).all()
    assert still.readout.isel(v=0).all()


def test_heads_that_no_task_uses_stay():
    problem = soft(ok.Phase("main", 2.0, labelled("w", 0.8, 0.3), readout_learning_rate=0.5))
    more = problem.replace(heads={"x": [0.1, 0.2], "main": [1.0, 0.6], "y": [-0.3, 0.0]})
    one, three = ok.solve(problem), ok.solve(more)
    xr.testing.assert_allclose(
        one.readout.sel(head="main"), three.readout.sel(head="main"), rtol=1e-7
    )
    np.testing.assert_array_equal(three.readout.sel(head="x")[..., 0], 0.1)
    np.testing.assert_array_equal(three.readout.sel(head="y")[..., 0], -0.3)


# ----------------------------------------------------------------------------- rows, phases, events


@pytest.mark.parametrize("method", ["RK45", "RK23", "Rodas5P"])
def test_rows_may_lie_in_the_last_digit_before_a_stop(method):
    """t + (end − t) may round below the end: a row in between must neither be lost nor hang."""
    rng = np.random.default_rng(0)
    while True:
        first, end = rng.uniform(0.125, 0.25), rng.uniform(0.75, 1.0)
        if first + (end - first) < end:
            break
    before = np.nextafter(end, 0.0)
    rate = labelled("eta", 1e-6, 2e-6)
    problem = soft(ok.Phase("main", end, rate), ok.Phase("main", 1.0, rate))
    options = {"method": method, "first_step": first, "max_seconds": 20.0}
    run = ok.solve(problem, t_eval=[0.0, before, end, end + 0.5], **options)
    assert (run.status == 0).all()
    assert np.isfinite(run.Q).all()
    np.testing.assert_array_equal(run.phase[0], [0, 0, 0, 1])


@pytest.mark.parametrize("method", [None, "Rodas5P"])
@pytest.mark.parametrize("t_eval", [[0.0], [3.0], [1.0, 2.0], [0.0, 0.1 + 0.2, 3.0], [0.3, 0.7]])
def test_rows_at_ends_and_not_at_the_start(method, t_eval):
    problem = soft(
        ok.Phase("main", 0.1, labelled("eta", 0.3, 0.5)),
        ok.Phase("main", 0.2, 0.4),
        ok.Phase("main", 2.7, 0.4),
    )
    run = ok.solve(problem, t_eval=t_eval, method=method)
    alone = ok.solve(at(problem, {"eta": 1}), t_eval=t_eval, **TIGHT)
    np.testing.assert_array_equal(run.time, t_eval)
    np.testing.assert_array_equal(run.phase.isel(eta=1), alone.phase)
    np.testing.assert_allclose(run.Q.isel(eta=1), alone.Q, rtol=0, atol=1e-7)


@pytest.mark.parametrize("method", [None, "RK23", "Rodas5P"])
def test_a_phase_shorter_than_the_rounding_of_the_time(method):
    problem = soft(
        ok.Phase("main", 2.0, labelled("eta", 0.3, 0.5)),
        ok.Phase("main", 1e-18, 0.5),
        ok.Phase("main", 1e-18, 0.5, until=1e-9),
        ok.Phase("main", 1.0, 0.5),
    )
    run = ok.solve(problem, t_eval=[0.0, 2.0, 3.0], method=method, max_seconds=20.0)
    alone = ok.solve(at(problem, {"eta": 0}), t_eval=[0.0, 2.0, 3.0])
    assert (run.status == 0).all()
    for name in ("phase_end", "phase_outcome", "phase"):
        np.testing.assert_array_equal(run[name].isel(eta=0), alone[name])
    assert list(run.method.values[0, 1:3]) == ["none", "none"]


@pytest.mark.parametrize("method", [None, "RK23", "Rodas5P"])
def test_thresholds_met_at_the_start_later_or_never(method):
    level = labelled("level", 0.02, 1e3, 1e-12)
    problem = soft(
        ok.Phase("main", 40.0, 0.5, until=level),
        ok.Phase("main", 3.0, 0.5, until=level),
        ok.Phase("main", 1.0, 0.5),
    )
    run = ok.solve(problem, method=method, rtol=METHODS[method])
    outcome, duration, missed = (
        ok.Outcome.THRESHOLD, ok.Outcome.DURATION, ok.Outcome.THRESHOLD_MISSED,
    )  # fmt: skip
    expected = [[outcome, outcome, duration]] * 2 + [[missed, missed, duration]]
    np.testing.assert_array_equal(run.phase_outcome, expected)
    np.testing.assert_array_equal(run.phase_end[1], [0.0, 0.0, 1.0])
    np.testing.assert_array_equal(run.phase_end[2], [40.0, 43.0, 44.0])
    # The state at the event is at the threshold, from below, to the rounding of the time.
    error = run.phase_end_error.sel(task="main")[0]
    assert 0.02 * (1 - 1e-9) < float(error[0]) <= 0.02
    assert float(error[0]) == float(error[1])
    single = ok.solve(at(problem, {"level": 0}), **TIGHT)
    # An error of the state is one of the time by the slope with which the threshold is crossed.
    event = float(single.phase_end[0])
    near = ok.solve(at(problem, {"level": 0}), t_eval=[event - 0.2, event - 0.1], **TIGHT)
    slope = -float(near.generalization_error[:, 0].diff("time")[0]) / 0.1
    limit = FACTOR[method] * METHODS[method] / slope
    np.testing.assert_allclose(run.phase_end[0], single.phase_end, rtol=0, atol=limit)
    assert list(run.method.values[0, :2]) == [method or "RK45", "none"]


def test_a_row_exactly_at_an_event():
    problem = soft(
        ok.Phase("main", 40.0, labelled("eta", 0.5, 0.7), until=0.02), ok.Phase("main", 3.0, 0.5)
    )
    event = float(ok.solve(problem, t_eval=[0.0, 43.0]).phase_end[0, 0])
    near = [np.nextafter(event, 0.0), event, np.nextafter(event, 99.0)]
    run = ok.solve(problem, t_eval=[0.0, *near, event + 1.0]).isel(eta=0)
    assert float(run.phase_end[0]) == event
    np.testing.assert_array_equal(run.phase, [0, 0, 0, 1, 1])
    np.testing.assert_allclose(run.generalization_error[1:4, 0], 0.02, rtol=1e-12)


@pytest.mark.parametrize("method", [None, "RK23", "RK45", "Rodas5P"])
def test_rows_are_accurate_where_stability_limits_the_step(method):
    """A solution that creeps: explicit steps are as long as stability allows, not as the error."""
    rtol = METHODS[method]
    problem = simple(300.0, gradient_flow=True)
    times = np.sort(np.random.default_rng(0).uniform(0.0, 300.0, 400))
    run = ok.solve(problem, t_eval=times, method=method, rtol=rtol, atol=1e-3 * rtol)
    alone = ok.solve(at(problem, {"eta": 1}), t_eval=times, **TIGHT)
    np.testing.assert_allclose(run.Q.isel(eta=1), alone.Q, rtol=0, atol=2 * FACTOR[method] * rtol)


def test_stops_are_not_straddled():
    """A spike of the rate, short beside the steps around it."""
    spike = ok.Schedule([0.0, 60.0, 60.01, 60.02, 100.0], [0.0, 0.0, 40.0, 0.0, 0.0])
    problem = soft(ok.Phase("main", 3.0, labelled("eta", 0.3, 0.5)), ok.Phase("main", 100.0, spike))
    times = [0.0, 3.0, 63.0, 63.02, 103.0]
    alone = ok.solve(at(problem, {"eta": 1}), t_eval=times, **TIGHT)
    for method, rtol in METHODS.items():
        run = ok.solve(problem, t_eval=times, method=method, rtol=rtol).isel(eta=1)
        np.testing.assert_allclose(run.Q, alone.Q, rtol=0, atol=FACTOR[method] * rtol)
    assert float(abs(alone.Q[-1] - alone.Q[1]).max()) > 0.01


# ----------------------------------------------------------------------------- long spans, plateaus


@pytest.mark.parametrize("duration", [1e5, 1e6])
def test_long_spans_take_few_steps(duration):
    problem = simple(duration)
    times = np.geomspace(1.0, duration, 13)
    run = ok.solve(problem, t_eval=times, rtol=1e-8)
    alone = ok.solve(at(problem, {"eta": 1}), t_eval=times, rtol=1e-10, atol=1e-13)
    np.testing.assert_allclose(run.Q.isel(eta=1), alone.Q, rtol=0, atol=1e-6)
    assert (run.status == 0).all()
    assert (run.n_steps < 3000).all()
    assert all("Rodas5P" in str(kind) for kind in run.method.values.ravel())
    assert (run.n_jac > 0).all()


@pytest.mark.parametrize("method", [None, "Rodas5P"])
def test_a_plateau_is_left_in_time(method):
    """Units alike but for 10⁻⁸: an L-stable method with long steps would stay on the plateau."""
    state = ok.OrderParameters.draw(student=3, teacher=3, weight_std=1e-8, input_dim=10_000, seed=1)
    problem = ok.Problem(
        state,
        {"main": [1.0] * 3},
        {"main": ok.Task([1.0] * 3)},
        [ok.Phase("main", 1e4, labelled("eta", 0.2, 0.3), until=0.01, gradient_flow=True)],
    )
    run = ok.solve(problem, method=method, rtol=1e-8)
    for i in range(2):
        alone = ok.solve(at(problem, {"eta": i}), **TIGHT)
        assert int(alone.phase_outcome[0]) == ok.Outcome.THRESHOLD
        left, expected = float(run.phase_end[i, 0]), float(alone.phase_end[0])
        assert expected > 100.0
        # The mode grows from 1e-8, of which a step's tolerance atol is a part of 1e-3.
        assert left == pytest.approx(expected, rel=1e-5)


# ---------------------------------------------------------------------------------- options, counts


@pytest.mark.parametrize("method", ["RK23", "RK45", "Rodas5P"])
def test_limits_of_the_step(method):
    run = ok.solve(simple(5.0), method=method, rtol=1e-3, max_step=0.05)
    assert (run.n_steps >= 100).all()
    assert (run.n_steps <= 110).all()
    short = ok.solve(simple(5.0), method=method, rtol=1e-3, first_step=1e-9)
    usual = ok.solve(simple(5.0), method=method, rtol=1e-3)
    # Each step is at most ten times the one before.
    assert (short.n_steps >= usual.n_steps + 3).all()
    np.testing.assert_allclose(short.Q[:, -1], usual.Q[:, -1], atol=1e-2)


@pytest.mark.parametrize(("method", "stages"), [("RK23", 3), ("RK45", 6), ("Rodas5P", 8)])
def test_counts(method, stages):
    run = ok.solve(simple(5.0), method=method)
    tries = run.n_rhs.values // stages
    assert (tries >= run.n_steps).all()
    assert (tries <= 1.5 * run.n_steps).all()
    assert (run.n_rhs.values % stages == (0 if method == "Rodas5P" else 1)).all()
    np.testing.assert_array_equal(run.n_jac, run.n_steps if method == "Rodas5P" else 0)
    again = at(simple(5.0), {"eta": 0})
    if method != "Rodas5P":
        alone = ok.solve(again, method=method, t_eval=[5.0])
        assert int(run.n_steps[0]) == pytest.approx(int(alone.n_steps), rel=0.2)


def test_what_the_engine_leaves_to_others():
    problem = simple()
    assert suits(problem, SolverOptions())
    for method in ("Radau", "BDF", "LSODA"):
        assert not suits(problem, SolverOptions(method=method))
    run = ok.solve(problem, method="LSODA", t_eval=[0.0, 5.0], rtol=1e-10)
    assert (run.method == "LSODA").all()
    usual = ok.solve(problem, t_eval=[0.0, 5.0])
    np.testing.assert_allclose(run.Q, usual.Q, rtol=0, atol=1e-7)


def test_many_runs_one_by_one_are_refused_with_what_they_cost():
    problem = simple().replace_phase(0, learning_rate=labelled("eta", *np.linspace(0.1, 1, 1001)))
    with pytest.raises(ok.ProblemError, match="'LSODA' for 1001, one by one: some 1 minutes"):
        ok.solve(problem, method="LSODA")


@pytest.mark.parametrize("method", [None, "DOP853", "Rodas5P"])
def test_steady_states_end_phases_as_they_do_in_single_runs(method):
    """Within a step or two of one another: each looks at the ends of its own steps."""
    problem = simple(1e5)
    run = ok.solve(problem, t_eval=[0.0, 1e5], steady_state=1e-6, method=method)
    assert (run.phase_outcome == ok.Outcome.STEADY).all()
    assert (run.status == ok.Status.COMPLETED).all()
    for _, index in points(axes(problem)):
        alone = ok.solve(at(problem, index), t_eval=[0.0, 1e5], steady_state=1e-6)
        found, known = run.isel(index).phase_end.item(), alone.phase_end.item()
        assert found == pytest.approx(known, rel=0.1)
        field = ok.equations(at(problem, index))
        rows = ok.solve(at(problem, index).replace_phase(0, duration=found), t_eval=[found])
        y = field.pack(rows.isel(time=0))
        assert abs(field.rhs(found, y)).max() <= 1.1e-6 * abs(y).max()


def test_a_plateau_is_no_steady_state():
    """It stands still for long; a mode grows all the while."""
    start = ok.OrderParameters.draw(student=2, teacher=2, weight_std=1e-3, input_dim=10**4, seed=7)
    problem = ok.Problem(
        state=start,
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0])},
        phases=[ok.Phase("main", 1e4, labelled("eta", 0.5, 1.0))],
    )
    run = ok.solve(problem, t_eval=[0.0, 1e4], steady_state=1e-4)
    assert (run.phase_outcome == ok.Outcome.STEADY).all()
    assert (run.phase_end_error < 1e-3).all()
    assert (run.n_jac < 100).all()


def test_probabilities_are_those_of_a_single_run():
    """Given to nine digits they sum to one only roughly."""
    mixture = {"a": 1 / 3 + 5e-10, "b": 2 / 3}
    problem = random_problem(0, "online").replace(
        phases=[ok.Phase(mixture, 3.0, labelled("eta", 0.5))]
    )
    options = {"t_eval": [3.0], "rtol": 1e-12, "atol": 1e-15}
    run, alone = ok.solve(problem, **options), ok.solve(at(problem, {"eta": 0}), **options)
    np.testing.assert_allclose(run.Q.isel(eta=0), alone.Q, rtol=0, atol=2e-11)


@pytest.mark.parametrize("method", [None, "RK45", "Radau", "Rodas5P"])
def test_an_error_that_dips_below_a_threshold_within_a_step_ends_the_phase(method):
    """The dip lasts 0.5 where steps are about 3 long; both integrators saw only the steps' ends."""
    family = ok.task_family(units=1, tasks=2, feature_similarity=0.0)
    mixture = ok.Phase({"1": 0.2, "2": 0.8}, 30.0, 0.3, until=0.108)
    single = ok.Problem(
        state=ok.OrderParameters(Q=[[1.0]], R=[[0.9, 0.1]], T=np.eye(2)),
        heads=family.heads([1.0]),
        tasks=family.tasks,
        phases=[mixture],
    )
    swept = single.replace_phase(0, until=xr.DataArray([0.12, 0.108], dims="level"))
    fine = ok.solve(single, max_step=0.02, method="RK45").phase_end.item()
    for run in (ok.solve(single, method=method), ok.solve(swept, method=method).isel(level=1)):
        assert run.phase_outcome.item() == ok.Outcome.THRESHOLD
        assert abs(run.phase_end.item() - fine) < 1e-5
