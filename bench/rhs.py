"""µs per right-hand side: vectorised numpy, the literal formulas in Numba, odekit.

erf, online learning with label noise, second layer fixed, K = M. Every implementation is timed once
in each repeat, in turn, so that a disturbance of the machine meets all of them; a row has medians,
quartiles and the ratio within repeats. Before any timing all must agree to rounding.
"""

from __future__ import annotations

import numba
import numpy as np

from bench import literal, numpy_reference, tables
from odekit_kernels import arcsine, simd
from odekit_kernels.committee.one import Committee, derivative, jacobian, make_work

SIZES = (2, 4, 8, 16)
ETA, SIGMA = 0.7, 0.1
SECONDS = 0.02  # of one timing


@numba.njit(nogil=True, _nrt=False)
def loop_literal(n, y, eta, T, u, sigma, scratch, dy):
    for _ in range(n):
        literal.rhs(y, eta, T, u, sigma, *scratch, dy)


@numba.njit(nogil=True, _nrt=False)
def loop_odekit(n, y, eta_w, eta_v, system, work, dy):
    for _ in range(n):
        derivative(y, eta_w, eta_v, system, work, dy)


@numba.njit(nogil=True, _nrt=False)
def loop_jacobian(n, y, eta_w, eta_v, system, work, J):
    for _ in range(n):
        jacobian(y, eta_w, eta_v, system, work, J)


@numba.njit(nogil=True, _nrt=False)
def loop_asin(n, x, out):
    for _ in range(n):
        for i in range(0, x.size, 8):
            simd.store(out, i, arcsine.asin(simd.load(x, i)))


def problem(K, seed=0):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((2 * K, 2 * K + 3))
    C = W @ W.T / W.shape[1]
    T, u = np.ascontiguousarray(C[K:, K:]), rng.normal(size=K)
    none = np.zeros((0, K))
    system = Committee(
        activation=0,
        T=T,
        u=u[None].copy(),
        sigma=np.array([SIGMA]),
        p=np.ones(1),
        head=np.zeros(1, dtype=np.int64),
        move=np.ones(K),
        inverse_batch=1.0,
        kappa_w=0.0,
        kappa_v=0.0,
        F=none,
        anchor=none.astype(np.int64),
        F_v=none,
        v_anchor=none,
        v_head=np.zeros(0, dtype=np.int64),
    )
    Q = C[:K, :K][np.triu_indices(K)]
    return np.concatenate([Q, C[:K, K:].ravel(), rng.normal(size=K)]), system


def implementations(K):
    """Name -> function of a count that evaluates so many times."""
    y, system = problem(K)
    work, scratch = make_work(K, K, 1, 1), literal.make_scratch(K, K)
    u = system.u[0].copy()
    a, b = np.empty_like(y), np.empty_like(y)
    J = np.empty((len(y), len(y)))

    def loop_numpy(n):
        for _ in range(n):
            numpy_reference.rhs(y, ETA, system.T, u, SIGMA)

    loop_literal(1, y, ETA, system.T, u, SIGMA, scratch, a)
    loop_odekit(1, y, ETA, 0.0, system, work, b)
    loop_jacobian(1, y, ETA, 0.0, system, work, J)
    for other in (b, numpy_reference.rhs(y, ETA, system.T, u, SIGMA)):
        np.testing.assert_allclose(other, a, rtol=0, atol=1e-12)
    return {
        "numpy": loop_numpy,
        "literal": lambda n: loop_literal(n, y, ETA, system.T, u, SIGMA, scratch, a),
        "odekit": lambda n: loop_odekit(n, y, ETA, 0.0, system, work, b),
        "jacobian": lambda n: loop_jacobian(n, y, ETA, 0.0, system, work, J),
    }


def seconds(function, n):
    """Seconds of each of n evaluations."""
    return tables.seconds(function, n)[0] / n


def enough(function):
    """Count of evaluations that takes about SECONDS, so that calling from Python does not show."""
    n = 1
    while (each := seconds(function, n)) * n < SECONDS / 4:
        n *= 2
    return max(1, int(SECONDS / each))


def asin_throughput(repeats):
    """Seconds per asin, in vectors, from and to the first-level cache."""
    x = np.random.default_rng(0).uniform(-1, 1, 800)
    out = np.empty_like(x)
    loop_asin(1, x, out)
    return float(np.median([seconds(lambda n: loop_asin(n, x, out), 500) for _ in range(repeats)]))


def floor(K, per_800):
    """One asin for each pair of fields and each pair of units, and nothing else."""
    return K * (K + 1) // 2 * (2 * K) * (2 * K + 1) // 2 * per_800 / 800


def run(repeats=15):
    """Time all sizes.

    Returns
    -------
    list of dict
        Keys K, M, implementation, median_us, q1_us, q3_us, ratio (time over odekit's in the same
        repeat, median).
    """
    rows = []
    per_800 = asin_throughput(repeats)
    for K in SIZES:
        functions = implementations(K)
        counts = {name: enough(f) for name, f in functions.items()}
        timers = {
            name: lambda f=f, n=counts[name]: 1e6 * seconds(f, n) for name, f in functions.items()
        }
        times = tables.in_turn(timers, repeats)
        ours = np.array(times["odekit"])
        for name, values in times.items():
            q1, median, q3 = tables.quartiles(values)
            ratio = float(np.median(np.array(values) / ours))
            rows.append(row(K, name, median, q1, q3, ratio))
        bound = 1e6 * floor(K, per_800)
        rows.append(row(K, "asin floor", bound, bound, bound, bound / float(np.median(ours))))
    return rows


def row(K, name, median, q1, q3, ratio):
    return {
        "K": K,
        "M": K,
        "implementation": name,
        "median_us": float(median),
        "q1_us": float(q1),
        "q3_us": float(q3),
        "ratio": float(ratio),
    }


def table(rows):
    """Markdown."""
    heads = ["K = M", " implementation", "µs, median", "quartiles", "/ odekit"]
    lines = [
        [
            r["K"],
            r["implementation"],
            f"{r['median_us']:.3f}",
            f"{r['q1_us']:.3f}–{r['q3_us']:.3f}",
            f"{r['ratio']:.2f}",
        ]
        for r in rows
    ]
    return tables.markdown(heads, lines)


def summary(rows):
    """Markdown for README: a row for each size."""
    names = list(dict.fromkeys(r["implementation"] for r in rows))
    lines = []
    for K in dict.fromkeys(r["K"] for r in rows):
        here = {r["implementation"]: r for r in rows if r["K"] == K}
        cells = [f"{here[n]['median_us']:.3g} ({here[n]['ratio']:.3g}×)" for n in names]
        lines.append([K, *cells])
    return tables.markdown(["K = M", *names], lines)


if __name__ == "__main__":
    tables.command(__doc__, run, table, repeats=15)
