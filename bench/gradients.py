"""What a gradient costs, in runs of the same problem, and how long the best dropout schedule takes.

K = M = 2, erf, to t = 100 with a table of learning rates of 1, 10 or 200 values: the derivative
of the last R_00 by all of them, by odekit (forward and adjoint) and by diffrax's own adjoint on the
same equations, each in units of its own plain run at the same tolerances, and in milliseconds of
CPU time. Steps of both land on the times of the table: derivatives by its values have kinks there.
Both have to agree.

And what a gradient of a sweep costs, of two numbers at a point: in lanes, and point by point, as
sweeps of few points go.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
from pathlib import Path

import numpy as np
import xarray as xr

import odekit as ok
from bench.tables import markdown, quartiles

SPAN, RTOL, ATOL = 100.0, 1e-8, 1e-11
AGREE = 1e-5
"""Largest difference of two gradients, of the largest entry; the tolerances allow for 1e-7."""
COUNTS = (1, 10, 200)
NAME = "phases[0].learning_rate.values"
SWEEP, FEW = 4096, 128
"""Points of a sweep that goes in lanes, and of one that goes point by point."""
SWEPT = ("phases[0].learning_rate", "state.R[0, 0]")
DROPOUT = Path(__file__).parents[1] / "data" / "optimal_dropout.toml"


def problem(count):
    rates = np.full(max(count, 2), 1.0)
    rate = ok.Schedule(np.linspace(0.0, SPAN, len(rates)), rates)
    return ok.Problem(
        state=ok.OrderParameters(
            Q=[[0.2, 0.0], [0.0, 0.3]], R=[[1e-3, 0.0], [0.0, 2e-3]], T=np.eye(2)
        ),
        heads={"main": [1.0, 1.0]},
        tasks={"main": ok.Task([1.0, 1.0])},
        phases=[ok.Phase("main", SPAN, rate)],
    )


def ours(count):
    setting = problem(count)
    name = f"{NAME}[0]" if count == 1 else NAME
    how = {"of": "R[0, 0]", "wrt": name, "rtol": RTOL, "atol": ATOL}

    def plain():
        return ok.solve(setting, t_eval=[SPAN], method="DOP853", rtol=RTOL, atol=ATOL)

    def gradient(method):
        found = ok.sensitivity(setting, method=method, estimate=False, **how)
        return np.ravel(found.d_R_0_0.values)

    return {
        "odekit, run": plain,
        "odekit, forward": lambda: gradient("forward"),
        "odekit, adjoint": lambda: gradient("adjoint"),
    }


def diffrax_too(count):
    """diffrax's recursive checkpointing adjoint of the same equations, or nothing."""
    if importlib.util.find_spec("diffrax") is None:
        return {}
    import diffrax
    import jax
    import jax.numpy as jnp

    from bench import equations

    jax.config.update("jax_enable_x64", True)
    times = jnp.linspace(0.0, SPAN, max(count, 2))
    start = jnp.asarray([0.2, 0.0, 0.3, 1e-3, 0.0, 0.0, 2e-3])

    def f(t, y, values):
        eta = jnp.interp(t, times, values)
        return equations.arrays(2, eta, jnp, jnp.asarray)(y)

    controller = diffrax.ClipStepSizeController(
        diffrax.PIDController(rtol=RTOL, atol=ATOL), step_ts=times
    )

    def last(values):
        found = diffrax.diffeqsolve(
            diffrax.ODETerm(f), diffrax.Dopri8(), 0.0, SPAN, None, start, values,
            stepsize_controller=controller, max_steps=4096,
        )  # fmt: skip
        return found.ys[0, 3]

    values = jnp.ones(max(count, 2))
    run, slope = jax.jit(last), jax.jit(jax.grad(last))
    return {
        "diffrax, run": lambda: run(values).block_until_ready(),
        "diffrax, adjoint": lambda: slope(values).block_until_ready(),
    }


