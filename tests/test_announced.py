"""A first compilation is announced, whether or not progress is shown; a cached kernel is not."""

from __future__ import annotations

import os
import subprocess
import sys

from odekit.integrate.compiling import NOTICE

RUN = """
import odekit as ok
problem = ok.Problem(
    state=ok.OrderParameters(Q=[[0.5]], R=[[0.1]], T=[[1.0]]), heads={"main": [1.0]},
    tasks={"main": ok.Task([1.0])}, phases=[ok.Phase("main", 1.0, 0.5, gradient_flow=True)],
    activation="linear")
ok.solve(problem)
ok.solve(problem, progress=True, method="RK45")
"""


def test_a_first_compilation_says_so_once(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_DISABLE_JIT": "0"}
    said = [
        subprocess.run([sys.executable, "-c", RUN], env=env, capture_output=True, text=True)
        for _ in range(2)
    ]
    assert [done.returncode for done in said] == [0, 0], said[0].stderr
    assert said[0].stderr.splitlines()[0] == NOTICE
    assert said[0].stderr.count(NOTICE) == 1
    assert NOTICE not in said[1].stderr
