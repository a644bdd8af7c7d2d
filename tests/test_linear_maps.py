"""The balanced map: against long arithmetic, the flow, and published numbers."""

import mpmath as mp
import numpy as np
import pytest
import xarray as xr
from scipy.integrate import solve_ivp

import odekit as ok
from odekit.base.errors import ProblemError


def start(shape, scale=0.1, imbalance=0.0, seed=1, draws=None):
    net = ok.linear.deep(list(shape))
    return ok.linear.balanced(net, scale, seed=seed, imbalance=imbalance, draws=draws)


def target_of(shape, seed=0):
    return np.random.default_rng(seed).normal(size=(shape[2], shape[0]))


def long_map(t, first, second, target, digits):
    """QQᵀ by its formula, F⁻¹ and cancellation and all, in many digits."""

    def matrix(values):
        return mp.matrix([[mp.mpf(float(v)) for v in row] for row in values])

    with mp.workdps(digits):
        hidden, inputs = first.shape
        n = inputs + second.shape[0]
        difference = matrix(second).T * matrix(second) - matrix(first) * matrix(first).T
        lam = sum(difference[k, k] for k in range(hidden)) / hidden
        F, Q = mp.zeros(n), matrix(np.vstack([first.T, second]))
        F[inputs:, :inputs] = matrix(target)
        F[:inputs, inputs:] = matrix(target).T
        for k in range(n):
            F[k, k] += lam / 2 * (-1 if k < inputs else 1)
        x, V = mp.eigsy(F)
        x = [v if abs(v) > mp.mpf("1e-14") else mp.mpf(0) for v in x]
        q, t = V.T * Q, mp.mpf(t)
        J = mp.diag([mp.expm1(2 * v * t) / (2 * v) if v else t for v in x])
        left = V * mp.diag([mp.exp(v * t) for v in x]) * q
        whole = left * mp.inverse(mp.eye(hidden) + q.T * J * q) * left.T
        return np.array(whole.tolist(), dtype=float)


def whole(found):
    up = np.concatenate([found.below, np.swapaxes(found.map, -1, -2)], axis=-1)
    return np.concatenate([up, np.concatenate([found.map, found.above], axis=-1)], axis=-2)


CASES = [
    ((3, 2, 2), 0.0, 0.1),
    ((4, 2, 3), 1.5, 0.01),
    ((2, 2, 4), -3.0, 1e-3),
    ((3, 5, 2), 0.0, 0.1),
    ((3, 1, 3), 0.0, 1e-4),
    ((4, 4, 4), 0.0, 1e-6),
]


@pytest.mark.parametrize(("shape", "imbalance", "scale"), CASES)
def test_maps_in_long_arithmetic(shape, imbalance, scale):
    W, target = start(shape, scale, imbalance), target_of(shape)
    times = [0.0, 0.3, 3.0, 30.0]
    found = whole(ok.linear.balanced_map(times, W["W1"], W["W2"], target))
    for t, got in zip(times, found, strict=True):
        exact = long_map(t, W["W1"], W["W2"], target, 400 if t > 10 else 100)
        assert np.abs(got - exact).max() <= 3e-14 * np.abs(exact).max()


@pytest.mark.parametrize(("shape", "imbalance", "scale"), CASES)
def test_late_maps_stand_still(shape, imbalance, scale):
    W, target = start(shape, scale, imbalance), target_of(shape)
    found = ok.linear.balanced_map([1e4, 1e6, 1e12, np.inf], W["W1"], W["W2"], target).map
    u, s, vt = np.linalg.svd(target)
    rank = min(shape)
    best = (u[:, :rank] * s[:rank]) @ vt[:rank]
    np.testing.assert_allclose(found[1:], [best] * 3, atol=1e-11)


def test_equal_modes_share_a_bottleneck_for_ever():
    """Two units, three equal modes: rounding must not choose between them at late times."""
    W, rng = start((4, 2, 3), 0.1, 1.5, seed=0), np.random.default_rng(5)
    U, V = (np.linalg.qr(rng.normal(size=(n, n)))[0] for n in (3, 4))
    target = U @ V[:3]
    times = [30.0, 1e3, 1e6, 1e12, 1e18, np.inf]
    found = ok.linear.balanced_map(times, W["W1"], W["W2"], target).map
    exact = long_map(30.0, W["W1"], W["W2"], target, 200)[4:, :4]
    np.testing.assert_allclose(found, [exact] * 6, atol=1e-13)