def run(repeats=7):
    """Seconds (repeats,) by number of parameters and candidate, and of the search."""
    found = {}
    for count in COUNTS:
        candidates = {**ours(count), **diffrax_too(count)}
        first = {name: np.asarray(go()) for name, go in candidates.items() if "run" not in name}
        check(count, first)
        for go in candidates.values():
            go()
        rows = {name: [] for name in candidates}
        for _ in range(repeats):
            for name, go in candidates.items():
                begin = time.process_time()
                go()
                rows[name].append(time.process_time() - begin)
        found[count] = {name: np.array(row) for name, row in rows.items()}
    return found, _sweeps(repeats), _search()


def sweep(points):
    """The problem at as many learning rates, the first and the last always the same."""
    rates = xr.DataArray(np.linspace(0.5, 1.5, points), dims="rate")
    return problem(1).replace_phase(0, learning_rate=rates)


def _sweeps(repeats):
    """µs of CPU time a point (repeats,), of gradients in lanes and point by point, and of runs."""

    def gradient(points):
        return ok.sensitivity(sweep(points), of="R[0, 0]", wrt=SWEPT)

    def each(work, points):
        begin = time.process_time()
        work()
        return 1e6 * (time.process_time() - begin) / points

    first, other = (gradient(points).d_R_0_0[[0, -1]].values for points in (SWEEP, FEW))
    most = np.abs(first - other).max() / np.abs(other).max()
    if not most < AGREE:
        raise AssertionError(f"gradients in lanes are {most:.1e} away from those point by point")
    work = {
        "gradients, in lanes": (lambda: gradient(SWEEP), SWEEP),
        "gradients, point by point": (lambda: gradient(FEW), FEW),
        "runs, in lanes": (lambda: ok.solve(sweep(SWEEP), t_eval=[SPAN]), SWEEP),
    }
    for go, _ in work.values():
        go()
    rows = {name: [] for name in work}
    for _ in range(repeats):
        for name, given in work.items():
            rows[name].append(each(*given))
    return {name: np.array(row) for name, row in rows.items()}


def check(count, gradients):
    """Stop where two gradients differ."""
    own = gradients["odekit, adjoint"]
    for name, other in gradients.items():
        apart = np.abs(other[:count] - own[:count]).max() / np.abs(own[:count]).max()
        if not apart < AGREE:
            raise AssertionError(f"{count} parameters: {name} is {apart:.1e} away")


def _search():
    scenario = ok.load_scenario(DROPOUT)
    ok.optimise(scenario.problem, **{**scenario.optimise, "max_evaluations": 1})
    begin = time.process_time()
    best = ok.optimise(scenario.problem, **scenario.optimise)
    seconds = time.process_time() - begin
    return seconds, best.dataset.attrs["evaluations"], float(best.dataset.objective[0])


def said(values):
    low, middle, high = quartiles(values)
    return f"{middle:.3g} ({low:.3g}–{high:.3g})"


def table(found):
    rows, sweeps, (seconds, evaluations, value) = found
    lines = []
    for count, times in rows.items():
        for name, row in times.items():
            plain = times[f"{name.partition(',')[0]}, run"]
            lines.append([str(count), name, said(1e3 * row), said(row / plain)])
    head = ["parameters", " ", "ms", "in units of its own run"]
    text = markdown(head, lines)
    if importlib.util.find_spec("diffrax") is None:
        text += "\n\ndiffrax is not installed: `pip install '.[bench]'`."
    text += "\n\n" + markdown(
        [" of a sweep", "µs of CPU a point"], [[name, said(row)] for name, row in sweeps.items()]
    )
    return (
        f"{text}\n\nBest dropout schedule: {value:.7e}, {evaluations} gradients in {seconds:.2f} s "
        "of CPU time (published: 2.37977e-2 in 454 s)."
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    print(table(run(parser.parse_args().repeats)))
