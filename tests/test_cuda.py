"""The CUDA engine: in numba's simulator, as PTX for a real device, and where there is none."""

import json
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import xarray as xr

import odekit as ok
from odekit.integrate import device as gpu
from odekit.integrate.options import SolverOptions

WITHOUT_DEVICE = bool(gpu.trouble())

SETTING = """
    import numpy as np, xarray as xr, odekit as ok

    def sweep(activation="erf", **phase):
        start = ok.OrderParameters.draw(
            student=2, teacher=2, weight_std=0.6, input_dim=200, seed=1, draws=3)
        noise = xr.DataArray([0.0, 0.3], dims="noise")
        tasks = {"a": ok.Task([1.0, 0.0], noise_std=noise), "b": ok.Task([0.0, 1.0], head="a")}
        given = dict(tasks="a", duration=3.0, learning_rate=0.5, readout_learning_rate=0.2) | phase
        hold = ok.Consolidation("fisher", 0.3, task="a")
        second = ok.Phase("b", 2.0, 0.4, consolidation=hold, gradient_flow=activation == "relu")
        return ok.Problem(state=start, heads={"a": [1.0, 0.5]}, tasks=tasks, activation=activation,
                          phases=[ok.Phase(**given), second])

    def grouped():
        shares = {"in": 0.5, "out": 0.5}
        start = ok.OrderParameters.draw(
            student=2, teacher=2, weight_std=0.6, input_dim=200, seed=1, groups=shares,
            teacher_groups=["in"])
        noise = xr.DataArray([0.0, 0.4], dims="noise")
        view = dict(input_variance={"in": 1.0, "out": 0.3}, student_noise_std=noise)
        tasks = {"a": ok.Task([1.0, 0.0], **view), "b": ok.Task([0.0, 1.0], head="a")}
        hold = ok.Consolidation("fisher", 0.3, task="a")
        return ok.Problem(
            state=start, heads={"a": [1.0, 0.5]}, tasks=tasks, groups=shares,
            phases=[ok.Phase({"a": 0.6, "b": 0.4}, 3.0, 0.5, 0.2, weight_decay=0.1, until=0.05),
                    ok.Phase("b", 2.0, {"in": 0.4, "out": 0.2}, consolidation=hold)])

    def network():
        net = ok.linear.deep([2, 2, 2])
        return ok.LinearProblem(
            net, ok.linear.normal(net, 0.4, seed=0, draws=6),
            ok.linear.Correlations(yx=np.diag([2.0, 1.0]), xx=np.eye(2)),
            ok.Phase("main", 5.0, 1.0))
"""


def run_python(code, **environment):
    """Run a program with the setting above, and return what it prints as JSON."""
    source = textwrap.dedent(SETTING) + textwrap.dedent(code)
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", source],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_the_simulated_device_takes_the_steps_of_the_cpu():
    """The same source on one lane a thread: equal to the last bit where neither is compiled.

    Several phases, a threshold, a schedule, copies of units, decay and a mixture go through it.
    """
    found = run_python(
        """
        import json
        from odekit.integrate import device, shares
        from odekit_kernels.integrators import cuda, cuda_rows

        calls, make = [], cuda.explicit_kernel
        cuda.explicit_kernel = lambda plan: calls.append(plan.n) or make(plan)
        reads, read = [], cuda_rows.errors_kernel
        cuda_rows.errors_kernel = lambda plan: reads.append(plan.n) or read(plan)
        # Memory for four trajectories at a time, which come back one by one.
        device._most, shares.BYTES = lambda here, batch, errors, size: min(size, 4), 100
        lengths = xr.DataArray([0.3, 3.0, 1.0], dims="draw")
        table = ok.Schedule([0.0, 1.0, 3.0], [0.5, 0.7, 0.2])
        cases = {
            "plain": sweep(),
            "threshold": sweep(until=0.05),
            "schedule": sweep(learning_rate=table, weight_decay=0.1),
            "mixture": sweep(tasks={"a": 0.6, "b": 0.4}, batch_size=4),
            "relu": sweep("relu", gradient_flow=True),
            "groups": grouped(),
            "network": network(),
            "durations": sweep(duration=lengths),
        }
        worst = {}
        for name, problem in cases.items():
            runs = [ok.solve(problem, rtol=1e-6, atol=1e-9, t_eval=[0, 0.5, 2.5, 3.0, 5.0],
                             device=d, threads=2) for d in ("cpu", "cuda")]
            launched = len(reads)
            same = all(runs[0][v].equals(runs[1][v]) for v in runs[0].data_vars)
            worst[name] = [same, int(runs[1].n_steps.min()), int(runs[1].status.max()), launched]
            reads.clear()
        print(json.dumps({"cases": worst, "launched": len(calls)}))
        """,
        NUMBA_ENABLE_CUDASIM="1",
        NUMBA_DISABLE_JIT="1",
    )
    assert found["launched"] >= 10
    for name, (same, steps, status, read) in found["cases"].items():
        assert same, name
        # Errors of rows are the device's, but where they are not the kernels'.
        assert (read > 0) == (name != "network"), name
        assert steps > 4, name
        assert status == 0, name


