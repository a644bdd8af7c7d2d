"""`simulate`: the theory's dataset from networks; its arguments; what it is reproducible in."""

from __future__ import annotations

import json
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.systems.committee import network, quadrature
from odekit.systems.committee import simulation as twin
from odekit.training import course as trajectory
from odekit.verbs.validate import validate
from odekit_kernels.committee.quadrature import hermite
from test_against_sgd import flat, one_phase, sample, switch, two_teachers
from test_sgd_kernel import NOT_COMPILED, hidden_erf

ROOT = (2 / np.pi) ** 0.5
NAMES = ["Q", "R", "readout", "generalization_error"]


def short(**settings):
    return two_teachers([one_phase("a", 1.0), one_phase("b", 2.0, **settings)])


def same(a, b):
    assert a.sizes == b.sizes
    for name in NAMES:
        np.testing.assert_array_equal(a[name].values, b[name].values)


def etas(*values):
    return xr.DataArray(np.array(values), dims="eta", coords={"eta": np.array(values)})


# ------------------------------------------------------------------------------------ the dataset


def test_it_is_the_dataset_of_the_theory():
    problem = short(consolidation=switch("fisher"))
    run, sim = ok.solve(problem), ok.simulate(problem, input_dim=200, seed=0)
    assert set(run.variables) - {"n_jac", "method"} == set(sim.variables)
    assert all(run[name].dims == sim[name].dims for name in sim.variables)
    assert all(run[name].dtype == sim[name].dtype for name in sim.variables)
    for name in ("time", "T", "phase", "phase_end", "phase_outcome", "status", "t_last"):
        np.testing.assert_array_equal(run[name], sim[name])
    assert int(sim.n_steps) == 600
    difference = run - sim
    assert set(NAMES) <= set(difference.variables)
    assert float(abs(difference.Q[0]).max()) < 1e-14


def test_every_law_holds_and_files_keep_it(tmp_path):
    sim = ok.simulate(short(), input_dim=150, seed=0, replicas=2)
    assert all(v.holds for v in validate(sim)), validate(sim)
    ok.save(sim, tmp_path / "sim.nc")
    xr.testing.assert_identical(ok.open(tmp_path / "sim.nc"), sim)
    words = json.loads(sim.attrs["odekit_simulation"])
    known = {"input_dim": 150, "seed": 0, "replicas": 2, "check_every": 0.1, "method": "overlaps"}
    assert words == known
    assert "gradient descent in N = 150" in sim.attrs["source"]


def test_rows_are_where_they_were_asked_for():
    times = [0.0, 0.31, 1.0, 2.9]
    sim = ok.simulate(short(), input_dim=100, seed=0, t_eval=times)
    np.testing.assert_array_equal(sim.time, times)
    np.testing.assert_array_equal(sim.phase, [0, 0, 0, 1])
    later = ok.simulate(short(), input_dim=100, seed=0, t_eval=times[2:])
    same(sim.isel(time=slice(2, None)), later)


@pytest.mark.parametrize("until", [None, 0.1])
def test_few_steps_have_as_many_rows(until):
    """Rows are closer than steps, a phase has no step at all, and a threshold falls between."""
    problem = two_teachers(
        [
            one_phase("a", 0.001),
            one_phase("a", 3.0, until=until, learning_rate=2.0),
            one_phase("b", 0.5),
        ]
    )
    times = np.linspace(0, 3.501, 200)
    sim = ok.simulate(problem, input_dim=7, seed=0, t_eval=times, check_every=0.3)
    reached = times <= float(sim.t_last)
    np.testing.assert_array_equal(sim.time, times[reached])
    assert np.isfinite(sim.Q).all()
    assert (np.diff(sim.phase) >= 0).all()
    ends = [0.001, float(sim.phase_end[1])]
    np.testing.assert_array_equal(sim.phase, np.searchsorted(ends, sim.time))


def test_a_row_at_a_switch_is_taken_before_it():
    heads = {"b": "a"}
    sim = ok.simulate(short(copy_heads=heads), input_dim=100, seed=0, t_eval=[1.0, 1.01])
    np.testing.assert_array_equal(sim.readout[0].sel(head="b"), short().heads["b"])
    assert abs(sim.readout[1].sel(head="b") - sim.readout[0].sel(head="a")).max() < 0.05


# ------------------------------------------------------------------------------- reproducibility


