"""Declared systems for the tests: one of every feature, and a user's own file."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.systems.outside.probe import Probe

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


def outbreak(module, beta=2.0):
    return module.sir.problem(S=0.99, I=0.01, gone=0.0, beta=beta, gamma=1.0, duration=20.0)


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


def root(y, p, d):
    d.x = -math.sqrt(1.0 - y.x) if y.x <= 1.0 else math.nan