def test_what_turns_stiff_goes_on_and_bad_runs_have_their_status():
    found = run_python(
        """
        import json, warnings
        warnings.simplefilter("ignore", ok.NotCompletedWarning)
        etas = xr.DataArray([0.5, 3.0], dims="eta")
        start = ok.OrderParameters(Q=[[0.3]], R=[[0.1]], T=[[1.0]])
        bad = ok.Problem(state=start, heads={"a": [1.0]}, tasks={"a": ok.Task([1.0])},
                         phases=[ok.Phase("a", 200.0, etas)], activation="linear")
        run = ok.solve(bad, device="cuda", rtol=1e-4, t_eval=[0.0, 1.0, 200.0], method="RK45")
        long = ok.solve(bad.replace_phase(0, duration=3e4, learning_rate=etas[:1]), rtol=1e-4,
                        device="cuda", t_eval=[3e4])
        print(json.dumps({"status": run.status.values.tolist(),
                          "row": bool(np.isfinite(run.Q.values[1, 1]).all()),
                          "method": str(long.method.values.ravel()[0]),
                          "error": float(abs(long.R.values.ravel()[0] - 1.0))}))
        """,
        NUMBA_ENABLE_CUDASIM="1",
        NUMBA_DISABLE_JIT="1",
    )
    assert found["status"] == [int(ok.Status.COMPLETED), int(ok.Status.BLOW_UP)]
    assert found["row"]
    assert found["method"] == "RK45 -> Rodas5P"
    assert found["error"] < 1e-6


