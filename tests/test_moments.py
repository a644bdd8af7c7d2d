from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.special import erf

import transcription
from committees import gram, random_committee
from odekit_kernels import arcsine, simd
from odekit_kernels._jit import kernel
from odekit_kernels.committee import moments, one, state
from odekit_kernels.committee.activations import ERF, LINEAR, RELU
from odekit_kernels.committee.one import make_work

EPS = np.finfo(float).eps
ACTIVATIONS = (ERF, LINEAR, RELU)


@kernel
def compute(y, system, work, A, E, J2, I2):
    K, P = system.move.shape[0], system.T.shape[0]
    state.fill_state(y, system, K, P, work)
    state.fill_averages(system.p, K, K + P, work)
    state.fill_pairs(system.p.shape[0], K + P, work)
    moments.drive(system.activation, work, K, K + P)
    one.product(work.own, work.E, work.C, K, K + P, work.A)
    moments.diffusion(system.activation, work, system.p, K, K + P)
    moments.second(system.activation, work, K + P, K + P)
    for part, whole in ((A, work.A), (E, work.S), (J2, work.J2), (I2, work.I2)):
        part[:] = whole[:, : part.shape[1]]


@kernel
def asin_lanes(x, out):
    for i in range(0, x.size, 8):
        simd.store(out, i, arcsine.asin(simd.load(x, i)))


@kernel
def asin_one_by_one(x, out):
    for i in range(x.size):
        out[i] = arcsine.asin(x[i])


@kernel
def asin_from_cosine(x, cosine2, out):
    for i in range(0, x.size, 8):
        simd.store(out, i, arcsine.asin_given(simd.load(x, i), simd.load(cosine2, i)))


@kernel
def over_root_lanes(x, out):
    for i in range(0, x.size, 8):
        simd.store(out, i, simd.over_root(simd.load(x, i)))


@kernel
def over_root_one_by_one(x, out):
    for i in range(x.size):
        out[i] = simd.over_root(x[i])


@kernel
def vector_functions(x, y, out):
    a, b = simd.load(x, 0), simd.load(y, 0)
    simd.store(out, 0, 2.0 * a + b - a / b)
    simd.store(out, 8, simd.choose_less(a, b, a, 7.0))
    simd.store(out, 16, simd.with_sign(simd.root(simd.absolute(a)), b))
    simd.store(out, 24, simd.minor(a, 3.0, b))
    simd.store(out, 32, simd.splat(simd.total(a)))


@kernel
def scalar_functions(x, y, out):
    for i in range(8):
        a, b = x[i], y[i]
        out[0, i] = 2.0 * a + b - a / b
        out[1, i] = simd.choose_less(a, b, a, 7.0)
        out[2, i] = simd.with_sign(simd.root(simd.absolute(a)), b)
        out[3, i] = simd.minor(a, 3.0, b)
        out[4, i] = x.sum()


def moments_of(C, K, v, u, activation):
    """A, E, J2 and I2 of one task, without the averaging's factors of v where that is possible."""
    P = len(C) - K
    _, system = random_committee(np.random.default_rng(0), activation=activation, K=K, P=P)
    system = system._replace(
        T=np.ascontiguousarray(C[K:, K:]), u=np.array([u], dtype=float), p=np.ones(1)
    )
    work = make_work(K, P, 1, 1)
    D = K + P
    A, E, J2, I2 = (np.zeros(shape) for shape in ((K, D), (K, K), (K, K), (D, D)))
    state = transcription.pack(C[:K, :K], C[:K, K:], np.array([v]))
    compute(state, system, work, A, E, J2, I2)
    upper = np.triu(np.ones((K, K), dtype=bool))
    return A, np.where(upper, E, 0.0), J2[upper], I2


# -------------------------------------------------------------------------------------- functions


def asin_grid():
    ends = 1.0 - np.geomspace(1e-16, 0.5, 4000)
    return np.concatenate([np.linspace(-1, 1, 20_001), ends, -ends, np.geomspace(1e-300, 1, 7)])


def padded(x):
    return np.concatenate([x, np.zeros(-len(x) % 8)])


@pytest.mark.parametrize("function", [asin_lanes, asin_one_by_one])
def test_asin_to_three_roundings_on_a_dense_grid(function):
    x = padded(asin_grid()[:: 1 if function is asin_lanes else 10])
    out = np.empty_like(x)
    function(x, out)
    # 80-bit reference where the platform has one; π/2 itself is rounded by EPS/2.
    exact = np.arcsin(x.astype(np.longdouble))
    assert np.abs(out - exact).max() < 1.5 * EPS
    small = np.abs(x) < 0.5
    assert np.all(np.abs(out - exact)[small] <= 1.5 * EPS * np.abs(exact[small]))


def test_asin_clips_overshoot_and_keeps_nan():
    x = np.array([1.0, -1.0, 1.0 + EPS, -1.0 - EPS, 3.0, -np.inf, np.nan, 0.0])
    half = np.pi / 2
    for function in (asin_lanes, asin_one_by_one):
        out = np.empty(8)
        function(x, out)
        assert_allclose(out, [half, -half, half, -half, half, -half, np.nan, 0.0], rtol=0, atol=0)


