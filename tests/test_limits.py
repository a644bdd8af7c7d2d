"""What cannot fit is refused before it begins; what takes long can be stopped, and is counted."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit import cli
from odekit.cli import DONE, main
from odekit.integrate.options import SolverOptions
from odekit.sweeps import chunks, grid
from odekit.verbs.scenario import parse_scenario
from sweeps import StopAfter, assert_same, labelled, sweep
from test_checkpoint import committee
from test_cli import SMALL
from test_zarr import interrupted_grid

TIMES = np.linspace(0.0, 2.0, 5)


def wide(units, **phase):
    return ok.Problem(
        state=ok.OrderParameters.draw(units, units, weight_std=0.1, input_dim=10**6, seed=0),
        heads={"main": np.ones(units)},
        tasks={"main": ok.Task(np.ones(units))},
        phases=[ok.Phase("main", 1.0, 0.1, **phase)],
    )


# --------------------------------------------------------------------------------------- refusals


def test_a_right_hand_side_that_nothing_can_stop_is_refused():
    with pytest.raises(ok.ProblemError, match=r"`state` .* 10 seconds, got some \d+ seconds"):
        ok.solve(wide(400))


def test_matrices_that_no_memory_holds_are_refused():
    big = wide(150, gradient_flow=True)
    with pytest.raises(ok.ProblemError, match=r"`method` must be explicit .* \d+ GiB. Leave"):
        ok.solve(big, method="Radau")
    with pytest.raises(ok.ProblemError, match="`steady_state` must be left out"):
        ok.solve(big, steady_state=1e-6)


def test_sweeps_of_too_many_points_are_refused_at_once():
    axes = [labelled(d, np.linspace(0.1, 1.0, 10_000)) for d in ("a", "b", "c")]
    problem = committee(ok.Phase("main", axes[0], axes[1], weight_decay=axes[2]))
    begin = time.process_time()
    with pytest.raises(ok.ProblemError, match="1000000000000: 10000 a x 10000 b x 10000 c"):
        ok.solve(problem)
    assert time.process_time() - begin < 1.0


def test_too_many_durations_need_times():
    spans = [labelled(d, np.linspace(0.1, 1.0, 5_000)) for d in ("a", "b")]
    problem = committee(*(ok.Phase("main", s, 0.5) for s in spans))
    with pytest.raises(ok.ProblemError, match="25000000 times"):
        ok.solve(problem)


def test_a_store_that_no_disk_holds_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: Full())
    with pytest.raises(
        ok.ProblemError, match=r"`store` .* room for .*GiB, got .* with 0.0 GiB free"
    ):
        ok.solve(sweep(), store=tmp_path / "g.zarr")


class Full:
    free = 100


def test_too_many_chunks_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(grid, "TOO_MANY", 3)
    with pytest.raises(ok.ProblemError, match="`chunk_size` must leave at most 3 chunks, got 24"):
        ok.solve(sweep(), chunk_size=1)


def test_overlaps_of_too_many_points_are_refused():
    eye = np.broadcast_to(np.eye(2), (20_000, 2, 2))
    Q = xr.DataArray(eye, dims=("a", "student", "student_other"))
    R = xr.DataArray(np.zeros((20_000, 2, 2)), dims=("b", "student", "teacher"))
    with pytest.raises(ok.ProblemError, match="at most 2 GiB"):
        ok.OrderParameters(Q=Q, R=R, T=np.eye(2))


def test_weights_that_look_transposed_are_heard():
    weights = np.ones((5, 3))
    with pytest.warns(UserWarning, match=r"more units \(K = 5\) than inputs \(N = 3\)"):
        ok.OrderParameters.from_weights(weights, np.ones((1, 3)))


LABELS = 'learning_rate = {{ over = "eta", values = [0.1, 0.2], labels = {} }}'


@pytest.mark.parametrize("labels", ['["a", { b = 1 }]', "[[1], [2, 3]]", f"[1, {10**400}]"])
def test_labels_that_are_no_labels_are_refused(labels):
    text = SMALL.replace("learning_rate = 0.5", LABELS.format(labels))
    with pytest.raises(ok.ScenarioError, match="labels: must hold 2 different names"):
        parse_scenario(text)


LINEAR = """
system = "linear"
network = {{ deep = {{ widths = [2, 2, 2] }} }}
weights = {{ normal = {{ scale = 0.1, seed = 0 }} }}
phases = [{{ tasks = "main", duration = 1.0, learning_rate = 0.1 }}]
tasks = {{ main = {{ {} }} }}
"""
SAMPLES = "samples = {{ inputs = {{ input = {} }}, targets = {{ output = {} }} }}"
CONTEXTS = "contexts = {{ xx = {}, yx = {}, gates = {{ main = [1.0, 0.0] }} }}"
GOOD, RAGGED = "[[1.0, 0.0], [0.0, 1.0]]", "[[1.0], [1.0, 2.0]]"


@pytest.mark.parametrize(
    "task",
    [
        SAMPLES.format(RAGGED, GOOD),
        SAMPLES.format(GOOD, RAGGED),
        CONTEXTS.format(RAGGED, f"[{GOOD}, {GOOD}]"),
        CONTEXTS.format(GOOD, f"[{GOOD}, {RAGGED}]"),
        CONTEXTS.format(GOOD, f"[{GOOD}, [[1.0, 2.0]]]"),
        CONTEXTS.format(GOOD, "[]"),
    ],
)
def test_ragged_lists_are_refused(task):
    with pytest.raises(ok.ScenarioError, match="must"):
        parse_scenario(LINEAR.format(task))
    good = CONTEXTS.format(GOOD, f"[{GOOD}, {GOOD}]"), SAMPLES.format(GOOD, GOOD)
    for text in good:
        parse_scenario(LINEAR.format(text))


# ------------------------------------------------------------------------------ the time allowed


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_the_time_allowed_is_that_of_the_whole_sweep(monkeypatch):
    """Through scipy each point had it for itself, and in chunks each chunk."""
    problem = sweep(etas=20, draws=20, duration=200.0)
    begin = time.monotonic()
    ds = ok.solve(problem, method="LSODA", max_seconds=0.5)
    assert time.monotonic() - begin < 5.0
    codes = set(np.unique(ds.status))
    assert codes <= {0, int(ok.Status.TIME_BUDGET)}
    assert ok.Status.TIME_BUDGET in codes
    ds = ok.solve(sweep(etas=30, draws=30, duration=1e5), chunk_size=1, max_seconds=0.5)
    assert set(np.unique(ds.status)) <= {0, int(ok.Status.TIME_BUDGET)}


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("target", ["store", "checkpoint"])
def test_a_sweep_cut_short_by_time_goes_on_with_more(tmp_path, target):
    problem, where = sweep(duration=20.0), {target: tmp_path / "g.zarr"}
    cut = ok.solve(problem, chunk_size=6, max_seconds=1e-6, **where)
    assert (cut.status == ok.Status.TIME_BUDGET).all()
    assert not (tmp_path / "g.zarr" / "zarr.json").exists()
    assert_same(ok.solve(problem, **where), ok.solve(problem))


def test_the_time_allowed_reaches_workers(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(2) as pool, pytest.warns(ok.NotCompletedWarning, match="time_budget"):
        ds = ok.solve(sweep(), executor=pool, chunk_size=6, max_seconds=1e-6)
    assert (ds.status == ok.Status.TIME_BUDGET).all()
    assert "odekit_lost" not in ds.attrs


def test_a_run_stops_within_a_step():
    """One right-hand side is all that is waited for."""

    class Asked:
        looks = 0

        @property
        def asked(self):
            self.looks += 1
            return self.looks > 3

    from odekit.integrate.run import Run

    asked = Asked()
    run = Run(committee(), SolverOptions(), None, None)
    arrays = run.integrate(asked)
    assert arrays["status"] == ok.Status.INTERRUPTED
    assert arrays["n_rhs"] <= 4


# ------------------------------------------------------------------------------------ compilation

COMPILE = """
    import os, signal, sys, threading, time
    os.environ["NUMBA_CACHE_DIR"] = {cache!r}
    sys.path[:0] = {path!r}
    import odekit as ok, numpy as np
    from numba.core import event
    from sweeps import sweep
    from test_checkpoint import committee

    class Begun(event.Listener):
        def on_start(self, data):
            begun.set()

        def on_end(self, data):
            pass

    problem, begun, begin = {problem}, threading.Event(), time.monotonic()
    event.register("numba:compile", Begun())
    {how}
    ds = ok.solve(problem, {options})
    print(ok.Status(int(np.max(ds.status))).word, time.monotonic() - begin, flush=True)
    after = ok.solve(problem)
    print(ok.Status(int(np.max(after.status))).word, flush=True)
