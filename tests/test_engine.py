"""The compiled engine against tight single runs, and what a trajectory owes to itself alone."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.engine import Engine, suits
from odekit.options import SolverOptions
from odekit.sweep import at, axes, points
from random_problems import FEATURES, random_problem, swept

TIGHT = {"method": "DOP853", "rtol": 1e-12, "atol": 1e-15}
METHODS = {None: 1e-8, "RK23": 1e-5, "RK45": 1e-6, "Rodas5P": 1e-7}
"""The tolerance at which each method takes 20 to 150 steps on these problems."""
FACTOR = {None: 5.0, "RK23": 20.0, "RK45": 5.0, "Rodas5P": 5.0}
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


def labelled(dim, *values):
    return xr.DataArray(np.array(values, dtype=float), dims=dim)


def soft(*phases, K=2, std=0.5, heads=None, seed=3, activation="erf", noise=0.0):
    state = ok.OrderParameters.draw(student=K, teacher=2, weight_std=std, input_dim=500, seed=seed)
    v = np.linspace(1.0, 0.6, K) if heads is None else heads
    return ok.Problem(state, {"main": v}, {"main": ok.Task([1.0, 0.7], noise)}, phases, activation)


def simple(duration=5.0, rate=None, **more):
    rate = labelled("eta", 0.3, 0.5) if rate is None else rate
    return soft(ok.Phase("main", duration, rate, **more))


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


# ------------------------------------------------------------------- bits: threads, chunks, company

VALUES = ("Q", "R", "readout", "generalization_error", "n_steps", "n_rhs", "n_jac", "t_last")


def assert_bits(got, expected):
    for name in (*VALUES, "status", "phase", "phase_end", "phase_outcome", "method"):
        np.testing.assert_array_equal(got[name].values, expected[name].values, err_msg=name)


def company():
    """Nineteen trajectories: long and implicit ones, some with events."""
    rates = labelled("eta", *np.geomspace(0.05, 2.5, 19))
    return soft(
        ok.Phase("main", 20.0, rates, readout_learning_rate=0.3, until=0.02),
        ok.Phase("main", 3e4, 0.3),
        noise=0.05,
    )


TIMES = np.concatenate([[0.0], np.geomspace(0.1, 3e4, 12)])


@pytest.fixture(scope="module")
def reference():
    run = ok.solve(company(), t_eval=TIMES, threads=1, rtol=1e-7)
    assert (run.status == ok.Status.COMPLETED).all()
    both = {ok.Outcome.THRESHOLD, ok.Outcome.THRESHOLD_MISSED}
    assert set(run.phase_outcome.values[:, 0]) == both
    assert "Rodas5P" in "".join(run.method.values.ravel())
    return run


@pytest.mark.parametrize("threads", [2, 3, 40])
def test_threads_change_no_bit(reference, threads):
    assert_bits(ok.solve(company(), t_eval=TIMES, threads=threads, rtol=1e-7), reference)


@pytest.mark.parametrize("size", [1, 7, 9])
def test_chunks_change_no_bit(reference, size):
    assert_bits(ok.solve(company(), t_eval=TIMES, chunk_size=size, rtol=1e-7), reference)


def test_order_and_company_change_no_bit(reference):
    problem = company()
    order = np.random.default_rng(0).permutation(19)
    mixed = problem.replace_phase(0, learning_rate=problem.phases[0].learning_rate[order])
    assert_bits(ok.solve(mixed, t_eval=TIMES, rtol=1e-7), reference.isel(eta=order))
    few = problem.replace_phase(0, learning_rate=problem.phases[0].learning_rate[[4]])
    assert_bits(ok.solve(few, t_eval=TIMES, rtol=1e-7), reference.isel(eta=[4]))


def test_divergence_in_one_trajectory_changes_no_bit_of_the_others():
    def run(*rates):
        phase = ok.Phase("main", 100.0, labelled("eta", *rates))
        return ok.solve(soft(phase, activation="linear"), t_eval=[0.0, 10.0, 100.0], threads=1)

    rates = np.linspace(0.1, 0.5, 9)
    clean, mixed = run(*rates), run(6.0, *rates[:5], 4.0, *rates[5:])
    assert_bits(mixed.isel(eta=[1, 2, 3, 4, 5, 7, 8, 9, 10]), clean)
    assert (mixed.status[[0, 6]] == ok.Status.BLOW_UP).all()


def test_nan_in_one_trajectory_changes_no_bit_of_the_others():
    problem = company()
    found, options = axes(problem), SolverOptions(rtol=1e-7)

    class Nobody:
        asked = False

    def run(bad):
        engine = Engine(problem, found, options, TIMES, 1, Nobody())
        start = engine.layout.start

        def spoiled():
            frame, y = start()
            y[bad] = np.nan
            return frame, y

        engine.layout.start = spoiled
        return engine.run()

    clean, spoiled = run([]), run([2, 11])
    others = [i for i in range(19) if i not in (2, 11)]
    for name in (*VALUES, "status", "phase_end"):
        np.testing.assert_array_equal(clean[name][others], spoiled[name][others], err_msg=name)
    assert (spoiled["status"][[2, 11]] == ok.Status.NONFINITE).all()
    assert (spoiled["t_last"][[2, 11]] == 0.0).all()


def test_concurrent_callers(reference):
    with ThreadPoolExecutor(4) as pool:
        runs = [
            pool.submit(ok.solve, company(), t_eval=TIMES, rtol=1e-7, threads=2) for _ in range(6)
        ]
        for run in runs:
            assert_bits(run.result(), reference)


def solve_company(_):
    return ok.solve(company(), t_eval=TIMES, rtol=1e-7, threads=2).load()


def test_processes_that_are_spawned(reference):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        assert_bits(pool.submit(solve_company, 0).result(timeout=200), reference)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork_after_use(reference):
    """No thread of the engine outlives a call, so that a forked child can compute."""
    solve_company(0)
    before = threading.active_count()
    context = multiprocessing.get_context("fork")
    child = context.Process(target=compare_in_child, args=(reference,))
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert threading.active_count() == before


def compare_in_child(reference):
    assert_bits(solve_company(0), reference)


LAYER = """
import numpy as np, numba, odekit as ok, xarray as xr
from concurrent.futures import ThreadPoolExecutor
problem = ok.Problem(
    ok.OrderParameters(Q=[[0.4]], R=[[0.1]], T=[[1.0]]), {"main": [1.0]},
    {"main": ok.Task([1.0])},
    [ok.Phase("main", 10.0, xr.DataArray(np.linspace(0.1, 1.5, 40), dims="eta"))])
