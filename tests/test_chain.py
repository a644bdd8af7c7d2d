"""The chain of overlaps is SGD: step by step in N dimensions, and in distribution at several N."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr
from scipy import special, stats

import odekit as ok
from odekit_kernels.committee.chain.memory import (
    ChainRule,
    constants_of,
    lanes,
    make_memory,
    state_of,
)
from odekit_kernels.committee.chain.plain import train_plain
from odekit_kernels.committee.chain.steps import draw_alone, leave_alone, train
from odekit_kernels.committee.chain.values import values
from odekit_kernels.committee.sgd.stream import streams
from odekit_kernels.committee.sgd.units import CODES
from odekit_kernels.simd import WIDTH
from test_against_sgd import one_phase, switch, two_teachers

ROUNDING = 1e-12
NAMES = ["Q", "R", "readout", "generalization_error"]


def erf(z):
    return special.erf(z / np.sqrt(2))


def slope(z):
    return np.sqrt(2 / np.pi) * np.exp(-0.5 * z * z)


# ------------------------------------------------------------------- a step, against N dimensions


def in_lanes(rng, shape, scale=1.0):
    out = lanes(*shape)
    out[:] = scale * rng.standard_normal(out.shape)
    return out


def networks(N, K=2, P=3, batch=1, H=2, S=2, read=(0, 2)):
    """Rule and memory of eight networks that have nothing in common but their sizes."""
    rng = np.random.default_rng(N + batch)
    n = len(read)
    fixed = np.tril(np.moveaxis(in_lanes(rng, (P, P)), -1, 0))
    given = {name: in_lanes(rng, shape, 0.5) for name, shape in constants_of(K, P, H, S, n).items()}
    given["read"][:] = np.moveaxis(fixed[:, list(read)], 0, -1)
    given["p"][:] = 1 / S
    given["move"][:] = rng.integers(0, 2, given["move"].shape)
    state = {name: in_lanes(rng, shape) for name, shape in state_of(K, P, H).items()}
    state["L"][:] = np.moveaxis(np.tril(np.moveaxis(state["L"], -1, 0)), 0, -1)
    words = [streams(np.random.SeedSequence(i).generate_state(6, np.uint64)) for i in range(WIDTH)]
    rule = ChainRule(N=N, **given, head=np.arange(S) % H)
    memory = make_memory(state, np.ascontiguousarray(np.stack(words, -1)), batch, S, n)
    return rule, memory, fixed


def overlaps(fixed, X, L):
    return X @ X.T + L @ L.T, X @ fixed.T


def bartlett(memory, batch, K, P, freedom, lane):
    """Triangle of the Gram matrix of what the inputs have outside of the frame."""
    m = min(batch, K)
    T = np.diag(memory.chi[:, lane])
    below = iter(memory.z[batch * (P + K + 1) :, lane])
    for i in range(m):
        for c in range(i):
            T[i, c] = next(below)
    return T * (np.arange(m) < freedom)


def sgd_step(before, after, rule, memory, fixed, lane, rates):
    """Overlaps and readouts after a step of weight vectors in N dimensions.

    The inputs are put together from the coordinates that the chain has drawn; where it knows no
    more of a batch than A Aᵀ, the inputs are those of the K rows of A's triangle.
    """
    X, L, v = before
    (K, P), N, b = X.shape, rule.N, memory.share.shape[0]
    W = np.zeros((K, N))
    W[:, :P], W[:, P : P + K] = X, L
    B = np.zeros((P, N))
    B[:, :P] = fixed
    x = np.zeros((b, N))
    x[:, : P + K] = memory.z[: b * (P + K), lane].reshape(b, -1)
    noise = memory.z[b * (P + K) : b * (P + K + 1), lane]
    share = memory.share[..., lane]
    dW, dv, trained = np.zeros_like(W), np.zeros_like(v), np.zeros(len(v))
    A = np.zeros((K, b))
    reads = rule.read[..., lane]
    for j in range(b):
        s = int(share[j].argmax())
        h = rule.head[s]
        lam, rho = W @ x[j], reads @ x[j, :P]
        delta = rule.sigma[s, lane] * noise[j] + rule.u[s, :, lane] @ erf(rho) - v[h] @ erf(lam)
        A[:, j] = v[h] * slope(lam) * delta / b
        dv[h] += erf(lam) * delta / b
        trained[h] += 1 / b
    eta = rates[0] * rule.move[:, lane]
    T = bartlett(memory, b, K, P, N - P - K, lane)
    if b <= K:
        rest = A @ T
    else:  # any Y with Y Yᵀ = A Aᵀ: the chain's own, checked for that
        A_moved = eta[:, None] * A
        Y = memory.Y[:, :K, lane]
        np.testing.assert_allclose(Y @ Y.T, A_moved @ A_moved.T, atol=ROUNDING)
        rest = Y @ T / np.where(eta > 0, eta, 1)[:, None]
    dW = A @ x / 1.0
    dW[:, P + K : P + K + rest.shape[1]] += rest[:, : N - P - K]
    pull = np.zeros_like(W)
    pull[:, :P] = rule.pull[..., lane]
    dW += pull - rule.hold[:, lane][:, None] * W
    W = W + eta[:, None] * dW / N
    held = (rule.kappa_v[0, lane] + rule.F_v[..., lane]) * v - rule.Fv[..., lane]
    v = v + rates[1] / N * (dv - trained[:, None] * held)
    return W @ W.T, W @ B.T, v


@pytest.mark.parametrize(
    ("N", "K", "batch"),
    [(5, 2, 1), (30, 2, 1), (9, 2, 2), (5, 2, 2), (6, 2, 2), (20, 3, 2), (20, 2, 5), (7, 2, 3)],
)
def test_a_step_is_one_of_weights_in_n_dimensions(N, K, batch):
    rule, memory, fixed = networks(N, K=K, batch=batch)
    eta_w, eta_v = np.full((1, WIDTH), 0.7), np.full((1, WIDTH), 0.3)
    for _ in range(5):
        before = [[a[..., i].copy() for a in (memory.X, memory.L, memory.v)] for i in range(WIDTH)]
        train(1, eta_w, eta_v, CODES["erf"], CODES["erf"], rule, memory)
        for i in range(WIDTH):
            found = (
                *overlaps(fixed[i], memory.X[..., i], memory.L[..., i]),
                memory.v[..., i],
            )
            expected = sgd_step(before[i], None, rule, memory, fixed[i], i, (0.7, 0.3))
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, atol=ROUNDING)
            assert not np.triu(memory.L[..., i], 1).any()


def test_steps_may_be_split_anywhere_and_activations_need_not_compile():
    eta = np.linspace(0.1, 1.0, 100)[:, None] * np.ones(WIDTH)
    (rule, whole, _), (_, split, _), (_, plain, _) = (networks(40, batch=3) for _ in range(3))
    train(100, eta, eta, 0, 0, rule, whole)
    for part in np.split(eta, [1, 37]):
        train(len(part), part, part, 0, 0, rule, split)
    train_plain(100, eta, eta, erf, slope, rule, plain)
    for name in ("X", "L", "v"):
        np.testing.assert_array_equal(getattr(split, name), getattr(whole, name))
        np.testing.assert_allclose(getattr(plain, name), getattr(whole, name), atol=1e-11)


@pytest.mark.parametrize("freedom", [1, 2, 3, 5, 40, 2000, 10**9])
def test_squared_lengths_are_chi_squared(freedom):
    """Eight networks, two degrees of freedom in turn; the law, and independence of the lanes."""
    K, P, batch = 2, 1, 2
    rule, memory, _ = networks(freedom + K + P, K=K, P=P, batch=batch, read=(0,))
    found = []
    for _ in range(40):
        draw_alone(memory.chis.shape[1] // WIDTH, rule, memory)
        leave_alone(memory.chis.shape[1] // WIDTH, memory)
        found.append(memory.chis.reshape(2, -1, WIDTH).copy())
    chi2 = np.concatenate(found, axis=1) ** 2
    for i in range(2):
        if freedom - i:
            law = stats.chi2(freedom - i)
            assert stats.kstest(chi2[i].ravel(), law.cdf).pvalue > 1e-3
        else:
            assert not chi2[i].any()
    correlation = np.corrcoef(chi2[0].T) - np.eye(WIDTH)
    assert np.abs(correlation).max() < 4.5 / np.sqrt(chi2.shape[1])


def test_erf_and_its_slope():
    z = np.concatenate([np.linspace(-9, 9, 20001), [0.0, 1e-300, -50.0, 1e200]])
    out, out_slope = np.empty_like(z), np.empty_like(z)
    values(CODES["erf"], CODES["erf"], z, out, out_slope)
    np.testing.assert_allclose(out, erf(z), rtol=1e-15, atol=0)
    near = np.abs(z) < 30
    np.testing.assert_allclose(out_slope[near], slope(z[near]), rtol=1e-14, atol=0)


SMOOTH = {
    "tanh": (np.tanh, lambda z: 1 / np.cosh(z) ** 2),
    "gelu": (lambda z: z * special.ndtr(z), lambda z: special.ndtr(z) + z * stats.norm.pdf(z)),
    "softplus": (lambda z: special.log1p(np.exp(-abs(z))) + np.maximum(z, 0), special.expit),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_activations_and_their_slopes(name):
    """To some units of the last place; of exp(−z²/2) z²/2 of them are lost, in SciPy more."""
    g, dg = SMOOTH[name]
    z = np.concatenate([np.linspace(-26, 26, 20001), [0.0, 1e-300, 1e-9, -50.0, 300.0]])
    out, out_slope = np.empty_like(z), np.empty_like(z)
    values(CODES[name], CODES[name], z, out, out_slope)
    np.testing.assert_allclose(out, g(z), rtol=3e-13 if name == "gelu" else 1e-15, atol=1e-300)
    np.testing.assert_allclose(out_slope, dg(z), rtol=1e-13, atol=4e-16)
    values(CODES[name], CODES[name], np.full(8, np.nan), out, out_slope)
    assert np.isnan(out[:8]).all()


# --------------------------------------------------------------------------------- in distribution

FEATURES = {
    "both layers, noise": [one_phase("a", 2.0)],
    "linear": [one_phase("a", 2.0, learning_rate=0.4)],
    "relu": [one_phase("a", 1.0, learning_rate=0.4)],
    "mixture": [one_phase({"a": 0.7, "b": 0.3}, 2.0)],
    "batches": [one_phase("a", 2.0, learning_rate=2.0, batch_size=5)],
    "mixed batches": [one_phase({"a": 0.4, "b": 0.6}, 2.0, learning_rate=2.0, batch_size=2)],
    "decay": [one_phase("a", 2.0, weight_decay=0.5, readout_weight_decay=0.4)],
    "frozen unit": [one_phase("a", 2.0, frozen=[False, True])],
    "schedule": [one_phase("a", 2.0, learning_rate=ok.Schedule([0.0, 1.0, 2.0], [2.0, 0.3, 1.0]))],
    "copied heads": [one_phase("a", 1.0), one_phase("b", 1.0, copy_heads={"b": "a"})],
    **{
        kind: [one_phase("a", 1.0), one_phase("b", 2.0, consolidation=switch(kind, 2.0))]
        for kind in ("fisher", "node", "quadratic")
    },
    "two consolidations": [
        one_phase("a", 0.5),
        one_phase("b", 1.0, consolidation=switch("fisher", 2.0)),
        one_phase("a", 1.0, consolidation=switch("quadratic", 1.0), batch_size=2),
    ],
    "threshold": [one_phase("a", 2.0, learning_rate=1.5, until=0.1), one_phase("b", 1.0)],
}


@pytest.mark.parametrize("N", [14, 120])
@pytest.mark.parametrize("feature", FEATURES)
def test_it_has_the_law_of_sgd_in_weights(feature, N):
    """Means, spreads and every quantile, for two samples that have no random number in common."""
    activation = feature if feature in ("linear", "relu") else "erf"
    problem = two_teachers(
        FEATURES[feature], shared=feature == "two consolidations", activation=activation
    )
    if activation == "relu":
        problem = problem.replace_phase(0, gradient_flow=True)
    total, n = sum(p.duration for p in problem.phases), 96
    times = total * np.array([0.3, 0.65, 1.0])
    if feature == "threshold":
        times = [0.0]
    samples = [
        ok.simulate(problem, input_dim=N, seed=N, replicas=n, t_eval=times, method="overlaps"),
        ok.simulate(problem, input_dim=N, seed=N + 1, replicas=n, t_eval=times, method="weights"),
    ]
    names = NAMES if feature != "threshold" else ["phase_end", "phase_end_error"]
    a, b = (np.hstack([ds[name].values.reshape(n, -1) for name in names]) for ds in samples)
    moving = b.std(axis=0) > 1e-9 * (1 + np.abs(b).max())
    assert (np.abs((a - b)[:, ~moving]) < 1e-9).all()
    a, b = a[:, moving], b[:, moving]
    z = (a.mean(0) - b.mean(0)) / np.sqrt((a.var(0, ddof=1) + b.var(0, ddof=1)) / n)
    assert np.abs(z).max() < 4.5
    assert stats.ks_2samp(a, b).pvalue.min() > 1e-4
    # A spread's relative error, from the kurtosis that the samples have.
    tails = np.maximum(stats.kurtosis(np.vstack([a, b])) + 2, 2) / (4 * n) * 2
    assert (np.abs(np.log(a.std(0) / b.std(0))) < 4.5 * np.sqrt(tails)).all()


# ------------------------------------------------------------------------------- whole simulations


def test_a_billion_inputs_follow_the_equations_to_their_root():
    N, t = 10**9, 1e-3
    problem = two_teachers([one_phase("a", t, learning_rate=3.0)])
    run = ok.solve(problem, t_eval=[0.0, t])
    sim = ok.simulate(problem, input_dim=N, seed=0, replicas=8, t_eval=[0.0, t])
    assert int(sim.n_steps[0]) == 10**6
    moved = np.abs(run.R[1] - run.R[0]).max()
    off = np.abs(sim[NAMES].isel(time=1) - run[NAMES].isel(time=1))
    scale = np.sqrt(t / N)
    assert moved > 300 * scale
    for name in NAMES:
        assert float(off[name].max()) < 30 * scale
    assert float(off.R.max()) > 0.1 * scale


def test_lanes_do_not_matter():
    """The seventh of ten points, and of ten networks that end their phases each at its time."""
    etas = xr.DataArray(np.linspace(0.5, 1.5, 10), dims="eta")
    phases = [one_phase("a", 3.0, until=0.08), one_phase({"a": 0.5, "b": 0.5}, 1.0)]
    problem = two_teachers(phases)
    keywords = {"input_dim": 50, "seed": 5, "t_eval": [0.0, 0.4, 1.5, 2.0, 4.0]}
    sweep = ok.simulate(problem.replace_phase(0, learning_rate=etas), **keywords)
    assert len(np.unique(sweep.phase_end[:, 0])) > 2
    alone = ok.simulate(problem.replace_phase(0, learning_rate=float(etas[6])), **keywords)
    many = ok.simulate(problem, replicas=10, threads=2, **keywords)
    few = ok.simulate(problem, replicas=9, threads=1, **keywords)
    for name in [*NAMES, "phase_end", "n_steps"]:
        found = sweep[name].isel(eta=6)
        if "time" in found.dims:
            found = found.sel(time=alone.time)
        np.testing.assert_array_equal(found, alone[name])
        np.testing.assert_array_equal(many[name].isel(replica=slice(9)), few[name])


@pytest.mark.parametrize("start", ["redundant", "taught", "zero"])
def test_overlaps_of_low_rank(start):
    """Units that coincide, that have been taught, or are none: no root of what is below zero."""
    T = np.array([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5], [1.0, 0.5, 1.0]])
    Q, R = {
        "redundant": (np.full((2, 2), 0.5), np.zeros((2, 3))),
        "taught": (T[:2, :2], T[:2]),
        "zero": (np.zeros((2, 2)), np.zeros((2, 3))),
    }[start]
    problem = ok.Problem(
        state=ok.OrderParameters(Q=Q, R=R, T=T),
        heads={"a": [1.0, 1.0]},
        tasks={"a": ok.Task([1.0, 1.0, 0.0])},
        phases=[ok.Phase("a", 30.0, 1.0)],
    )
    sim = ok.simulate(problem, input_dim=50, seed=0, replicas=3)
    np.testing.assert_allclose(sim.Q.isel(time=0), np.broadcast_to(Q, (3, 2, 2)), atol=1e-15)
    C = np.block(
        [
            [sim.Q.values, sim.R.values],
            [np.swapaxes(sim.R.values, -1, -2), np.broadcast_to(T, (*sim.R.shape[:2], 3, 3))],
        ]
    )
    assert np.linalg.eigvalsh(C).min() > -1e-14
    if start == "taught":
        assert float(abs(sim.generalization_error).max()) < 1e-15


def test_what_is_learnt_without_noise_is_learnt_to_rounding():
    """A step of size (1 − R)/N is lost in the rounding of R once 1 − R is N of its units."""
    problem = ok.Problem(
        state=ok.OrderParameters(Q=[[0.5]], R=[[0.3]], T=[[1.0]]),
        heads={"a": [1.0]},
        tasks={"a": ok.Task([1.0])},
        phases=[ok.Phase("a", 400.0, 1.5)],
    )
    sim = ok.simulate(problem, input_dim=100, seed=0, t_eval=[0.0, 400.0])
    units = 100 * np.finfo(float).eps
    np.testing.assert_allclose(sim.Q[-1], [[1.0]], rtol=0, atol=2 * units)
    np.testing.assert_allclose(sim.R[-1], [[1.0]], rtol=0, atol=units)


def test_weights_are_taken_where_they_are_needed():
    problem = two_teachers([one_phase("a", 0.2), one_phase("b", 0.2, consolidation=switch("node"))])

    def method(**change):
        ds = ok.simulate(problem, **{"input_dim": 20, "seed": 0, **change})
        return json.loads(ds.attrs["odekit_simulation"])["method"]

    assert method() == "overlaps"
    assert method(input_dim=8) == "overlaps"
    assert method(input_dim=7) == "weights"  # 2 units, 4 teachers, 2 copies
    assert method(fisher_samples=3) == "weights"
    assert method(method="weights") == "weights"
    rng = np.random.default_rng(0)
    assert method(input_dim=None, inputs=rng.standard_normal((30, 20))) == "weights"
    with pytest.raises(ok.ProblemError, match="number of vectors for method='overlaps', 8"):
        ok.simulate(problem, input_dim=7, seed=0, method="overlaps")
