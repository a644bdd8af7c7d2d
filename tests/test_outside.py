"""Systems that a user declares: every way of solving them, and a known truth."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import odekit as ok
from declared import (
    DIMS,
    EXAMPLES,
    TIMES,
    axis,
    case,
    error,
    flat,
    jacobian,
    net,
    python,
    reference,
    rhs,
    root,
)
from odekit.systems.outside.probe import Probe
from odekit_kernels._jit import NO_JIT

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

    class Kernel:
        def __getitem__(self, grid):
            def launch(*given):
                raise TypingError("Failed in cuda mode\n\nUse of unsupported NumPy function\n")

            return launch

    monkeypatch.setattr(device, "processors", lambda: 1)
    with pytest.raises(ok.ProblemError, match=r"Use of unsupported NumPy function.*math\.exp"):
        device._run(_Named(stream=None), Kernel(), 1, 4, ())


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
        runs = [ok.solve(sir.problem(**given, phases=phase), rtol=1e-5, t_eval=[0, 2.5, 9.0],
                         device=d, method="Rodas5P") for d in ("cpu", "cuda")]
        same.append(all(runs[0][v].equals(runs[1][v]) for v in runs[0].data_vars))
        same.append(int(runs[1].n_steps.min()) > 4)
        print(json.dumps(same))
        """,
        folder,
        NUMBA_ENABLE_CUDASIM="1",
        NUMBA_DISABLE_JIT="1",
    )
    assert found == [True] * 6


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
        from odekit.integrate.engine import Engine
        from odekit.integrate.tableaus import MOST_STAGES, tableau
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
            limits = engine._limits(0, plan, batch, 400.0)
            given = (batch, tableau("RK45"), limits, np.zeros(1, np.int64))
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