@pytest.mark.parametrize("seed", range(6))
def test_slow_modes_that_start_ahead(seed):
    """Weights from 1e-6 to 1, nearly along a target of other speeds: the fast ones catch up."""
    rng = np.random.default_rng(seed)
    d, e = 10.0 ** rng.uniform(-6, 0, 2), 10.0 ** rng.uniform(-6, 0)
    U, V = (np.linalg.qr(np.eye(3) + e * rng.normal(size=(3, 3)))[0] for _ in range(2))
    R = np.linalg.qr(rng.normal(size=(2, 2)))[0]
    first, second = R * d @ V[:, :2].T, U[:, :2] * d @ R.T
    target = np.diag(np.sort(10.0 ** rng.uniform(-1, 0.7, 3)))
    times = [0.5, 2.0, 5.0, 12.0, 30.0]
    found = whole(ok.linear.balanced_map(times, first, second, target))
    for t, got in zip(times, found, strict=True):
        exact = long_map(t, first, second, target, 300)
        # A rounding of the largest weight is this part of the smallest.
        assert np.abs(got - exact).max() <= 1e-14 * (3 + d.max() / d.min()) * np.abs(exact).max()


def test_a_slow_mode_beside_one_that_is_long_learnt():
    """e^{(100 − 1) t} is no double while the slow mode still grows."""
    W, target = start((3, 2, 2), 1e-5), np.diag([100.0, 1.0, 0.0])[:2]
    times = [8.0, 11.0, 14.0]
    found = whole(ok.linear.balanced_map(times, W["W1"], W["W2"], target))
    assert found[0, 4, 1] < 0.01 < 0.3 < found[2, 4, 1]
    for t, got in zip(times, found, strict=True):
        exact = long_map(t, W["W1"], W["W2"], target, 1500)
        np.testing.assert_allclose(got, exact, atol=1e-11)


def test_exact_zeros_stay():
    """A hidden unit without weights is at a saddle: no rounding wakes it."""
    first, second = np.diag([0.1, 0.0]), np.diag([0.1, 0.0])
    found = ok.linear.balanced_map([1.0, 1e3, np.inf], first, second, np.diag([2.0, 1.0]))
    assert not found.map[:, 1].any()
    np.testing.assert_allclose(found.map[1:, 0, 0], 2.0, rtol=1e-15)


def test_the_map_of_the_flow():
    W, target = start((4, 2, 3), 0.1, 1.5), target_of((4, 2, 3))
    t = np.linspace(0, 4, 9)

    def slope(_t, x):
        one, two = x[:8].reshape(2, 4), x[8:].reshape(3, 2)
        error = target - two @ one
        return np.concatenate([(two.T @ error).ravel(), (error @ one.T).ravel()])

    y = np.concatenate([W["W1"].ravel(), W["W2"].ravel()])
    run = solve_ivp(slope, (0, 4), y, t_eval=t, method="DOP853", rtol=1e-12, atol=1e-13)
    one, two = run.y[:8].T.reshape(-1, 2, 4), run.y[8:].T.reshape(-1, 3, 2)
    found = ok.linear.balanced_map(t, W["W1"], W["W2"], target)
    np.testing.assert_allclose(found.map, two @ one, atol=1e-9)
    np.testing.assert_allclose(found.below, one.swapaxes(1, 2) @ one, atol=1e-9)
    np.testing.assert_allclose(found.above, two @ two.swapaxes(1, 2), atol=1e-9)


def test_one_mode_is_a_map():
    t, c = np.linspace(0, 5, 6), 0.7
    a, b = ok.linear.one_mode(t, 2.0, 0.1, np.sqrt(0.01 + c))
    found = ok.linear.balanced_map(t, [[0.1]], [[np.sqrt(0.01 + c)]], [[2.0]])
    np.testing.assert_allclose(found.map[:, 0, 0], a * b, rtol=1e-13)
    np.testing.assert_allclose(found.below[:, 0, 0], a * a, rtol=1e-13)


def test_no_target_and_no_weights():
    W = start((3, 2, 2), 1.0)
    found = ok.linear.balanced_map([0.0, 2.0, np.inf], W["W1"], W["W2"], np.zeros((2, 3)))
    shrink = [1.0, 1 / (1 + 2 * 2.0), 0.0]  # Q₀ᵀQ₀ = 2, so that QQᵀ = Q₀Q₀ᵀ/(1 + 2t)
    start_map = W["W2"] @ W["W1"]
    for got, factor in zip(found.map, shrink, strict=True):
        np.testing.assert_allclose(got, factor * start_map, atol=1e-14)
    zero = ok.linear.balanced_map(3.0, np.zeros((2, 3)), np.zeros((2, 2)), target_of((3, 2, 2)))
    assert not zero.map.any()


# ------------------------------------------------------------------------------ published numbers