def one(threads):
    return ok.solve(problem, t_eval=[0.0, 3.0, 10.0], threads=threads).Q.values
with ThreadPoolExecutor(3) as pool:
    runs = list(pool.map(one, [1, 2, 3]))
assert (runs[0] == runs[1]).all() and (runs[0] == runs[2]).all()
print(runs[0].sum())
"""


@pytest.mark.parametrize("layer", ["workqueue", "omp"])
def test_threading_layers_of_numba(layer):
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LAYER],
        env={**os.environ, "NUMBA_THREADING_LAYER": layer},
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


# ----------------------------------------------------------------------------------------- statuses


def assert_kept(run, status):
    """What was computed is there up to `t_last`, and nothing after."""
    assert (run.status == status).all(), run.status.values
    for i in range(run.sizes["eta"]):
        one = run.isel(eta=i)
        before = one.time.values <= float(one.t_last)
        assert np.isfinite(one.Q.values[before]).all()
        assert np.isnan(one.Q.values[~before]).all()
        assert (one.phase.values[~before] == -1).all()
        assert ok.Outcome.FAILED in one.phase_outcome.values
        failed = list(one.phase_outcome.values).index(ok.Outcome.FAILED)
        assert float(one.phase_end[failed]) == float(one.t_last)
        assert (one.phase_outcome[failed + 1 :] == ok.Outcome.NOT_STARTED).all()
        assert np.isnan(one.phase_end[failed + 1 :]).all()


@pytest.mark.parametrize("method", [None, "RK23", "Rodas5P"])
def test_divergence(method):
    """A linear unit beyond its largest rate: exponential growth past all bounds."""
    problem = soft(
        ok.Phase("main", 2000.0, labelled("eta", 4.0, 6.0)), ok.Phase("main", 1.0, 0.1),
        activation="linear",
    )  # fmt: skip
    run = ok.solve(problem, method=method, t_eval=np.linspace(0.0, 2001.0, 3000))
    assert_kept(run, ok.Status.BLOW_UP)
    assert (run.t_last > 1.0).all()


@pytest.mark.parametrize("method", [None, "Rodas5P"])
def test_budget_of_steps(method):
    problem = soft(ok.Phase("main", 5.0, labelled("eta", 0.3, 0.5)), ok.Phase("main", 1.0, 0.1))
    run = ok.solve(problem, method=method, max_steps=10)
    assert_kept(run, ok.Status.STEP_BUDGET)
    assert (run.n_steps == 10).all()
    assert (run.t_last > 0).all()


def test_budget_of_time():
    times = np.linspace(0.0, 1e6, 5)
    run = ok.solve(simple(1e6), max_seconds=0.3, max_step=1e-3, t_eval=times)
    assert_kept(run, ok.Status.TIME_BUDGET)
    assert (run.t_last > 0).all()


@pytest.mark.parametrize("method", [None, "Rodas5P"])
def test_tolerances_below_rounding_stall(method):
    """At rtol = 1e-13 and no help of atol no step is ever good enough, or all are: never a hang."""
    run = ok.solve(simple(5.0), method=method, rtol=1e-13, atol=1e-18, max_seconds=20.0)
    assert set(run.status.values) <= {ok.Status.STALLED, ok.Status.COMPLETED}


@pytest.mark.parametrize("method", [None, "Rodas5P"])
def test_a_pace_that_leads_nowhere(method):
    """Steps of 10⁻³ would need 10¹⁰ of them: told after some thousands."""
    problem = soft(ok.Phase("main", 1e7, labelled("eta", 0.3, 0.5)), ok.Phase("main", 1.0, 0.1))
    run = ok.solve(problem, method=method, max_step=1e-3, t_eval=[0.0, 1.0, 1e6, 1e7])
    assert_kept(run, ok.Status.STALLED)
    assert (run.n_steps < 50_000).all()
    np.testing.assert_allclose(run.t_last, 1e-3 * run.n_steps, rtol=1e-2)


@pytest.mark.parametrize("method", ["RK45", "Rodas5P", None])
def test_units_that_die_stall(method):
    """Two ReLU units whose readouts have the wrong sign: the derivative jumps where they die."""
    phase = ok.Phase("main", 30.0, labelled("eta", 0.5, 0.7), gradient_flow=True)
    problem = soft(phase, heads=[-0.5, -1.0], seed=4, activation="relu", std=0.6)
    run = ok.solve(problem, method=method, max_seconds=60.0)
    assert_kept(run, ok.Status.STALLED)
    assert (run.t_last > 1.0).all()


class Clock:
    """Asks to stop after some looks, or after some seconds."""

    def __init__(self, looks=10**9, seconds=np.inf):
        self.looks, self.end = looks, time.monotonic() + seconds

    @property
    def asked(self):
        self.looks -= 1
        return self.looks <= 0 or time.monotonic() > self.end


@pytest.mark.parametrize("method", [None, "Rodas5P"])
@pytest.mark.parametrize("threads", [1, 2])
def test_interrupted(method, threads):
    problem = simple(1e6, rate=labelled("eta", *np.linspace(0.1, 0.5, 20)))
    options = SolverOptions(method=method, max_step=1e-2)
    times = np.linspace(0.0, 1e6, 5)
    arrays = Engine(problem, axes(problem), options, times, threads, Clock(seconds=0.5)).run()
    assert (arrays["status"] == ok.Status.INTERRUPTED).all()
    assert (arrays["t_last"] > 0).any()
    np.testing.assert_array_equal(arrays["phase_end"][:, 0], arrays["t_last"])
    assert np.isfinite(arrays["phase_end_error"]).all()


@pytest.mark.parametrize("method", ["RK45", "Rodas5P"])
def test_large_students_stop_in_time_too(method):
    """A step of 108 numbers in eight lanes takes milliseconds, one of 9 a thousandth of that."""
    phase = ok.Phase("main", 1e5, labelled("eta", *np.linspace(0.1, 0.5, 8)))
    state = ok.OrderParameters.draw(student=8, teacher=8, weight_std=0.5, input_dim=500, seed=1)
    problem = ok.Problem(state, {"main": [1.0] * 8}, {"main": ok.Task([1.0] * 8)}, [phase])
    options = SolverOptions(method=method, max_step=1e-2)
    clock = Clock(seconds=0.3)
    arrays = Engine(problem, axes(problem), options, np.array([0.0, 1e5]), 1, clock).run()
    assert time.monotonic() < clock.end + 1.0
    assert (arrays["status"] == ok.Status.INTERRUPTED).all()
    assert (arrays["t_last"] > 0).all()


SIGNAL = """
import os, signal, sys, threading, time
import numpy as np, odekit as ok, xarray as xr
problem = ok.Problem(
    ok.OrderParameters(Q=[[0.4]], R=[[0.1]], T=[[1.0]]), {"main": [1.0]},
    {"main": ok.Task([1.0])},
    [ok.Phase("main", 1e6, xr.DataArray(np.linspace(0.1, 1.5, 20), dims="eta"))])
