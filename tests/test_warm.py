"""Kernels compiled ahead."""

import pytest
import xarray as xr

import odekit as ok
from odekit import cli
from odekit.problem.axes import axes
from odekit.problem.system import FIRST, system_of
from odekit.verbs import warm
from odekit_kernels.committee.activations import ERF, KINDS
from odekit_kernels.committee.memory import CommitteePlan, SizedPlan


def problem(rate=0.5):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0])},
        phases=[ok.Phase("main", duration=1e6, learning_rate=rate)],
    )


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_what_is_run_is_short_and_of_both_kinds():
    single, swept = (
        warm.runs_of(problem()),
        warm.runs_of(problem(xr.DataArray([0.4, 0.5], dims="eta"))),
    )
    assert [job.options.get("method") for job in (*single, *swept)] == [
        None,
        "Radau",
        None,
        "Rodas5P",
    ]
    for job in (*single, *swept):
        run = getattr(ok, job.verb)(job.problem, **job.options)
        assert (run.status == ok.Status.STEP_BUDGET).all()
        assert (run.n_steps == warm.STEPS).all()


def test_a_job_that_fails_says_why():
    """And the others are done."""
    jobs = [
        warm.Job("bad", "solve", problem(), {"method": "Euler"}),
        warm.Job("good", "solve", problem(), {"max_steps": 1}),
    ]
    bad, good = warm.warm(jobs, processes=1)
    assert "method" in bad.complaint
    assert (good.words, good.complaint) == ("good", "")
    assert good.seconds > 0


def test_the_usual_are_runs_sweeps_and_networks():
    words = [job.words for job in warm.usual()]
    assert len(set(words)) == len(words) == 15
    kinds = {w.rpartition(": ")[2].split(",")[0] for w in words}
    assert kinds == {"single runs", "sweeps", "finite networks"}
    of = {w.partition(": ")[0] for w in words[:-1]}
    assert of == {"erf, 2 units", "erf, 3 units", "linear, 2 units", "relu, 2 units"}


@pytest.mark.filterwarnings("ignore::odekit.NotCompletedWarning")
def test_the_usual_take_the_kernels_of_every_activation_and_of_both_kinds_of_sizes():
    plans = set()
    for _, usual in system_of(FIRST).usual():
        if axes(usual):
            points = usual.system.points(usual, axes(usual))
            plan = points.plan(usual.phases[0], points.start()[0])
            plans.add((type(plan), type(plan.activation)))
    others = {(CommitteePlan, kind) for kind in KINDS}
    assert plans == {(SizedPlan, KINDS[ERF]), *others}


def test_the_command_says_what_was_done(tmp_path, capsys, monkeypatch):
    (tmp_path / "one.toml").write_text(problem().to_toml())
    monkeypatch.setattr(warm, "warm", lambda jobs, _: map(warm.do, jobs))
    assert cli.main(["warm", str(tmp_path / "one.toml")]) == cli.DONE
    said = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in said[:2]] == [
        "single runs, explicit steps",
        "single runs, implicit steps",
    ]
    assert "kernels compiled" in said[-1]


def test_without_a_folder_of_ones_own_there_is_nothing_to_keep(capsys, monkeypatch):
    monkeypatch.setattr("odekit.integrate.compiling.cache_directory", lambda: None)
    assert cli.main(["warm"]) == cli.IO_ERROR
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().err