@pytest.mark.parametrize("method", ["overlaps", "weights"])
def test_threads_do_not_matter(method):
    problem = short(learning_rate=etas(0.3, 0.8))
    keywords = {"input_dim": 100, "seed": 3, "replicas": 6, "method": method}
    runs = [ok.simulate(problem, threads=threads, **keywords) for threads in (1, 2, 5)]
    same(runs[0], runs[1])
    same(runs[0], runs[2])


@pytest.mark.parametrize("method", ["overlaps", "weights"])
def test_a_point_of_a_sweep_is_the_run_of_that_point(method):
    problem, keywords = short(), {"input_dim": 100, "seed": 3, "method": method}
    swept = problem.replace_phase(1, learning_rate=etas(0.3, 0.8))
    sweep = ok.simulate(swept, replicas=2, **keywords)
    assert sweep.Q.dims[:3] == ("eta", "replica", "time")
    for eta in (0.3, 0.8):
        one = problem.replace_phase(1, learning_rate=eta)
        same(sweep.sel(eta=eta), ok.simulate(one, replicas=2, **keywords))
        same(sweep.sel(eta=eta, replica=0), ok.simulate(one, **keywords))


def test_seeds_and_replicas_differ():
    sim = ok.simulate(short(), input_dim=100, seed=3, replicas=3)
    other = ok.simulate(short(), input_dim=100, seed=4)
    last = sim.Q[:, -1, 0, 0].values
    assert len({*last, float(other.Q[-1, 0, 0])}) == 4


# ------------------------------------------------------------------------- against another program


def test_another_simulator_has_the_same_mean_and_spread():
    """`sgd.py` of the tests shares no line with the kernels: everything at once, two samples."""
    problem = two_teachers(
        [
            one_phase({"a": 0.6, "b": 0.4}, 2.0, batch_size=2, weight_decay=0.2),
            one_phase("b", 2.0, consolidation=switch("fisher", 2.0, "a"), frozen=[False, True]),
        ]
    )
    times, n = [1.0, 2.0, 4.0], 64
    other = sample(problem, 200, n, times)
    sim = ok.simulate(problem, input_dim=200, seed=0, replicas=n, t_eval=times, method="weights")
    blocks = [sim[name].values for name in NAMES[:3]]
    ours = np.array([flat(*(block[i] for block in blocks)) for i in range(n)])
    error = np.sqrt((ours.var(axis=0, ddof=1) + other.var(axis=0, ddof=1)) / n)
    assert (np.abs(ours.mean(axis=0) - other.mean(axis=0)) < 4 * error + 1e-12).all()
    moving = other.std(axis=0) > 1e-9
    ratio = np.log(ours.std(axis=0)[moving] / other.std(axis=0)[moving])
    # The log of a standard deviation of n normal numbers has the standard error 1/√(2n).
    assert np.abs(ratio).max() < 4 * np.sqrt(2 / (2 * n))


# ---------------------------------------------------------------------------- thresholds, schedules


def threshold_problem(**settings):
    return two_teachers(
        [one_phase("a", 20.0, until=0.05, learning_rate=1.0, **settings), one_phase("b", 1.0)]
    )


def test_thresholds_end_a_phase_at_a_look():
    problem = threshold_problem()
    sim = ok.simulate(problem, input_dim=1000, seed=0, check_every=0.05)
    end = float(sim.phase_end[0])
    assert sim.phase_outcome[0] == ok.Outcome.THRESHOLD
    assert end / 0.05 == pytest.approx(round(end / 0.05), abs=1e-9)
    assert float(sim.phase_end_error[0].sel(task="a")) <= 0.05
    before = sim.generalization_error.sel(task="a").where(sim.time <= end - 0.05, drop=True)
    assert (before > 0.05).all()
    theory = float(ok.solve(problem).phase_end[0])
    assert abs(end - theory) < 0.3
    np.testing.assert_allclose(sim.phase_end[1], end + 1.0)
    assert sim.time[-1] == sim.phase_end[1]
    assert int(sim.n_steps) == round(1000 * float(sim.t_last))
    np.testing.assert_array_equal(sim.phase, np.where(sim.time <= end, 0, 1))


def test_replicas_that_end_at_different_times_share_an_axis():
    sim = ok.simulate(threshold_problem(), input_dim=100, seed=0, replicas=3)
    assert len(np.unique(sim.phase_end[:, 0])) > 1
    for i in range(3):
        reached = sim.time <= float(sim.t_last[i])
        assert (np.isfinite(sim.Q[i, :, 0, 0]) == reached).all()
    assert np.isfinite(sim.phase_end_error).all()