ok.solve(problem.replace_phase(0, duration=1.0))
threading.Timer(1.0, os.kill, (os.getpid(), int(sys.argv[1]))).start()
run = ok.solve(problem, t_eval=[0.0, 1e6], max_step=1e-3, threads=2)
assert (run.status == ok.Status.INTERRUPTED).all(), run.status
assert (run.t_last > 0).any()
print("kept")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(number):
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL, str(int(number))],
        capture_output=True, text=True, check=False, timeout=200,
    )  # fmt: skip
    assert done.stdout == "kept\n", done.stderr


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
    for options in ({"method": "LSODA"}, {"method": "DOP853"}, {"steady_state": 1e-6}):
        assert not suits(problem, SolverOptions(**options))
    run = ok.solve(problem, method="DOP853", t_eval=[0.0, 5.0])
    assert (run.method == "DOP853").all()
    usual = ok.solve(problem, t_eval=[0.0, 5.0])
    np.testing.assert_allclose(run.Q, usual.Q, rtol=0, atol=1e-7)


def test_probabilities_are_those_of_a_single_run():
    """Given to nine digits they sum to one only roughly."""
    mixture = {"a": 1 / 3 + 5e-10, "b": 2 / 3}
    problem = random_problem(0, "online").replace(
        phases=[ok.Phase(mixture, 3.0, swept("eta", 0.5))]
    )
    options = {"t_eval": [3.0], "rtol": 1e-12, "atol": 1e-15}
    run, alone = ok.solve(problem, **options), ok.solve(at(problem, {"eta": 0}), **options)
    np.testing.assert_allclose(run.Q.isel(eta=0), alone.Q, rtol=0, atol=2e-11)
