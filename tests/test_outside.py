"""Systems that a user declares: every way of solving them, files, refusals, and a known truth."""

from __future__ import annotations

import concurrent.futures as cf
import importlib.util
import json
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.problem.axes import axes
from odekit.systems.outside.declaration import _declared
from odekit.systems.outside.probe import Probe, layouts
from odekit.verbs.plot import plot_run
from odekit.verbs.show import summary
from odekit.verbs.validate import validate
from odekit_kernels._jit import NO_JIT

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
TIMES = [0.0, 0.7, 2.0, 5.0]
A = [[-1.0, 0.5], [0.2, -0.7]]


def gain(x):
    """Not smooth, and a function of the module's own."""
    return x if x > 0.0 else 0.5 * x


def rhs(y, p, d):
    for i in range(len(y.v)):
        d.v[i] = p.learning_rate * p.push[i] - p.readout_learning_rate * y.v[i]
        for j in range(y.W.shape[1]):
            d.v[i] += p.A[i, j] * math.tanh(y.v[j]) + gain(y.W[i, j]) * 0.1
            d.W[i, j] = -p.rate * y.W[i, j] + 0.3 * y.v[i] * y.s
    d.s = -y.s * y.s + p.rate * y.v[0]


def error(y, p):
    total = 0.1 * y.s * y.s
    for i in range(len(y.v)):
        total += (y.v[i] - p.push[i]) ** 2
    return total


def jacobian(y, p, J):
    n = 2 * 2 + 2 + 1
    for i in range(2):
        J[4 + i, 4 + i] -= p.readout_learning_rate
        for j in range(2):
            at = 2 * i + j
            J[4 + i, 4 + j] += p.A[i, j] * (1.0 - math.tanh(y.v[j]) ** 2)
            J[4 + i, at] = 0.1 if y.W[i, j] > 0.0 else 0.05
            J[at, at] = -p.rate
            J[at, 4 + i] = 0.3 * y.s
            J[at, n - 1] = 0.3 * y.v[i]
    J[n - 1, n - 1] = -2.0 * y.s
    J[n - 1, 4] = p.rate


DIMS = {
    "state": {"W": ("unit", "unit_other"), "v": "unit", "s": ()},
    "parameters": {"A": ("unit", "unit_other"), "push": "unit", "rate": ()},
}
net = ok.system("net of two", **DIMS, rhs=rhs, error=error)
START = {"W": [[0.3, -0.2], [0.1, 0.4]], "v": [0.5, -0.3], "s": 0.8, "A": A}


def case(rate=0.4, phases=None, tasks=None, system=net, **more):
    if tasks is None:
        more.setdefault("push", [0.6, 0.2])
    if phases is None:
        phases = ok.Phase("main" if tasks is None else next(iter(tasks)), 5.0, 0.5, 0.2)
    return system.problem(**{**START, "rate": rate, **more}, phases=phases, tasks=tasks)


def reference(problem, times, eta=0.5, eta_v=0.2, task="main"):
    """The plain functions through scipy alone."""
    probe = Probe(problem)
    p = probe.parameters(task, None, (eta, eta_v))
    return solve_ivp(
        lambda t, y: probe.rhs(y, p), (0, times[-1]), probe.start, "DOP853", times,
        rtol=1e-11, atol=1e-13,
    ).y.T  # fmt: skip


def flat(run):
    blocks = [run[v].transpose(..., *run[v].dims).values for v in ("W", "v", "s")]
    return np.concatenate([b.reshape(len(run.time), -1) for b in blocks], axis=1)


def axis(name, values):
    return xr.DataArray(values, dims=name, coords={name: values})


# ------------------------------------------------------------------------------------------ solving


@pytest.mark.parametrize(
    "method", [None, "RK23", "RK45", "DOP853", "Radau", "BDF", "LSODA", "Rodas5P"]
)
def test_every_method_gives_the_solution_of_the_plain_functions(method):
    truth = reference(case(), TIMES)
    single = ok.solve(case(), method=method, t_eval=TIMES)
    assert int(single.status) == 0
    loose = 1e-5 if method in ("BDF", "LSODA", "RK23") else 1e-6
    assert np.allclose(flat(single), truth, rtol=loose, atol=loose)
    sweep = ok.solve(case(axis("rate", [0.4, 0.9])), method=method, t_eval=TIMES)
    assert (sweep.status == 0).all()
    assert np.allclose(flat(sweep.isel(rate=0)), truth, rtol=loose, atol=loose)


