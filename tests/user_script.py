"""A user's script, for type checkers: what each call returns is written down."""

from __future__ import annotations

from typing import assert_type

import numpy as np
import xarray as xr

import odekit as ok

start = ok.OrderParameters.draw(student=2, teacher=2, weight_std=1e-3, input_dim=1000, seed=7)
problem = ok.Problem(
    state=start,
    heads={"main": [1.0, 1.0]},
    tasks={"main": ok.Task(readout=[1.0, 1.0], noise_std=0.1)},
    phases=[ok.Phase("main", duration=10.0, learning_rate=lambda t: 1.0 / (1.0 + t))],
    title="Typed",
)
etas = xr.DataArray(np.linspace(0.1, 1.0, 3), dims="eta")
assert_type(start, ok.OrderParameters)
assert_type(problem.replace_phase(0, learning_rate=etas), ok.Problem)
assert_type(problem.to_toml(), str)
run = ok.solve(problem, t_eval=np.linspace(0.0, 10.0, 11), rtol=1e-6)
assert_type(run, xr.Dataset)
assert_type(ok.simulate(problem, input_dim=100, seed=0), xr.Dataset)
assert_type(ok.measures.forgetting(run), xr.DataArray)
assert_type(ok.measures.final(ok.measures.overlap_cosine(run)), xr.DataArray)
