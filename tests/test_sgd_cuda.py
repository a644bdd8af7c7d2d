"""The GPU's steps against the CPU's, in Numba's simulator of a GPU, and compiled to PTX."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import odekit as ok
from test_against_sgd import one_phase, two_teachers

TESTS = Path(__file__).parent
HEAD = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
import numpy as np
np.seterr(over="ignore")  # integers of the random numbers wrap round
"""

STEPS = """
from odekit_kernels.committee.sgd import cuda as sgd_cuda, memory as sgd_memory, steps as sgd
from test_sgd_kernel import compiled_rule, network, words


def agree(N, batch, steps, code=0, inputs=False, labels=False):
    W, B, v, plain = network(N=N, batch=batch)
    rng = np.random.default_rng(1)
    plain.kappa_w, plain.kappa_v, plain.move = 0.4, 0.3, np.array([1.0, 0.0, 1.0])
    if N == 40:
        plain.held = [(rng.random(W.shape), rng.normal(size=W.shape))]
        plain.held_heads = [(0, rng.random(3), rng.normal(size=3))]
    if inputs:
        plain.inputs = rng.uniform(-1, 1, (40, N))
        plain.first, plain.count = np.array([0, 10, 25]), np.array([10, 15, 15])
        plain.labels = rng.normal(size=(3, 40)) if labels else None
    rules, gpu, cpu = [], [], []
    for i in range(2):
        rules.append(compiled_rule(N, B + i, 2, 3, plain))
        for side in (gpu, cpu):
            own = sgd_memory.padded(W - i), v + i, words(i), batch, rules[i]
            side.append(sgd_memory.make_memory(*own))
    eta_w, eta_v = np.linspace(1.0, 0.5, steps), np.array([0.7])
    for part in (slice(0, 2), slice(2, steps)):
        n = len(eta_w[part])
        rates = eta_w[part], eta_v
        sgd_cuda.train_many(n, rates, code, rules, gpu)
        for rule, memory in zip(rules, cpu):
            sgd.train(n, *rates, code, code, rule, memory)
    for a, b in zip(gpu, cpu):
        np.testing.assert_allclose(a.W, b.W, rtol=0, atol=1e-13)
        np.testing.assert_allclose(a.v, b.v, rtol=0, atol=1e-13)
        np.testing.assert_array_equal(a.streams, b.streams)
        assert np.abs(b.W[0] - b.W[1]).max() > 0.1


agree(40, 1, 4)
agree(40, 2, 3, code=2)
agree(70, 2, 3, code=1)
agree(600, 1, 3)
agree(40, 1, 3, inputs=True)
agree(40, 1, 3, inputs=True, labels=True)
"""

STRUCTURED = """
import odekit as ok
import sgd_inputs
from odekit_kernels.committee.sgd import cuda as sgd_cuda, steps as sgd
from test_sgd_features import N, at_rest, everything, prepared, said

start, vectors, phase = everything()
for more in ({}, {"momentum_decay": 2.0, "normalization": ok.RMSNorm(2.0, 0.3, 0.1)}):
    problem = said(start, vectors, phase, **more)
    sides = []
    for _ in range(2):
        networks = sgd_inputs.with_overlaps(np.random.default_rng(1), start, vectors, N, 1)
        power = np.array([0.3]) if more else None
        sides.append(prepared(networks, phase, problem, at_rest(networks) if more else None, power))
    (rates, rule, gpu), (_, _, cpu) = sides
    before = cpu.W.copy()
    for n in (2, 2):
        sgd_cuda.train_many(n, rates, 0, [rule], [gpu])
        sgd.train(n, *rates, 0, 0, rule, cpu)
    assert np.abs(cpu.W - before).max() > 1e-3
    for name in sgd_cuda.LEARNT:
        np.testing.assert_allclose(getattr(gpu, name), getattr(cpu, name), rtol=0, atol=1e-13)
"""

