"""The drive in full on a CUDA device: in numba's simulator, and as PTX for a real one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SETTING = """
import json, sys
import numpy as np
from types import SimpleNamespace
from numba import cuda, typeof, types
from general_committees import batch_of, flat, given_of, memory_of, row_of, sizes_of, wiring_of
from odekit.integrate import device
from odekit.integrate.tableaus import tableau
from odekit_kernels.committee.general import equations
from odekit_kernels.committee.general.plan import ADAGRAD, make_plan
from odekit_kernels.integrators.batch import make_counters
from odekit_kernels.integrators.cuda import body
from odekit_kernels.integrators.explicit import advance_explicit
from odekit_kernels.lanes.memory import make_memory
from transcription_inputs import Phase, State, Task, Vectors

def made(duration):
    "One unit with all that there is, and a sign teacher."
    task = Task(np.array([[0.8]]), label=0.3, noise_std=0.5, mean=0.7, variance=[0.8, 1.2])
    phase = Phase((task,), np.ones(1), 0.5, 0.2, 0.3, keep=0.8, kappa_w=0.1)
    ones = np.ones((2, 1, 1))
    start = State(0.5 * ones, 0.2 * ones, np.full((1, 1, 1), 0.9), np.array([0.2]))
    vectors = Vectors(np.array([0.4, 0.6]), ones, teacher_bias=0.1)
    plan = make_plan(sizes_of(start, phase, heavy=1, adaptive=ADAGRAD), 8)
    row = row_of(plan, given_of(start, vectors, phase) | {"friction": 2.0, "level": [1e-9]})
    y = np.zeros(plan.n)
    y[: flat(start).size], y[-1] = flat(start), 1.0
    wiring = wiring_of(start, phase, [1.0, 0.0])
    return plan, *batch_of(plan, wiring, row, y * np.array([[1.0], [0.9]]), duration)
"""


def run(code, **environment):
    """Run a program with the setting above, and return what it prints as JSON."""
    here = str(Path(__file__).parent)
    path = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    result = subprocess.run(
        [sys.executable, "-c", SETTING + code],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


SAME = """
print(json.dumps([np.array_equal(on_cpu.rows, on_device.rows), on_cpu.counts[:, :3].tolist(),
                  float(np.ptp(on_cpu.rows[0], axis=0).max())]))
"""


def same_steps(code):
    """What the code advances on both comes to the same rows, to the last bit."""
    same, counts, moved = run(code + SAME, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")
    assert same
    assert moved > 0.01
    # Done, with both rows written, in some steps.
    assert all(code == 1 and row == 2 and steps >= 2 for code, row, steps in counts)


def test_the_simulated_device_takes_the_steps_of_lanes():
    """All there is, of one unit and a sign teacher: equal to the last bit."""
    same_steps("""
plan, on_cpu, limits = made(0.5)
todo = np.arange(2)
queue, memory = np.array([0, 1, 2]), make_memory(plan.size)
advance_explicit(memory, make_counters(8), plan, on_cpu, tableau("RK45"), limits, queue, todo, 99)
_, on_device, _ = made(0.5)
device.advance(plan, on_device, tableau("RK45"), limits, todo, lambda: False)
""")


def test_the_simulated_device_takes_the_stiff_steps_of_lanes():
    """Its Jacobians come from one state after the other, to the same bits as from eight at once."""
    same_steps("""
from odekit_kernels.integrators.implicit import advance_implicit, make_scratch
from odekit_kernels.integrators.rosenbrock import RODAS5P
plan, on_cpu, limits = made(0.5)
todo = np.arange(2)
queue, memory, work = np.array([0, 1, 2]), make_memory(plan.size), make_memory(plan.size)
scratch = make_scratch(plan.n, on_cpu.places.size)
advance_implicit(memory, make_counters(8), plan, on_cpu, RODAS5P, limits, queue, todo, 99, scratch,
                 work)
_, on_device, _ = made(0.5)
device.advance(plan, on_device, RODAS5P, limits, todo, lambda: False, make_memory(plan.size))
""")


def test_the_kernel_compiles_for_a_real_device():
    """To PTX of compute capability 9.0: every function it calls has a version for the device."""
    found = run(
        """
# Device functions ask for the device that they are compiled for.
dispatcher = sys.modules[cuda.dispatcher.__name__]
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
plan, batch, limits = made(1.0)
given = (batch, tableau("RK45"), limits, np.zeros(1, np.int64))
try:
    ptx, _ = cuda.compile_ptx(body(plan), types.void(*map(typeof, given), types.int64), cc=(9, 0))
    print(json.dumps({"entries": ptx.count(".visible .entry"), "missing": ""}))
except (OSError, RuntimeError) as error:
    if "libnvvm" not in str(error).lower() and "NvvmSupportError" not in repr(error):
        raise
    print(json.dumps({"missing": repr(error)}))
""",
        NUMBA_DISABLE_JIT="0",
    )
    if found["missing"]:
        pytest.skip(f"no CUDA compiler here: {found['missing'][:80]}")
    assert found["entries"] == 1
