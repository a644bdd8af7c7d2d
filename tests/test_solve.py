"""From a problem to its dataset: options, rows, phases, interruptions."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit import Outcome, Status
from odekit.integrate.options import METHODS, default_times

START = ok.OrderParameters(
    Q=[[0.3, 0.05], [0.05, 0.2]], R=[[0.1, 0.02], [-0.03, 0.15]], T=np.eye(2)
)


def make(*phases, heads=None, tasks=None, state=START, **more):
    return ok.Problem(
        state=state,
        heads=heads or {"main": [1.0, 0.8]},
        tasks=tasks or {"main": ok.Task([1.0, 1.0], noise_std=0.1)},
        phases=phases or [ok.Phase("main", 50.0, 0.5)],
        **more,
    )


PROBLEM = make()


def trajectory(run):
    """Everything that is a number of the solution, on one axis a row."""
    parts = [run.Q, run.R, run.readout, run.generalization_error]
    return np.concatenate([part.values.reshape(run.sizes["time"], -1) for part in parts], axis=1)


# --------------------------------------------------------------------------------------- options

REFUSED = {
    "problem": ({"problem": START}, "Problem"),
    "method": ({"method": "euler"}, "'DOP853'"),
    "method of another type": ({"method": 5}, "'DOP853'"),
    "rtol": ({"rtol": 0.0}, "rtol"),
    "rtol below rounding": ({"rtol": 1e-16}, "2.2e-14"),
    "rtol NaN": ({"rtol": np.nan}, "finite"),
    "rtol of two": ({"rtol": [1e-6, 1e-6]}, "one number"),
    "atol": ({"atol": -1e-9}, "> 0"),
    "device": ({"device": "tpu"}, "'cpu'"),
    "max_step": ({"max_step": 0.0}, "max_step"),
    "first_step": ({"first_step": -1.0}, "first_step"),
    "steady_state": ({"steady_state": 0.0}, "steady_state"),
    "max_steps": ({"max_steps": 0}, "max_steps"),
    "max_steps as a float": ({"max_steps": 1e3}, "integer"),
    "max_seconds": ({"max_seconds": -1.0}, "max_seconds"),
    "checkpoint": ({"checkpoint": [1]}, "folder"),
    "checkpoint interval": ({"checkpoint": -1.0}, "seconds"),
    "empty times": ({"t_eval": []}, "t_eval"),
    "times of two axes": ({"t_eval": np.eye(2)}, "one axis"),
    "decreasing times": ({"t_eval": [2.0, 1.0]}, "increase strictly"),
    "repeated times": ({"t_eval": [1.0, 1.0]}, "increase strictly"),
    "times with NaN": ({"t_eval": [0.0, np.nan]}, "finite"),
    "masked times": ({"t_eval": np.ma.masked_array([0.0, 1.0], [False, True])}, "finite"),
    "times of text": ({"t_eval": "abc"}, "t_eval"),
    "times before the start": ({"t_eval": [-1.0, 1.0]}, "between 0"),
    "times after the end": ({"t_eval": [1.0, 51.0]}, "50"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_are_checked_before_anything_is_computed(name):
    options, said = REFUSED[name]
    problem = options.pop("problem", PROBLEM) if "problem" in options else PROBLEM
    with pytest.raises(ok.ProblemError) as caught:
        ok.solve(problem, **options)
    message = str(caught.value)
    assert said in message
    assert message.startswith("`")
    assert "\n" not in message


def test_rows_beyond_memory_are_refused():
    many = np.broadcast_to(0.0, 2**29)
    with pytest.raises(ok.ProblemError, match="t_eval"):
        ok.solve(PROBLEM, t_eval=many)


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_single_runs_are_made_on_the_cpu(device):
    assert ok.solve(PROBLEM, device=device).status == Status.COMPLETED


# ------------------------------------------------------------------------------------------ rows


@pytest.mark.parametrize("method", [*METHODS, None])
def test_rows_are_at_the_times_asked_for_and_nowhere_else(method):
    times = np.array([0.0, 0.1, 3.0, np.pi, 49.0, 50.0])
    run = ok.solve(PROBLEM, t_eval=times, method=method)
    np.testing.assert_array_equal(run.time, times)
    np.testing.assert_array_equal(run.Q[0], START.Q)
    np.testing.assert_array_equal(run.R[0], START.R)
    inner = ok.solve(PROBLEM, t_eval=times[2:5], method=method)
    np.testing.assert_array_equal(inner.time, times[2:5])
    assert (run.t_last, inner.t_last) == (50.0, 50.0)
    assert run.method.item() == (method or "DOP853")


@pytest.mark.parametrize("method", METHODS)
def test_methods_agree(method):
    """Within a hundred times rtol = 1e-8, BDF and LSODA (of low order) within 1e-5."""
    times = np.linspace(0, 50, 11)
    reference = ok.solve(PROBLEM, t_eval=times, method="DOP853", rtol=1e-12, atol=1e-14)
    run = ok.solve(PROBLEM, t_eval=times, method=method)
    tolerance = 1e-5 if method in ("BDF", "LSODA") else 1e-6
    np.testing.assert_allclose(trajectory(run), trajectory(reference), atol=tolerance)


def test_default_rows_are_even_over_short_spans_and_logarithmic_over_long_ones():
    np.testing.assert_allclose(np.diff(default_times(5.0)), 0.05)
    long = default_times(1e6)
    assert (long[0], long[-1], long.size <= 501) == (0.01, 1e6, True)
    np.testing.assert_allclose(np.diff(np.log(long)), np.log(1e8) / (long.size - 1))
    run = ok.solve(make(ok.Phase("main", 20.0, 0.5), ok.Phase("main", 5.0, 0.1)))
    assert run.time[0] == 0.0
    assert 20.0 in run.time
    assert run.time[-1] == 25.0
    assert (np.diff(run.time) > 0).all()
    # The second phase's rows start anew at its beginning.
    assert (run.time > 20).sum() == 100


@pytest.mark.parametrize("duration", [1e-300, 1e-3, 1e12])
def test_durations_of_any_size(duration):
    run = ok.solve(make(ok.Phase("main", duration, 0.5)))
    assert (run.status.item(), run.t_last.item()) == (Status.COMPLETED, duration)
    assert (np.diff(run.time) > 0).all()
    assert np.isfinite(trajectory(run)).all()


def test_the_row_at_a_switch_belongs_to_the_old_phase():
    run = ok.solve(
        make(ok.Phase("main", 1.0, 0.5), ok.Phase("main", 1.0, 0.1)), t_eval=[0.5, 1.0, 1.5, 2.0]
    )
    np.testing.assert_array_equal(run.phase, [0, 0, 1, 1])
    np.testing.assert_array_equal(run.phase_end, [1.0, 2.0])


def test_heads_copied_at_a_switch_show_in_the_row_after():
    problem = make(
        ok.Phase("a", 1.0, 0.5, readout_learning_rate=0.5),
        ok.Phase("b", 1.0, 0.5, copy_heads={"b": "a"}),
        heads={"a": [1.0, 0.5], "b": [0.0, 0.0]},
        tasks={"a": ok.Task([1.0, 0.0]), "b": ok.Task([0.0, 1.0])},
    )
    run = ok.solve(problem, t_eval=[1.0, 1.5])
    assert (run.readout.sel(time=1.0, head="b") == 0).all()
    np.testing.assert_array_equal(
        run.readout.sel(time=1.5, head="b"), run.readout.sel(time=1.0, head="a")
    )


# ------------------------------------------------------------------------------ schedules, events


def test_a_schedule_is_its_pieces():
    """A linear table that is constant on two stretches, with a ramp of 1e-6 between them."""
    table = ok.Schedule([0.0, 10.0, 10.0 + 1e-6, 30.0], [0.5, 0.5, 0.1, 0.1])
    one = ok.solve(make(ok.Phase("main", 30.0, table)), t_eval=[5.0, 10.0, 20.0, 30.0])
    two = ok.solve(
        make(ok.Phase("main", 10.0, 0.5), ok.Phase("main", 20.0, 0.1)),
        t_eval=[5.0, 10.0, 20.0, 30.0],
    )
    # The ramp lasts 1e-6 longer than the jump: a difference of about 1e-7 at these rates.
    np.testing.assert_allclose(trajectory(one), trajectory(two), atol=1e-6)


@pytest.mark.parametrize("method", [*METHODS, None])
def test_a_spike_in_a_long_table_is_not_stepped_over(method):
    """Nothing moves but within two of ten thousand: a long step would see none of it."""
    values = np.zeros(10_001)
    values[7001] = 0.5
    long = ok.Schedule(np.arange(10_001.0), values)
    short = ok.Schedule([0.0, 1.0, 2.0], [0.0, 0.5, 0.0])
    options = {"method": method, "rtol": 1e-6, "atol": 1e-9}
    whole = ok.solve(make(ok.Phase("main", 1e4, long)), t_eval=[1e4], **options)
    spike = ok.solve(make(ok.Phase("main", 2.0, short)), t_eval=[2.0], **options)
    # A hundred times rtol.
    np.testing.assert_allclose(trajectory(whole), trajectory(spike), atol=1e-4)
    assert np.abs(whole.Q.values[0] - START.Q).max() > 1e-3


def test_a_schedule_counts_from_the_start_of_its_phase():
    ramp = ok.Schedule([0.0, 10.0], [0.0, 0.5])
    late = ok.solve(make(ok.Phase("main", 7.0, 0.0), ok.Phase("main", 10.0, ramp)), t_eval=[17.0])
    early = ok.solve(make(ok.Phase("main", 10.0, ramp)), t_eval=[10.0])
    np.testing.assert_allclose(trajectory(late), trajectory(early), atol=1e-8)


@pytest.mark.parametrize("method", ["DOP853", "Radau", "LSODA"])
def test_a_function_is_its_table(method):
    """η = ½/(1 + t) in steps/N is the flow at η = ½ in the time log(1 + t), without the η² term."""
    end = np.expm1(10.0)
    phase = ok.Phase("main", end, lambda t: 0.5 / (1 + t), gradient_flow=True)
    slow = ok.solve(make(phase), t_eval=[np.expm1(3.0), end], method=method)
    fast = ok.solve(
        make(ok.Phase("main", 10.0, 0.5, gradient_flow=True)), t_eval=[3.0, 10.0], method=method
    )
    np.testing.assert_allclose(trajectory(slow), trajectory(fast), atol=1e-6)


def test_until_ends_a_phase_at_its_threshold_and_the_next_goes_on_from_there():
    problem = make(
        ok.Phase("main", 1e4, 0.5, until=0.02), ok.Phase("main", 5.0, 0.1), heads={"main": [1, 1]}
    )
    run = ok.solve(problem)
    switch = run.phase_end[0].item()
    assert run.phase_outcome.values.tolist() == [Outcome.THRESHOLD, Outcome.DURATION]
    assert switch < 1e4
    assert run.generalization_error.sel(time=switch).item() == pytest.approx(0.02, rel=1e-9)
    assert run.t_last == switch + 5.0
    assert (run.generalization_error.where(run.phase == 0, drop=True) >= 0.02 * (1 - 1e-9)).all()


def test_until_of_several_tasks_waits_for_the_last():
    problem = make(
        ok.Phase({"a": 0.5, "b": 0.5}, 1e4, 0.3, readout_learning_rate=0.3, until=0.05),
        heads={"a": [0.5, 0.1], "b": [0.1, 0.5]},
        tasks={"a": ok.Task([1.0, 0.0]), "b": ok.Task([0.0, 0.3])},
    )
    run = ok.solve(problem)
    last = run.generalization_error.isel(time=-1)
    assert last.max() == pytest.approx(0.05, rel=1e-9)
    assert last.min() < 0.05


def test_until_below_the_noise_floor_is_missed():
    run = ok.solve(make(ok.Phase("main", 30.0, 0.5, until=1e-12)))
    assert run.phase_outcome.item() == Outcome.THRESHOLD_MISSED
    assert run.status == Status.COMPLETED


# -------------------------------------------------------------------------------- standing still


def test_a_steady_state_ends_a_phase_but_a_plateau_does_not():
    """Symmetric plateau of K = M = 2: everything stands still for long, at an error of 0.02, before
    the units specialise."""
    start = ok.OrderParameters.draw(student=2, teacher=2, weight_std=1e-6, input_dim=10**10, seed=7)
    problem = make(
        ok.Phase("main", 1e6, 0.3),
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0])},
        state=start,
    )
    run = ok.solve(problem, steady_state=1e-5)
    error = run.generalization_error.sel(task="main")
    assert ((error > 0.01) & (error < 0.03)).sum() > 5
    assert run.phase_outcome.item() == Outcome.STEADY
    assert error[-1] < 1e-6
    assert 200 < run.t_last < 1e5


def test_nothing_moves_at_rate_zero():
    run = ok.solve(make(ok.Phase("main", 1e6, 0.0)), t_eval=[1e6])
    np.testing.assert_array_equal(run.Q[0], START.Q)
    np.testing.assert_array_equal(run.readout[0, 0], [1.0, 0.8])


# ------------------------------------------------------------------------------ numerical failure


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_divergence_is_a_status_with_the_rows_before_it():
    problem = make(ok.Phase("main", 1e3, 50.0), ok.Phase("main", 10.0, 0.1), activation="linear")
    run = ok.solve(problem)
    assert run.status == Status.BLOW_UP
    assert run.phase_outcome.values.tolist() == [Outcome.FAILED, Outcome.NOT_STARTED]
    assert np.isnan(run.phase_end[1])
    assert run.time[-1] == run.t_last
    assert run.sizes["time"] > 2
    assert np.isfinite(run.Q).all()
    assert "lower" in Status(run.status.item()).remedy


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_budgets_keep_the_rows_and_the_last_point():
    steps = ok.solve(PROBLEM, max_steps=5)
    assert (steps.status, steps.n_steps) == (Status.STEP_BUDGET, 5)
    assert 0 < steps.time[-1] == steps.t_last < 50
    whole = ok.solve(PROBLEM)
    assert ok.solve(PROBLEM, max_steps=whole.n_steps.item()).status == Status.COMPLETED
    seconds = ok.solve(make(ok.Phase("main", 1e3, 0.5)), max_step=1e-4, max_seconds=0.2)
    assert seconds.status == Status.TIME_BUDGET
    assert seconds.time[-1] == seconds.t_last


def test_counts_are_those_of_the_work_done():
    run = ok.solve(PROBLEM, method="RK45")
    assert run.n_rhs >= 6 * run.n_steps
    assert run.n_jac == 0
    assert ok.solve(PROBLEM, method="Radau").n_jac > 0


# ---------------------------------------------------------------------------------- interruptions

SCRIPT = """
    import sys
    import odekit as ok
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.0]], T=[[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0])},
        phases=[ok.Phase("main", 1e3, 0.5)],
    )
    ok.solve(problem, t_eval=[1.0])
    print("ready", flush=True)
    run = ok.solve(problem, max_step=1e-3, method="RK45")
    print(ok.Status(run.status.item()).word, run.sizes["time"], bool(run.t_last == run.time[-1]))
