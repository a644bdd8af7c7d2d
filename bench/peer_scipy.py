"""A loop of `scipy.integrate.solve_ivp`, in as many processes as threads."""

from __future__ import annotations

import functools

import numpy as np
from scipy.integrate import solve_ivp

from bench import numpy_reference, peer_work


def numpy_rhs(K):
    T, u = np.eye(K), np.ones(K)
    return lambda _t, y: numpy_reference.rhs(y, peer_work.ETA, T, u, 0.0)


def literal_rhs(K):
    from bench import literal

    T, u, scratch = np.eye(K), np.ones(K), literal.make_scratch(K, K)

    def rhs(_t, y):
        dy = np.empty_like(y)
        literal.rhs(y, peer_work.ETA, T, u, 0.0, *scratch, dy)
        return dy

    return rhs


def odekit_rhs(K):
    return peer_work.system(K).rhs


FORMS = {"numpy rhs": numpy_rhs, "literal Numba rhs": literal_rhs, "odekit's rhs": odekit_rhs}
RUNS = (
    ("RK45", "numpy rhs"),
    ("RK45", "literal Numba rhs"),
    ("RK45", "odekit's rhs"),
    ("LSODA", "odekit's rhs"),
)
EQUAL = {2: 5e-8, 4: 7e-8, 8: 6e-7}


@functools.cache
def right_hand_side(form, K):
    return FORMS[form](K)


def loop(method, form, K, rtol, starts):
    """Rows and evaluations of every start, one after the other."""
    rhs, span = right_hand_side(form, K), (0.0, peer_work.SPAN)
    both = peer_work.tolerances(rtol)
    runs = [solve_ivp(rhs, span, y, method, peer_work.TIMES, **both) for y in starts]
    return np.array([run.y.T for run in runs]), sum(run.nfev for run in runs)


def candidates(K, threads):
    for form in FORMS:
        rhs = right_hand_side(form, K)
        states = lambda y, f=rhs: np.array([f(0.0, x) for x in peer_work.with_heads(y)])  # noqa: E731
        peer_work.check(form, K, lambda y, f=states: f(y)[:, : peer_work.overlaps(K)])
    mapped = peer_work.processes(threads)
    found = {}
    runs = [(*run, peer_work.RTOL, "") for run in RUNS]
    runs += [("RK45", "odekit's rhs", EQUAL[K], peer_work.EQUAL)]
    for method, form, rtol, end in runs:
        each = functools.partial(loop, method, form, K, rtol)
        start = functools.partial(peer_work.shared, mapped, each, heads_too, K, threads)
        found[f"solve_ivp {method}, {form}{end}"] = threads, start
    return found


def heads_too(K, n):
    return peer_work.with_heads(peer_work.starts(K, n))