def test_the_dataset_is_labelled_as_declared():
    rates = axis("rate", [0.2, 0.4, 0.8])
    run = ok.solve(case(rates, s=axis("start", [0.1, 0.8])), t_eval=TIMES)
    # State variables come first among what may be swept.
    assert run.W.dims == ("start", "rate", "time", "unit", "unit_other")
    assert run.s.dims == ("start", "rate", "time")
    assert run.unit.values.tolist() == [0, 1]
    one = ok.solve(case(0.4), t_eval=TIMES)
    assert np.allclose(run.W.sel(start=0.8, rate=0.4), one.W, rtol=1e-6, atol=1e-8)
    again = [error(_named(one.isel(time=i)), _given([0.6, 0.2])) for i in range(4)]
    assert np.allclose(one.generalization_error[:, 0], again, rtol=1e-12)
    assert one.attrs["title"] == "net of two"


class _Named:
    def __init__(self, **values):
        vars(self).update(values)


def _named(row):
    return _Named(v=row.v.values, s=float(row.s))


def _given(push):
    return _Named(push=push)


@pytest.mark.parametrize("method", ["RK45", "Rodas5P"])
def test_a_trajectory_depends_on_nothing_but_itself(method):
    rates = np.linspace(0.1, 2.0, 19)
    whole = ok.solve(case(axis("rate", rates)), method=method, t_eval=TIMES)
    for part in (rates[::-1], rates[4:7], rates[11:12]):
        some = ok.solve(case(axis("rate", part)), method=method, t_eval=TIMES, chunk_size=5)
        for name in ("W", "v", "s", "generalization_error", "n_steps", "n_rhs"):
            assert np.array_equal(some[name], whole[name].sel(rate=part)), name


def test_tasks_average_their_derivatives_and_have_errors_of_their_own():
    tasks = {"a": {"push": [0.6, 0.2]}, "b": {"push": [-1.0, 0.4]}}
    mixed = ok.Phase({"a": 0.25, "b": 0.75}, 5.0, 0.5, 0.2)
    middle = (0.25 * np.array([0.6, 0.2]) + 0.75 * np.array([-1.0, 0.4])).tolist()
    truth = reference(case(push=middle), TIMES)  # the push enters linearly
    for extra in ({}, {"method": "Rodas5P"}):
        for rate in (0.4, axis("rate", [0.4])):
            run = ok.solve(case(rate, mixed, tasks), t_eval=TIMES, **extra)
            one = run.isel(rate=0) if "rate" in run.dims else run
            assert np.allclose(flat(one), truth, rtol=1e-6, atol=1e-7)
            for task, given in tasks.items():
                again = error(_named(one.isel(time=-1)), _given(given["push"]))
                assert np.isclose(one.generalization_error.sel(task=task)[-1], again, rtol=1e-12)


def test_schedules_thresholds_and_parameters_of_phases():
    eta = ok.Schedule([0.0, 1.0, 4.0], [0.5, 1.0, 0.1])
    phases = [
        net.phase("main", 4.0, eta, readout_learning_rate=0.2, until=0.15),
        net.phase("main", 2.0, 0.5, rate=1.5),
    ]
    single = ok.solve(case(phases=phases))
    sweep = ok.solve(case(axis("rate", [0.4, 0.5]), phases))
    one = sweep.sel(rate=0.4)
    assert int(single.phase_outcome[0]) == int(one.phase_outcome[0]) == ok.Outcome.THRESHOLD
    assert np.allclose(single.phase_end, one.phase_end, rtol=1e-6)
    assert np.allclose(single.phase_end_error, one.phase_end_error, rtol=1e-5)
    probe = Probe(case())

    def scheduled(t, y):
        return probe.rhs(y, probe.parameters("main", None, (float(eta(t)), 0.2)))

    end = float(single.phase_end[0])
    stops = [1.0, end] if end > 1.0 else [end]
    y, begin = probe.start, 0.0
    for stop in stops:  # the schedule has a kink at 1
        y = solve_ivp(scheduled, (begin, stop), y, "DOP853", rtol=1e-11, atol=1e-13).y[:, -1]
        begin = stop
    assert np.isclose(probe.error(y, probe.parameters("main", None, (0.0, 0.0))), 0.15, rtol=1e-6)
    over = probe.parameters("main", phases[1], (0.5, 0.0))
    assert over[6] == 1.5
    last = solve_ivp(lambda t, x: probe.rhs(x, over), (0, 2.0), y, rtol=1e-10, atol=1e-12).y[:, -1]
    assert np.allclose(flat(single)[-1], last, rtol=1e-6, atol=1e-7)


