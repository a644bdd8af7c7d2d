"""The work that odekit and its peers are given: the same starts, times, tolerances and check."""

from __future__ import annotations

import functools
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import xarray as xr
from scipy.integrate import solve_ivp

import odekit as ok

ETA, SPAN, RTOL = 0.5, 200.0, 1e-6
EQUAL = ", error as heyoka's"
"""End of the name of a candidate whose tolerance, in `EQUAL` of its module by K, is the largest for
errors no larger than heyoka's at RTOL: 2.8e-8, 2.7e-8 and 6.4e-8."""
TIMES = np.linspace(0.0, SPAN, 50)
STARTS = 2**15
COMPARED = 16  # trajectories whose errors are measured
AGREE = 1e-12


def tolerances(rtol=RTOL):
    """Both, by their names in scipy."""
    return {"rtol": rtol, "atol": 1e-3 * rtol}


def problem(state, span=SPAN):
    K = state.Q.shape[-1]
    return ok.Problem(
        state=state,
        heads={"main": np.ones(K)},
        tasks={"main": ok.Task(readout=np.ones(K))},
        phases=[ok.Phase("main", duration=span, learning_rate=ETA)],
    )


@functools.cache
def drawn(K):
    return ok.OrderParameters.draw(
        student=K, teacher=K, weight_std=0.5, input_dim=1000, seed=7, draws=STARTS
    )


def first(K, n):
    """Overlaps of the first n draws, from the beginning again after the last."""
    state, places = drawn(K), np.arange(n) % STARTS
    Q = xr.DataArray(state.Q.values[places], dims=("draw", "student", "student_other"))
    R = xr.DataArray(state.R.values[places], dims=("draw", "student", "teacher"))
    return ok.OrderParameters(Q=Q, R=R, T=np.eye(K))


def overlaps(K):
    """Entries of the state that move; the heads follow."""
    return K * (K + 1) // 2 + K * K


def flat(Q, R):
    """Overlaps (..., n) in the order of odekit's state."""
    K = Q.shape[-1]
    upper = np.triu_indices(K)
    return np.concatenate([Q[..., upper[0], upper[1]], R.reshape(*R.shape[:-2], K * K)], axis=-1)


def starts(K, n):
    """Overlaps at time 0 of the first n draws."""
    state = drawn(K)
    places = np.arange(n) % STARTS
    return flat(state.Q.values[places], state.R.values[places])


def with_heads(y):
    """States with v = 1 appended."""
    K = round((np.sqrt(1 + 24 * y.shape[-1]) - 1) / 6)
    return np.concatenate([y, np.ones((*y.shape[:-1], K))], axis=-1)


@functools.cache
def system(K):
    """odekit's compiled equations, for states with heads."""
    plain = ok.OrderParameters(Q=np.eye(K), R=np.zeros((K, K)), T=np.eye(K))
    return ok.equations(problem(plain)).equations


def reference(K):
    """Rows (COMPARED, times, overlaps) of a run that is tight."""
    rows = [
        solve_ivp(system(K).rhs, (0, SPAN), y, "DOP853", TIMES, rtol=1e-12, atol=1e-14).y.T
        for y in with_heads(starts(K, COMPARED))
    ]
    return np.array(rows)[..., : overlaps(K)]


def check(name, K, rhs):
    """Refuse a peer whose right-hand side, of overlaps (n, ...), is not odekit's."""
    y = starts(K, 4)
    ours = np.array([system(K).rhs(0.0, state)[: overlaps(K)] for state in with_heads(y)])
    found = np.asarray(rhs(y))
    worst = np.abs(found - ours).max() / max(1.0, np.abs(ours).max())
    if not worst <= AGREE:
        raise AssertionError(f"{name}: the right-hand side differs by {worst:.1e}")


def processes(count):
    """`map` over so many new processes, or in this one."""
    if count == 1:
        return map
    return ProcessPoolExecutor(count, multiprocessing.get_context("spawn")).map


def shared(mapped, run, make_starts, K, count, n):
    """Function of no arguments that runs n starts, an equal part in each process."""
    parts = np.split(make_starts(K, n), count)

    def go():
        found = list(mapped(run, parts))
        count = sum(calls for _, calls in found)
        return lambda: np.concatenate([rows for rows, _ in found]), count

    return go
