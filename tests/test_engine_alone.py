"""What a trajectory of the engine owes to itself alone, and how it ends where it fails."""

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

import odekit as ok
from odekit.integrate.compiling import NOTICE
from odekit.integrate.engine import Engine
from odekit.integrate.options import SolverOptions
from odekit.problem.axes import axes
from random_problems import labelled, simple, soft

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


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
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
        start = engine.points.start

        def spoiled():
            frame, y = start()
            y[bad] = np.nan
            return frame, y

        engine.points.start = spoiled
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
    assert done.stderr in ("", f"{NOTICE}\n")


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


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
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


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("method", [None, "Rodas5P"])
def test_budget_of_steps(method):
    problem = soft(ok.Phase("main", 5.0, labelled("eta", 0.3, 0.5)), ok.Phase("main", 1.0, 0.1))
    run = ok.solve(problem, method=method, max_steps=10)
    assert_kept(run, ok.Status.STEP_BUDGET)
    assert (run.n_steps == 10).all()
    assert (run.t_last > 0).all()


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
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


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("method", [None, "Rodas5P"])
def test_a_pace_that_leads_nowhere(method):
    """Steps of 10⁻³ would need 10¹⁰ of them: told after some thousands."""
    problem = soft(ok.Phase("main", 1e7, labelled("eta", 0.3, 0.5)), ok.Phase("main", 1.0, 0.1))
    run = ok.solve(problem, method=method, max_step=1e-3, t_eval=[0.0, 1.0, 1e6, 1e7])
    assert_kept(run, ok.Status.STALLED)
    assert (run.n_steps < 50_000).all()
    np.testing.assert_allclose(run.t_last, 1e-3 * run.n_steps, rtol=1e-2)


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("method", ["RK45", "Rodas5P", None])
def test_units_that_die(method):
    """Two ReLU units whose readouts have the wrong sign: they fall to zero and stay there."""
    phase = ok.Phase("main", 30.0, labelled("eta", 0.5, 0.7), gradient_flow=True)
    problem = soft(phase, heads=[-0.5, -1.0], seed=4, activation="relu", std=0.6)
    run = ok.solve(problem, method=method, max_seconds=60.0)
    assert (run.status == ok.Status.COMPLETED).all()
    assert float(abs(run.Q[:, -1]).max()) == 0.0
    assert (run.n_steps < 2000).all()


class Clock:
    """Asks to stop after some looks, or after some seconds."""

    def __init__(self, looks=10**9, seconds=np.inf):
        self.looks, self.end = looks, time.monotonic() + seconds

    @property
    def asked(self):
        self.looks -= 1
        return self.looks <= 0 or time.monotonic() > self.end


def compile_for(problem, options):
    """Before a clock runs: kernels of these sizes may not have been needed yet."""
    short = problem.replace_phase(0, duration=0.02)
    Engine(short, axes(short), options, np.array([0.0, 0.02]), 1, Clock(seconds=600.0)).run()


@pytest.mark.parametrize("method", [None, "Rodas5P"])
@pytest.mark.parametrize("threads", [1, 2])
def test_interrupted(method, threads):
    problem = simple(1e6, rate=labelled("eta", *np.linspace(0.1, 0.5, 20)))
    options = SolverOptions(method=method, max_step=1e-2)
    times = np.linspace(0.0, 1e6, 5)
    compile_for(problem, options)
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
    compile_for(problem, options)
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
