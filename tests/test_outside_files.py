"""Systems that a user declares: checkpoints, stores, workers and files."""

from __future__ import annotations

import concurrent.futures as cf
import multiprocessing
import os
import pickle
import sys

import numpy as np
import pytest

import odekit as ok
from declared import DIMS, MODULE, TIMES, axis, case, error, flat, net, outbreak, python, rhs, root
from odekit.systems.outside.declaration import _declared
from odekit.verbs.plot import plot_run
from odekit.verbs.show import summary
from odekit.verbs.validate import validate

# --------------------------------------------------------------------- checkpoints, stores, workers


def test_an_interrupted_run_resumes_bit_by_bit(tmp_path):
    whole = ok.solve(case(), t_eval=TIMES, checkpoint=tmp_path / "whole")
    with pytest.warns(ok.NotCompletedWarning):
        part = ok.solve(case(), t_eval=TIMES, checkpoint=tmp_path / "part", max_steps=9)
    assert int(part.status) == ok.Status.STEP_BUDGET
    resumed = ok.solve(case(), t_eval=TIMES, checkpoint=tmp_path / "part")
    assert np.array_equal(flat(resumed), flat(whole))
    assert int(resumed.n_steps) == int(whole.n_steps)

    def other(y, p, d):
        rhs(y, p, d)
        d.s = -y.s

    twin = ok.system("net of two", **DIMS, rhs=other, error=error)
    _declared["net of two"] = net
    with pytest.raises(ok.CheckpointError):
        ok.solve(case(system=twin), t_eval=TIMES, checkpoint=tmp_path / "part")


def test_a_store_holds_what_memory_would(tmp_path):
    pytest.importorskip("zarr")
    problem = case(axis("rate", np.linspace(0.1, 1.0, 12)))
    plain = ok.solve(problem, t_eval=TIMES)
    stored = ok.solve(problem, t_eval=TIMES, store=tmp_path / "run.zarr", chunk_size=5)
    for name in plain.data_vars:
        assert np.array_equal(plain[name], stored[name]), name
    assert all(verdict.holds for verdict in validate(stored))


def test_pools_of_processes_import_the_users_module(epidemic, folder, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), *sys.path]))
    problem = outbreak(epidemic, axis("beta", np.linspace(1.5, 3.0, 7)))
    here = ok.solve(problem, t_eval=[0.0, 5.0, 20.0])
    spawn = multiprocessing.get_context("spawn")
    with cf.ProcessPoolExecutor(1, mp_context=spawn) as pool:
        there = ok.solve(problem, t_eval=[0.0, 5.0, 20.0], executor=pool, chunk_size=4)
    for name in here.data_vars:
        assert np.array_equal(here[name], there[name]), name


def test_functions_that_no_other_process_can_import_are_refused_in_words():
    local = ok.system("local", state={"x": ()}, rhs=root, error=lambda y, p: y.x)
    problem = local.problem(x=axis("start", [0.1, 0.2]), duration=1.0)
    assert (ok.solve(problem).status == 0).all()
    with pytest.raises(ok.ProblemError, match=r"`error` must be a function at the top of a module"):
        pickle.dumps(problem)
    spawn = multiprocessing.get_context("spawn")
    with (
        cf.ProcessPoolExecutor(1, mp_context=spawn) as pool,
        pytest.raises(ok.SweepError, match="top of a module"),
    ):
        ok.solve(problem, executor=pool)


# -------------------------------------------------------------------------------------------- files