PTX = """
    import json, sys
    from types import SimpleNamespace
    from numba import cuda, typeof, types
    from odekit.integrate.engine import Engine
    from odekit.integrate.tableaus import MOST_STAGES, tableau
    from odekit.base.interrupts import Interrupts
    from odekit.integrate.options import SolverOptions
    from odekit.problem.axes import axes
    from odekit_kernels.integrators import cuda as explicit, cuda_implicit, unrolled
    from odekit_kernels.integrators.rosenbrock import RODAS5P

    def first_phase(problem):
        times = np.linspace(0.0, 5.0, 4)
        engine = Engine(problem, axes(problem), SolverOptions(), times, 1, Interrupts())
        frame, y = engine.points.start()
        plan = engine.points.plan(engine.problem.phases[0], frame, MOST_STAGES)
        batch = engine.points.batch(0, frame, plan, y=y, numbers=engine.numbers,
            counts=engine.counts, times=times, rows=np.zeros((len(y), 4, y.shape[1])))
        return plan, batch, engine._limits(0, plan, batch, 400.0), engine.points.work(plan)

    def kernel(plan, batch, limits, work):
        if partner == "stiff":
            thread = cuda_implicit.lay_out(plan, batch.places.size, work)
            return cuda_implicit.body(thread), batch, RODAS5P, thread.room
        if partner == "written out":
            flags = limits.moves, limits.trains, limits.decays
            lines, wire = unrolled.written_out(plan, batch.wiring, *flags)
            assert lines is not plan
            plan, batch = lines, batch._replace(wiring=wire(batch.wiring))
        return explicit.body(plan), batch, tableau("RK45"), 0

    try:
        # Device functions ask for the device that they are compiled for.
        dispatcher = sys.modules[cuda.dispatcher.__name__]
        dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
        relu = activation == "relu"
        problem = network() if activation == "network" else sweep(activation, gradient_flow=relu)
        plan, batch, limits, work = first_phase(problem)
        made, batch, method, room = kernel(plan, batch, limits, work)
        given = batch, method, limits, np.zeros(1, np.int64)
        signature = types.void(*map(typeof, given), types.int64)
        ptx, _ = cuda.compile_ptx(made, signature, cc=(9, 0))
        print(json.dumps({"entries": ptx.count(".visible .entry"), "room": room, "missing": "",
            "roots": ptx.count("sqrt.rn.f64"), "linked": ptx.count(".extern .func")}))
    except (OSError, RuntimeError) as error:
        if "libnvvm" not in str(error).lower() and "NvvmSupportError" not in repr(error):
            raise
        print(json.dumps({"missing": repr(error)}))
"""


def compiles_for_a_real_device(activation, partner):
    """To PTX of compute capability 9.0, without a function that would have to be linked to it."""
    asked = f"activation, partner = {activation!r}, {partner!r}\n"
    found = run_python(asked + textwrap.dedent(PTX))
    if found["missing"]:
        pytest.skip(f"no CUDA compiler here: {found['missing'][:80]}")
    assert found["entries"] == 1
    assert found["roots"] > 0
    assert found["linked"] == 0
    assert found["room"] == 0


@pytest.mark.parametrize(
    ("activation", "partner"),
    [
        ("erf", "written out"),
        ("erf", "explicit"),
        ("linear", "explicit"),
        ("relu", "explicit"),
        ("network", "explicit"),
    ],
)
def test_the_kernel_compiles_for_a_real_device(activation, partner):
    """Every function it calls has a version for the device."""
    compiles_for_a_real_device(activation, partner)


@pytest.mark.skipif(not WITHOUT_DEVICE, reason="there is a device here")
def test_without_a_device_the_error_says_so_and_auto_falls_back():
    etas = xr.DataArray(np.linspace(0.1, 1.0, 9), dims="eta")
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[0.3]], R=[[0.1]], T=[[1.0]]),
        heads={"a": [1.0]},
        tasks={"a": ok.Task([1.0])},
        phases=[ok.Phase("a", 1.0, etas)],
    )
    with pytest.raises(ok.ProblemError, match="no CUDA device can be used"):
        ok.solve(problem, device="cuda")
    with pytest.raises(ok.ProblemError, match="single run"):
        ok.solve(problem.replace_phase(0, learning_rate=0.5), device="cuda")
    with pytest.raises(ok.ProblemError, match="unless `method` is one of"):
        ok.solve(problem, device="cuda", method="Radau")
    with pytest.raises(ok.ProblemError, match="device"):
        ok.solve(problem, device="tpu")
    assert (ok.solve(problem, device="auto").status == 0).all()
    assert not gpu.choose("auto", 10**6)


@pytest.mark.skipif(WITHOUT_DEVICE, reason="no CUDA device here")
def test_a_real_device_agrees_with_the_cpu():
    """Within tolerance: the device's elementary functions differ by rounding."""
    start = ok.OrderParameters.draw(
        student=2, teacher=2, weight_std=0.5, input_dim=1000, seed=1, draws=5000
    )
    problem = ok.Problem(
        state=start,
        heads={"a": [1.0, 1.0]},
        tasks={"a": ok.Task([1.0, 1.0], noise_std=0.1)},
        phases=[ok.Phase("a", 100.0, 0.5)],
    )
    options = {"t_eval": np.linspace(0, 100, 11), "rtol": 1e-8, "atol": 1e-11}
    cpu, device = (ok.solve(problem, device=d, **options) for d in ("cpu", "cuda"))
    assert (device.status == 0).all()
    assert float(abs(cpu.Q - device.Q).max()) < 1e-5