def test_inverse_roots_to_a_rounding_whatever_the_neighbours():
    """Within single precision, beyond it, and in groups that hold numbers of both kinds."""
    x = np.concatenate([np.geomspace(1e-6, 1e30, 4000), np.geomspace(1e25, 1e300, 400)])
    x = np.random.default_rng(0).permutation(x)
    lanes, single = np.empty_like(x), np.empty_like(x)
    over_root_lanes(x, lanes)
    over_root_one_by_one(x, single)
    np.testing.assert_array_equal(lanes, single)
    exact = 1.0 / np.sqrt(x.astype(np.longdouble))
    assert np.abs(lanes / exact - 1.0).max() < EPS
    ends = np.array([np.inf, np.nan, 4.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    with np.errstate(invalid="ignore"):  # as plain Python
        over_root_lanes(ends, out := np.empty(8))
    np.testing.assert_array_equal(out, [0.0, np.nan, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0])


def test_asin_near_one_from_the_squared_cosine():
    angle = np.pi / 2 - np.geomspace(1e-12, 1.0, 64)
    out = np.empty(64)
    asin_from_cosine(np.sin(angle), np.cos(angle) ** 2, out)
    # sin(angle) alone would leave √EPS.
    assert_allclose(out, angle, rtol=0, atol=4 * EPS)


def test_vectors_and_floats_agree_with_numpy():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 8))
    expected = np.array(
        [
            2 * x + y - x / y,
            np.where(x < y, x, 7.0),
            np.copysign(np.sqrt(np.abs(x)), y),
            3 * x - y * y,
            np.full(8, x.sum()),
        ]
    )
    for function in (vector_functions, scalar_functions):
        out = np.empty((5, 8))
        function(x, y, out)
        assert_allclose(out, expected, rtol=0, atol=20 * EPS)


def test_minor_of_coinciding_fields_is_exactly_zero():
    x = np.random.default_rng(2).uniform(0.1, 10.0, 8)
    out = np.empty((5, 8))
    for factor in x:
        vector_functions(np.full(8, factor**2 / 3), np.full(8, factor), out)
        # 3 (f²/3) − f²: what is left is the rounding of the first argument, not of the product.
        assert np.all(np.abs(out[3]) <= 1.5 * EPS * factor**2)


# --------------------------------------------------------------- independent integration of moments


def hermite_nodes(count, L):
    """Nodes and weights for the Gaussian of covariance L Lᵀ."""
    z, w = np.polynomial.hermite_e.hermegauss(count)
    w = w / w.sum()
    dim = len(L)
    grid = np.stack(np.meshgrid(*[z] * dim, indexing="ij"), -1).reshape(-1, dim)
    weight = np.prod(np.stack(np.meshgrid(*[w] * dim, indexing="ij"), -1), axis=-1).ravel()
    return grid @ L.T, weight


def erf_and_slope(x):
    return erf(x / np.sqrt(2)), np.sqrt(2 / np.pi) * np.exp(-(x**2) / 2)


def relu_and_slope(x):
    return np.maximum(x, 0.0), (x > 0).astype(float)


FUNCTIONS = {
    ERF: erf_and_slope,
    LINEAR: lambda x: (x, np.ones_like(x)),
    RELU: relu_and_slope,
}


def integrands(x, K, v, u, activation):
    """A, E, J2, I2 before averaging, one row a sample."""
    g, slope = FUNCTIONS[activation](x)
    delta = g @ np.concatenate([-v, u])
    pairs = [(k, l) for k in range(K) for l in range(k, K)]
    A = v[:, None] * slope[:, :K, None] * x[:, None, :] * delta[:, None, None]
    J2 = np.stack([slope[:, k] * slope[:, l] for k, l in pairs], -1)
    vv = np.array([v[k] * v[l] for k, l in pairs])
    return A, vv * J2 * delta[:, None] ** 2, J2, g[:, :, None] * g[:, None, :]


def compare(actual, samples, weight, sigmas, K):
    A, E, J2, I2 = actual
    actual = (A, E[np.triu_indices(K)], J2, I2)
    for value, sample in zip(actual, samples, strict=True):
        mean = np.tensordot(weight, sample, 1)
        error = np.sqrt(np.maximum(np.tensordot(weight, sample**2, 1) - mean**2, 0) * sigmas)
        yield value, mean, error