"""
SIGNAL = (
    "threading.Thread(target=lambda: (begun.wait(), time.sleep(0.2), "
    "os.kill(os.getpid(), signal.SIGINT)), daemon=True).start()"
)


def child(tmp_path, **words):
    words = {"how": "", "options": "", "cache": str(tmp_path / "cache"), **words}
    code = textwrap.dedent(COMPILE).format(path=sys.path, **words)
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "status"),
    [
        ({"problem": "sweep()", "options": "max_seconds=1.0"}, "time_budget"),
        ({"problem": "sweep()", "how": SIGNAL}, "interrupted"),
        ({"problem": "committee()", "how": SIGNAL}, "interrupted"),
    ],
)
def test_compilation_stops_and_is_taken_up_again(tmp_path, words, status):
    done = child(tmp_path, **words)
    assert done.returncode == 0, done.stderr
    first, then = done.stdout.splitlines()
    assert first.split()[0] == status
    assert then == "completed"


def test_compilation_is_said_at_once_and_only_where_there_is_any(tmp_path):
    scenario, out = tmp_path / "s.toml", tmp_path / "o.nc"
    scenario.write_text(SMALL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "odekit", "run", str(scenario), "-o", str(out)]
    for more, said in (([], True), (["--overwrite"], False), (["--overwrite"], False)):
        done = subprocess.run(
            [*command, *more], capture_output=True, text=True, env=environment, check=True
        )
        assert ("compiling kernels" in done.stderr) == said
        assert done.stderr.count("\n") == said


# ---------------------------------------------------------------------------------------- chunks


def test_a_busy_machine_does_not_change_the_chunks(monkeypatch):
    problem, stop = sweep(etas=40, draws=40), StopAfter(10**9)
    quiet = chunks.pilot(problem, SolverOptions(), TIMES, 2, stop)
    real = chunks.run_block

    def slow(*arguments, **keywords):
        time.sleep(1.0)
        return real(*arguments, **keywords)

    monkeypatch.setattr(chunks, "run_block", slow)
    assert chunks.pilot(problem, SolverOptions(), TIMES, 2, stop) == quiet
    assert quiet * chunks.SECONDS > 10_000


def test_the_work_counted_is_that_of_the_problem():
    stop = StopAfter(10**9)
    short, long = (
        chunks.pilot(sweep(duration=d), SolverOptions(), np.array([0.0, d]), 1, stop)
        for d in (1.0, 100.0)
    )
    assert 5 < short / long < 200
    problem = wide(8)
    assert problem.system.cost(problem) == 8 * 9 * 16 * 17 // 4


def test_a_store_is_resumed_with_another_chunk_size(tmp_path):
    interrupted_grid(tmp_path / "grid.zarr")
    whole = ok.solve(sweep(), store=tmp_path / "grid.zarr", t_eval=TIMES, chunk_size=2)
    assert_same(whole, ok.solve(sweep(), t_eval=TIMES))


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_chunks_are_cut_anew_where_none_is_finished(tmp_path):
    path = tmp_path / "grid.zarr"
    ok.solve(sweep(), store=path, chunk_size=1, max_seconds=1e-6)
    ok.solve(sweep(), store=path, chunk_size=12, max_seconds=1e-6)
    whole = ok.solve(sweep(), store=path, chunk_size=12)
    assert whole.Q.chunks[0] == (2, 2)
    assert_same(whole, ok.solve(sweep()))


# --------------------------------------------------------------------------------- partial stores


@pytest.mark.parametrize("name", ["grid.zarr.part", "grid.zarr"])
def test_a_partial_sweep_is_shown(tmp_path, capsys, name):
    partial = interrupted_grid(tmp_path / "grid.zarr")
    assert main(["show", str(tmp_path / name)]) == DONE
    said = capsys.readouterr().out
    finished = int((partial.status == 0).sum())
    assert f"{finished} of 24 runs completed" in said
    assert f"{24 - finished} of 24 runs interrupted" in said
    assert "Unfinished" in said
    assert main(["show", str(tmp_path)]) == cli.IO_ERROR


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
@pytest.mark.parametrize("method", ["DOP853", "RK45"])
def test_an_interrupt_at_any_call_resumes_to_the_bit(tmp_path, method):
    """At every look that a run takes at it: no step is counted, no row kept, twice."""
    from odekit.integrate.run import Run
    from odekit.store.checkpoint import Checkpoint

    problem, options = committee(ok.Phase("main", 60.0, 0.5)), SolverOptions(method=method)
    rows, stop = np.linspace(0.0, 60.0, 41), StopAfter(10**9)
    whole = Run(problem, options, rows, Checkpoint(tmp_path / "whole", 1e6)).integrate(stop)
    all_looks = 10**9 - stop.looks
    assert all_looks > 5
    for looks in range(1, all_looks):
        saved = Checkpoint(tmp_path / str(looks), 1e6)
        cut = Run(problem, options, rows, saved).integrate(StopAfter(looks))
        assert cut["status"] == ok.Status.INTERRUPTED
        resumed = Run(problem, options, rows, saved).integrate(StopAfter(10**9))
        for name in ("time", "Q", "R", "n_steps", "t_last", "method"):
            np.testing.assert_array_equal(resumed[name], whole[name])
