"""Seconds to start: `odekit run data/plateau.toml` and a sweep, with cold and warm kernel cache.

The sweep is of eight draws, in a process of its own; beside it one that only imports what the
sweep does, so that their difference is what a sweep itself costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from bench.tables import command, markdown, quartiles, seconds

ROOT = Path(__file__).parents[1]
SCENARIO = ROOT / "data" / "plateau.toml"
IMPORTS = "import numba, scipy.integrate, xarray, odekit as ok; from odekit.verbs import solve"
SWEEP = f"""{IMPORTS}
weights = {{"weight_std": 0.5, "input_dim": 1000, "seed": 7}}
state = ok.OrderParameters.draw(student=2, teacher=2, draws=8, **weights)
phase = ok.Phase("main", duration=200.0, learning_rate=0.5)
tasks = {{"main": ok.Task(readout=[1.0, 1.0])}}
problem = ok.Problem(state=state, heads={{"main": [1.0, 1.0]}}, tasks=tasks, phases=[phase])
ok.solve(problem, t_eval=[0.0, 200.0], rtol=1e-6, atol=1e-9)
"""
OVERHEAD = "the sweep, warm, less its imports"


def process(arguments, cache):
    """Wall time of one process."""
    env = {**os.environ, "NUMBA_CACHE_DIR": cache}
    command = [sys.executable, *arguments]
    return seconds(lambda: subprocess.run(command, env=env, check=True, capture_output=True))[0]


def once(folder):
    """Wall time of each command, on an empty cache first."""
    run = ["-m", "odekit", "run", str(SCENARIO), "--overwrite", "-o", f"{folder}/out.nc"]
    commands = {
        "`odekit run`, cold": run,
        "`odekit run`, warm": run,
        "`odekit --help`": ["-m", "odekit", "--help"],
        "sweep of 8 draws, first": ["-c", SWEEP],
        "sweep of 8 draws, warm": ["-c", SWEEP],
        "imports of the sweep": ["-c", IMPORTS],
    }
    return {what: process(arguments, folder) for what, arguments in commands.items()}


def run(repeats=5):
    """Rows of dict: what, median_s, q1_s, q3_s."""
    found = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            found.append(once(folder))
    times = {what: np.array([values[what] for values in found]) for what in found[0]}
    times[OVERHEAD] = times["sweep of 8 draws, warm"] - times["imports of the sweep"]
    rows = []
    for what, values in times.items():
        q1, median, q3 = quartiles(values)
        rows.append({"what": what, "median_s": median, "q1_s": q1, "q3_s": q3})
    return rows


def table(rows):
    """Markdown."""
    lines = [[r["what"], f"{r['median_s']:.2f}", f"{r['q1_s']:.2f}–{r['q3_s']:.2f}"] for r in rows]
    return markdown([" command", "seconds, median", "quartiles"], lines)


def summary(rows):
    """Markdown for README."""
    return table(rows)


if __name__ == "__main__":
    command(__doc__, run, table, repeats=5)