SIMULATE = """
import odekit as ok
import xarray as xr
from test_against_sgd import one_phase, switch, two_teachers

etas = xr.DataArray([0.5, 0.9], dims="eta")
problem = two_teachers([
    one_phase({"a": 0.6, "b": 0.4}, 0.2, learning_rate=etas),
    one_phase("b", 0.5, until=0.35, consolidation=switch("fisher", task="a")),
])
keywords = {"input_dim": 20, "seed": 2, "replicas": 2, "t_eval": [0.1, 0.2, 0.3, 0.7]}
cpu = ok.simulate(problem, method="weights", **keywords)
gpu = ok.simulate(problem, device="cuda", **keywords)
for name in cpu.data_vars:
    np.testing.assert_allclose(gpu[name], cpu[name], atol=1e-12)
assert len(np.unique(cpu.phase_end[..., 1])) > 1, "replicas end at different times"

shares = {"in": 0.5, "out": 0.5}
start = ok.OrderParameters.draw(
    2, 2, weight_std=0.6, input_dim=200, seed=1, groups=shares, teacher_groups=["in"])
view = {"input_variance": {"in": 1.0, "out": 0.3}, "student_noise_std": 0.4, "student_gain": 0.9}
phases = [ok.Phase("a", 0.2, 0.5, 0.2, batch_size=2), ok.Phase("a", 0.2, {"in": 0.5, "out": 0.2})]
problem = ok.Problem(start, {"a": [1.0, 0.5]}, {"a": ok.Task([1.0, 1.0], **view)}, phases,
                     groups=shares)
sims = [ok.simulate(problem, input_dim=40, seed=0, t_eval=[0.2, 0.4], device=d)
        for d in ("cpu", "cuda")]
for name in sims[0].data_vars:
    np.testing.assert_allclose(sims[1][name], sims[0][name], atol=1e-12)
"""

PTX = """
import numba
from numba import cuda, types
from numba.types import float64, int64, uint64
from types import SimpleNamespace
from numba.cuda import dispatcher
from odekit_kernels.committee.sgd.cuda import train_networks
from odekit_kernels.committee.sgd.memory import Memory, Rule

# Device functions ask which GPU they are compiled for.
dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))

f1, f2, f3 = (types.Array(float64, n, "C") for n in (1, 2, 3))
i1, i2 = (types.Array(int64, n, "C") for n in (1, 2))
u3 = types.Array(uint64, 3, "C")
rule = {"N": int64, "B": f3, "u": f2, "sigma": f1, "p": f1, "head": i1, "move": f1,
        "kappa_w": float64, "kappa_v": float64, "F": f3, "Fa": f3, "F_v": f3, "Fv": f3,
        "inputs": f2, "labels": f2, "first": i1, "size": i1, "drawn": f2, "gain": f2,
        "noise": f2, "pace": f2, "outputs": int64, "constant": f1, "centre": f3, "seen": f3,
        "shift": f1, "sign": types.boolean, "eta_b": float64, "keep": f1, "friction": float64,
        "gather": float64, "forget": float64, "floor": float64}
memory = {name: f3 for name in Memory._fields} | {
    "streams": u3, "trained": f2, "label": f2, "task": i2, "row": i2, "bias": f2, "db": f2,
    "power": f2}
named = lambda kind, types_: types.NamedTuple([types_[name] for name in kind._fields], kind)
signature = types.void(int64, int64, f1, f1, named(Rule, rule), named(Memory, memory))
ptx, _ = cuda.compile_ptx(train_networks.py_func, signature, cc=(9, 0))
assert ".entry" in ptx and ".shared" in ptx and "bar.sync" in ptx
print(len(ptx))
"""


def run(code, **env):
    return subprocess.run(
        [sys.executable, "-c", HEAD + code],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "code", [STEPS, STRUCTURED, SIMULATE], ids=["steps", "structured", "simulate"]
)
def test_a_simulated_gpu_trains_the_networks_of_the_cpu(code):
    done = run(code, NUMBA_ENABLE_CUDASIM="1", NUMBA_DISABLE_JIT="1")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None,
    reason="numba-cuda is not installed (extra `cuda`)",
)
def test_the_kernel_compiles_to_ptx():
    done = run(PTX)
    assert done.returncode == 0, done.stderr[-3000:]


def test_no_gpu_is_said():
    from odekit_kernels.committee.sgd import cuda as sgd_cuda

    if sgd_cuda.available():
        pytest.skip("there is a GPU")
    with pytest.raises(ok.ProblemError, match="numba finds no GPU"):
        ok.simulate(two_teachers([one_phase("a", 1.0)]), input_dim=50, seed=0, device="cuda")