def test_a_missed_threshold_is_said():
    problem = two_teachers([one_phase("a", 0.5, until=1e-6)])
    sim = ok.simulate(problem, input_dim=100, seed=0)
    assert sim.phase_outcome[0] == ok.Outcome.THRESHOLD_MISSED


def test_a_threshold_met_at_the_start():
    problem = two_teachers([one_phase("a", 0.5, until=100.0), one_phase("b", 1.0)])
    sim = ok.simulate(problem, input_dim=100, seed=0)
    assert sim.phase_end[0] == 0
    assert sim.t_last == 1.0


@pytest.mark.parametrize("interpolation", ["linear", "cubic"])
def test_schedules_are_followed_step_by_step(interpolation):
    """A table that stands still is a number; one that falls lies between its ends."""
    still = ok.Schedule([0.0, 0.7, 2.0], [0.8, 0.8, 0.8], interpolation)
    problem = two_teachers([one_phase("a", 2.0)])
    a = ok.simulate(problem, input_dim=100, seed=0)
    b = ok.simulate(problem.replace_phase(0, learning_rate=still), input_dim=100, seed=0)
    np.testing.assert_allclose(a.Q, b.Q, atol=1e-13)
    table = ok.Schedule([0.2, 0.7, 2.0], [1.0, 0.4, 0.1], interpolation)
    times = np.linspace(-0.1, 2.5, 200)
    np.testing.assert_allclose(table.at(times), [table(t) for t in times], rtol=1e-12)


def test_a_schedule_counts_from_the_start_of_its_phase():
    falling = ok.Schedule([0.0, 2.0], [2.0, 0.0])
    problem = short(learning_rate=falling)
    times = [1.0, 2.0, 3.0]
    run = ok.solve(problem, t_eval=times)
    sim = ok.simulate(problem, input_dim=4000, seed=0, replicas=6, t_eval=times)
    found = ok.compare(run, sim)
    assert float(found.in_standard_errors.sel(variable="R")) < 3
    rising = ok.solve(short(learning_rate=ok.Schedule([0.0, 2.0], [0.0, 2.0])), t_eval=times)
    assert float(ok.compare(rising, sim).in_standard_errors.sel(variable="R")) > 6


# ----------------------------------------------------------------------------- stopping and failing


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("method", ["overlaps", "weights"])
def test_divergence_is_a_status(method):
    problem = two_teachers([one_phase("a", 50.0, learning_rate=40.0)], activation="linear")
    sim = ok.simulate(problem, input_dim=50, seed=0, replicas=2, method=method)
    assert (sim.status == ok.Status.BLOW_UP).all()
    assert (sim.t_last < 50).all()
    assert np.isfinite(sim.Q[:, 0]).all()


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_an_interrupt_keeps_what_was_computed(monkeypatch):
    monkeypatch.setattr(trajectory, "WORK", 1e5)
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    problem = two_teachers([one_phase("a", 1e6)])
    sim = ok.simulate(problem, input_dim=50, seed=0, t_eval=[0.0, 0.5, 1e6], replicas=2, threads=1)
    assert (sim.status == ok.Status.INTERRUPTED).all()
    assert 0 < sim.n_steps[0] < 50e6
    assert sim.n_steps[0] == round(50 * float(sim.t_last[0]))
    assert np.isfinite(sim.Q[0, 1]).all()
    assert np.isnan(sim.Q[0, 2]).all()


def test_seconds_end_networks_that_would_take_for_ever(monkeypatch):
    """10¹² steps: weeks."""
    monkeypatch.setattr(trajectory, "WORK", 1e5)
    problem = two_teachers([one_phase("a", 1e10)])
    keywords = {"input_dim": 100, "seed": 0, "t_eval": [0.0, 0.5, 1e10], "threads": 1}
    keywords["method"] = "weights"  # eight of the other would go together
    with pytest.warns(ok.NotCompletedWarning, match="1 time_budget"):
        sim = ok.simulate(problem, replicas=2, max_seconds=0.5, **keywords)
    assert sim.status[0] == ok.Status.TIME_BUDGET
    assert (sim.status[1] == ok.Status.INTERRUPTED).all()
    assert 0 < sim.n_steps[0] < 1e9
    assert np.isfinite(sim.Q[0, 1]).all()


@pytest.mark.parametrize("duration", [1e300, 1e14])
def test_more_steps_than_can_be_counted_are_refused(duration):
    problem = two_teachers([one_phase("a", duration)])
    with pytest.raises(ok.ProblemError, match="2\\^53 steps") as error:
        ok.simulate(problem, input_dim=100, seed=0)
    assert error.value.argument == "duration"
    assert "shorten" in str(error.value)