def kernel_distance(found):
    """1 − cosine of the tangent kernels W₁ᵀW₁ ⊗ I + I ⊗ W₂W₂ᵀ, first to last row."""
    A, B = found.below, found.above
    inputs, outputs = A.shape[-1], B.shape[-1]

    def inner(i, j):
        trace = np.trace
        own = outputs * (A[i] * A[j]).sum((-2, -1)) + inputs * (B[i] * B[j]).sum((-2, -1))
        ends = {"axis1": -2, "axis2": -1}
        return own + sum(trace(A[p], **ends) * trace(B[q], **ends) for p, q in ((i, j), (j, i)))

    return 1 - inner(0, -1) / np.sqrt(inner(0, 0) * inner(-1, -1))


LAMBDAS = (-100.0, -10.0, -1.0, 0.0, 1.0, 10.0, 100.0)
LAZY = {
    (4, 4, 4): (0.0, 0.0003, 0.085, 0.383, 0.084, 0.0003, 0.0),
    (4, 2, 2): (0.498, 0.486, 0.366, 0.186, 0.042, 0.0002, 0.0),
    (2, 2, 4): (0.0, 0.0002, 0.043, 0.211, 0.366, 0.486, 0.498),
}


def gaussian_part(shape, lam, draws, rng):
    """λ-balanced weights whose smaller layer is N(0, 0.1²)."""
    inputs, hidden, outputs = shape

    def large(small, other):
        values, vectors = np.linalg.eigh(small @ small.swapaxes(-1, -2) + abs(lam) * np.eye(hidden))
        frame = np.linalg.qr(rng.normal(size=(draws, other, hidden)))[0]
        root = vectors * np.sqrt(np.maximum(values, 0.0))[:, None]
        return root @ vectors.swapaxes(-1, -2) @ frame.swapaxes(-1, -2)

    if lam > 0 or (lam == 0 and outputs >= hidden):
        first = 0.1 * rng.normal(size=(draws, hidden, inputs))
        return first, large(first, outputs).swapaxes(-1, -2)
    second = 0.1 * rng.normal(size=(draws, outputs, hidden))
    return large(second.swapaxes(-1, -2), inputs), second


@pytest.mark.parametrize("shape", LAZY)
def test_from_lazy_to_rich(shape):
    """Known means are those of 20 draws; at λ = 0 their standard error is up to 0.021."""
    rng, times = np.random.default_rng(0), np.array([0.0, np.inf])[:, None]
    target = np.zeros((shape[2], shape[0]))
    target[0, 0], target[1, 1] = 2.0, 1.0
    for lam, known in zip(LAMBDAS, LAZY[shape], strict=True):
        weights = gaussian_part(shape, lam, 200, rng)
        found = kernel_distance(ok.linear.balanced_map(times, *weights, target))
        error = 2.5 * found.std() / np.sqrt(20)
        assert abs(found.mean() - known) <= (max(error, 0.03) if lam == 0 else 0.03)


# --------------------------------------------------------------------------------- arrays, labels


def test_labels_and_arrays_agree():
    W, target = start((3, 2, 2), 0.1, 1.0, draws=4), target_of((3, 2, 2))
    t = xr.DataArray([0.0, 1.0, 10.0], dims="time")
    size = xr.DataArray([1.0, 2.0], dims="size")
    target = size * xr.DataArray(target, dims=("output", "input"))
    found = ok.linear.balanced_map(t, W["W1"], W["W2"], target)
    assert found.map.dims == ("time", "draw", "size", "output", "input")
    assert found.below.dims[-2:] == ("input", "input_other")
    assert found.above.dims[-2:] == ("output", "output_other")
    W1, W2 = W["W1"].values[1], W["W2"].values[1]
    plain = ok.linear.balanced_map(t.values, W1, W2, target.values[1])
    for x, y in zip(found, plain, strict=True):
        np.testing.assert_allclose(x.isel(draw=1, size=1), y, atol=1e-14)


def test_bad_arguments_are_named():
    W, target = start((3, 2, 2)), target_of((3, 2, 2))
    with pytest.raises(ProblemError, match="`second` must make W₂ᵀW₂ − W₁W₁ᵀ = λI"):
        ok.linear.balanced_map(1.0, W["W1"] * [1, 2, 3], W["W2"], target)
    with pytest.raises(ProblemError, match="Did you pass one transposed"):
        ok.linear.balanced_map(1.0, W["W1"], W["W2"], target.T)
    with pytest.raises(ProblemError, match=r"`target` must have the dims \('output', 'input'\)"):
        ok.linear.balanced_map(1.0, W["W1"], W["W2"], target[0])
    with pytest.raises(ProblemError, match="`dims` must be three names"):
        ok.linear.balanced_map(1.0, W["W1"], W["W2"], target, dims=("x", "h", "x"))