@pytest.mark.parametrize("activation", [ERF, LINEAR])
@pytest.mark.parametrize("K", [1, 2])
def test_smooth_moments_against_gauss_hermite(activation, K):
    rng = np.random.default_rng(3 + K)
    C = 0.7 * gram(rng, 3)
    v, u = rng.normal(size=K), rng.normal(size=3 - K)
    actual = moments_of(C, K, v, u, activation)
    results = {}
    for count in (30, 44):
        x, weight = hermite_nodes(count, np.linalg.cholesky(C))
        results[count] = [
            np.tensordot(weight, part, 1) for part in integrands(x, K, v, u, activation)
        ]
    values = (actual[0], actual[1][np.triu_indices(K)], *actual[2:])
    for value, coarse, fine in zip(values, results[30], results[44], strict=True):
        # The quadrature's own error, from its convergence, sets the tolerance.
        tolerance = np.abs(fine - coarse).max() + 100 * EPS
        assert tolerance < 1e-5
        assert np.abs(value - fine).max() < tolerance


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_moments_against_monte_carlo(activation):
    rng = np.random.default_rng(11)
    C = gram(rng, 5)
    v, u = rng.normal(size=2), rng.normal(size=3)
    actual = moments_of(C, 2, v, u, activation)
    count = 100_000
    x = rng.standard_normal((count, 5)) @ np.linalg.cholesky(C).T
    samples = integrands(x, 2, v, u, activation)
    weight = np.full(count, 1 / count)
    for i, (value, mean, error) in enumerate(compare(actual, samples, weight, 1 / count, 2)):
        if activation == RELU and i == 1:
            assert np.isnan(value).all()  # no I4
        else:
            assert np.all(np.abs(value - mean) <= 5 * error + 1e-12)


# ------------------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("scale", [1e-30, 1e-12, 1.0, 3.7, 1e12])
def test_a_student_that_is_its_teacher_feels_nothing(activation, scale):
    rng = np.random.default_rng(5)
    T = scale * gram(rng, 3)
    C = np.block([[T, T], [T, T]])
    v = rng.normal(size=3)
    A, E, J2, I2 = moments_of(C, 3, v, v, activation)
    # Terms of size v² C (times g, at most √C) cancel.
    size = np.abs(np.outer(v, v)).max() * T.max() * max(1.0, T.max() ** 0.5)
    assert np.abs(A).max() < 50 * EPS * size
    assert_allclose(I2[:3, :3], I2[3:, 3:], rtol=4 * EPS)
    assert np.isfinite(J2).all()
    if activation != RELU:
        assert np.abs(np.triu(E)).max() <= 1e-12 * size


@pytest.mark.parametrize("norm", [0.1, 1 / 3, 0.7, 1e-9, 1e5 / 3])
def test_relu_of_a_unit_on_its_teacher_keeps_all_digits(norm):
    # δ = (u − v) g(λ): A = v (u − v) E[θ(λ) λ²]. A correlation rounded to 1 − EPS would leave √EPS.
    A, _, J2, I2 = moments_of(np.full((2, 2), norm), 1, np.ones(1), np.full(1, 3.0), RELU)
    assert_allclose(A, np.full((1, 2), 2 * norm / 2), rtol=4 * EPS)
    assert_allclose(I2, np.full((2, 2), norm / 2), rtol=4 * EPS)
    assert_allclose(J2, 0.5, rtol=0)


@given(st.integers(0, 10_000), st.floats(-30, 12), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_no_nan_and_bounds_at_any_norm_and_rank(seed, exponent, rank):
    rng = np.random.default_rng(seed)
    # Fields of very different norms, fewer dimensions than fields, two of them equal.
    W = rng.standard_normal((5, rank)) * 10 ** (exponent / 2 * rng.uniform(0, 1, (5, 1)))
    W[3] = W[0]
    C = W @ W.T
    v, u = rng.normal(size=2), rng.normal(size=3)
    for activation in ACTIVATIONS:
        A, E, J2, I2 = moments_of(C, 2, v, u, activation)
        assert np.isfinite(A).all()
        assert np.isfinite(I2).all()
        bound = {ERF: 2 / np.pi, LINEAR: 1.0, RELU: 0.5}[activation]
        assert np.all(J2 >= -EPS)
        assert np.all(bound + EPS >= J2)
        if activation == ERF:
            assert np.isfinite(E).all()
            assert np.abs(I2).max() <= 1.0 + EPS


def test_erf_saturates_to_the_sign_of_the_field():
    rng = np.random.default_rng(8)
    C = gram(rng, 4)
    r = C / np.sqrt(np.outer(np.diag(C), np.diag(C)))
    _, _, _, I2 = moments_of(1e12 * C, 2, np.ones(2), np.ones(2), ERF)
    off = ~np.eye(4, dtype=bool)
    # 1 + C = C (1 + 1e-12 / C).
    assert_allclose(I2[off], 2 / np.pi * np.arcsin(r[off]), rtol=1e-10)


def test_relu_of_vanishing_and_opposite_fields():
    C = np.array([[0.0, 0.0, 0.0], [0.0, 2.0, -2.0], [0.0, -2.0, 2.0]])
    A, _, J2, I2 = moments_of(C, 2, np.ones(2), np.ones(1), RELU)
    assert_allclose(J2, [0.5, 0.25, 0.5])
    assert_allclose(I2, [[0, 0, 0], [0, 1, 0], [0, 0, 1]], atol=4 * EPS)
    # δ = −g(λ_1) + g(−λ_1) = −λ_1: A_1b = −E[θ(λ_1) λ_b λ_1]; the silent unit stands still.
    assert_allclose(A, [[0, 0, 0], [0, -1, 1]], atol=8 * EPS)