KEPT = """
    import json, pickle, sys
    from pathlib import Path
    from types import SimpleNamespace
    from numba import cuda, typeof, types
    from odekit.problem.axes import axes
    from odekit_kernels._jit import cache_directory
    from odekit_kernels.integrators import cuda_rows

    dispatcher = sys.modules[cuda.dispatcher.__name__]
    device = SimpleNamespace(compute_capability=(9, 0), id=0)
    # Device functions, and the cache, ask for the device that is there.
    dispatcher.get_current_device = lambda: device
    codegen = sys.modules[dispatcher.__name__.replace("dispatcher", "codegen")]
    codegen.devices.get_context = lambda *_: SimpleNamespace(device=device)
    # There is no device to load the code to.
    dispatcher._Kernel.bind = lambda self: self._codelibrary.get_asm_str(cc=(9, 0))
    reading = sweep().system.points(sweep(), axes(sweep())).reading()
    rows, counts = np.zeros((2, 2, reading.plan.n)), np.zeros((2, 10), np.int64)
    given = (reading.wiring, reading.constants, reading.places, rows, counts, rows)

    def compiled(plan):
        kernel = cuda_rows.errors_kernel(plan)
        return kernel.compile(tuple(map(typeof, given)))

    def files():
        return sorted(cache_directory().glob("device-*"))

    try:
        one = compiled(reading.plan)
        missing = ""
    except (OSError, RuntimeError) as error:
        if "libnvvm" not in str(error).lower() and "NvvmSupportError" not in repr(error):
            raise
        missing = repr(error)
"""


def test_kernels_of_a_device_are_kept_for_other_processes(tmp_path):
    """The second process compiles nothing; a damaged file is compiled anew; plans lie apart."""
    found = []
    for _ in range(2):
        code = """
            if not missing:
                made, before = dispatcher._Kernel.__init__, files()
                fresh = []
                dispatcher._Kernel.__init__ = lambda s, *a, **k: fresh.append(1) or made(s, *a, **k)
                cuda_rows.errors_kernel.cache_clear()
                again = compiled(reading.plan)
                same = again._codelibrary.get_asm_str(cc=(9, 0)) == \
                    one._codelibrary.get_asm_str(cc=(9, 0))
                kept = len(fresh)
                for path in before:
                    path.write_bytes(path.read_bytes()[:-1] + b"x")
                cuda_rows.errors_kernel.cache_clear()
                compiled(reading.plan)
                damaged = len(fresh) - kept
                other = reading.plan._replace(size=reading.plan.size + 1)
                compiled(other)
                print(json.dumps({"missing": "", "kept": kept, "same": same, "damaged": damaged,
                                  "files": [len(before), len(files())],
                                  "mode": oct(cache_directory().stat().st_mode & 0o777),
                                  "first": one.__dict__.get("fndesc") is not None}))
            else:
                print(json.dumps({"missing": missing}))
        """
        both = textwrap.dedent(KEPT) + textwrap.dedent(code)
        found.append(run_python(both, NUMBA_CACHE_DIR=str(tmp_path)))
        if found[-1]["missing"]:
            pytest.skip(f"no CUDA compiler here: {found[-1]['missing'][:80]}")
    for one in found:
        assert one["same"]
        assert (one["kept"], one["damaged"]) == (0, 1)
        assert one["mode"] == "0o700"
    # What was compiled knows more of itself than what comes from a file.
    assert [one["first"] for one in found] == [True, False]
    assert [one["files"] for one in found] == [[1, 2], [2, 2]]


def test_a_device_is_part_of_what_a_result_depends_on():
    assert SolverOptions(device="cuda").to_dict() == {"device": "cuda"}
    assert SolverOptions().to_dict() == {}