def test_what_only_equations_need_is_not_computed(monkeypatch):
    """Moments of four fields took 25 times as long as the training did."""

    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(hermite, "fourth", fail)
    sim = ok.simulate(short(until=1e-9).replace(activation="tanh"), input_dim=50, seed=0)
    assert float(sim.quadrature_error) < 1e-8


def test_nodes_are_counted_once_for_a_size_of_fields(monkeypatch):
    """Not at every look at a threshold."""
    counted = []
    plain = quadrature.node_counts
    monkeypatch.setattr(quadrature, "node_counts", lambda *a: counted.append(a) or plain(*a))
    problem = short(until=1e-9).replace(activation="tanh")
    ok.simulate(problem, input_dim=50, seed=0, check_every=0.02)
    assert len(counted) < 10


def test_an_error_in_one_network_is_raised(monkeypatch):
    def fail(*_):
        raise MemoryError("no weights")

    monkeypatch.setattr(network, "realise", fail)
    with pytest.raises(MemoryError, match="no weights"):
        ok.simulate(short(), input_dim=50, seed=0, replicas=3, method="weights")


@pytest.mark.parametrize(
    ("change", "argument"),
    [
        ({"input_dim": None}, "input_dim"),
        ({"input_dim": 0}, "input_dim"),
        ({"input_dim": 5}, "input_dim"),
        ({"seed": -1}, "seed"),
        ({"replicas": 0}, "replicas"),
        ({"threads": 0}, "threads"),
        ({"t_eval": [4.0]}, "t_eval"),
        ({"check_every": 0.0}, "check_every"),
        ({"max_seconds": 0.0}, "max_seconds"),
        ({"fisher_samples": 0}, "fisher_samples"),
        ({"preprocess": "whiten"}, "inputs"),
        ({"labels": [1.0]}, "inputs"),
        ({"method": "sgd"}, "method"),
        ({"method": "overlaps", "fisher_samples": 5}, "method"),
        ({"method": "overlaps", "input_dim": 5}, "input_dim"),
    ],
)
def test_refusals(change, argument):
    arguments = {"input_dim": 100, "seed": 0, **change}
    with pytest.raises(ok.ProblemError) as error:
        ok.simulate(short(), **arguments)
    assert error.value.argument == argument


def test_a_batch_that_no_memory_holds_is_refused():
    with pytest.raises(ok.ProblemError, match="batch_size"):
        ok.simulate(short(batch_size=10**9), input_dim=1000, seed=0)


# ------------------------------------------------------------------- consolidation, user functions


def test_sampled_fisher_information_is_the_closed_form_on_average():
    problem = short(consolidation=switch("fisher", 3.0))
    times = [1.0, 3.0]
    run = ok.solve(problem, t_eval=times)
    sim = ok.simulate(
        problem, input_dim=1000, seed=0, replicas=12, t_eval=times, fisher_samples=3000
    )
    assert float(ok.compare(run, sim).in_standard_errors.max()) < 3
    few = ok.simulate(problem, input_dim=200, seed=0, t_eval=times, fisher_samples=10)
    closed = ok.simulate(problem, input_dim=200, seed=0, t_eval=times, method="weights")
    assert abs(few.Q[-1] - closed.Q[-1]).max() > 1e-6


@NOT_COMPILED
@pytest.mark.parametrize("samples", [50, None], ids=["weights", "overlaps"])
@pytest.mark.parametrize(
    ("name", "g", "dg"),
    [
        ("linear", lambda z: 1.0 * z, lambda z: 1.0 + 0.0 * z),
        ("erf", hidden_erf, lambda z: ROOT * np.exp(-0.5 * z * z)),
    ],
    ids=["compiled", "not compiled"],
)
def test_a_user_function_trains_as_the_built_in_one(name, g, dg, samples, monkeypatch):
    """Once a function that numba compiles, once one that it does not know."""
    problem = short(consolidation=switch("fisher")).replace(activation=name)
    keywords = {"input_dim": 60, "seed": 0, "fisher_samples": samples}
    expected = ok.simulate(problem, **keywords)
    user = SimpleNamespace(name="mine", function=g, derivative=dg)
    plain = twin.trainer
    monkeypatch.setattr(twin, "trainer", lambda _activation: plain(user))
    found = ok.simulate(problem, **keywords)
    for variable in NAMES:
        np.testing.assert_allclose(found[variable], expected[variable], atol=1e-11)