# --------------------------------------------------------------------------------- the functions


def test_compiled_and_plain_functions_agree():
    problem = case()
    points = problem.system.points(problem, {})
    equations = points.equations(0, None, 0.0)
    probe, rng = Probe(problem), np.random.default_rng(0)
    p = probe.parameters("main", None, (0.5, 0.2))
    for _ in range(20):
        y = rng.normal(size=7)
        assert np.allclose(equations.rhs(0.0, y), probe.rhs(y, p), rtol=1e-13, atol=1e-15)
        assert np.isclose(points.errors(y[None, None])[0, 0, 0], probe.error(y, p), rtol=1e-13)


def test_differences_and_a_jacobian_of_ones_own_agree():
    own = ok.system("net with slopes", **DIMS, rhs=rhs, error=error, jacobian=jacobian)
    rng = np.random.default_rng(1)
    found = []
    for system in (net, own):
        problem = case(system=system)
        found.append(problem.system.points(problem, {}).equations(0, None, 0.0))
    for _ in range(10):
        y = rng.normal(size=7)
        by_differences, by_hand = (equations.jac(0.0, y) for equations in found)
        assert np.abs(by_differences - by_hand).max() < 1e-8
    rates = axis("rate", [0.4, 1.0])
    runs = [ok.solve(case(rates, system=s), method="Rodas5P", t_eval=TIMES) for s in (net, own)]
    assert np.allclose(runs[0].v, runs[1].v, rtol=1e-7, atol=1e-9)
    tasks = {"a": {"push": [0.6, 0.2]}, "b": {"push": [-1.0, 0.4]}}
    mixed = case(0.4, ok.Phase({"a": 0.25, "b": 0.75}, 5.0, 0.5, 0.2), tasks, own)
    slopes = mixed.system.points(mixed, {}).equations(0, None, 0.0)
    y = rng.normal(size=7)  # tasks differ by their push alone, which has no part in it
    assert np.allclose(slopes.jac(0.0, y), found[1].jac(0.0, y), atol=1e-13)


def root(y, p, d):
    d.x = -math.sqrt(1.0 - y.x) if y.x <= 1.0 else math.nan


def test_differences_keep_to_the_side_where_the_function_is_defined():
    edge = ok.system("edge", state={"x": ()}, rhs=root, error=lambda y, p: y.x)
    problem = edge.problem(x=0.5, duration=1.0)
    J = problem.system.points(problem, {}).equations(0, None, 0.0).jac(0.0, np.array([1.0 - 1e-7]))
    assert np.isfinite(J).all()
    assert J[0, 0] > 0


def forgetful(y, p, d):
    d.x = 1.0
    if y.x < 1.5:
        d.z = 1.0


def test_a_branch_that_writes_no_derivative_ends_the_run_and_is_no_silent_number():
    bad = ok.system("forgetful", state={"x": (), "z": ()}, rhs=forgetful, error=lambda y, p: y.x)
    start = axis("start", [0.0, -3.0])
    with pytest.warns(ok.NotCompletedWarning):
        run = ok.solve(bad.problem(x=start, z=0.0, duration=3.0))
    assert run.status.values.tolist() == [ok.Status.NONFINITE, ok.Status.COMPLETED]
    assert 1.4 < float(run.t_last[0]) <= 1.5 + 1e-6
    with pytest.warns(ok.NotCompletedWarning):
        alone = ok.solve(bad.problem(x=0.0, z=0.0, duration=3.0))
    assert int(alone.status) == ok.Status.NONFINITE


