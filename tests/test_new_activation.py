"""Adding an activation with closed moments: one new file and one row, in a copy of the packages."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import odekit
import odekit_kernels

DOUBLED = '''
"""Moments of g(x) = 2x: those of x, scaled."""

from odekit_kernels._jit import inner
from odekit_kernels.committee.activations import linear
from odekit_kernels.lanes.values import fill, get, put


@inner
def value(z):
    return 2.0 * z


@inner
def slope(z):
    return 2.0


@inner
def scale(x, factor):
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            x[i, j] *= factor


@inner
def second(work, rows, D):
    linear.second(work, rows, D)
    scale(work.I2[:rows], 4.0)


@inner
def drive(work, K, D):
    linear.drive(work, K, D)
    scale(work.E, 4.0)


@inner
def diffusion(work, p, K, D):
    linear.diffusion(work, p, K, D)
    scale(work.S, 16.0)
    scale(work.J2, 4.0)


@inner
def second_gradient(work, k, D):
    linear.second_gradient(work, k, D)
    for a in range(D):
        work.by_k[a] *= 4.0


@inner
def drive_gradient(work, x, b, k, D):
    linear.drive_gradient(work, x, b, k, D)
    for a in range(D):
        work.by_c[a] *= 4.0


@inner
def diffusion_gradient(work, p, sigma, k, l, D):
    linear.diffusion_gradient(work, p, sigma, k, l, D)
    scale(work.B, 16.0)
    scale(work.m, 16.0)
    for s in range(p.shape[0]):
        noise = sigma[s] * sigma[s]
        work.e[s] = 16.0 * (work.e[s] - noise) + 4.0 * noise


@inner
def norms_in_lanes(M, m):
    pass


@inner
def second_in_lanes(M, m, a, b):
    return 4.0 * get(M, m.C + a * m.D + b)


@inner
def drive_in_lanes(M, m):
    linear.drive_in_lanes(M, m)
    for i in range(m.K * m.D):
        put(M, m.E + i, 4.0 * get(M, m.E + i))


@inner
def power_in_lanes(M, m, k, l):
    noise = fill(M, 0.0)
    for s in range(m.S):
        c, sigma = m.coef + s * m.D, get(M, m.sigma + s)
        noise = noise + get(M, m.prob + s) * get(M, c + k) * get(M, c + l) * sigma * sigma
    return 16.0 * linear.power_in_lanes(M, m, k, l) - 12.0 * noise


@inner
def self_slope_in_lanes(M, m, a):
    return fill(M, 4.0)
'''

# A unit of g = 2x with readout v is one of g = x with readout 2v, as long as readouts stay.
RUN = """
import json
import numpy as np, xarray as xr, odekit as ok

def problem(activation, factor, rate):
    return ok.Problem(
        state=ok.OrderParameters(Q=[[0.4, 0.1], [0.1, 0.3]], R=[[0.2], [-0.1]], T=[[1.0]]),
        heads={"a": factor * np.array([0.6, -0.3])},
        tasks={"a": ok.Task([factor * 0.8], noise_std=0.2)},
        phases=[ok.Phase("a", 0.5, rate)],
        activation=activation,
    )

def off(a, b, names=("Q", "R", "generalization_error")):
    return max(float(abs(a[name].values - b[name].values).max()) for name in names)

own, known = problem("doubled", 1.0, 0.3), problem("linear", 2.0, 0.3)
found = {}
for method in (None, "Radau"):
    found[f"run {method}"] = off(ok.solve(own, method=method), ok.solve(known, method=method))
if EVERYTHING:
    rates = xr.DataArray([0.2, 0.4], dims="eta")
    for method in (None, "Rodas5P"):
        found[f"sweep {method}"] = off(*(
            ok.solve(problem(*which, rates), method=method)
            for which in (("doubled", 1.0), ("linear", 2.0))))
    keywords = {"input_dim": 20, "seed": 0, "t_eval": [0.0, 0.5]}
    found["networks"] = off(ok.simulate(own, **keywords), ok.simulate(known, **keywords))
moved = ok.solve(own)
found["moved"] = float(abs(moved.Q[-1] - moved.Q[0]).max())
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    """The packages with an activation more."""
    root = tmp_path_factory.mktemp("copy")
    for package in (odekit, odekit_kernels):
        source = Path(package.__file__).parent
        shutil.copytree(source, root / source.name, ignore=shutil.ignore_patterns("__pycache__"))
    folder = root / "odekit_kernels" / "committee" / "activations"
    (folder / "doubled.py").write_text(DOUBLED)
    table = folder / "__init__.py"
    row = '    Row("relu", online=False, means=True),\n'
    assert table.read_text().count(row) == 1
    table.write_text(table.read_text().replace(row, row + '    Row("doubled", online=True),\n'))
    return root


@pytest.mark.parametrize(
    "compiled", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["plain", "compiled"]
)
def test_one_file_and_one_row(copy, compiled):
    """Single runs with their Jacobian, sweeps in lanes and networks know it by its name."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(copy),
        "NUMBA_CACHE_DIR": str(copy / "cache"),
        "NUMBA_DISABLE_JIT": "0" if compiled else "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", f"EVERYTHING = {not compiled}\n" + RUN],
        env=environment,
        cwd=copy,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found.pop("moved") > 0.05
    assert max(found.values()) < 1e-8, found
