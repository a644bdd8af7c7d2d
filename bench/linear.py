"""Linear networks: 2-2-2 sweeps, and wide runs and sweeps beside the floor of their products.

python -m bench.linear, with a peer of diffrax where it is installed
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from scipy.integrate import solve_ivp

import odekit as ok

DRAWS, END, RTOL, ATOL = 100_000, 20.0, 1e-8, 1e-11
TARGET = np.diag([3.0, 1.0])


def seconds(work: Callable[[], Any], repeats: int = 3) -> float:
    """Median time of a call, after one that compiles."""
    work()
    taken = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken))


def problem(widths: list[int], target: Any, scale: float, end: float, **more: Any) -> Any:
    network = ok.linear.deep(widths)
    return ok.LinearProblem(
        network,
        ok.linear.normal(network, scale, seed=0, **more),
        ok.linear.Correlations(yx=target, xx=np.eye(widths[0])),
        ok.Phase("main", duration=end, learning_rate=1.0),
    )


def flow(_t: float, y: Any) -> Any:
    """What a user of scipy writes."""
    W1, W2 = y[:4].reshape(2, 2), y[4:].reshape(2, 2)
    G = TARGET - W2 @ W1
    return np.concatenate([(W2.T @ G).ravel(), (G @ W1.T).ravel()])


def sweep() -> None:
    """Networks per second to the same tolerances."""
    many = problem([2, 2, 2], TARGET, 0.01, END, draws=DRAWS)
    y = np.concatenate([many.weights[e].values.reshape(DRAWS, 4) for e in ("W1", "W2")], axis=1)
    rates = {}
    taken = seconds(lambda: ok.solve(many, t_eval=[0.0, END], rtol=RTOL, atol=ATOL))
    rates["odekit"] = DRAWS / taken

    def loop(count: int = 100) -> None:
        for one in y[:count]:
            solve_ivp(flow, (0, END), one, method="RK45", rtol=RTOL, atol=ATOL, t_eval=[END])

    rates["solve_ivp, a loop"] = 100 / seconds(loop)
    if importlib.util.find_spec("diffrax") is not None:
        rates["diffrax, vmap"] = diffrax_rate(y[:20_000])
    for name, rate in rates.items():
        print(f"{name:<20}{rate:>12.0f} networks/s")


def diffrax_rate(y: Any) -> float:
    """The same pair and tolerances, in lockstep, on the same processor."""
    import diffrax
    import jax
    import jax.numpy as jnp

    jax.config.update("jax_enable_x64", True)
    target = jnp.asarray(TARGET)

    def slope(_t: Any, y: Any, _args: Any) -> Any:
        W1, W2 = y[:4].reshape(2, 2), y[4:].reshape(2, 2)
        G = target - W2 @ W1
        return jnp.concatenate([(W2.T @ G).ravel(), (G @ W1.T).ravel()])

    def one(y: Any) -> Any:
        return diffrax.diffeqsolve(
            diffrax.ODETerm(slope),
            diffrax.Dopri5(),
            0.0,
            END,
            None,
            y,
            stepsize_controller=diffrax.PIDController(rtol=RTOL, atol=ATOL),
            max_steps=100_000,
        ).ys

    run = jax.jit(jax.vmap(one))
    start = jnp.asarray(y)
    return len(y) / seconds(lambda: run(start).block_until_ready())


def wide(n: int = 100) -> None:
    """One run of n-n-n, beside the matrix products that its right-hand sides need at least."""
    rng = np.random.default_rng(0)
    one = problem([n, n, n], rng.normal(size=(n, n)) / np.sqrt(n), 0.3 / np.sqrt(n), 10.0)
    run = ok.solve(one)
    taken = seconds(lambda: ok.solve(one))
    calls = int(run.n_rhs)
    floor = floor_of(n) * calls
    print(f"{n}-{n}-{n}: {taken:.3f} s for {calls} right-hand sides and {run.sizes['time']} rows")
    print(f"floor, 4 products each: {floor:.3f} s ({taken / floor:.2f} times)")


def floor_of(n: int) -> float:
    """Seconds of the four products of a right-hand side of n-n-n through one thread of BLAS."""
    rng = np.random.default_rng(0)
    A, B, C = (rng.normal(size=(n, n)) for _ in range(3))
    many = max(4, 20_000_000 // n**3)

    def products() -> None:
        for _ in range(4 * many):
            np.matmul(A, B, C)

    return seconds(products) / many


def many(n: int) -> None:
    """A sweep of n-n-n on one thread, beside the products that its right-hand sides need."""
    rng = np.random.default_rng(0)
    draws = max(16, 2_000_000 // n**3)
    target = rng.normal(size=(n, n)) / np.sqrt(n)
    swept = problem([n, n, n], target, 0.3 / np.sqrt(n), 10.0, draws=draws)

    def sweep() -> Any:
        return ok.solve(swept, t_eval=[0.0, 10.0], rtol=1e-6, atol=1e-9, threads=1)

    calls = int(sweep().n_rhs.sum())
    taken, floor = seconds(sweep), floor_of(n) * calls
    weights = 2 * n * n
    print(
        f"{n:>4}-{n}-{n} ({weights} weights): {draws / taken:9.1f} networks/s, "
        f"{1e6 * taken / calls:8.3f} us for each of {calls} right-hand sides; "
        f"BLAS alone {1e6 * floor / calls:8.3f} ({taken / floor:.2f} times)"
    )


if __name__ == "__main__":
    sweep()
    wide()
    for n in (10, 16, 32, 64, 100):
        many(n)