def test_the_assertion_holds_of_what_is_right_and_fails_of_what_is_not():
    ok.testing.assert_declared(case())
    tasks = {"a": {"push": [0.6, 0.2]}, "b": {"push": [-1.0, 0.4]}}
    mixed = net.phase({"a": 0.25, "b": 0.75}, 2.0, 0.5, rate=0.9)
    ok.testing.assert_declared(case(0.4, [mixed], tasks), runs=False)

    def wrong(y, p, J):
        jacobian(y, p, J)
        J[0, 0] *= 1.001

    off = ok.system("wrong slopes", **DIMS, rhs=rhs, error=error, jacobian=wrong)
    with pytest.raises(ok.testing.LawBroken, match="Jacobian"):
        ok.testing.assert_declared(case(system=off), runs=False)


PACE = 1.0


def speed(y):
    return PACE * y.x


def paced(y, p, d):
    d.x = -speed(y)


def test_what_the_functions_see_of_their_module_may_change(monkeypatch):
    """As in a notebook: compiled code froze the numbers and functions that there were."""
    system = ok.system("paced", state={"x": ()}, rhs=paced, error=lambda y, p: y.x)
    for pace in (1.0, 2.0):
        monkeypatch.setitem(globals(), "PACE", pace)
        end = ok.solve(system.problem(x=1.0, duration=1.0)).x[-1]
        assert np.isclose(end, np.exp(-pace), rtol=1e-7)
    monkeypatch.setitem(globals(), "speed", lambda y: 3.0 * y.x)
    end = ok.solve(system.problem(x=1.0, duration=1.0)).x[-1]
    assert np.isclose(end, np.exp(-3.0), rtol=1e-7)


def beyond(y, p, d):
    d.v[0] = 1.0
    d.v[1] = y.v[0 if y.v[0] < 1.0 else 500_000]