"""


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_keep_what_was_computed(number):
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.3)
    child.send_signal(number)
    out, err = child.communicate(timeout=20)
    assert "NotCompletedWarning: the run ended at t = " in err
    assert child.returncode == 0
    word, rows, last = out.split()
    assert (word, last) == ("interrupted", "True")
    assert int(rows) > 1


def test_handlers_of_signals_are_put_back():
    before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
    ok.solve(PROBLEM)
    with pytest.raises(ok.ProblemError):
        ok.solve(PROBLEM, rtol=-1.0)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before


def test_threads_solve_without_handlers_and_alike():
    runs = []
    threads = [threading.Thread(target=lambda: runs.append(ok.solve(PROBLEM))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        np.testing.assert_array_equal(trajectory(run), trajectory(ok.solve(PROBLEM)))


def test_progress_goes_to_stderr_and_ends(capfd):
    ok.solve(make(ok.Phase("main", 1e3, 0.5)), progress=True, max_step=0.1)
    out, err = capfd.readouterr()
    assert out == ""
    assert "100%" in err.replace("100.0%", "100%")
    assert err.endswith("\n")
    assert "inf" not in err
    ok.solve(PROBLEM)
    assert capfd.readouterr() == ("", "")


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_progress_of_a_run_that_stops_early_ends_its_line(capfd):
    ok.solve(make(ok.Phase("main", 1e3, 0.5)), progress=True, max_step=0.1, max_steps=100)
    err = capfd.readouterr().err
    assert err.endswith("\n")
    assert "100%" not in err


# ---------------------------------------------------------------------------------------- restart


def test_the_last_row_of_a_run_is_a_state_to_start_from():
    problem = make(
        ok.Phase("main", 1e3, 0.3, gradient_flow=True), activation="linear", heads={"main": [1, 1]}
    )
    last = ok.solve(problem).isel(time=-1)
    state = ok.OrderParameters(Q=last.Q.values, R=last.R.values, T=last["T"].values)
    assert ok.solve(problem.replace(state=state)).status == Status.COMPLETED
    labelled = ok.OrderParameters(Q=last.Q, R=last.R, T=last["T"])
    np.testing.assert_array_equal(labelled.Q, state.Q)


def test_labelled_numbers_without_a_dim_are_numbers():
    eta = xr.DataArray([0.5, 0.1], dims="eta", coords={"eta": [0.5, 0.1]}).isel(eta=0)
    run = ok.solve(make(ok.Phase("main", 50.0, eta)), t_eval=[50.0])
    np.testing.assert_array_equal(trajectory(run), trajectory(ok.solve(PROBLEM, t_eval=[50.0])))
    assert run.Q.dims == ("time", "student", "student_other")
