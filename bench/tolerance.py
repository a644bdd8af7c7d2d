"""Error over tolerance of the methods that advance sweeps, over 200 random problems.

erf, online: half of them K = 2 units and M = 2 teachers, half K = 3 and M = 2; overlaps of random
weights, eta between 0.1 and 1.5, label noise up to 0.3, t = 50. The error is the largest of Q and R
at 11 times, against DOP853 at rtol 1e-13; an atol of rtol/1000 leaves rtol to decide.
"""

from __future__ import annotations

import argparse

import numpy as np
import xarray as xr

import odekit as ok
from bench.tables import markdown

METHODS = ("RK23", "RK45", "DOP853", "Rodas5P")
TOLERANCES = (1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10)
SIZES = ((2, 2), (3, 2))
DRAWS = 100
TIMES = np.linspace(0.0, 50.0, 11)
EXACT = 1e-13


def problem(K, M, seed=3):
    """A sweep whose points are random problems."""
    rng = np.random.default_rng([seed, K, M])
    state = ok.OrderParameters.draw(
        student=K, teacher=M, weight_std=0.7, input_dim=1000, seed=seed, draws=DRAWS
    )
    ranges = (0.1, 1.5), (0.0, 0.3)
    rate, noise = (xr.DataArray(rng.uniform(*ends, DRAWS), dims="draw") for ends in ranges)
    return ok.Problem(
        state=state,
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(readout=np.ones(M), noise_std=noise)},
        phases=[ok.Phase("main", duration=float(TIMES[-1]), learning_rate=rate)],
    )


def solved(some, method, rtol):
    """Overlaps (draws, numbers), and right-hand sides of each draw."""
    found = ok.solve(some, t_eval=TIMES, method=method, rtol=rtol, atol=1e-3 * rtol)
    if int(found.status.max()) != 0:
        raise AssertionError(f"{method} at {rtol:g} did not complete every run")
    flat = [found[name].values.reshape(DRAWS, -1) for name in ("Q", "R")]  # the draws come first
    return np.concatenate(flat, axis=1), found.n_rhs.values.ravel()


def run():
    """Rows of dict: method, rtol, median and worst of error / rtol, right-hand sides."""
    problems = [problem(*size) for size in SIZES]
    exact = [solved(some, "DOP853", EXACT)[0] for some in problems]
    rows = []
    for method in METHODS:
        for rtol in TOLERANCES:
            found = [solved(some, method, rtol) for some in problems]
            errors = [
                np.abs(y - true).max(axis=1) for (y, _), true in zip(found, exact, strict=True)
            ]
            ratio = np.concatenate(errors) / rtol
            calls = np.concatenate([n for _, n in found])
            rows.append(
                {
                    "method": method,
                    "rtol": rtol,
                    "median": float(np.median(ratio)),
                    "worst": float(ratio.max()),
                    "n_rhs": float(np.mean(calls)),
                }
            )
    return rows


def table(rows):
    """Markdown: median and worst of error / rtol, and right-hand sides, by method and rtol."""
    by = {(r["method"], r["rtol"]): r for r in rows}
    lines = [
        [
            f" {method}",
            *(
                f"{by[method, rtol]['median']:.2g}, {by[method, rtol]['worst']:.2g} "
                f"({by[method, rtol]['n_rhs']:.0f})"
                for rtol in TOLERANCES
            ),
        ]
        for method in METHODS
    ]
    return markdown([" method", *(f"{rtol:.0e}" for rtol in TOLERANCES)], lines)


def main():
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(table(run()))


if __name__ == "__main__":
    main()