@pytest.mark.skipif(NO_JIT, reason="plain Python raises at once")
def test_an_index_beyond_its_array_ends_the_run(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", lambda it: told.append(it.exc_type))
    system = ok.system("beyond", state={"v": "unit"}, rhs=beyond, error=lambda y, p: y.v[0])
    start = axis("start", [0.0, -9.0]).expand_dims(unit=2, axis=1)
    with pytest.warns(ok.NotCompletedWarning):
        run = ok.solve(system.problem(v=start, duration=3.0))
    assert run.status.values.tolist() == [ok.Status.NONFINITE, ok.Status.COMPLETED]
    assert set(told) == {IndexError}


def test_a_device_that_lacks_a_function_is_said_so(monkeypatch):
    from numba.core.errors import TypingError

    from odekit.integrate import device
    from odekit_kernels.integrators import cuda

    class Kernel:
        def __getitem__(self, grid):
            def launch(*given):
                raise TypingError("Failed in cuda mode\n\nUse of unsupported NumPy function\n")

            return launch

    class Cuda:
        def to_device(self, array):
            return _Named(copy_to_host=lambda: array)

    monkeypatch.setattr(cuda, "explicit_kernel", lambda plan: Kernel())
    monkeypatch.setattr(device, "_cuda", Cuda)
    monkeypatch.setattr(device, "processors", lambda: 1)
    with pytest.raises(ok.ProblemError, match=r"Use of unsupported NumPy function.*math\.exp"):
        device._launch(None, _Named(counts=None), None, None, 4, lambda: False)


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


MODULE = '''
"""A theorist's own file."""
import odekit as ok

def rhs(y, p, d):
    d.S = -p.beta * y.S * y.I
    d.I = p.beta * y.S * y.I - p.gamma * y.I
    d.gone = p.gamma * y.I

def infected(y, p):
    return y.I

def exact(y, p):
    import math
    return y.S + y.I - p.gamma / p.beta * math.log(y.S)

sir = ok.system(
    "epidemic",
    state={"S": (), "I": (), "gone": ()},
    parameters={"beta": (), "gamma": ()},
    rhs=rhs,
    error=infected,
    laws={
        "nobody is lost": ("conserved", {"S": 1, "I": 1, "gone": 1}),
        "S is a share": ("within", "S", 0, 1),
        "phase plane": exact,
    },
    symbols={"S": "S", "I": r"\\frac{"},
    long_names={"S": "susceptible", "error": "infected"},
    time="days",
)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the file, which no file of odekit knows."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "epidemic.py").write_text(MODULE)
    return folder


@pytest.fixture
def epidemic(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    module = importlib.import_module("epidemic")
    _declared["epidemic"] = module.sir
    return module


def outbreak(module, beta=2.0):
    return module.sir.problem(S=0.99, I=0.01, gone=0.0, beta=beta, gamma=1.0, duration=20.0)


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


def python(code, folder=None, **environment):
    """Run a program in a process of its own, and return what it prints as JSON."""
    path = os.pathsep.join([*([str(folder)] if folder else []), *filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


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


# ------------------------------------------------------------------------------------ declarations


def quiet(y, p):
    return y.x


def fine(y, p, d):
    d.x = -y.x


def writes_y(y, p, d):
    y.v[0] = 1.0
    d.v[0] = 0.0


def unknown(y, p, d):
    d.x = p.rat


def misspelt(y, p, d):
    d.xx = 1.0


def nothing(y, p, d):
    pass


def not_a_number(y, p, d):
    d.x = math.nan


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"state": {"time": ()}}, "plain names that nothing else"),
        ({"state": {"generalization_error": ()}}, "plain names that nothing else"),
        ({"state": {"x y": ()}}, "plain names"),
        ({"state": {"problem_x": ()}}, "plain names"),
        ({"state": {"lambda": ()}}, "plain names"),
        ({"state": {"x": ("task",)}}, "plain names that nothing else"),
        ({"state": {"x": ("a", "a")}}, "must not name a dim twice"),
        ({"state": {"x": 3}}, "tuple of dims"),
        ({"state": {}}, "at least one variable"),
        ({"state": {"x": "x"}}, "a name of its own"),
        ({"parameters": {"x": ()}}, "a name of its own"),
        ({"parameters": {"learning_rate": ()}}, "must have another name"),
        ({"rhs": 3}, r"must be a function of the arguments \(y, p, d\)"),
        ({"rhs": quiet}, r"must be a function of the arguments \(y, p, d\)"),
        ({"error": fine}, r"must be a function of the arguments \(y, p\)"),
        ({"error": None}, "must be a function"),
        ({"jacobian": quiet}, r"must be a function of the arguments \(y, p, J\)"),
        ({"laws": {"a": ("odd", "x")}}, "must be a function"),
        ({"laws": {"a": ("within", "x", 0)}}, "must have the form"),
        ({"laws": {"a": ("within", "z", 0, 1)}}, "must be of state variables"),
        ({"laws": {"a": ("symmetric", "x")}}, "must be of a matrix"),
        ({"symbols": {"z": "z"}}, "must be of state variables"),
        ({"symbols": {"x": 3}}, "printable ASCII text"),
    ],
)
def test_bad_declarations_are_refused_in_words(given, said):
    with pytest.raises(ok.ProblemError, match=said):
        ok.system("bad", **{"state": {"x": ()}, "rhs": fine, "error": quiet, **given})


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (unknown, "nothing is named 'rat'"),
        (misspelt, "nothing is named 'xx'"),
        (nothing, r"none for d\.x"),
        (not_a_number, r"none for d\.x"),
    ],
)
def test_functions_are_tried_where_the_problem_begins(function, said):
    system = ok.system("tried", state={"x": ()}, parameters={"rate": ()}, rhs=function, error=quiet)
    with pytest.raises(ok.ProblemError, match=said):
        system.problem(x=1.0, rate=1.0, duration=1.0)


def test_functions_may_not_write_what_they_are_given():
    system = ok.system("writes", state={"v": "unit"}, rhs=writes_y, error=lambda y, p: y.v[0])
    with pytest.raises(ok.ProblemError, match="writes only its last argument"):
        system.problem(v=[1.0], duration=1.0)


def sorts(y, p, d):
    d.x = sorted({"a": y.x}.values(), key=str)[0]


@pytest.mark.skipif(NO_JIT, reason="nothing is compiled")
def test_what_numba_cannot_compile_is_said_so():
    system = ok.system("sorts", state={"x": ()}, rhs=sorts, error=quiet)
    with pytest.raises(
        ok.ProblemError, match=r"`rhs` must be plain arithmetic that numba compiles"
    ):
        ok.solve(system.problem(x=1.0, duration=1.0))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"W": [[1.0, 2.0]]}, r"must have 1 entries along 'unit|must have 2 entries along"),
        ({"v": [1.0, 2.0, 3.0]}, "must have 2 entries along 'unit', as W has"),
        ({"v": 1.0}, r"`v` must be an array over \('unit',\)"),
        ({"s": [1.0]}, "`s` must be one number"),
        ({"s": np.nan}, "`s` must be finite"),
        ({"ss": 1.0}, "`ss` must be one of the names of 'net of two'"),
        ({"v": xr.DataArray([1.0, 2.0], dims="units")}, "must have the dims"),
        ({"s": xr.DataArray([1.0, 2.0], dims="v")}, "sweep dims that no state variable"),
        ({"tasks": {"a": {"pull": 1.0}}}, "must name parameters of"),
        ({"tasks": {"a": {}}, "push": None}, "`push` must be given to the problem or to the task"),
        ({"phases": ok.Phase("b", 1.0, 1.0)}, "must name a task"),
        ({"phases": ok.Phase("main", 1.0, 1.0, weight_decay=0.1)}, "must be left out"),
        ({"phases": ok.Phase("main", 1.0, 1.0, batch_size=2)}, "must be left out"),
        ({"phases": []}, "at least one Phase"),
        ({"duration": 1.0}, "`phases` must be given, or `duration`"),
    ],
)
def test_bad_problems_are_refused_in_words(given, said):
    whole = {**START, "rate": 0.4, "push": [0.6, 0.2], "phases": ok.Phase("main", 1.0, 0.5)}
    values = {k: v for k, v in {**whole, **given}.items() if v is not None}
    if "tasks" in given:
        values["phases"] = ok.Phase("a", 1.0, 0.5)
    with pytest.raises(ok.ProblemError, match=said):
        net.problem(**values)


def test_a_missing_start_is_named():
    with pytest.raises(ok.ProblemError, match="`s` must be given at time 0"):
        net.problem(
            **{k: v for k, v in START.items() if k != "s"}, rate=1.0, push=[0, 0], duration=1
        )


def test_scenarios_refer_to_python(tmp_path):
    (tmp_path / "own.toml").write_text('system = "outside"\n')
    with pytest.raises(ok.ScenarioError, match="run from Python"):
        ok.load_scenario(tmp_path / "own.toml")


def test_plain_data_and_copies_keep_everything():
    problem = case(axis("rate", [0.1, 0.2]), [net.phase("main", 1.0, 0.5, push=[0.1, 0.2])])
    data = json.loads(json.dumps(problem.to_dict()))
    again = ok.DeclaredProblem.from_dict(data)
    assert again == problem
    assert again.phases[0].parameters["push"].tolist() == [0.1, 0.2]
    assert again.declaration is net
    moved = problem.replace_phase(0, duration=2.0)
    assert moved.phases[0].parameters["push"].tolist() == [0.1, 0.2]
    assert list(axes(problem)) == ["rate"]
    state, given = layouts(problem)
    assert (state.itemsize, given.itemsize) == (7 * 8, (4 + 2 + 1 + 2) * 8)


# ------------------------------------------------------------------------------------------- device


def test_the_simulated_device_takes_the_steps_of_the_cpu(folder):
    found = python(
        """
        import json
        import numpy as np, xarray as xr, odekit as ok
        from epidemic import sir
        beta = xr.DataArray([1.5, 2.0, 3.0], dims="beta")
        eta = ok.Schedule([0.0, 2.0, 9.0], [0.5, 1.0, 0.1])
        same = []
        for phase in (ok.Phase("main", 9.0, eta), ok.Phase("main", 9.0, 1.0, until=5e-3)):
            given = {"S": 0.99, "I": 0.01, "gone": 0.0, "beta": beta, "gamma": 1.0}
            runs = [ok.solve(sir.problem(**given, phases=phase), rtol=1e-6, t_eval=[0, 2.5, 9.0],
                             device=d) for d in ("cpu", "cuda")]
            same.append(all(runs[0][v].equals(runs[1][v]) for v in runs[0].data_vars))
            same.append(int(runs[1].n_steps.min()) > 4)
        print(json.dumps(same))
        """,
        folder,
        NUMBA_ENABLE_CUDASIM="1",
        NUMBA_DISABLE_JIT="1",
    )
    assert found == [True] * 4


def test_the_kernel_compiles_for_a_real_device(folder):
    """To PTX of compute capability 9.0, the user's functions in it, and no address of the host."""
    found = python(
        f"""
        import json, sys
        from types import SimpleNamespace
        import numpy as np, xarray as xr
        from numba import cuda, typeof, types
        sys.path.insert(0, {str(EXAMPLES)!r})
        from policy_episodes import COMMITTEE, TEACHER, problem
        from odekit.base.interrupts import Interrupts
        from odekit.integrate.engine import MOST_STAGES, Engine, tableau
        from odekit.integrate.options import SolverOptions
        from odekit.problem.axes import axes
        from odekit_kernels.integrators.cuda import body

        try:
            dispatcher = sys.modules[cuda.dispatcher.__name__]
            dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
            sweep = problem(**COMMITTEE, **TEACHER, eta=xr.DataArray([0.5, 1.0], dims="eta"))
            times = np.linspace(0.0, 5.0, 4)
            engine = Engine(sweep, axes(sweep), SolverOptions(), times, 1, Interrupts())
            frame, y = engine.points.start()
            engine.rows = np.zeros((len(y), 4, y.shape[1]))
            plan = engine.points.plan(sweep.phases[0], frame, MOST_STAGES)
            batch = engine.points.batch(0, frame, plan, y=y, numbers=engine.numbers,
                counts=engine.counts, times=times, rows=engine.rows)
            given = (batch, tableau("RK45"), engine._limits(0, plan, 400.0), np.zeros(1, np.int64))
            signature = types.void(*map(typeof, given), types.int64)
            ptx, _ = cuda.compile_ptx(body(plan), signature, cc=(9, 0))
            print(json.dumps({{"entries": ptx.count(".visible .entry"),
                "acos": "acos" in ptx or ptx.count("sqrt.rn.f64") > 4,
                "host": str(plan.rhs) in ptx, "missing": ""}}))
        except (OSError, RuntimeError) as error:
            if "libnvvm" not in str(error).lower() and "NvvmSupportError" not in repr(error):
                raise
            print(json.dumps({{"missing": repr(error)}}))
        """,
        NUMBA_DISABLE_JIT="0",
    )
    if found["missing"]:
        pytest.skip(f"no CUDA compiler here: {found['missing'][:80]}")
    assert found["entries"] == 1
    assert found["acos"]
    assert not found["host"]


# --------------------------------------------------------------------------------------------- page


def test_the_page_runs_and_its_equations_are_those_of_a_linear_committee():
    text = (Path(__file__).parents[1] / "docs" / "own-systems.md").read_text()
    code = text.split("```python\n", 1)[1].split("```", 1)[0]
    names = {}
    exec(compile(code, "docs/own-systems.md", "exec"), names)
    run = names["run"]
    committee = ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.1, 0.0]], T=np.eye(2)),
        heads={"main": [1.0]},
        tasks={"main": ok.Task([1.0, 0.5], noise_std=0.1)},
        phases=[ok.Phase("main", 20.0, 0.5)],
        activation="linear",
    )
    theory = ok.solve(committee, t_eval=run.time.values)
    assert np.allclose(run.R, theory.R[:, 0], rtol=1e-6, atol=1e-8)
    assert np.allclose(run.Q, theory.Q[:, 0, 0], rtol=1e-6, atol=1e-8)
    assert np.allclose(run.generalization_error, theory.generalization_error, rtol=1e-5, atol=1e-9)
    assert names["grid"].Q.dims == ("noise", "time")
    assert (names["grid"].status == 0).all()