def test_laws_and_words_of_a_run(epidemic, tmp_path):
    run = ok.solve(outbreak(epidemic))
    verdicts = {v.law: v for v in validate(run)}
    assert {"nobody is lost", "S is a share", "phase plane"} < set(verdicts)
    assert all(v.holds for v in verdicts.values()), verdicts
    off = run.copy(deep=True)
    off.S[5:] -= 0.1
    broken = {v.law for v in validate(off) if not v.holds}
    assert broken == {"nobody is lost", "phase plane"}
    off = run.copy(deep=True)
    off.I[5:] *= 1.5
    assert "errors follow from the state" in {v.law for v in validate(off) if not v.holds}
    assert "susceptible" in summary(run)
    assert run.time.attrs["long_name"] == "days"
    figure = plot_run(run, tmp_path / "run.png")
    assert [ax.get_ylabel() for ax in figure.axes] == ["infected", "$S$", "I", "gone"]
    sweep = ok.solve(outbreak(epidemic, axis("beta", [1.5, 2.0, 3.0])))
    assert all(v.holds for v in validate(sweep))
    plot_run(sweep, tmp_path / "sweep.png")
    drift = ok.measures.conserved(run)
    assert float(abs(drift.nobody_is_lost_drift).max()) < 1e-12
    assert drift.phase_plane_drift.dims == ("time",)
    # Against the exact relation of the epidemic's end: S = S0 exp(-b (1 - S)).
    S = float(ok.solve(outbreak(epidemic).replace_phase(0, duration=200.0)).S[-1])
    assert np.isclose(S, 0.99 * np.exp(-2.0 * (1.0 - S)), rtol=1e-6)


def test_a_file_opens_without_the_users_code_and_a_rerun_asks_for_it(epidemic, folder, tmp_path):
    run = ok.solve(outbreak(epidemic), t_eval=[0.0, 5.0, 20.0])
    ok.save(run, tmp_path / "run.nc")
    code = f"""
        import json, sys
        import odekit as ok
        from odekit.dataset.provenance import problem_of
        from odekit.problem.base import AnyProblem
        from odekit.verbs.plot import plot_run
        from odekit.verbs.show import summary
        from odekit.verbs.validate import validate
        IMPORT
        ds = ok.open({str(tmp_path / "run.nc")!r})
        problem = AnyProblem.from_dict(problem_of(ds))
        verdicts = {{v.law: [bool(v.holds), v.found] for v in validate(ds)}}
        plot_run(ds, {str(tmp_path / "again.png")!r}, overwrite=True)
        try:
            again = ok.solve(problem, t_eval=ds.time.values)
            said = "same" if again.drop_attrs().identical(ds.drop_attrs()) else "other"
        except ok.ProblemError as error:
            said = str(error)
        same = problem.to_dict() == problem_of(ds)
        print(json.dumps([said, verdicts, summary(ds), same]))
    """
    said, verdicts, words, same = python(code.replace("IMPORT", ""))
    assert said.startswith("`rhs` must be declared again for 'epidemic'")
    assert "Import the module" in said
    assert all(holds for holds, _ in verdicts.values())
    assert {"schema", "times increase", "nobody is lost", "S is a share"} < set(verdicts)
    assert verdicts["errors follow from the state"][1].startswith("not looked at")
    assert "not declared here" in words
    assert same
    said, verdicts, words, same = python(code.replace("IMPORT", "import epidemic"), folder)
    assert said == "same"
    assert "phase plane" in verdicts
    assert same
    (tmp_path / "epidemic.py").write_text(
        MODULE.replace("p.gamma * y.I\n", "p.gamma * y.I * y.I\n")
    )
    said, *_ = python(code.replace("IMPORT", "import epidemic"), tmp_path)
    assert "a system of that name that is another" in said


def test_a_declaration_can_be_given_by_hand_and_must_be_the_same(epidemic):
    problem = outbreak(epidemic)
    data = problem.to_dict()
    del _declared["epidemic"]
    blind = ok.DeclaredProblem.from_dict(data)
    assert not blind.declaration.has_code
    seen = ok.DeclaredProblem.from_dict(data, epidemic.sir)
    assert seen.declaration is epidemic.sir
    assert seen == problem
    with pytest.raises(ok.ProblemError, match="must be the one that the result was made with"):
        ok.DeclaredProblem.from_dict(data, net)
