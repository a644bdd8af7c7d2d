"""A sweep on a CUDA device: the CPU's numbers, its time, and where that goes.

`python -m bench.gpu` on a machine with a device; it takes some three minutes, most of them
compiling. Without one it lists what kernels take once they are assembled for a device of compute
capability 9.0: registers, stack, spills.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import xarray as xr

import odekit as ok
from bench import peer_work
from bench.results import keep
from bench.tables import markdown
from odekit.base.interrupts import Interrupts
from odekit.integrate import device
from odekit.integrate.engine import Engine
from odekit.integrate.options import SolverOptions
from odekit.integrate.tableaus import MOST_STAGES, tableau
from odekit.problem.axes import axes

SIZES = {2: 2**19, 3: 2**17, 4: 2**16, 8: 2**12}
"""Trajectories by K = M."""
ROWS = {"50 rows": peer_work.TIMES, "one row": peer_work.TIMES[-1:]}
TOLERANCE = peer_work.tolerances()
CAPABILITY = (9, 0)


# ----------------------------------------------------------------------------------- on a device


@contextlib.contextmanager
def kernels_timed():
    """Seconds of the kernels that are launched meanwhile, by name."""
    from numba import cuda

    seconds, run = {}, device._run

    def timed(here, kernel, *rest):
        begin, end = cuda.event(), cuda.event()
        begin.record(here.stream)
        run(here, kernel, *rest)
        end.record(here.stream)
        end.synchronize()
        name = kernel.py_func.__name__
        seconds[name] = seconds.get(name, 0.0) + 1e-3 * cuda.event_elapsed_time(begin, end)

    device._run = timed
    try:
        yield seconds
    finally:
        device._run = run


def timed(problem, where, times):
    begin = time.perf_counter()
    run = ok.solve(problem, t_eval=times, device=where, **TOLERANCE)
    return time.perf_counter() - begin, run


def rates(repeats=3):
    """Rows of dict: K, rows, trajectories, first call, kernels, whole call, the CPU's, in s."""
    found = []
    for K, n in SIZES.items():
        problem, few = peer_work.problem(peer_work.first(K, n)), min(n, 2**13)
        small = peer_work.problem(peer_work.first(K, few))
        compiling = timed(small, "cuda", peer_work.TIMES)[0]
        timed(small, "cpu", peer_work.TIMES)
        cpu = timed(small, "cpu", peer_work.TIMES)[0] * n / few
        for name, times in ROWS.items():
            with kernels_timed() as seconds:
                timed(problem, "cuda", times)
            kernels = seconds["advance"]
            whole = np.median([timed(problem, "cuda", times)[0] for _ in range(repeats)])
            found.append(
                {"K": K, "rows": name, "n": n, "first_s": compiling, "kernel_s": kernels,
                 "whole_s": float(whole), "cpu_s": cpu}
            )  # fmt: skip
    return found


def cases():
    """Problems by name that together need all that kernels do."""
    start = ok.OrderParameters.draw(
        student=2, teacher=2, weight_std=0.6, input_dim=200, seed=1, draws=64
    )
    noise = xr.DataArray(np.linspace(0.0, 0.5, 64), dims="noise")
    tasks = {"a": ok.Task([1.0, 0.0], noise_std=noise), "b": ok.Task([0.0, 1.0], head="a")}
    table = ok.Schedule([0.0, 10.0, 30.0], [0.5, 0.7, 0.2])

    def problem(activation="erf", **first):
        phases = [
            ok.Phase(**{"tasks": "a", "duration": 30.0, "learning_rate": 0.5} | first),
            ok.Phase("b", 20.0, 0.4, 0.2, gradient_flow=activation == "relu"),
        ]
        heads = {"a": [1.0, 0.5]}
        return ok.Problem(
            state=start, heads=heads, tasks=tasks, activation=activation, phases=phases
        )

    return {
        "plain": problem(readout_learning_rate=0.2),
        "threshold": problem(until=0.05),
        "schedule, decay": problem(learning_rate=table, weight_decay=0.05),
        "mixture": problem(tasks={"a": 0.6, "b": 0.4}, batch_size=4),
        "ReLU": problem("relu", gradient_flow=True),
        "linear": problem("linear", learning_rate=0.2),
        "stiff": problem(duration=1e4),
    }


def equality():
    """Rows of dict: largest difference to the CPU in tolerances, and whether all else is equal."""
    found = []
    for name, problem in cases().items():
        times = np.linspace(0.0, float(sum(phase.duration for phase in problem.phases)), 6)
        cpu, there = (
            ok.solve(problem, t_eval=times, rtol=1e-8, atol=1e-11, device=where)
            for where in ("cpu", "cuda")
        )
        apart = {
            v: float(abs(cpu[v] - there[v]).max() / (1e-8 * abs(cpu[v]).max() + 1e-11))
            for v in ("Q", "R", "generalization_error")
        }
        same = bool((cpu.status == there.status).all() and (cpu.method == there.method).all())
        steps = int((cpu.n_steps != there.n_steps).sum())
        found.append({"problem": name, **apart, "same": same, "other_steps": steps,
                      "n": there.n_steps.size})  # fmt: skip
    return found


# -------------------------------------------------------------------------------- without a device


def first_phase(problem):
    """Plan, batch and limits of the first phase, for both partners, and the memory of Jacobians."""
    engine = Engine(problem, axes(problem), SolverOptions(**TOLERANCE), np.ones(1), 1, Interrupts())
    frame, y = engine.points.start()
    plan = engine.points.plan(problem.phases[0], frame, MOST_STAGES)
    state = {"y": y, "numbers": engine.numbers, "counts": engine.counts}
    rows = np.zeros((len(y), 1, y.shape[1]))
    batch = engine.points.batch(0, frame, plan, times=np.ones(1), rows=rows, **state)
    return plan, batch, engine._limits(0, plan, batch, 1.0), engine.points.work(plan)


def kernels():
    """Bodies of kernels and their arguments, by name."""
    from odekit_kernels.integrators import cuda, cuda_implicit
    from odekit_kernels.integrators.rosenbrock import RODAS5P
    from odekit_kernels.integrators.unrolled import written_out

    found, todo = {}, np.zeros(1, dtype=np.int64)
    some = cases()
    problems = {f"erf, K = M = {K}": peer_work.problem(peer_work.first(K, 8)) for K in (2, 3, 8)}
    problems |= {"ReLU": some["ReLU"], "linear": some["linear"]}
    for name, problem in problems.items():
        plan, batch, limits, work = first_phase(problem)
        flags = limits.moves, limits.trains, limits.decays
        lines, wire = written_out(plan, batch.wiring, *flags)
        given = (batch._replace(wiring=wire(batch.wiring)), tableau("RK45"), limits, todo)
        said = f"{name}, written out" if lines is not plan else name
        found[f"explicit, {said}"] = cuda.body(lines), given
        if name.endswith("2") or "erf" not in name:
            thread = cuda_implicit.lay_out(plan, batch.places.size, work)
            found[f"stiff, {name}"] = cuda_implicit.body(thread), (batch, RODAS5P, limits, todo)
    return found


def assembler():
    """CUDA's assembler: on the path, or from the wheel of the compiler."""
    folder = Path(sysconfig.get_paths()["purelib"]) / "nvidia/cuda_nvcc/bin"
    return shutil.which("ptxas") or shutil.which("ptxas", path=str(folder))


def assembled():
    """Rows of dict: kernel, seconds to compile, registers, stack and spills in bytes."""
    from numba import cuda, typeof, types

    # Device functions ask for the device that they are compiled for.
    module = sys.modules[cuda.dispatcher.__name__]
    module.get_current_device = lambda: SimpleNamespace(compute_capability=CAPABILITY)
    found = []
    for name, (body, given) in kernels().items():
        begin = time.process_time()
        signature = types.void(*map(typeof, given), types.int64)
        text, _ = cuda.compile_ptx(body, signature, cc=CAPABILITY)
        row = {"kernel": name, "compile_s": time.process_time() - begin}
        found.append(row | resources(text))
    return found


def resources(text):
    """What the assembler says of the kernel in a text of PTX."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.ptx"
        path.write_text(text)
        command = [assembler(), "-arch=sm_90", "-v", str(path), "-o", str(path) + ".cubin"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    words = {
        "registers": r"Used (\d+) registers",
        "stack": r"(\d+) bytes stack frame",
        "spilled": r"(\d+) bytes spill stores",
    }
    return {name: max(map(int, re.findall(word, said)), default=0) for name, word in words.items()}


# ------------------------------------------------------------------------------------------ tables


def run():
    """Whatever can be found out here, by name."""
    if not device.trouble():
        from numba import cuda

        name = cuda.get_current_device().name
        said = name.decode() if isinstance(name, bytes) else str(name)
        return {"device": said, "equality": equality(), "rates": rates()}
    return {"assembled": assembled()} if assembler() else {}


def table(found):
    """Markdown."""
    if "assembled" in found:
        heads = [" kernel", "to PTX, s of CPU", "registers", "stack, B", "spilled, B"]
        lines = [
            [r["kernel"], f"{r['compile_s']:.0f}", r["registers"], r["stack"], r["spilled"]]
            for r in found["assembled"]
        ]
        return markdown(heads, lines)
    if not found:
        return "Neither a device nor an assembler is here."
    heads = [" problem", "Q", "R", "errors", " status, method", "other numbers of steps"]
    equal = [
        [r["problem"], *(f"{r[v]:.2g}" for v in ("Q", "R", "generalization_error")),
         "same" if r["same"] else "**differ**", f"{r['other_steps']} of {r['n']}"]
        for r in found["equality"]
    ]  # fmt: skip
    parts = [f"{found['device']}. Differences to the CPU, in tolerances:", markdown(heads, equal)]
    heads = ["K = M", " rows", "trajectories", "kernel, 10⁶/s", "whole call, 10⁶/s"]
    heads += ["all cores, 10⁶/s", "first call, s"]
    speed = [
        [r["K"], r["rows"], f"{r['n']:,}",
         *(f"{1e-6 * r['n'] / r[s]:.3g}" for s in ("kernel_s", "whole_s", "cpu_s")),
         f"{r['first_s']:.1f}"]
        for r in found["rates"]
    ]  # fmt: skip
    return "\n\n".join([*parts, markdown(heads, speed)])


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    found = run()
    print(table(found))
    if "device" in found:
        keep("gpu", found)


if __name__ == "__main__":
    main()
